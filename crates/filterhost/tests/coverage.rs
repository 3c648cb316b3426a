//! Which lines of a driver were run: those that were and no others, over several processes.
#![cfg(feature = "clang")]

#[path = "support/command.rs"]
mod command;
mod support;

use std::path::{Path, PathBuf};

use command::filterhost as host;

/// The lines of `tests/drivers/coverage.c` that say "this line", by the word before it.
fn said(lines: &str) -> Vec<(String, bool)> {
    let source = include_str!("drivers/coverage.c");
    let line = |line: &str| {
        let (run, place) = line.split_once(' ')?;
        let (file, number) = place.rsplit_once(':')?;
        let text = source.lines().nth(number.parse::<usize>().ok()? - 1)?;
        let (_, what) = text.split_once("// ")?;
        let what = what.strip_suffix(": this line")?;
        file.ends_with("coverage.c")
            .then(|| (what.to_owned(), run == "1"))
    };
    let mut found: Vec<(String, bool)> = lines.lines().filter_map(line).collect();
    found.sort();
    found
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

/// The driver, built with these options, and a file of marks for it.
fn planned(options: &[&str], folder: &Path) -> (PathBuf, PathBuf) {
    let (image, marks) = (support::driver("coverage", options), folder.join("marks"));
    let plan = host(&["coverage", "plan", text(&image), text(&marks)], None);
    assert_eq!(plan.code, Some(0), "{}", plan.err);
    (image, marks)
}

#[test]
fn the_lines_that_were_run_are_told_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (image, marks) = planned(&[], folder.path());
    let (image, file) = (text(&image), text(&marks));
    let report = || {
        let report = host(&["coverage", "report", image, file, "--lines"], None);
        assert_eq!(report.code, Some(0), "{}", report.err);
        said(&report.out)
    };
    let expected = |run: bool| {
        ["branch", "end", "inlined", "never"]
            .map(|what| (what.to_owned(), run && ["end", "inlined"].contains(&what)))
    };
    assert_eq!(report(), expected(false), "nobody has run it");
    // A run without the variable marks nothing; the entry point fails in all of them.
    host(&["run", image], None);
    assert_eq!(report(), expected(false));
    for _ in 0..2 {
        let run = host(&["run", image], Some(&marks));
        assert!(
            run.err.contains("0xffffffff"),
            "it ends as it does: {}",
            run.err
        );
        assert_eq!(report(), expected(true));
    }
    // Marks of another image are refused by the report, and left alone by a run.
    let other = support::driver("coverage", &["-DOTHER=1", "-O0"]);
    let other = text(&other);
    host(&["run", other], Some(&marks));
    assert_eq!(report(), expected(true));
    let refused = host(&["coverage", "report", other, file], None);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("another image"), "{}", refused.err);
}

#[test]
fn a_breakpoint_of_the_drivers_own_stays_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let (image, marks) = planned(&["-DTRAP"], folder.path());
    let (image, file) = (text(&image), text(&marks));
    let (without, with) = (
        host(&["run", image], None),
        host(&["run", image], Some(&marks)),
    );
    assert_eq!(without.code, Some(1), "{}", without.err);
    assert_eq!(with.code, Some(1), "{}", with.err);
    let report = host(&["coverage", "report", image, file, "--lines"], None);
    let inlined = ("inlined".to_owned(), true);
    assert!(said(&report.out).contains(&inlined));
}
