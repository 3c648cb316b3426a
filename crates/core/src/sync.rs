//! The atomics that the shared structures use, in one place.
//!
//! A model checker (`proofs/model`, `--cfg loom`) replaces them here and nowhere else. What only
//! counts, or is not shared by the cache, the ledger and the flights, uses [`plain`]. The lock is
//! for writers only, and every writer holds a [`WriteToken`]: it runs at DISPATCH_LEVEL, so
//! whoever holds the lock is running and not preempted.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// The atomics that no model checker replaces.
pub mod plain {
    pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

/// A `const fn`, except under the model checker, whose atomics are not made by the compiler.
macro_rules! const_but_modelled {
    ($(#[$about:meta])* $see:vis fn $name:ident($($argument:ident: $Type:ty),*) -> $Made:ty
     $body:block) => {
        #[cfg(not(loom))]
        $(#[$about])*
        $see const fn $name($($argument: $Type),*) -> $Made $body

        #[cfg(loom)]
        $(#[$about])*
        $see fn $name($($argument: $Type),*) -> $Made $body
    };
}
pub(crate) use const_but_modelled;

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
    pub(crate) fn new() -> Self {
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
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
