//! One pass over the layers of one volume: begun, every file opened, ended.
//!
//! What the driver may believe afterwards hangs on four things: it heard of the beginning before
//! the first open; every open succeeded; nothing in between was let through for any other reason
//! than a clean verdict, which its own counters tell; and the epoch is still the same.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use siloscan_core::reason::{AllowReason, Counted, ENTRIES, Event as Driver};
use siloscan_core::wire::News;

use super::helper::{Helper, Runner, Start, Word};
use super::plan::{Budget, Ended, Rates, Volume};
use crate::events::Event;
use crate::job::guid_text;
use crate::platform::Platform;
use crate::service::Service;

/// Polls after which the driver has heard what it was told, and has told its counters: the first
/// takes the news, the next ones bring the counters.
const ROUNDS: u32 = 6;
/// A helper that ended badly is started again after this time.
const RESTART: Duration = Duration::from_secs(5);
/// A helper that is to answer and has not for so long is ended: longer than any open may wait.
const SILENT_MAX: Duration = Duration::from_mins(15);
/// A layer whose helpers end badly so often without a file in between is given up.
const DEATHS_MAX: u32 = 5;
/// Files that one helper is told to open before it has answered, at most.
const AHEAD_MAX: u32 = 256;
/// Names of files in one event at most.
const NAMED_MAX: usize = 16;

/// A pass that runs.
pub(super) struct Pass<H> {
    pub(super) volume: Volume,
    epoch: u64,
    begun_at: Duration,
    phase: Phase,
    /// The driver's counters when it began.
    before: Vec<u64>,
    waiting: VecDeque<PathBuf>,
    runs: Vec<Run<H>>,
    /// Why the driver must not be told that all is clean.
    doubts: Vec<String>,
    files: u64,
    told_pause: bool,
    looked: bool,
}

enum Phase {
    /// The driver's counters are being fetched.
    Counting(Rounds),
    /// The driver is being told of the beginning.
    Announcing(Rounds),
    Scanning,
    /// The driver's counters are being fetched again.
    Settling(Rounds),
    /// The driver is being told of the end.
    Reporting(Rounds),
}

/// Waits until the driver has polled so many times.
struct Rounds {
    left: u32,
    polls: u64,
}

/// One layer that is being opened.
struct Run<H> {
    folder: PathBuf,
    helper: Option<H>,
    /// Without a helper: when to start one.
    again: Duration,
    start: Start,
    deaths: u32,
    /// The helper has listed all files.
    begun: bool,
    /// When it was started, or last said something, or was last told to open files.
    heard: Duration,
    /// Files that it may open and has not answered.
    ahead: u32,
    tally: Tally,
    ended: bool,
}

#[derive(Default)]
struct Tally {
    /// Helpers that ended badly.
    helpers: u64,
    opened: u64,
    bytes: u64,
    gone: u64,
    infected: Named,
    failed: Named,
}

/// How many, and the first of them by name.
#[derive(Default)]
struct Named {
    count: u64,
    names: Vec<String>,
}

impl Named {
    fn add(&mut self, name: String) {
        self.count += 1;
        if self.names.len() < NAMED_MAX {
            self.names.push(name);
        }
    }
}

impl Rounds {
    fn new<P: Platform>(service: &Service<P>, news: News) -> Self {
        let polls = service.figures().polls;
        service.tell(news);
        Self {
            left: ROUNDS,
            polls,
        }
    }

    fn are_over<P: Platform>(&mut self, service: &Service<P>) -> bool {
        let polls = service.figures().polls;
        if polls > self.polls {
            self.polls = polls;
            self.left = self.left.saturating_sub(1);
            if self.left > 0 {
                service.tell(News::Nothing);
            }
        }
        self.left == 0
    }
}

impl<H: Helper> Pass<H> {
    pub(super) fn new<P: Platform>(service: &Service<P>, volume: Volume, epoch: u64) -> Self {
        service.report(Event::ProactiveBegun {
            volume: name_of(&volume),
            epoch,
            layers: volume.folders.len(),
        });
        Self {
            waiting: volume.folders.iter().cloned().collect(),
            volume,
            epoch,
            begun_at: service.platform().now(),
            phase: Phase::Counting(Rounds::new(service, News::Nothing)),
            before: Vec::new(),
            runs: Vec::new(),
            doubts: Vec::new(),
            files: 0,
            told_pause: false,
            looked: false,
        }
    }

    /// True once, when all files were opened: whether there are others is to be seen now.
    pub(super) fn wants_a_look(&mut self) -> bool {
        let wants = !self.looked && matches!(self.phase, Phase::Settling(_));
        self.looked |= wants;
        wants
    }

    /// Why the driver must not be told that all is clean.
    pub(super) fn doubt(&mut self, cause: &str) {
        if !self.doubts.iter().any(|known| known == cause) && self.doubts.len() < NAMED_MAX {
            self.doubts.push(cause.to_owned());
        }
    }

    /// One step; says when it has ended, and how. `pause` is why no file may be opened now.
    pub(super) fn step<P: Platform, R: Runner<Helper = H>>(
        &mut self,
        service: &Service<P>,
        runner: &R,
        pace: (&Rates, &mut Budget, Option<&str>),
    ) -> Option<Ended> {
        let count = |driver: Driver| at(&service.driver_counts(), driver);
        match &mut self.phase {
            Phase::Counting(rounds) => {
                if rounds.are_over(service) {
                    self.before = service.driver_counts();
                    self.phase = match self.volume.volume {
                        Some(guid) => {
                            let news = News::Covering(guid, self.epoch);
                            Phase::Announcing(Rounds::new(service, news))
                        }
                        None => Phase::Scanning,
                    };
                }
            }
            Phase::Announcing(rounds) => {
                if rounds.are_over(service) {
                    if count(Driver::CoverageBegun) <= at(&self.before, Driver::CoverageBegun) {
                        self.doubt("the driver did not take the beginning: no volume of its own");
                    }
                    self.phase = Phase::Scanning;
                }
            }
            Phase::Scanning => {
                if self.scan(service, runner, pace) {
                    self.phase = Phase::Settling(Rounds::new(service, News::Nothing));
                }
            }
            Phase::Settling(rounds) => {
                if rounds.are_over(service) {
                    self.compare(&service.driver_counts());
                    match self.volume.volume {
                        Some(guid) if self.doubts.is_empty() => {
                            let news = News::Covered(guid, self.epoch);
                            self.before = service.driver_counts();
                            self.phase = Phase::Reporting(Rounds::new(service, news));
                        }
                        _ => return Some(self.end(service)),
                    }
                }
            }
            Phase::Reporting(rounds) => {
                if rounds.are_over(service) {
                    let reported = Driver::CoverageReported;
                    if count(reported) <= at(&self.before, reported) {
                        self.doubt("the driver refused the report: a file changed meanwhile");
                    }
                    return Some(self.end(service));
                }
            }
        }
        None
    }

    /// What the driver let through without a clean verdict, on any volume: an open of ours may be
    /// among it, and succeeded all the same.
    fn compare(&mut self, now: &[u64]) {
        let allowed = [
            AllowReason::StaleClean.counter(),
            AllowReason::FailureAllowed.counter(),
            AllowReason::EvasionAllowed.counter(),
            AllowReason::HandleExists.counter(),
            AllowReason::AuditOnly.counter(),
        ];
        let mut moved = Vec::new();
        for counter in allowed {
            let number = |counts: &[u64]| counts.get(counter.index()).copied().unwrap_or(0);
            if number(now) > number(&self.before) {
                let name = ENTRIES.get(counter.index()).map(|entry| entry.name);
                moved.extend(name);
            }
        }
        if !moved.is_empty() {
            let moved = moved.join(", ");
            self.doubt(&format!("the driver let files through meanwhile: {moved}"));
        }
    }

    fn end<P: Platform>(&mut self, service: &Service<P>) -> Ended {
        let covered = self.doubts.is_empty() && self.volume.volume.is_some();
        if covered {
            service.stats.proactive_covered.one();
        }
        let mut causes = self.doubts.clone();
        if self.volume.volume.is_none() {
            causes.push("the volume of these folders cannot be told".to_owned());
        }
        let took = service.platform().now().saturating_sub(self.begun_at);
        service.report(Event::ProactiveDone {
            volume: name_of(&self.volume),
            epoch: self.epoch,
            covered,
            causes,
            files: self.files,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        match (self.doubts.is_empty(), covered) {
            (true, true) => Ended::Proved,
            (true, false) => Ended::Opened,
            (false, _) => Ended::Nothing,
        }
    }

    /// Opens files. True when there is none left.
    fn scan<P: Platform, R: Runner<Helper = H>>(
        &mut self,
        service: &Service<P>,
        runner: &R,
        (rates, budget, pause): (&Rates, &mut Budget, Option<&str>),
    ) -> bool {
        let now = service.platform().now();
        while self.runs.len() < rates.concurrency.max(1) {
            let Some(folder) = self.waiting.pop_front() else {
                break;
            };
            self.runs.push(Run::new(folder));
        }
        let mut may = match pause {
            Some(_) => 0,
            None => budget.files(rates, now),
        };
        self.tell_pause(service, pause);
        // A pause takes hold after what was told before: no more than a tenth of a second's files.
        let ahead = u32::try_from(rates.files_per_second / 10).unwrap_or(AHEAD_MAX);
        let ahead = ahead.clamp(1, AHEAD_MAX);
        let share = may.div_ceil(u32::try_from(self.runs.len()).unwrap_or(1).max(1));
        for run in &mut self.runs {
            if pause.is_none() {
                run.begin(service, runner, now);
            }
            let more = share.min(may).min(ahead.saturating_sub(run.ahead));
            if let Some(helper) = run.helper.as_mut().filter(|_| more > 0) {
                helper.go(more);
                run.ahead += more;
                run.heard = now;
                may -= more;
                budget.spend_files(more);
            }
            budget.spend_bytes(run.listen(service, now));
        }
        for mut run in std::mem::take(&mut self.runs) {
            if !run.ended {
                self.runs.push(run);
                continue;
            }
            // What it was allowed and did not open is for others.
            let over = std::mem::take(&mut run.tally);
            self.layer_done(service, &run.folder, over);
        }
        self.runs.is_empty() && self.waiting.is_empty()
    }

    fn tell_pause<P: Platform>(&mut self, service: &Service<P>, pause: Option<&str>) {
        if let Some(cause) = pause.filter(|_| !self.told_pause) {
            // Once a pass: load comes and goes.
            self.told_pause = true;
            service.report(Event::ProactivePaused {
                volume: name_of(&self.volume),
                cause: cause.to_owned(),
            });
        }
    }

    fn layer_done<P: Platform>(&mut self, service: &Service<P>, folder: &Path, tally: Tally) {
        let folder = folder.display().to_string();
        let found = [
            ("infected", tally.infected.count),
            ("could not be opened", tally.failed.count),
            ("went away or were wanted", tally.gone),
            // What is renamed while nobody has it on a list may be on none.
            ("helpers ended badly", tally.helpers),
        ];
        for (what, count) in found.into_iter().filter(|(_, count)| *count > 0) {
            self.doubt(&format!("{folder}: {count} {what}"));
        }
        self.files += tally.opened;
        service.stats.proactive_layers.one();
        service.report(Event::ProactiveLayer {
            folder,
            opened: tally.opened,
            bytes: tally.bytes,
            gone: tally.gone,
            infected: tally.infected.count,
            failed: tally.failed.count,
            infected_files: tally.infected.names,
            failed_files: tally.failed.names,
        });
    }
}

impl<H: Helper> Run<H> {
    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            helper: None,
            again: Duration::ZERO,
            start: Start::default(),
            deaths: 0,
            begun: false,
            heard: Duration::ZERO,
            ahead: 0,
            tally: Tally::default(),
            ended: false,
        }
    }

    fn begin<P: Platform, R: Runner<Helper = H>>(
        &mut self,
        service: &Service<P>,
        runner: &R,
        now: Duration,
    ) {
        if self.helper.is_some() || self.ended || now < self.again {
            return;
        }
        match runner.start(&self.folder, &self.start) {
            Ok(helper) => {
                self.helper = Some(helper);
                (self.begun, self.heard) = (false, now);
            }
            Err(cause) => self.died(service, &cause, now),
        }
    }

    /// Takes what the helper has said. The bytes of the files that it opened.
    fn listen<P: Platform>(&mut self, service: &Service<P>, now: Duration) -> u64 {
        let said = match &mut self.helper {
            Some(helper) => helper.said(),
            None => return 0,
        };
        let before = self.tally.bytes;
        match said {
            Ok(words) if words.is_empty() => {
                let silent = now.saturating_sub(self.heard);
                if silent > SILENT_MAX && (self.ahead > 0 || !self.begun) {
                    self.died(service, "it does not answer any more", now);
                }
            }
            Ok(words) => {
                self.heard = now;
                words.into_iter().for_each(|word| self.take(service, word));
            }
            Err(cause) => self.died(service, &cause, now),
        }
        self.tally.bytes - before
    }

    fn take<P: Platform>(&mut self, service: &Service<P>, word: Word) {
        let at = match word {
            Word::Begun { .. } => {
                self.begun = true;
                return;
            }
            Word::Ended { .. } => {
                self.ended = true;
                self.helper = None;
                return;
            }
            Word::Opened { at, bytes } => {
                self.tally.opened += 1;
                self.tally.bytes = self.tally.bytes.saturating_add(bytes);
                service.stats.proactive_files.one();
                service.stats.proactive_bytes.add(bytes);
                at
            }
            Word::Infected { at, file } => {
                self.tally.infected.add(file);
                at
            }
            Word::Gone { at } => {
                self.tally.gone += 1;
                at
            }
            Word::Failed { at, file, cause } => {
                self.tally.failed.add(format!("{file}: {cause}"));
                at
            }
        };
        if self.begun {
            // Before, it is about folders, which nobody asked it to open.
            self.ahead = self.ahead.saturating_sub(1);
        }
        if let Some(at) = at {
            // The next one goes on behind it.
            self.start.after = Some(PathBuf::from(at));
            self.start.pass_over = 0;
            self.deaths = 0;
        }
    }

    /// The helper has ended, or there is none to be had.
    fn died<P: Platform>(&mut self, service: &Service<P>, cause: &str, now: Duration) {
        service.stats.helpers_crashed.one();
        self.helper = None;
        self.tally.helpers += 1;
        self.ahead = 0;
        self.again = now.saturating_add(RESTART);
        self.deaths = self.deaths.saturating_add(1);
        if self.deaths >= DEATHS_MAX {
            self.tally.failed.add(format!("the rest: {cause}"));
            self.ended = true;
        } else if self.deaths == 2 {
            // Twice behind the same file: the next one is to blame, or may be.
            self.start.pass_over = 1;
        }
    }
}

fn at(counts: &[u64], reason: impl Counted) -> u64 {
    counts
        .get(reason.counter().index())
        .copied()
        .unwrap_or_default()
}

fn name_of(volume: &Volume) -> Option<String> {
    volume.volume.and_then(|guid| guid_text(&guid.to_bytes()))
}
