//! Real-time sessions: each asks one provider for events and gets them through a buffer of its
//! own. A writer never waits for a session: what does not fit is lost, and counted.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Event;
use crate::layout::GUID;

/// Bytes of events that wait in one session: as many as Windows' own default of 16 buffers of
/// 64 KiB.
pub(super) const WAITING_BYTES_MAX: usize = 1 << 20;
/// Sessions at one time, as on Windows.
pub(super) const SESSIONS_MAX: usize = 64;
/// What an event takes of a session's buffer beside its bytes.
const OVERHEAD_BYTES: usize = 80;

/// What a session listens to.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The provider.
    pub provider: GUID,
    /// The most verbose level; 0 is for all.
    pub level: u8,
    /// An event with any of these keywords is wanted; 0 is for all.
    pub keywords: u64,
}

impl Wanted {
    /// Whether an event of this level and with these keywords is wanted. One without keywords is
    /// everybody's.
    pub(super) fn listens(&self, level: u8, keywords: u64) -> bool {
        let level_fits = self.level == 0 || level <= self.level;
        let kind_fits = self.keywords == 0 || keywords == 0 || self.keywords & keywords != 0;
        level_fits && kind_fits
    }
}

/// One session.
pub(super) struct Session {
    pub(super) wanted: Wanted,
    waiting: VecDeque<Arc<Event>>,
    bytes: usize,
    lost: u64,
}

/// What a session gives at one time.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Events, oldest first.
    pub events: Vec<Arc<Event>>,
    /// How many were lost since the last time.
    pub lost: u64,
}

impl Session {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            waiting: VecDeque::new(),
            bytes: 0,
            lost: 0,
        }
    }

    /// Takes an event in, or loses it. True where somebody may wait for it.
    pub(super) fn put(&mut self, event: &Arc<Event>) -> bool {
        let bytes = event.bytes() + OVERHEAD_BYTES;
        if self.bytes + bytes > WAITING_BYTES_MAX {
            self.lost += 1;
            return false;
        }
        self.bytes += bytes;
        self.waiting.push_back(Arc::clone(event));
        self.waiting.len() == 1
    }

    /// The oldest events, as many as `fits` lets through; nothing where there is nothing to tell.
    /// One that does not fit alone is lost.
    pub(super) fn take(&mut self, mut fits: impl FnMut(&Event) -> bool) -> Option<Taken> {
        let mut taken = Taken::default();
        while let Some(event) = self.waiting.front() {
            let fitted = fits(event);
            if !fitted && !taken.events.is_empty() {
                break;
            }
            self.bytes -= event.bytes() + OVERHEAD_BYTES;
            let event = self.waiting.pop_front();
            match event.filter(|_| fitted) {
                Some(event) => taken.events.push(event),
                None => self.lost += 1,
            }
        }
        taken.lost = std::mem::take(&mut self.lost);
        (!taken.events.is_empty() || taken.lost > 0).then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::EventDescriptor;
    use super::*;

    fn event(bytes: usize) -> Arc<Event> {
        Arc::new(Event {
            provider: GUID::default(),
            descriptor: EventDescriptor {
                id: 0,
                version: 0,
                channel: 11,
                level: 5,
                opcode: 0,
                task: 0,
                keyword: 2,
            },
            time: 0,
            metadata: vec![0; 10],
            values: vec![0; bytes],
        })
    }

    fn session() -> Session {
        Session::new(Wanted {
            provider: GUID::default(),
            level: 5,
            keywords: 2,
        })
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_oldest_stay() {
        let mut session = session();
        let one = event(10_000);
        for _ in 0..200 {
            session.put(&one);
        }
        let fit = WAITING_BYTES_MAX / (10_010 + OVERHEAD_BYTES);
        let taken = session.take(|_| true).unwrap();
        assert_eq!((taken.events.len(), taken.lost), (fit, 200 - fit as u64));
        assert!(session.take(|_| true).is_none());
        // There is room again.
        assert!(session.put(&one));
        assert!(!session.put(&one));
    }

    #[test]
    fn a_batch_ends_where_its_frame_is_full_and_what_fits_in_none_is_lost() {
        let mut session = session();
        for bytes in [10, 10, 10, 5_000, 10] {
            session.put(&event(bytes));
        }
        let mut batches = Vec::new();
        loop {
            let mut room = 100;
            let taken = session.take(|event| {
                let left = usize::checked_sub(room, event.bytes());
                room = left.unwrap_or(room);
                left.is_some()
            });
            let Some(taken) = taken else { break };
            batches.push((taken.events.len(), taken.lost));
        }
        assert_eq!(batches, [(3, 0), (1, 1)]);
    }

    #[test]
    fn level_and_keyword_choose() {
        let wanted = session().wanted;
        assert!(wanted.listens(5, 2) && wanted.listens(3, 6) && wanted.listens(5, 0));
        assert!(!wanted.listens(6, 2) && !wanted.listens(5, 1));
        let all = Wanted {
            level: 0,
            keywords: 0,
            ..wanted
        };
        assert!(all.listens(255, 1 << 63));
    }
}
