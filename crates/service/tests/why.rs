//! The program `siloscan why`: what it says and how it ends where there is no driver.
#![cfg(unix)]

use std::process::{Command, Output};

use filterhost::remote::{Server, ServerOptions};
use filterhost::{Machine, Mode};

fn why(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siloscan"))
        .arg("why")
        .args(arguments)
        .output()
        .expect("it starts")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_absent_host_is_named_with_the_next_step() {
    let output = why(&["--socket", "/nowhere/bridge"]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in ["/nowhere/bridge", "start the filter host first", "--socket"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

#[test]
fn wrong_options_are_named() {
    for arguments in [
        &["--socket", "/x", "--count", "0"][..],
        &["--socket", "/x", "--for", "-1"],
        &["--socket", "/x", "--slow", "much"],
        &[],
    ] {
        let output = why(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    }
}

#[test]
fn without_a_driver_nothing_comes_and_the_end_says_so() {
    let ran = Machine::builder().scheduler(Mode::Free).run(|m| {
        let folder = tempfile::tempdir().expect("a folder");
        let options = ServerOptions {
            path: folder.path().join("bridge"),
            user_sid: None,
        };
        let socket = options.path.to_str().expect("a plain path").to_owned();
        let server = Server::start(m, options).expect("the bridge listens");
        let output = why(&["--socket", &socket, "--for", "1", "--json"]);
        server.stop();
        output
    });
    let output = ran.unwrap_or_else(|report| panic!("{report}")).value;
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    for word in ["listening", "0 opens seen", "0 events lost", "is loaded"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}
