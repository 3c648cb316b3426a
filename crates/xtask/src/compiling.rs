//! How far a build of Cargo's is, told as it goes.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::command;
use crate::say::{self, Say};
use crate::trouble::Outcome;

/// A build that is under way. Cargo is to write its messages as JSON.
pub struct Compiling {
    name: &'static str,
    start: Instant,
    crates: usize,
}

impl Compiling {
    /// One that is called so.
    pub fn begin(name: &'static str) -> Self {
        Self {
            name,
            start: Instant::now(),
            crates: 0,
        }
    }

    /// Reads a line; false if it is not about a finished crate.
    pub fn see(&mut self, line: &str, say: &mut Say) -> bool {
        let Some((name, was_fresh)) = artifact(line) else {
            return false;
        };
        if !was_fresh {
            self.crates += 1;
            let time = say::time(self.start.elapsed());
            say.moving(
                self.name,
                &format!("{} crates, {name} ({time})", self.crates),
            );
        }
        true
    }

    /// Tells that it is over; how many crates were compiled.
    pub fn end(self, say: &mut Say) -> usize {
        let text = match self.crates {
            0 => "nothing to do".to_owned(),
            crates => format!("{crates} crates ({})", say::time(self.start.elapsed())),
        };
        say.step(self.name, &text);
        self.crates
    }
}

/// Runs a `cargo build`, and shows how far it is. False if it failed, when the compiler has said
/// why.
pub fn build(cargo: &mut Command, say: &mut Say, name: &'static str) -> Outcome<bool> {
    cargo.args(["--quiet", "--message-format=json-render-diagnostics"]);
    let mut compiling = Compiling::begin(name);
    let done = command::lines(cargo, |line| {
        compiling.see(line, say);
    })?;
    say.clear();
    if done {
        compiling.end(say);
    }
    Ok(done)
}

/// The name in a message of Cargo about a finished crate, and whether it was there before.
fn artifact(line: &str) -> Option<(String, bool)> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    Some((
        message["target"]["name"].as_str()?.to_owned(),
        message["fresh"].as_bool()?,
    ))
}
