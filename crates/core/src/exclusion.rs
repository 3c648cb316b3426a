//! Containers and layers that the scan service was told to leave out: bounded tables that opens
//! read without a lock, with a count of hits for each.
//!
//! The service's word holds as long as its connection. A reader that meets a change finds nothing:
//! the open is looked at as any other. A container is found by its id. Which files lie in a layer
//! only the service knows: what it said of one is kept in the cache as an [`Exemption`], which
//! names the layer's place and dies with the list.

use crate::sync::plain::{AtomicU32, AtomicU64, Ordering, fence};

/// How many containers, and how many layers, can be excluded at once.
pub const EXCLUSIONS: usize = 64;

/// A container's id; zero names none.
pub type ContainerId = [u8; 16];

/// The service's own name for an excluded layer; zero names none.
pub type LayerId = [u8; 16];

/// Bits of a place in the table.
pub(crate) const PLACE_BITS: u32 = 6;
const _: () = assert!(EXCLUSIONS == 1 << PLACE_BITS);
/// A number of a list that no exemption can carry.
pub(crate) const LISTS_END: u64 = (1 << 24) - 1;

/// What the service said of one file: it lies in an excluded layer. Good for as long as the list
/// is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exemption {
    /// The driver's number of the list, [`Exclusions::list`].
    pub list: u64,
    /// The layer's place in it.
    pub place: Excluded,
}

/// The table.
pub struct Exclusions {
    /// Odd while the table is being changed.
    sequence: AtomicU32,
    /// Places that are used.
    used: AtomicU32,
    /// How often the table was replaced.
    lists: AtomicU64,
    places: [Place; EXCLUSIONS],
}

struct Place {
    low: AtomicU64,
    high: AtomicU64,
    hits: AtomicU64,
}

/// The place of an exclusion in its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Excluded(u8);

impl Excluded {
    /// As a number below [`EXCLUSIONS`].
    #[must_use]
    pub const fn place(self) -> u8 {
        self.0
    }

    /// The place of that number, used or not; `None` for one that no table has.
    #[must_use]
    pub const fn at(place: u64) -> Option<Self> {
        if place < EXCLUSIONS as u64 {
            Some(Self(place as u8))
        } else {
            None
        }
    }
}

impl Exclusions {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            used: AtomicU32::new(0),
            lists: AtomicU64::new(0),
            places: [const {
                Place {
                    low: AtomicU64::new(0),
                    high: AtomicU64::new(0),
                    hits: AtomicU64::new(0),
                }
            }; EXCLUSIONS],
        }
    }

    /// Whether there is none: one relaxed load, and all that an open pays while there is none. Any
    /// IRQL.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used.load(Ordering::Relaxed) == 0
    }

    /// The number of the list in force, counted here: each replacement has another one. Any IRQL.
    #[must_use]
    pub fn list(&self) -> u64 {
        self.lists.load(Ordering::Acquire)
    }

    /// The place of that number, if the list in force has so many. Any IRQL.
    #[must_use]
    pub fn at(&self, place: u32) -> Option<Excluded> {
        let used = self.used.load(Ordering::Relaxed);
        Excluded::at(u64::from(place)).filter(|_| place < used)
    }

    /// Whether what the service said under a list still counts. Any IRQL; two loads.
    #[must_use]
    pub fn holds(&self, exemption: &Exemption) -> bool {
        self.list() == exemption.list && !self.is_empty()
    }

    /// Whether this container is excluded. Any IRQL; no lock, no wait.
    #[must_use]
    pub fn find(&self, container: &ContainerId) -> Option<Excluded> {
        if self.is_empty() || *container == [0; 16] {
            return None;
        }
        let before = self.sequence.load(Ordering::Acquire);
        let (low, high) = words(container);
        let used = self.used.load(Ordering::Relaxed) as usize;
        let found = self.places.iter().take(used).position(|place| {
            place.low.load(Ordering::Relaxed) == low && place.high.load(Ordering::Relaxed) == high
        });
        fence(Ordering::Acquire);
        let after = self.sequence.load(Ordering::Relaxed);
        (before == after && before & 1 == 0)
            .then_some(found)
            .flatten()
            .and_then(|place| Excluded::at(place as u64))
    }

    /// Counts an open that the exclusion let through. One that comes while the table is changed may
    /// count for another container.
    pub fn hit(&self, excluded: Excluded) {
        if let Some(place) = self.places.get(usize::from(excluded.0)) {
            place.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Excludes these containers and no others; those that were excluded before keep their hits.
    /// Zero ids, repeated ones, and what is more than [`EXCLUSIONS`] are left out. Callers see to
    /// it that there is one at a time.
    pub fn replace(&self, containers: impl Iterator<Item = ContainerId>) {
        let mut next = [([0_u8; 16], 0_u64); EXCLUSIONS];
        let mut used = 0_usize;
        for container in containers.filter(|id| *id != [0; 16]) {
            if next.iter().any(|(known, _)| *known == container) {
                continue;
            }
            let Some(slot) = next.get_mut(used) else {
                break;
            };
            *slot = (container, self.hits_of(&container));
            used = used.saturating_add(1);
        }
        // What was said under the list before counts no more, from before it is gone.
        self.lists.fetch_add(1, Ordering::AcqRel);
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (place, (container, hits)) in self.places.iter().zip(&next) {
            let (low, high) = words(container);
            place.low.store(low, Ordering::Relaxed);
            place.high.store(high, Ordering::Relaxed);
            place.hits.store(*hits, Ordering::Relaxed);
        }
        self.used
            .store(u32::try_from(used).unwrap_or(0), Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    fn hits_of(&self, container: &ContainerId) -> u64 {
        let found = self.find(container);
        let place = found.and_then(|found| self.places.get(usize::from(found.0)));
        place.map_or(0, |place| place.hits.load(Ordering::Relaxed))
    }

    /// The excluded containers with their hits. For whoever calls [`Self::replace`].
    pub fn hits(&self) -> impl Iterator<Item = (ContainerId, u64)> + '_ {
        let used = self.used.load(Ordering::Relaxed) as usize;
        self.places.iter().take(used).map(|place| {
            let low = place.low.load(Ordering::Relaxed);
            let high = place.high.load(Ordering::Relaxed);
            let id = u128::from(low) | (u128::from(high) << 64);
            (id.to_le_bytes(), place.hits.load(Ordering::Relaxed))
        })
    }
}

impl Default for Exclusions {
    fn default() -> Self {
        Self::new()
    }
}

fn words(container: &ContainerId) -> (u64, u64) {
    let id = u128::from_le_bytes(*container);
    (id as u64, (id >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn id(number: u8) -> ContainerId {
        core::array::from_fn(|at| number.wrapping_add(at as u8) | 1)
    }

    #[test]
    fn places_end_with_the_table() {
        let last = EXCLUSIONS as u64 - 1;
        assert_eq!(
            Excluded::at(last).map(|it| u64::from(it.place())),
            Some(last)
        );
        assert_eq!(Excluded::at(last + 1), None);
    }

    #[test]
    fn what_is_excluded_is_found_and_counted_and_nothing_else() {
        let table = Exclusions::new();
        assert!(table.is_empty());
        table.replace([id(1), [0; 16], id(1), id(40)].into_iter());
        assert_eq!(table.find(&id(80)), None);
        assert_eq!(table.find(&[0; 16]), None);
        table
            .find(&id(40))
            .into_iter()
            .for_each(|place| table.hit(place));
        let hits: Vec<_> = table.hits().collect();
        assert_eq!(hits, [(id(1), 0), (id(40), 1)]);
        table.replace([id(80), id(40)].into_iter());
        assert_eq!(table.find(&id(1)), None);
        let hits: Vec<_> = table.hits().collect();
        assert_eq!(
            hits,
            [(id(80), 0), (id(40), 1)],
            "what stays keeps its hits"
        );
        table.replace(core::iter::empty());
        assert!(table.is_empty());
        assert_eq!(table.find(&id(40)), None);
    }

    #[test]
    fn what_was_said_of_a_layer_dies_with_its_list() {
        let table = Exclusions::new();
        table.replace([id(1), id(40)].into_iter());
        let second = table.at(1);
        // None where the list has no such layer.
        let holds = |list| second.map(|place| table.holds(&Exemption { list, place }));
        assert_eq!(table.at(2), None);
        assert_eq!(table.at(u32::MAX), None);
        let list = table.list();
        assert_eq!(holds(list), Some(true));
        table.replace([id(1), id(40)].into_iter());
        assert_eq!(holds(list), Some(false), "the same layers, another list");
        table.replace(core::iter::empty());
        assert_eq!(holds(table.list()), Some(false), "nothing is excluded");
    }

    #[test]
    fn the_table_is_bounded() {
        let table = Exclusions::new();
        table.replace((1..=255).map(|number| [number; 16]));
        assert_eq!(table.hits().count(), EXCLUSIONS);
        assert!(table.find(&[EXCLUSIONS as u8; 16]).is_some());
        assert!(table.find(&[EXCLUSIONS as u8 + 1; 16]).is_none());
    }

    #[test]
    fn half_an_id_is_nobodys() {
        let table = Exclusions::new();
        let halves = |low: u8, high: u8| -> ContainerId {
            core::array::from_fn(|at| if at < 8 { low } else { high })
        };
        table.replace([halves(1, 2)].into_iter());
        assert!(table.find(&halves(1, 2)).is_some());
        for other in [halves(1, 4), halves(3, 2), halves(2, 1)] {
            assert_eq!(table.find(&other), None);
        }
    }

    #[test]
    fn nobody_is_found_while_the_table_is_being_changed() {
        let table = Exclusions::new();
        table.replace([id(1)].into_iter());
        assert!(table.find(&id(1)).is_some());
        table.sequence.fetch_add(1, Ordering::Relaxed);
        assert_eq!(table.find(&id(1)), None);
    }

    #[test]
    fn a_reader_never_finds_an_id_that_nobody_excluded() {
        let table = Exclusions::new();
        // Two lists whose halves, mixed, would be a third container.
        let mixed = |low: u8, high: u8| -> ContainerId {
            core::array::from_fn(|at| if at < 8 { low } else { high })
        };
        // An interpreter that looks for races sees one in few turns.
        let turns = if cfg!(miri) { 50 } else { 20_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..turns {
                    table.replace([mixed(1, 2)].into_iter());
                    table.replace([mixed(3, 4)].into_iter());
                }
            });
            for _ in 0..turns {
                assert_eq!(table.find(&mixed(1, 4)), None);
                assert_eq!(table.find(&mixed(3, 2)), None);
            }
        });
    }
}
