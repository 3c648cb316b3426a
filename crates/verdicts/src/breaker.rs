//! Keeps from asking a store that has just failed.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// After a failure nobody asks for a while; then one does, and if that fails, too, the next while
/// is twice as long.
pub(crate) struct Breaker {
    rest_min: Duration,
    rest_max: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Zero while all is well.
    rest: Duration,
    /// Nobody asks before this, while `rest` is not zero.
    until: Option<Instant>,
    /// Goes up with each failure that counted: those who asked before it have nothing to add.
    era: u64,
}

/// Leave to ask once. What came of it is to be told.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Leave(u64);

impl Breaker {
    pub(crate) fn new(rest_min: Duration, rest_max: Duration) -> Self {
        Self {
            rest_min,
            rest_max,
            state: Mutex::default(),
        }
    }

    /// Leave to ask, unless the store rests.
    pub(crate) fn leave(&self, now: Instant) -> Option<Leave> {
        let mut state = self.state.lock();
        if state.until.is_some_and(|until| now < until) {
            return None;
        }
        if !state.rest.is_zero() {
            // This one tries; the others wait for what comes of it.
            state.until = Some(now + state.rest);
        }
        Some(Leave(state.era))
    }

    pub(crate) fn went_well(&self, leave: Leave) {
        let mut state = self.state.lock();
        if state.era == leave.0 {
            state.rest = Duration::ZERO;
            state.until = None;
        }
    }

    pub(crate) fn failed(&self, leave: Leave, now: Instant) {
        let mut state = self.state.lock();
        if state.era == leave.0 {
            state.era += 1;
            state.rest = (state.rest * 2).clamp(self.rest_min, self.rest_max);
            state.until = Some(now + state.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn leave(breaker: &Breaker, now: Instant) -> Leave {
        breaker.leave(now).expect("leave")
    }

    #[test]
    fn a_failure_begins_a_rest_that_doubles_to_its_bound_and_success_ends() {
        let breaker = Breaker::new(SECOND, 60 * SECOND);
        let mut now = Instant::now();
        for rest in [1, 2, 4, 8, 16, 32, 60, 60] {
            let asked = leave(&breaker, now);
            breaker.failed(asked, now);
            let early = now + rest * SECOND - Duration::from_millis(1);
            assert!(breaker.leave(early).is_none(), "{rest}");
            now += rest * SECOND;
        }
        let asked = leave(&breaker, now);
        assert!(breaker.leave(now).is_none(), "one tries at a time");
        breaker.went_well(asked);
        assert!(breaker.leave(now).is_some() && breaker.leave(now).is_some());
    }

    #[test]
    fn many_that_failed_together_count_once_and_late_success_does_not_count() {
        let breaker = Breaker::new(SECOND, 60 * SECOND);
        let now = Instant::now();
        let together: Vec<Leave> = (0..5).map(|_| leave(&breaker, now)).collect();
        let late = leave(&breaker, now);
        for asked in together {
            breaker.failed(asked, now);
        }
        breaker.went_well(late);
        assert!(breaker.leave(now).is_none());
        assert!(breaker.leave(now + SECOND).is_some(), "not twice as long");
    }
}
