//! Push locks and the wait that ends when its thread is killed.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::dispatch;
use crate::image::Image;
use crate::kernel::dispatcher::{self, Limit};
use crate::layout::{EX_PUSH_LOCK, FLT_CALLBACK_DATA, FLTFL_CALLBACK_DATA_IRP_OPERATION, PVOID};
use crate::machine::Machine;
use crate::sched::SimThread;
use crate::status::{NtStatus, STATUS_CANCELLED, STATUS_THREAD_IS_TERMINATING};
use crate::verifier::{self, lock_order};

/// Who holds a push lock.
#[derive(Debug, Default)]
struct Holders {
    exclusive: Option<u32>,
    shared: Vec<u32>,
}

#[derive(Default)]
struct PushLocks {
    locks: Mutex<HashMap<usize, Holders>>,
}

fn with<R>(m: &Machine, at: usize, what: &str, body: impl FnOnce(&mut Holders) -> R) -> R {
    let locks = m.state::<PushLocks>();
    if !locks.locks.lock().contains_key(&at) {
        let detail = format!("{what}: the push lock at {at:#x} was not initialised");
        verifier::violation(&verifier::push_lock::UNINITIALISED, detail);
    }
    body(locks.locks.lock().entry(at).or_default())
}

fn acquire(m: &Machine, thread: &SimThread, at: usize, exclusive: bool) {
    let me = thread.id();
    let recursive = with(m, at, "FltAcquirePushLock", |holders| {
        holders.exclusive == Some(me) || holders.shared.contains(&me)
    });
    if recursive {
        verifier::fatal(
            &verifier::push_lock::RECURSIVE,
            "the thread holds this push lock already",
        );
    }
    // The documented function enters a critical region of its own.
    thread.add_critical_region(1);
    let take = || {
        with(m, at, "FltAcquirePushLock", |holders| {
            let free = holders.exclusive.is_none() && (!exclusive || holders.shared.is_empty());
            if free && exclusive {
                holders.exclusive = Some(me);
            } else if free {
                holders.shared.push(me);
            }
            free.then_some(())
        })
    };
    lock_order::taken(m, thread, at);
    let taken = m.sched().wait_until("a push lock", None, take);
    debug_assert!(taken.is_ok(), "a wait without deadline cannot time out");
}

fn release(m: &Machine, thread: &SimThread, at: usize) {
    let me = thread.id();
    let held = with(m, at, "FltReleasePushLock", |holders| {
        if holders.exclusive == Some(me) {
            holders.exclusive = None;
            return true;
        }
        let place = holders.shared.iter().position(|holder| *holder == me);
        place.map(|place| holders.shared.remove(place)).is_some()
    });
    if !held {
        return verifier::violation(
            &verifier::push_lock::NOT_HELD,
            "the thread does not hold this push lock",
        );
    }
    lock_order::released(m, thread, at);
    thread.add_critical_region(-1);
    m.sched().notify();
}

/// Push locks in the memory of an image that somebody holds.
#[must_use]
pub(crate) fn held_in(m: &Machine, image: &Image) -> usize {
    let locks = m.state::<PushLocks>();
    let locks = locks.locks.lock();
    let own = locks.iter().filter(|(at, _)| image.contains(**at));
    own.filter(|(_, holders)| holders.exclusive.is_some() || !holders.shared.is_empty())
        .count()
}

/// Whether a thread holds a push lock exclusively.
pub(crate) fn holds_exclusively(m: &Machine, thread: u32) -> bool {
    let locks = m.state::<PushLocks>();
    let locks = locks.locks.lock();
    locks
        .values()
        .any(|holders| holders.exclusive == Some(thread))
}

/// Push locks that a thread holds now, for checks elsewhere.
#[must_use]
pub fn held_by(m: &Machine, thread: u32) -> usize {
    let locks = m.state::<PushLocks>();
    let locks = locks.locks.lock();
    let held =
        |holders: &&Holders| holders.exclusive == Some(thread) || holders.shared.contains(&thread);
    locks.values().filter(held).count()
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [APC, 0, "fltkernel/nf-fltkernel-fltinitializepushlock"]
    fn FltInitializePushLock(c, lock: *mut EX_PUSH_LOCK) {
        super::guest::write(lock, EX_PUSH_LOCK { value: 0 });
        lock_order::forget(c.m, lock.addr(), size_of::<EX_PUSH_LOCK>());
        let old = c.m.state::<PushLocks>().locks.lock().insert(lock.addr(), Holders::default());
        if old.is_some_and(|old| old.exclusive.is_some() || !old.shared.is_empty()) {
            c.violation(&verifier::push_lock::INITIALISED_HELD, "initialised while it is held");
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeletepushlock"]
    fn FltDeletePushLock(c, lock: *mut EX_PUSH_LOCK) {
        let old = c.m.state::<PushLocks>().locks.lock().remove(&lock.addr());
        match old {
            None => {
                let detail = "deleted without having been initialised";
                c.violation(&verifier::push_lock::UNINITIALISED, detail);
            }
            Some(old) if old.exclusive.is_some() || !old.shared.is_empty() => {
                c.violation(&verifier::push_lock::DELETED_HELD, "deleted while it is held");
            }
            Some(_) => {}
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltacquirepushlockexclusive"]
    fn FltAcquirePushLockExclusive(c, lock: *mut EX_PUSH_LOCK) {
        acquire(c.m, c.thread, lock.addr(), true);
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltacquirepushlockshared"]
    fn FltAcquirePushLockShared(c, lock: *mut EX_PUSH_LOCK) {
        acquire(c.m, c.thread, lock.addr(), false);
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltreleasepushlock"]
    fn FltReleasePushLock(c, lock: *mut EX_PUSH_LOCK) {
        release(c.m, c.thread, lock.addr());
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltcancellablewaitforsingleobject"]
    fn FltCancellableWaitForSingleObject(
        c, object: PVOID, timeout: *const i64, data: *mut FLT_CALLBACK_DATA,
    ) -> NtStatus {
        let carried = (!data.is_null()).then(|| {
            if c.thread.irql() > crate::irql::PASSIVE {
                let detail = "with callback data it must be called at PASSIVE_LEVEL";
                c.violation(&verifier::irql::CANCELLABLE_WAIT, detail);
            }
            dispatch::find(c.m, c.info.name, data)
        });
        // Only an IRP can be cancelled.
        let flags = if data.is_null() { 0 } else { super::guest::data::flags(data) };
        let carried = carried.filter(|_| flags & FLTFL_CALLBACK_DATA_IRP_OPERATION != 0);
        if c.thread.guarded_region() > 0 {
            c.violation(&verifier::wait::APCS, "special kernel APCs must be enabled");
        }
        if c.thread.is_terminating() {
            return STATUS_THREAD_IS_TERMINATING;
        }
        dispatcher::check_object(c.m, object);
        let thread = c.thread.clone();
        let stop = move || {
            if thread.is_terminating() {
                return Some(STATUS_THREAD_IS_TERMINATING);
            }
            let asked = carried.as_ref().is_some_and(|operation| operation.is_cancel_asked());
            asked.then_some(STATUS_CANCELLED)
        };
        let limit = Limit::read(c.m, timeout);
        if limit == Limit::Forever {
            lock_order::wait(c.m, c.thread, c.info.name);
        }
        match dispatcher::wait(c.m, c.thread, c.info.name, &[object], false, limit, stop) {
            Ok((_, status)) | Err(status) => status,
        }
    }
}
