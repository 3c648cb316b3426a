//! The command `siloscan doctor`: what it finds of a running service, of files and of errors.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
#[expect(dead_code, reason = "what this test needs of it is a part")]
mod observed;
mod shell;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use shell::{ends, siloscan};
use siloscan_service::platform::ConnectError;

const NOBODY: [&str; 2] = ["--address", "127.0.0.1:1"];

fn doctor(arguments: &[&str]) -> Output {
    siloscan(&[&["doctor"], arguments].concat())
}

fn printed(arguments: &[&str], code: i32) -> String {
    ends(&doctor(arguments), code).0
}

/// The state of a check, and what was found.
fn check(document: &Value, name: &str) -> (String, String) {
    let checks = document["checks"].as_array().expect("a list");
    let row = checks.iter().find(|row| row["check"] == name);
    let row = row.unwrap_or_else(|| panic!("{name} is not in {document:#}"));
    let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    (word("state"), word("found"))
}

fn examined(more: &[&str], code: i32) -> Value {
    let out = printed(&[&["--json"], more].concat(), code);
    serde_json::from_str(&out).expect("JSON")
}

/// A configuration beside a folder of rules and a file of exclusions.
fn configured(folder: &Path, more: &str) -> String {
    fs::create_dir_all(folder.join("rules")).expect("a folder");
    fs::write(folder.join("exclusions.txt"), "layer C:\\a\n").expect("written");
    let file = folder.join("siloscand.toml");
    let text = format!(
        "[engine]\nrules = 'rules'\n[exclusions]\nfile = 'exclusions.txt'\n[metrics]\n\
         listen = '127.0.0.1:9753'\n{more}"
    );
    fs::write(&file, text).expect("written");
    file.to_str().expect("a plain name").to_owned()
}

#[test]
fn a_running_service_and_its_files_are_examined() {
    let observed = observed::observed();
    let address = observed.endpoint.address().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let config = configured(folder.path(), "");
    let asked = ["--address", &address, "--config", &config];
    // The one thing to look at: only the built-in rule is in use.
    let told = examined(&asked, 1);
    for name in [
        "service",
        "connection",
        "workers",
        "configuration",
        "exclusions",
        "metrics",
    ] {
        assert_eq!(check(&told, name).0, "ok", "{name}: {told:#}");
    }
    assert_eq!(check(&told, "rules").0, "warning");
    for name in [
        "driver",
        "container filter",
        "volumes",
        "scan service",
        "policy",
    ] {
        assert_eq!(check(&told, name).0, "not_here", "{name}");
    }
    let table = printed(&asked, 1);
    assert!(
        table.contains("not here") && table.contains("warning"),
        "{table}"
    );

    let driver = &observed.running.driver;
    driver.refuse(Some(ConnectError::NoDriver));
    driver.disconnect();
    let service = &observed.running.service;
    driver.wait(|| (!service.is_connected()).then_some(()));
    assert_eq!(check(&examined(&asked, 1), "connection").0, "bad");
    observed.finish();
}

#[test]
fn what_is_wrong_with_files_is_told_and_ends_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = configured(folder.path(), "");
    let told = examined(&[&["--config", &config], &NOBODY[..]].concat(), 1);
    let (state, found) = check(&told, "service");
    assert!(
        state == "bad" && found.contains("siloscand --metrics"),
        "{found}"
    );

    fs::write(folder.path().join("exclusions.txt"), "volume \u{1b}[2J\n").expect("written");
    fs::remove_dir(folder.path().join("rules")).expect("empty");
    let told = examined(&[&["--config", &config], &NOBODY[..]].concat(), 1);
    assert_eq!(check(&told, "rules folder").0, "bad");
    assert_eq!(check(&told, "exclusions").0, "warning");
    printed(&[&["--config", &config], &NOBODY[..]].concat(), 1);

    fs::write(&config, "[engine]\nrule = 1\n[\u{202e}x]\n").expect("written");
    let told = examined(&[&["--config", &config], &NOBODY[..]].concat(), 1);
    let (state, found) = check(&told, "configuration");
    assert!(
        state == "bad" && found.contains("siloscand.toml:2:"),
        "{found}"
    );
    printed(&[&["--config", &config], &NOBODY[..]].concat(), 1);

    let values = folder.path().join("policy.reg");
    let head = "REGEDIT4\r\n[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\siloscan\
                \\Parameters]\r\n";
    let name = values.to_str().expect("a plain name");
    for (line, state) in [
        ("", "ok"),
        ("\"AuditOnly\"=dword:00000001\r\n", "warning"),
        ("\"OnFailure\"=dword:00000009\r\n", "bad"),
    ] {
        fs::write(&values, format!("{head}{line}")).expect("written");
        let told = examined(&[&["--values", name], &NOBODY[..]].concat(), 1);
        assert_eq!(check(&told, "policy").0, state);
    }
}

#[test]
fn an_error_line_is_explained() {
    let layer = r"\\?\C:\ProgramData\docker\windowsfilter\0123abcd";
    let line = format!(
        "failed to register layer: re-exec error: exit status 1: output: \
         hcsshim::ProcessBaseLayer {layer}: The process cannot access the file. (0x20)"
    );
    let said = printed(&["explain", &line], 0);
    for part in [
        "ProcessBaseLayer",
        layer,
        "0x20 (32)",
        "ERROR_SHARING_VIOLATION",
        "next",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    // As a shell cuts it up.
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(printed(&[&["explain"], &words[..]].concat(), 0), said);
    let told: Value =
        serde_json::from_str(&printed(&["explain", "0xE1", "--json"], 0)).expect("JSON");
    assert_eq!(told["name"], "ERROR_VIRUS_INFECTED");
    let said = printed(&["explain", "\u{1b}[2J\u{202e} D:\\\u{9b}x: (0x12345)"], 1);
    assert!(said.contains("not known"), "{said}");
    let said = doctor(&["explain"]);
    assert_eq!(said.status.code(), Some(2));
}
