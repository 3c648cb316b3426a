//! Verdicts that outlive a boot and cross hosts.
//!
//! A verdict is kept under the whole content's SHA-256 and size and the digest of the rule set that
//! earned it (`record.rs`). It lies in a file of this host (`local.rs`) and, for fleets, in Redis
//! (`fleet.rs`, over `redis.rs`). Every record carries an HMAC over all of it: one that does not
//! verify is a miss. So a store that is down, slow, wiped, damaged or lying costs scans, and no
//! verdict is ever believed on a store's word.

mod breaker;
mod fleet;
mod local;
mod record;
mod redis;
mod secret;
mod tell;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

pub use fleet::FleetSettings;
pub use record::{Key, RULE_BYTES_MAX, Verdict};
pub use secret::{Secret, SecretError};
pub use tell::Tell;
pub use url::{FleetUrl, UrlError};

use fleet::Fleet;
use local::Local;
use tell::Teller;

/// Where a verdict was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this host's file.
    Local,
    /// In the fleet's Redis.
    Fleet,
}

impl Place {
    /// The place's name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Fleet => "fleet",
        }
    }
}

/// A verdict that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The verdict.
    pub verdict: Verdict,
    /// Where it was found.
    pub place: Place,
}

/// Where verdicts are kept and how many.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file of this host's verdicts. Its key lies beside it, with `.key` appended.
    pub file: PathBuf,
    /// Verdicts in the file at most; the oldest go first. One takes some 350 bytes.
    pub entries_max: u64,
    /// For so long verdicts are gathered before they are written, in one transaction.
    pub gather: Duration,
    /// The fleet's store, if there is one.
    pub fleet: Option<FleetSettings>,
}

impl Settings {
    /// The usual numbers for a store in `file`, without a fleet.
    #[must_use]
    pub fn new(file: PathBuf) -> Self {
        Self {
            file,
            entries_max: 1_000_000,
            gather: Duration::from_secs(1),
            fleet: None,
        }
    }
}

/// Why there is no store. Only what an administrator has to mend: a damaged file is none.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The file cannot be used.
    #[error("cannot keep verdicts in {0}: {1}; name a file in a folder of the service's own")]
    File(PathBuf, String),
    /// Another process has it.
    #[error("the verdicts in {0} are in use by another process; end that, or name another file")]
    InUse(PathBuf),
    /// No thread.
    #[error("cannot start a thread that writes verdicts: {0}")]
    Thread(std::io::Error),
}

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counts of what the stores did.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Figures {
            $($(#[$doc])* pub $name: u64,)+
        }

        /// Live counts.
        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $(pub(crate) $name: Count,)+
        }

        impl Counts {
            fn figures(&self) -> Figures {
                Figures { $($name: self.$name.get(),)+ }
            }
        }
    };
}

figures! {
    /// Verdicts found in this host's file.
    local_hits,
    /// Verdicts found in the fleet's store.
    fleet_hits,
    /// Look-ups that found none.
    misses,
    /// Records of this host's file that did not verify.
    local_forged,
    /// Records of the fleet's store that did not verify, or were none.
    fleet_forged,
    /// Calls of this host's file that failed.
    local_failed,
    /// Look-ups that the fleet's store did not answer, or not in time.
    fleet_failed,
    /// Look-ups that were not made because the fleet's store had failed shortly before.
    fleet_rested,
    /// Verdicts that the fleet's store did not take.
    fleet_puts_failed,
    /// Verdicts that were written to this host's file.
    local_kept,
    /// Verdicts that the fleet's store took.
    fleet_kept,
    /// Verdicts that were not written, because too many were waiting or the store was resting.
    dropped,
    /// Verdicts that were removed from this host's file: the oldest, and those of older rule sets.
    removed,
}

/// A count that any thread may raise.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a look-up in one store came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Known(Verdict),
    Nothing,
}

/// The verdicts that are kept: this host's, and behind them the fleet's. Dropping it writes what
/// waits for this host's file; what waits for the fleet's store is lost.
pub struct Verdicts {
    local: Local,
    fleet: Option<Fleet>,
    counts: Arc<Counts>,
}

impl Verdicts {
    /// Opens, or begins, the store. `tell` hears, once in a while, of what is wrong with it.
    ///
    /// # Errors
    /// [`OpenError`], for what an administrator has to mend. A damaged or foreign file is set aside
    /// and told; a Redis that is not there is met later.
    pub fn open(settings: Settings, tell: Tell) -> Result<Self, OpenError> {
        let counts = Arc::new(Counts::default());
        let teller = Arc::new(Teller::new(tell));
        let fleet = settings.fleet.clone();
        let fleet = fleet.map(|fleet| Fleet::start(fleet, &counts, &teller));
        let fleet = fleet.transpose().map_err(OpenError::Thread)?;
        let local = Local::open(settings, &counts, &teller)?;
        Ok(Self {
            local,
            fleet,
            counts,
        })
    }

    /// The verdict that is kept for `key`. Waits for the fleet's store no longer than `limit` and
    /// [`FleetSettings::patience`].
    #[must_use]
    pub fn recall(&self, key: &Key, limit: Duration) -> Option<Known> {
        if let Found::Known(verdict) = self.local.recall(key) {
            self.counts.local_hits.one();
            return Some(Known {
                verdict,
                place: Place::Local,
            });
        }
        let asked = self.fleet.as_ref().map(|fleet| fleet.recall(key, limit));
        if let Some(Found::Known(verdict)) = asked {
            self.counts.fleet_hits.one();
            self.local.remember(key, &verdict);
            return Some(Known {
                verdict,
                place: Place::Fleet,
            });
        }
        self.counts.misses.one();
        None
    }

    /// Keeps a verdict. It is written later, or not at all, and counted then. A verdict whose rule
    /// has a name of more than [`RULE_BYTES_MAX`] bytes is not kept.
    pub fn remember(&self, key: &Key, verdict: &Verdict) {
        if !verdict.fits() {
            return;
        }
        self.local.remember(key, verdict);
        if let Some(fleet) = &self.fleet {
            fleet.remember(key, verdict);
        }
    }

    /// Has this host's verdicts of all other rule sets removed, step by step in the background.
    /// Those in the fleet's store expire.
    pub fn keep_only(&self, rules: [u8; 32]) {
        self.local.keep_only(rules);
    }

    /// Waits until all that was remembered before is written or given up, at most for `limit` at
    /// each store. False if that was not long enough.
    pub fn flush(&self, limit: Duration) -> bool {
        let local = self.local.flush(limit);
        let fleet = self.fleet.as_ref().is_none_or(|fleet| fleet.flush(limit));
        local && fleet
    }

    /// The counts at this moment.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.counts.figures()
    }
}
