//! Keeps the copies of files that are being scanned within a stated amount of memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::worker::FileCopy;

/// An amount of memory that several scans share.
#[derive(Debug)]
pub(crate) struct Budget {
    free: AtomicU64,
}

/// The copy of a file, and its part of the budget. Both go back when this is dropped.
#[derive(Debug)]
pub(crate) struct Copied {
    /// Goes before its part of the budget does.
    pub(crate) bytes: FileCopy,
    _share: Share,
}

/// Why there is no memory for a copy.
#[derive(Debug)]
pub(crate) enum NoRoom {
    /// Other copies have it.
    Now,
    /// The system has none.
    AtAll(io::Error),
}

/// A part of the budget; it goes back when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            free: AtomicU64::new(bytes),
        }
    }

    /// Memory for a copy of `bytes`, which is to be filled. The budget comes first: without it the
    /// system would be asked for any size.
    pub(crate) fn room(self: &Arc<Self>, bytes: u64) -> Result<Copied, NoRoom> {
        let share = self.take(bytes).ok_or(NoRoom::Now)?;
        let size =
            usize::try_from(bytes).map_err(|_| NoRoom::AtAll(io::ErrorKind::OutOfMemory.into()))?;
        let bytes = FileCopy::new(size).map_err(NoRoom::AtAll)?;
        Ok(Copied {
            bytes,
            _share: share,
        })
    }

    /// What is taken of a budget that had `all` bytes at its beginning.
    pub(crate) fn used(&self, all: u64) -> u64 {
        all.saturating_sub(self.free.load(Ordering::Acquire))
    }

    /// Takes `bytes`, or nothing when there are not so many left.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        self.free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| {
                free.checked_sub(bytes)
            })
            .ok()
            .map(|_| Share {
                budget: Arc::clone(self),
                bytes,
            })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back() {
        let budget = Arc::new(Budget::new(10));
        let first = budget.take(7);
        assert!(first.is_some());
        assert!(budget.take(4).is_none());
        let second = budget.take(3);
        assert!(second.is_some());
        drop(first);
        assert!(budget.take(7).is_some());
    }
}
