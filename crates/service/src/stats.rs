//! Counts of what the service did.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use siloscan_core::tally::Tally;

use crate::job::Outcome;
use crate::latency::Latency;

/// A count that any thread may raise.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the driver told last.
#[derive(Debug)]
pub struct Told<T>(Mutex<Vec<T>>);

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Told<T> {
    /// Takes what the driver told.
    pub fn set(&self, values: Vec<T>) {
        *self.0.lock() = values;
    }

    /// What the driver told last; empty before it told anything.
    #[must_use]
    pub fn get(&self) -> Vec<T> {
        self.0.lock().clone()
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Live counts.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: Count,)+
            /// How long requests took.
            pub latency: Latency,
            /// The driver's counters, in the order of core's list of reasons.
            pub driver: Told<u64>,
            /// What the driver counted of each container.
            pub containers: Told<Tally>,
            /// How often each excluded container was hit.
            pub exclusions: Told<([u8; 16], u64)>,
            /// How often each excluded layer was hit.
            pub excluded_layers: Told<([u8; 16], u64)>,
        }

        /// Counts at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Figures {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Stats {
            /// The counts at this moment.
            #[must_use]
            pub fn figures(&self) -> Figures {
                Figures { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counts! {
    /// Connections that the driver accepted.
    connections,
    /// Messages that arrived, of every kind.
    messages,
    /// Pieces of files that came without a section.
    pieces,
    /// Requests to scan.
    scan_requests,
    /// Scans that ended without a match.
    clean,
    /// Scans that ended with a match.
    infected,
    /// Of the scans with a match, those of a content that is allowed.
    allowed,
    /// Of the scans with a match, those that were only reported.
    audited,
    /// Files that are in the quarantine, and no more where they were.
    quarantined,
    /// Files that were to go there and are still where they were.
    not_quarantined,
    /// Of these and of detections in layers, those that nobody followed up: too many were waiting.
    remedies_dropped,
    /// Detections in layers that were told, each file once.
    layer_detections,
    /// Scans without a verdict because of the file: it shrank, is too large, made the engine fail.
    unscannable,
    /// Scans that the driver stopped, or whose time was over before the engine ran.
    stopped,
    /// Scans refused because too many were waiting.
    refused,
    /// Requests that were answered "excluded": a file of an excluded layer.
    excluded,
    /// Bytes that the engine looked at.
    bytes,
    /// Requests to stop a scan.
    stop_requests,
    /// Requests to stop a scan that was not known any more.
    stop_misses,
    /// Heartbeats answered.
    polls,
    /// Messages that made no sense.
    bad_messages,
    /// Replies that the driver no longer waited for.
    late_replies,
    /// Calls of the port that failed in a way that has no other count here.
    port_failures,
    /// Workers that ended by themselves, or talked nonsense and were ended.
    workers_crashed,
    /// Workers that were ended because a scan took too long.
    workers_hung,
    /// Requests that were refused because their file's content had ended workers.
    killers_refused,
    /// Rule sets taken into use.
    rule_sets,
    /// Files of layers that proactive scans have opened.
    proactive_files,
    /// Their sizes.
    proactive_bytes,
    /// Layers whose files were all opened, or tried.
    proactive_layers,
    /// Volumes of which the driver was told that their layers are scanned and clean.
    proactive_covered,
    /// How often proactive scans paused, for load or for requests that waited.
    proactive_pauses,
    /// Helpers of proactive scans that ended badly, or could not be started.
    helpers_crashed,
}

impl Stats {
    /// Counts a request of `bytes` that ended so after `microseconds`.
    pub(crate) fn answered(&self, outcome: &Outcome, bytes: u64, microseconds: u64) {
        self.latency.note(outcome, microseconds);
        match outcome {
            Outcome::Scanned(_) | Outcome::Known(_) => {
                if matches!(outcome, Outcome::Scanned(_)) {
                    self.bytes.add(bytes);
                }
                match outcome.detection() {
                    None => self.clean.one(),
                    Some(_) => self.infected.one(),
                }
            }
            Outcome::TooLarge | Outcome::Killer => self.unscannable.one(),
            Outcome::Engine(_) | Outcome::Section(_) => self.unscannable.one(),
            Outcome::Stopped | Outcome::Late => self.stopped.one(),
            Outcome::Busy | Outcome::NoWorker(_) => self.refused.one(),
            Outcome::Excluded(_) => self.excluded.one(),
        }
    }
}
