//! The command `siloscan` as a shell runs it.

use std::process::{Command, Output};

/// Runs it to its end.
pub fn siloscan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siloscan"))
        .args(arguments)
        .output()
        .expect("it starts")
}

/// What was printed, in which nothing may steer a terminal.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let steers = |it: char| it != '\n' && (it.is_control() || it == '\u{202e}');
    assert!(!text.chars().any(steers), "{text:?}");
    text
}

/// The output and the errors of a run that ended with `code`.
pub fn ends(output: &Output, code: i32) -> (String, String) {
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{errors}");
    (out, errors)
}
