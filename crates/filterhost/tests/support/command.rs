//! Runs the command.

use std::path::Path;
use std::process::Command;

/// What a run of the command gave.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs it with these arguments, and with coverage into a file where one is given.
///
/// # Panics
/// Where it does not start.
pub fn filterhost(arguments: &[&str], marks: Option<&Path>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_filterhost"));
    command.args(arguments);
    if let Some(marks) = marks {
        command.env("FILTERHOST_COVERAGE", marks);
    }
    let output = command.output().expect("the command starts");
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
