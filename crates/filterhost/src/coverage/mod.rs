//! Which lines of a driver were run, by any number of processes together.
//!
//! [`plan`] finds the places where a line, an inlined one included, or a basic block begins, from
//! the image's code and its PDB, and writes them to a file. Every host that finds the file's name
//! in [`VARIABLE`] puts a breakpoint instruction at each place of that image that nobody has run
//! yet; the first one to get there takes it away and marks the place in the file, which all of them
//! share. So a place costs about one trap, and code that has run once runs at full speed.
//! [`report`] reads the file.

mod lines;
mod marks;
mod trap;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub use lines::PlanError;
pub use marks::MarksError;

use marks::{Done, Marks};

pub(crate) use trap::{arm, is_ours};

/// The environment variable with the name of the file of marks.
pub const VARIABLE: &str = "FILTERHOST_COVERAGE";

/// A line of source code: the file as the PDB names it, and the number.
pub type Line = (String, u32);

/// Why there is no coverage to be had.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The image or its PDB does not tell where lines are.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// The file of marks is none, or another image's.
    #[error("{path}: {cause}")]
    Marks {
        /// Which.
        path: String,
        /// Why.
        cause: MarksError,
    },
}

fn read(path: &Path) -> Result<Vec<u8>, CoverageError> {
    fs::read(path).map_err(|cause| CoverageError::File {
        path: path.display().to_string(),
        cause,
    })
}

/// Writes a file of marks for an image, none of them set. Gives the number of places.
///
/// # Errors
/// A file cannot be read or written, or tells nothing.
pub fn plan(image: &Path, pdb: &Path, marks: &Path) -> Result<usize, CoverageError> {
    let data = read(image)?;
    let places: Vec<(u32, u8)> = lines::places(&data, pdb)?
        .into_iter()
        .map(|place| (place.rva, place.byte))
        .collect();
    fs::write(marks, Marks::fresh(&data, &places)).map_err(|cause| CoverageError::File {
        path: marks.display().to_string(),
        cause,
    })?;
    Ok(places.len())
}

/// For each line that the PDB knows, inlined ones included, whether it was run.
///
/// # Errors
/// A file cannot be read, or the marks are another image's.
pub fn report(
    image: &Path,
    pdb: &Path,
    marks: &Path,
) -> Result<BTreeMap<Line, bool>, CoverageError> {
    let data = read(image)?;
    let bytes = read(marks)?;
    let wrong = |cause| CoverageError::Marks {
        path: marks.display().to_string(),
        cause,
    };
    let set = Done::view(&bytes, &data).map_err(wrong)?;
    let mut lines = BTreeMap::new();
    for place in lines::places(&data, pdb)? {
        let run = set.is_set(place.rva);
        for line in place.lines {
            *lines.entry(line).or_insert(false) |= run;
        }
    }
    Ok(lines)
}
