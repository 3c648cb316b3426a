//! One simulated thread: what the kernel would keep in an `ETHREAD`.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::exports::{CallSite, Pcr};
use crate::image::Registers;
use crate::irql::Irql;
use crate::object::{KernelObject, Kind};
use crate::paging::Paging;
use crate::process::Process;

/// A simulated thread. It runs on an OS thread of its own.
pub struct SimThread {
    id: u32,
    name: String,
    process: Arc<Process>,
    attached: Mutex<Vec<Arc<Process>>>,
    ethread: OnceLock<usize>,
    irql: AtomicU8,
    top_level_irp: AtomicUsize,
    critical_region: AtomicI32,
    guarded_region: AtomicI32,
    terminating: AtomicBool,
    suspended: AtomicBool,
    finished: AtomicBool,
    calls: Mutex<Vec<CallSite>>,
    stack: OnceLock<(usize, usize)>,
    pcr: OnceLock<Pcr>,
    start_address: AtomicUsize,
    spin_locks: AtomicI32,
    priority: AtomicI32,
    paging: Arc<Paging>,
}

/// How other parts of the host hold a simulated thread.
pub type ThreadRef = Arc<SimThread>;

impl SimThread {
    pub(crate) fn new(
        id: u32,
        name: &str,
        process: Arc<Process>,
        paging: Arc<Paging>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            name: name.to_owned(),
            process,
            attached: Mutex::new(Vec::new()),
            ethread: OnceLock::new(),
            irql: AtomicU8::new(0),
            top_level_irp: AtomicUsize::new(0),
            critical_region: AtomicI32::new(0),
            guarded_region: AtomicI32::new(0),
            terminating: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            calls: Mutex::new(Vec::new()),
            stack: OnceLock::new(),
            pcr: OnceLock::new(),
            start_address: AtomicUsize::new(0),
            spin_locks: AtomicI32::new(0),
            priority: AtomicI32::new(crate::kernel::thread::INITIAL_PRIORITY),
            paging,
        })
    }

    /// The client id: a multiple of four, in order of creation, never reused in a machine.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The name given at [`crate::sched::Sched::spawn`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process that owns the thread (`IoThreadToProcess`).
    #[must_use]
    pub fn owner(&self) -> &Arc<Process> {
        &self.process
    }

    /// The process whose address space and handles the thread uses now: the one it is attached
    /// to, else its owner (`PsGetCurrentProcess`).
    #[must_use]
    pub fn process(&self) -> Arc<Process> {
        self.attached.lock().last().unwrap_or(&self.process).clone()
    }

    /// Attaches the thread to another process until [`SimThread::detach`].
    pub fn attach(&self, process: Arc<Process>) {
        self.attached.lock().push(process);
    }

    /// Undoes the newest [`SimThread::attach`]; false when there was none.
    pub fn detach(&self) -> bool {
        self.attached.lock().pop().is_some()
    }

    /// Address of the `ETHREAD` body; 0 only while the thread is being made.
    #[must_use]
    pub fn address(&self) -> usize {
        self.ethread.get().copied().unwrap_or(0)
    }

    pub(crate) fn set_address(&self, address: usize) {
        self.ethread.get_or_init(|| address);
    }

    /// The interrupt request level that the thread runs at.
    #[must_use]
    pub fn irql(&self) -> Irql {
        Irql(self.irql.load(Ordering::Relaxed))
    }

    /// Sets the level and gives the old one. Rules on raising and lowering are the exports'.
    pub fn set_irql(&self, level: Irql) -> Irql {
        let old = Irql(self.irql.swap(level.0, Ordering::Relaxed));
        self.follow_level();
        old
    }

    /// The thread runs now: what is pageable is in memory or not, as its level has it.
    pub(crate) fn follow_level(&self) {
        self.paging.follow(self.irql());
    }

    /// What `IoGetTopLevelIrp` gives.
    #[must_use]
    pub fn top_level_irp(&self) -> usize {
        self.top_level_irp.load(Ordering::Relaxed)
    }

    /// Sets what `IoGetTopLevelIrp` gives; returns the old value.
    pub fn set_top_level_irp(&self, value: usize) -> usize {
        self.top_level_irp.swap(value, Ordering::Relaxed)
    }

    /// Depth of critical regions (`KeEnterCriticalRegion`): normal APCs are off above 0.
    #[must_use]
    pub fn critical_region(&self) -> i32 {
        self.critical_region.load(Ordering::Relaxed)
    }

    /// Adds to the depth of critical regions and gives the new depth.
    pub fn add_critical_region(&self, by: i32) -> i32 {
        self.critical_region.fetch_add(by, Ordering::Relaxed) + by
    }

    /// Depth of guarded regions (`KeEnterGuardedRegion`): all APCs are off above 0.
    #[must_use]
    pub fn guarded_region(&self) -> i32 {
        self.guarded_region.load(Ordering::Relaxed)
    }

    /// Adds to the depth of guarded regions and gives the new depth.
    pub fn add_guarded_region(&self, by: i32) -> i32 {
        self.guarded_region.fetch_add(by, Ordering::Relaxed) + by
    }

    /// Number of spin locks that the thread holds.
    #[must_use]
    pub fn spin_locks(&self) -> i32 {
        self.spin_locks.load(Ordering::Relaxed)
    }

    /// Adds to the number of spin locks held and gives the new number.
    pub fn add_spin_locks(&self, by: i32) -> i32 {
        self.spin_locks.fetch_add(by, Ordering::Relaxed) + by
    }

    /// The priority that a driver gave it; the schedulers do not look at it.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.priority.load(Ordering::Relaxed)
    }

    /// Sets the priority and gives the old one.
    pub fn set_priority(&self, priority: i32) -> i32 {
        self.priority.swap(priority, Ordering::Relaxed)
    }

    /// True once somebody asked for the thread to end ([`SimThread::terminate`]).
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.terminating.load(Ordering::Acquire)
    }

    /// Whether no normal kernel APC reaches the thread: it is in a critical or guarded region, or
    /// raised. `KeAreApcsDisabled` tells of the regions alone.
    #[must_use]
    pub fn holds_apcs_off(&self) -> bool {
        self.irql() >= crate::irql::APC || self.is_in_region()
    }

    /// Whether the thread is in a critical or a guarded region.
    #[must_use]
    pub fn is_in_region(&self) -> bool {
        self.critical_region() > 0 || self.guarded_region() > 0
    }

    /// Asks for the thread to end, as killing its process does. Cancellable waits end; the
    /// caller must call [`crate::sched::Sched::notify`].
    pub fn terminate(&self) {
        self.terminating.store(true, Ordering::Release);
    }

    /// Freezes the thread, as `SuspendThread` does: the kernel's own asynchronous call reaches it
    /// in its next wait, or in the one that it is in, unless it has such calls switched off; there
    /// it stays until [`SimThread::resume`]. The caller must call [`crate::sched::Sched::notify`].
    /// <https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-suspendthread>
    pub fn suspend(&self) {
        self.suspended.store(true, Ordering::Release);
    }

    /// Lets a frozen thread go on. The caller must call [`crate::sched::Sched::notify`].
    pub fn resume(&self) {
        self.suspended.store(false, Ordering::Release);
    }

    /// True where a wait of the thread must not end now: it is frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.suspended.load(Ordering::Acquire) && !self.holds_apcs_off()
    }

    /// True once the thread's function has returned.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(crate) fn set_finished(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// Lowest and highest address of the thread's stack.
    #[must_use]
    pub fn stack_limits(&self) -> (usize, usize) {
        self.stack.get().copied().unwrap_or((0, 0))
    }

    pub(crate) fn set_stack_limits(&self, low: usize, high: usize) {
        self.stack.get_or_init(|| (low, high));
    }

    /// Address of the driver's routine that the thread was started for; 0 if none.
    #[must_use]
    pub fn start_address(&self) -> usize {
        self.start_address.load(Ordering::Relaxed)
    }

    /// Notes the driver's routine that the thread was started for.
    pub fn set_start_address(&self, address: usize) {
        self.start_address.store(address, Ordering::Relaxed);
    }

    /// Readies the calling OS thread, which is this thread's own, for driver code.
    pub(crate) fn install_pcr(&self) {
        self.pcr.get_or_init(|| Pcr::new(self.address())).install();
    }

    /// Registers of the driver code that made the newest call into the host.
    pub(crate) fn caller(&self) -> Registers {
        self.pcr.get().map(Pcr::caller).unwrap_or_default()
    }

    pub(crate) fn push_call(&self, call: CallSite) {
        self.calls.lock().push(call);
    }

    pub(crate) fn pop_call(&self) {
        self.calls.lock().pop();
    }

    /// Bytes of stack that driver code uses: its frames since the newest callback, the name of
    /// that callback, and all its frames.
    pub(crate) fn driver_stack(&self) -> (usize, &'static str, usize) {
        let (mut newest, mut name, mut total, mut began) = (0, "", 0_usize, None);
        for call in self.calls.lock().iter() {
            let Some(caller) = call.caller else {
                began = Some(call);
                continue;
            };
            let Some(callback) = began.take() else {
                continue;
            };
            let now = usize::try_from(caller.rsp()).unwrap_or(callback.stack);
            newest = callback.stack.saturating_sub(now);
            name = callback.name;
            total = total.saturating_add(newest);
        }
        (newest, name, total)
    }

    /// Calls from driver code into the host that have not returned yet, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallSite> {
        self.calls.lock().clone()
    }
}

impl KernelObject for SimThread {
    fn kind(&self) -> Kind {
        Kind::Thread
    }
}
