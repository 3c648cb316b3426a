//! Which lines of the driver the tests of the built image run. Each line of the files that decide
//! is run, or `tests/coverage.toml` says why not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::cargo::host;
use super::{Bench, Found};
use crate::command;
use crate::files;
use crate::reasons::{self, Text};
use crate::trouble::Outcome;

/// What names the file of marks to the filter host.
pub const VARIABLE: &str = "FILTERHOST_COVERAGE";
/// The driver's own sources, as its PDB names them: the tree is called `siloscan` there.
const SOURCES: [&str; 2] = [r"siloscan\src\", r"siloscan\crates\core\src\"];
/// The files that decide, each with a folder of its name or none.
const WHOLE: [&str; 4] = ["src/create", "src/scan", "src/ecp", "src/invalidate"];

/// The lines of these that no test runs.
const REASONS: &str = "tests/coverage.toml";

/// As many lines may be without a reason: threads race in part of the tests, so that a line may be
/// run by the next time again. They are told.
const BY_CHANCE: usize = 4;

/// The marks of one run of the tests.
pub struct Coverage {
    host: PathBuf,
    image: PathBuf,
    /// The file that the tests' hosts write to.
    pub marks: PathBuf,
}

/// A line of source code: its file and number.
type Line = (String, usize);

impl Coverage {
    /// Makes the file of marks.
    pub fn begin(bench: &mut Bench, image: &Path) -> Outcome<Self> {
        let mut build = host(bench, "build");
        build.args(["--workspace", "--locked", "--bin", "filterhost"]);
        build.args(["--features", "siloscan/built-image,filterhost/clang"]);
        command::output(&mut build)?;
        let folder = bench.root.join("target/coverage");
        files::make_folder(&folder)?;
        let own = Self {
            host: bench.root.join("target/debug/filterhost"),
            image: image.to_owned(),
            marks: folder.join("marks"),
        };
        own.host("plan", &[])?;
        Ok(own)
    }

    fn host(&self, what: &str, arguments: &[&str]) -> Outcome<String> {
        let mut host = command::clean(&self.host);
        host.args(["coverage", what]).arg(&self.image);
        host.arg(&self.marks).args(arguments);
        command::output(&mut host)
    }

    /// Checks what was run.
    pub fn end(&self, root: &Path, found: &mut Found) -> Outcome<()> {
        let [own, core] = SOURCES;
        let told = self.host("report", &["--lines", "--source", own, "--source", core])?;
        let lines = read(&told);
        let run = lines.values().filter(|run| **run).count();
        found.about = format!(
            "{run} of the {} lines of driver and core were run",
            lines.len()
        );
        let judged = judge(root, &lines, &reasons::read(&root.join(REASONS))?)?;
        found.failed.extend(judged.stale);
        if judged.unexplained.len() > BY_CHANCE {
            found.failed.extend(judged.unexplained);
        } else {
            for text in judged.unexplained {
                found.about = format!("{}; {text}", found.about);
            }
            found.passed += 1;
        }
        found.check(run * 10 > lines.len() * 8, || {
            "coverage: less than four fifths of the lines were run".to_owned()
        });
        Ok(())
    }
}

/// The lines of a report, and whether they were run.
fn read(report: &str) -> BTreeMap<Line, bool> {
    let line = |line: &str| {
        let (run, place) = line.split_once(' ')?;
        let (file, number) = place.rsplit_once(':')?;
        let file = file.strip_prefix(r"siloscan\")?.replace('\\', "/");
        Some(((file, number.parse().ok()?), run == "1"))
    };
    report.lines().filter_map(line).collect()
}

/// Whether every line of a file has to be run.
fn is_whole(file: &str) -> bool {
    let begins = |stem: &&str| {
        let rest = file.strip_prefix(*stem);
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    WHOLE.iter().any(begins)
}

/// What is wrong with the lines of the files that decide.
#[derive(Default)]
struct Judged {
    /// Not run, and without a reason that is left.
    unexplained: Vec<String>,
    /// Reasons of lines that are not there.
    stale: Vec<String>,
}

/// Holds the lines that were not run against the reasons: each row is one line's.
fn judge(
    root: &Path,
    lines: &BTreeMap<Line, bool>,
    explained: &BTreeMap<Text, usize>,
) -> Outcome<Judged> {
    let mut judged = Judged::default();
    let mut sources: BTreeMap<&str, String> = BTreeMap::new();
    let mut left = explained.clone();
    let mut there = BTreeSet::new();
    for ((file, number), run) in lines.iter().filter(|((file, _), _)| is_whole(file)) {
        if !sources.contains_key(file.as_str()) {
            sources.insert(file, files::read(&root.join(file))?);
        }
        let text = sources.get(file.as_str()).map(String::as_str).unwrap_or("");
        let line = text.lines().nth(number.saturating_sub(1)).unwrap_or("");
        let line = (file.clone(), line.trim().to_owned());
        let reason = left.get_mut(&line).filter(|rows| **rows > 0);
        match (run, reason) {
            (true, _) => {}
            (false, Some(rows)) => *rows -= 1,
            (false, None) => judged.unexplained.push(format!(
                "coverage: {file}:{number} was not run: {} (test it, or say why not in \
                 tests/coverage.toml)",
                line.1
            )),
        }
        there.insert(line);
    }
    for (file, text) in explained.keys().filter(|line| !there.contains(*line)) {
        judged.stale.push(format!(
            "coverage: tests/coverage.toml explains a line that is not there: {file}: {text}"
        ));
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_decide_and_their_folders_are_whole() {
        let all = [
            "src/create.rs",
            "src/create/known.rs",
            "src/ecp.rs",
            "src/scan/lead.rs",
        ];
        assert!(all.iter().all(|file| is_whole(file)));
        let others = ["src/creates.rs", "src/port.rs", "crates/core/src/ecp.rs"];
        assert!(!others.iter().any(|file| is_whole(file)));
    }

    #[test]
    fn a_line_that_was_not_run_needs_a_reason_of_its_own() {
        let root = std::env::temp_dir().join(format!("xtask-coverage-{}", std::process::id()));
        files::make_folder(&root.join("src")).unwrap();
        std::fs::write(root.join("src/ecp.rs"), "one();\n    two();\ntwo();\n").unwrap();
        let of = |report: &str, texts: &[&str]| {
            let mut rows = BTreeMap::new();
            for text in texts {
                *rows
                    .entry(("src/ecp.rs".to_owned(), (*text).to_owned()))
                    .or_default() += 1;
            }
            judge(&root, &read(report), &rows).unwrap()
        };
        let once = concat!(
            "1 siloscan\\src\\ecp.rs:1\n0 siloscan\\src\\ecp.rs:2\n",
            "0 siloscan\\src\\port.rs:9\n"
        );
        let judged = of(once, &["two();"]);
        assert_eq!((judged.unexplained, judged.stale), (vec![], vec![]));
        assert!(of(once, &[]).unexplained[0].contains("src/ecp.rs:2 was not run: two();"));
        let stale = of(once, &["two();", "three();"]).stale;
        assert!(stale[0].contains("not there: src/ecp.rs: three();"));
        // One reason is one line's, however many say the same.
        let twice = format!("{once}0 siloscan\\src\\ecp.rs:3\n");
        assert_eq!(of(&twice, &["two();"]).unexplained.len(), 1);
        assert_eq!(of(&twice, &["two();", "two();"]).unexplained.len(), 0);
        std::fs::remove_dir_all(root).unwrap();
    }
}
