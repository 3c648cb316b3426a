//! Dispatcher objects: what a thread can wait for, in memory that a driver owns.
//!
//! The first words of such an object say what it is and whether it is signaled. One lock for
//! each machine makes a look and its effect one step, as the kernel's dispatcher lock does.

use core::ffi::c_void;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::layout::{DISPATCHER_HEADER, LIST_ENTRY};
use crate::machine::Machine;
use crate::memory;
use crate::sched::{SimThread, Time};
use crate::status::{NtStatus, STATUS_ABANDONED_WAIT_0, STATUS_SUCCESS, STATUS_TIMEOUT};
use crate::verifier;

/// `NotificationEvent`: stays signaled.
pub const NOTIFICATION_EVENT: u8 = 0;
/// `SynchronizationEvent`: one waiter takes the signal.
pub const SYNCHRONIZATION_EVENT: u8 = 1;
/// A mutex.
pub const MUTEX: u8 = 2;
/// A process: signaled when it has ended.
pub const PROCESS: u8 = 3;
/// A semaphore.
pub const SEMAPHORE: u8 = 5;
/// A thread: signaled when it has ended.
pub const THREAD: u8 = 6;
/// A timer that stays signaled.
pub const NOTIFICATION_TIMER: u8 = 8;
/// A timer whose signal one waiter takes.
pub const SYNCHRONIZATION_TIMER: u8 = 9;

/// The dispatcher lock of one machine.
#[derive(Default)]
pub struct Dispatcher {
    lock: Mutex<()>,
}

/// A mutex object (`KMUTANT`), 0x38 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Mutant {
    /// What it is; signal state 1 when free, and one less for each acquisition.
    pub header: DISPATCHER_HEADER,
    /// Not used by the host.
    pub list: LIST_ENTRY,
    /// Address of the owning `ETHREAD`.
    pub owner: usize,
    /// Set when a thread ended while it held the mutex.
    pub abandoned: u8,
    /// Not used by the host.
    pub apc_disable: u8,
}

const _: () = assert!(size_of::<Mutant>() == 0x38);

/// How long a wait may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Only look.
    Now,
    /// Until this moment.
    Until(Time),
    /// For ever.
    Forever,
}

impl Limit {
    /// Reads the kernel's form: null for ever, negative relative, otherwise a system time.
    #[must_use]
    pub fn read(m: &Machine, timeout: *const i64) -> Self {
        if timeout.is_null() {
            return Self::Forever;
        }
        let value = memory::read(timeout);
        let now = m.sched().now();
        let from_now = match value {
            0 => return Self::Now,
            i64::MIN..0 => value.unsigned_abs(),
            absolute => match absolute.saturating_sub(m.sched().system_time()) {
                i64::MIN..=0 => return Self::Now,
                ahead => ahead.unsigned_abs(),
            },
        };
        Self::Until(Time(now.0.saturating_add(from_now)))
    }
}

/// Writes the header of a new object.
pub fn initialize(object: *mut c_void, kind: u8, words: u8, signaled: i32) {
    let header = object.cast::<DISPATCHER_HEADER>();
    let list = header.wrapping_byte_add(8).cast::<LIST_ENTRY>();
    let empty = LIST_ENTRY {
        flink: list,
        blink: list,
    };
    let fields = DISPATCHER_HEADER {
        kind,
        signalling: 0,
        size: words,
        reserved: 0,
        signal_state: signaled,
        wait_list_head: empty,
    };
    memory::write(header, fields);
}

/// Changes the signal state of an object under the lock; gives the old state.
pub fn update(m: &Machine, object: *mut c_void, change: impl FnOnce(i32) -> i32) -> i32 {
    let state = state_of(object);
    let dispatcher = m.state::<Dispatcher>();
    let old = {
        let _lock = dispatcher.lock.lock();
        let old = memory::read(state);
        memory::write(state, change(old));
        old
    };
    m.sched().notify();
    old
}

/// The signal state of an object.
#[must_use]
pub fn state(object: *const c_void) -> i32 {
    memory::read(state_of(object.cast_mut()))
}

fn state_of(object: *mut c_void) -> *mut i32 {
    object.cast::<i32>().wrapping_add(1)
}

/// Runs `work` with the dispatcher lock held.
pub fn locked<R>(m: &Machine, work: impl FnOnce() -> R) -> R {
    let dispatcher = m.state::<Dispatcher>();
    let _lock = dispatcher.lock.lock();
    work()
}

/// Takes the object for `thread` if it is signaled. `None` when the thread must wait.
/// Call with the lock held ([`locked`]).
fn take(thread: &SimThread, object: *mut c_void) -> Option<NtStatus> {
    let header = memory::read(object.cast::<DISPATCHER_HEADER>());
    let state = header.signal_state;
    let set = |value: i32| memory::write(state_of(object), value);
    match header.kind & 0x7f {
        NOTIFICATION_EVENT | PROCESS | THREAD | NOTIFICATION_TIMER => {
            (state > 0).then_some(STATUS_SUCCESS)
        }
        SYNCHRONIZATION_EVENT | SYNCHRONIZATION_TIMER if state > 0 => {
            set(0);
            Some(STATUS_SUCCESS)
        }
        SEMAPHORE if state > 0 => {
            set(state - 1);
            Some(STATUS_SUCCESS)
        }
        MUTEX => take_mutex(thread, object.cast()),
        _ => None,
    }
}

fn is_mutex(object: *const c_void) -> bool {
    memory::read(object.cast::<DISPATCHER_HEADER>()).kind & 0x7f == MUTEX
}

fn take_mutex(thread: &SimThread, object: *mut Mutant) -> Option<NtStatus> {
    let mut mutant = memory::read(object);
    let free = mutant.header.signal_state > 0;
    if !free && mutant.owner != thread.address() {
        return None;
    }
    mutant.header.signal_state -= 1;
    mutant.owner = thread.address();
    let abandoned = std::mem::take(&mut mutant.abandoned) != 0;
    memory::write(object, mutant);
    Some(if abandoned {
        STATUS_ABANDONED_WAIT_0
    } else {
        STATUS_SUCCESS
    })
}

/// Ends the run when `object` is nothing that a thread can wait for.
pub fn check_object(m: &Machine, object: *const c_void) {
    if m.objects().was_freed(object.addr()) || m.pool().find_freed(object.addr()).is_some() {
        verifier::fatal(
            &verifier::wait::FREED,
            format!("a wait for {object:p}, which was freed"),
        );
    }
    let kind = memory::read(object.cast::<DISPATCHER_HEADER>()).kind & 0x7f;
    let known = [
        NOTIFICATION_EVENT,
        SYNCHRONIZATION_EVENT,
        MUTEX,
        PROCESS,
        SEMAPHORE,
        THREAD,
        NOTIFICATION_TIMER,
        SYNCHRONIZATION_TIMER,
    ];
    if !known.contains(&kind) {
        let detail = format!("{object:p} is no object that can be waited for (type {kind})");
        verifier::violation(&verifier::wait::OBJECT, detail);
    }
}

/// Waits for one of `objects` (or all of them). `stop` may end the wait early with a status.
///
/// Gives the index of the object taken, with its status; `STATUS_TIMEOUT` as an error status.
pub fn wait(
    m: &Arc<Machine>,
    thread: &Arc<SimThread>,
    what: &'static str,
    objects: &[*mut c_void],
    all: bool,
    limit: Limit,
    mut stop: impl FnMut() -> Option<NtStatus>,
) -> Result<(usize, NtStatus), NtStatus> {
    let mut look = || {
        if let Some(status) = stop() {
            return Some(Err(status));
        }
        let taken = locked(m, || {
            if all {
                take_all(thread, objects)
            } else {
                take_one(thread, objects)
            }
        });
        taken.map(Ok)
    };
    let result = match limit {
        Limit::Now => look(),
        Limit::Until(time) => m.sched().wait_until(what, Some(time), look).ok(),
        Limit::Forever => m.sched().wait_until(what, None, look).ok(),
    };
    let result = result.unwrap_or(Err(STATUS_TIMEOUT));
    if let Ok((index, _)) = result
        && let Some(object) = objects.get(index).filter(|object| is_mutex(**object))
    {
        verifier::lock_order::taken(m, thread, object.addr());
    }
    result
}

fn take_one(thread: &SimThread, objects: &[*mut c_void]) -> Option<(usize, NtStatus)> {
    let mut indexed = objects.iter().enumerate();
    indexed.find_map(|(index, object)| take(thread, *object).map(|status| (index, status)))
}

fn take_all(thread: &SimThread, objects: &[*mut c_void]) -> Option<(usize, NtStatus)> {
    let ready = |object: &*mut c_void| {
        let header = memory::read(object.cast::<DISPATCHER_HEADER>());
        let owned = header.kind & 0x7f == MUTEX
            && memory::read(object.cast::<Mutant>()).owner == thread.address();
        header.signal_state > 0 || owned
    };
    if !objects.iter().all(ready) {
        return None;
    }
    for object in objects {
        take(thread, *object)?;
    }
    Some((0, STATUS_SUCCESS))
}
