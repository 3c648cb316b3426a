//! How the commands print: nothing that a stranger named can steer the terminal.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;
use siloscan_quarantine::{printable, printable_json};

/// Prints text. Whoever reads this may have gone; the exit code still tells.
pub fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A value as JSON in which nothing can steer a terminal.
pub fn json_text(value: &impl Serialize) -> String {
    match serde_json::to_string_pretty(value) {
        Ok(text) => printable_json(&(text + "\n")),
        Err(cause) => format!("{}\n", serde_json::json!({ "error": cause.to_string() })),
    }
}

/// Prints a value as JSON.
pub fn say_json(value: &impl Serialize) {
    say(&json_text(value));
}

/// Tells why a command could not do its work; each line of it may have a stranger's words.
pub fn failed(cause: &str) -> ExitCode {
    for line in cause.lines() {
        eprintln!("siloscan: {}", printable(line));
    }
    ExitCode::from(2)
}
