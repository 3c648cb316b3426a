//! The volumes whose verdicts may be kept: each has a small index and an epoch.
//!
//! A cache entry names its volume by index and epoch. Epochs are never given twice, to any
//! volume, so an index can serve another volume later without its old entries ever matching.
//! Readers take no lock: the epoch is also the version by which they see whether the GUID that
//! they compared was replaced meanwhile.

use crate::hash::{Secret, place};
use crate::key::VolumeGuid;
use crate::sync::{AtomicU64, Ordering, WriteToken, WriterLock, fence};

/// Slots that one GUID can fall into.
const BUCKET: usize = 16;
/// Cache entries keep this many bits of an epoch.
pub(crate) const EPOCH_BITS: u32 = 48;
/// An epoch that is never given: the counter is used up, and nothing matches any more.
const EPOCH_END: u64 = (1 << EPOCH_BITS) - 1;

/// Memory of one volume. Valid when all zero.
#[repr(C, align(64))]
#[derive(Default)]
pub struct VolumeSlot {
    /// The epoch; zero while the slot is free, being written, or its GUID is not unique.
    epoch: AtomicU64,
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
}

/// In [`VolumeSlot::hidden`]: the volume is unique, so that it gets an epoch when it is shown.
const UNIQUE: u64 = 1 << 63;

impl VolumeSlot {
    /// The slot's epoch, if it holds this GUID. An epoch that moves meanwhile is read again, a
    /// few times: a volume whose epoch is moved without end is as good as none.
    fn epoch_of(&self, low: u64, high: u64) -> Option<u64> {
        for _ in 0..4 {
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch == 0 || epoch == EPOCH_END {
                return None;
            }
            let same = self.low.load(Ordering::Relaxed) == low
                && self.high.load(Ordering::Relaxed) == high;
            fence(Ordering::Acquire);
            if self.epoch.load(Ordering::Relaxed) == epoch {
                return if same { Some(epoch) } else { None };
            }
        }
        None
    }
}

/// The mark of a proactive scan that runs. Signature epochs have 60 bits at most.
const fn begun(signature: u64) -> u64 {
    signature << 1
}

/// The mark of a proactive scan that has ended well.
const fn ended(signature: u64) -> u64 {
    begun(signature) | 1
}

/// A volume as a look-up sees it: which one, and in which epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct VolumeRef {
    pub(crate) index: u16,
    pub(crate) epoch: u64,
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

    /// The slots that `guid` can be in, with the index of the first.
    fn bucket(&self, guid: VolumeGuid) -> (usize, &'m [VolumeSlot]) {
        let (low, high) = guid.to_words();
        let (buckets, rest) = self.slots.as_chunks::<BUCKET>();
        if buckets.is_empty() {
            return (0, rest);
        }
        let which = place(self.secret.hash(low, high, 0), buckets.len());
        let slots = buckets.get(which).map_or(rest, |bucket| bucket.as_slice());
        (which.saturating_mul(BUCKET), slots)
    }

    /// The live, unique volume of this GUID. Any IRQL, no lock, no wait.
    pub(crate) fn find(&self, guid: VolumeGuid) -> Option<VolumeRef> {
        let (low, high) = guid.to_words();
        let (first, slots) = self.bucket(guid);
        for (offset, slot) in slots.iter().enumerate() {
            if let Some(epoch) = slot.epoch_of(low, high) {
                let index = u16::try_from(first.saturating_add(offset)).ok()?;
                return Some(VolumeRef { index, epoch });
            }
        }
        None
    }

    /// As [`Self::find`], but never misses a tracked volume whose epoch is being moved: for
    /// writers, who must not lose a change.
    pub(crate) fn find_sure(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Option<VolumeRef> {
        self.find(guid).or_else(|| {
            self.lock.with(token, || {
                let (index, slot) = self.occupied(guid)?;
                let epoch = slot.epoch.load(Ordering::Relaxed);
                let index = u16::try_from(index).ok()?;
                if epoch == 0 {
                    None
                } else {
                    Some(VolumeRef { index, epoch })
                }
            })
        })
    }

    /// Whether `volume` is still in that epoch and nothing on it counts as changing wholesale.
    pub(crate) fn holds(&self, volume: VolumeRef) -> bool {
        self.slots
            .get(usize::from(volume.index))
            .is_some_and(|slot| {
                slot.changing.load(Ordering::Acquire) == 0
                    && slot.epoch.load(Ordering::Acquire) == volume.epoch
            })
    }

    /// Whether a cache entry of this index and epoch can still be hit.
    pub(crate) fn is_current(&self, index: u16, epoch: u64) -> bool {
        self.slots
            .get(usize::from(index))
            .is_some_and(|slot| slot.epoch.load(Ordering::Relaxed) == epoch && epoch != 0)
    }

    /// An epoch that was never given before; the end is given again and again and matches none.
    fn next_epoch(&self) -> u64 {
        let next = self
            .last_epoch
            .load(Ordering::Relaxed)
            .saturating_add(1)
            .min(EPOCH_END);
        self.last_epoch.store(next, Ordering::Relaxed);
        next
    }

    /// The slot that holds this GUID, unique or not. Under the lock.
    fn occupied(&self, guid: VolumeGuid) -> Option<(usize, &'m VolumeSlot)> {
        let (low, high) = guid.to_words();
        let (first, slots) = self.bucket(guid);
        let found = slots.iter().enumerate().find(|(_, slot)| {
            slot.live.load(Ordering::Relaxed) != 0
                && slot.low.load(Ordering::Relaxed) == low
                && slot.high.load(Ordering::Relaxed) == high
        })?;
        Some((first.saturating_add(found.0), found.1))
    }

    /// Gives the slot a new epoch, or none. Entries of the epoch before are void at once.
    fn move_epoch(&self, slot: &VolumeSlot, epoch: u64) {
        slot.covered.store(0, Ordering::Relaxed);
        slot.epoch.store(epoch, Ordering::Release);
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
            let (_, slots) = self.bucket(guid);
            let Some(slot) = slots
                .iter()
                .find(|slot| slot.live.load(Ordering::Relaxed) == 0)
            else {
                return Attached::Full;
            };
            let (low, high) = guid.to_words();
            // The epoch is zero here: a reader that saw the old one sees it gone.
            fence(Ordering::Release);
            slot.low.store(low, Ordering::Relaxed);
            slot.high.store(high, Ordering::Relaxed);
            slot.live.store(1, Ordering::Relaxed);
            if slot.hidden.load(Ordering::Relaxed) == 0 {
                self.move_epoch(slot, self.next_epoch());
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
            let unique = if slot.epoch.load(Ordering::Relaxed) == 0 {
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
                self.move_epoch(slot, self.next_epoch());
            }
        });
    }

    /// All verdicts of the volume are void. False where it is not tracked.
    pub(crate) fn bump(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> bool {
        self.lock.with(token, || match self.occupied(guid) {
            Some((_, slot)) if slot.epoch.load(Ordering::Relaxed) != 0 => {
                self.move_epoch(slot, self.next_epoch());
                true
            }
            _ => false,
        })
    }

    /// From now on the whole volume counts as changing. The index for [`Self::end_changing`].
    pub(crate) fn begin_changing(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Option<u16> {
        self.lock.with(token, || {
            let (index, slot) = self.occupied(guid)?;
            let index = u16::try_from(index).ok()?;
            let changing = slot.changing.load(Ordering::Relaxed).saturating_add(1);
            slot.changing.store(changing, Ordering::Release);
            if slot.epoch.load(Ordering::Relaxed) != 0 {
                self.move_epoch(slot, self.next_epoch());
            }
            Some(index)
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
            Some((_, slot)) if slot.epoch.load(Ordering::Relaxed) != 0 => {
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
                if slot.epoch.load(Ordering::Relaxed) != 0
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
            .and_then(|volume| self.slots.get(usize::from(volume.index)))
            .is_some_and(|slot| slot.covered.load(Ordering::Acquire) != 0)
    }

    /// Whether the layers on the volume are covered in this signature epoch.
    pub(crate) fn covered(&self, guid: VolumeGuid, signature: u64) -> bool {
        let Some(volume) = self.find(guid) else {
            return false;
        };
        let Some(slot) = self.slots.get(usize::from(volume.index)) else {
            return false;
        };
        let covered = slot.covered.load(Ordering::Acquire) == ended(signature) && signature != 0;
        fence(Ordering::Acquire);
        covered && slot.epoch.load(Ordering::Relaxed) == volume.epoch
    }
}
