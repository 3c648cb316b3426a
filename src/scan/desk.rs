//! What a leader has with the service.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::clock::Time;

/// What a leader has with the service, for the thread that sends stops.
pub struct Desk {
    /// The request under way; zero is none.
    pub request: AtomicU64,
    /// When nobody waits for its verdict any more. Its leader waits longer for the answer, which
    /// says that the section is let go: [`crate::port::service::overtime_ms`].
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

    /// Since when the service has known that the request under way must stop, if it must.
    #[must_use]
    pub fn told_since(&self) -> Option<Time> {
        let told = self.told.load(Ordering::Acquire);
        let since = self.stopped.load(Ordering::Acquire);
        (told != 0 && self.request.load(Ordering::Acquire) == told).then_some(since)
    }

    /// The request under way, where its deadline has passed and the service was not told to stop.
    #[must_use]
    pub fn overdue(&self, now: Time) -> Option<u64> {
        let request = self.request.load(Ordering::Acquire);
        let passed = self.deadline.load(Ordering::Acquire) <= now;
        (request != 0 && passed && self.told.load(Ordering::Acquire) != request).then_some(request)
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}
