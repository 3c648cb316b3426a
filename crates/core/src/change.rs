//! What is being changed right now: exact marks per key, and counters per stream.
//!
//! An operation that can change bytes marks its key before it is passed down and takes the mark
//! away when it is complete. While a mark is there no ticket is issued for the key and none is
//! honoured. That a change came and went between a ticket and its use is seen by a generation,
//! which every mark moves. Generations are shared by keys that fall together: then a ticket dies
//! for nothing, never the other way round.

use crate::hash::place;
use crate::sync::{AtomicU32, AtomicU64, Ordering, WriteToken, const_but_modelled, spin};

/// Keys that one bucket can hold.
const SLOTS: usize = 5;
/// Bit of a bucket's first word.
const LOCKED: u64 = 1;
/// Bits of a slot's last word below the count.
const INDEX_BITS: u32 = 16;

/// Memory of five marked keys. Valid when all zero.
#[repr(C, align(64))]
#[derive(Default)]
pub struct ChangeBucket {
    lock: AtomicU64,
    slots: [ChangeSlot; SLOTS],
}

/// A marked key: its file id, its volume's index, and how many changes are under way.
#[repr(C)]
#[derive(Default)]
struct ChangeSlot {
    low: AtomicU64,
    high: AtomicU64,
    index_and_count: AtomicU64,
}

/// Memory of one generation, and of the pins that fall on it. Valid when all zero.
#[repr(C)]
#[derive(Default)]
pub struct Generation {
    moved: AtomicU64,
    /// Whoever can write to a key of this place without passing us.
    pins: AtomicU32,
}

/// A file on a volume of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalKey {
    pub(crate) index: u16,
    pub(crate) low: u64,
    pub(crate) high: u64,
    /// Of volume and file, keyed with this boot's secret.
    pub(crate) hash: u64,
}

/// Where a mark is, so that its end needs no search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) bucket: u32,
    pub(crate) slot: u8,
}

/// The table of changing keys.
pub(crate) struct Changing<'m> {
    buckets: &'m [ChangeBucket],
    generations: &'m [Generation],
}

impl<'m> Changing<'m> {
    pub(crate) fn new(buckets: &'m [ChangeBucket], generations: &'m [Generation]) -> Self {
        Self {
            buckets,
            generations,
        }
    }

    fn bucket(&self, hash: u64) -> (usize, Option<&'m ChangeBucket>) {
        let which = place(hash, self.buckets.len());
        (which, self.buckets.get(which))
    }

    /// The low bits of the hash choose the generation, the high bits the bucket.
    fn generation(&self, hash: u64) -> Option<&'m AtomicU64> {
        self.generations
            .get(self.generation_place(hash))
            .map(|generation| &generation.moved)
    }

    fn generation_place(&self, hash: u64) -> usize {
        place(hash.rotate_left(32), self.generations.len())
    }

    /// From now on the key, and every key that falls on the same place, is not to be cached.
    /// The place, for [`Self::unpin`].
    pub(crate) fn pin(&self, key: &LocalKey) -> Option<u32> {
        let which = self.generation_place(key.hash);
        let pins = &self.generations.get(which)?.pins;
        pins.fetch_add(1, Ordering::SeqCst);
        u32::try_from(which).ok()
    }

    /// Takes one pin away.
    pub(crate) fn unpin(&self, which: u32) {
        if let Some(generation) = self.generations.get(which as usize) {
            generation.pins.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether the key is pinned, or shares its place with one that is. Any IRQL, no lock.
    pub(crate) fn is_pinned(&self, key: &LocalKey) -> bool {
        self.generations
            .get(self.generation_place(key.hash))
            .is_some_and(|generation| generation.pins.load(Ordering::SeqCst) != 0)
    }

    /// Marks the key. `None` where the bucket is full: the caller marks the whole volume.
    pub(crate) fn begin(&self, key: &LocalKey, token: &WriteToken<'_>) -> Option<Place> {
        let hash = key.hash;
        let (which, bucket) = self.bucket(hash);
        let generation = self.generation(hash)?;
        bucket?.with(token, |slots| {
            let mut free = None;
            let mut place = None;
            for (i, slot) in slots.iter().enumerate() {
                let count = slot.count();
                if count == 0 {
                    free = free.or(Some((i, slot)));
                } else if slot.is(key) {
                    place = Some((i, slot, count));
                }
            }
            let (i, slot, count) = match (place, free) {
                (Some(found), _) => found,
                (None, Some((i, slot))) => (i, slot, 0),
                (None, None) => return None,
            };
            slot.set(key, count.saturating_add(1));
            // Whoever looks does so under the same lock.
            generation.fetch_add(1, Ordering::Relaxed);
            Some(Place {
                bucket: u32::try_from(which).ok()?,
                slot: u8::try_from(i).ok()?,
            })
        })
    }

    /// Takes one mark away.
    pub(crate) fn end(&self, place: Place, token: &WriteToken<'_>) {
        let Some(bucket) = self.buckets.get(place.bucket as usize) else {
            return;
        };
        bucket.with(token, |slots| {
            if let Some(slot) = slots.get(usize::from(place.slot)) {
                slot.take_one();
            }
        });
    }

    /// Moves the key's generation: tickets that were issued before are dead.
    pub(crate) fn touch(&self, key: &LocalKey) {
        if let Some(generation) = self.generation(key.hash) {
            generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The generation for a ticket; `None` while the key is changing.
    pub(crate) fn settled(&self, key: &LocalKey, token: &WriteToken<'_>) -> Option<u64> {
        let hash = key.hash;
        let generation = self.generation(hash)?;
        self.bucket(hash).1?.with(token, |slots| {
            if slots.iter().any(|slot| slot.count() != 0 && slot.is(key)) {
                return None;
            }
            Some(generation.load(Ordering::SeqCst))
        })
    }
}

impl ChangeBucket {
    /// Runs `body` on the slots, alone.
    fn with<R>(&self, _token: &WriteToken<'_>, body: impl FnOnce(&[ChangeSlot; SLOTS]) -> R) -> R {
        while self
            .lock
            .compare_exchange_weak(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            spin();
        }
        let result = body(&self.slots);
        self.lock.store(0, Ordering::Release);
        result
    }
}

impl ChangeSlot {
    fn count(&self) -> u64 {
        self.index_and_count.load(Ordering::Relaxed) >> INDEX_BITS
    }

    fn is(&self, key: &LocalKey) -> bool {
        self.low.load(Ordering::Relaxed) == key.low
            && self.high.load(Ordering::Relaxed) == key.high
            && self.index_and_count.load(Ordering::Relaxed) as u16 == key.index
    }

    fn set(&self, key: &LocalKey, count: u64) {
        self.low.store(key.low, Ordering::Relaxed);
        self.high.store(key.high, Ordering::Relaxed);
        let word = (count << INDEX_BITS) | u64::from(key.index);
        self.index_and_count.store(word, Ordering::Relaxed);
    }

    fn take_one(&self) {
        let word = self.index_and_count.load(Ordering::Relaxed);
        let count = (word >> INDEX_BITS).saturating_sub(1);
        let index = word & ((1 << INDEX_BITS) - 1);
        self.index_and_count
            .store((count << INDEX_BITS) | index, Ordering::Relaxed);
    }
}

/// Counts the changes of one stream, or of all streams of an instance that have no context.
///
/// [`Self::mark`] gives a value only between changes; a change that begins after it, or that was
/// under way, makes [`Self::holds`] false. Any IRQL.
#[derive(Default)]
pub struct ChangeCounter {
    /// Moves at the beginning of each change.
    moved: AtomicU64,
    /// Changes under way.
    under_way: AtomicU32,
}

impl ChangeCounter {
    const_but_modelled! {
        /// Nothing has changed.
        #[must_use]
        pub fn new() -> Self {
            Self {
                moved: AtomicU64::new(0),
                under_way: AtomicU32::new(0),
            }
        }
    }

    /// Before bytes can change. Each call is followed by one [`Self::end`].
    pub fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.moved.fetch_add(1, Ordering::SeqCst);
    }

    /// After the operation, also when it failed.
    pub fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    /// A value to compare later; `None` while a change is under way.
    #[must_use]
    pub fn mark(&self) -> Option<u64> {
        let moved = self.moved.load(Ordering::SeqCst);
        if self.under_way.load(Ordering::SeqCst) != 0 {
            return None;
        }
        Some(moved)
    }

    /// How often it has moved.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::SeqCst)
    }

    /// Whether nothing has begun to change since `mark` was taken.
    #[must_use]
    pub fn holds(&self, mark: u64) -> bool {
        self.moved.load(Ordering::SeqCst) == mark
    }
}
