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
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::copy::{self, Copy};
use super::programs::{self, Feed, Program};
use super::{Bench, Found};
use crate::command::{self, Ended};
use crate::files;
use crate::trouble::{Outcome, Trouble};

/// One test against one driver.
const LIMIT: Duration = Duration::from_secs(300);

/// What a patch says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Mutant {
    breaks: String,
    file: String,
    test: String,
}

/// A broken driver, or why there is none.
struct Job {
    patch: String,
    ready: Outcome<(Mutant, PathBuf)>,
}

/// Builds each broken driver and runs its test, which must fail; it must pass with the good one.
/// While one driver is built, those before it are tested.
pub fn run(bench: &mut Bench) -> Outcome<Found> {
    copy::need(bench)?;
    let good = bench.built()?.image;
    let programs = programs::compiled(bench)?;
    let folder = bench.root.join("tests/mutants");
    let patches: Vec<String> = files::names(&folder)?
        .into_iter()
        .filter(|name| name.ends_with(".patch"))
        .collect();
    if patches.is_empty() {
        return Err(Trouble::new("tests/mutants holds no patch"));
    }
    let copy = Copy::new(bench)?;
    let (root, logs) = (bench.root.clone(), bench.logs.clone());
    let feed = |bench: &mut Bench, feed: &mut Feed<Job>| {
        for patch in patches {
            let ready = build(bench, &copy, &folder.join(&patch));
            feed.push(Job { patch, ready });
        }
    };
    let work = |job: Job, tell: &Sender<String>| {
        let name = job.patch.trim_end_matches(".patch").to_owned();
        tell.send(name.clone()).ok();
        let noticed = job.ready.and_then(|(mutant, broken)| {
            let attempt = |image: &Path, kind: &str| {
                let log = logs.join(format!("mutant-{name}-{kind}.log"));
                attempt(&programs, &mutant, &root, image, &log)
            };
            judge(
                &mutant,
                attempt(&good, "good")?,
                attempt(&broken, "broken")?,
            )
        });
        (job.patch, noticed)
    };
    let results = programs::lanes(bench, "mutants", feed, work);
    copy.restore()?;
    let mut found = Found::default();
    for (patch, noticed) in results {
        match noticed {
            Ok(breaks) => {
                found.passed += 1;
                bench.say.step("noticed", &format!("{patch}: {breaks}"));
            }
            Err(trouble) => found.failed.push(format!("{patch}: {trouble}")),
        }
    }
    found.about = "each broken driver is noticed by its test".into();
    Ok(found)
}

/// Builds the driver with a patch in it; the image lies where the next build leaves it alone.
fn build(bench: &mut Bench, copy: &Copy, patch: &Path) -> Outcome<(Mutant, PathBuf)> {
    let mutant = parse(&files::read(patch)?)
        .ok_or_else(|| Trouble::new("it does not begin with `breaks:` and `test: FILE NAME`"))?;
    copy.restore()?;
    copy.patch(patch)?;
    let built = copy
        .request()
        .prepare(&mut bench.say)?
        .build(&mut bench.say)?;
    let folder = bench.root.join("target/mutants/images");
    let folder = folder.join(patch.file_stem().unwrap_or_default());
    files::make_folder(&folder)?;
    let image = folder.join(built.image.file_name().unwrap_or_default());
    let symbols = folder.join(built.pdb.file_name().unwrap_or_default());
    files::write(&image, files::bytes(&built.image)?)?;
    files::write(&symbols, files::bytes(&built.pdb)?)?;
    Ok((mutant, image))
}

/// What became of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    NotRun,
    Hung,
}

fn judge(mutant: &Mutant, good: Verdict, broken: Verdict) -> Outcome<String> {
    let says = |verdict: Verdict, driver: &str| {
        let text = format!("{} {}", mutant.file, mutant.test);
        Trouble::new(format!("{text} {verdict:?} with the {driver} driver"))
            .next("see target/test-logs")
    };
    match (good, broken) {
        (Verdict::Passed, Verdict::Failed) => Ok(mutant.breaks.clone()),
        (Verdict::Passed, other) => Err(says(other, "broken")),
        (other, _) => Err(says(other, "good")),
    }
}

fn attempt(
    programs: &[Program],
    mutant: &Mutant,
    root: &Path,
    image: &Path,
    log: &Path,
) -> Outcome<Verdict> {
    let Some(program) = programs.iter().find(|it| it.name == mutant.file) else {
        return Ok(Verdict::NotRun);
    };
    let mut test = program.command(root, image);
    test.args(["--exact", &mutant.test]);
    let mut verdict = Verdict::NotRun;
    let ended = command::limited(&mut test, log, LIMIT, |line| {
        if line.contains("test result: ok. 1 passed") {
            verdict = Verdict::Passed;
        } else if line.contains("test result: FAILED. 0 passed; 1 failed") {
            verdict = Verdict::Failed;
        }
    })?;
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
        use Verdict::{Failed, NotRun, Passed};
        assert!(judge(&mutant, Passed, Failed).is_ok());
        for (good, broken) in [(Passed, Passed), (Failed, Failed), (Passed, NotRun)] {
            assert!(judge(&mutant, good, broken).is_err(), "{good:?} {broken:?}");
        }
        assert_eq!(parse("--- a/x\n+++ b/x\n"), None);
        assert_eq!(parse("breaks: x\ntest: onlyone\n"), None);
    }
}
