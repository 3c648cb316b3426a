//! The service itself: one running rule set, one connection to the driver at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use siloscan_core::wire::{Hello, News, PollFlags, ScanFlags, ScanRequest};
use siloscan_verdicts::Verdicts;
use zerocopy::IntoBytes;

use crate::engine::Digest;
use crate::events::{Event, EventSink};
use crate::exclusions::{Excluding, Hits, List, Lists};
use crate::memory::Budget;
use crate::metrics::LoadStatus;
use crate::platform::{ConnectError, Platform};
use crate::policy::Policy;
use crate::remedy::{Remedies, Remedy};
use crate::scans::Scans;
use crate::session::Session;
use crate::settings::{Settings, SettingsError};
use crate::stats::{Figures, Stats};
use siloscan_core::exclusion::ContainerId;
use siloscan_core::tally::Tally;

/// The scan service. Shared by all its threads.
pub struct Service<P: Platform> {
    pub(crate) platform: P,
    pub(crate) settings: Settings,
    pub(crate) events: Box<dyn EventSink>,
    pub(crate) stats: Stats,
    pub(crate) memory: Arc<Budget>,
    /// Larger files are "unscannable", in bytes; begins as the settings have it.
    file_bytes_max: AtomicU64,
    /// The rule set in use. Replaced as a whole; scans that run keep the one they began with.
    scans: RwLock<Scans>,
    /// What decides about detections. Replaced as a whole.
    policy: RwLock<Arc<Policy>>,
    /// What is to be done about detections, by whoever has the time.
    pub(crate) remedies: Remedies,
    /// The connection that lives now.
    session: Mutex<Weak<Session<P>>>,
    /// The epoch that the driver named last, plus one; 0 before it named any.
    epoch: AtomicU64,
    /// The driver met a stale verdict in that epoch.
    warm_wanted: AtomicBool,
    /// What the driver is to leave out. Never locked over a call of the platform.
    excluded: Mutex<Lists>,
    stopping: AtomicBool,
    /// Verdicts of earlier scans, if they are kept.
    verdicts: OnceLock<Verdicts>,
}

impl<P: Platform> Service<P> {
    /// A service that is not connected yet.
    ///
    /// # Errors
    /// When a setting is outside of its bounds.
    pub fn new(
        platform: P,
        settings: Settings,
        scans: impl Into<Scans>,
        events: Box<dyn EventSink>,
    ) -> Result<Arc<Self>, SettingsError> {
        settings.check()?;
        let policy = Policy {
            audit: settings.audit,
            ..Policy::default()
        };
        Ok(Arc::new(Self {
            memory: Arc::new(Budget::new(settings.memory_bytes_max)),
            file_bytes_max: AtomicU64::new(settings.file_bytes_max),
            remedies: Remedies::new(settings.memory_bytes_max),
            platform,
            settings,
            events,
            stats: Stats::default(),
            scans: RwLock::new(scans.into()),
            policy: RwLock::new(Arc::new(policy)),
            session: Mutex::new(Weak::new()),
            epoch: AtomicU64::new(0),
            warm_wanted: AtomicBool::new(false),
            excluded: Mutex::default(),
            stopping: AtomicBool::new(false),
            verdicts: OnceLock::new(),
        }))
    }

    /// Answers from `verdicts` where it can, and keeps what workers find there. Only for scans by
    /// worker processes; to be called once, before [`Service::run`].
    pub fn keep_verdicts(&self, verdicts: Verdicts) {
        // There is one already: it stays.
        let _ = self.verdicts.set(verdicts);
        self.forget_older_verdicts();
    }

    /// The verdicts that are kept, if any are.
    #[must_use]
    pub fn verdicts(&self) -> Option<&Verdicts> {
        self.verdicts.get()
    }

    fn forget_older_verdicts(&self) {
        if let Some(verdicts) = self.verdicts() {
            // By the rules alone: what is done about a detection is asked anew each time.
            verdicts.keep_only(self.scans.read().digest().0);
        }
    }

    /// Connects and serves until [`Service::stop`]. The calling thread is one of those that serve.
    ///
    /// # Errors
    /// Without [`Settings::reconnect`]: why there is no connection. With it, never.
    pub fn run(self: &Arc<Self>) -> Result<(), ConnectError> {
        let mut wait = self.settings.retry_min;
        let mut told = None;
        while !self.is_stopping() {
            match self.serve_one_connection() {
                Ok(()) => {
                    wait = self.settings.retry_min;
                    told = None;
                }
                Err(error) if !self.settings.reconnect => return Err(error),
                Err(error) => {
                    if told.as_ref() != Some(&error) {
                        self.events.report(Event::Disconnected {
                            cause: error.to_string(),
                        });
                        told = Some(error);
                    }
                }
            }
            if !self.settings.reconnect {
                return Ok(());
            }
            self.pause(wait);
            wait = (wait * 2).min(self.settings.retry_max);
        }
        Ok(())
    }

    fn serve_one_connection(self: &Arc<Self>) -> Result<(), ConnectError> {
        let digest = self.digest();
        let port = self.platform.connect(Hello::new(digest.0).as_bytes())?;
        self.stats.connections.one();
        self.stats.exclusions.set(Vec::new());
        self.stats.excluded_layers.set(Vec::new());
        self.excluded.lock().connected();
        self.events.report(Event::Connected);
        let session = Arc::new(Session::new(Arc::clone(self), port, digest));
        *self.session.lock() = Arc::downgrade(&session);
        let work = Arc::clone(&session);
        self.platform.together(
            "scan",
            self.settings.threads + 1,
            Arc::new(move |_number| work.work()),
        );
        session.abandon();
        let cause = if self.is_stopping() {
            "the service stops"
        } else {
            "the driver let go"
        };
        self.events.report(Event::Disconnected {
            cause: cause.to_owned(),
        });
        Ok(())
    }

    /// Waits, in pieces, so that a stop is seen.
    fn pause(&self, time: Duration) {
        let end = self.platform.now() + time;
        while !self.is_stopping() {
            let left = end.saturating_sub(self.platform.now());
            if left.is_zero() {
                return;
            }
            self.platform.sleep(left.min(self.settings.idle));
        }
    }

    /// Asks every thread to end. Scans that run are finished and answered; this does not wait for
    /// them.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// How many engines are to compute at one time, where there could be more.
    pub(crate) fn computing_max(&self) -> Option<usize> {
        let Settings {
            threads,
            processors,
            ..
        } = self.settings;
        let bounded = processors < threads && !self.is_stopping() && self.scans.read().computes();
        bounded.then_some(processors)
    }

    /// Whether [`Service::stop`] was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Bounds the files that are scanned, and the copies of them in memory, anew, both in bytes.
    /// Scans that run are not touched.
    ///
    /// # Errors
    /// When the largest file would not fit into the memory: nothing is changed.
    pub fn bound(&self, file: u64, memory: u64) -> Result<(), SettingsError> {
        if file > memory {
            return Err(SettingsError::Memory { file, memory });
        }
        // A file that fits neither the old nor the new memory would wait for ever.
        let smaller = file.min(self.file_bytes_max());
        self.file_bytes_max.store(smaller, Ordering::SeqCst);
        self.memory.resize(memory);
        self.remedies.bound(memory);
        self.file_bytes_max.store(file, Ordering::SeqCst);
        Ok(())
    }

    /// Files that are larger are "unscannable", in bytes.
    #[must_use]
    pub fn file_bytes_max(&self) -> u64 {
        self.file_bytes_max.load(Ordering::SeqCst)
    }

    /// The world that it runs in.
    #[must_use]
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The rule set in use.
    #[must_use]
    pub fn scans(&self) -> Scans {
        self.scans.read().clone()
    }

    /// Names the rule set in use and what is done about detections: what the driver is told.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let rules = self.scans.read().digest();
        self.policy().digest(rules)
    }

    /// What decides about detections just now.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read())
    }

    /// Allows the contents with these SHA-256 and no others, and tells the driver at once if that
    /// is new: for it an epoch begins.
    pub fn allow(&self, allowed: BTreeSet<[u8; 32]>) {
        self.judge_by(|policy| Policy { allowed, ..policy });
    }

    /// Only reports detections, or has them denied, from now on; tells the driver at once if that
    /// is new, as [`Service::allow`] does.
    pub fn audit(&self, audit: bool) {
        self.judge_by(|policy| Policy { audit, ..policy });
    }

    fn judge_by(&self, change: impl FnOnce(Policy) -> Policy) {
        {
            let mut policy = self.policy.write();
            let next = change(Policy::clone(&policy));
            if **policy == next {
                return;
            }
            *policy = Arc::new(next);
        }
        self.answer_poll();
    }

    /// The next thing to be done about a detection.
    pub(crate) fn next_remedy(&self) -> Option<Remedy> {
        self.remedies.next()
    }

    /// Whether `scans` is still the rule set in use.
    pub(crate) fn is_current(&self, scans: &Scans) -> bool {
        self.scans.read().is(scans)
    }

    /// Takes a rule set into use, as a whole, and tells the driver at once if its digest is new.
    /// Scans that run keep the one they began with.
    pub fn use_engine(&self, next: impl Into<Scans>) {
        let next = next.into();
        // The one before ends outside of the lock: its workers may have to be waited for.
        let before = std::mem::replace(&mut *self.scans.write(), next);
        self.stats.rule_sets.one();
        self.answer_poll();
        self.forget_older_verdicts();
        drop(before);
    }

    /// Tells the driver something with the answer to its next poll.
    pub fn tell(&self, news: News) {
        let session = self.session.lock().upgrade();
        if let Some(session) = session {
            session.tell(news);
        }
    }

    /// The signature epoch that the driver named in its last poll: a proactive scan notes it when
    /// it begins and names it in its report. Nothing before the first poll.
    #[must_use]
    pub fn driver_epoch(&self) -> Option<u64> {
        self.epoch.load(Ordering::SeqCst).checked_sub(1)
    }

    /// Requests that wait for a thread that scans; nothing without a connection.
    #[must_use]
    pub fn backlog(&self) -> Option<usize> {
        let session = self.session.lock().upgrade();
        session.map(|session| session.backlog())
    }

    /// Whether the driver asked for a proactive scan in its last poll: an open met a verdict of
    /// signatures before those in use.
    #[must_use]
    pub fn warm_wanted(&self) -> bool {
        self.warm_wanted.load(Ordering::SeqCst)
    }

    pub(crate) fn note_poll(&self, epoch: u64, flags: PollFlags) {
        self.epoch.store(epoch.saturating_add(1), Ordering::SeqCst);
        let wanted = flags.has(PollFlags::WARM_WANTED);
        if wanted && !self.warm_wanted.swap(wanted, Ordering::SeqCst) {
            self.events.report(Event::WarmWanted { epoch });
        } else if !wanted {
            self.warm_wanted.store(false, Ordering::SeqCst);
        }
    }

    /// Excludes this and nothing else, and tells the driver at once. What is more than it takes is
    /// left out and reported.
    pub fn exclude(&self, next: Excluding) {
        let told = self.stats.exclusions.get();
        let (changed, too_many) = self.excluded.lock().take(next, &told);
        if let Some(cause) = too_many {
            self.events.report(Event::BrokenExclusions { cause });
        }
        if changed {
            self.answer_poll();
        }
    }

    /// Excludes these containers and nothing else.
    pub fn exclude_containers(&self, containers: Vec<ContainerId>) {
        self.exclude(Excluding {
            containers,
            ..Excluding::default()
        });
    }

    /// What the driver is to leave out.
    pub(crate) fn excluded(&self) -> Arc<List> {
        self.excluded.lock().list()
    }

    /// The place of the excluded layer that the request's file lies in: asked of the system now,
    /// since a file can be moved. Nothing unless the driver asked for it, under the list in force.
    ///
    /// The file is opened for its name alone. The driver leaves such an open, and the service's own
    /// at that, to itself, so that a thread that answers scans never waits for a scan here.
    pub(crate) fn excluding_layer(&self, request: &ScanRequest) -> Option<u32> {
        if request.list == 0 || !request.flags.has(ScanFlags::LAYER) {
            return None;
        }
        let list = self.excluded();
        if list.number != request.list || list.layers.is_empty() {
            return None;
        }
        let name = self.platform.name_of_file(&request.key?)?;
        let place = list.layers.iter().position(|layer| layer.holds(&name))?;
        u32::try_from(place).ok()
    }

    /// A request, or a count, was of this container. Whoever follows the exclusions asks for it.
    pub(crate) fn meet(&self, containers: impl Iterator<Item = ContainerId>) {
        let mut excluded = self.excluded.lock();
        containers.for_each(|container| excluded.meet(container));
    }

    /// Containers that came to light since the last call, while images are excluded.
    pub(crate) fn take_met(&self) -> Vec<ContainerId> {
        self.excluded.lock().take_met()
    }

    /// The excluded containers that the driver has, and how many opens each exclusion let through
    /// since the connection, as it told that last.
    #[must_use]
    pub fn exclusion_hits(&self) -> Vec<(ContainerId, u64)> {
        self.stats.exclusions.get()
    }

    /// Every exclusion as the operator named it, and how many opens it let through since the
    /// connection, as the driver told last.
    #[must_use]
    pub fn hits(&self) -> Vec<Hits> {
        let containers = self.stats.exclusions.get();
        let layers = self.stats.excluded_layers.get();
        self.excluded.lock().hits(&containers, &layers)
    }

    /// Whether there is a connection to the driver.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.session
            .lock()
            .upgrade()
            .is_some_and(|session| session.is_open())
    }

    /// What is under way.
    pub(crate) fn load(&self) -> LoadStatus {
        let session = self.session.lock().upgrade();
        let (scanning, waiting) = session.map_or((0, 0), |session| session.load());
        LoadStatus {
            threads: self.settings.threads as u64,
            scanning: scanning as u64,
            waiting: waiting as u64,
        }
    }

    fn answer_poll(&self) {
        let session = self.session.lock().upgrade();
        if let Some(session) = session {
            session.answer_poll_if_due();
        }
    }

    /// Tells the outside.
    pub fn report(&self, event: Event) {
        self.events.report(event);
    }

    /// The counts at this moment.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.stats.figures()
    }

    /// The driver's counters as it told them last, in the order of
    /// [`siloscan_core::reason::ENTRIES`]. It tells them after a poll in which any moved;
    /// [`Service::tell`] with [`News::Nothing`] makes it poll at once.
    #[must_use]
    pub fn driver_counts(&self) -> Vec<u64> {
        self.stats.driver.get()
    }

    /// What the driver counted of each container that it knows, as it told it last: with its
    /// counters, if any moved.
    #[must_use]
    pub fn container_counts(&self) -> Vec<Tally> {
        self.stats.containers.get()
    }
}
