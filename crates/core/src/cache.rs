//! The verdicts: bounded, allocated once, read without a lock and without waiting.
//!
//! Four entries share a [`Set`] of two cache lines. A reader tries a few times and then reports a
//! miss; it never waits for a writer. Keys are compared in full, never by a tag. A removed entry
//! is zeroed, so that no later mistake can find it again. `docs/cache.md` explains the structure,
//! the memory orders and what proves them.
//!
//! In the place of a verdict an entry may hold that the file lies in an excluded layer. That takes
//! the place of no "infected".

mod heat;
mod plain;
mod set;

pub use plain::{Kept, PlainCache};
pub use set::Set;

use set::Disturbed;

use crate::change::LocalKey;
use crate::exclusion::{Excluded, Exemption, PLACE_BITS};
use crate::hash::place;
use crate::sync::{WriteToken, spin};
use crate::verdict::Verdict;
use crate::volume::{VolumeRef, Volumes};

/// Entries of a set.
pub(crate) const WAYS: usize = 4;
/// How often a reader searches, after a look, before it reports a miss.
const TRIES: usize = 4;

const VERDICT_BITS: u32 = 2;
const VERDICT_MASK: u32 = 0b11;
/// A signature epoch that no entry can carry; see [`crate::epoch`].
pub(crate) const SIGNATURE_END: u64 = (1 << (u32::BITS - VERDICT_BITS)) - 1;
const _: () = assert!(
    SIGNATURE_END >> (u32::BITS - VERDICT_BITS) == 0,
    "it fits into a word"
);

/// What an entry says, apart from its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// A verdict, and the epoch under whose signatures it was earned, below [`SIGNATURE_END`].
    Verdict(Verdict, u64),
    /// The file was not scanned: it lies in an excluded layer.
    Excluded(Exemption),
}

/// What became of a verdict that was to be put in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// It is in.
    Stored,
    /// It would have been right to put it in, but everything in its set is used more.
    Crowded,
    /// It was not allowed any more.
    Refused,
}

const CLEAN: u32 = 1;
const INFECTED: u32 = 2;
const EXCLUDED: u32 = 3;

/// The word of an entry: what it is in the low bits; above them the signature epoch or, of an
/// excluded layer's file, the layer's place and the list.
const fn pack(found: Found) -> u32 {
    match found {
        Found::Verdict(Verdict::Clean, signature) => CLEAN | ((signature as u32) << VERDICT_BITS),
        Found::Verdict(Verdict::Infected, signature) => {
            INFECTED | ((signature as u32) << VERDICT_BITS)
        }
        Found::Excluded(said) => {
            let list = (said.list as u32) << PLACE_BITS;
            EXCLUDED | ((said.place.place() as u32 | list) << VERDICT_BITS)
        }
    }
}

/// What the word of an entry says; nothing if it is zero.
pub(crate) fn unpack(word: u32) -> Option<Found> {
    let rest = u64::from(word >> VERDICT_BITS);
    match word & VERDICT_MASK {
        CLEAN => Some(Found::Verdict(Verdict::Clean, rest)),
        INFECTED => Some(Found::Verdict(Verdict::Infected, rest)),
        EXCLUDED => Some(Found::Excluded(Exemption {
            list: rest >> PLACE_BITS,
            place: Excluded::at(rest & ((1 << PLACE_BITS) - 1))?,
        })),
        _ => None,
    }
}

/// Whether the word of an entry says "infected".
const fn is_infected(word: u32) -> bool {
    word & VERDICT_MASK == INFECTED
}

/// How many sets hold at least `entries` entries.
#[must_use]
pub const fn sets_for(entries: usize) -> usize {
    entries.div_ceil(WAYS)
}

/// The cache proper. It knows nothing of tickets: [`crate::ledger`] is its only user.
pub(crate) struct Cache<'m> {
    sets: &'m [Set],
}

impl<'m> Cache<'m> {
    pub(crate) const fn new(sets: &'m [Set]) -> Self {
        Self { sets }
    }

    fn set(&self, key: &LocalKey) -> Option<&'m Set> {
        self.sets.get(place(key.hash, self.sets.len()))
    }

    /// The word of `key` in this epoch of its volume, for [`unpack`]; zero: there is none. `None`
    /// where that epoch is over, which `moved` tells: zero if not. It is asked late, when the place
    /// of the set is known. Any IRQL, no lock, no wait.
    #[inline(always)]
    pub(crate) fn word(
        &self,
        key: &LocalKey,
        volume: VolumeRef,
        moved: impl Fn() -> Option<u64>,
    ) -> Option<u32> {
        let set = self.set(key)?;
        let home = volume.term.word();
        match set.look(key.low, key.high, home, moved()?) {
            Some(word) => Some(word),
            None if moved() != Some(0) => None,
            None => Some(Self::word_again(set, key.low, key.high, home)),
        }
    }

    /// After a look that said nothing: whether there is nothing, or a writer was in between.
    #[cold]
    #[inline(never)]
    fn word_again(set: &Set, low: u64, high: u64, home: u64) -> u32 {
        for _ in 0..TRIES {
            match set.search(low, high, home) {
                Ok(Some((way, word))) => {
                    set.note_hit(way);
                    return word;
                }
                Ok(None) => return 0,
                Err(Disturbed) => spin(),
            }
        }
        0
    }

    /// Puts something in, if `allowed` still says so once no other writer is in the set. That a
    /// file is excluded does not replace that it is infected. What is there already is not written
    /// again: other processors keep their copies of the set.
    pub(crate) fn put(
        &self,
        key: &LocalKey,
        volume: VolumeRef,
        found: Found,
        volumes: &Volumes<'_>,
        token: &WriteToken<'_>,
        allowed: impl Fn() -> bool,
    ) -> Put {
        let Some(set) = self.set(key) else {
            return Put::Refused;
        };
        let there = set.search(key.low, key.high, volume.term.word());
        if let Ok(Some((_, word))) = there
            && word == pack(found)
            && allowed()
        {
            return Put::Stored;
        }
        set.write(token, |written| {
            if allowed() {
                set.put(key, volume, found, volumes, written)
            } else {
                Put::Refused
            }
        })
    }

    /// Drops the entry of `key`, of whatever epoch. Whether there was one.
    pub(crate) fn remove(&self, key: &LocalKey, token: &WriteToken<'_>) -> bool {
        self.set(key)
            .is_some_and(|set| set.write(token, |_| set.remove(key)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::hash::Secret;
    use crate::key::VolumeGuid;
    use crate::volume::{VolumeSlot, Volumes};

    fn unpacked(cache: &Cache<'_>, key: &LocalKey, volume: VolumeRef) -> Option<Found> {
        cache.word(key, volume, || Some(0)).and_then(unpack)
    }

    #[test]
    fn a_word_keeps_all_that_an_entry_says() {
        for epoch in [0, 1, 1 << 29, (1 << 30) - 2] {
            for verdict in [Verdict::Clean, Verdict::Infected] {
                let found = Found::Verdict(verdict, epoch);
                assert!(epoch < SIGNATURE_END);
                assert_eq!(unpack(pack(found)), Some(found));
                let infected = verdict == Verdict::Infected;
                assert_eq!(is_infected(pack(found)), infected);
            }
        }
        for list in [1, 1 << 23, (1 << 24) - 1] {
            for place in (0..64).filter_map(Excluded::at) {
                let found = Found::Excluded(Exemption { list, place });
                assert_eq!(unpack(pack(found)), Some(found));
                assert!(!is_infected(pack(found)));
            }
        }
        assert_eq!(unpack(0), None, "nothing was ever put in");
    }

    /// The ledger asks first, too; between its question and this another thread may have stored.
    #[test]
    fn an_exemption_does_not_replace_an_infected_that_came_meanwhile() -> Result<(), &'static str> {
        let sets = [Set::default()];
        let slots = [VolumeSlot::default(), VolumeSlot::default()];
        let token = WriteToken::promise_dispatch_level();
        let volumes = Volumes::new(&slots, Secret::new([1, 2, 3, 4]));
        let guid = VolumeGuid::from_words(1, 1).ok_or("the GUID is zero")?;
        volumes.attach(guid, &token);
        let volume = volumes.find(guid).ok_or("it was not attached")?;
        let cache = Cache::new(&sets);
        let key = LocalKey {
            index: volume.term.index(),
            low: 5,
            high: 0,
            hash: 0,
        };
        let put = |found| cache.put(&key, volume, found, &volumes, &token, || true);
        let exempt = Found::Excluded(Exemption {
            list: 1,
            place: Excluded::at(0).ok_or("there is no first place")?,
        });
        assert_eq!(put(exempt), Put::Stored);
        assert_eq!(put(Found::Verdict(Verdict::Clean, 1)), Put::Stored);
        assert_eq!(put(exempt), Put::Stored);
        let infected = Found::Verdict(Verdict::Infected, 1);
        assert_eq!(put(infected), Put::Stored);
        assert_eq!(put(exempt), Put::Refused);
        assert_eq!(unpacked(&cache, &key, volume), Some(infected));
        // A reader whom a writer disturbed finds it all the same.
        let [set] = &sets;
        let again = Cache::word_again(set, key.low, key.high, volume.term.word());
        assert_eq!(unpack(again), Some(infected));
        Ok(())
    }

    #[test]
    fn one_look_finds_each_of_four_and_nothing_that_is_not_there() -> Result<(), &'static str> {
        let sets = [Set::default()];
        let slots = [VolumeSlot::default(), VolumeSlot::default()];
        let token = WriteToken::promise_dispatch_level();
        let volumes = Volumes::new(&slots, Secret::new([1, 2, 3, 4]));
        let guid = VolumeGuid::from_words(1, 1).ok_or("the GUID is zero")?;
        volumes.attach(guid, &token);
        let volume = volumes.find(guid).ok_or("it was not attached")?;
        let cache = Cache::new(&sets);
        let home = volume.term.word();
        let [set] = &sets;
        for low in 5..9 {
            let key = LocalKey {
                index: volume.term.index(),
                low,
                high: low << 8,
                hash: 0,
            };
            let found = Found::Verdict(Verdict::Clean, low);
            let put = cache.put(&key, volume, found, &volumes, &token, || true);
            assert_eq!(put, Put::Stored);
        }
        for low in 5..9 {
            let look = |low, high, home| set.look(low, high, home, 0).map(unpack);
            let there = Some(Found::Verdict(Verdict::Clean, low));
            assert_eq!(look(low, low << 8, home), Some(there));
            // No file has these low bits: nothing is there.
            assert_eq!(look(low ^ 32, low << 8, home), Some(None));
            // One has them: whether another has them, too, one look does not tell.
            assert_eq!(look(low, 0, home), None);
            assert_eq!(look(low, low << 8, home ^ 1), None);
            // No doubt makes good a difference.
            assert_eq!(set.look(low, low << 8, home ^ 1, 1), None);
            for doubt in [1, 1 << 63] {
                assert_eq!(set.look(low, low << 8, home, doubt), None);
                assert_eq!(set.look(low ^ 32, low << 8, home, doubt), None);
            }
        }
        Ok(())
    }

    /// Four in one set that differ from the first by the same bits in two words each: no
    /// difference may cancel another.
    #[test]
    fn i2_every_word_of_a_key_counts_whatever_the_others_are() -> Result<(), &'static str> {
        let sets = [Set::default()];
        let slots: [VolumeSlot; 2] = core::array::from_fn(|_| VolumeSlot::default());
        let token = WriteToken::promise_dispatch_level();
        let volumes = Volumes::new(&slots, Secret::new([1, 2, 3, 4]));
        let cache = Cache::new(&sets);
        let mut found = [None; 2];
        for (number, volume) in (1..).zip(&mut found) {
            let guid = VolumeGuid::from_words(number, 1).ok_or("the GUID is zero")?;
            volumes.attach(guid, &token);
            *volume = volumes.find(guid);
        }
        let [Some(one), Some(two)] = found else {
            return Err("a volume was not attached");
        };
        let both = u64::from(one.term.index() ^ two.term.index());
        let epochs = (one.term.word() ^ two.term.word()) & !0xffff;
        for bits in [both, both | epochs, 2, 1 << 40, u64::MAX] {
            let key = |volume: VolumeRef, low, high| LocalKey {
                index: volume.term.index(),
                low: 5 ^ low,
                high: 6 ^ high,
                hash: 0,
            };
            let four = [
                (one, key(one, 0, 0), Verdict::Infected),
                (one, key(one, bits, bits), Verdict::Clean),
                (two, key(two, bits, 0), Verdict::Clean),
                (two, key(two, 0, bits), Verdict::Clean),
            ];
            for (volume, key, verdict) in &four {
                let found = Found::Verdict(*verdict, 1);
                let put = cache.put(key, *volume, found, &volumes, &token, || true);
                assert_eq!(put, Put::Stored);
            }
            for (volume, key, verdict) in &four {
                let found = Some(Found::Verdict(*verdict, 1));
                assert_eq!(unpacked(&cache, key, *volume), found, "{bits:#x}");
            }
            for (volume, key, _) in &four {
                assert!(cache.remove(key, &token) && !cache.remove(key, &token));
                assert_eq!(unpacked(&cache, key, *volume), None);
            }
        }
        Ok(())
    }
}
