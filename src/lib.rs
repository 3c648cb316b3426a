//! The siloscan driver. It builds to nothing except for a Windows target.
//!
//! A map: the Filter Manager calls `registration.rs`, which hands safe views to the story files.
//! `create.rs` tells what happens to one open, `ecp.rs` how a container's open is asked where its
//! bytes come from, `scan.rs` how a verdict is found or waited for, `invalidate.rs` what ends
//! one, `transacted.rs` what a transaction does to that, `start.rs` what happens to a process that
//! starts, `instance.rs` where we attach. `port.rs` speaks with the service. `context.rs` holds
//! what is remembered per volume, stream, section and transaction, `state.rs` what is remembered
//! for the machine, `settings.rs` follows the registry, `exclusions.rs` holds what the service
//! leaves out, `trace.rs` counts and tells. `kernel/` wraps the kernel, `sys.rs` declares it. What
//! is decided is decided in `siloscan-core`.
#![cfg(windows)]
#![no_std]
#![expect(
    unsafe_code,
    reason = "the entry points that the kernel calls, and bring-up"
)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::arithmetic_side_effects
    )
)]

extern crate wdk_panic;

mod context;
mod create;
mod ecp;
mod exclusions;
mod instance;
mod invalidate;
mod kernel;
mod port;
mod registration;
mod scan;
mod settings;
mod start;
mod state;
mod sys;
mod trace;
mod transacted;

use siloscan_core::flight::FlightTable;
use siloscan_core::hash::Secret;
use siloscan_core::ledger::{Ledger, LedgerMemory};
use siloscan_core::limits::{ParameterId, Parameters};
use siloscan_core::reason::{Event, Failure};

use kernel::late::Late;
use kernel::lock::SpinLock;
use kernel::registry::ServiceKey;
use kernel::thread::Thread;
use kernel::{Status, etw, irql, pool, process, random, silo};
use port::service::{Poller, Stopper};
use scan::lead::Leader;
use state::{Flights, Signal, Space};
use sys::constants::STATUS_SUCCESS;
use sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING};

/// The memory that the ledger and the flights are lent.
static SPACE: Late<Space> = Late::new();

/// The driver's own threads.
static THREADS: SpinLock<[Option<Thread>; THREADS_MAX]> =
    SpinLock::new([const { None }; THREADS_MAX]);

/// Leaders at most, and the two that talk to the service.
const THREADS_MAX: usize = 66;

/// How far bring-up came; teardown starts there and goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Events can be written.
    Tracing,
    /// State and its memory are there.
    State,
    /// The Filter Manager knows us.
    Registered,
    /// Services can connect, and threads of ours may run.
    Threads,
}

/// Called once by the I/O manager when the driver is loaded.
///
/// # Safety
/// Only the I/O manager calls it, with its own live driver object and registry path.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DriverEntry(
    driver: *mut DRIVER_OBJECT,
    registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    irql::init();
    irql::passive();
    pool::init();
    silo::init();
    // SAFETY: driver object and path are those that the I/O manager gave.
    match unsafe { bring_up(driver, registry_path) } {
        Ok(()) => STATUS_SUCCESS,
        Err((stage, status)) => {
            tear_down(stage);
            status.code()
        }
    }
}

/// Called by the Filter Manager when the driver is to be unloaded. Not refused: every wait is
/// ended, every thread joined.
///
/// # Safety
/// Only the Filter Manager calls it, after a successful `DriverEntry`.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub(crate) unsafe extern "system" fn unload(_flags: u32) -> NTSTATUS {
    irql::passive();
    tear_down(Stage::Threads);
    STATUS_SUCCESS
}

/// Brings everything up, in order. On failure says how far it came.
///
/// # Safety
/// As `DriverEntry`.
unsafe fn bring_up(
    driver: *mut DRIVER_OBJECT,
    registry_path: PCUNICODE_STRING,
) -> Result<(), (Stage, Status)> {
    state::set_stopping(false);
    // SAFETY: the path is the one that the I/O manager gave.
    let key = unsafe { ServiceKey::new(registry_path) }.map_err(|s| (Stage::Tracing, s))?;
    let parameters = settings::read(&key);
    make_state(&parameters, key).map_err(|status| (Stage::Tracing, status))?;
    // SAFETY: the driver object is the one that the I/O manager gave.
    unsafe { registration::register(driver) }.map_err(|status| (Stage::State, status))?;
    // Not before: Wine, where this is tried too, lacks ETW and aborts at the first call.
    etw::register();
    port::open().map_err(|status| (Stage::Registered, status))?;
    start_threads(&parameters).map_err(|status| (Stage::Threads, status))?;
    registration::start().map_err(|status| (Stage::Threads, status))?;
    // Without it processes are not looked at, which is no reason to guard no file either.
    if process::register().is_err() {
        trace::count(Event::StartUnasked);
    }
    Ok(())
}

/// Takes everything down that was brought up to `stage`, in reverse.
fn tear_down(stage: Stage) {
    state::set_stopping(true);
    state::fail_all(Failure::Unloading, true);
    // Whoever was asked about a process waits for no scan any more.
    process::unregister();
    if stage >= Stage::Threads {
        // Leaders that wait for an answer are released by the end of the connection.
        port::close();
        join_threads();
    }
    if stage >= Stage::Registered {
        registration::unregister();
    }
    if stage >= Stage::State {
        drop_state();
    }
    etw::unregister();
}

/// Takes the memory, and puts the state there.
fn make_state(parameters: &Parameters, key: ServiceKey) -> Result<(), Status> {
    let mut space = Space::new(parameters)?;
    // SAFETY: the memory is lent once; it is freed after its users, in `drop_state`.
    let flights = unsafe { space.flights.lend() };
    // SAFETY: the memory is lent once; it is freed after its users, in `drop_state`.
    let waiters = unsafe { space.waiters.lend() };
    // SAFETY: the memory is lent once; it is freed after its users, in `drop_state`.
    let accounts = unsafe { space.accounts.lend() };
    let shares = state::shares(parameters);
    let table = FlightTable::new(flights, waiters, accounts, &state::FILTER, shares);
    let leaders = parameters.get(ParameterId::ScanThreads) as usize;
    let flights = Flights::new(table, leaders)?;
    // SAFETY: bring-up runs alone, and nothing is there before it.
    unsafe { SPACE.set(space) };
    if let Some(space) = SPACE.get() {
        let memory = LedgerMemory {
            sets: &space.sets,
            changing: &space.changing,
            generations: &space.generations,
            volumes: &space.volumes,
        };
        let ledger = Ledger::new(memory, Secret::new(random::words()));
        // SAFETY: bring-up runs alone, and nothing is there before it.
        unsafe { state::LEDGER.set(ledger) };
    }
    state::PARAMETERS.put(parameters);
    // SAFETY: bring-up runs alone, and nothing is there before it.
    unsafe { state::SERVICE_KEY.set(key) };
    // SAFETY: bring-up runs alone, and nothing is there before it.
    unsafe { state::FLIGHTS.set(flights) };
    Ok(())
}

/// Takes the state away, users before what they use.
fn drop_state() {
    // SAFETY: no callback and no thread of the driver runs any more.
    unsafe { state::FLIGHTS.clear() };
    // SAFETY: no callback and no thread of the driver runs any more.
    unsafe { state::LEDGER.clear() };
    // SAFETY: no callback and no thread of the driver runs any more.
    unsafe { state::SERVICE_KEY.clear() };
    // SAFETY: nothing of the driver runs any more, and flights and ledger, which were lent the
    // memory, are gone.
    unsafe { SPACE.clear() };
}

/// Starts the leaders and the two threads that talk to the service.
fn start_threads(parameters: &Parameters) -> Result<(), Status> {
    let leaders = parameters.get(ParameterId::ScanThreads) as usize;
    keep(Thread::spawn::<Poller>(0)?);
    keep(Thread::spawn::<Stopper>(0)?);
    for index in 0..leaders {
        keep(Thread::spawn::<Leader>(index)?);
    }
    Ok(())
}

/// Remembers a thread, to be joined. There is a place for each that is started.
fn keep(thread: Thread) {
    let mut thread = Some(thread);
    for place in THREADS.lock().iter_mut().filter(|place| place.is_none()) {
        *place = thread.take();
        if thread.is_none() {
            return;
        }
    }
}

/// Wakes all threads, which see that the driver stops, and waits for their ends.
fn join_threads() {
    loop {
        let thread = THREADS.lock().iter_mut().find_map(Option::take);
        let Some(thread) = thread else { return };
        if let Some(flights) = state::flights() {
            flights.raise(Signal::Poll);
            flights.raise(Signal::Stop);
            flights.raise(Signal::Work);
        }
        thread.join();
    }
}
