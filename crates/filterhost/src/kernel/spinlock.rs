//! Spin locks.
//!
//! A lock is one word: 0 free, 1 held. A thread that spins waits in the scheduler, so a seeded
//! run neither spins for ever nor misses that the holder was preempted.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::exports;
use crate::exports::Call;
use crate::irql::{self, Irql};
use crate::machine::Machine;
use crate::memory;
use crate::sched::SimThread;
use crate::verifier::{self, lock_order};

/// Who holds which spin lock of one machine.
#[derive(Default)]
struct Holders {
    by_lock: Mutex<BTreeMap<usize, u32>>,
}

/// Takes a spin lock for `thread`, which must be at `DISPATCH_LEVEL` or above.
pub fn acquire(m: &Arc<Machine>, thread: &Arc<SimThread>, lock: *mut usize) {
    let holders = m.state::<Holders>();
    let (me, at) = (thread.id(), lock.addr());
    if holders.by_lock.lock().get(&at) == Some(&me) {
        verifier::fatal(
            &verifier::spin_lock::RECURSIVE,
            format!("{lock:p} is held by this thread"),
        );
    }
    let take = || {
        let mut by_lock = holders.by_lock.lock();
        if by_lock.contains_key(&at) {
            return None;
        }
        by_lock.insert(at, me);
        Some(())
    };
    lock_order::taken(m, thread, at);
    let taken = m.sched().wait_until("spin lock", None, take);
    debug_assert!(taken.is_ok(), "a wait without deadline cannot time out");
    memory::write(lock, 1);
    thread.add_spin_locks(1);
}

/// Takes a spin lock if nobody holds it.
pub fn try_acquire(m: &Arc<Machine>, thread: &Arc<SimThread>, lock: *mut usize) -> bool {
    let holders = m.state::<Holders>();
    let mut by_lock = holders.by_lock.lock();
    if by_lock.contains_key(&lock.addr()) {
        return false;
    }
    by_lock.insert(lock.addr(), thread.id());
    memory::write(lock, 1);
    thread.add_spin_locks(1);
    drop(by_lock);
    lock_order::taken(m, thread, lock.addr());
    true
}

/// Gives a spin lock up.
pub fn release(m: &Arc<Machine>, thread: &Arc<SimThread>, lock: *mut usize) {
    let holders = m.state::<Holders>();
    let holder = holders.by_lock.lock().get(&lock.addr()).copied();
    if holder != Some(thread.id()) {
        verifier::violation(
            &verifier::spin_lock::OWNER,
            format!("{lock:p} is not held by this thread"),
        );
        return;
    }
    lock_order::released(m, thread, lock.addr());
    memory::write(lock, 0);
    holders.by_lock.lock().remove(&lock.addr());
    thread.add_spin_locks(-1);
    m.sched().notify();
}

fn at_dispatch(c: &Call<'_>) {
    let level = c.thread.irql();
    if level < irql::DISPATCH {
        c.violation(
            &verifier::spin_lock::LEVEL,
            format!("called at {level}; needs DISPATCH_LEVEL"),
        );
    }
}

/// Checks a level that is given back after a lock was released, and sets it.
fn restore(c: &Call<'_>, level: u8) {
    let now = c.thread.irql();
    if Irql(level) > now {
        c.violation(
            &verifier::irql::LOWER,
            format!("restores {} from {now}", Irql(level)),
        );
    }
    let held = c.thread.spin_locks();
    if Irql(level) < irql::DISPATCH && held > 0 {
        let detail = format!("restores {} with {held} spin locks held", Irql(level));
        c.violation(&verifier::spin_lock::LOWERED, detail);
    }
    c.thread.set_irql(Irql(level));
}

/// Offset of the lock's address in a `KLOCK_QUEUE_HANDLE`.
const QUEUE_LOCK: usize = 8;
/// Offset of the old level in a `KLOCK_QUEUE_HANDLE`.
const QUEUE_LEVEL: usize = 0x10;

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Makes a free spin lock.
    [ANY, 0, "wdm/nf-wdm-keinitializespinlock"]
    fn KeInitializeSpinLock(c, lock: *mut usize) {
        lock_order::forget(c.m, lock.addr(), size_of::<usize>());
        memory::write(lock, 0);
    }

    /// Raises to `DISPATCH_LEVEL` and takes the lock; gives the old level.
    [DISPATCH, 0, "wdm/nf-wdm-keacquirespinlockraisetodpc"]
    fn KeAcquireSpinLockRaiseToDpc(c, lock: *mut usize) -> u8 {
        let old = c.thread.set_irql(irql::DISPATCH);
        acquire(c.m, c.thread, lock);
        old.0
    }

    /// Gives the lock up and restores the level.
    [DISPATCH, 0, "wdm/nf-wdm-kereleasespinlock"]
    fn KeReleaseSpinLock(c, lock: *mut usize, level: u8) {
        at_dispatch(c);
        release(c.m, c.thread, lock);
        restore(c, level);
    }

    /// Takes the lock at `DISPATCH_LEVEL`.
    [ANY, 0, "wdm/nf-wdm-keacquirespinlockatdpclevel"]
    fn KeAcquireSpinLockAtDpcLevel(c, lock: *mut usize) {
        at_dispatch(c);
        acquire(c.m, c.thread, lock);
    }

    /// Gives the lock up and stays at the level.
    [DISPATCH, 0, "wdm/nf-wdm-kereleasespinlockfromdpclevel"]
    fn KeReleaseSpinLockFromDpcLevel(c, lock: *mut usize) {
        at_dispatch(c);
        release(c.m, c.thread, lock);
    }

    /// Takes the lock if it is free.
    [DISPATCH, 0, "wdm/nf-wdm-ketrytoacquirespinlockatdpclevel"]
    fn KeTryToAcquireSpinLockAtDpcLevel(c, lock: *mut usize) -> u8 {
        at_dispatch(c);
        u8::from(try_acquire(c.m, c.thread, lock))
    }

    /// Whether the lock is free.
    [ANY, 0, "wdm/nf-wdm-ketestspinlock"]
    fn KeTestSpinLock(_c, lock: *mut usize) -> u8 {
        u8::from(memory::read(lock) == 0)
    }

    /// Raises to `DISPATCH_LEVEL` and takes the lock, noting both in the caller's handle.
    [DISPATCH, 0, "wdm/nf-wdm-keacquireinstackqueuedspinlock"]
    fn KeAcquireInStackQueuedSpinLock(c, lock: *mut usize, queue: *mut u8) {
        let old = c.thread.set_irql(irql::DISPATCH);
        acquire(c.m, c.thread, lock);
        memory::write(queue.wrapping_add(QUEUE_LOCK).cast(), lock);
        memory::write(queue.wrapping_add(QUEUE_LEVEL), old.0);
    }

    /// Undoes `KeAcquireInStackQueuedSpinLock`.
    [DISPATCH, 0, "wdm/nf-wdm-kereleaseinstackqueuedspinlock"]
    fn KeReleaseInStackQueuedSpinLock(c, queue: *mut u8) {
        at_dispatch(c);
        release(c.m, c.thread, memory::read(queue.wrapping_add(QUEUE_LOCK).cast()));
        restore(c, memory::read(queue.wrapping_add(QUEUE_LEVEL)));
    }
}
