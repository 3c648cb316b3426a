//! Address ranges of all images of all machines, readable from a signal handler.
//!
//! This is the only state that machines of one process share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Most images that may be mapped at one time.
const IMAGES_MAX: usize = 4096;

/// Where an image lies.
struct Place {
    start: AtomicUsize,
    end: AtomicUsize,
    /// It holds breakpoints of [`crate::coverage`].
    armed: AtomicBool,
}

static RANGES: [Place; IMAGES_MAX] = [const {
    Place {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        armed: AtomicBool::new(false),
    }
}; IMAGES_MAX];
/// No range at or after this index was ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Takes an image's range out when dropped.
#[derive(Debug)]
pub struct Registered(usize);

/// Adds a range. When the table is full, faults in it are told as the process's own.
pub fn register(base: usize, size: usize, armed: bool) -> Registered {
    for (index, place) in RANGES.iter().enumerate() {
        let taken = place
            .start
            .compare_exchange(0, base, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_ok() {
            place.armed.store(armed, Ordering::Relaxed);
            place.end.store(base.wrapping_add(size), Ordering::Release);
            USED.fetch_max(index + 1, Ordering::AcqRel);
            return Registered(index);
        }
    }
    Registered(IMAGES_MAX)
}

fn find(address: usize) -> Option<&'static Place> {
    let used = USED.load(Ordering::Acquire);
    RANGES.iter().take(used).find(|place| {
        let start = place.start.load(Ordering::Acquire);
        start != 0 && address >= start && address < place.end.load(Ordering::Acquire)
    })
}

/// True when `address` is in an image of any machine. Safe in a signal handler.
#[must_use]
pub fn is_in_image(address: usize) -> bool {
    find(address).is_some()
}

/// The distance of `address` from the start of an image with breakpoints, if it is in one. Safe in
/// a signal handler.
#[must_use]
pub fn in_armed_image(address: usize) -> Option<u32> {
    let place = find(address).filter(|place| place.armed.load(Ordering::Relaxed))?;
    u32::try_from(address.checked_sub(place.start.load(Ordering::Acquire))?).ok()
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(place) = RANGES.get(self.0) {
            place.end.store(0, Ordering::Release);
            place.start.store(0, Ordering::Release);
        }
    }
}
