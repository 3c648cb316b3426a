//! What each container's opens cost and how they ended: a bounded table, for containers whose id
//! the system tells. An open that the cache answers with "clean" is not in it: a hit moves the
//! counters of its route and its decision, in a container also that of its ECP, and nothing else.

/// Containers that are told apart. A further one takes the place of that which was idle longest.
pub const PLACES: usize = 64;

/// One container's numbers, since it was first seen or seen again after it was forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// The container's id; zero where the place is free.
    pub container: [u8; 16],
    /// Opens that the cache did not answer with "clean".
    pub opens: u64,
    /// Opens that were refused.
    pub denied: u64,
    /// Opens of files that could not be scanned.
    pub failed: u64,
    /// Opens out of silos within the container that the host compute service did not make.
    pub foreign: u64,
    /// What these opens waited for their verdicts, in 100 ns.
    pub waited: u64,
    /// When it was first seen, in 100 ns since boot: by the first answer of its container filter,
    /// or by an open that is counted here.
    pub since: u64,
    /// Of `opens`, those within [`START`] from then on.
    pub start_opens: u64,
    /// What those waited: the start tax, in 100 ns.
    pub start_waited: u64,
}

/// How long a container's start is taken to last, in 100 ns.
pub const START: u64 = 60 * 10_000_000;

impl Tally {
    /// Counts an open that began at `since` and was decided at `now`, in 100 ns since boot.
    pub fn open(&mut self, since: u64, now: u64) {
        let waited = now.saturating_sub(since);
        self.opens = self.opens.saturating_add(1);
        self.waited = self.waited.saturating_add(waited);
        if since.saturating_sub(self.since) < START {
            self.start_opens = self.start_opens.saturating_add(1);
            self.start_waited = self.start_waited.saturating_add(waited);
        }
    }

    /// Nobody's.
    pub const FREE: Self = Self {
        container: [0; 16],
        since: 0,
        start_opens: 0,
        start_waited: 0,
        opens: 0,
        denied: 0,
        failed: 0,
        foreign: 0,
        waited: 0,
    };
}

/// The table. Its user locks it; it is not touched on a hit.
#[derive(Debug)]
pub struct Tallies {
    places: [(Tally, u64); PLACES],
    clock: u64,
    told: u64,
}

impl Tallies {
    /// Nobody seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            places: [(Tally::FREE, 0); PLACES],
            clock: 0,
            told: 0,
        }
    }

    /// Changes the numbers of a container, at `now`. An id of zero is no container's.
    pub fn note(&mut self, container: &[u8; 16], now: u64, change: impl FnOnce(&mut Tally)) {
        if *container == [0; 16] {
            return;
        }
        self.clock = self.clock.saturating_add(1);
        let known = self
            .places
            .iter()
            .position(|(tally, _)| tally.container == *container);
        let place = known.or_else(|| {
            let ages = self.places.iter().enumerate();
            ages.min_by_key(|(_, (_, touched))| *touched)
                .map(|(place, _)| place)
        });
        let Some((tally, touched)) = place.and_then(|place| self.places.get_mut(place)) else {
            return;
        };
        if tally.container != *container {
            *tally = Tally {
                container: *container,
                since: now,
                ..Tally::FREE
            };
        }
        change(tally);
        *touched = self.clock;
    }

    /// Everybody's numbers, if any of them moved since the last call.
    pub fn news(&mut self) -> Option<impl Iterator<Item = &Tally>> {
        if self.told == self.clock {
            return None;
        }
        self.told = self.clock;
        let tallies = self.places.iter().map(|(tally, _)| tally);
        Some(tallies.filter(|tally| tally.container != [0; 16]))
    }
}

impl Default for Tallies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn id(number: u8) -> [u8; 16] {
        [number; 16]
    }

    fn news(tallies: &mut Tallies) -> Vec<Tally> {
        tallies.news().into_iter().flatten().copied().collect()
    }

    #[test]
    fn each_container_has_its_own_numbers_and_news_are_told_once() {
        let mut tallies = Tallies::new();
        assert!(tallies.news().is_none());
        tallies.note(&id(1), 5, |tally| tally.opens += 1);
        tallies.note(&id(2), 5, |tally| tally.denied += 1);
        tallies.note(&id(1), 5, |tally| tally.waited += 7);
        tallies.note(&id(0), 5, |tally| tally.opens += 1);
        let told = news(&mut tallies);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].opens, told[0].waited, told[0].denied), (1, 7, 0));
        assert_eq!((told[1].opens, told[1].waited, told[1].denied), (0, 0, 1));
        assert!(tallies.news().is_none());
    }

    #[test]
    fn the_start_is_the_first_minute_since_a_container_was_seen() {
        let mut tallies = Tallies::new();
        tallies.note(&id(1), 100, |_| {});
        tallies.note(&id(1), 107, |tally| tally.open(102, 107));
        // Sixty seconds, in 100 ns.
        let late = 100 + 600_000_000;
        tallies.note(&id(1), late, |tally| tally.open(late - 1, late + 10));
        tallies.note(&id(1), late, |tally| tally.open(late, late + 1_000));
        let told = news(&mut tallies);
        assert_eq!(
            (told[0].since, told[0].opens, told[0].waited),
            (100, 3, 1_016)
        );
        assert_eq!((told[0].start_opens, told[0].start_waited), (2, 16));
    }

    #[test]
    fn one_more_container_takes_the_place_of_the_one_that_was_idle_longest() {
        let mut tallies = Tallies::new();
        for number in 1..=PLACES as u8 {
            tallies.note(&id(number), 5, |tally| tally.opens += 1);
        }
        tallies.note(&id(1), 5, |tally| tally.opens += 1);
        tallies.note(&id(200), 5, |tally| tally.opens += 1);
        let told = news(&mut tallies);
        assert_eq!(told.len(), PLACES);
        let of = |number| told.iter().find(|tally| tally.container == id(number));
        assert_eq!(of(1).map(|tally| tally.opens), Some(2));
        assert_eq!(of(2), None);
        assert_eq!(of(200).map(|tally| tally.opens), Some(1));
    }
}
