//! Who runs when: real threads in real time, or one thread at a time chosen by a seed.
//!
//! Each simulated thread is an OS thread. Under the free scheduler they run in parallel. Under
//! the seeded one exactly one runs; at each yield point the seed says whether another takes
//! over, and time moves only when every thread waits. [`Sched::wait_until`] is the only way to
//! block, so the scheduler knows who waits for what, and can tell a deadlock.

mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

pub use thread::{SimThread, ThreadRef};

use crate::machine::{self, Machine};
use crate::object::Kind;
use crate::process::Process;
use crate::verifier::{Report, ThreadState};

/// Which scheduler a machine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// OS threads in parallel, real time.
    Free,
    /// One thread at a time, chosen by this seed; virtual time.
    Seeded(u64),
}

/// A moment, in 100 ns since the machine started; virtual when seeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// This moment and `by` later, without overflow.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let units = u64::try_from(by.as_nanos() / 100).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(units))
    }

    /// How long ago `earlier` was at this moment; zero if it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).saturating_mul(100))
    }
}

/// A deadline passed before the awaited thing came true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct TimedOut;

/// Virtual machines start at this system time: 2026-01-01 in 100 ns since 1601.
const VIRTUAL_EPOCH: i64 = 134_116_992_000_000_000;
/// 1970-01-01 in 100 ns since 1601.
const UNIX_AS_FILETIME: i64 = 116_444_736_000_000_000;
/// In free runs a waiting thread looks at least this often whether the machine is over.
const FREE_POLL: Duration = Duration::from_millis(500);

/// In free runs the others have this long to end when the first thread has.
const DRAIN: Duration = Duration::from_millis(200);
/// In seeded runs so many turns.
const DRAIN_TURNS: u32 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Ready,
    Waiting {
        what: &'static str,
        deadline: Option<Time>,
    },
}

struct Slot {
    thread: Arc<SimThread>,
    status: Status,
    wake: Arc<Condvar>,
}

struct State {
    slots: BTreeMap<u32, Slot>,
    running: Option<u32>,
    choice: Pcg64,
    dice: Pcg64,
    now: Time,
    hash: u64,
    /// A yield point lets another thread run about once in this many times.
    switch_in: u32,
}

/// The scheduler of one machine.
pub struct Sched {
    mode: Mode,
    state: Mutex<State>,
    free_wake: Condvar,
    waiters: AtomicUsize,
    generation: AtomicU64,
    progress: AtomicU64,
    spawned: AtomicU32,
    started: Instant,
    stack_size: usize,
    /// Where all threads of a seeded machine run: one of them at a time does, and a hand-over to
    /// one on another processor costs twice as much.
    processor: Option<usize>,
}

impl Sched {
    pub(crate) fn new(mode: Mode, stack_size: usize) -> Self {
        let seed = match mode {
            Mode::Seeded(seed) => seed,
            Mode::Free => u64::from(std::process::id()) ^ unix_time() as u64,
        };
        let mut choice = Pcg64::seed_from_u64(seed);
        let switch_in = 1 << (choice.next_u32() % 6);
        Self {
            mode,
            state: Mutex::new(State {
                slots: BTreeMap::new(),
                running: None,
                choice,
                dice: Pcg64::seed_from_u64(seed ^ 0x5eed_d1ce),
                now: Time(0),
                hash: 0xcbf2_9ce4_8422_2325,
                switch_in,
            }),
            free_wake: Condvar::new(),
            waiters: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            spawned: AtomicU32::new(0),
            started: Instant::now(),
            stack_size,
            processor: matches!(mode, Mode::Seeded(_))
                .then(rustix::thread::sched_getcpu)
                .filter(|processor| *processor < rustix::thread::CpuSet::MAX_CPU),
        }
    }

    /// The mode that the machine was built with.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// True when the seed decides.
    #[must_use]
    pub fn is_seeded(&self) -> bool {
        matches!(self.mode, Mode::Seeded(_))
    }

    /// Time since the machine started.
    #[must_use]
    pub fn now(&self) -> Time {
        if self.is_seeded() {
            return self.state.lock().now;
        }
        Time(0).after(self.started.elapsed())
    }

    /// The system time in 100 ns since 1601.
    #[must_use]
    pub fn system_time(&self) -> i64 {
        if self.is_seeded() {
            return VIRTUAL_EPOCH.saturating_add_unsigned(self.now().0);
        }
        UNIX_AS_FILETIME.saturating_add(unix_time())
    }

    /// A random number: from the seed when seeded.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.state.lock().dice.next_u64()
    }

    /// Hash over everything that the seed decided so far; 0 under the free scheduler.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        if self.is_seeded() {
            self.state.lock().hash
        } else {
            0
        }
    }

    /// Number of yield points and waits so far: what the watchdog looks at.
    pub(crate) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Number of threads ever spawned.
    pub(crate) fn spawned(&self) -> u32 {
        self.spawned.load(Ordering::Relaxed)
    }

    /// Starts a simulated thread in `process`. It becomes runnable at once; the caller goes on.
    ///
    /// # Panics
    /// When the OS cannot start a thread.
    pub fn spawn(
        &self,
        process: &Arc<Process>,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> ThreadRef {
        self.spawn_on(&machine::current(), process, name, body)
    }

    pub(crate) fn spawn_on(
        &self,
        m: &Arc<Machine>,
        process: &Arc<Process>,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> ThreadRef {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let id = number.saturating_mul(4).saturating_add(8);
        let thread = SimThread::new(id, name, process.clone(), m.paging().clone());
        let object = m.objects().create(Kind::Thread.body_size(), thread.clone());
        thread.set_address(object.address());
        let slot = Slot {
            thread: thread.clone(),
            status: Status::Ready,
            wake: Arc::new(Condvar::new()),
        };
        self.state.lock().slots.insert(id, slot);
        let (m, own) = (m.clone(), thread.clone());
        std::thread::Builder::new()
            .name(format!("sim {id} {name}"))
            .stack_size(self.stack_size)
            .spawn(move || machine::thread_main(&m, &own, body))
            .expect("the OS starts a thread");
        thread
    }

    /// Waits until `thread` has ended.
    pub fn join(&self, thread: &SimThread) {
        let done = || thread.is_finished().then_some(());
        let forever = self.wait_until("join", None, done);
        debug_assert!(forever.is_ok(), "a wait without deadline cannot time out");
    }

    /// Lets the other threads come to their ends, as far as they do so without any time passing:
    /// one that is left keeps the whole machine in memory for as long as the process lives.
    pub(crate) fn drain(&self) {
        if !self.is_seeded() {
            let patience = Instant::now() + DRAIN;
            while self.state.lock().slots.len() > 1 && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
            return;
        }
        let me = machine::current_thread().id();
        for _ in 0..DRAIN_TURNS {
            let mut state = self.state.lock();
            let deadline = Some(state.now);
            if let Some(slot) = state.slots.get_mut(&me) {
                // When all others wait, this deadline is the first: time stays as it is.
                let what = "the ends of the others";
                slot.status = Status::Waiting { what, deadline };
            }
            if state.ready().is_empty() || state.hand_over().is_err() {
                return;
            }
            drop(self.wait_turn(state, me));
        }
    }

    /// First thing that a new OS thread does: waits for its turn.
    pub(crate) fn enter(&self, thread: &SimThread) {
        if let Some(processor) = self.processor {
            let mut own = rustix::thread::CpuSet::new();
            own.set(processor);
            // Without it all is as it is, and slower.
            let _ = rustix::thread::sched_setaffinity(None, &own);
        }
        if self.is_seeded() {
            let state = self.state.lock();
            drop(self.wait_turn(state, thread.id()));
        }
    }

    /// Last thing that a simulated thread does: lets another run.
    pub(crate) fn leave(&self, m: &Machine, thread: &SimThread) {
        thread.set_finished();
        self.notify();
        let mut state = self.state.lock();
        state.slots.remove(&thread.id());
        if !self.is_seeded() {
            return;
        }
        state.running = None;
        if let Err(waiting) = state.hand_over() {
            drop(state);
            if !waiting.is_empty() && !m.is_over() {
                m.fail(Report::deadlock(waiting));
            }
        }
    }

    /// The controller starts the first thread.
    pub(crate) fn start(&self) {
        if self.is_seeded() {
            let none_waits = self.state.lock().hand_over();
            debug_assert!(none_waits.is_ok(), "the first thread is ready");
        }
    }

    /// A point where another thread may run. `what` goes into the trace.
    pub fn yield_point(&self, what: &'static str) {
        self.trace(what, &[]);
        if !self.is_seeded() {
            machine::park_if_over();
            return;
        }
        let me = machine::current_thread().id();
        let mut state = self.state.lock();
        let odds = state.switch_in;
        if state.slots.len() < 2 || !state.choice.next_u32().is_multiple_of(odds) {
            drop(state);
            machine::park_if_over();
            return;
        }
        // The calling thread is ready, so somebody is.
        if state.hand_over().is_ok() {
            drop(self.wait_turn(state, me));
        }
        machine::park_if_over();
    }

    /// Adds an event with small numbers (no addresses) to the trace hash.
    pub fn trace(&self, what: &str, numbers: &[u64]) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        if self.is_seeded() {
            let mut state = self.state.lock();
            let thread = u64::from(state.running.unwrap_or(0));
            state.mix(thread);
            for chunk in what.as_bytes().chunks(8) {
                let mut word = [0_u8; 8];
                for (to, from) in word.iter_mut().zip(chunk) {
                    *to = *from;
                }
                state.mix(u64::from_le_bytes(word));
            }
            for number in numbers {
                state.mix(*number);
            }
        }
    }

    /// Blocks until `ready` gives a value, looked at again after each [`Sched::notify`].
    ///
    /// # Errors
    /// [`TimedOut`] when `deadline` passes first.
    pub fn wait_until<T>(
        &self,
        what: &'static str,
        deadline: Option<Time>,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, TimedOut> {
        loop {
            machine::park_if_over();
            let seen = self.generation.load(Ordering::SeqCst);
            if machine::try_current().is_some_and(|(_, thread)| thread.is_frozen()) {
                self.trace("suspended", &[1]);
                self.block("suspended", None, seen);
                continue;
            }
            if let Some(value) = ready() {
                return Ok(value);
            }
            if deadline.is_some_and(|deadline| self.now() >= deadline) {
                return Err(TimedOut);
            }
            self.trace(what, &[1]);
            self.block(what, deadline, seen);
        }
    }

    fn block(&self, what: &'static str, deadline: Option<Time>, seen: u64) {
        if self.is_seeded() {
            self.block_seeded(what, deadline);
        } else {
            self.block_free(what, deadline, seen);
        }
    }

    fn block_seeded(&self, what: &'static str, deadline: Option<Time>) {
        let me = machine::current_thread().id();
        let mut state = self.state.lock();
        if let Some(slot) = state.slots.get_mut(&me) {
            slot.status = Status::Waiting { what, deadline };
        }
        match state.hand_over() {
            Ok(()) => drop(self.wait_turn(state, me)),
            Err(waiting) => {
                drop(state);
                machine::current().fail(Report::deadlock(waiting));
                machine::park_forever();
            }
        }
    }

    fn block_free(&self, what: &'static str, deadline: Option<Time>, seen: u64) {
        let me = machine::current_thread().id();
        let mut left = FREE_POLL;
        if let Some(deadline) = deadline {
            let units = deadline.0.saturating_sub(self.now().0);
            left = left.min(Duration::from_nanos(units.saturating_mul(100)));
        }
        let mut state = self.state.lock();
        if let Some(slot) = state.slots.get_mut(&me) {
            slot.status = Status::Waiting { what, deadline };
        }
        self.waiters.fetch_add(1, Ordering::SeqCst);
        if self.generation.load(Ordering::SeqCst) == seen {
            self.free_wake.wait_for(&mut state, left);
        }
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        if let Some(slot) = state.slots.get_mut(&me) {
            slot.status = Status::Ready;
        }
    }

    /// Something changed that a waiting thread may wait for. Any OS thread may call this.
    pub fn notify(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        if self.is_seeded() {
            for slot in self.state.lock().slots.values_mut() {
                slot.status = Status::Ready;
            }
        } else if self.waiters.load(Ordering::SeqCst) > 0 {
            let state = self.state.lock();
            self.free_wake.notify_all();
            drop(state);
        }
    }

    /// Sleeps for `time` (virtual when seeded).
    pub fn sleep(&self, time: Duration) {
        let deadline = self.now().after(time);
        let nothing = || None::<()>;
        let slept = self.wait_until("sleep", Some(deadline), nothing);
        debug_assert!(slept.is_err(), "a sleep ends by its deadline only");
    }

    /// What each thread does now, for reports.
    pub(crate) fn threads(&self) -> Vec<ThreadState> {
        let Some(state) = self.state.try_lock_for(Duration::from_millis(200)) else {
            return Vec::new();
        };
        state.describe()
    }

    fn wait_turn<'a>(&self, mut state: MutexGuard<'a, State>, me: u32) -> MutexGuard<'a, State> {
        let Some(wake) = state.slots.get(&me).map(|slot| slot.wake.clone()) else {
            return state;
        };
        while state.running != Some(me) {
            wake.wait(&mut state);
        }
        if let Some(slot) = state.slots.get_mut(&me) {
            slot.status = Status::Ready;
            slot.thread.follow_level();
        }
        state
    }
}

impl State {
    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }

    /// Chooses who runs next and wakes it. `Err` lists all threads when none can ever run.
    fn hand_over(&mut self) -> Result<(), Vec<ThreadState>> {
        let mut ready = self.ready();
        if ready.is_empty() {
            let first = self.slots.values().filter_map(|slot| slot.deadline()).min();
            let Some(first) = first else {
                return Err(self.describe());
            };
            self.now = self.now.max(first);
            for slot in self.slots.values_mut() {
                if slot.deadline().is_some_and(|deadline| deadline <= self.now) {
                    slot.status = Status::Ready;
                }
            }
            ready = self.ready();
        }
        let count = u32::try_from(ready.len()).unwrap_or(u32::MAX).max(1);
        let index = (self.choice.next_u32() % count) as usize;
        if let Some(next) = ready.get(index).copied() {
            self.mix(u64::from(next));
            self.running = Some(next);
            if let Some(slot) = self.slots.get(&next) {
                slot.wake.notify_one();
            }
        }
        Ok(())
    }

    fn ready(&self) -> Vec<u32> {
        let ready = |slot: &&Slot| slot.status == Status::Ready;
        self.slots
            .values()
            .filter(ready)
            .map(|slot| slot.thread.id())
            .collect()
    }

    fn describe(&self) -> Vec<ThreadState> {
        let line = |slot: &Slot| ThreadState {
            thread: slot.thread.clone(),
            waits_for: match slot.status {
                Status::Ready => None,
                Status::Waiting { what, .. } => Some(what),
            },
        };
        self.slots.values().map(line).collect()
    }
}

impl Slot {
    fn deadline(&self) -> Option<Time> {
        match self.status {
            Status::Waiting { deadline, .. } => deadline,
            Status::Ready => None,
        }
    }
}

fn unix_time() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos() / 100).unwrap_or(i64::MAX)
}
