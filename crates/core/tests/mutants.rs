//! Each promise of the core is broken once, and a test must notice: `cargo xtask mutants`.
//!
//! `mutants/*.patch` say in their first two lines what they break and which test notices; here it
//! is only looked whether that test exists.

use std::fs;
use std::path::{Path, PathBuf};

const CORE: &str = env!("CARGO_MANIFEST_DIR");

/// A patch: what it breaks, and who notices.
struct Mutant {
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
    line("breaks: ");
    let test = line("test: ");
    let (binary, test) = test.split_once(' ').expect("a file and a test");
    let (binary, test) = (binary.to_owned(), test.to_owned());
    Mutant { binary, test }
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
