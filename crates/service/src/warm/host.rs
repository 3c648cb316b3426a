//! The files of this machine.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Entry, Tree, Trouble};

/// `ERROR_VIRUS_INFECTED` and `ERROR_VIRUS_DELETED`.
#[cfg(windows)]
const FOUND: [i32; 2] = [225, 226];
/// `ERROR_DELETE_PENDING`, and `ERROR_OPERATION_ABORTED` for an open that gave way.
#[cfg(windows)]
const WENT_AWAY: [i32; 2] = [303, 995];

/// The files of this machine. On Linux, where no driver guards them, an open is just an open.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostTree;

impl Tree for HostTree {
    type Place = PathBuf;

    fn list(&self, folder: &PathBuf) -> Result<Vec<Entry<PathBuf>>, Trouble> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| trouble(&error))? {
            let entry = entry.map_err(|error| trouble(&error))?;
            let kind = entry.file_type().map_err(|error| trouble(&error))?;
            if kind.is_dir() || kind.is_file() {
                entries.push(Entry {
                    place: entry.path(),
                    is_folder: kind.is_dir(),
                });
            }
        }
        entries.sort_by(|a, b| a.place.cmp(&b.place));
        Ok(entries)
    }

    fn open(&self, file: &PathBuf) -> Result<(), Trouble> {
        open(file).map_err(|error| trouble(&error))
    }

    fn show(&self, place: &PathBuf) -> String {
        place.display().to_string()
    }
}

#[cfg(windows)]
fn open(file: &Path) -> io::Result<()> {
    super::windows::open_giving_way(file)
}

#[cfg(unix)]
fn open(file: &Path) -> io::Result<()> {
    std::fs::File::open(file).map(drop)
}

fn trouble(error: &io::Error) -> Trouble {
    #[cfg(windows)]
    if let Some(code) = error.raw_os_error() {
        if FOUND.contains(&code) {
            return Trouble::Infected;
        }
        if WENT_AWAY.contains(&code) {
            return Trouble::Gone;
        }
    }
    match error.kind() {
        ErrorKind::NotFound => Trouble::Gone,
        _ => Trouble::Failed(error.to_string()),
    }
}
