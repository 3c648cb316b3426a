//! The command `siloscan report`: what is in its file, what is not, and who may read it.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn report(folder: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siloscan"))
        .args(["report", "--address", "127.0.0.1:1", "--config"])
        .arg(folder.join("siloscand.toml"))
        .args(more)
        .output()
        .expect("it starts")
}

/// A configuration with a password, exclusions, and a file of events.
fn configured(folder: &Path) {
    let key = folder.join("fleet.key");
    fs::write(&key, "0".repeat(64)).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(folder.join("exclusions.txt"), "layer C:\\anna\\b\nlayer\n").expect("written");
    let events = "half of a line\n{\"event\":\"broken_rules\",\"cause\":\"/anna/x.yar:3: no\"}\n\
                  {\"event\":\"a\"}\n{\"event\":\"b\",\"path\":\"C:\\\\anna\\\\\\u001b[2Jc\"}\n";
    fs::write(folder.join("events.jsonl"), events).expect("written");
    let text = "[verdicts]\nfile = 'v'\nfleet = 'redis://:hunter@h'\nfleet_key = 'fleet.key'\n\
                [exclusions]\nfile = 'exclusions.txt'\n[events]\nfile = 'events.jsonl'\n";
    fs::write(folder.join("siloscand.toml"), text).expect("written");
}

fn printed(output: &Output) -> (String, Value) {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    let value = serde_json::from_str(&text).expect("JSON");
    (text, value)
}

#[test]
fn a_report_has_the_facts_and_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    configured(folder.path());
    let (text, value) = printed(&report(folder.path(), &["--events", "1"]));
    for secret in ["hunter", "fleet.key", "000000000000"] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    assert_eq!(value["configuration"]["verdicts"]["fleet"], "left out");
    assert_eq!(value["events"]["last"].as_array().map(Vec::len), Some(1));
    assert_eq!(value["events"]["last"][0]["event"], "b");
    assert_eq!(
        value["events"]["broken_rules"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(value["exclusions"]["entries"][0]["value"], "C:\\anna\\b");
    assert!(value["checks"].as_array().is_some_and(|all| all.len() > 10));
    assert!(value["status"]["error"].is_string());

    let (text, hidden) = printed(&report(folder.path(), &["--without-names"]));
    let place = folder
        .path()
        .file_name()
        .and_then(|name| name.to_str())
        .expect("plain");
    for name in ["anna", place, "siloscand.toml"] {
        assert!(!text.contains(name), "{name} is in\n{text}");
    }
    assert!(text.contains("path-"), "{text}");
    assert_eq!(hidden["events"]["last"][1]["event"], "a");
}

#[test]
fn a_report_is_its_owners_and_replaces_nothing_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    configured(folder.path());
    let (out, other) = (folder.path().join("out.json"), folder.path().join("other"));
    let name = out.to_str().expect("a plain name");
    assert_eq!(
        report(folder.path(), &["--out", name]).status.code(),
        Some(0)
    );
    assert_eq!(fs::metadata(&out).expect("there").mode() & 0o777, 0o600);
    let refused = report(folder.path(), &["--out", name]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    fs::remove_file(&out).expect("ours");
    fs::write(&other, "theirs").expect("written");
    symlink(&other, &out).expect("a link");
    let forced = report(folder.path(), &["--out", name, "--force"]);
    assert_eq!(forced.status.code(), Some(0));
    assert_eq!(fs::read(&other).expect("there"), b"theirs");
    assert_eq!(fs::metadata(&out).expect("there").mode() & 0o777, 0o600);
}
