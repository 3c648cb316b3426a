//! The configuration of `siloscand`: one TOML file, read as a whole or not at all.
//!
//! [`KEYS`] is the one table of what can be configured; the reader, the list of what a change
//! needs, and the reference in the docs are made from it. Nothing here touches a file.

mod keys;
mod read;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use keys::{KEYS, Key, Kind, Setting};
pub use read::{Broken, Problem, parse, parse_under};

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
    /// File of kept verdicts.
    pub verdicts: Option<PathBuf>,
    /// The fleet's Redis. May hold a password.
    pub fleet: Option<String>,
    /// File with the fleet's key.
    pub fleet_key: Option<PathBuf>,
    /// Folder for infected files of containers; they stay where they are without it.
    pub quarantine: Option<PathBuf>,
    /// Whether detections are reported and not denied.
    pub audit: bool,
    /// Docker's data folder.
    pub runtime_store: Option<PathBuf>,
    /// Address and port of the metrics.
    pub metrics: Option<SocketAddr>,
    /// Whether other machines may reach it.
    pub metrics_anywhere: bool,
    /// File for events; `-` is the standard output.
    pub events: Option<PathBuf>,
    /// Whether package layers are scanned before containers start from them.
    pub proactive: bool,
    /// containerd's data folder.
    pub containerd: Option<PathBuf>,
    /// Folders with package files that no runtime tells of.
    pub layer_folders: Vec<PathBuf>,
    /// The program that opens the files of layers; beside the service's without it.
    pub helper: Option<PathBuf>,
    /// Files that are opened in a second.
    pub files_per_second: u64,
    /// Sizes of the files that are opened in a second, in MiB.
    pub mib_per_second: u64,
    /// Helpers at one time.
    pub concurrency: usize,
    /// Within so many minutes hosts begin after new signatures.
    pub spread_minutes: u64,
    /// No file is opened while the processors are busier, in percent.
    pub load_percent_max: u64,
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
            verdicts: None,
            fleet: None,
            fleet_key: None,
            quarantine: None,
            audit: false,
            runtime_store: None,
            metrics: None,
            metrics_anywhere: false,
            events: None,
            proactive: false,
            containerd: None,
            layer_folders: Vec::new(),
            helper: None,
            files_per_second: 0,
            mib_per_second: 0,
            concurrency: 0,
            spread_minutes: 0,
            load_percent_max: 0,
        };
        for key in KEYS {
            (key.set)(&mut all, key.kind.default());
        }
        all
    }
}

/// Settings that are right one by one and do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unfit {
    /// Section and name of the keys that it is about.
    pub keys: &'static [(&'static str, &'static str)],
    /// What is wrong, and what would be right.
    pub message: String,
}

/// What became of a new configuration in a running service.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Keys that have their new settings.
    pub now: Vec<&'static Key>,
    /// Keys that keep their old settings until the next start.
    pub at_the_next_start: Vec<&'static Key>,
}

impl Configuration {
    /// What no key can know alone.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self) -> Result<(), Unfit> {
        let wrong = |keys, message: &str| {
            let message = message.to_owned();
            Err(Unfit { keys, message })
        };
        if self.fleet.is_some() && self.verdicts.is_none() {
            let said =
                "verdicts.fleet wants verdicts.file (--verdicts): what is shared is kept, too";
            return wrong(&[("verdicts", "fleet")], said);
        }
        if self.fleet.is_some() != self.fleet_key.is_some() {
            let said = "verdicts.fleet and verdicts.fleet_key (--fleet, --fleet-key) go together";
            return wrong(&[("verdicts", "fleet"), ("verdicts", "fleet_key")], said);
        }
        if self.amsi && self.verdicts.is_some() {
            let said = "engine.amsi and verdicts.file (--amsi, --verdicts) do not go together: \
                        AMSI does not tell the version of its signatures, so a verdict would be \
                        kept beyond their update";
            return wrong(&[("engine", "amsi"), ("verdicts", "file")], said);
        }
        if self.metrics_anywhere && self.metrics.is_none() {
            let said = "metrics.anywhere (--metrics-anywhere) wants metrics.listen \
                        (--metrics <ADDRESS:PORT>)";
            return wrong(&[("metrics", "anywhere")], said);
        }
        if let Some(address) = self.metrics.filter(|at| !at.ip().is_loopback())
            && !self.metrics_anywhere
        {
            return Err(Unfit {
                keys: &[("metrics", "listen")],
                message: format!(
                    "{address} is not an address of this machine alone, and whoever asks there is \
                     told what is excluded from scans; take 127.0.0.1, or set metrics.anywhere \
                     (--metrics-anywhere) if a firewall guards it"
                ),
            });
        }
        if self.memory_mib >= self.max_file_mib {
            return Ok(());
        }
        Err(Unfit {
            keys: &[("scan", "memory_mib"), ("scan", "max_file_mib")],
            message: format!(
                "files of {} MiB do not fit into scan.memory_mib = {}; allow more memory, or set \
                 a smaller scan.max_file_mib",
                self.max_file_mib, self.memory_mib
            ),
        })
    }

    /// Takes over what a running service can of `next`, and tells which keys those are.
    pub fn adopt(&mut self, next: &Self) -> Changes {
        let mut changes = Changes::default();
        for key in KEYS {
            let setting = (key.get)(next);
            if setting == (key.get)(self) {
                continue;
            }
            if key.live {
                (key.set)(self, setting);
                changes.now.push(key);
            } else {
                changes.at_the_next_start.push(key);
            }
        }
        changes
    }
}
