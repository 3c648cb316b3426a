//! The cache with its volumes alone: no changes, no tickets, no signatures of now.
//!
//! What the benches compare with other maps, and what model checkers and fuzzers drive where the
//! ledger's promises are not the question. The driver uses [`crate::ledger`].

use super::{Cache, Found, Put, SIGNATURE_END, Set, VERDICT_BITS, is_infected};
use crate::change::LocalKey;
use crate::hash::Secret;
use crate::key::{FileId, Key, VolumeGuid};
use crate::sync::WriteToken;
use crate::verdict::Verdict;
use crate::volume::{Attached, VolumeRef, VolumeSlot, Volumes};

/// Verdicts by key.
pub struct PlainCache<'m> {
    cache: Cache<'m>,
    volumes: Volumes<'m>,
    secret: Secret,
}

/// What is kept of a key, perhaps nothing. Whether anything is, no processor can guess: so that is
/// for the caller to ask, and need not cost a branch before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept(u32);

impl Kept {
    const NOTHING: Self = Self(0);

    /// The verdict. (Nothing here puts in that a file is excluded.)
    #[must_use]
    #[inline]
    pub const fn verdict(self) -> Option<Verdict> {
        match self.0 {
            0 => None,
            word if is_infected(word) => Some(Verdict::Infected),
            _ => Some(Verdict::Clean),
        }
    }

    /// The signature epoch of the verdict; zero where there is none.
    #[must_use]
    #[inline]
    pub const fn signature(self) -> u64 {
        (self.0 >> VERDICT_BITS) as u64
    }
}

impl<'m> PlainCache<'m> {
    /// A cache over zeroed memory.
    #[must_use]
    pub fn new(sets: &'m [Set], volumes: &'m [VolumeSlot], secret: Secret) -> Self {
        Self {
            cache: Cache::new(sets),
            volumes: Volumes::new(volumes, secret),
            secret,
        }
    }

    /// From now on the volume's verdicts are kept.
    pub fn attach(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Attached {
        self.volumes.attach(guid, token)
    }

    /// The end of what [`Self::attach`] began.
    pub fn detach(&self, guid: VolumeGuid, token: &WriteToken<'_>) {
        self.volumes.detach(guid, token);
    }

    /// All verdicts of the volume are void. O(1).
    pub fn bump(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> bool {
        self.volumes.bump(guid, token)
    }

    /// The volume, for [`Self::look_on`] and its like; `None` while its verdicts are not kept.
    #[must_use]
    #[inline]
    pub fn find(&self, guid: VolumeGuid) -> Option<VolumeRef> {
        self.volumes.find(guid)
    }

    #[inline(always)]
    fn local(&self, volume: VolumeRef, file: FileId) -> LocalKey {
        let (low, high) = file.to_words();
        LocalKey {
            index: volume.term.index(),
            low,
            high,
            hash: self.secret.file(volume.hash, file),
        }
    }

    #[inline(always)]
    fn word(
        &self,
        volume: VolumeRef,
        file: FileId,
        moved: impl Fn() -> Option<u64>,
    ) -> Option<Kept> {
        let word = self.cache.word(&self.local(volume, file), volume, moved)?;
        Some(Kept(word))
    }

    /// What is kept of a key. Any IRQL, no lock, no wait.
    #[must_use]
    #[inline]
    pub fn look(&self, key: &Key) -> Kept {
        self.find(key.volume)
            .and_then(|volume| self.word(volume, key.file, || Some(0)))
            .unwrap_or(Kept::NOTHING)
    }

    /// The same on a volume that was found before; nothing also if its epoch has moved since.
    #[must_use]
    #[inline]
    pub fn look_on(&self, volume: VolumeRef, file: FileId) -> Kept {
        self.word(volume, file, || self.volumes.moved(volume))
            .unwrap_or(Kept::NOTHING)
    }

    /// The verdict of a key and the signature epoch that it was put in with.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<(Verdict, u64)> {
        let kept = self.look(key);
        Some((kept.verdict()?, kept.signature()))
    }

    /// Puts a verdict in, with a signature epoch below 2^30 - 1. Whether it is in: not on a
    /// volume that is not attached, and not while everything in its place is used more.
    pub fn put(&self, key: &Key, verdict: Verdict, signature: u64, token: &WriteToken<'_>) -> bool {
        self.find(key.volume)
            .is_some_and(|volume| self.put_on(volume, key.file, verdict, signature, token))
    }

    /// The same on a volume that was found before; not if its epoch has moved since.
    pub fn put_on(
        &self,
        volume: VolumeRef,
        file: FileId,
        verdict: Verdict,
        signature: u64,
        token: &WriteToken<'_>,
    ) -> bool {
        let local = self.local(volume, file);
        let signature = signature.min(SIGNATURE_END.saturating_sub(1));
        let found = Found::Verdict(verdict, signature);
        let allowed = || self.volumes.holds(volume);
        let put = self
            .cache
            .put(&local, volume, found, &self.volumes, token, allowed);
        put == Put::Stored
    }

    /// Takes a key out. Whether it was in.
    pub fn remove(&self, key: &Key, token: &WriteToken<'_>) -> bool {
        self.find(key.volume)
            .is_some_and(|volume| self.remove_on(volume, key.file, token))
    }

    /// The same on a volume that was found before, of whatever epoch.
    pub fn remove_on(&self, volume: VolumeRef, file: FileId, token: &WriteToken<'_>) -> bool {
        self.cache.remove(&self.local(volume, file), token)
    }
}
