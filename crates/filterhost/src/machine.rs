//! One simulated machine: its parts, how it is built, and how a run of it begins and ends.
//!
//! [`MachineBuilder::run`] starts the scheduler, runs a closure on a simulated thread of the
//! System process, and waits on the calling thread for its value or for a report. After a
//! violation nothing of the machine runs on: its threads park at their next call into the host,
//! because driver frames cannot be unwound.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::crash::{self, Fault};
use crate::faults::Faults;
use crate::object::{Kind, Object, Objects};
use crate::paging::Paging;
use crate::pool::Pool;
use crate::process::Process;
use crate::registry::Registry;
use crate::sched::{Mode, Sched, SimThread};
use crate::verifier::{self, Report};

thread_local! {
    static CURRENT: RefCell<Option<(Arc<Machine>, Arc<SimThread>)>> =
        const { RefCell::new(None) };
}

/// How a machine is to be.
#[derive(Clone, Debug)]
pub struct MachineBuilder {
    mode: Mode,
    build_number: u32,
    without: Vec<&'static str>,
    rules_off: Vec<&'static str>,
    special_pool: bool,
    dispatch_code: Vec<&'static str>,
    watchdog: Duration,
    stack_size: usize,
}

/// A simulated machine.
pub struct Machine {
    options: MachineBuilder,
    sched: Sched,
    objects: Objects,
    faults: Faults,
    pool: Pool,
    paging: Arc<Paging>,
    registry: Registry,
    looked_up: Mutex<BTreeMap<String, bool>>,
    system: OnceLock<Arc<Process>>,
    processes: Mutex<BTreeMap<u32, Arc<Process>>>,
    next_process: AtomicU32,
    states: Mutex<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    ending: AtomicBool,
    over: AtomicBool,
    end: Mutex<Option<End>>,
    crash: Mutex<Option<(Arc<SimThread>, Fault)>>,
    ended: Condvar,
}

enum End {
    /// The value, and the trace hash at that moment: other threads still run for a while.
    Value(Box<dyn Any + Send>, u64),
    Failed(Report),
    Panicked(Box<dyn Any + Send>),
}

/// What a run that ended well leaves.
#[derive(Debug)]
pub struct Outcome<R> {
    /// What the closure returned.
    pub value: R,
    /// Hash over all choices of the seed; 0 under the free scheduler.
    pub trace_hash: u64,
    /// Counts of the run.
    pub stats: Stats,
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Calls from drivers into the host, yields and waits.
    pub steps: u64,
    /// Simulated threads that were started.
    pub threads: u32,
    /// Virtual (or real) time that passed, in 100 ns.
    pub time: u64,
}

impl MachineBuilder {
    /// Which scheduler; [`Mode::Free`] unless said otherwise.
    #[must_use]
    pub fn scheduler(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Build number that the machine claims (20348 is Server 2022): newer exports are absent.
    #[must_use]
    pub fn build_number(mut self, build: u32) -> Self {
        self.build_number = build;
        self
    }

    /// The kernel lacks these exports, whatever the build: drivers that look them up find nothing,
    /// and drivers that import them do not load.
    #[must_use]
    pub fn without(mut self, names: &[&'static str]) -> Self {
        self.without = names.to_vec();
        self
    }

    /// Switches rules off: a driver that breaks one is not judged for it
    /// ([`crate::verifier::Rule::off`] says what it meets instead).
    ///
    /// # Panics
    /// For a name that no rule has.
    #[must_use]
    pub fn without_rules(mut self, names: &[&str]) -> Self {
        let known = |name: &&str| match verifier::find(name) {
            Some(rule) => rule.name,
            None => panic!("no rule is called {name}"),
        };
        self.rules_off.extend(names.iter().map(known));
        self
    }

    /// Whether each pool block gets guard pages and freed blocks are unmapped.
    #[must_use]
    pub fn special_pool(mut self, on: bool) -> Self {
        self.special_pool = on;
        self
    }

    /// Functions of drivers that are to run at `DISPATCH_LEVEL`: those with one of these texts in
    /// the name that the PDB has, inlined ones too. Rule `irql-code` judges each instruction of
    /// theirs that writes memory, and [`crate::record::DispatchCode`] counts them. Driver code
    /// then runs one instruction at a time, which is slow.
    #[must_use]
    pub fn dispatch_code(mut self, names: &[&'static str]) -> Self {
        self.dispatch_code = names.to_vec();
        self
    }

    /// Real time without any call into the host after which the run is given up.
    #[must_use]
    pub fn watchdog(mut self, time: Duration) -> Self {
        self.watchdog = time;
        self
    }

    /// Stack of each simulated thread in bytes (2 MiB unless said otherwise).
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes.clamp(1 << 20, 64 << 20);
        self
    }

    /// Builds the machine and runs `body` on its first thread.
    ///
    /// # Errors
    /// The report of the first violation, crash, deadlock or lack of progress.
    ///
    /// # Panics
    /// With the panic of `body`, or of any simulated thread outside of driver calls.
    pub fn run<R, F>(self, body: F) -> Result<Outcome<R>, Report>
    where
        R: Send + 'static,
        F: FnOnce(&Arc<Machine>) -> R + Send + 'static,
    {
        let watchdog = self.watchdog;
        let m = Machine::new(self);
        let system = m.system_process().clone();
        let own = m.clone();
        m.sched.spawn_on(&m, &system, "main", move || {
            let value = body(&own);
            let hash = own.sched.trace_hash();
            own.ending.store(true, Ordering::Release);
            own.sched.notify();
            own.sched.drain();
            own.finish(End::Value(Box::new(value), hash));
        });
        m.sched.start();
        match m.wait_end(watchdog) {
            End::Value(value, trace_hash) => {
                let value = *value.downcast::<R>().expect("the closure's own type");
                let stats = Stats {
                    steps: m.sched.progress(),
                    threads: m.sched.spawned(),
                    time: m.sched.now().0,
                };
                Ok(Outcome {
                    value,
                    trace_hash,
                    stats,
                })
            }
            End::Failed(report) => Err(report.with_seed(m.sched.mode())),
            End::Panicked(panic) => resume_unwind(panic),
        }
    }
}

impl Machine {
    /// Starts describing a machine: free scheduler, build 20348, no special pool.
    #[must_use]
    pub fn builder() -> MachineBuilder {
        MachineBuilder {
            mode: Mode::Free,
            build_number: 20348,
            without: Vec::new(),
            rules_off: Vec::new(),
            special_pool: false,
            dispatch_code: Vec::new(),
            watchdog: Duration::from_secs(120),
            stack_size: 2 << 20,
        }
    }

    fn new(options: MachineBuilder) -> Arc<Self> {
        let special = options.special_pool;
        let seeded = matches!(options.mode, Mode::Seeded(_));
        let on = |rule: &verifier::Rule| seeded && !options.rules_off.contains(&rule.name);
        let paging = Paging::new(on(&verifier::paging::POOL), on(&verifier::paging::SECTION));
        let m = Arc::new(Self {
            sched: Sched::new(options.mode, options.stack_size),
            options,
            objects: Objects::default(),
            faults: Faults::default(),
            pool: Pool::new(special, paging.clone()),
            paging,
            registry: Registry::default(),
            looked_up: Mutex::default(),
            system: OnceLock::new(),
            processes: Mutex::new(BTreeMap::new()),
            next_process: AtomicU32::new(0),
            states: Mutex::new(BTreeMap::new()),
            ending: AtomicBool::new(false),
            over: AtomicBool::new(false),
            end: Mutex::new(None),
            crash: Mutex::new(None),
            ended: Condvar::new(),
        });
        let system = m.create_process("System", None);
        m.system.get_or_init(|| system);
        m
    }

    /// The scheduler.
    #[must_use]
    pub fn sched(&self) -> &Sched {
        &self.sched
    }

    /// The object manager.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// What is made to fail.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Kernel pool.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Pageable memory.
    pub(crate) fn paging(&self) -> &Arc<Paging> {
        &self.paging
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The build number that the machine claims.
    #[must_use]
    pub fn build_number(&self) -> u32 {
        self.options.build_number
    }

    /// Whether the kernel has an export of this name that the build has.
    #[must_use]
    pub fn has_export(&self, name: &str) -> bool {
        !self.options.without.contains(&name)
    }

    /// Whether a rule is switched on.
    #[must_use]
    pub fn judges(&self, rule: &verifier::Rule) -> bool {
        !self.options.rules_off.contains(&rule.name)
    }

    /// Notes that a driver looked a routine up by name, and whether it found it.
    pub(crate) fn note_look_up(&self, name: &str, found: bool) {
        self.looked_up.lock().insert(name.to_owned(), found);
    }

    /// The routines that drivers looked up by name until now, and whether they found them.
    #[must_use]
    pub fn looked_up(&self) -> BTreeMap<String, bool> {
        self.looked_up.lock().clone()
    }

    /// What the names of functions for `DISPATCH_LEVEL` contain.
    pub(crate) fn dispatch_code(&self) -> &[&'static str] {
        &self.options.dispatch_code
    }

    /// Whether special pool is on.
    #[must_use]
    pub fn has_special_pool(&self) -> bool {
        self.options.special_pool
    }

    /// The System process (id 4).
    ///
    /// # Panics
    /// Never after the machine is built.
    #[must_use]
    pub fn system_process(&self) -> &Arc<Process> {
        self.system.get().expect("made with the machine")
    }

    /// Makes a process, in `silo` if one is given. It has no threads yet.
    pub fn create_process(self: &Arc<Self>, name: &str, silo: Option<Arc<Object>>) -> Arc<Process> {
        let number = self.next_process.fetch_add(1, Ordering::Relaxed);
        // 4 is System; further ones keep clear of thread ids, which are multiples of four too.
        let id = if number == 0 {
            4
        } else {
            0x1_0000_u32.saturating_add(number * 4)
        };
        if let Some(silo) = &silo {
            // A process keeps its silo, however long its files are open.
            silo.reference();
        }
        let process = Process::new(id, name, self.sched.system_time(), silo);
        let object = self
            .objects
            .create(Kind::Process.body_size(), process.clone());
        process.set_address(object.address());
        self.processes.lock().insert(id, process.clone());
        process
    }

    /// The process with this id.
    #[must_use]
    pub fn process(&self, id: u32) -> Option<Arc<Process>> {
        self.processes.lock().get(&id).cloned()
    }

    /// State of a part of the host, made by `Default` at first use: one `T` for each machine.
    #[must_use]
    pub fn state<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut states = self.states.lock();
        let state = states
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(T::default()));
        let state = state.clone();
        drop(states);
        state.downcast::<T>().unwrap_or_default()
    }

    /// True once the first thread has ended: what serves the machine itself ends, too.
    #[must_use]
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// True once the run has ended, well or not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Ends the run with a report. The first one counts. The caller must park its thread
    /// ([`park_forever`]) or return without touching the driver again.
    pub fn fail(&self, report: Report) {
        self.finish(End::Failed(report));
    }

    /// Ends the run with a fault of `thread`, which parks; the controller writes the report.
    pub(crate) fn crashed(&self, thread: Arc<SimThread>, fault: Fault) {
        self.over.store(true, Ordering::Release);
        self.crash.lock().get_or_insert((thread, fault));
        self.ended.notify_all();
    }

    fn finish(&self, end: End) {
        self.over.store(true, Ordering::Release);
        self.end.lock().get_or_insert(end);
        self.ended.notify_all();
    }

    fn wait_end(&self, watchdog: Duration) -> End {
        let mut seen = (self.sched.progress(), Instant::now());
        let mut end = self.end.lock();
        loop {
            if let Some(end) = end.take() {
                return end;
            }
            if let Some((thread, fault)) = self.crash.lock().take() {
                let report = crash::report(self, &thread, &fault);
                return End::Failed(report);
            }
            self.ended.wait_for(&mut end, Duration::from_millis(50));
            let steps = self.sched.progress();
            if steps != seen.0 {
                seen = (steps, Instant::now());
            } else if seen.1.elapsed() > watchdog && end.is_none() {
                self.over.store(true, Ordering::Release);
                return End::Failed(Report::no_progress(self, watchdog));
            }
        }
    }
}

/// The machine that the calling simulated thread belongs to.
///
/// # Panics
/// On an OS thread that is no simulated thread.
#[must_use]
pub fn current() -> Arc<Machine> {
    pair().0
}

/// The calling simulated thread.
///
/// # Panics
/// On an OS thread that is no simulated thread.
#[must_use]
pub fn current_thread() -> Arc<SimThread> {
    pair().1
}

/// The machine and simulated thread of the caller, if it is one.
#[must_use]
pub fn try_current() -> Option<(Arc<Machine>, Arc<SimThread>)> {
    CURRENT.with(|current| current.borrow().clone())
}

fn pair() -> (Arc<Machine>, Arc<SimThread>) {
    try_current().expect("called on a simulated thread")
}

/// Parks the calling OS thread for ever when its machine's run is over.
pub fn park_if_over() {
    if try_current().is_some_and(|(m, _)| m.is_over()) {
        park_forever();
    }
}

/// Parks the calling OS thread for ever: driver frames below it are never unwound.
pub fn park_forever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Body of the OS thread behind a simulated thread.
pub(crate) fn thread_main(m: &Arc<Machine>, thread: &Arc<SimThread>, body: impl FnOnce()) {
    CURRENT.with(|current| *current.borrow_mut() = Some((m.clone(), thread.clone())));
    let prepared = crash::prepare_thread();
    thread.set_stack_limits(prepared.limits.0, prepared.limits.1);
    thread.install_pcr();
    m.sched.enter(thread);
    let result = catch_unwind(AssertUnwindSafe(body));
    if let Err(panic) = result {
        m.finish(End::Panicked(panic));
    }
    // Whoever waits for the thread may unload its code at once.
    thread.set_finished();
    if let Some(object) = m.objects.find(thread.address()) {
        object.set_signaled();
        object.dereference(m);
    }
    m.sched.leave(m, thread);
    drop(prepared);
    CURRENT.with(|current| current.borrow_mut().take());
}
