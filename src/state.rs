//! The one state of the driver: configuration, what is known about keys, the scans under way.
//! Statics that are filled at bring-up and emptied at the very end of teardown (`lib.rs`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use siloscan_core::cache::{Set, sets_for};
use siloscan_core::change::{ChangeBucket, Generation};
use siloscan_core::flight::{
    FlightFilter, FlightSlot, FlightTable, Shares, SiloAccount, WaiterSlot,
};
use siloscan_core::ledger::Ledger;
use siloscan_core::limits::{self, ParameterId, Parameters};
use siloscan_core::reason::{Event, Failure};
use siloscan_core::stream::{StreamId, StreamIds};
use siloscan_core::volume::VolumeSlot;
use siloscan_core::watch::LiveParameters;
use siloscan_core::wire::Digest;

use crate::kernel::event::{self, Kind};
use crate::kernel::late::Late;
use crate::kernel::lock::{Raise, SpinLock};
use crate::kernel::pool::{PoolSlice, Tag};
use crate::kernel::registry::ServiceKey;
use crate::kernel::{Status, clock};
use crate::scan::job::Jobs;
use crate::{exclusions, trace};

/// The registry's values in force.
pub static PARAMETERS: LiveParameters = LiveParameters::new();

/// Where the registry's values are.
pub static SERVICE_KEY: Late<ServiceKey> = Late::new();

/// Verdicts, changes, volumes, epochs.
pub static LEDGER: Late<Ledger<'static>> = Late::new();

/// Scans under way.
pub static FLIGHTS: Late<Flights> = Late::new();

/// Which flights there may be: asked before the table's lock is taken.
pub static FILTER: FlightFilter = FlightFilter::new();

/// Numbers of streams.
static STREAMS: StreamIds = StreamIds::new();

/// The driver is going away.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// When the service missed its heartbeat, in 100 ns since boot: nobody waits for it until it
/// answers again. Zero while it answers.
static BREAKER: AtomicU64 = AtomicU64::new(0);

/// The memory of the ledger and of the table of flights, lent to them for their whole lives.
pub struct Space {
    /// Verdicts.
    pub sets: PoolSlice<Set>,
    /// Keys that are changing.
    pub changing: PoolSlice<ChangeBucket>,
    /// Generations of keys.
    pub generations: PoolSlice<Generation>,
    /// Volumes.
    pub volumes: PoolSlice<VolumeSlot>,
    /// Flights.
    pub flights: PoolSlice<FlightSlot>,
    /// Waiters.
    pub waiters: PoolSlice<WaiterSlot>,
    /// Silos.
    pub accounts: PoolSlice<SiloAccount>,
}

/// Generations of keys: more of them let fewer tickets die for a neighbour's change.
const GENERATIONS: usize = 16_384;

impl Space {
    /// Takes the memory from the pool, once.
    ///
    /// # Errors
    /// `STATUS_INSUFFICIENT_RESOURCES`.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn new(parameters: &Parameters) -> Result<Self, Status> {
        let entries = parameters.get(ParameterId::CacheEntries) as usize;
        let buckets = limits::CHANGING.div_ceil(5);
        Ok(Self {
            sets: PoolSlice::new(sets_for(entries), Tag::CACHE, |_| Set::default())?,
            changing: PoolSlice::new(buckets, Tag::CACHE, |_| ChangeBucket::default())?,
            generations: PoolSlice::new(GENERATIONS, Tag::CACHE, |_| Generation::default())?,
            volumes: PoolSlice::new(limits::VOLUMES, Tag::CACHE, |_| VolumeSlot::default())?,
            flights: PoolSlice::new(limits::FLIGHTS, Tag::FLIGHT, |_| FlightSlot::FREE)?,
            waiters: PoolSlice::new(limits::WAITERS, Tag::FLIGHT, |_| WaiterSlot::FREE)?,
            accounts: PoolSlice::new(limits::SILO_ACCOUNTS, Tag::FLIGHT, |_| SiloAccount::FREE)?,
        })
    }
}

/// The table of flights with what it needs of the kernel.
pub struct Flights {
    /// Core's table.
    pub table: SpinLock<FlightTable<'static>>,
    /// One event per waiter; the table says whom to wake.
    pub wake: PoolSlice<event::Event>,
    /// What leaders and the threads that talk to the service wait for.
    pub signals: PoolSlice<event::Event>,
    /// The file objects that scans read through.
    pub jobs: Jobs,
    /// What each leader has with the service.
    pub desks: PoolSlice<crate::scan::desk::Desk>,
}

/// What the driver's own threads wait for: the index into [`Flights::signals`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A flight may be taken by a leader.
    Work = 0,
    /// A scan is to be stopped.
    Stop = 1,
    /// The service is to be asked now.
    Poll = 2,
}

const SIGNALS: usize = 3;

impl Flights {
    /// The table with its events.
    ///
    /// # Errors
    /// `STATUS_INSUFFICIENT_RESOURCES`.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn new(table: FlightTable<'static>, leaders: usize) -> Result<Self, Status> {
        Ok(Self {
            table: SpinLock::new(table),
            wake: event::events(limits::WAITERS, Kind::Synchronization, Tag::FLIGHT)?,
            signals: event::events(SIGNALS, Kind::Synchronization, Tag::FLIGHT)?,
            jobs: Jobs::new(limits::WAITERS)?,
            desks: PoolSlice::new(leaders, Tag::FLIGHT, |_| crate::scan::desk::Desk::new())?,
        })
    }

    /// Wakes the waiter of this index.
    pub fn wake_waiter(&self, index: usize) {
        if let Some(event) = self.wake.get(index) {
            event.set();
        }
    }

    /// Wakes one of the threads that wait for `signal`.
    pub fn raise(&self, signal: Signal) {
        if let Some(event) = self.signals.get(signal as usize) {
            event.set();
        }
    }

    /// Waits for `signal`, but not for longer than `milliseconds`.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn wait(&self, signal: Signal, milliseconds: u64) {
        self.wait_until(signal, clock::after(clock::now(), milliseconds));
    }

    /// Waits for `signal`, but not beyond `deadline`.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn wait_until(&self, signal: Signal, deadline: clock::Time) {
        if let Some(event) = self.signals.get(signal as usize) {
            event.wait(deadline);
        }
    }
}

/// The ledger, from bring-up to the end of teardown.
#[must_use]
pub fn ledger() -> Option<&'static Ledger<'static>> {
    LEDGER.get()
}

/// The flights, from bring-up to the end of teardown.
#[must_use]
pub fn flights() -> Option<&'static Flights> {
    FLIGHTS.get()
}

/// The values in force: the defaults before bring-up. No lock.
///
/// # IRQL
/// Any.
#[must_use]
pub fn parameters() -> Parameters {
    PARAMETERS.snapshot()
}

/// Where the registry's values are, from bring-up to the end of teardown.
#[must_use]
pub fn service_key() -> Option<&'static ServiceKey> {
    SERVICE_KEY.get()
}

/// Lets the table of flights know the shares in force.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn use_shares() {
    if let Some(flights) = flights() {
        flights.table.lock().set_shares(shares(&parameters()));
    }
}

/// How much of the flights one silo may hold.
#[must_use]
pub fn shares(parameters: &Parameters) -> Shares {
    Shares {
        leaders: u16::try_from(parameters.get(ParameterId::ScanThreads)).unwrap_or(u16::MAX),
        percent: u8::try_from(parameters.get(ParameterId::SiloSharePercent)).unwrap_or(100),
        forgiven_after: parameters
            .open_deadline()
            .saturating_mul(limits::SLOW_DEADLINES),
    }
}

/// A number for a new stream context.
#[must_use]
pub fn next_stream() -> StreamId {
    STREAMS.next()
}

/// Whether the driver is going away.
#[must_use]
pub fn is_stopping() -> bool {
    STOPPING.load(Ordering::Acquire)
}

/// From now on, or no longer, the driver is going away.
pub fn set_stopping(stopping: bool) {
    STOPPING.store(stopping, Ordering::Release);
}

/// Whether the service missed its heartbeat.
#[must_use]
pub fn is_breaker_open() -> bool {
    BREAKER.load(Ordering::Acquire) != 0
}

/// The service did not answer in this time.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn open_breaker(heartbeat_ms: u64) {
    let now = clock::now().max(1);
    let opened = BREAKER.compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed);
    if opened.is_ok() {
        trace::breaker_opened(heartbeat_ms);
    }
}

/// The service answered, or another one came.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn close_breaker() {
    let since = BREAKER.swap(0, Ordering::AcqRel);
    if since != 0 {
        trace::breaker_closed(clock::now().saturating_sub(since));
    }
}

/// A service connects with this rule set: a new epoch.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn service_came(digest: Digest) {
    close_breaker();
    if let Some(ledger) = ledger() {
        Raise::with(|token| ledger.connected(&digest, clock::now(), token));
        trace::count(Event::SignatureEpoch);
    }
}

/// The service is gone: whoever waits for a scan is released at once.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn service_gone() {
    exclusions::forget();
    fail_all(Failure::NoService, false);
}

/// Ends all scans. With `close` nobody can want one afterwards.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn fail_all(why: Failure, close: bool) {
    let Some(flights) = flights() else { return };
    flights
        .table
        .lock()
        .fail_all(why, close, &mut |waiter| flights.wake_waiter(waiter));
    flights.raise(Signal::Work);
    flights.raise(Signal::Stop);
}

/// Asks the service now rather than at the next turn.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn wake_poller() {
    if let Some(flights) = flights() {
        flights.raise(Signal::Poll);
    }
}
