//! Events, semaphores and mutexes in a driver's memory.

use core::ffi::c_void;

use super::dispatcher::{self, Mutant, SYNCHRONIZATION_EVENT};
use crate::exports;
use crate::exports::Call;
use crate::irql;
use crate::layout::LIST_ENTRY;
use crate::memory;
use crate::verifier;

/// Size of a `KEVENT` in 32-bit words.
const EVENT_WORDS: u8 = 6;
/// Size of a `KSEMAPHORE` in 32-bit words.
const SEMAPHORE_WORDS: u8 = 8;
/// Size of a `KMUTANT` in 32-bit words.
const MUTANT_WORDS: u8 = 14;
/// Offset of `KSEMAPHORE.Limit`.
const LIMIT: usize = 0x18;

/// A set with `Wait` promises that a wait follows at once, which only works below DISPATCH.
fn check_wait(c: &Call<'_>, wait: u8) {
    let level = c.thread.irql();
    if wait != 0 && level > irql::APC {
        c.violation(
            &verifier::irql::SET_AND_WAIT,
            format!("Wait is TRUE at {level}; allowed up to APC_LEVEL"),
        );
    }
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Makes an event: 0 notification, 1 synchronization.
    [ANY, 0, "wdm/nf-wdm-keinitializeevent"]
    fn KeInitializeEvent(c, event: *mut c_void, kind: i32, state: u8) {
        let known = u8::try_from(kind).ok().filter(|kind| *kind <= SYNCHRONIZATION_EVENT);
        if known.is_none() {
            c.violation(&verifier::sync::EVENT_TYPE, format!("{kind} is no event type"));
        }
        let kind = known.unwrap_or(SYNCHRONIZATION_EVENT);
        dispatcher::initialize(event, kind, EVENT_WORDS, i32::from(state != 0));
    }

    /// Signals an event; gives the state before.
    [DISPATCH, 0, "wdm/nf-wdm-kesetevent"]
    fn KeSetEvent(c, event: *mut c_void, _increment: i32, wait: u8) -> i32 {
        check_wait(c, wait);
        dispatcher::check_object(c.m, event);
        dispatcher::update(c.m, event, |_| 1)
    }

    /// Takes an event's signal away.
    [DISPATCH, 0, "wdm/nf-wdm-keclearevent"]
    fn KeClearEvent(c, event: *mut c_void) {
        dispatcher::check_object(c.m, event);
        dispatcher::update(c.m, event, |_| 0);
    }

    /// Takes an event's signal away; gives the state before.
    [DISPATCH, 0, "wdm/nf-wdm-keresetevent"]
    fn KeResetEvent(c, event: *mut c_void) -> i32 {
        dispatcher::check_object(c.m, event);
        dispatcher::update(c.m, event, |_| 0)
    }

    /// The state of an event.
    [DISPATCH, 0, "wdm/nf-wdm-kereadstateevent"]
    fn KeReadStateEvent(c, event: *mut c_void) -> i32 {
        dispatcher::check_object(c.m, event);
        dispatcher::state(event)
    }

    /// Makes a semaphore with a count and a limit.
    [PASSIVE, 0, "wdm/nf-wdm-keinitializesemaphore"]
    fn KeInitializeSemaphore(c, semaphore: *mut c_void, count: i32, limit: i32) {
        if count < 0 || limit < count {
            c.violation(&verifier::sync::SEMAPHORE_COUNT, format!("count {count}, limit {limit}"));
        }
        dispatcher::initialize(semaphore, dispatcher::SEMAPHORE, SEMAPHORE_WORDS, count);
        memory::write(semaphore.wrapping_byte_add(LIMIT).cast::<i32>(), limit);
    }

    /// Adds to a semaphore; gives the count before. Above the limit it raises a status, which
    /// a driver without exception handling does not survive.
    [DISPATCH, 0, "wdm/nf-wdm-kereleasesemaphore"]
    fn KeReleaseSemaphore(
        c, semaphore: *mut c_void, _increment: i32, adjustment: i32, wait: u8,
    ) -> i32 {
        check_wait(c, wait);
        dispatcher::check_object(c.m, semaphore);
        let limit = memory::read(semaphore.wrapping_byte_add(LIMIT).cast::<i32>());
        let now = dispatcher::state(semaphore);
        let allowed = now.checked_add(adjustment).is_some_and(|sum| sum <= limit);
        if adjustment <= 0 || !allowed {
            c.fatal(
                &verifier::sync::SEMAPHORE_LIMIT,
                format!("raises STATUS_SEMAPHORE_LIMIT_EXCEEDED: {now} + {adjustment} > {limit}"),
            );
        }
        dispatcher::update(c.m, semaphore, |count| count.saturating_add(adjustment))
    }

    /// The count of a semaphore.
    [ANY, 0, "wdm/nf-wdm-kereadstatesemaphore"]
    fn KeReadStateSemaphore(_c, semaphore: *mut c_void) -> i32 {
        dispatcher::state(semaphore)
    }

    /// Makes a mutex that nobody holds.
    [ANY, 0, "wdm/nf-wdm-keinitializemutex"]
    fn KeInitializeMutex(c, mutex: *mut Mutant, _level: u32) {
        verifier::lock_order::forget(c.m, mutex.addr(), size_of::<Mutant>());
        dispatcher::initialize(mutex.cast(), dispatcher::MUTEX, MUTANT_WORDS, 1);
        let mut fields = memory::read(mutex);
        let list = std::ptr::null_mut::<LIST_ENTRY>();
        fields.list = LIST_ENTRY { flink: list, blink: list };
        fields.owner = 0;
        fields.abandoned = 0;
        fields.apc_disable = 1;
        memory::write(mutex, fields);
    }

    /// Gives up a mutex once; gives the state before (0 when it becomes free).
    [DISPATCH, 0, "wdm/nf-wdm-kereleasemutex"]
    fn KeReleaseMutex(c, mutex: *mut Mutant, wait: u8) -> i32 {
        check_wait(c, wait);
        if memory::read(mutex).owner != c.thread.address() {
            let why = "raises STATUS_MUTANT_NOT_OWNED: not held by this thread";
            c.fatal(&verifier::sync::MUTEX_OWNER, why);
        }
        verifier::lock_order::released(c.m, c.thread, mutex.addr());
        let own = mutex;
        dispatcher::update(c.m, mutex.cast(), |state| {
            if state == 0 {
                memory::write(own.wrapping_byte_add(0x28).cast::<usize>(), 0);
            }
            state.saturating_add(1)
        })
    }

    /// The state of a mutex: 1 when nobody holds it.
    [DISPATCH, 0, "wdm/nf-wdm-kereadstatemutex"]
    fn KeReadStateMutex(_c, mutex: *mut c_void) -> i32 {
        dispatcher::state(mutex)
    }
}
