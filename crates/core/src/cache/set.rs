//! Four entries in two cache lines, and the lock-free way in and out.
//!
//! The first word is the set's version: odd while a writer is in it. A reader copies what it
//! needs and believes it only if the version is even and the same before and after.

use super::heat::{Admission, Heat};
use super::{Found, Put, WAYS, is_infected, pack};
use crate::change::LocalKey;
use crate::sync::{AtomicU32, AtomicU64, Ordering, WriteToken, fence, spin};
use crate::volume::{EPOCH_BITS, VolumeRef, Volumes};

/// Memory of four entries. Valid when all zero.
///
/// An entry is a file id (two words), a *home* (the volume's epoch above its index), and 32 bits
/// of verdict and signature epoch. Words of one kind are together, so that all four entries are
/// compared without a branch; the first line decides a miss.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Set {
    version: AtomicU64,
    heat: AtomicU64,
    earned: [AtomicU32; WAYS],
    low: [AtomicU64; WAYS],
    high: [AtomicU64; WAYS],
    home: [AtomicU64; WAYS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Set>() == 128);

const INDEX_BITS: u32 = 16;
const _: () = assert!(EPOCH_BITS + INDEX_BITS == u64::BITS);

/// The volume of an entry, in one epoch of it. Never zero for a live volume.
const fn home_of(volume: VolumeRef) -> u64 {
    (volume.epoch << INDEX_BITS) | volume.index as u64
}

/// An entry as a reader copied it; garbage unless the version holds.
#[derive(Clone, Copy)]
pub(super) struct Copied {
    way: usize,
    pub(super) earned: u32,
}

impl Set {
    /// Before a copy: the version, unless a writer is in the set.
    pub(super) fn begin_read(&self) -> Option<u64> {
        // Acquire: what is copied after it is not older than what the version stands for.
        let version = self.version.load(Ordering::Acquire);
        (version & 1 == 0).then_some(version)
    }

    /// After a copy: whether all of it was of one version.
    pub(super) fn end_read(&self, version: u64) -> bool {
        // A copy that saw any word of a later writer sees that writer's odd version below: the
        // writer's release fence before its stores meets this acquire fence after the loads.
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) == version
    }

    /// The entry of this key in this epoch of its volume. The low words of all four are compared
    /// at once and exactly; the rest of the one that is left, in full.
    #[inline(always)]
    pub(super) fn copy(&self, key: &LocalKey, volume: VolumeRef) -> Option<Copied> {
        // Asks for the second line before the first has said which way: they come together.
        let _ = self.home.first().map(|home| home.load(Ordering::Relaxed));
        let mut ways = 0_u32;
        for (way, low) in self.low.iter().enumerate() {
            ways |= u32::from(low.load(Ordering::Relaxed) == key.low) << way;
        }
        if ways == 0 {
            return None;
        }
        let way = ways.trailing_zeros() as usize;
        match self.copy_way(way, key, volume) {
            // Another volume's file of the same number, or an older epoch's: rare.
            None if !ways.is_power_of_two() => self.copy_another(ways, key, volume),
            copied => copied,
        }
    }

    #[inline(always)]
    fn copy_way(&self, way: usize, key: &LocalKey, volume: VolumeRef) -> Option<Copied> {
        let high = self.high.get(way)?.load(Ordering::Relaxed);
        let home = self.home.get(way)?.load(Ordering::Relaxed);
        let earned = self.earned.get(way)?.load(Ordering::Relaxed);
        let differs = (high ^ key.high) | (home ^ home_of(volume));
        (differs == 0).then_some(Copied { way, earned })
    }

    #[cold]
    #[inline(never)]
    fn copy_another(&self, ways: u32, key: &LocalKey, volume: VolumeRef) -> Option<Copied> {
        (0..WAYS)
            .filter(|way| ways & (1 << way) != 0)
            .find_map(|way| self.copy_way(way, key, volume))
    }

    /// Counts a hit. Lossy; see [`super::heat`].
    pub(super) fn note_hit(&self, copied: Copied) {
        let heat = Heat::of(self.heat.load(Ordering::Relaxed));
        if let Some(after) = heat.after_hit(copied.way) {
            self.heat.store(after.word(), Ordering::Relaxed);
        }
    }

    /// Runs `body` as the only writer; it gets the number of this write.
    pub(super) fn write<R>(&self, _token: &WriteToken<'_>, body: impl FnOnce(u64) -> R) -> R {
        let version = loop {
            let version = self.version.load(Ordering::Relaxed);
            let odd = version | 1;
            // Acquire: everything of the writer before is seen.
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
        // Release: who sees the new version sees every word stored above.
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
        result
    }

    /// Puts an entry in, or turns it away. Only within [`Self::write`].
    pub(super) fn put(
        &self,
        key: &LocalKey,
        volume: VolumeRef,
        found: Found,
        volumes: &Volumes<'_>,
        written: u64,
    ) -> Put {
        let known = self.way_of(key);
        if matches!(found, Found::Excluded(_))
            && known.is_some_and(|way| self.says_infected(way, volume))
        {
            return Put::Refused;
        }
        let heat = Heat::of(self.heat.load(Ordering::Relaxed)).aged(written);
        let (heat, way) = if let Some(way) = known {
            (heat, Some(way))
        } else if let Some(way) = self.worthless(volumes) {
            (heat.welcome(way, print(key.low, key.high)), Some(way))
        } else {
            match heat.admit(written, print(key.low, key.high), |way| self.print_of(way)) {
                (heat, Admission::Replace(way, _)) => (heat, Some(way)),
                (heat, Admission::TurnedAway) => (heat, None),
            }
        };
        self.heat.store(heat.word(), Ordering::Relaxed);
        let Some(way) = way else {
            return Put::Crowded;
        };
        self.store(way, (key.low, key.high), home_of(volume), pack(found));
        Put::Stored
    }

    /// Zeroes the entry of `key`, of whatever epoch, so that no later mistake can find it again.
    /// Whether there was one. Only within [`Self::write`].
    pub(super) fn remove(&self, key: &LocalKey) -> bool {
        let Some(way) = self.way_of(key) else {
            return false;
        };
        self.store(way, (0, 0), 0, 0);
        let heat = Heat::of(self.heat.load(Ordering::Relaxed)).without(way);
        self.heat.store(heat.word(), Ordering::Relaxed);
        true
    }

    /// The way that holds `key`, of whatever epoch.
    fn way_of(&self, key: &LocalKey) -> Option<usize> {
        let words = self.low.iter().zip(&self.high).zip(&self.home);
        first_of(words.map(|((low, high), home)| {
            let home = home.load(Ordering::Relaxed);
            let differs = (low.load(Ordering::Relaxed) ^ key.low)
                | (high.load(Ordering::Relaxed) ^ key.high)
                | u64::from(home as u16 ^ key.index);
            (differs == 0) & (home != 0)
        }))
    }

    /// Whether the way says "infected" in this epoch of its volume.
    fn says_infected(&self, way: usize, volume: VolumeRef) -> bool {
        let (home, earned) = (self.home.get(way), self.earned.get(way));
        home.is_some_and(|home| home.load(Ordering::Relaxed) == home_of(volume))
            && earned.is_some_and(|word| is_infected(word.load(Ordering::Relaxed)))
    }

    /// A way that is empty, or whose volume epoch is over.
    fn worthless(&self, volumes: &Volumes<'_>) -> Option<usize> {
        first_of(self.home.iter().map(|home| {
            let home = home.load(Ordering::Relaxed);
            !volumes.is_current(home as u16, home >> INDEX_BITS)
        }))
    }

    fn print_of(&self, way: usize) -> u64 {
        match (self.low.get(way), self.high.get(way)) {
            (Some(low), Some(high)) => {
                print(low.load(Ordering::Relaxed), high.load(Ordering::Relaxed))
            }
            _ => 1,
        }
    }

    fn store(&self, way: usize, file: (u64, u64), home: u64, earned: u32) {
        let words = (self.low.get(way), self.high.get(way), self.home.get(way));
        if let (Some(low), Some(high), Some(at)) = words {
            low.store(file.0, Ordering::Relaxed);
            high.store(file.1, Ordering::Relaxed);
            at.store(home, Ordering::Relaxed);
        }
        if let Some(word) = self.earned.get(way) {
            word.store(earned, Ordering::Relaxed);
        }
    }
}

/// The first way that holds, without a branch for each.
fn first_of(ways: impl Iterator<Item = bool>) -> Option<usize> {
    let bits = ways
        .enumerate()
        .fold(0_u32, |bits, (way, holds)| bits | (u32::from(holds) << way));
    (bits != 0).then(|| bits.trailing_zeros() as usize)
}

/// Eight bits that name a file among those of a set, never zero. They serve the choice of a
/// victim alone, so they need no secret.
const fn print(low: u64, high: u64) -> u64 {
    let mixed = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    if mixed == 0 { 1 } else { mixed }
}
