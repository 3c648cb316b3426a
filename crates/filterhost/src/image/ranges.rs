//! Address ranges of all images of all machines, readable from a signal handler.
//!
//! This is the only state that machines of one process share.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Most images that may be mapped at one time.
const IMAGES_MAX: usize = 4096;

static RANGES: [(AtomicUsize, AtomicUsize); IMAGES_MAX] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; IMAGES_MAX];
/// No range at or after this index was ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Takes an image's range out when dropped.
#[derive(Debug)]
pub struct Registered(usize);

/// Adds a range. When the table is full, faults in it are told as the process's own.
pub fn register(base: usize, size: usize) -> Registered {
    for (index, (start, end)) in RANGES.iter().enumerate() {
        let taken = start.compare_exchange(0, base, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_ok() {
            end.store(base.wrapping_add(size), Ordering::Release);
            USED.fetch_max(index + 1, Ordering::AcqRel);
            return Registered(index);
        }
    }
    Registered(IMAGES_MAX)
}

/// True when `address` is in an image of any machine. Safe in a signal handler.
#[must_use]
pub fn is_in_image(address: usize) -> bool {
    let used = USED.load(Ordering::Acquire);
    RANGES.iter().take(used).any(|(start, end)| {
        let start = start.load(Ordering::Acquire);
        start != 0 && address >= start && address < end.load(Ordering::Acquire)
    })
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some((start, end)) = RANGES.get(self.0) {
            end.store(0, Ordering::Release);
            start.store(0, Ordering::Release);
        }
    }
}
