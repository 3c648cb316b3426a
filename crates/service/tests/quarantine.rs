//! The command `siloscan quarantine`: what it prints, what it does, how it ends.
#![cfg(unix)]

mod shell;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use shell::{ends, siloscan};
use siloscan_quarantine::{Bounds, ItemId, Origin, Quarantine};

/// A name that would clear the screen, and turn the order of its letters.
const NAME: &str = "C:\\a\u{1b}[2J\u{9b}\u{202e}exe.txt";

struct Place {
    root: tempfile::TempDir,
    items: Vec<ItemId>,
}

impl Place {
    /// A quarantine with two items.
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("quarantine");
        let quarantine = Quarantine::keep(&folder, Bounds::default()).expect("ours");
        let origin = |time_ms, path: &str| Origin {
            time_ms,
            path: Some(path.to_owned()),
            container: Some("03020100-0504-0706-0809-0a0b0c0d0e0f".to_owned()),
            rule: "A_Rule".to_owned(),
            ..Origin::default()
        };
        let first = quarantine.put(b"one", &origin(0, NAME)).expect("room");
        let second = quarantine.put(b"two", &origin(1_000, "b")).expect("room");
        Self {
            root,
            items: vec![first.id(), second.id()],
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("quarantine")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        command(&self.folder(), arguments)
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Output {
    let folder = folder.to_string_lossy();
    siloscan(&[&["quarantine", "--folder", &folder], arguments].concat())
}

/// Ended well; what it printed.
fn prints(output: &Output) -> String {
    let (out, errors) = ends(output, 0);
    assert_eq!(errors, "");
    out
}

/// Ended with 2 and said all of this.
fn fails(output: &Output, words: &[&str]) -> String {
    let (out, said) = ends(output, 2);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    out
}

#[test]
fn a_list_shows_each_item_and_steers_no_terminal() {
    let place = Place::new();
    let shown = prints(&place.run(&["list"]));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    for (line, id) in lines.iter().zip(&place.items) {
        assert!(line.starts_with(&id.to_string()), "{line}");
        assert!(
            line.contains("A_Rule") && line.contains("3 bytes"),
            "{line}"
        );
    }
    assert!(lines[0].contains("1970-01-01 00:00:00"), "{shown}");
    assert!(lines[0].contains("exe.txt"), "{shown}");
    let json = prints(&place.run(&["list", "--json"]));
    let items: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(items[0]["path"], NAME);
    assert_eq!(items[1]["id"], place.items[1].to_string());
    assert_eq!(items[1]["size"], 3);
}

#[test]
fn a_damaged_item_is_named_and_the_list_ends_with_2() {
    let place = Place::new();
    let path = place.folder().join(format!("{}.item", place.items[0]));
    fs::write(path, b"x").expect("writable");
    let shown = fails(&place.run(&["list"]), &[]);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("damaged"), "{shown}");
    let json = fails(&place.run(&["list", "--json"]), &[]);
    let items: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(items[1]["error"].is_string(), "{json}");
    let to = place.root.path().join("out");
    let id = place.items[0].to_string();
    let to_text = to.to_string_lossy();
    fails(
        &place.run(&["restore", &id, "--to", &to_text]),
        &["damaged"],
    );
    assert!(!to.exists());
}

#[test]
fn an_item_is_restored_once_and_deleted_for_good() {
    let place = Place::new();
    let to = place.root.path().join("out");
    let to_text = to.to_string_lossy().into_owned();
    let id = place.items[1].to_string();
    let restore = ["restore", &id[..6], "--to", &to_text];
    let said = prints(&place.run(&restore));
    assert!(said.contains(&id), "{said}");
    assert_eq!(fs::read(&to).expect("it is there"), b"two");
    fails(&place.run(&restore), &["there already", "another file"]);
    let missing = place.run(&["delete", "ffffffffffffffff", &id]);
    let said = fails(&missing, &["no item", "quarantine list"]);
    assert!(said.contains(&id), "the other one is deleted: {said}");
    fails(&place.run(&restore), &["no item"]);
    let first = place.items[0].to_string();
    let json = prints(&place.run(&["delete", &first, "--json"]));
    let deleted: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(deleted["deleted"][0], first);
    assert_eq!(prints(&place.run(&["list"])), "the quarantine is empty\n");
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let place = Place::new();
    let nowhere = place.root.path().join("nowhere");
    fails(&command(&nowhere, &["list"]), &["nowhere", "--quarantine"]);
    fails(&place.run(&["delete", "xyz"]), &["xyz", "at least 4"]);
    fails(&place.run(&["restore", "abcd"]), &["--to"]);
    fails(&place.run(&["delete"]), &["IDS"]);
}
