//! Four entries in two cache lines, and the lock-free way in and out.
//!
//! The first word is the set's version: odd while a writer is in it. A reader copies what it
//! needs and believes it only if the version is even and the same before and after.

use core::hint::select_unpredictable;

use super::heat::{Admission, Heat};
use super::{Found, Put, WAYS, is_infected, pack};
use crate::change::LocalKey;
use crate::sync::{AtomicU32, AtomicU64, Ordering, WriteToken, fence, spin};
use crate::volume::{Term, VolumeRef, Volumes};

/// Memory of four entries. Valid when all zero.
///
/// An entry is a file id (two words), a *home* (a [`Term`]'s word), and 32 bits
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

/// A writer was in the set while a reader copied.
pub(super) struct Disturbed;

impl Set {
    /// One look, where nobody writes: the entry's word, or zero where the low words tell that there
    /// is none. `None` says nothing: [`Self::search`] tells why. It is short, as nearly every
    /// look-up ends here: the low words say which way, that one is compared in full, and one branch
    /// asks for all that speaks against it, with `doubt`, which is the caller's: zero if there is
    /// none. Whether a file is known is what no processor guesses, so no branch asks that.
    #[inline(always)]
    pub(super) fn look(&self, low: u64, high: u64, home: u64, doubt: u64) -> Option<u32> {
        let version = self.begin_read();
        let mut way = 0;
        for (other, word) in self.low.iter().enumerate().skip(1) {
            let same = word.load(Ordering::Relaxed) == low;
            way = select_unpredictable(same, other, way);
        }
        let absent = self.low.get(way)?.load(Ordering::Relaxed) != low;
        let differs = (self.high.get(way)?.load(Ordering::Relaxed) ^ high)
            | (self.home.get(way)?.load(Ordering::Relaxed) ^ home);
        let earned = self.earned.get(way)?.load(Ordering::Relaxed);
        let differs = select_unpredictable(absent, 0, differs);
        let earned = select_unpredictable(absent, 0, earned);
        if (differs | doubt | self.end_read(version)) != 0 {
            return None;
        }
        let heat = self.heat.load(Ordering::Relaxed);
        // What is not there has been hit often enough.
        if Heat::of(select_unpredictable(earned == 0, u64::MAX, heat)).counts(way) {
            self.note_hit(way);
        }
        Some(earned)
    }

    /// The entry's way and word, found by comparing all four in full.
    pub(super) fn search(
        &self,
        low: u64,
        high: u64,
        home: u64,
    ) -> Result<Option<(usize, u32)>, Disturbed> {
        let version = self.begin_read();
        let words = self.low.iter().zip(&self.high).zip(&self.home);
        let mut found = None;
        for (way, ((at_low, at_high), at_home)) in words.enumerate() {
            let differs = (at_low.load(Ordering::Relaxed) ^ low)
                | (at_high.load(Ordering::Relaxed) ^ high)
                | (at_home.load(Ordering::Relaxed) ^ home);
            if differs == 0 {
                let earned = self.earned.get(way);
                found = earned.map(|word| (way, word.load(Ordering::Relaxed)));
            }
        }
        if self.end_read(version) != 0 {
            return Err(Disturbed);
        }
        Ok(found)
    }

    /// Before a copy: the version, odd while a writer is in the set.
    #[inline(always)]
    fn begin_read(&self) -> u64 {
        // Acquire: what is copied after it is not older than what the version stands for.
        self.version.load(Ordering::Acquire)
    }

    /// After a copy: zero if all of it was of one version that no writer was making. What an odd
    /// version was is never seen again, so one comparison asks for both.
    #[inline(always)]
    fn end_read(&self, version: u64) -> u64 {
        // A copy that saw any word of a later writer sees that writer's odd version below: the
        // writer's release fence before its stores meets this acquire fence after the loads.
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) ^ (version & !1)
    }

    /// Counts a hit. Lossy; see [`super::heat`].
    #[inline(never)]
    pub(super) fn note_hit(&self, way: usize) {
        let heat = Heat::of(self.heat.load(Ordering::Relaxed));
        if heat.counts(way) {
            self.heat
                .store(heat.after_hit(way).word(), Ordering::Relaxed);
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
        self.store(way, (key.low, key.high), volume.term.word(), pack(found));
        Put::Stored
    }

    /// Zeroes the entry of `key`, of whatever epoch, so that no later mistake can find it again.
    /// Whether there was one. Only within [`Self::write`].
    pub(super) fn remove(&self, key: &LocalKey) -> bool {
        let Some(way) = self.way_of(key) else {
            return false;
        };
        self.store(way, (0, 0), 0, 0);
        let heat = Heat::of(self.heat.load(Ordering::Relaxed));
        let heat = heat.removed(way, print(key.low, key.high));
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
        home.is_some_and(|home| home.load(Ordering::Relaxed) == volume.term.word())
            && earned.is_some_and(|word| is_infected(word.load(Ordering::Relaxed)))
    }

    /// A way that is empty, or whose volume epoch is over.
    fn worthless(&self, volumes: &Volumes<'_>) -> Option<usize> {
        first_of(self.home.iter().map(|home| {
            let home = home.load(Ordering::Relaxed);
            !volumes.is_current(Term::of(home))
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
