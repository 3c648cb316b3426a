//! The cache with its volumes alone: no changes, no tickets, no signatures of now.
//!
//! What the benches compare with other maps, and what model checkers and fuzzers drive where the
//! ledger's promises are not the question. The driver uses [`crate::ledger`].

use super::{Cache, Found, Put, SIGNATURE_END, Set};
use crate::change::LocalKey;
use crate::hash::Secret;
use crate::key::{Key, VolumeGuid};
use crate::sync::WriteToken;
use crate::verdict::Verdict;
use crate::volume::{Attached, VolumeRef, VolumeSlot, Volumes};

/// Verdicts by key.
pub struct PlainCache<'m> {
    cache: Cache<'m>,
    volumes: Volumes<'m>,
    secret: Secret,
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

    #[inline(always)]
    fn local(&self, key: &Key) -> Option<(LocalKey, VolumeRef)> {
        let volume = self.volumes.find(key.volume)?;
        let (low, high) = key.file.to_words();
        let hash = self.secret.file(volume.hash, key.file);
        let index = volume.term.index();
        let local = LocalKey {
            index,
            low,
            high,
            hash,
        };
        Some((local, volume))
    }

    /// The verdict of a key and the signature epoch that it was put in with. Any IRQL, no lock,
    /// no wait.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &Key) -> Option<(Verdict, u64)> {
        let (local, volume) = self.local(key)?;
        let found = self.cache.get(&local, volume)?;
        match found {
            Found::Verdict(verdict, signature) => Some((verdict, signature)),
            Found::Excluded(_) => None,
        }
    }

    /// Puts a verdict in, with a signature epoch below 2^30 - 1. Whether it is in: not on a
    /// volume that is not attached, and not while everything in its place is used more.
    pub fn put(&self, key: &Key, verdict: Verdict, signature: u64, token: &WriteToken<'_>) -> bool {
        let Some((local, volume)) = self.local(key) else {
            return false;
        };
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
        self.local(key)
            .is_some_and(|(local, _)| self.cache.remove(&local, token))
    }
}
