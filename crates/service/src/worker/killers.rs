//! Files that ended workers, remembered by their content until the next rule set.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Contents that are remembered; the oldest is forgotten for one more. Whoever makes so many files
/// that end workers has ended twice as many.
const REMEMBERED: usize = 1024;

/// A file's content: its size in bytes and its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) size: u64,
    pub(crate) hash: [u8; 32],
}

#[derive(Debug, Default)]
pub(super) struct Killers {
    known: Mutex<VecDeque<(Content, u32)>>,
}

impl Killers {
    /// Whether the hash of a file of this size is worth knowing.
    pub(super) fn may_know(&self, size: u64) -> bool {
        let known = self.known.lock();
        known.iter().any(|(content, _)| content.size == size)
    }

    /// How many workers ended in this content.
    pub(super) fn strikes(&self, content: &Content) -> u32 {
        let known = self.known.lock();
        let found = known.iter().find(|(other, _)| other == content);
        found.map_or(0, |(_, strikes)| *strikes)
    }

    /// One more worker ended in this content. Tells how many it were.
    pub(super) fn strike(&self, content: Content) -> u32 {
        let mut known = self.known.lock();
        if let Some((_, strikes)) = known.iter_mut().find(|(other, _)| *other == content) {
            *strikes = strikes.saturating_add(1);
            return *strikes;
        }
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back((content, 1));
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_go_with_the_content_and_the_oldest_is_forgotten() {
        let killers = Killers::default();
        let content = |size: u64, first: u8| Content {
            size,
            hash: [first; 32],
        };
        assert!(!killers.may_know(5));
        assert_eq!(killers.strike(content(5, 1)), 1);
        assert_eq!(killers.strike(content(5, 1)), 2);
        assert_eq!(killers.strike(content(5, 2)), 1, "the same size only");
        assert!(killers.may_know(5) && !killers.may_know(6));
        assert_eq!(killers.strikes(&content(5, 1)), 2);
        assert_eq!(killers.strikes(&content(6, 1)), 0);
        for size in 0..REMEMBERED as u64 {
            killers.strike(content(100 + size, 9));
        }
        assert!(!killers.may_know(5));
        assert_eq!(killers.known.lock().len(), REMEMBERED);
    }
}
