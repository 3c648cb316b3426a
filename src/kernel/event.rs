//! Kernel events and the two ways to wait for one: a driver thread waits plainly, an opener so
//! that it can be cancelled. No wait in this driver is without a time-out.
#![expect(unsafe_code, reason = "calls the dispatcher")]

use core::cell::UnsafeCell;

use super::clock::{self, Time};
use super::irql;
use super::pool::{PoolSlice, Tag};
use crate::registration::view::Data;
use crate::sys::constants::{KERNEL_MODE, STATUS_SUCCESS, STATUS_TIMEOUT};
use crate::sys::{FltCancellableWaitForSingleObject, KEVENT};

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// The event was signalled.
    Signalled,
    /// The deadline came first.
    TimedOut,
    /// The operation was cancelled or the thread is being ended; the failing status.
    Interrupted(super::Status),
}

/// How an event passes its signal on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It stays signalled, for everybody.
    Notification = 0,
    /// One waiter consumes the signal.
    Synchronization = 1,
}

/// A kernel event.
///
/// # Invariants
/// Initialised in its final place in nonpaged pool, never moved: it is had inside a [`PoolSlice`]
/// made by [`events`], or in a filter context that [`Event::place`]s it before it is shared.
#[repr(transparent)]
pub struct Event(UnsafeCell<KEVENT>);

// SAFETY: the dispatcher synchronises every access to an event.
unsafe impl Sync for Event {}
// SAFETY: an event belongs to no thread.
unsafe impl Send for Event {}

/// `count` unsignalled events in nonpaged pool.
///
/// # Errors
/// `STATUS_INSUFFICIENT_RESOURCES`.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn events(count: usize, kind: Kind, tag: Tag) -> Result<PoolSlice<Event>, super::Status> {
    // SAFETY: a zeroed event is only memory; each is initialised below before anybody sees it.
    let slice = unsafe { PoolSlice::<Event>::zeroed(count, tag) }?;
    for event in slice.iter() {
        // SAFETY: the event lies in its final, nonpaged place and nobody waits for it yet.
        unsafe { wdk_sys::ntddk::KeInitializeEvent(event.0.get(), kind as _, 0) };
    }
    Ok(slice)
}

impl Event {
    /// For a request whose completion signals the event.
    #[must_use]
    pub fn as_ptr(&self) -> *mut KEVENT {
        self.0.get()
    }

    /// Memory for an event, to be [`Event::place`]d.
    #[must_use]
    pub const fn blank() -> Self {
        // SAFETY: a kernel event is integers and pointers, of which zero is a value.
        Self(UnsafeCell::new(unsafe { core::mem::zeroed() }))
    }

    /// Makes a blank event, in its final place, an unsignalled one of this kind.
    ///
    /// # Safety
    /// The event lies in nonpaged memory, is never moved again, and nobody else has it yet.
    ///
    /// # IRQL
    /// Any.
    pub unsafe fn place(&self, kind: Kind) {
        // SAFETY: the caller vouches for the place and that nobody waits.
        unsafe { wdk_sys::ntddk::KeInitializeEvent(self.0.get(), kind as _, 0) };
    }

    /// Signals the event.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn set(&self) {
        irql::at_most_dispatch();
        // SAFETY: the event is initialised and nonpaged (type invariant).
        unsafe { wdk_sys::ntddk::KeSetEvent(self.0.get(), 0, 0) };
    }

    /// Takes the signal back.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn clear(&self) {
        irql::at_most_dispatch();
        // SAFETY: the event is initialised and nonpaged (type invariant).
        unsafe { wdk_sys::ntddk::KeClearEvent(self.0.get()) };
    }

    /// Waits on a thread of the driver's own, which nobody can cancel. Returns whether the event
    /// was signalled before the deadline.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn wait(&self, deadline: Time) -> bool {
        irql::at_most_apc();
        let mut timeout = wdk_sys::LARGE_INTEGER {
            QuadPart: clock::until(deadline),
        };
        // SAFETY: the event is initialised and nonpaged; the time-out outlives the call.
        let status = unsafe {
            wdk_sys::ntddk::KeWaitForSingleObject(
                self.0.get().cast(),
                0,
                KERNEL_MODE,
                0,
                &raw mut timeout,
            )
        };
        status == STATUS_SUCCESS
    }

    /// Waits in an opener's thread: the wait ends when the operation is cancelled or the thread
    /// is ended.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn wait_cancellable(&self, deadline: Time, data: &Data<'_>) -> Waited {
        irql::passive();
        let mut timeout = clock::until(deadline);
        // SAFETY: the event is initialised and nonpaged, the callback data is that of the
        // callback which this thread is in, the time-out outlives the call.
        let status = unsafe {
            FltCancellableWaitForSingleObject(self.0.get().cast(), &raw mut timeout, data.as_ptr())
        };
        core::hint::black_box(());
        match status {
            STATUS_SUCCESS => Waited::Signalled,
            STATUS_TIMEOUT => Waited::TimedOut,
            other => Waited::Interrupted(super::Status::failure(other)),
        }
    }
}
