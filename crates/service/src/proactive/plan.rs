//! When what is scanned, and how fast. Nothing here knows a clock or a file: the time is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};
use siloscan_core::key::VolumeGuid;

/// After a pass that proved nothing the next one waits so long, then twice as long each time.
const AGAIN_MIN: Duration = Duration::from_mins(1);
const AGAIN_MAX: Duration = Duration::from_hours(1);
/// A budget saves up no more than it gives in this time.
const SAVED: Duration = Duration::from_secs(1);

/// How fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Files that are opened in a second.
    pub files_per_second: u64,
    /// Their sizes, in bytes.
    pub bytes_per_second: u64,
    /// Helpers at one time.
    pub concurrency: usize,
    /// No file is opened while the host's processors are busier, in percent; from 100 on, any load.
    pub load_percent_max: u64,
}

/// What may be opened now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    last: Option<Duration>,
    /// Files, times a million.
    files: i128,
    /// Bytes, times a million. Below zero after a large file.
    bytes: i128,
}

impl Budget {
    /// How many files may be opened at `now`, when nobody else spends what is left. A moment that
    /// nothing is asked in is not saved up for later, but for a second's worth.
    pub fn files(&mut self, rates: &Rates, now: Duration) -> u32 {
        let since = now.saturating_sub(self.last.unwrap_or(now)).min(SAVED);
        self.last = Some(now);
        let since = i128::try_from(since.as_micros()).unwrap_or(i128::MAX);
        let fill = |have: i128, rate: u64| (have + since * i128::from(rate)).min(full(rate));
        self.files = fill(self.files, rates.files_per_second);
        self.bytes = fill(self.bytes, rates.bytes_per_second);
        if self.bytes < 0 {
            return 0;
        }
        u32::try_from((self.files / MILLION).max(0)).unwrap_or(u32::MAX)
    }

    /// So many files are going to be opened.
    pub fn spend_files(&mut self, files: u32) {
        self.files -= i128::from(files) * MILLION;
    }

    /// Files of so many bytes were opened.
    pub fn spend_bytes(&mut self, bytes: u64) {
        self.bytes -= i128::from(bytes) * MILLION;
    }
}

const MILLION: i128 = 1_000_000;

fn full(rate: u64) -> i128 {
    i128::from(rate) * MILLION
}

/// Why nothing is opened now.
#[must_use]
pub fn pause(rates: &Rates, backlog: usize, load: Option<u64>) -> Option<String> {
    if backlog > 0 {
        return Some(format!("{backlog} requests wait for a thread that scans"));
    }
    let load =
        load.filter(|load| rates.load_percent_max < 100 && *load > rates.load_percent_max)?;
    Some(format!("the host's processors are busy to {load} %"))
}

/// How long after new signatures this host begins: the same for one name, evenly spread over many.
#[must_use]
pub fn delay(host: &str, spread_minutes: u64) -> Duration {
    let hash = Sha256::digest(host.as_bytes());
    let number = hash.iter().take(8).fold(0_u64, |number, byte| {
        number.wrapping_shl(8) | u64::from(*byte)
    });
    let spread = spread_minutes.saturating_mul(60);
    Duration::from_secs(number.checked_rem(spread).unwrap_or(0))
}

/// A volume by its GUID, or all folders whose volume cannot be told.
pub type VolumeName = Option<VolumeGuid>;

/// The layers of one volume, hottest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Which.
    pub volume: VolumeName,
    /// Its layers.
    pub folders: Vec<PathBuf>,
}

/// What a pass over a volume has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All files were scanned and clean, and the driver has taken the report.
    Proved,
    /// They were opened; that is all that can be had of this volume.
    Opened,
    /// Something was found, failed, or went away.
    Nothing,
}

/// What is due. Everything is due anew with each epoch of the driver.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    epoch: Option<(u64, u64)>,
    from: Duration,
    wanted: bool,
    volumes: BTreeMap<VolumeName, Past>,
}

#[derive(Clone, Debug, Default)]
struct Past {
    folders: BTreeSet<PathBuf>,
    /// The driver has been told that all of them are clean.
    proved: bool,
    /// The driver wanted a scan already when the pass ended.
    wanted: bool,
    again: Option<Duration>,
    tries: u32,
}

impl Plan {
    /// The number of the connection and the driver's epoch, which begins anew when the driver is
    /// loaded again; and whether it wants a scan. True when the epoch is another one than before;
    /// its scans begin after `delay`.
    pub fn note(
        &mut self,
        epoch: (u64, u64),
        wanted: bool,
        now: Duration,
        delay: Duration,
    ) -> bool {
        self.wanted = wanted;
        if self.epoch == Some(epoch) {
            return false;
        }
        *self = Self {
            epoch: Some(epoch),
            from: now.saturating_add(delay),
            wanted,
            volumes: BTreeMap::new(),
        };
        true
    }

    /// The first of `volumes`, which are ordered hottest first, that is due.
    #[must_use]
    pub fn due<'v>(&self, volumes: &'v [Volume], now: Duration) -> Option<&'v Volume> {
        if self.epoch.is_none() || now < self.from {
            return None;
        }
        volumes.iter().find(|volume| self.is_due(volume, now))
    }

    fn is_due(&self, volume: &Volume, now: Duration) -> bool {
        let Some(past) = self.volumes.get(&volume.volume) else {
            return true;
        };
        let is_new = |folder: &PathBuf| !past.folders.contains(folder);
        past.again.is_some_and(|again| again <= now)
            || volume.folders.iter().any(is_new)
            // What is proved has no stale verdicts: these are some other volume's.
            || (self.wanted && !past.wanted && !past.proved)
    }

    /// Volumes that the driver takes for clean though `is_open` says of one, by its folders, that
    /// they may not be. From now on they count as not proved, and are due again later.
    pub fn withdraw(
        &mut self,
        now: Duration,
        is_open: impl Fn(VolumeGuid, &BTreeSet<PathBuf>) -> bool,
    ) -> Vec<VolumeGuid> {
        let mut withdrawn = Vec::new();
        for (volume, past) in &mut self.volumes {
            if let Some(guid) = volume.filter(|guid| past.proved && is_open(*guid, &past.folders)) {
                past.proved = false;
                past.again = Some(now.saturating_add(AGAIN_MIN));
                withdrawn.push(guid);
            }
        }
        withdrawn
    }

    /// A pass over these folders has ended.
    pub fn ended(&mut self, volume: &Volume, how: Ended, now: Duration) {
        let past = self.volumes.entry(volume.volume).or_default();
        past.folders = volume.folders.iter().cloned().collect();
        past.wanted = self.wanted;
        past.proved = how == Ended::Proved;
        past.again = None;
        match how {
            Ended::Proved | Ended::Opened => past.tries = 0,
            Ended::Nothing => {
                let wait = AGAIN_MIN.saturating_mul(1_u32.wrapping_shl(past.tries.min(16)));
                past.tries = past.tries.saturating_add(1);
                past.again = Some(now.saturating_add(wait.min(AGAIN_MAX)));
            }
        }
    }
}
