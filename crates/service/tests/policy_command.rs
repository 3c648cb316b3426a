//! The command `siloscan policy`: what it reads, what it tells, what it refuses.
#![cfg(unix)]

mod shell;

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
#[expect(dead_code, reason = "what this test needs of it is a part")]
mod observed;

use std::fs;

use serde_json::{Value, json};
use shell::{ends, siloscan};

const HEAD: &str = "Windows Registry Editor Version 5.00\r\n\r\n\
    [HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\siloscan\\Parameters]\r\n";

fn policy(arguments: &[&str], code: i32) -> (String, String) {
    ends(&siloscan(&[&["policy"], arguments].concat()), code)
}

/// A file of these bytes is read; what the command says.
fn of(bytes: &[u8], more: &[&str], code: i32) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.reg");
    fs::write(&file, bytes).expect("written");
    let file = file.to_str().expect("a plain name");
    let nobody = ["--values", file, "--address", "127.0.0.1:1"];
    policy(&[&nobody, more].concat(), code)
}

fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    [0xff, 0xfe].into_iter().chain(units).collect()
}

#[test]
fn a_hosts_policy_is_read_from_its_export() {
    let strict = format!(
        "{HEAD}\"OnFailure\"=dword:00000001\r\n\"OnEvasion\"=dword:00000002\r\n\
         \"CacheEntries\"=dword:00020000\r\n"
    );
    let (out, errors) = of(&utf16(&strict), &["--json"], 0);
    assert_eq!(errors, "");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let parameters = told["parameters"].as_array().expect("a list");
    let of_name = |name: &str| {
        parameters
            .iter()
            .find(|it| it["name"] == name)
            .expect("one")
    };
    assert_eq!(of_name("CacheEntries")["value"], 131_072);
    assert_eq!(
        of_name("CacheEntries")["takes_effect"],
        "at the driver's next load"
    );
    assert_eq!(of_name("OnFailure")["source"], "registry");
    assert_eq!(of_name("HeartbeatMs")["source"], "default");
    let cases = told["cases"].as_array().expect("a list");
    let case = |end: &str| cases.iter().find(|it| it["end"] == end).expect("one");
    let denied = |reason: &str| json!({ "allowed": false, "reason": reason });
    assert_eq!(case("no-service")["host"], denied("failure-denied"));
    assert_eq!(case("locked")["container"], denied("evasion-denied"));
    assert_eq!(case("locked")["again"], true);
    assert!(
        told["service"]["error"]
            .as_str()
            .is_some_and(|said| said.contains("--metrics"))
    );

    let (table, _) = of(strict.as_bytes(), &[], 0);
    for part in [
        "1 (deny)",
        "2 (deny)",
        "131072 entries",
        "deny: failure-denied",
        "registry",
    ] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
}

#[test]
fn nonsense_is_told_with_the_default_that_holds() {
    let hostile = format!(
        "{HEAD}\"OnFailure\"=dword:00000009\r\n\"AuditOnly\"=\"1\"\r\n\
         \"On\u{1b}[2JStale\u{202e}\"=dword:1\r\n"
    );
    let (table, _) = of(&utf16(&hostile), &[], 1);
    for part in [
        "9 is not from 0 to 1",
        "no REG_DWORD",
        "knows no value",
        "0 (allow)",
    ] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let (out, _) = of(&utf16(&hostile), &["--json"], 1);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["unknown"], json!(["On\u{1b}[2JStale\u{202e}"]));
    for (bytes, word) in [
        (&b"\x7fELF"[..], "reg export"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b"REGEDIT4\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE]\r\n", "no key"),
        (&[HEAD.as_bytes(), b"\"a"].concat(), "line 4"),
    ] {
        let (_, said) = of(bytes, &[], 2);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_value_is_checked_by_the_drivers_table_before_anything_is_written() {
    let (_, said) = policy(&["set", "OnEvasion", "3"], 2);
    assert!(
        said.contains("from 0 to 2") && said.contains("deny in a silo"),
        "{said}"
    );
    let (_, said) = policy(&["set", "OnEvasions", "1"], 2);
    assert!(said.contains("OnStale"), "{said}");
    let (_, said) = policy(&["set", "onevasion", "deny-in-a-silo"], 2);
    assert!(said.contains("/v OnEvasion /t REG_DWORD /d 0 /f"), "{said}");
    let (_, said) = policy(&["reset", "AuditOnly"], 2);
    assert!(said.contains("reg delete"), "{said}");
    let (_, said) = policy(&[], 2);
    assert!(
        said.contains("reg export") && said.contains("--values"),
        "{said}"
    );
    let (_, said) = policy(&["--values", "/nowhere/at/all"], 2);
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn what_the_service_decides_itself_is_asked_of_it() {
    let observed = observed::observed();
    let address = observed.endpoint.address().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.reg");
    fs::write(&file, HEAD).expect("written");
    let file = file.to_str().expect("a plain name");
    let asked = ["--values", file, "--address", &address];
    let (table, _) = policy(&asked, 0);
    assert!(table.contains("what it finds is denied"), "{table}");
    observed.running.service.audit(true);
    let (table, _) = policy(&asked, 0);
    assert!(table.contains("reported and not denied"), "{table}");
    observed.finish();
}
