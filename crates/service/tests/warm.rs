//! The command `siloscan warm`: what it says, and how it ends.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn warm(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siloscan"))
        .args(["warm", "--quiet"])
        .arg(folder)
        .output()
        .expect("it starts")
}

fn fails_with(folder: &Path, words: &[&str]) {
    let output = warm(folder);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{folder:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn a_folder_that_cannot_be_warmed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fails_with(&dir.path().join("nowhere"), &["nowhere", "no such folder"]);
    fails_with(dir.path(), &["holds no file"]);
    let file = dir.path().join("file");
    fs::write(&file, b"x").unwrap();
    fails_with(&file, &["cannot read the folder", "file"]);
}

#[test]
fn every_file_below_is_opened_and_links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    for file in ["one", "a/two", "a/b/three"] {
        fs::write(dir.path().join(file), b"x").unwrap();
    }
    std::os::unix::fs::symlink("/etc", dir.path().join("a/link")).unwrap();
    let output = warm(dir.path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "3 warm, 0 infected, 0 went away, 0 failed\n");
    assert_eq!(output.status.code(), Some(0));
}
