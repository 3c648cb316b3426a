//! The configuration of `siloscand`: one TOML file, read as a whole or not at all.
//!
//! [`KEYS`] is the one table of what can be configured; the reader, the list of what a change
//! needs, and the reference in the docs are made from it. Nothing here touches a file.

mod keys;
mod read;

use std::path::PathBuf;

pub use keys::{KEYS, Key, Kind, Setting};
pub use read::{Broken, Problem, parse};

/// What `siloscand` is configured to. [`Configuration::default`] is an empty file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Folder with YARA rules; the built-in ones alone without it.
    pub rules: Option<PathBuf>,
    /// ClamAV's daemon: the path of its socket, or host and port.
    pub clamd: Option<String>,
    /// Whether the antivirus that is registered with Windows is asked. Not on other systems.
    pub amsi: bool,
    /// Threads that scan; 0 for one a processor.
    pub threads: usize,
    /// Files larger than this are "unscannable", in MiB.
    pub max_file_mib: u64,
    /// Copies of files in memory at one time, in MiB.
    pub memory_mib: u64,
    /// Memory that one worker may take for its engine, in MiB.
    pub worker_memory_mib: u64,
    /// So many workers may a content end; 0 for any number.
    pub worker_strikes: u32,
    /// File with what is not to be scanned.
    pub exclusions: Option<PathBuf>,
    /// Docker's data folder.
    pub runtime_store: Option<PathBuf>,
    /// File for events; `-` is the standard output.
    pub events: Option<PathBuf>,
}

impl Default for Configuration {
    fn default() -> Self {
        let mut all = Self {
            rules: None,
            clamd: None,
            amsi: false,
            threads: 0,
            max_file_mib: 0,
            memory_mib: 0,
            worker_memory_mib: 0,
            worker_strikes: 0,
            exclusions: None,
            runtime_store: None,
            events: None,
        };
        for key in KEYS {
            if let Some(value) = key.kind.default() {
                (key.set)(&mut all, value);
            }
        }
        all
    }
}

/// The names of the keys in which two configurations differ, as `section.name`.
#[must_use]
pub fn changed(one: &Configuration, other: &Configuration) -> Vec<&'static Key> {
    let differ = |key: &&Key| (key.get)(one) != (key.get)(other);
    KEYS.iter().filter(differ).collect()
}
