//! The atomics that the shared structures use, in one place.
//!
//! A model checker replaces them here and nowhere else. The spin lock is for writers only, and
//! every writer holds a [`WriteToken`]: it runs at DISPATCH_LEVEL, so whoever holds the lock is
//! running and not preempted.

pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use core::marker::PhantomData;

/// Proof that the caller runs at DISPATCH_LEVEL, so that nobody spins on a preempted writer.
///
/// It cannot leave its thread. In the driver only `kernel.rs` makes one, while it holds a spin
/// lock or has raised the level; a repository test holds that rule.
pub struct WriteToken<'level> {
    level: PhantomData<(&'level (), *const ())>,
}

impl WriteToken<'_> {
    /// A token. The caller promises that the current thread stays at DISPATCH_LEVEL (in user
    /// mode: may simply be preempted, which costs time and no correctness) while it lives.
    #[must_use]
    pub const fn promise_dispatch_level() -> Self {
        Self { level: PhantomData }
    }
}

/// A lock of writers that are never preempted.
pub(crate) struct WriterLock {
    held: AtomicU32,
}

impl WriterLock {
    pub(crate) const fn new() -> Self {
        Self {
            held: AtomicU32::new(0),
        }
    }

    /// Runs `body` alone among writers.
    pub(crate) fn with<R>(&self, _token: &WriteToken<'_>, body: impl FnOnce() -> R) -> R {
        while self
            .held
            .compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            spin();
        }
        let result = body();
        self.held.store(0, Ordering::Release);
        result
    }
}

/// One turn of a wait for a writer that is running.
pub(crate) fn spin() {
    core::hint::spin_loop();
}
