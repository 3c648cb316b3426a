//! Who of a set stays: how often its entries were hit, and who asked for a place lately.
//!
//! One word a set. Readers write it without a lock, by a load and a store: what two of them, or
//! one and a writer, lose to each other is a hit that was not counted. Nothing but the choice of
//! a victim is ever read from it.
//!
//! * Each entry has a count of its hits, up to eight: a hit after that writes nothing. All counts
//!   are halved now and then.
//! * The last four that were turned out, turned away or taken out in use are remembered by eight
//!   bits of a hash and a count: of their hits, and of how often they came back in vain.
//! * A newcomer is turned away while the least used entry was hit more often than the newcomer
//!   came, but at most [`PATIENCE`] times. So a sweep over files that nobody uses turns out
//!   nothing that anybody uses, and what is wanted again gets in.
//!
//! The figures behind these numbers are in decision 0080.

use super::WAYS;

/// What a set remembers of use. Zero: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heat(u64);

/// The largest count. More would serve the choice a little and cost writes to shared lines.
const MOST: u64 = 8;
/// The bits of a count that is not the largest.
const FEW: u64 = MOST - 1;
const _: () = assert!(MOST.is_power_of_two() && MOST <= NIBBLE);
const NIBBLE: u64 = 15;
/// How often a newcomer comes before it is let in whoever is there.
const PATIENCE: u64 = 2;
/// A put that is a multiple of this among the writes to a set halves its counts; a power of two.
const AGE: u64 = 64;

/// In this order, the entries' and the remembered's first ones lowest: a bit for each entry whose
/// count is the largest, so that one look at it tells whether a hit is still counted; three bits
/// for the counts of the others; a nibble for the count of each that is remembered, the newest
/// first; a byte for its print.
const GHOSTS: usize = 4;
const FEW_SHIFT: u32 = WAYS as u32;
const COUNT_SHIFT: u32 = 16;
const PRINT_SHIFT: u32 = 32;

const _: () = assert!(WAYS == 4 && GHOSTS == 4);
const _: () = assert!(FEW_SHIFT + 3 * WAYS as u32 == COUNT_SHIFT && FEW == 0b111);

/// What becomes of a newcomer to a full set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    /// It takes this way, and starts with this count.
    Replace(usize, u64),
    /// All entries are used more.
    TurnedAway,
}

const fn few_shift(way: usize) -> u32 {
    FEW_SHIFT.saturating_add((way as u32 & 3).saturating_mul(3))
}

const fn ghost_shift(ghost: usize) -> u32 {
    COUNT_SHIFT.saturating_add((ghost as u32 & 3) << 2)
}

const fn print_shift(ghost: usize) -> u32 {
    PRINT_SHIFT.saturating_add((ghost as u32 & 3) << 3)
}

impl Heat {
    pub(super) const fn of(word: u64) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u64 {
        self.0
    }

    const fn count(self, way: usize) -> u64 {
        let most = (self.0 >> (way & 3)) & 1;
        (most << MOST.trailing_zeros()) | ((self.0 >> few_shift(way)) & FEW)
    }

    const fn with(self, way: usize, count: u64) -> Self {
        let count = if count > MOST { MOST } else { count };
        let (most, few) = (way & 3, few_shift(way));
        let rest = self.0 & !((1 << most) | (FEW << few));
        Self(rest | ((count / MOST) << most) | ((count & FEW) << few))
    }

    const fn came(self, ghost: usize) -> u64 {
        (self.0 >> ghost_shift(ghost)) & NIBBLE
    }

    const fn with_came(self, ghost: usize, count: u64) -> Self {
        let shift = ghost_shift(ghost);
        Self((self.0 & !(NIBBLE << shift)) | ((count & NIBBLE) << shift))
    }

    /// Whether a hit of this way, below [`WAYS`], is still counted.
    #[inline(always)]
    pub(super) const fn counts(self, way: usize) -> bool {
        (self.0 >> (way & 3)) & 1 == 0
    }

    /// After a hit of this way that [`Self::counts`].
    pub(super) const fn after_hit(self, way: usize) -> Self {
        let few = FEW << few_shift(way);
        if self.0 & few == few {
            Self((self.0 & !few) | (1 << (way & 3)))
        } else {
            Self(self.0.wrapping_add(1 << few_shift(way)))
        }
    }

    /// After this way was emptied. A file that changes is as much in use as before: it is
    /// remembered, if it was ever hit.
    pub(super) const fn removed(self, way: usize, print: u64) -> Self {
        let used = self.count(way);
        let rest = if used == 0 {
            self
        } else {
            self.remember(print, used)
        };
        rest.with(way, 0)
    }

    /// After a newcomer took a way that was free. `print` is one to 255.
    pub(super) fn welcome(self, way: usize, print: u64) -> Self {
        let (rest, came) = self.forget(print);
        rest.with(way, came)
    }

    /// Where a newcomer to a full set goes. `print` names a newcomer or an entry in eight bits,
    /// never zero; `hand` says which of equals goes.
    pub(super) fn admit(
        self,
        hand: u64,
        newcomer: u64,
        print_of: impl FnOnce(usize) -> u64,
    ) -> (Self, Admission) {
        let (rest, came) = self.forget(newcomer);
        let mut victim = (hand as usize) % WAYS;
        for step in 1..WAYS {
            let way = (hand as usize).wrapping_add(step) % WAYS;
            if rest.count(way) < rest.count(victim) {
                victim = way;
            }
        }
        let used = rest.count(victim);
        if used.min(PATIENCE) > came {
            return (rest.remember(newcomer, came), Admission::TurnedAway);
        }
        let after = rest.remember(print_of(victim), used).with(victim, came);
        (after, Admission::Replace(victim, came))
    }

    /// Halves all counts once in a while. `written` counts the writes to the set.
    pub(super) fn aged(self, written: u64) -> Self {
        if !written.is_multiple_of(AGE) {
            return self;
        }
        let entries = (0..WAYS).fold(self, |heat, way| heat.with(way, heat.count(way) >> 1));
        (0..GHOSTS).fold(entries, |heat, ghost| {
            heat.with_came(ghost, heat.came(ghost) >> 1)
        })
    }

    /// Takes a print out of those remembered. How often it came, this time counted: zero where
    /// it is not remembered.
    fn forget(self, print: u64) -> (Self, u64) {
        for ghost in 0..GHOSTS {
            let shift = print_shift(ghost);
            if (self.0 >> shift) & 0xff == print {
                let came = self.came(ghost).saturating_add(1).min(MOST);
                return (Self(self.with_came(ghost, 0).0 & !(0xff << shift)), came);
            }
        }
        (self, 0)
    }

    /// Remembers a print; the oldest one is forgotten.
    const fn remember(self, print: u64, count: u64) -> Self {
        let prints = ((self.0 >> PRINT_SHIFT) << 8) | (print & 0xff);
        let counts = (((self.0 >> COUNT_SHIFT) << 4) | count) & 0xffff;
        Self((prints << PRINT_SHIFT) | (counts << COUNT_SHIFT) | (self.0 & 0xffff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hot() -> Heat {
        (0..WAYS).fold(Heat::of(0), |heat, way| heat.with(way, 5))
    }

    #[test]
    fn a_sweep_turns_out_nothing_that_was_hit() {
        let mut heat = hot();
        for print in 1..250 {
            let (after, admission) = heat.admit(print, print, |_| 0xff);
            assert_eq!(admission, Admission::TurnedAway);
            heat = after;
        }
        assert_eq!(heat.word() & 0xffff, hot().word());
    }

    #[test]
    fn who_comes_back_is_let_in_the_third_time_at_the_latest() {
        let (heat, first) = hot().admit(0, 7, |_| 9);
        let (heat, second) = heat.admit(1, 7, |_| 9);
        let (heat, third) = heat.admit(2, 7, |_| 9);
        assert_eq!(first, Admission::TurnedAway);
        assert_eq!(second, Admission::TurnedAway);
        assert_eq!(third, Admission::Replace(2, 2));
        // Who had to go is remembered with its hits: it is back at once.
        let (_, again) = heat.admit(3, 9, |_| 1);
        assert_eq!(again, Admission::Replace(2, 6));
    }

    #[test]
    fn what_was_never_hit_gives_way_at_once() {
        let heat = hot().with(3, 0);
        assert_eq!(heat.admit(0, 7, |_| 9).1, Admission::Replace(3, 0));
    }

    #[test]
    fn counts_stop_at_eight_and_are_halved_together() {
        let mut heat = Heat::of(0);
        for hits in 0..8 {
            assert!(heat.counts(1));
            assert_eq!((heat.count(1), heat.count(0), heat.count(2)), (hits, 0, 0));
            heat = heat.after_hit(1);
        }
        assert!(!heat.counts(1) && heat.counts(0) && heat.counts(2));
        assert_eq!(heat.count(1), 8);
        let heat = heat.with(3, 5).remember(0xab, 6);
        assert_eq!(heat.aged(63), heat);
        let aged = heat.aged(64);
        assert_eq!([0, 1, 2, 3].map(|way| aged.count(way)), [0, 4, 0, 2]);
        assert_eq!(aged.forget(0xab).1, 4);
    }

    #[test]
    fn what_is_taken_out_in_use_comes_back_in_use() {
        let heat = hot().removed(2, 7);
        assert_eq!(heat.count(2), 0);
        assert_eq!(heat.welcome(2, 7).count(2), 6);
        assert_eq!(heat.welcome(2, 9).count(2), 0, "another one");
        let unused = Heat::of(0).removed(2, 7);
        assert_eq!(unused, Heat::of(0), "nothing worth remembering");
    }

    #[test]
    fn four_are_remembered_with_their_counts_and_each_is_forgotten_alone() {
        let used = (0..WAYS).fold(0, |used, n| Heat::of(used).with(n, 4 + n as u64).word());
        let four = (1..5).fold(Heat::of(used), |heat, n| heat.remember(0x11 * n, n));
        for n in 1..5 {
            let (rest, came) = four.forget(0x11 * n);
            assert_eq!(came, n + 1, "this time counted");
            assert_eq!(rest.forget(0x11 * n).1, 0, "forgotten");
            for other in (1..5).filter(|other| *other != n) {
                assert_eq!(rest.forget(0x11 * other).1, other + 1);
            }
            assert_eq!(rest.word() & 0xffff, used);
        }
        let fifth = four.remember(0x55, 5);
        let came = [1, 2, 3, 4, 5].map(|n| fifth.forget(0x11 * n).1);
        assert_eq!(came, [0, 3, 4, 5, 6], "the oldest had to go");
        assert_eq!(fifth.word() & 0xffff, used);
    }

    #[test]
    fn a_count_stays_within_its_place() {
        for (given, kept) in [(0, 0), (6, 6), (7, 7), (8, 8), (9, 8), (u64::MAX, 8)] {
            let heat = hot().with(1, given);
            assert_eq!([0, 1, 2, 3].map(|way| heat.count(way)), [5, kept, 5, 5]);
            assert_eq!(heat.word() >> COUNT_SHIFT, 0, "{given}");
        }
    }
}
