//! Who of a set stays: how often its entries were hit, and who asked for a place lately.
//!
//! One word a set. Readers write it without a lock, by a load and a store: what two of them, or
//! one and a writer, lose to each other is a hit that was not counted. Nothing but the choice of
//! a victim is ever read from it.
//!
//! * Each entry has a count of its hits, up to eight: a hit after that writes nothing. All counts
//!   are halved now and then.
//! * The last four that were turned out or turned away are remembered by eight bits of a hash and
//!   a count: of their hits, and of how often they came back in vain.
//! * A newcomer is turned away while the least used entry was hit more often than the newcomer
//!   came, but at most [`PATIENCE`] times. So a sweep over files that nobody uses turns out
//!   nothing that anybody uses, and what is wanted again gets in.
//!
//! The figures behind these numbers are in decision 0080.

use super::WAYS;

/// What a set remembers of use. Zero: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heat(u64);

/// The largest count: one bit, so that one look at it tells whether a hit is still counted. More
/// would serve the choice a little and cost writes to shared lines.
const MOST: u64 = 8;
const _: () = assert!(MOST.is_power_of_two() && MOST <= NIBBLE);
const NIBBLE: u64 = 15;
/// How often a newcomer comes before it is let in whoever is there.
const PATIENCE: u64 = 2;
/// A put that is a multiple of this among the writes to a set halves its counts; a power of two.
const AGE: u64 = 64;

/// Nibbles 0 to 3 are the entries' counts, 4 to 7 those of the remembered, and the upper half is
/// a byte for each of these, the newest lowest.
const GHOSTS: usize = 4;
const COUNT_SHIFT: u32 = 16;
const PRINT_SHIFT: u32 = 32;

const _: () = assert!(WAYS == 4 && GHOSTS == 4);

/// What becomes of a newcomer to a full set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    /// It takes this way, and starts with this count.
    Replace(usize, u64),
    /// All entries are used more.
    TurnedAway,
}

const fn nibble_shift(nibble: usize) -> u32 {
    // At most 15 nibbles: the shift fits.
    (nibble as u32 & 15) << 2
}

impl Heat {
    pub(super) const fn of(word: u64) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u64 {
        self.0
    }

    const fn count(self, way: usize) -> u64 {
        (self.0 >> nibble_shift(way)) & NIBBLE
    }

    const fn with(self, way: usize, count: u64) -> Self {
        let shift = nibble_shift(way);
        let count = if count > MOST { MOST } else { count };
        Self((self.0 & !(NIBBLE << shift)) | (count << shift))
    }

    /// After a hit of this way; `None` where nothing changes.
    pub(super) const fn after_hit(self, way: usize) -> Option<Self> {
        let shift = nibble_shift(way);
        if (self.0 >> (shift | MOST.trailing_zeros())) & 1 != 0 {
            return None;
        }
        Some(Self(self.0.wrapping_add(1 << shift)))
    }

    /// After this way was emptied or dropped.
    pub(super) const fn without(self, way: usize) -> Self {
        self.with(way, 0)
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
    pub(super) const fn aged(self, written: u64) -> Self {
        if !written.is_multiple_of(AGE) {
            return self;
        }
        let halved = (self.0 >> 1) & 0x7777_7777;
        Self((self.0 & (u64::MAX << PRINT_SHIFT)) | halved)
    }

    /// Takes a print out of those remembered. How often it came, this time counted: zero where
    /// it is not remembered.
    fn forget(self, print: u64) -> (Self, u64) {
        for ghost in 0..GHOSTS {
            let shift = PRINT_SHIFT.saturating_add((ghost as u32) << 3);
            if (self.0 >> shift) & 0xff == print {
                let at = ghost.saturating_add(WAYS);
                let came = self.count(at).saturating_add(1).min(MOST);
                return (Self(self.with(at, 0).0 & !(0xff << shift)), came);
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
        let heat = hot().without(3);
        assert_eq!(heat.admit(0, 7, |_| 9).1, Admission::Replace(3, 0));
    }

    #[test]
    fn counts_stop_at_eight_and_are_halved_together() {
        let mut heat = Heat::of(0);
        while let Some(after) = heat.after_hit(1) {
            heat = after;
        }
        assert_eq!(heat.word(), 0x80);
        let heat = heat.remember(0xab, 6);
        assert_eq!(heat.aged(63), heat);
        assert_eq!(heat.aged(64).word(), 0x0000_00ab_0003_0040);
        assert_eq!(heat.aged(64).forget(0xab).1, 4);
    }

    #[test]
    fn four_are_remembered_with_their_counts_and_each_is_forgotten_alone() {
        let used = 0x7654;
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
            assert_eq!(Heat::of(0).with(1, given).word(), kept << 4, "{given}");
        }
    }
}
