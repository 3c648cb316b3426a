//! The program `siloscand`: what it says and how it ends when something is wrong from the start.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output};

fn siloscand(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siloscand"))
        .args(arguments)
        .output()
        .expect("it starts")
}

/// Ran, ended with 2, and said all of this.
fn fails_with(arguments: &[&str], words: &[&str]) {
    let output = siloscand(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn wrong_options_are_named() {
    fails_with(&[], &["--socket"]);
    fails_with(
        &["--socket", "/x", "--threads", "many"],
        &["--threads", "many"],
    );
    fails_with(
        &["--socket", "/x", "--once", "--threads", "0"],
        &["0 scanning threads", "1 to 256"],
    );
    fails_with(
        &["--socket", "/x", "--once", "--threads", "1000000"],
        &["1000000", "1 to 256"],
    );
    fails_with(
        &[
            "--socket",
            "/x",
            "--once",
            "--max-file-mib",
            "64",
            "--memory-mib",
            "32",
        ],
        &["do not fit"],
    );
    fails_with(
        &[
            "--socket",
            "/x",
            "--once",
            "--max-file-mib",
            &u64::MAX.to_string(),
        ],
        &["do not fit"],
    );
}

#[test]
fn an_absent_host_is_named_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("absent.sock");
    let socket = socket.to_str().unwrap();
    fails_with(
        &["--once", "--socket", socket],
        &[socket, "start the filter host first"],
    );
    // A path that is no socket, and one that is too long for any.
    fails_with(&["--once", "--socket", "/etc/passwd"], &["/etc/passwd"]);
    let long = format!("/{}", "x".repeat(300));
    fails_with(&["--once", "--socket", &long], &["cannot connect"]);
}

#[test]
fn metrics_are_told_to_others_only_when_that_is_asked_for() {
    let open = ["--once", "--socket", "/x", "--metrics", "0.0.0.0:0"];
    fails_with(&open, &["127.0.0.1", "--metrics-anywhere"]);
    // It gets as far as the connection, and says where it tells them.
    let anywhere = [&open[..], &["--metrics-anywhere"]].concat();
    fails_with(&anywhere, &["metrics at http://0.0.0.0:", "cannot connect"]);
    fails_with(
        &["--socket", "/x", "--metrics-anywhere"],
        &["--metrics <ADDRESS:PORT>"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken
        .local_addr()
        .map(|at| (at.to_string(), taken))
        .unwrap();
    fails_with(
        &["--once", "--socket", "/x", "--metrics", &taken.0],
        &[&taken.0, "another address with --metrics"],
    );
}

#[test]
fn an_event_file_that_cannot_be_written_is_named() {
    let file = "/nowhere/at/all/events.json";
    fails_with(
        &["--once", "--socket", "/x", "--events", file],
        &[file, "--events"],
    );
}

#[test]
fn missing_and_broken_rules_are_named_and_do_not_stop_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let absent = absent.to_str().unwrap();
    // It gets as far as the connection, which is what fails here.
    let wanted = [absent, "--rules", "rule set in use", "cannot connect"];
    fails_with(&["--once", "--socket", "/x", "--rules", absent], &wanted);

    std::fs::write(folder.path().join("bad.yar"), "\n\nrule {").unwrap();
    let rules = folder.path().to_str().unwrap();
    let place = format!("{rules}/bad.yar:3:");
    fails_with(
        &["--once", "--socket", "/x", "--rules", rules],
        &[&place, "cannot connect"],
    );
}

#[test]
fn events_are_json_lines_and_end_with_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events.json");
    let path: &Path = &events;
    fails_with(
        &[
            "--once",
            "--socket",
            "/x",
            "--events",
            path.to_str().unwrap(),
        ],
        &[],
    );
    let text = std::fs::read_to_string(&events).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.first().unwrap()["event"], "rules");
    assert_eq!(lines.first().unwrap()["rules"], 1);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["infected"]),
        (&"summary".into(), &0.into())
    );
    assert!(last["time_ms"].as_u64().unwrap() > 1_600_000_000_000);
}
