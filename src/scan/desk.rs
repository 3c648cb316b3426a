//! What a leader has with the service.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::clock::Time;

/// What a leader has with the service, for the thread that sends stops.
pub struct Desk {
    /// The request under way; zero is none.
    pub request: AtomicU64,
    /// When its leader stops waiting for the answer.
    pub deadline: AtomicU64,
    /// The request that the service was told to stop last.
    pub told: AtomicU64,
    /// When it was told.
    pub stopped: AtomicU64,
}

impl Desk {
    /// Nothing under way.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            request: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            told: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self, request: u64, deadline: Time) {
        self.deadline.store(deadline, Ordering::Release);
        self.request.store(request, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.request.store(0, Ordering::Release);
    }

    /// The service has read that it must stop `request`.
    pub fn note_told(&self, request: u64, when: Time) {
        if self.request.load(Ordering::Acquire) == request {
            self.stopped.store(when, Ordering::Release);
            self.told.store(request, Ordering::Release);
        }
    }

    /// Nobody waits any more for the service to let go.
    pub fn forget(&self) {
        self.told.store(0, Ordering::Release);
    }

    /// Since when the service has known that the request under way must stop, if it must. After
    /// the request's own deadline its leader sees to that, as soon as it gets to run.
    #[must_use]
    pub fn told_since(&self, now: Time) -> Option<Time> {
        let told = self.told.load(Ordering::Acquire);
        let since = self.stopped.load(Ordering::Acquire);
        let waits = self.deadline.load(Ordering::Acquire) > now;
        (told != 0 && waits && self.request.load(Ordering::Acquire) == told).then_some(since)
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}
