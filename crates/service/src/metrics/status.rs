//! The facts at one moment. Reading them takes each lock for as long as a copy of its numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siloscan_core::reason::ENTRIES;
use siloscan_core::tally::Tally;

use crate::job::guid_text;
use crate::latency::{BOUNDS_US, OUTCOMES};
use crate::platform::Platform;
use crate::scans::Scans;
use crate::service::Service;
use crate::stats::Figures;

/// The version of [`Status`]. A new one when a field changes its meaning or goes away; a new field
/// alone does not raise it.
pub const STATUS_VERSION: u32 = 1;

/// What the service knows of itself and of the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// [`STATUS_VERSION`].
    pub version: u32,
    /// The program's version.
    pub service: String,
    /// How long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// Whether there is a connection to the driver.
    pub connected: bool,
    /// Whether detections are reported and not denied.
    pub audit: bool,
    /// The rule set in use.
    pub rules: RulesStatus,
    /// What the driver told last.
    pub driver: DriverStatus,
    /// What the service counted since it started.
    pub counts: Figures,
    /// Upper bounds of the buckets of `times`, in microseconds.
    pub bounds_us: Vec<u64>,
    /// How long requests took, one entry for each way in which they ended.
    pub times: Vec<OutcomeTimes>,
    /// What is under way.
    pub load: LoadStatus,
    /// Memory for copies of files.
    pub memory: MemoryStatus,
    /// The worker processes; nothing where engines run on the service's own threads.
    pub workers: Option<WorkersStatus>,
    /// What the driver counted of each container, at most 64 of them.
    pub containers: Vec<ContainerStatus>,
    /// What each exclusion let through, at most 128 of them.
    pub exclusions: Vec<ExclusionStatus>,
}

/// A rule set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulesStatus {
    /// Its digest, in hex.
    pub digest: String,
    /// How many rules it has, where that is known.
    pub count: Option<u64>,
}

/// What the driver told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverStatus {
    /// Its signature epoch; nothing before its first poll.
    pub epoch: Option<u64>,
    /// It met a stale verdict in that epoch.
    pub warm_wanted: bool,
    /// Its counters that are not zero, each as `kind/reason`.
    pub counts: BTreeMap<String, u64>,
}

/// How long the requests took that ended in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutcomeTimes {
    /// The way.
    pub outcome: String,
    /// How many fell into each bucket; the last one has those beyond all bounds.
    pub buckets: Vec<u64>,
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

/// What is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadStatus {
    /// Threads that scan at most.
    pub threads: u64,
    /// Threads that scan now.
    pub scanning: u64,
    /// Requests that wait for a thread.
    pub waiting: u64,
}

/// Memory for copies of files, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStatus {
    /// All of it.
    pub limit_bytes: u64,
    /// What copies take now.
    pub used_bytes: u64,
}

/// The worker processes of the rule set in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkersStatus {
    /// As many there should be.
    pub wanted: u64,
    /// Those that are idle, scanning or starting.
    pub alive: u64,
    /// Those that have nothing to do.
    pub idle: u64,
    /// Memory that stays with them for the copies of the next files, in bytes.
    pub kept_bytes: u64,
    /// Why the last one could not be started, until one is.
    pub trouble: Option<String>,
}

/// What the driver counted of one container. Opens that its cache answered are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// The container's id.
    pub container: String,
    /// Opens.
    pub opens: u64,
    /// Of these, the refused ones.
    pub denied: u64,
    /// Of these, the ones of files that could not be scanned.
    pub failed: u64,
    /// Opens out of silos within it that the host compute service did not make.
    pub foreign: u64,
    /// What its opens waited for verdicts, in microseconds.
    pub waited_us: u64,
    /// Of its opens, those in its first minute.
    pub start_opens: u64,
    /// What those waited: its start tax, in microseconds.
    pub start_waited_us: u64,
}

/// An exclusion and what it let through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExclusionStatus {
    /// `container`, `image` or `layer`.
    pub kind: String,
    /// Which one, as the file of exclusions names it.
    pub name: String,
    /// Opens since the connection.
    pub hits: u64,
}

impl ContainerStatus {
    fn of(tally: &Tally) -> Option<Self> {
        Some(Self {
            container: guid_text(&tally.container)?,
            opens: tally.opens,
            denied: tally.denied,
            failed: tally.failed,
            foreign: tally.foreign,
            waited_us: tally.waited / 10,
            start_opens: tally.start_opens,
            start_waited_us: tally.start_waited / 10,
        })
    }
}

impl Status {
    /// The driver's count of `reason`, written as `kind/reason`.
    #[must_use]
    pub fn driver_count(&self, reason: &str) -> u64 {
        self.driver.counts.get(reason).copied().unwrap_or_default()
    }

    /// The driver's counts of one kind together, such as the route `look-up`.
    #[must_use]
    pub fn driver_kind(&self, kind: &str) -> u64 {
        let of_kind = |name: &str| name.split_once('/').is_some_and(|(own, _)| own == kind);
        let counts = self.driver.counts.iter();
        counts
            .filter(|(name, _)| of_kind(name))
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Opens that asked the driver's cache for any answer. Where only "infected" counts, as in an
    /// excluded container, an open is no miss either.
    #[must_use]
    pub fn look_ups(&self) -> u64 {
        let others = ["look-up/covered-layer", "look-up/excluded"];
        let others = others.iter().map(|reason| self.driver_count(reason));
        self.driver_kind("look-up")
            .saturating_sub(others.fold(0, u64::saturating_add))
    }

    /// Opens that the driver's cache answered.
    #[must_use]
    pub fn hits(&self) -> u64 {
        let answers = [
            "allow/cached-clean",
            "allow/stale-clean",
            "deny/cached-infected",
            "deny/stale-infected",
        ];
        let counts = answers.iter().map(|reason| self.driver_count(reason));
        counts.fold(0, u64::saturating_add)
    }
}

impl<P: Platform> Service<P> {
    /// In their order, none twice: two samples of one name make a scrape worthless.
    fn container_status(&self) -> Vec<ContainerStatus> {
        let tallies = self.container_counts();
        let mut all: Vec<_> = tallies.iter().filter_map(ContainerStatus::of).collect();
        all.sort_by(|one, other| one.container.cmp(&other.container));
        all.dedup_by(|one, before| one.container == before.container);
        all
    }

    /// In their order, none twice.
    fn exclusion_status(&self) -> Vec<ExclusionStatus> {
        let all = self.hits().into_iter().map(|hits| ExclusionStatus {
            kind: hits.exclusion.kind().to_owned(),
            name: hits.exclusion.name(),
            hits: hits.hits,
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|one, other| (&one.kind, &one.name).cmp(&(&other.kind, &other.name)));
        all.dedup_by(|one, before| (&one.kind, &one.name) == (&before.kind, &before.name));
        all
    }

    /// The facts at this moment, of a service that has run for `uptime`.
    #[must_use]
    pub fn status(&self, uptime: Duration) -> Status {
        let scans = self.scans();
        let counts = ENTRIES.iter().zip(self.driver_counts());
        let counts = counts.filter(|(_, count)| *count > 0);
        let times = OUTCOMES.iter().zip(self.stats.latency.get());
        Status {
            version: STATUS_VERSION,
            service: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            connected: self.is_connected(),
            audit: self.policy().audit,
            rules: RulesStatus {
                digest: scans.digest().to_string(),
                count: scans.rule_count().map(|count| count as u64),
            },
            driver: DriverStatus {
                epoch: self.driver_epoch(),
                warm_wanted: self.warm_wanted(),
                counts: counts
                    .map(|(entry, count)| (format!("{}/{}", entry.kind, entry.name), count))
                    .collect(),
            },
            counts: self.figures(),
            bounds_us: BOUNDS_US.to_vec(),
            times: times
                .map(|(outcome, (buckets, sum_us))| OutcomeTimes {
                    outcome: (*outcome).to_owned(),
                    buckets,
                    sum_us,
                })
                .collect(),
            load: self.load(),
            memory: {
                let (used_bytes, limit_bytes) = self.memory.used();
                MemoryStatus {
                    limit_bytes,
                    used_bytes,
                }
            },
            workers: match &scans {
                Scans::InWorkers(workers) => Some(workers.status()),
                Scans::Here(_) => None,
            },
            containers: self.container_status(),
            exclusions: self.exclusion_status(),
        }
    }
}
