//! Under which signatures a verdict was earned.
//!
//! Epochs are the driver's own numbers: the service names its rule set by digest, and a new
//! digest or a new connection makes a new epoch, which makes every older verdict stale at once.
//! Epoch zero means that no service was ever there; nothing is earned in it.

use crate::cache::SIGNATURE_END;
use crate::sync::{AtomicU32, AtomicU64, Ordering, WriteToken, WriterLock};
use crate::wire::Digest;

/// The current epoch and the digest that it stands for.
pub(crate) struct Signatures {
    epoch: AtomicU64,
    /// When it began, in units of 100 ns.
    since: AtomicU64,
    digest: [AtomicU64; 4],
    /// Set once a stale verdict was used in this epoch.
    warm_wanted: AtomicU32,
    lock: WriterLock,
}

impl Signatures {
    pub(crate) fn new() -> Self {
        Self {
            epoch: AtomicU64::new(0),
            since: AtomicU64::new(0),
            digest: core::array::from_fn(|_| AtomicU64::new(0)),
            warm_wanted: AtomicU32::new(0),
            lock: WriterLock::new(),
        }
    }

    pub(crate) fn current(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }

    /// Names the rule set in use. A new epoch if it is another, or if `always`.
    pub(crate) fn announce(
        &self,
        digest: &Digest,
        always: bool,
        now: u64,
        token: &WriteToken<'_>,
    ) -> bool {
        self.lock.with(token, || {
            let epoch = self.epoch.load(Ordering::Relaxed);
            if epoch != 0 && !always && self.holds(digest) {
                return false;
            }
            for (word, bytes) in self.digest.iter().zip(words(digest)) {
                word.store(bytes, Ordering::Relaxed);
            }
            self.since.store(now, Ordering::Relaxed);
            self.warm_wanted.store(0, Ordering::Relaxed);
            let next = epoch.saturating_add(1).min(SIGNATURE_END);
            self.epoch.store(next, Ordering::Release);
            true
        })
    }

    /// Whether `epoch` is the current one and `digest` is its rule set.
    pub(crate) fn is_of(&self, epoch: u64, digest: &Digest, token: &WriteToken<'_>) -> bool {
        self.lock.with(token, || {
            epoch != 0
                && epoch != SIGNATURE_END
                && self.epoch.load(Ordering::Relaxed) == epoch
                && self.holds(digest)
        })
    }

    fn holds(&self, digest: &Digest) -> bool {
        self.digest
            .iter()
            .zip(words(digest))
            .all(|(word, bytes)| word.load(Ordering::Relaxed) == bytes)
    }

    /// Notes that a stale verdict was met. True the first time in an epoch.
    pub(crate) fn want_warm(&self) -> bool {
        self.warm_wanted.load(Ordering::Relaxed) == 0
            && self.warm_wanted.swap(1, Ordering::Relaxed) == 0
    }

    pub(crate) fn warm_wanted(&self) -> bool {
        self.warm_wanted.load(Ordering::Relaxed) != 0
    }
}

/// The digest as four words.
fn words(digest: &Digest) -> impl Iterator<Item = u64> + '_ {
    let (chunks, _) = digest.as_chunks::<8>();
    chunks.iter().map(|chunk| u64::from_le_bytes(*chunk))
}
