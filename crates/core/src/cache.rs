//! The verdicts: bounded, allocated once, read without a lock and without waiting.
//!
//! Four entries share a set of two cache lines. The set's first word is its version: odd while a
//! writer is in it. A reader copies what it needs and believes it only if the version is even and
//! the same before and after; after a few tries in vain it reports a miss. Keys are compared in
//! full, never by a tag. A removed entry is zeroed, so that no later mistake can find it again.
//!
//! In the place of a verdict an entry may hold that the file lies in an excluded layer. That takes
//! the place of no "infected".

use crate::change::LocalKey;
use crate::exclusion::{Excluded, Exemption, PLACE_BITS};
use crate::hash::{Secret, place};
use crate::sync::{AtomicU64, Ordering, WriteToken, fence, spin};
use crate::verdict::Verdict;
use crate::volume::{EPOCH_BITS, VolumeRef, Volumes};

/// Entries of a set.
pub(crate) const WAYS: usize = 4;
/// How often a reader tries before it reports a miss.
const TRIES: usize = 4;

/// Memory of four entries. Valid when all zero.
///
/// Per entry: file id low, file id high, and a word of volume index (16 bits), verdict (2),
/// "used" (1), signature epoch (44). Of an excluded layer's file the last are the layer's place
/// (6) and the list (38). The volume epochs are in three words of their own: the low
/// halves two by two, the high 16 bits all in the last.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Set {
    version: AtomicU64,
    entries: [Entry; WAYS],
    epochs_low: [AtomicU64; 2],
    epochs_high: AtomicU64,
}

#[repr(C)]
#[derive(Default)]
struct Entry {
    low: AtomicU64,
    high: AtomicU64,
    word: AtomicU64,
}

const _: () = assert!(size_of::<Set>() == 128);
const _: () = assert!(EPOCH_BITS == 48);

const INDEX_MASK: u64 = 0xffff;
const VERDICT_SHIFT: u32 = 16;
const VERDICT_MASK: u64 = 0b11 << VERDICT_SHIFT;
const USED: u64 = 1 << 18;
const SIGNATURE_SHIFT: u32 = 20;
/// A signature epoch that no entry can carry; see [`crate::epoch`].
pub(crate) const SIGNATURE_END: u64 = (1 << (64 - SIGNATURE_SHIFT)) - 1;

/// What an entry says, apart from its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// A verdict, and the epoch under whose signatures it was earned.
    Verdict(Verdict, u64),
    /// The file was not scanned: it lies in an excluded layer.
    Excluded(Exemption),
}

const CLEAN: u64 = 1;
const INFECTED: u64 = 2;
const EXCLUDED: u64 = 3;

fn pack(index: u16, found: Found) -> u64 {
    let (verdict, rest) = match found {
        Found::Verdict(Verdict::Clean, signature) => (CLEAN, signature),
        Found::Verdict(Verdict::Infected, signature) => (INFECTED, signature),
        Found::Excluded(said) => (
            EXCLUDED,
            u64::from(said.place.place()) | (said.list << PLACE_BITS),
        ),
    };
    u64::from(index) | (verdict << VERDICT_SHIFT) | (rest << SIGNATURE_SHIFT)
}

fn unpack(word: u64) -> Option<Found> {
    let rest = word >> SIGNATURE_SHIFT;
    match (word & VERDICT_MASK) >> VERDICT_SHIFT {
        CLEAN => Some(Found::Verdict(Verdict::Clean, rest)),
        INFECTED => Some(Found::Verdict(Verdict::Infected, rest)),
        EXCLUDED => Some(Found::Excluded(Exemption {
            list: rest >> PLACE_BITS,
            place: Excluded::at(rest & ((1 << PLACE_BITS) - 1))?,
        })),
        _ => None,
    }
}

/// How many sets hold at least `entries` entries.
#[must_use]
pub const fn sets_for(entries: usize) -> usize {
    entries.div_ceil(WAYS)
}

/// The cache proper. It knows nothing of tickets: [`crate::ledger`] is its only user.
pub(crate) struct Cache<'m> {
    sets: &'m [Set],
    secret: Secret,
}

impl<'m> Cache<'m> {
    pub(crate) const fn new(sets: &'m [Set], secret: Secret) -> Self {
        Self { sets, secret }
    }

    fn set(&self, key: &LocalKey) -> Option<&'m Set> {
        let hash = self.secret.hash(key.low, key.high, u64::from(key.index));
        self.sets.get(place(hash, self.sets.len()))
    }

    /// The entry of `key` in this epoch of its volume. Any IRQL, no lock, no wait.
    pub(crate) fn get(&self, key: &LocalKey, volume: VolumeRef) -> Option<Found> {
        let set = self.set(key)?;
        for _ in 0..TRIES {
            let version = set.version.load(Ordering::Acquire);
            if version & 1 != 0 {
                spin();
                continue;
            }
            let copied = set.read(key, volume.epoch);
            fence(Ordering::Acquire);
            if set.version.load(Ordering::Relaxed) == version {
                return copied;
            }
        }
        None
    }

    /// Puts something in, if `allowed` still says so once no other writer is in the set. That a
    /// file is excluded does not replace that it is infected.
    pub(crate) fn put(
        &self,
        key: &LocalKey,
        volume: VolumeRef,
        found: Found,
        volumes: &Volumes<'_>,
        token: &WriteToken<'_>,
        allowed: impl FnOnce() -> bool,
    ) -> bool {
        let Some(set) = self.set(key) else {
            return false;
        };
        set.write(token, |version| {
            if !allowed() {
                return false;
            }
            let known = set.way_of(key);
            let spared = matches!(found, Found::Excluded(_));
            if spared && known.is_some_and(|way| set.is_infected(way, volume.epoch)) {
                return false;
            }
            let way = known.unwrap_or_else(|| set.victim(version, volumes));
            set.store(way, key, volume.epoch, pack(key.index, found));
            true
        })
    }

    /// Drops the entry of `key`, of whatever epoch. Whether there was one.
    pub(crate) fn remove(&self, key: &LocalKey, token: &WriteToken<'_>) -> bool {
        let Some(set) = self.set(key) else {
            return false;
        };
        set.write(token, |_| match set.way_of(key) {
            Some(way) => {
                set.store(
                    way,
                    &LocalKey {
                        index: 0,
                        low: 0,
                        high: 0,
                    },
                    0,
                    0,
                );
                true
            }
            None => false,
        })
    }
}

impl Set {
    /// Runs `body` as the only writer; it gets a number that differs from time to time.
    fn write<R>(&self, _token: &WriteToken<'_>, body: impl FnOnce(u64) -> R) -> R {
        let version = loop {
            let version = self.version.load(Ordering::Relaxed);
            let odd = version | 1;
            if version != odd
                && self
                    .version
                    .compare_exchange_weak(version, odd, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                break version;
            }
            spin();
        };
        // A reader that sees any word stored below sees the odd version, too.
        fence(Ordering::Release);
        let result = body(version >> 1);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
        result
    }

    /// What the set says of `key`; garbage unless the version holds.
    fn read(&self, key: &LocalKey, epoch: u64) -> Option<Found> {
        for (way, entry) in self.entries.iter().enumerate() {
            if entry.low.load(Ordering::Relaxed) != key.low {
                continue;
            }
            let word = entry.word.load(Ordering::Relaxed);
            if entry.high.load(Ordering::Relaxed) != key.high
                || word & INDEX_MASK != u64::from(key.index)
                || self.epoch(way) != epoch
            {
                continue;
            }
            let found = unpack(word)?;
            if word & USED == 0 {
                entry.word.fetch_or(USED, Ordering::Relaxed);
            }
            return Some(found);
        }
        None
    }

    /// The way that holds `key`, of whatever epoch. For writers.
    fn way_of(&self, key: &LocalKey) -> Option<usize> {
        self.entries.iter().position(|entry| {
            let word = entry.word.load(Ordering::Relaxed);
            word & VERDICT_MASK != 0
                && word & INDEX_MASK == u64::from(key.index)
                && entry.low.load(Ordering::Relaxed) == key.low
                && entry.high.load(Ordering::Relaxed) == key.high
        })
    }

    /// Whether the way says "infected" in this epoch of its volume. For writers.
    fn is_infected(&self, way: usize, epoch: u64) -> bool {
        let infected = |entry: &Entry| {
            let word = entry.word.load(Ordering::Relaxed);
            word & VERDICT_MASK == INFECTED << VERDICT_SHIFT
        };
        self.epoch(way) == epoch && self.entries.get(way).is_some_and(infected)
    }

    /// The way to give up: an empty one, one of a volume epoch that is over, else the first one
    /// that was not used since the hand came by.
    fn victim(&self, hand: u64, volumes: &Volumes<'_>) -> usize {
        let worthless = self.entries.iter().enumerate().position(|(way, entry)| {
            let word = entry.word.load(Ordering::Relaxed);
            word & VERDICT_MASK == 0 || !volumes.is_current(word as u16, self.epoch(way))
        });
        if let Some(way) = worthless {
            return way;
        }
        let start = (hand as usize) % WAYS;
        for way in (start..WAYS).chain(0..start) {
            let Some(entry) = self.entries.get(way) else {
                continue;
            };
            if entry.word.fetch_and(!USED, Ordering::Relaxed) & USED == 0 {
                return way;
            }
        }
        start
    }

    /// Writes one entry. Only within [`Self::write`].
    fn store(&self, way: usize, key: &LocalKey, epoch: u64, word: u64) {
        let Some(entry) = self.entries.get(way) else {
            return;
        };
        entry.low.store(key.low, Ordering::Relaxed);
        entry.high.store(key.high, Ordering::Relaxed);
        entry.word.store(word, Ordering::Relaxed);
        if let Some(pair) = self.epochs_low.get(way / 2) {
            replace(pair, half_shift(way), u64::from(u32::MAX), epoch);
        }
        replace(&self.epochs_high, quarter_shift(way), 0xffff, epoch >> 32);
    }

    /// The volume epoch of one entry.
    fn epoch(&self, way: usize) -> u64 {
        let Some(pair) = self.epochs_low.get(way / 2) else {
            return 0;
        };
        let low = (pair.load(Ordering::Relaxed) >> half_shift(way)) & u64::from(u32::MAX);
        let high = (self.epochs_high.load(Ordering::Relaxed) >> quarter_shift(way)) & 0xffff;
        low | (high << 32)
    }
}

const fn half_shift(way: usize) -> u32 {
    if way.is_multiple_of(2) { 0 } else { 32 }
}

const fn quarter_shift(way: usize) -> u32 {
    match way {
        0 => 0,
        1 => 16,
        2 => 32,
        _ => 48,
    }
}

/// Replaces the bits of `mask << shift` in a word that only one writer touches.
fn replace(word: &AtomicU64, shift: u32, mask: u64, value: u64) {
    let old = word.load(Ordering::Relaxed);
    word.store(
        (old & !(mask << shift)) | ((value & mask) << shift),
        Ordering::Relaxed,
    );
}
