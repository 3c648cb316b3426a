//! The volumes whose verdicts may be kept: each has a small index and an epoch.
//!
//! A cache entry names its volume by index and epoch. Epochs are never given twice, to any
//! volume, so an index can serve another volume later without its old entries ever matching.
//! Readers take no lock: the epoch is also the version by which they see whether the GUID that
//! they compared was replaced meanwhile. A volume whose place is taken goes into a later one,
//! so the table is full only when every slot has a live volume.

mod term;

pub(crate) use term::Term;
pub use term::VolumeRef;

use term::EPOCH_END;

use crate::hash::{Secret, place};
use crate::key::VolumeGuid;
use crate::sync::{AtomicU64, Ordering, WriteToken, WriterLock, fence};

/// Memory of one volume. Valid when all zero.
#[repr(C, align(64))]
#[derive(Default)]
pub struct VolumeSlot {
    /// A [`Term`]; zero while the slot is free, being written, hidden, or its GUID is not unique.
    term: AtomicU64,
    low: AtomicU64,
    high: AtomicU64,
    /// Live volumes with this GUID.
    live: AtomicU64,
    /// Changes under way that are counted against the whole volume.
    changing: AtomicU64,
    /// Twice the signature epoch of a proactive scan of the layers on it, and one once that has
    /// ended well; zero = none, or a file changed since without a verdict.
    covered: AtomicU64,
    /// Who hides the volume, and in the highest bit whether it is to be seen when nobody does.
    hidden: AtomicU64,
    /// How many slots further on a volume whose home this is was ever put. It never shrinks: a
    /// volume is never out of reach of its readers.
    reach: AtomicU64,
}

/// In [`VolumeSlot::hidden`]: the volume is unique, so that it gets an epoch when it is shown.
const UNIQUE: u64 = 1 << 63;

impl VolumeSlot {
    /// The volume's home, if the slot holds this GUID and nobody moves its epoch just now. A GUID
    /// that was attached before the caller began is not missed; one that is being put in or taken
    /// out may be.
    #[inline(always)]
    fn term_at_once(&self, low: u64, high: u64) -> Option<Term> {
        let term = self.term.load(Ordering::Acquire);
        let differs =
            (self.low.load(Ordering::Relaxed) ^ low) | (self.high.load(Ordering::Relaxed) ^ high);
        fence(Ordering::Acquire);
        let same = differs == 0 && self.term.load(Ordering::Relaxed) == term;
        (same && term != 0).then_some(Term::of(term))
    }

    /// The volume's home, if the slot holds this GUID. An epoch that moves meanwhile is read
    /// again, a few times: a volume whose epoch is moved without end is as good as none.
    #[inline]
    fn term_of(&self, low: u64, high: u64) -> Option<Term> {
        for _ in 0..4 {
            let term = self.term.load(Ordering::Acquire);
            if term == 0 {
                return None;
            }
            let same = self.low.load(Ordering::Relaxed) == low
                && self.high.load(Ordering::Relaxed) == high;
            fence(Ordering::Acquire);
            if self.term.load(Ordering::Relaxed) == term {
                return same.then_some(Term::of(term));
            }
        }
        None
    }
}

/// The mark of a proactive scan that runs. Signature epochs have 30 bits.
const fn begun(signature: u64) -> u64 {
    signature << 1
}

/// The mark of a proactive scan that has ended well.
const fn ended(signature: u64) -> u64 {
    begun(signature) | 1
}

/// What became of a volume that was attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attached {
    /// Its verdicts can be kept.
    Cacheable,
    /// Another live volume has the same GUID: neither is kept until both are gone.
    Duplicate,
    /// The table is full: its verdicts are not kept.
    Full,
}

/// The table.
pub(crate) struct Volumes<'m> {
    slots: &'m [VolumeSlot],
    secret: Secret,
    last_epoch: AtomicU64,
    lock: WriterLock,
}

impl<'m> Volumes<'m> {
    pub(crate) fn new(slots: &'m [VolumeSlot], secret: Secret) -> Self {
        Self {
            slots,
            secret,
            last_epoch: AtomicU64::new(0),
            lock: WriterLock::new(),
        }
    }

    /// The slots from a hash's home on, around the end: each with its index.
    fn slots_from(&self, hash: u64) -> impl Iterator<Item = (usize, &'m VolumeSlot)> {
        let home = self.home(hash);
        let (before, after) = self
            .slots
            .split_at_checked(home)
            .unwrap_or((&[], self.slots));
        let after = after.iter().enumerate();
        let after = after.map(move |(offset, slot)| (home.saturating_add(offset), slot));
        after.chain(before.iter().enumerate())
    }

    /// The index of the slot where a hash's volume is, unless that was taken when it came.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        place(hash, self.slots.len())
    }

    /// How many slots from the home on can hold a volume of this hash.
    fn reach(&self, hash: u64) -> usize {
        let further = self
            .slots
            .get(self.home(hash))
            .map_or(0, |slot| slot.reach.load(Ordering::Acquire));
        (further as usize).saturating_add(1)
    }

    /// The live, unique volume of this GUID. Any IRQL, no lock, no wait: it looks at one slot
    /// unless that was taken by another volume when this one came.
    #[inline(always)]
    pub(crate) fn find(&self, guid: VolumeGuid) -> Option<VolumeRef> {
        let (low, high) = guid.to_words();
        let hash = self.secret.volume(guid);
        let slot = self.slots.get(self.home(hash))?;
        match slot.term_at_once(low, high) {
            Some(term) => Some(VolumeRef { term, hash }),
            None => self.find_within_reach(low, high, hash),
        }
    }

    /// As [`Self::find`], in all slots within the reach of the home, and more patiently.
    #[inline(never)]
    fn find_within_reach(&self, low: u64, high: u64, hash: u64) -> Option<VolumeRef> {
        let mut slots = self.slots_from(hash).take(self.reach(hash));
        let term = slots.find_map(|(_, slot)| slot.term_of(low, high))?;
        Some(VolumeRef { term, hash })
    }

    /// As [`Self::find`], but misses no volume that is attached: neither one whose epoch is being
    /// moved nor one that is hidden now and may be shown while the change is still under way. For
    /// writers, who must not lose a change; what they do does not look at the epoch.
    pub(crate) fn find_sure(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Option<VolumeRef> {
        self.find(guid).or_else(|| {
            self.lock.with(token, || {
                let (index, slot) = self.occupied(guid)?;
                let term = match slot.term.load(Ordering::Relaxed) {
                    0 => Term::new(0, u16::try_from(index).ok()?),
                    word => Term::of(word),
                };
                let hash = self.secret.volume(guid);
                Some(VolumeRef { term, hash })
            })
        })
    }

    /// Whether `volume` is still in that epoch and nothing on it counts as changing wholesale.
    pub(crate) fn holds(&self, volume: VolumeRef) -> bool {
        self.slots
            .get(usize::from(volume.term.index()))
            .is_some_and(|slot| {
                slot.changing.load(Ordering::Acquire) == 0
                    && slot.term.load(Ordering::Acquire) == volume.term.word()
            })
    }

    /// Zero while `volume` is in the epoch in which it was found. Any IRQL, no lock.
    ///
    /// It need not be looked at before the entry is: an entry of this epoch went in while the epoch
    /// lasted, and one that had ended before the caller began is seen to have ended.
    #[inline(always)]
    pub(crate) fn moved(&self, volume: VolumeRef) -> Option<u64> {
        let slot = self.slots.get(usize::from(volume.term.index()))?;
        Some(slot.term.load(Ordering::Relaxed) ^ volume.term.word())
    }

    /// Whether a cache entry of this term can still be hit.
    pub(crate) fn is_current(&self, term: Term) -> bool {
        self.slots
            .get(usize::from(term.index()))
            .is_some_and(|slot| {
                slot.term.load(Ordering::Relaxed) == term.word() && term.word() != 0
            })
    }

    /// A term that was never given before, as a slot keeps it; none once all epochs are used up.
    fn next_term(&self, index: usize) -> u64 {
        let next = self
            .last_epoch
            .load(Ordering::Relaxed)
            .saturating_add(1)
            .min(EPOCH_END);
        self.last_epoch.store(next, Ordering::Relaxed);
        match u16::try_from(index) {
            Ok(index) if next < EPOCH_END => Term::new(next, index).word(),
            _ => 0,
        }
    }

    /// The slot that holds this GUID, unique or not. Under the lock.
    fn occupied(&self, guid: VolumeGuid) -> Option<(usize, &'m VolumeSlot)> {
        let (low, high) = guid.to_words();
        let hash = self.secret.volume(guid);
        let mut slots = self.slots_from(hash).take(self.reach(hash));
        slots.find(|(_, slot)| {
            slot.live.load(Ordering::Relaxed) != 0
                && slot.low.load(Ordering::Relaxed) == low
                && slot.high.load(Ordering::Relaxed) == high
        })
    }

    /// A free slot for this GUID, as near to its home as there is one, and preferably one that
    /// no late end of a change or of hiding still counts against. Readers find it from now on.
    fn take_free(&self, guid: VolumeGuid) -> Option<(usize, &'m VolumeSlot)> {
        let hash = self.secret.volume(guid);
        let free = |slot: &VolumeSlot| slot.live.load(Ordering::Relaxed) == 0;
        let clean = |slot: &VolumeSlot| {
            slot.changing.load(Ordering::Relaxed) == 0 && slot.hidden.load(Ordering::Relaxed) == 0
        };
        let slots = || self.slots_from(hash).enumerate();
        let (distance, (index, slot)) = slots()
            .find(|(_, (_, slot))| free(slot) && clean(slot))
            .or_else(|| slots().find(|(_, (_, slot))| free(slot)))?;
        let further = distance as u64;
        let home = self.slots.get(self.home(hash))?;
        if home.reach.load(Ordering::Relaxed) < further {
            home.reach.store(further, Ordering::Release);
        }
        Some((index, slot))
    }

    /// Gives the slot a new epoch, or none. Entries of the epoch before are void at once.
    fn move_epoch(&self, slot: &VolumeSlot, term: u64) {
        slot.covered.store(0, Ordering::Relaxed);
        slot.term.store(term, Ordering::Release);
    }

    pub(crate) fn attach(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Attached {
        self.lock.with(token, || {
            if let Some((_, slot)) = self.occupied(guid) {
                let live = slot.live.load(Ordering::Relaxed).saturating_add(1);
                slot.live.store(live, Ordering::Relaxed);
                slot.hidden.fetch_and(!UNIQUE, Ordering::Relaxed);
                self.move_epoch(slot, 0);
                return Attached::Duplicate;
            }
            let Some((index, slot)) = self.take_free(guid) else {
                return Attached::Full;
            };
            let (low, high) = guid.to_words();
            // There is no term here: a reader that saw the old one sees it gone.
            fence(Ordering::Release);
            slot.low.store(low, Ordering::Relaxed);
            slot.high.store(high, Ordering::Relaxed);
            slot.live.store(1, Ordering::Relaxed);
            if slot.hidden.load(Ordering::Relaxed) == 0 {
                self.move_epoch(slot, self.next_term(index));
            } else {
                slot.hidden.fetch_or(UNIQUE, Ordering::Relaxed);
            }
            Attached::Cacheable
        })
    }

    pub(crate) fn detach(&self, guid: VolumeGuid, token: &WriteToken<'_>) {
        self.lock.with(token, || {
            if let Some((_, slot)) = self.occupied(guid) {
                let live = slot.live.load(Ordering::Relaxed).saturating_sub(1);
                slot.live.store(live, Ordering::Relaxed);
                slot.hidden.fetch_and(!UNIQUE, Ordering::Relaxed);
                self.move_epoch(slot, 0);
            }
        });
    }

    /// The volume is not tracked until it is shown again: its files may change unseen. The index
    /// for [`Self::show`].
    pub(crate) fn hide(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Option<u16> {
        self.lock.with(token, || {
            let (index, slot) = self.occupied(guid)?;
            let index = u16::try_from(index).ok()?;
            let hidden = slot.hidden.load(Ordering::Relaxed);
            let unique = if slot.term.load(Ordering::Relaxed) == 0 {
                hidden & UNIQUE
            } else {
                UNIQUE
            };
            let hiders = (hidden & !UNIQUE).saturating_add(1);
            slot.hidden.store(unique | hiders, Ordering::Relaxed);
            self.move_epoch(slot, 0);
            Some(index)
        })
    }

    /// One less that hides the volume. As with changes, the count outlives the volume.
    pub(crate) fn show(&self, index: u16, token: &WriteToken<'_>) {
        self.lock.with(token, || {
            let Some(slot) = self.slots.get(usize::from(index)) else {
                return;
            };
            let hidden = slot.hidden.load(Ordering::Relaxed);
            let hiders = (hidden & !UNIQUE).saturating_sub(1);
            if hiders != 0 {
                slot.hidden
                    .store(hidden & UNIQUE | hiders, Ordering::Relaxed);
                return;
            }
            slot.hidden.store(0, Ordering::Relaxed);
            if hidden & UNIQUE != 0 {
                self.move_epoch(slot, self.next_term(usize::from(index)));
            }
        });
    }

    /// All verdicts of the volume are void. False where it is not tracked.
    pub(crate) fn bump(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> bool {
        self.lock.with(token, || match self.occupied(guid) {
            Some((index, slot)) if slot.term.load(Ordering::Relaxed) != 0 => {
                self.move_epoch(slot, self.next_term(index));
                true
            }
            _ => false,
        })
    }

    /// From now on the whole volume counts as changing. The index for [`Self::end_changing`].
    pub(crate) fn begin_changing(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Option<u16> {
        self.lock.with(token, || {
            let (index, slot) = self.occupied(guid)?;
            let changing = slot.changing.load(Ordering::Relaxed).saturating_add(1);
            // The epoch that follows publishes it; a volume without one has no tickets.
            slot.changing.store(changing, Ordering::Relaxed);
            if slot.term.load(Ordering::Relaxed) != 0 {
                self.move_epoch(slot, self.next_term(index));
            }
            u16::try_from(index).ok()
        })
    }

    /// One change less that is counted against the whole volume. The count outlives the volume,
    /// so that a late end cannot end another volume's change early.
    pub(crate) fn end_changing(&self, index: u16, token: &WriteToken<'_>) {
        self.lock.with(token, || {
            if let Some(slot) = self.slots.get(usize::from(index)) {
                let changing = slot.changing.load(Ordering::Relaxed).saturating_sub(1);
                slot.changing.store(changing, Ordering::Release);
            }
        });
    }

    /// A proactive scan of the volume's layers begins in this signature epoch.
    pub(crate) fn begin_cover(
        &self,
        guid: VolumeGuid,
        signature: u64,
        token: &WriteToken<'_>,
    ) -> bool {
        self.lock.with(token, || match self.occupied(guid) {
            Some((_, slot)) if slot.term.load(Ordering::Relaxed) != 0 => {
                slot.covered.store(begun(signature), Ordering::Release);
                true
            }
            _ => false,
        })
    }

    /// That scan has ended well: the layers are covered, unless it was withdrawn meanwhile.
    pub(crate) fn cover(&self, guid: VolumeGuid, signature: u64, token: &WriteToken<'_>) -> bool {
        self.lock.with(token, || match self.occupied(guid) {
            Some((_, slot))
                if slot.term.load(Ordering::Relaxed) != 0
                    && slot.covered.load(Ordering::Relaxed) == begun(signature) =>
            {
                slot.covered.store(ended(signature), Ordering::Release);
                true
            }
            _ => false,
        })
    }

    /// Withdraws what [`Self::begin_cover`] and [`Self::cover`] marked. Whether there was anything.
    pub(crate) fn uncover(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> bool {
        self.lock.with(token, || {
            self.occupied(guid).is_some_and(|(_, slot)| {
                let before = slot.covered.load(Ordering::Relaxed);
                slot.covered.store(0, Ordering::Release);
                before != 0
            })
        })
    }

    /// Whether a proactive scan of the volume's layers runs or has ended. No lock.
    pub(crate) fn is_cover_at_stake(&self, guid: VolumeGuid) -> bool {
        // A volume whose epoch just moves has lost its coverage by that.
        self.find(guid)
            .and_then(|volume| self.slots.get(usize::from(volume.term.index())))
            .is_some_and(|slot| slot.covered.load(Ordering::Acquire) != 0)
    }

    /// Whether the layers on the volume are covered in this signature epoch.
    pub(crate) fn covered(&self, guid: VolumeGuid, signature: u64) -> bool {
        let Some(volume) = self.find(guid) else {
            return false;
        };
        let Some(slot) = self.slots.get(usize::from(volume.term.index())) else {
            return false;
        };
        let covered = slot.covered.load(Ordering::Relaxed) == ended(signature) && signature != 0;
        fence(Ordering::Acquire);
        covered && slot.term.load(Ordering::Relaxed) == volume.term.word()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::term::{EPOCH_BITS, INDEX_BITS};
    use super::*;

    fn guid(low: u64, high: u64) -> Result<VolumeGuid, &'static str> {
        VolumeGuid::from_words(low, high).ok_or("no GUID")
    }

    /// One slot, which is the home of every GUID.
    fn story(
        tell: impl FnOnce(&Volumes<'_>, &VolumeSlot, &WriteToken<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let slots = [VolumeSlot::default()];
        let volumes = Volumes::new(&slots, Secret::new([1, 2, 3, 4]));
        let [slot] = &slots;
        tell(&volumes, slot, &WriteToken::promise_dispatch_level())
    }

    #[test]
    fn i2_one_look_finds_a_volume_by_its_whole_guid_alone() -> Result<(), &'static str> {
        story(|volumes, slot, token| {
            assert_eq!(volumes.attach(guid(5, 6)?, token), Attached::Cacheable);
            let found = volumes.find(guid(5, 6)?).map(|volume| volume.term);
            assert!(found.is_some());
            assert_eq!(slot.term_at_once(5, 6), found, "no second look is needed");
            // A bit more or less in either word, the same bits in both, the words exchanged.
            for (low, high) in [(5, 7), (5, 9), (5, 0), (4, 6), (10, 6), (6, 7), (6, 5)] {
                assert_eq!(volumes.find(guid(low, high)?), None, "{low} {high}");
                assert_eq!(volumes.find_sure(guid(low, high)?, token), None);
            }
            volumes.detach(guid(5, 6)?, token);
            assert_eq!(slot.term_at_once(5, 6), None);
            assert_eq!(slot.term_of(5, 6), None);
            Ok(())
        })
    }

    #[test]
    fn a_volume_that_is_not_seen_is_not_covered() -> Result<(), &'static str> {
        story(|volumes, _, token| {
            volumes.attach(guid(5, 6)?, token);
            let hidden = volumes.hide(guid(5, 6)?, token).ok_or("not hidden")?;
            assert!(!volumes.begin_cover(guid(5, 6)?, 1, token));
            assert!(!volumes.cover(guid(5, 6)?, 1, token));
            assert!(!volumes.bump(guid(5, 6)?, token));
            volumes.show(hidden, token);
            assert!(volumes.begin_cover(guid(5, 6)?, 1, token));
            assert!(volumes.cover(guid(5, 6)?, 1, token));
            assert!(volumes.bump(guid(5, 6)?, token));
            Ok(())
        })
    }

    #[test]
    fn i2_used_up_epochs_serve_nobody_ever_again() -> Result<(), &'static str> {
        story(|volumes, _, token| {
            let last = (1 << EPOCH_BITS) - 2;
            volumes.last_epoch.store(last - 1, Ordering::Relaxed);
            assert_eq!(volumes.attach(guid(5, 6)?, token), Attached::Cacheable);
            let found = volumes.find(guid(5, 6)?).map(|volume| volume.term);
            assert_eq!(
                found.map(|term| term.word() >> INDEX_BITS),
                Some(last),
                "the last one"
            );
            for _ in 0..3 {
                volumes.bump(guid(5, 6)?, token);
                assert_eq!(volumes.find(guid(5, 6)?), None);
                assert!(volumes.find_sure(guid(5, 6)?, token).is_some(), "changes");
            }
            Ok(())
        })
    }

    #[test]
    fn volumes_have_homes_of_their_own() -> Result<(), &'static str> {
        let slots: [VolumeSlot; 64] = core::array::from_fn(|_| VolumeSlot::default());
        let secret =
            Secret::new([3, 5, 7, 9].map(|odd: u64| odd.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let volumes = Volumes::new(&slots, secret);
        let mut homes = [0_u32; 64];
        for number in 1..=64 {
            let home = volumes.home(secret.volume(guid(number, 6)?));
            homes
                .get_mut(home)
                .into_iter()
                .for_each(|count| *count += 1);
        }
        assert_eq!(homes.iter().sum::<u32>(), 64);
        assert!(homes.iter().all(|count| *count < 16), "{homes:?}");
        Ok(())
    }

    /// What outlives a volume, the end of a change or of hiding, must not keep the next one out
    /// of the cache while another slot is free.
    #[test]
    fn a_volume_goes_where_no_late_end_counts_against_it() -> Result<(), &'static str> {
        let token = WriteToken::promise_dispatch_level();
        for number in 1..40 {
            for (changing, hidden) in [(true, false), (false, true), (true, true)] {
                let slots = [VolumeSlot::default(), VolumeSlot::default()];
                let volumes = Volumes::new(&slots, Secret::new([1, 2, 3, 4]));
                volumes.attach(guid(5, 6)?, &token);
                if changing {
                    volumes.begin_changing(guid(5, 6)?, &token);
                }
                if hidden {
                    volumes.hide(guid(5, 6)?, &token);
                }
                volumes.detach(guid(5, 6)?, &token);
                volumes.attach(guid(number, 9)?, &token);
                let found = volumes.find(guid(number, 9)?);
                assert!(
                    found.is_some_and(|volume| volumes.holds(volume)),
                    "{number}"
                );
            }
        }
        Ok(())
    }
}
