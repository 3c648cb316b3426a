//! Each promise of the core is broken once, and a test must notice.
//!
//! `mutants/*.patch` say in their first two lines what they break and which test notices. They
//! are applied to a copy, one after the other. That compiles the crate once for each, so it runs
//! on demand: `cargo test -p siloscan-core --test mutants -- --ignored`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CORE: &str = env!("CARGO_MANIFEST_DIR");

/// A patch: what it breaks, and who notices.
struct Mutant {
    path: PathBuf,
    breaks: String,
    binary: String,
    test: String,
}

fn mutants() -> Vec<Mutant> {
    let folder = Path::new(CORE).join("tests/mutants");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.into_iter().map(parse).collect()
}

fn parse(path: PathBuf) -> Mutant {
    let text = fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    let mut line = |start: &str| {
        let line = lines.next().and_then(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{}: no line {start:?}", path.display()))
            .to_owned()
    };
    let breaks = line("breaks: ");
    let test = line("test: ");
    let (binary, test) = test.split_once(' ').expect("a file and a test");
    let (binary, test) = (binary.to_owned(), test.to_owned());
    Mutant {
        path,
        breaks,
        binary,
        test,
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A workspace of its own with a copy of this crate.
fn lay_out(root: &Path) {
    let house = Path::new(CORE).join("../..");
    let manifest = fs::read_to_string(house.join("Cargo.toml")).unwrap();
    let shared = manifest
        .find("[workspace.package]")
        .expect("shared settings");
    let rest = &manifest[shared..];
    let end = rest.find("\n[package]").expect("the driver's own part");
    let manifest = format!(
        "[workspace]\nmembers = [\"crates/core\"]\nresolver = \"3\"\n\n{}\n",
        &rest[..end]
    );
    fs::create_dir_all(root).unwrap();
    fs::write(root.join("Cargo.toml"), manifest).unwrap();
    fs::copy(house.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
}

/// The sources as they are, whatever was done to the copy before.
fn restore(root: &Path) {
    let _ = fs::remove_dir_all(root.join("crates/core"));
    copy(Path::new(CORE), &root.join("crates/core"));
}

fn test(root: &Path, mutant: &Mutant) -> Output {
    Command::new(env!("CARGO"))
        .current_dir(root)
        .args([
            "test",
            "-p",
            "siloscan-core",
            "--test",
            &mutant.binary,
            "--",
            "--exact",
        ])
        .arg(&mutant.test)
        .env("CARGO_TARGET_DIR", root.join("target"))
        .output()
        .unwrap()
}

#[test]
fn every_patch_says_what_it_breaks_and_who_notices() {
    let all = mutants();
    assert!(all.len() >= 19);
    for mutant in all {
        let own = format!("fn {}(", mutant.test);
        let tests = Path::new(CORE).join("tests");
        let single = vec![tests.join(format!("{}.rs", mutant.binary))];
        let folder = fs::read_dir(tests.join(&mutant.binary));
        let parts = folder
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let found = single
            .into_iter()
            .chain(parts)
            .any(|path| fs::read_to_string(path).is_ok_and(|source| source.contains(&own)));
        assert!(found, "{} {}", mutant.binary, mutant.test);
    }
}

#[test]
#[ignore = "compiles the crate once for each of them: minutes"]
fn every_broken_core_is_noticed() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    lay_out(&root);
    let mut missed = Vec::new();
    for mutant in mutants() {
        restore(&root);
        let patch = fs::File::open(&mutant.path).unwrap();
        let patched = Command::new("patch")
            .current_dir(&root)
            .args(["-p1", "-s"])
            .stdin(patch)
            .status();
        assert!(
            patched.unwrap().success(),
            "{} does not apply",
            mutant.path.display()
        );
        let output = test(&root, &mutant);
        let told = String::from_utf8_lossy(&output.stdout);
        if told.contains("test result: FAILED. 0 passed; 1 failed") {
            println!("noticed: {}", mutant.breaks);
        } else {
            let why = String::from_utf8_lossy(&output.stderr);
            missed.push(format!("{}\n{told}\n{why}", mutant.path.display()));
        }
    }
    assert!(missed.is_empty(), "not noticed:\n{}", missed.join("\n"));
}
