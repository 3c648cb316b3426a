//! rustfmt finds nothing to change.

use std::time::Duration;

use super::cargo::host;
use super::{Bench, Found};
use crate::command::{self, Ended};
use crate::trouble::Outcome;

/// Runs `cargo fmt --check` and names the files.
pub fn check(bench: &mut Bench) -> Outcome<Found> {
    let mut files: Vec<String> = Vec::new();
    let log = bench.log("format");
    let mut fmt = host(bench, "fmt");
    fmt.args(["--all", "--", "--check"]);
    let ended = command::limited(&mut fmt, &log, Duration::from_secs(120), |line| {
        if let Some(rest) = line.strip_prefix("Diff in ") {
            let file = rest.split(':').next().unwrap_or(rest).to_owned();
            if files.last() != Some(&file) {
                files.push(file);
            }
        }
    })?;
    let mut found = Found {
        about: "rustfmt has nothing to change".into(),
        ..Found::default()
    };
    found.check(ended == Ended::Well, || {
        format!("not formatted, run `cargo fmt --all`: {}", files.join(" "))
    });
    Ok(found)
}
