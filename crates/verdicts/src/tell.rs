//! Says what is wrong with a store, once in a while.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Hears one sentence about what is wrong. Called by threads that answer scans: it may not wait.
pub type Tell = Box<dyn Fn(String) + Send + Sync>;

/// The same thing is said again after this.
const AGAIN: Duration = Duration::from_mins(10);

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    LocalForged,
    LocalFailed,
    LocalDamaged,
    FleetForged,
    FleetFailed,
    FleetPutFailed,
}

pub(crate) struct Teller {
    tell: Tell,
    told: Mutex<Vec<(Wrong, Instant)>>,
}

impl Teller {
    pub(crate) fn new(tell: Tell) -> Self {
        Self {
            tell,
            told: Mutex::default(),
        }
    }

    /// Says it, unless the like was said a short while ago.
    pub(crate) fn say(&self, wrong: Wrong, cause: impl FnOnce() -> String) {
        let now = Instant::now();
        {
            let mut told = self.told.lock();
            told.retain(|(_, when)| now.saturating_duration_since(*when) < AGAIN);
            if told.iter().any(|(other, _)| *other == wrong) {
                return;
            }
            told.push((wrong, now));
        }
        (self.tell)(cause());
    }
}
