//! One rule set and the processes that have loaded it.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::WorkerSettings;
use super::held::{Held, Placed};
use super::killers::{Content, Killers};
use super::leash::{End, Leash, Warden};
use super::os::{self, FileCopy};
use super::wire::{ANSWER_BYTES, Answer, KEEP, LOAD, Order, SCAN, Told};
use crate::engine::{Digest, EngineError, Finding, Packed};
use crate::memory::no_memory;
use crate::metrics::WorkersStatus;
use crate::stats::Stats;

/// A worker that could not be started is tried again after this, then after twice as long.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest wait between such attempts.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Why no worker is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot start a worker: {0}")]
pub struct StartError(String);

/// How a scan by a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The engine's word.
    Said(Result<Finding, EngineError>),
    /// The worker was ended because its time was over.
    Hung,
    /// The worker ended, or talked nonsense and was ended.
    Crashed(String),
    /// There was no worker in time.
    NoWorker(String),
}

/// One rule set and the worker processes that have loaded it. Dropping it ends them.
pub struct Workers {
    shared: Arc<Shared>,
    digest: Digest,
    rules: usize,
    computes: bool,
    threads: Vec<JoinHandle<()>>,
}

pub(super) struct Shared {
    settings: WorkerSettings,
    packed: Vec<u8>,
    pool: Mutex<Pool>,
    /// A worker has become idle, has ended, or could not be started.
    changed: Condvar,
    /// A worker is missing, or the set is over: the nursery's thread alone waits for this.
    missing: Condvar,
    warden: Warden,
    numbers: AtomicU64,
    killers: Killers,
    /// Memory that stays with these workers, in bytes.
    pub(super) kept_bytes: Arc<AtomicU64>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Arc<Leash>>,
    /// Those that are idle, scanning or starting.
    alive: usize,
    /// Why the last one could not be started, if it could not.
    trouble: Option<String>,
    over: bool,
}

impl Workers {
    /// Starts workers for a rule set and waits until all are ready, so that a set that takes the
    /// place of another is not short of them; or until one more cannot be started.
    ///
    /// # Errors
    /// [`StartError`] when none can be started.
    pub fn start(packed: Packed, settings: WorkerSettings) -> Result<Arc<Self>, StartError> {
        let shared = Arc::new(Shared {
            settings,
            packed: packed.bytes,
            pool: Mutex::default(),
            changed: Condvar::new(),
            missing: Condvar::new(),
            warden: Warden::default(),
            numbers: AtomicU64::new(0),
            killers: Killers::default(),
            kept_bytes: Arc::default(),
        });
        let run = |name: &str, work: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(name.to_owned());
            thread.spawn(move || work(&shared))
        };
        let mut workers = Self {
            shared: Arc::clone(&shared),
            digest: packed.digest,
            rules: packed.rules,
            computes: packed.computes,
            threads: Vec::new(),
        };
        for (name, work) in [
            ("warden", (|shared| shared.warden.work()) as fn(&Shared)),
            ("nursery", Shared::raise),
        ] {
            let thread = run(name, work).map_err(|cause| StartError(cause.to_string()))?;
            workers.threads.push(thread);
        }
        let mut pool = shared.pool.lock();
        while pool.idle.len() < shared.settings.count {
            match &pool.trouble {
                Some(cause) if pool.idle.is_empty() => return Err(StartError(cause.clone())),
                Some(_) => break,
                None => shared.changed.wait(&mut pool),
            }
        }
        drop(pool);
        Ok(Arc::new(workers))
    }

    /// Names the rule set.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many signatures the set has.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules
    }

    /// Whether the engine takes a processor for as long as it scans.
    #[must_use]
    pub fn computes(&self) -> bool {
        self.computes
    }

    /// How the processes are.
    #[must_use]
    pub fn status(&self) -> WorkersStatus {
        let pool = self.shared.pool.lock();
        WorkersStatus {
            wanted: self.shared.settings.count as u64,
            alive: pool.alive as u64,
            idle: pool.idle.len() as u64,
            kept_bytes: self.shared.kept_bytes.load(Ordering::Relaxed),
            trouble: pool.trouble.clone(),
        }
    }

    /// Holds a worker for a file of `size` bytes, which is copied into memory that stays with it.
    /// Nothing where the file is too large for that, no worker is idle, or the system has no
    /// memory: the file gets memory of its own then.
    pub(crate) fn hold(&self, size: usize, stats: &Stats) -> Option<Held> {
        if size > self.shared.settings.kept_bytes_max {
            return None;
        }
        let leash = self.shared.pop(&mut self.shared.pool.lock(), stats)?;
        Held::new(&self.shared, leash, size)
    }

    /// Has a worker scan a copy within `limit`, and counts the workers that ended on the way.
    pub(crate) fn scan(&self, copy: &mut Placed, limit: Duration, stats: &Stats) -> Ending {
        let end = Instant::now() + limit;
        if let Placed::Kept(held) = copy
            && held.is_of(&self.shared)
            && let Some(ending) = self.scan_held(held, end, stats)
        {
            return ending;
        }
        // Another worker is not to see what is left of older files in the memory of this one.
        let copy = match copy.let_worker_go() {
            Ok(copy) => copy,
            Err(cause) => return Ending::Said(Err(no_memory(&cause))),
        };
        loop {
            let leash = match self.shared.take(end, stats) {
                Ok(leash) => leash,
                Err(cause) => return Ending::NoWorker(cause),
            };
            // With so little time left the file would be taken for one that hangs.
            if end.saturating_duration_since(Instant::now()) < limit / 2 {
                self.shared.put_back(&leash);
                return Ending::NoWorker("a worker was free too late".to_owned());
            }
            let order = (SCAN, copy.bytes().len() as u64, Some(copy));
            if let Some((ending, lives)) = self.scan_by(&leash, order, end, stats) {
                if lives {
                    self.shared.put_back(&leash);
                }
                return ending;
            }
            // It had ended before it was handed the copy, which is not the file's doing.
        }
    }

    /// The same by the worker that is held for it. Nothing where that has ended before.
    fn scan_held(&self, held: &mut Held, end: Instant, stats: &Stats) -> Option<Ending> {
        let (leash, kept) = held.worker()?;
        if !self.shared.may_be_asked(&leash, stats) {
            held.note_ended();
            return None;
        }
        let copy = Some(&kept.copy).filter(|_| kept.order() == KEEP);
        let order = (kept.order(), kept.copy.bytes().len() as u64, copy);
        let scanned = self.scan_by(&leash, order, end, stats);
        let lives = scanned.as_ref().is_some_and(|(_, lives)| *lives);
        let refused =
            |ending: &Ending| matches!(ending, Ending::Said(Err(EngineError::Unavailable(_))));
        // A worker that could not map it does not have it.
        kept.note(scanned.as_ref().is_some_and(|(ending, _)| !refused(ending)));
        if !lives {
            held.note_ended();
        }
        scanned.map(|(ending, _)| ending)
    }

    /// Gives one order to a worker: its kind, the file's bytes, and the copy where the worker does
    /// not have it. How it ended, and whether the worker lives; nothing where it had ended before.
    fn scan_by(
        &self,
        leash: &Arc<Leash>,
        (kind, size, copy): (u32, u64, Option<&FileCopy>),
        end: Instant,
        stats: &Stats,
    ) -> Option<(Ending, bool)> {
        let shared = &self.shared;
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        // An engine that keeps to its limit keeps its process.
        let own_limit = end.saturating_duration_since(Instant::now()) * 7 / 8;
        let order = Order::scan(kind, number, size, own_limit);
        shared.warden.watch(leash, end);
        let handed = leash.link.send(&order, copy);
        let told = match &handed {
            Ok(()) => answer(leash, number),
            Err(cause) => Err(cause.to_string()),
        };
        let alive = shared.warden.release(leash);
        let cause = match told {
            Ok(Told::Done(said)) => {
                if !alive {
                    // It answered in the moment in which it was ended.
                    shared.bury(leash);
                }
                return Some((Ending::Said(said), alive));
            }
            Ok(Told::Ready) => "it gave an answer to another question".to_owned(),
            Err(cause) => cause,
        };
        let End { late, how } = shared.bury(leash);
        if late {
            stats.workers_hung.one();
            return Some((Ending::Hung, false));
        }
        stats.workers_crashed.one();
        handed.ok()?;
        Some((Ending::Crashed(format!("{cause} ({how})")), false))
    }

    /// Whether the content of a file of this size is to be looked at before it is scanned.
    pub(crate) fn may_know(&self, size: u64) -> bool {
        self.remembers() && self.shared.killers.may_know(size)
    }

    /// Whether files that end workers are remembered at all.
    pub(crate) fn remembers(&self) -> bool {
        self.shared.settings.strikes_max > 0
    }

    /// Whether this content has ended so many workers that it is not scanned any more.
    pub(crate) fn is_killer(&self, content: &Content) -> bool {
        let strikes = self.shared.killers.strikes(content);
        self.remembers() && strikes >= self.shared.settings.strikes_max
    }

    /// A worker ended in this content. True if it is not going to be scanned any more.
    pub(crate) fn strike(&self, content: Content) -> bool {
        self.shared.killers.strike(content) == self.shared.settings.strikes_max
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let idle = {
            let mut pool = self.shared.pool.lock();
            pool.over = true;
            std::mem::take(&mut pool.idle)
        };
        self.shared.changed.notify_all();
        self.shared.missing.notify_all();
        self.shared.warden.close();
        for leash in &idle {
            leash.bury();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that looks after workers panicked");
            }
        }
    }
}

/// Waits for the answer to order `number`.
fn answer(leash: &Leash, number: u64) -> Result<Told, String> {
    let mut bytes = [0; ANSWER_BYTES];
    leash
        .link
        .receive(&mut bytes)
        .map_err(|_| "the worker ended".to_owned())?;
    Answer::decode(bytes, number).map_err(|error| format!("the worker was ended: {error}"))
}

impl Shared {
    /// An idle worker, as soon as there is one.
    fn take(&self, end: Instant, stats: &Stats) -> Result<Arc<Leash>, String> {
        let mut pool = self.pool.lock();
        loop {
            if let Some(leash) = self.pop(&mut pool, stats) {
                return Ok(leash);
            }
            if self.changed.wait_until(&mut pool, end).timed_out() {
                let busy = || "no worker was free in time; raise --threads".to_owned();
                return Err(pool.trouble.clone().unwrap_or_else(busy));
            }
        }
    }

    /// An idle worker, if there is one.
    fn pop(&self, pool: &mut MutexGuard<'_, Pool>, stats: &Stats) -> Option<Arc<Leash>> {
        while let Some(leash) = pool.idle.pop() {
            if MutexGuard::unlocked(pool, || self.may_be_asked(&leash, stats)) {
                return Some(leash);
            }
        }
        None
    }

    /// Whether a worker can be given an order. One that ended while it had nothing to do, or has an
    /// answer ready that nobody asked for, is buried: the next file is not to pay for that.
    fn may_be_asked(&self, leash: &Leash, stats: &Stats) -> bool {
        let may = leash.link.is_quiet();
        if !may {
            stats.workers_crashed.one();
            self.bury(leash);
        }
        may
    }

    /// The worker may be taken by the next file.
    pub(super) fn put_back(&self, leash: &Arc<Leash>) {
        let mut pool = self.pool.lock();
        if pool.over {
            // One that was held, while its set was given up.
            drop(pool);
            leash.bury();
            return;
        }
        pool.idle.push(Arc::clone(leash));
        drop(pool);
        self.changed.notify_one();
    }

    /// Waits until nothing is left of a worker, and has another one started.
    fn bury(&self, leash: &Leash) -> End {
        let end = leash.bury();
        let mut pool = self.pool.lock();
        pool.alive = pool.alive.saturating_sub(1);
        drop(pool);
        self.changed.notify_all();
        self.missing.notify_all();
        end
    }

    /// Keeps as many workers alive as there should be. What the nursery's thread does: on Linux a
    /// worker ends with the thread that started it, and this one lives as long as the set.
    fn raise(&self) {
        let mut wait = RETRY_MIN;
        let mut pool = self.pool.lock();
        while !pool.over {
            if pool.alive >= self.settings.count {
                self.missing.wait(&mut pool);
                continue;
            }
            pool.alive += 1;
            drop(pool);
            let started = self.start();
            pool = self.pool.lock();
            match started {
                Ok(leash) if pool.over => {
                    drop(pool);
                    leash.bury();
                    return;
                }
                Ok(leash) => {
                    pool.trouble = None;
                    pool.idle.push(leash);
                    wait = RETRY_MIN;
                    self.changed.notify_all();
                }
                Err(cause) => {
                    tracing::error!("cannot start a worker: {cause}");
                    pool.alive = pool.alive.saturating_sub(1);
                    pool.trouble = Some(cause);
                    self.changed.notify_all();
                    let end = Instant::now() + wait;
                    while !pool.over && !self.missing.wait_until(&mut pool, end).timed_out() {}
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    }

    fn start(&self) -> Result<Arc<Leash>, String> {
        let program = &self.settings.program;
        let mut command = Command::new(&program.path);
        let variables = program.variables.iter().cloned();
        command
            .args(&program.arguments)
            .envs(variables)
            .stderr(Stdio::null());
        let (link, child) = os::spawn(command, self.settings.memory_bytes_max)
            .map_err(|cause| format!("{} does not start: {cause}", program.path.display()))?;
        let leash = Arc::new(Leash::new(link, child));
        let end = Instant::now() + self.settings.start_time_max;
        self.warden.watch(&leash, end);
        let mut order = Order::new(LOAD, 0, self.packed.len() as u64);
        order.memory.set(self.settings.memory_bytes_max);
        let told = leash
            .link
            .load(&order, &self.packed)
            .map_err(|cause| cause.to_string())
            .and_then(|()| answer(&leash, 0));
        let alive = self.warden.release(&leash);
        match told {
            Ok(Told::Ready) if alive => Ok(leash),
            Ok(Told::Done(Err(EngineError::Failed(cause)))) => {
                leash.bury();
                Err(cause)
            }
            other => {
                let End { late, how } = leash.bury();
                let time = self.settings.start_time_max.as_secs();
                Err(match other {
                    _ if late => format!("its engine was not made within {time} seconds"),
                    Err(cause) => format!("{cause} ({how})"),
                    Ok(_) => "it gave an answer to another question".to_owned(),
                })
            }
        }
    }
}
