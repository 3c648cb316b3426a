//! What the program is configured to: a file, what the command line sets over it, and how a
//! running service follows the file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use siloscan_configuration::{Changes, Configuration, Key, parse_under};

use crate::events::Event;
use crate::exclusions::{Excluding, ExclusionKeeper};
use crate::kept;
use crate::platform::Platform;
use crate::proactive;
use crate::program::{Beside, settings, worker_settings};
use crate::rules::RuleKeeper;
use crate::runtime::Store;
use crate::service::Service;

/// A configuration may have at most so many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes in a MiB.
const MIB: u64 = 1 << 20;

/// What the command line sets; each goes before the same key of the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Line {
    /// Folder with YARA rules (.yar, .yara), read with its subfolders and followed while running.
    /// The built-in rules are always used
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,

    /// File with what is not to be scanned or denied, one entry a line ("container" and an id,
    /// "image" and a digest, "layer" and a folder, "file" and a content's digest), followed while
    /// running
    #[arg(long, value_name = "FILE")]
    exclusions: Option<PathBuf>,

    #[command(flatten)]
    beside: Beside,

    /// Keep verdicts in this file, so that no content is scanned twice under the same rules. A key
    /// is made beside it
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,

    /// Share verdicts with other hosts through the Redis at redis://[[user]:password@]host[:port]
    // Taken apart later: clap repeats what it does not understand, and that may be a password.
    #[arg(long, value_name = "URL")]
    fleet: Option<String>,

    /// The key that all hosts of the fleet have: a file with 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    fleet_key: Option<PathBuf>,

    /// Folder to which infected files of containers are moved, encrypted; made if it is not there.
    /// Without it they stay where they are, and are denied
    #[arg(long, value_name = "DIR")]
    quarantine: Option<PathBuf>,

    /// Report what would be denied, and deny nothing
    #[arg(long)]
    audit: bool,

    /// Data folder of Docker, which tells the images of containers; for exclusions by image, or by
    /// a layer's id, and for reports of detections in layers
    #[arg(long, value_name = "DIR")]
    runtime_store: Option<PathBuf>,

    /// Threads that scan; one for each processor without it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Append what happens to this file, one JSON object a line; "-" is the standard output
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,

    /// Address and port at which metrics and the status are told, such as 127.0.0.1:9753: /metrics
    /// for Prometheus, /status for `siloscan status`. Without it nobody can ask
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,

    /// Lets --metrics name an address that other machines reach. Anybody who reaches it can ask,
    /// and is told what is excluded from scans
    #[arg(long)]
    metrics_anywhere: bool,

    /// Largest file that is scanned, in MiB; a larger one is answered "unscannable"
    #[arg(long, value_name = "MIB")]
    max_file_mib: Option<u64>,

    /// Memory for the files that are being scanned, in MiB, all threads together
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<u64>,

    /// Memory that one worker process may take for its engine, in MiB; the copy of its file is not
    /// counted
    #[arg(long, value_name = "MIB")]
    worker_memory_mib: Option<u64>,

    /// A file's content that ended so many workers is not scanned again until the next
    /// signatures, but answered "unscannable"; 0 scans it each time
    #[arg(long, value_name = "N")]
    worker_strikes: Option<u32>,
}

impl Line {
    /// `all` with what the line sets.
    fn over(&self, mut all: Configuration) -> Configuration {
        let line = self.clone();
        all.rules = line.rules.or(all.rules);
        all.exclusions = line.exclusions.or(all.exclusions);
        all.clamd = line.beside.clamd.or(all.clamd);
        #[cfg(windows)]
        {
            all.amsi |= line.beside.amsi;
        }
        all.verdicts = line.verdicts.or(all.verdicts);
        all.fleet = line.fleet.or(all.fleet);
        all.fleet_key = line.fleet_key.or(all.fleet_key);
        all.quarantine = line.quarantine.or(all.quarantine);
        all.audit |= line.audit;
        all.runtime_store = line.runtime_store.or(all.runtime_store);
        all.threads = line.threads.unwrap_or(all.threads);
        all.events = line.events.or(all.events);
        all.metrics = line.metrics.or(all.metrics);
        all.metrics_anywhere |= line.metrics_anywhere;
        all.max_file_mib = line.max_file_mib.unwrap_or(all.max_file_mib);
        all.memory_mib = line.memory_mib.unwrap_or(all.memory_mib);
        all.worker_memory_mib = line.worker_memory_mib.unwrap_or(all.worker_memory_mib);
        all.worker_strikes = line.worker_strikes.unwrap_or(all.worker_strikes);
        all
    }
}

/// Where a configuration comes from.
pub(crate) struct Source {
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// What goes before it.
    pub(crate) line: Line,
}

impl Source {
    /// The configuration, and the bytes of the file that it was made from.
    pub(crate) fn read(&self) -> Result<(Configuration, Vec<u8>), String> {
        let bytes = self.bytes()?;
        Ok((self.made_of(&bytes)?, bytes))
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        let Some(file) = &self.file else {
            return Ok(Vec::new());
        };
        read(file).map_err(|cause| format!("cannot read {}: {cause}", file.display()))
    }

    fn made_of(&self, bytes: &[u8]) -> Result<Configuration, String> {
        let file = self.file.as_deref().unwrap_or_else(|| Path::new(""));
        let name = file.display().to_string();
        let text = std::str::from_utf8(bytes).map_err(|cause| {
            let line = bytes.get(..cause.valid_up_to()).unwrap_or_default();
            let line = line.iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("{name}:{line}: this is no UTF-8; save the file as UTF-8")
        })?;
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        let all = parse_under(&name, folder, text, |all| self.line.over(all))
            .map_err(|broken| broken.to_string())?;
        // A start with it would fail; to be told now, and not then.
        let settings = settings(&all, false);
        settings.check().map_err(|cause| cause.to_string())?;
        kept::settings(&all)?;
        Ok(all)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|cause| cause.to_string())?;
    let mut some = opened.take(FILE_BYTES_MAX + 1);
    some.read_to_end(&mut bytes)
        .map_err(|cause| cause.to_string())?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        false => Ok(bytes),
    }
}

/// Follows the file of a running service. Call [`Follower::check`] every second or two.
pub(crate) struct Follower {
    source: Source,
    /// What the service runs by. Keys that wait for the next start are as they were at this one.
    running: Configuration,
    /// What the file held at the last look.
    seen: Result<Vec<u8>, String>,
    /// What it held when it was last acted on.
    done: Result<Vec<u8>, String>,
    pub(crate) rules: RuleKeeper,
    exclusions: Option<ExclusionKeeper>,
    proactive: proactive::Shared,
}

impl Follower {
    /// Follows `source`, of which `bytes` were made `running`.
    pub(crate) fn new(
        source: Source,
        running: Configuration,
        bytes: Vec<u8>,
        rules: RuleKeeper,
    ) -> Self {
        let exclusions = exclusions(&running);
        let proactive = proactive::shared(&running);
        Self {
            source,
            running,
            seen: Ok(bytes.clone()),
            done: Ok(bytes),
            rules,
            exclusions,
            proactive,
        }
    }

    /// What proactive scans are configured to, at any time.
    pub(crate) fn proactive(&self) -> proactive::Shared {
        Arc::clone(&self.proactive)
    }

    /// Puts the exclusions in force, as the service wants it before it connects.
    pub(crate) fn begin<P: Platform>(&mut self, service: &Service<P>) {
        if let Some(exclusions) = &mut self.exclusions {
            exclusions.check(service);
        }
    }

    /// Looks at the file, and at what it names.
    pub(crate) fn check<P: Platform>(&mut self, service: &Service<P>) {
        let found = self.source.bytes();
        let at_rest = found == self.seen;
        self.seen = found;
        if at_rest && self.seen != self.done {
            self.done = self.seen.clone();
            self.take_up(service);
        }
        self.begin(service);
        self.rules.check(service);
    }

    /// Takes the file up as a whole, or not at all.
    fn take_up<P: Platform>(&mut self, service: &Service<P>) {
        let made = match &self.done {
            Ok(bytes) => self.source.made_of(bytes),
            Err(cause) => Err(cause.clone()),
        };
        let changes = made.and_then(|next| self.adopt(&next, service));
        match changes {
            Ok(changes) => service.report(Event::Configuration {
                now: names(&changes.now),
                at_the_next_start: names(&changes.at_the_next_start),
            }),
            Err(cause) => service.report(Event::BrokenConfiguration {
                cause: format!("{cause}. The configuration that was in use stays in use"),
            }),
        }
    }

    fn adopt<P: Platform>(
        &mut self,
        next: &Configuration,
        service: &Service<P>,
    ) -> Result<Changes, String> {
        // What can fail comes before what is changed.
        let mut running = self.running.clone();
        let changes = running.adopt(next);
        let (file, memory) = bounds(&running);
        service
            .bound(file, memory)
            .map_err(|cause| cause.to_string())?;
        service.audit(running.audit);
        let before = std::mem::replace(&mut self.running, running);
        let path = &self.rules.workers().program.path;
        let workers = worker_settings(path.clone(), &self.running);
        if before.rules != self.running.rules || *self.rules.workers() != workers {
            self.rules.follow(self.running.rules.as_deref(), workers);
        }
        *self.proactive.lock() = proactive::Settings::of(&self.running);
        if before.exclusions != self.running.exclusions {
            let next = exclusions(&self.running);
            self.exclusions = match (self.exclusions.take(), next) {
                (Some(before), Some(next)) => Some(next.after(before)),
                (_, next) => next,
            };
            if self.exclusions.is_none() {
                service.exclude(Excluding::default());
                service.allow(BTreeSet::new());
            }
        }
        Ok(changes)
    }
}

fn names(keys: &[&Key]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

/// The largest file and the memory for copies, in bytes.
pub(crate) fn bounds(all: &Configuration) -> (u64, u64) {
    (
        all.max_file_mib.saturating_mul(MIB),
        all.memory_mib.saturating_mul(MIB),
    )
}

fn exclusions(all: &Configuration) -> Option<ExclusionKeeper> {
    let store = all.runtime_store.as_deref().map(Store::new);
    let file = all.exclusions.as_deref()?;
    Some(ExclusionKeeper::new(file).with_store(store))
}
