//! A volume in one epoch of it, as entries and callers keep it.

/// Bits of an epoch in a [`Term`].
pub(super) const EPOCH_BITS: u32 = 48;
pub(super) const INDEX_BITS: u32 = 16;
const _: () = assert!(EPOCH_BITS + INDEX_BITS == u64::BITS);
/// An epoch that is never given: the counter is used up, and nothing is kept any more.
pub(super) const EPOCH_END: u64 = (1 << EPOCH_BITS) - 1;

/// A volume in one epoch of it: the epoch above the index. No other volume and no other epoch
/// ever has the same one. Without an epoch it matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Term(u64);

impl Term {
    pub(super) const fn new(epoch: u64, index: u16) -> Self {
        Self((epoch << INDEX_BITS) | index as u64)
    }

    /// As an entry keeps it.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// Of an entry's word.
    pub(crate) const fn of(word: u64) -> Self {
        Self(word)
    }

    /// Which volume.
    pub(crate) const fn index(self) -> u16 {
        self.0 as u16
    }
}

/// A volume as it was found: which one, in which epoch. Sixteen bytes that a caller may keep, so
/// that its next look-up need not search for the volume by its GUID. Each look-up asks whether the
/// epoch has moved since, so an old one is never wrong, only of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolumeRef {
    pub(crate) term: Term,
    /// Of its GUID; [`Secret::file`](crate::hash::Secret) goes on from it.
    pub(crate) hash: u64,
}
