//! Keeps the copies of files that are being scanned within a stated amount of memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::EngineError;
use crate::worker::{FileCopy, Held, Placed};

/// An amount of memory that several scans share.
#[derive(Debug)]
pub(crate) struct Budget {
    whole: AtomicU64,
    taken: AtomicU64,
}

/// The copy of a file, and its part of the budget. Both go back when this is dropped.
#[derive(Debug)]
pub(crate) struct Copied {
    /// Goes before its part of the budget does.
    pub(crate) bytes: Placed,
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

/// The system has no memory for a copy: a failure of ours, whatever the file is.
pub(crate) fn no_memory(cause: &io::Error) -> EngineError {
    EngineError::Unavailable(format!(
        "the system has no memory for a copy of the file: {cause}"
    ))
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
            whole: AtomicU64::new(bytes),
            taken: AtomicU64::new(0),
        }
    }

    /// Makes it larger or smaller. What is taken already stays taken.
    pub(crate) fn resize(&self, bytes: u64) {
        self.whole.store(bytes, Ordering::Release);
    }

    /// Memory for a copy of `bytes`, which is to be filled. The budget comes first: without it the
    /// system would be asked for any size.
    pub(crate) fn room(self: &Arc<Self>, bytes: u64) -> Result<Copied, NoRoom> {
        self.room_or(bytes, |_| None)
    }

    /// The same, in what `hold` gives for so many bytes, if it gives anything.
    pub(crate) fn room_or(
        self: &Arc<Self>,
        bytes: u64,
        hold: impl FnOnce(usize) -> Option<Held>,
    ) -> Result<Copied, NoRoom> {
        let share = self.take(bytes).ok_or(NoRoom::Now)?;
        let size =
            usize::try_from(bytes).map_err(|_| NoRoom::AtAll(io::ErrorKind::OutOfMemory.into()))?;
        let bytes = match hold(size) {
            Some(held) => Placed::Kept(held),
            None => Placed::Own(FileCopy::new(size).map_err(NoRoom::AtAll)?),
        };
        Ok(Copied {
            bytes,
            _share: share,
        })
    }

    /// The bytes that are taken, and all that there are. The first are more where the budget was
    /// made smaller meanwhile.
    pub(crate) fn used(&self) -> (u64, u64) {
        let taken = self.taken.load(Ordering::Acquire);
        (taken, self.whole.load(Ordering::Acquire))
    }

    /// Takes `bytes`, or nothing when there are not so many left.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let whole = self.whole.load(Ordering::Acquire);
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                taken.checked_add(bytes).filter(|taken| *taken <= whole)
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
        self.budget.taken.fetch_sub(self.bytes, Ordering::AcqRel);
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

    #[test]
    fn a_budget_that_shrank_gives_nothing_until_enough_came_back() {
        let budget = Arc::new(Budget::new(10));
        let (large, small) = (budget.take(7), budget.take(3));
        budget.resize(5);
        drop(small);
        assert!(budget.take(1).is_none(), "seven of five are taken");
        drop(large);
        assert!(budget.take(6).is_none());
        let all = budget.take(5);
        assert!(all.is_some());
        budget.resize(6);
        assert!(budget.take(1).is_some());
    }
}
