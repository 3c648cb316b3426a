//! Drivers and cores that are broken on purpose. Each patch in `tests/mutants` (the driver) and in
//! `crates/core/tests/mutants` (core) says in its first lines what it breaks and which test must
//! notice:
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

use super::cargo::host;
use super::copy::{self, Copy};
use super::programs::{self, FOR_EACH_PROCESSOR, Feed, Program};
use super::{Bench, Found, Stage};
use crate::command::{self, Ended};
use crate::files;
use crate::trouble::{Outcome, Trouble};

/// One test against one driver.
const LIMIT: Duration = Duration::from_secs(300);
/// Patches of the driver: the test of the root that is named loads the broken image.
const DRIVER: &str = "tests/mutants";
/// Patches of core: its own test of that name is compiled with the broken core.
const CORE: &str = "crates/core/tests/mutants";

/// What a patch says of itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What it breaks.
    pub breaks: String,
    /// The test program that notices; `fuzz` for a target of the fuzzer.
    pub file: String,
    /// The test, or the target.
    pub test: String,
}

/// A test program, and the driver that it loads, if it loads one.
struct Attempt {
    program: Program,
    image: Option<PathBuf>,
}

/// A broken product that is built, beside the good one; without that where a stage of the same run
/// has seen the test pass.
struct Ready {
    mutant: Mutant,
    good: Option<Attempt>,
    broken: Attempt,
}

/// A patch, and what was built with it, or why nothing was.
struct Job {
    patch: String,
    ready: Outcome<Ready>,
}

/// What is whole: the driver, and the programs that test it and core.
struct Whole {
    image: PathBuf,
    programs: Vec<Program>,
    core: Vec<Program>,
}

/// Builds each broken product and runs its test, which must fail; it must pass with the good one,
/// here or in the stages `image` and `unit` of the same run. While one is built, those before it
/// are tested.
pub fn run(bench: &mut Bench) -> Outcome<Found> {
    copy::need(&mut bench.say)?;
    let driver = patches(&bench.root, DRIVER)?;
    let core = patches(&bench.root, CORE)?;
    let copy = Copy::new(&bench.root)?;
    let core_tests = core_programs(bench, &copy, None)?;
    let whole = Whole {
        image: bench.built()?.image,
        programs: programs::of_the_image(bench)?,
        core: kept(bench, core_tests, "core")?,
    };
    let logs = bench.logs.clone();
    let feed = |bench: &mut Bench, feed: &mut Feed<Job>| {
        for patch in driver {
            let ready = broken_driver(bench, &copy, &patch, &whole);
            feed.push(Job { patch, ready });
        }
        for patch in core {
            let ready = broken_core(bench, &copy, &patch, &whole);
            feed.push(Job { patch, ready });
        }
    };
    let work = |job: Job, tell: &Sender<String>| {
        let name = stem(&job.patch);
        tell.send(name.clone()).ok();
        let noticed = job.ready.and_then(|ready| {
            let run = |attempt: &Attempt, kind: &str| {
                let log = logs.join(format!("mutant-{name}-{kind}.log"));
                verdict(attempt, &ready.mutant, &log)
            };
            let good = ready.good.as_ref().map(|good| run(good, "good"));
            let good = good.transpose()?.unwrap_or(Verdict::Passed);
            let broken = run(&ready.broken, "broken")?;
            judge(&ready.mutant, good, broken)
        });
        (job.patch, noticed)
    };
    let results = programs::lanes(bench, "mutants", FOR_EACH_PROCESSOR, feed, work);
    copy.restore()?;
    let mut found = Found::default();
    for (patch, noticed) in results {
        match noticed {
            Ok(breaks) => {
                found.passed += 1;
                bench
                    .say
                    .step("noticed", &format!("{}: {breaks}", stem(&patch)));
            }
            Err(trouble) => found.failed.push(format!("{patch}: {trouble}")),
        }
    }
    found.about = "each broken driver and core is noticed by its test".into();
    Ok(found)
}

/// The patches of a folder, relative to the root.
pub fn patches(root: &Path, folder: &str) -> Outcome<Vec<String>> {
    let names = files::names(&root.join(folder))?;
    let patches: Vec<String> = names
        .iter()
        .filter(|name| name.ends_with(".patch"))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    match patches.is_empty() {
        true => Err(Trouble::new(format!("{folder} holds no patch"))),
        false => Ok(patches),
    }
}

fn stem(patch: &str) -> String {
    let stem = Path::new(patch).file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Applies a patch to the copy, whatever was in it before.
pub fn patched(copy: &Copy, root: &Path, patch: &str) -> Outcome<Mutant> {
    let path = root.join(patch);
    let mutant = parse(&files::read(&path)?)
        .ok_or_else(|| Trouble::new("it does not begin with `breaks:` and `test: FILE NAME`"))?;
    copy.restore()?;
    copy.patch(&path)?;
    Ok(mutant)
}

fn named(programs: &[Program], name: &str) -> Outcome<Program> {
    let found = programs.iter().find(|program| program.name == name);
    found
        .cloned()
        .ok_or_else(|| Trouble::new(format!("there is no test program {name}")))
}

/// A driver with a patch in it; its image lies where the next build leaves it alone.
fn broken_driver(bench: &mut Bench, copy: &Copy, patch: &str, whole: &Whole) -> Outcome<Ready> {
    let mutant = patched(copy, &bench.root, patch)?;
    let built = copy
        .request()
        .prepare(&mut bench.say)?
        .build(&mut bench.say)?;
    if let Some(warning) = built.warnings.first() {
        return Err(unclean(warning));
    }
    let folder = kept_folder(bench, &stem(patch))?;
    let image = folder.join(built.image.file_name().unwrap_or_default());
    let symbols = folder.join(built.pdb.file_name().unwrap_or_default());
    files::copy(&built.image, &image)?;
    files::copy(&built.pdb, &symbols)?;
    let program = named(&whole.programs, &mutant.file)?;
    let seen = bench.passed.contains(&Stage::Image);
    Ok(Ready {
        good: (!seen).then(|| Attempt {
            program: program.clone(),
            image: Some(whole.image.clone()),
        }),
        broken: Attempt {
            program,
            image: Some(image),
        },
        mutant,
    })
}

/// Core's test with a patch in core.
fn broken_core(bench: &mut Bench, copy: &Copy, patch: &str, whole: &Whole) -> Outcome<Ready> {
    let mutant = patched(copy, &bench.root, patch)?;
    let programs = core_programs(bench, copy, Some(&mutant.file))?;
    if let Some(warning) = warned(&files::read(&bench.log("core-build"))?) {
        return Err(unclean(warning));
    }
    let programs = kept(bench, programs, &stem(patch))?;
    let attempt = |programs: &[Program]| {
        Ok(Attempt {
            program: named(programs, &mutant.file)?,
            image: None,
        })
    };
    let seen = bench.passed.contains(&Stage::Unit);
    let good = attempt(&whole.core)?;
    Ok(Ready {
        good: (!seen).then_some(good),
        broken: attempt(&programs)?,
        mutant,
    })
}

/// Core's test programs out of the copy: one of them, or all.
fn core_programs(bench: &mut Bench, copy: &Copy, only: Option<&str>) -> Outcome<Vec<Program>> {
    let mut build = host(bench, "test");
    build
        .current_dir(&copy.root)
        .args(["--package", "siloscan-core", "--target-dir"])
        .arg(bench.root.join("target/mutants/core"));
    match only {
        Some(name) => build.args(["--test", name]),
        None => build.args(["--test", "*"]),
    };
    programs::compiled(bench, &mut build, "core-build")
}

/// The compiler may not notice what a test should.
fn unclean(warning: &str) -> Trouble {
    Trouble::new(format!("it compiles with a warning:\n{warning}"))
        .next("change the patch so that nothing is left unused")
}

/// The first warning in what Cargo printed.
fn warned(log: &str) -> Option<&str> {
    let mut lines = log.lines();
    lines.find(|line| line.starts_with("warning: "))
}

fn kept_folder(bench: &Bench, name: &str) -> Outcome<PathBuf> {
    let folder = bench.root.join("target/mutants/kept").join(name);
    files::make_folder(&folder)?;
    Ok(folder)
}

/// Takes programs to where the next build leaves them alone.
fn kept(bench: &Bench, programs: Vec<Program>, name: &str) -> Outcome<Vec<Program>> {
    let folder = kept_folder(bench, name)?;
    let keep = |mut program: Program| {
        let path = folder.join(&program.name);
        files::copy(&program.path, &path)?;
        program.path = path;
        Ok(program)
    };
    programs.into_iter().map(keep).collect()
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
    let says = |verdict: Verdict, product: &str| {
        let text = format!("{} {}", mutant.file, mutant.test);
        Trouble::new(format!("{text} {verdict:?} with the {product} one"))
            .next("see target/test-logs")
    };
    match (good, broken) {
        (Verdict::Passed, Verdict::Failed) => Ok(mutant.breaks.clone()),
        (Verdict::Passed, other) => Err(says(other, "broken")),
        (other, _) => Err(says(other, "good")),
    }
}

fn verdict(attempt: &Attempt, mutant: &Mutant, log: &Path) -> Outcome<Verdict> {
    let mut test = attempt.program.command();
    test.args(["--exact", &mutant.test]);
    if let Some(image) = &attempt.image {
        test.env("SILOSCAN_IMAGE", image);
    }
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
    use std::fmt::Write;

    use super::Verdict::{Failed, NotRun, Passed};
    use super::*;

    #[test]
    fn a_patch_must_say_what_it_breaks_and_who_notices() {
        let mutant = parse("breaks: x is not y\ntest: ecp a::b\n--- a/x\n").unwrap();
        assert_eq!(mutant.file, "ecp");
        assert_eq!(mutant.test, "a::b");
        assert_eq!(parse("--- a/x\n+++ b/x\n"), None);
        assert_eq!(parse("breaks: x\ntest: onlyone\n"), None);
        assert!(judge(&mutant, Passed, Failed).is_ok());
        for (good, broken) in [(Passed, Passed), (Failed, Failed), (Passed, NotRun)] {
            assert!(judge(&mutant, good, broken).is_err(), "{good:?} {broken:?}");
        }
    }

    #[test]
    fn a_warning_of_the_compiler_is_seen() {
        let log = "   Compiling x\nwarning: unused variable: `y`\n  --> x.rs:1\n";
        assert_eq!(warned(log), Some("warning: unused variable: `y`"));
        assert_eq!(warned("   Compiling warning: v1\n"), None);
    }

    /// `docs/mutants.md` is made here; `SILOSCAN_WRITE_DOCS=1` writes it.
    #[test]
    fn the_table_in_the_docs_is_that_of_the_patches() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut text = files::read(&root.join("docs/mutants.md")).unwrap_or_default();
        let begin = "| patch | breaks | noticed by |\n| --- | --- | --- |\n";
        let head = text.find(begin).expect("the table's head") + begin.len();
        let mut rows = String::new();
        for folder in [DRIVER, CORE] {
            for patch in patches(&root, folder).unwrap() {
                let mutant = parse(&files::read(&root.join(&patch)).unwrap()).expect(&patch);
                let breaks = mutant.breaks.trim_end_matches('.');
                let whose = folder.trim_end_matches("/mutants");
                let file = format!("{whose}/{}", mutant.file);
                let (name, test) = (stem(&patch), mutant.test);
                writeln!(rows, "| `{name}` | {breaks} | `{file}` `{test}` |").unwrap();
            }
        }
        let written = text.split_off(head);
        if std::env::var_os("SILOSCAN_WRITE_DOCS").is_some() {
            files::write(&root.join("docs/mutants.md"), text + &rows).unwrap();
            return;
        }
        assert_eq!(written, rows, "docs/mutants.md is not that of the patches");
    }
}
