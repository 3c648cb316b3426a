//! The scans that have begun, and whether one more is to begin beside them.
//!
//! Each worker has the rules in memory of its own, and the processors' caches hold only so much: an
//! engine that computes does less with more workers than there are processors. So a request waits
//! while as many engines compute as there are processors. It does not wait for a scan that takes
//! much longer than scans usually do, nor for one that waits itself, for a disk or a network.

use std::time::Duration;

/// Until its engine begins, a scan is taken for one that waits when it has taken longer than this,
const PREPARING: Duration = Duration::from_millis(1);
/// and this for each byte: copying it takes less.
const PREPARING_A_BYTE: Duration = Duration::from_nanos(1);
/// Where scans usually take less than this it is switching that costs, and more workers give the
/// processors something to do meanwhile: nothing waits then.
const SHORT: Duration = Duration::from_micros(250);
/// A scan that has taken so many times what is usual is not waited for any more,
const LONG: u32 = 4;
/// but for so long in any case: whoever waits looks as rarely as that,
const LONG_MIN: Duration = Duration::from_millis(20);
/// and never for longer than this.
const LONG_MAX: Duration = Duration::from_millis(200);
/// What is usual moves by one part in so many towards each scan's time.
const WEIGHT: u32 = 8;

/// When somebody looks, and what there is to compute on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Engines that are to compute at one time.
    pub(super) processors: usize,
    /// By the platform's clock.
    pub(super) now: Duration,
}

/// The scans that have begun.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Vec<Seat>,
    /// How long an engine usually takes.
    usual: Duration,
}

#[derive(Debug)]
struct Seat {
    request: u64,
    /// It is waited for until then.
    until: Duration,
    /// When its engine began.
    computes_since: Option<Duration>,
}

impl Seats {
    /// How many scans have begun.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// A scan of a file of `size` bytes begins, with the copy.
    pub(super) fn take(&mut self, request: u64, size: u64, now: Duration) {
        let bytes = u32::try_from(size).unwrap_or(u32::MAX);
        let time = PREPARING + PREPARING_A_BYTE * bytes;
        self.taken.push(Seat {
            request,
            until: now + time.min(LONG_MAX),
            computes_since: None,
        });
    }

    /// Its engine begins.
    pub(super) fn compute(&mut self, request: u64, now: Duration) {
        let time = (self.usual * LONG).clamp(LONG_MIN, LONG_MAX);
        if let Some(seat) = self.taken.iter_mut().find(|seat| seat.request == request) {
            (seat.until, seat.computes_since) = (now + time, Some(now));
        }
    }

    /// It has ended, at `now` if that is of interest.
    pub(super) fn leave(&mut self, request: u64, now: Option<Duration>) {
        let Some(at) = self.taken.iter().position(|seat| seat.request == request) else {
            return;
        };
        let seat = self.taken.swap_remove(at);
        if let Some((begun, now)) = seat.computes_since.zip(now) {
            let took = now.saturating_sub(begun).min(LONG_MAX);
            self.usual = match self.usual {
                Duration::ZERO => took,
                // One that hung, or found no processor, is not what is usual.
                usual => (usual * (WEIGHT - 1) + took.min(usual * 2)) / WEIGHT,
            };
        }
    }

    /// How long one more has to wait if none of these ends before. Nothing where it may begin.
    pub(super) fn wait(&self, look: Look) -> Option<Duration> {
        if self.taken.len() < look.processors || self.usual < SHORT {
            return None;
        }
        let left = |seat: &Seat| seat.until.checked_sub(look.now).filter(|t| !t.is_zero());
        let mut left: Vec<Duration> = self.taken.iter().filter_map(left).collect();
        // It may begin when fewer than that are left.
        let too_many = left.len().checked_sub(look.processors)?;
        left.sort_unstable();
        left.get(too_many).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    /// Scans begin here.
    const THEN: Duration = Duration::from_secs(5);

    fn look(processors: usize, now: Duration) -> Look {
        Look { processors, now }
    }

    /// Seats of a service where scans usually take `usual`.
    fn used_to(usual: Duration) -> Seats {
        let mut seats = Seats::default();
        scan(&mut seats, usual);
        seats
    }

    fn scan(seats: &mut Seats, took: Duration) {
        seats.take(0, 4096, THEN);
        seats.compute(0, THEN);
        seats.leave(0, Some(THEN + took));
    }

    #[test]
    fn one_more_waits_while_as_many_engines_compute_as_there_are_processors() {
        let mut seats = used_to(MS * 10);
        for request in 1..=3 {
            let at = MS * request as u32;
            seats.take(request, 0, THEN + at);
            seats.compute(request, THEN + at);
        }
        // Each is waited for for 40 ms.
        let wait = |seats: &Seats, processors, at| seats.wait(look(processors, THEN + MS * at));
        assert_eq!(wait(&seats, 4, 3), None);
        assert_eq!(wait(&seats, 3, 3), Some(MS * 38), "until the first is old");
        assert_eq!(wait(&seats, 2, 3), Some(MS * 39), "until the second is");
        assert_eq!(wait(&seats, 1, 3), Some(MS * 40));
        assert_eq!(wait(&seats, 3, 40), Some(MS));
        assert_eq!(wait(&seats, 3, 41), None);
        assert_eq!(wait(&seats, 2, 41), Some(MS));
        assert_eq!(wait(&seats, 2, 42), None);
        seats.leave(2, None);
        assert_eq!(wait(&seats, 2, 3), Some(MS * 38));
        seats.leave(3, None);
        assert_eq!((seats.len(), wait(&seats, 2, 3)), (1, None));
    }

    #[test]
    fn nobody_waits_for_a_disk() {
        let mut seats = used_to(MS * 10);
        seats.take(1, 0, THEN);
        assert_eq!(seats.wait(look(1, THEN)), Some(MS));
        assert_eq!(seats.wait(look(1, THEN + MS)), None, "it waits itself");
        seats.compute(1, THEN + MS * 300);
        assert_eq!(seats.wait(look(1, THEN + MS * 300)), Some(MS * 40));
        // Copying a large file takes its time, and no file so long.
        seats.leave(1, None);
        seats.take(2, 10_000_000, THEN);
        assert_eq!(seats.wait(look(1, THEN)), Some(MS * 11));
        seats.leave(2, None);
        seats.take(3, u64::MAX, THEN);
        assert_eq!(seats.wait(look(1, THEN)), Some(LONG_MAX));
    }

    #[test]
    fn how_long_it_waits_comes_from_what_is_usual_within_bounds() {
        let waits = |seats: &mut Seats| {
            seats.take(1, 0, THEN);
            seats.compute(1, THEN);
            let wait = seats.wait(look(1, THEN));
            seats.leave(1, None);
            wait
        };
        assert_eq!(waits(&mut Seats::default()), None, "nothing is known yet");
        assert_eq!(waits(&mut used_to(SHORT - SHORT / 1000)), None);
        assert_eq!(waits(&mut used_to(SHORT)), Some(LONG_MIN));
        assert_eq!(waits(&mut used_to(MS * 10)), Some(MS * 40));
        assert_eq!(waits(&mut used_to(MS * 77)), Some(LONG_MAX));
        assert_eq!(waits(&mut used_to(MS * 90_000)), Some(LONG_MAX));
    }

    #[test]
    fn what_is_usual_follows_the_scans_and_not_one_that_hung() {
        let mut seats = used_to(SHORT / 2);
        scan(&mut seats, MS * 60_000);
        assert!(seats.usual < SHORT, "{:?}", seats.usual);
        for _ in 0..40 {
            scan(&mut seats, MS * 4);
        }
        assert!(seats.usual > MS * 3, "{:?}", seats.usual);
        for _ in 0..40 {
            scan(&mut seats, SHORT / 2);
        }
        assert!(seats.usual < SHORT, "{:?}", seats.usual);
        // What has not met an engine says nothing about it.
        let before = seats.usual;
        seats.take(1, 0, THEN);
        seats.leave(1, Some(THEN + MS * 100));
        assert_eq!(seats.usual, before);
    }
}
