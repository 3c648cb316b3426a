//! The command `siloscan exclude`: what it writes, what it refuses, and that a running service
//! takes it up.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
#[expect(dead_code, reason = "what this test needs of it is a part")]
mod observed;
mod shell;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use shell::{ends, siloscan};
use siloscan_service::exclusions::ExclusionKeeper;
use tempfile::TempDir;

/// What the driver's side is told to exclude (`observed`).
const EXCLUDED: &str = "09090909-0909-0909-0909-090909090909";
const OTHER: &str = "03020100-0504-0706-0809-0a0b0c0d0e0f";
/// Nobody listens there.
const NOBODY: [&str; 2] = ["--address", "127.0.0.1:1"];

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("exclusions.txt")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).expect("a file of text")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let file = self.file();
        let place = ["--file", file.to_str().expect("a plain name")];
        siloscan(&[&["exclude"], arguments, &place].concat())
    }
}

fn json(output: &Output, code: i32) -> Value {
    serde_json::from_str(&ends(output, code).0).expect("JSON")
}

#[test]
fn entries_come_and_go_and_the_rest_stays() {
    let place = Place::new();
    let add = ["add", "container", OTHER, "--why", "the build machine"];
    let (said, _) = ends(&place.run(&add), 0);
    assert!(said.contains("line 1"), "{said}");
    let whole = format!("container {OTHER}   # the build machine\n");
    assert_eq!(place.text(), whole);
    let ours = format!("# ours\r\n\r\nlayer  C:\\a   # x\r\n{whole}volume C:\n");
    fs::write(place.file(), &ours).expect("written");

    let upper = format!("{{{}}}", OTHER.to_uppercase());
    let (said, _) = ends(&place.run(&["add", "container", &upper]), 0);
    assert!(said.contains("already, line 4"), "{said}");
    let told = json(&place.run(&["add", "layer", r"C:\a", "--json"]), 0);
    assert_eq!((&told["added"], &told["line"]), (&false.into(), &3.into()));
    assert_eq!(place.text(), ours, "nothing was written");

    let content = place.0.path().join("content");
    fs::write(&content, "abc").expect("written");
    let content = content.to_str().expect("a plain name");
    let told = json(&place.run(&["add", "file", "--of", content, "--json"]), 0);
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(told["value"], abc);
    ends(&place.run(&["remove", "container", &OTHER[..8]]), 0);
    let left = format!("# ours\r\n\r\nlayer  C:\\a   # x\r\nvolume C:\nfile {abc}\r\n");
    assert_eq!(place.text(), left);
    ends(&place.run(&["remove", "file", "--of", content]), 0);
    let (_, said) = ends(&place.run(&["remove", "file", abc]), 2);
    assert!(said.contains("exclude list"), "{said}");
    let entries = fs::read_dir(place.0.path()).expect("a folder").count();
    assert_eq!(entries, 2, "nothing is left beside the file");
}

#[test]
fn what_the_service_would_not_take_is_not_written() {
    let place = Place::new();
    let hostile = format!("C:\\a\ncontainer {OTHER}");
    for (arguments, word) in [
        (&["add", "container", "12"][..], "no container's id"),
        (&["add", "image", "sha256:00"], "64 digits"),
        (&["add", "layer", &hostile], "control character"),
        (&["add", "layer", "C:\\a #1"], "comment"),
        (&["add", "layer", "a", "--why", "b\u{1b}[2J"], "--why"),
        (&["add", "image", "--of", "/etc/passwd"], "file"),
        (
            &["add", "file", "--of", "/nowhere/\u{202e}x"],
            "cannot read",
        ),
        (&["add", "file"], "VALUE"),
        (&["remove", "layer", "a"], "cannot read"),
        (&["list"], "cannot read"),
    ] {
        let (_, said) = ends(&place.run(arguments), 2);
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert!(!place.file().exists(), "{arguments:?}");
    }
    let digits = "0".repeat(61);
    let lines = ["abc", "abd"].map(|first| format!("image sha256:{first}{digits}\n"));
    fs::write(place.file(), lines.concat()).expect("written");
    let (_, said) = ends(&place.run(&["remove", "image", "sha256:ab"]), 2);
    assert!(said.contains("not in the file"), "{said}");
    fs::write(place.file(), b"\xff\xfec\0").expect("written");
    let (_, said) = ends(&place.run(&["add", "container", OTHER]), 2);
    assert!(said.contains("UTF-16"), "{said}");
    assert_eq!(fs::read(place.file()).expect("there"), b"\xff\xfec\0");
}

#[test]
fn the_file_is_found_through_the_configuration() {
    let place = Place::new();
    let config = place.0.path().join("siloscand.toml");
    let said = |arguments: &[&str], code| ends(&siloscan(arguments), code);
    let path = config.to_str().expect("a plain name").to_owned();
    let add = ["exclude", "add", "container", OTHER, "--config", &path];
    fs::write(&config, "[exclusions]\nfile = 'exclusions.txt'\n").expect("written");
    said(&add, 0);
    assert_eq!(place.text(), format!("container {OTHER}\n"));
    fs::write(&config, "").expect("written");
    let (_, errors) = said(&add, 2);
    assert!(errors.contains("--file"), "{errors}");
    fs::write(&config, "[exclusion]\n").expect("written");
    let (_, errors) = said(&add, 2);
    assert!(errors.contains("siloscand.toml:1:"), "{errors}");
    let (_, errors) = said(&["exclude", "list"], 2);
    assert!(errors.contains("--config"), "{errors}");
}

#[test]
fn a_running_service_takes_the_entries_up_and_tells_their_hits() {
    let observed = observed::observed();
    let address = observed.endpoint.address().to_string();
    let place = Place::new();
    ends(
        &place.run(&["add", "container", EXCLUDED, "--why", "\u{202b}x"]),
        2,
    );
    ends(&place.run(&["add", "container", EXCLUDED]), 0);
    ends(
        &place.run(&["add", "container", OTHER, "--why", "not yet"]),
        0,
    );
    let asked = ["list", "--json", "--address", &address];
    let told = json(&place.run(&asked), 0);
    assert_eq!(told["entries"][0]["hits"], 0, "{told}");
    assert_eq!(told["entries"][1]["hits"], Value::Null, "{told}");
    assert_eq!(told["entries"][1]["why"], "not yet");
    let (table, _) = ends(&place.run(&["list", "--address", &address]), 0);
    assert!(table.contains("0 opens"), "{table}");
    assert!(table.contains("not in force"), "{table}");

    let mut keeper = ExclusionKeeper::new(Path::new(&place.file()));
    keeper.check(&observed.running.service);
    let told = json(&place.run(&asked), 0);
    assert_eq!(told["entries"][1]["hits"], 0, "the service has it: {told}");
    ends(&place.run(&["remove", "container", OTHER]), 0);
    keeper.check(&observed.running.service);
    assert_eq!(observed.running.service.hits().len(), 1);

    let broken = format!("container {OTHER} # \u{1b}[2J\ncontainer \u{1b}]0;x\u{7}\n");
    fs::write(place.file(), broken).expect("written");
    let (table, _) = ends(&place.run(&["list", NOBODY[0], NOBODY[1]]), 1);
    assert!(table.contains(":2: "), "{table}");
    assert!(table.contains("no hits are shown"), "{table}");
    let told = json(&place.run(&["list", "--json", NOBODY[0], NOBODY[1]]), 1);
    assert_eq!(told["problems"].as_array().map(Vec::len), Some(1));
    observed.finish();
}
