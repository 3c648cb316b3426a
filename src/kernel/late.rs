//! A value that is made at bring-up and taken away at the very end of teardown, when no callback
//! and no thread of the driver is left to use it.
#![expect(unsafe_code, reason = "shared access to a value that is written once")]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

/// Storage in the image for such a value.
///
/// # Invariants
/// While `there` is set, the value is initialised and only shared references to it exist.
pub struct Late<T> {
    there: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: shared access gives shared access to the value only; `set` and `take` have no company.
unsafe impl<T: Send + Sync> Sync for Late<T> {}

impl<T> Late<T> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            there: AtomicBool::new(false),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, while it is there. Any IRQL.
    #[must_use]
    pub fn get(&'static self) -> Option<&'static T> {
        if !self.there.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: initialised and only shared while the flag is set (type invariant).
        let value = unsafe { &*self.value.get() };
        // SAFETY: initialised while the flag is set (type invariant).
        Some(unsafe { value.assume_init_ref() })
    }

    /// Puts the value there. Called at bring-up, once per `take`.
    ///
    /// # Safety
    /// Nothing is there, and nobody else sets or takes at the same time.
    pub unsafe fn set(&'static self, value: T) {
        // SAFETY: the caller vouches that nobody else uses the storage.
        unsafe { (*self.value.get()).write(value) };
        // INVARIANT: the value was written above.
        self.there.store(true, Ordering::Release);
    }

    /// Takes the value away and drops it.
    ///
    /// # Safety
    /// No reference that `get` gave is used any more: no callback and no thread of ours runs.
    pub unsafe fn clear(&'static self) {
        if self.there.swap(false, Ordering::AcqRel) {
            // SAFETY: it was there, the caller vouches that nobody uses it, and it is not there
            // for anybody else any more.
            unsafe { ptr::drop_in_place(self.value.get().cast::<T>()) };
        }
    }
}
