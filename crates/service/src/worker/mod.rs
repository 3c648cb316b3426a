//! Workers: the processes in which engines meet hostile bytes.
//!
//! [`Workers`] is one rule set and the processes that have loaded it. Each process scans one copy
//! of a file at a time, in memory that it shares with the service and cannot write to; the file's
//! own section never reaches it. Between it and the service goes one order and one answer
//! (`wire.rs`). The memory stays with the worker for the files that follow (`held.rs`). One that
//! crashes, hangs, takes too much memory or talks nonsense costs the scan of its file: it is ended
//! and another one started (`pool.rs`). Who has to end, and when, is the warden's business
//! (`leash.rs`). A file that ended workers is remembered by its content (`killers.rs`).

mod held;
mod inside;
mod killers;
mod leash;
#[cfg(unix)]
#[path = "unix.rs"]
mod os;
#[cfg(windows)]
#[path = "windows.rs"]
mod os;
mod pool;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

pub use inside::serve;
pub use pool::{StartError, Workers};

pub(crate) use held::{Held, Placed};
pub(crate) use killers::Content;
pub(crate) use os::FileCopy;
pub(crate) use pool::Ending;

/// Memory that stays with a worker, in bytes, unless somebody wants less.
pub const KEPT_BYTES_MAX: usize = 16 << 20;

/// How a worker process is started: a program that calls [`serve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program's file.
    pub path: PathBuf,
    /// What it is told, so that it knows that it is a worker.
    pub arguments: Vec<String>,
    /// Variables that it has beside those of this process.
    pub variables: Vec<(String, String)>,
}

/// The numbers that workers run by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// What is started.
    pub program: Program,
    /// How many processes are kept ready. One more than there are scanning threads leaves one to
    /// take the place of one that ended.
    pub count: usize,
    /// Memory that one process may take, in bytes, the copy of its file not counted. One that wants
    /// more ends.
    pub memory_bytes_max: u64,
    /// Memory that stays with each process for the copies of files that fit into it, in bytes,
    /// rounded up to a power of two; larger ones get memory of their own, as all do with 0.
    pub kept_bytes_max: usize,
    /// How long a process may take to make its engine.
    pub start_time_max: Duration,
    /// After so many workers that ended or hung in it, a file's content is not scanned again under
    /// the same signatures, but answered "unscannable". 0 scans it each time.
    pub strikes_max: u32,
}

impl WorkerSettings {
    /// The usual numbers for a service with `threads` scanning threads.
    #[must_use]
    pub fn new(program: Program, threads: usize) -> Self {
        Self {
            program,
            count: threads.saturating_add(1),
            memory_bytes_max: 1 << 30,
            kept_bytes_max: KEPT_BYTES_MAX,
            start_time_max: Duration::from_mins(2),
            strikes_max: 2,
        }
    }
}
