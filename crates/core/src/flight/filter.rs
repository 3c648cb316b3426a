//! Whether a flight for a subject *may* exist, without taking the table's lock.
//!
//! Every write on the host asks this, and nearly always the answer is no. The writer marks its
//! change first and asks then; a flight is entered first and takes its ticket then. So either
//! the writer sees the flight and kills it, or the ticket sees the change.

use super::Subject;
use crate::sync::{AtomicU32, Ordering, fence};

/// How many counters there are; a power of two.
#[cfg(not(loom))]
const PLACES: usize = 1_024;
#[cfg(loom)]
const PLACES: usize = 1;

/// Counts live flights by a hash of their subject. Any IRQL.
pub struct FlightFilter {
    counts: [AtomicU32; PLACES],
}

impl FlightFilter {
    /// No flight exists.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: [const { AtomicU32::new(0) }; PLACES],
        }
    }

    /// No flight exists.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: core::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    fn count(&self, subject: &Subject) -> Option<&AtomicU32> {
        let (a, b, c) = match subject {
            Subject::Key(key) => {
                let (low, high) = key.file.to_words();
                let (volume, _) = key.volume.to_words();
                (low, high, volume)
            }
            Subject::Stream(stream) => (stream.get(), 0, 0),
        };
        let mixed = (a ^ b.rotate_left(21) ^ c.rotate_left(42)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.counts.get((mixed >> 54) as usize % PLACES)
    }

    pub(super) fn add(&self, subject: &Subject) {
        if let Some(count) = self.count(subject) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
    }

    pub(super) fn remove(&self, subject: &Subject) {
        if let Some(count) = self.count(subject) {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a flight for this subject may be live. The caller has marked its change before;
    /// "no" is then sure to be harmless. "Yes" may be wrong.
    #[must_use]
    pub fn may_have(&self, subject: &Subject) -> bool {
        fence(Ordering::SeqCst);
        self.count(subject)
            .is_none_or(|count| count.load(Ordering::SeqCst) != 0)
    }
}

impl Default for FlightFilter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
const _: () = assert!(PLACES == 1 << (64 - 54));
