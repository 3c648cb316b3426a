//! A VHDX and the NTFS volumes on it, read only. The crates that read the formats are asked by
//! record and by range from here, so that what a hostile disk can make them do is bounded: no
//! folder is walked, no buffer is made as large as the disk says, and a reader that panics costs
//! one file.

mod header;
mod partition;
mod reparse;
mod volume;
mod window;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use vhdx::{Backing, VhdxError, VhdxReader};

use crate::limits::{DISK_TABLE_BYTES, Limits, PARTITIONS};
use crate::meter::Refused;
use crate::report::{Kind, Place, Problem, ProblemKind};
use crate::source::{Sink, Source};

/// How a VHDX begins.
pub const VHDX_MAGIC: &[u8] = b"vhdxfile";

/// A disk.
pub struct Disk {
    path: PathBuf,
    parents: Vec<PathBuf>,
    limits: Limits,
}

impl Disk {
    /// The disk at `path`, with its parents, the nearest first.
    pub fn new(path: &Path, parents: &[PathBuf], limits: Limits) -> Self {
        Self {
            path: path.to_owned(),
            parents: parents.to_vec(),
            limits,
        }
    }

    /// Opens the disk and, before it, its parents.
    fn open(&self) -> Result<VhdxReader, Problem> {
        let mut parent = None;
        for path in self.parents.iter().rev().chain([&self.path]) {
            let place = if path == &self.path {
                Place::of("")
            } else {
                Place::of(path.display().to_string())
            };
            let failed = |cause: io::Error| Problem::io(place.clone(), &cause);
            header::check(&mut File::open(path).map_err(failed)?).map_err(failed)?;
            let reader = backing(path).map_err(failed)?;
            let reader =
                carefully(|| VhdxReader::from_backing(reader, parent.take().map(Box::new)));
            parent = match reader {
                Some(Ok(reader)) => Some(reader),
                Some(Err(cause)) => return Err(disk_problem(place, cause)),
                None => return Err(panicked(place)),
            };
        }
        parent.ok_or_else(|| panicked(Place::of("")))
    }
}

/// A disk's file that gives no more at a time than its tables may have.
struct Tables(File);

impl Read for Tables {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.len() > DISK_TABLE_BYTES {
            let text = format!("a table of the disk has more than {DISK_TABLE_BYTES} bytes");
            return Err(Refused::error(ProblemKind::Limit, text));
        }
        self.0.read(buffer)
    }
}

impl Seek for Tables {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

fn backing(path: &Path) -> io::Result<Backing> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    Ok(Backing::Reader {
        inner: Mutex::new(Box::new(Tables(file))),
        len,
    })
}

fn disk_problem(place: Place, cause: VhdxError) -> Problem {
    match cause {
        VhdxError::Io(cause) => Problem::io(place, &cause),
        VhdxError::DifferencingNotSupported => {
            let text = "it holds the differences to a parent; name the parent with --parent";
            Problem::new(ProblemKind::Missing, place, text)
        }
        VhdxError::ContainerTooSmall(_) | VhdxError::OffsetOutOfBounds => {
            Problem::new(ProblemKind::Truncated, place, cause.to_string())
        }
        other => Problem::new(ProblemKind::Damaged, place, other.to_string()),
    }
}

/// Runs a reader of somebody else's that may panic on what nobody has tried on it. None if it did.
fn carefully<T>(read: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

fn panicked(place: Place) -> Problem {
    let text = "the reader of this format failed on it";
    Problem::new(ProblemKind::Damaged, place, text)
}

impl Source for Disk {
    fn kind(&self) -> Kind {
        Kind::Vhdx
    }

    fn walk(&mut self, sink: &mut dyn Sink) {
        let mut disk = match self.open() {
            Ok(disk) => disk,
            Err(problem) => return sink.problem(problem),
        };
        let size = disk.virtual_disk_size();
        let sector = u64::from(disk.logical_sector_size());
        let parts = match partition::parts(&mut disk, size, sector) {
            Ok(parts) => parts,
            Err(cause) => return sink.problem(Problem::io(Place::of(""), &cause)),
        };
        if parts.more {
            let text = format!("its partition table has more than {PARTITIONS} entries");
            sink.problem(Problem::new(ProblemKind::Limit, Place::of(""), text));
        }
        if parts.found.is_empty() {
            let text = "it has no volume";
            sink.problem(Problem::new(ProblemKind::Damaged, Place::of(""), text));
        }
        for part in parts.found {
            let window = window::Window::new(&mut disk, part.begin, part.bytes);
            volume::scan(&part.name, window, self.limits, sink);
        }
    }
}
