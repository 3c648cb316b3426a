//! Drivers that are broken on purpose. Each patch in `tests/mutants` says in its first lines what
//! it breaks and which test must notice:
//!
//! ```text
//! breaks: the ECP's fields are not zeroed
//! test: ecp stale_fields_are_never_read
//! --- a/src/ecp.rs
//! …
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cargo::host;
use super::copy::{self, Copy};
use super::{Bench, Found};
use crate::command::{self, Ended};
use crate::files;
use crate::trouble::{Outcome, Trouble};

/// One test against one driver. Compiling the test is not in it: the stage before did that.
const LIMIT: Duration = Duration::from_secs(300);

/// What a patch says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Mutant {
    breaks: String,
    file: String,
    test: String,
}

/// Builds each broken driver and runs its test, which must fail; it must pass with the good one.
pub fn run(bench: &mut Bench) -> Outcome<Found> {
    copy::need(bench)?;
    let good = bench.built()?.image;
    let folder = bench.root.join("tests/mutants");
    let patches = files::names(&folder)?
        .into_iter()
        .filter(|name| name.ends_with(".patch"));
    let mut found = Found::default();
    let copy = Copy::new(bench)?;
    for name in patches {
        let result = one(bench, &copy, &folder.join(&name), &good);
        copy.restore()?;
        match result {
            Ok(breaks) => {
                found.passed += 1;
                bench.say.step("noticed", &format!("{name}: {breaks}"));
            }
            Err(trouble) => found.failed.push(format!("{name}: {trouble}")),
        }
    }
    if found.passed + found.failed.len() == 0 {
        return Err(Trouble::new("tests/mutants holds no patch"));
    }
    found.about = "each broken driver is noticed by its test".into();
    Ok(found)
}

fn one(bench: &mut Bench, copy: &Copy, patch: &Path, good: &Path) -> Outcome<String> {
    let mutant = parse(&files::read(patch)?)
        .ok_or_else(|| Trouble::new("it does not begin with `breaks:` and `test: FILE NAME`"))?;
    copy.patch(patch)?;
    let built = copy
        .request()
        .prepare(&mut bench.say)?
        .build(&mut bench.say)?;
    let name = patch
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let says = |what: &str| Trouble::new(format!("{} {} {what}", mutant.file, mutant.test));
    let log = bench.log(&format!("mutant-{name}-good"));
    match attempt(bench, &mutant, good.to_owned(), &log)? {
        Verdict::Passed => {}
        other => {
            return Err(says(&format!(
                "{other:?} with the good driver: {}",
                log.display()
            )));
        }
    }
    let log = bench.log(&format!("mutant-{name}"));
    match attempt(bench, &mutant, built.image, &log)? {
        Verdict::Failed => Ok(mutant.breaks),
        other => Err(says(&format!(
            "{other:?} with the broken driver: {}",
            log.display()
        ))),
    }
}

/// What became of one test.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    NotRun,
    Hung,
}

fn attempt(bench: &mut Bench, mutant: &Mutant, image: PathBuf, log: &Path) -> Outcome<Verdict> {
    let mut test = host(bench, "test");
    test.args([
        "--workspace",
        "--locked",
        "--features",
        "siloscan/built-image,filterhost/clang",
    ]);
    test.args(["--test", &mutant.file, "--", "--exact", &mutant.test]);
    test.env("SILOSCAN_IMAGE", image);
    let mut verdict = Verdict::NotRun;
    let Bench { say, .. } = bench;
    say.moving("mutants", &format!("{} {}", mutant.file, mutant.test));
    let ended = command::limited(&mut test, log, LIMIT, |line| {
        if line.contains("test result: ok. 1 passed") {
            verdict = Verdict::Passed;
        } else if line.contains("test result: FAILED. 0 passed; 1 failed") {
            verdict = Verdict::Failed;
        }
    })?;
    say.clear();
    Ok(if ended == Ended::Late {
        Verdict::Hung
    } else {
        verdict
    })
}

fn parse(patch: &str) -> Option<Mutant> {
    let mut lines = patch.lines();
    let breaks = lines.next()?.strip_prefix("breaks: ")?.to_owned();
    let (file, test) = lines.next()?.strip_prefix("test: ")?.split_once(' ')?;
    Some(Mutant {
        breaks,
        file: file.to_owned(),
        test: test.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_must_say_what_it_breaks_and_who_notices() {
        let mutant = parse("breaks: x is not y\ntest: ecp a::b\n--- a/x\n").unwrap();
        assert_eq!(mutant.file, "ecp");
        assert_eq!(mutant.test, "a::b");
        assert_eq!(parse("--- a/x\n+++ b/x\n"), None);
        assert_eq!(parse("breaks: x\ntest: onlyone\n"), None);
    }
}
