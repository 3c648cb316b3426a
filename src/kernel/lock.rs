//! A spin lock that raises to DISPATCH_LEVEL, and with it the proof that core's write sections
//! ask for: while the guard lives, its thread cannot be preempted.
#![expect(unsafe_code, reason = "raises IRQL and hands out exclusive access")]

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use siloscan_core::sync::WriteToken;

use super::irql;

/// A value that one processor at a time may touch, at DISPATCH_LEVEL. Lives in nonpaged memory:
/// statics of this driver and pool are.
pub struct SpinLock<T> {
    raw: UnsafeCell<u64>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out the value to one holder at a time, so it is as if sent to it.
unsafe impl<T: Send> Sync for SpinLock<T> {}
// SAFETY: the lock owns the value; moving it moves a value that may be sent.
unsafe impl<T: Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unheld lock. Zero is what `KeInitializeSpinLock` stores.
    pub const fn new(value: T) -> Self {
        Self {
            raw: UnsafeCell::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock. Not recursive; hold it for a bounded, short time and call nothing that
    /// waits.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL; DISPATCH_LEVEL until the guard is dropped.
    #[must_use = "the lock is released when the guard is dropped"]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        irql::at_most_dispatch();
        // SAFETY: the lock word is nonpaged, initialised and lives as long as `self`.
        let old = unsafe { wdk_sys::ntddk::KeAcquireSpinLockRaiseToDpc(self.raw.get().cast()) };
        SpinGuard {
            lock: self,
            old,
            not_send: PhantomData,
        }
    }

    /// Runs `body` with the value and the proof of the level.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL; `body` runs at DISPATCH_LEVEL.
    pub fn lock_and<R>(&self, body: impl FnOnce(&mut T, &WriteToken<'_>) -> R) -> R {
        let mut guard = self.lock();
        let token = WriteToken::promise_dispatch_level();
        body(&mut guard, &token)
    }
}

/// Exclusive access at DISPATCH_LEVEL. Dropped on the thread that took the lock.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
    old: u8,
    not_send: PhantomData<*mut ()>,
}

/// A lock that guards nothing but the level: raises for core's write sections, which bring their
/// own locks.
pub struct Raise(());

impl Raise {
    /// Raises to DISPATCH_LEVEL for the time of `body`.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn with<R>(body: impl FnOnce(&WriteToken<'_>) -> R) -> R {
        irql::at_most_dispatch();
        // A lock on this thread's own stack is never contended: taking it only raises.
        SpinLock::new(()).lock_and(|(), token| body(token))
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard proves that this thread alone holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is borrowed mutably and this thread alone holds the lock.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this guard took the lock, on this thread, and gives back the level it found.
        unsafe { wdk_sys::ntddk::KeReleaseSpinLock(self.lock.raw.get().cast(), self.old) };
    }
}
