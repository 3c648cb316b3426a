//! `filterhost coverage`: which lines of a driver were run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use filterhost::coverage::{self, CoverageError, VARIABLE};

/// What is to be done about coverage.
#[derive(Subcommand)]
pub enum Coverage {
    /// Makes a file of marks; hosts that find its name in FILTERHOST_COVERAGE set them.
    Plan {
        /// The driver image; its PDB is looked for beside it.
        image: PathBuf,
        /// Where the marks go.
        marks: PathBuf,
    },
    /// Tells which lines were run.
    Report {
        /// The driver image; its PDB is looked for beside it.
        image: PathBuf,
        /// The file of marks.
        marks: PathBuf,
        /// Only files whose names begin so, as the PDB has them; may be given several times.
        #[arg(long, value_name = "PREFIX")]
        source: Vec<String>,
        /// Prints each line, `1` or `0` before it, instead of a table of files.
        #[arg(long)]
        lines: bool,
    },
}

/// Does it.
pub fn run(what: Coverage) -> ExitCode {
    let done = match what {
        Coverage::Plan { image, marks } => plan(&image, &marks),
        Coverage::Report {
            image,
            marks,
            source,
            lines,
        } => report(&image, &marks, &source, lines),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => crate::failed(&cause),
    }
}

fn plan(image: &Path, marks: &Path) -> Result<(), CoverageError> {
    let places = coverage::plan(image, &image.with_extension("pdb"), marks)?;
    println!(
        "{places} places; run with {VARIABLE}={} now",
        marks.display()
    );
    Ok(())
}

fn report(image: &Path, marks: &Path, source: &[String], lines: bool) -> Result<(), CoverageError> {
    let all = coverage::report(image, &image.with_extension("pdb"), marks)?;
    let wanted = |file: &str| source.is_empty() || source.iter().any(|it| file.starts_with(it));
    let mut files: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for ((file, line), run) in all.iter().filter(|((file, _), _)| wanted(file)) {
        if lines {
            println!("{} {file}:{line}", u8::from(*run));
        }
        let (ran, there) = files.entry(file).or_default();
        *ran += usize::from(*run);
        *there += 1;
    }
    if lines {
        return Ok(());
    }
    let (mut ran_in_all, mut in_all) = (0, 0);
    for (file, (ran, there)) in files {
        println!("{ran:6} of {there:6} {file}");
        ran_in_all += ran;
        in_all += there;
    }
    println!("{ran_in_all:6} of {in_all:6} lines");
    Ok(())
}
