//! How scans end before their verdict: killed by a change, by an instance that goes, by unload.

use siloscan_core::flight::{Attempt, Outcome, Published, Subject};
use siloscan_core::reason::Failure;
use siloscan_core::stream::StreamId;

use super::{Group, World};
use crate::history::{SUBJECTS, subject};

impl World<'_> {
    pub(super) fn kill(&mut self, killed: Subject) {
        let affected: Vec<u64> = self
            .live()
            .filter(|id| self.is_affected(*id, &killed))
            .collect();
        if !affected.is_empty() {
            assert!(
                self.filter.may_have(&killed),
                "a change would not have looked"
            );
        }
        let mut woken = Vec::new();
        let count = self.table.kill(&killed, &mut |index| woken.push(index));
        assert_eq!(usize::from(count), affected.len());
        for group in affected {
            self.end(group, Outcome::Again);
        }
        self.wake(&woken);
    }

    fn is_affected(&self, id: u64, killed: &Subject) -> bool {
        let group = &self.groups[&id];
        if subject(group.subject) == *killed {
            return true;
        }
        let Subject::Stream(stream) = killed else {
            return false;
        };
        // The stream that it is read through just now.
        let led = self.leads.iter().any(|(_, other, _)| *other == id);
        led && self
            .source(group)
            .is_some_and(|(source, _)| source == stream.get())
    }

    /// Stream and owner of the opener that is tried; it may have left since.
    fn source(&self, group: &Group) -> Option<(u64, u64)> {
        self.sources.get(&group.tried?).copied()
    }

    pub(super) fn kill_owner(&mut self, owner: u64) {
        let mut woken = Vec::new();
        self.table.kill_owner(owner, &mut |index| woken.push(index));
        for waiter in self
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.owner == owner)
        {
            waiter.due = waiter.due.or(Some(Outcome::Failed(Failure::Unloading)));
        }
        let live: Vec<u64> = self.live().collect();
        for id in live {
            let group = &self.groups[&id];
            let led = self.leads.iter().any(|(_, other, _)| *other == id);
            let through = led && self.source(group).is_some_and(|(_, by)| by == owner);
            let at_close =
                group.tried.is_none() && group.detached.is_some_and(|(_, by, _)| by == owner);
            if through || at_close {
                self.end(id, Outcome::Again);
            }
        }
        let live: Vec<u64> = self.live().collect();
        for id in live {
            let left = self
                .waiters
                .iter()
                .any(|w| w.group == id && w.due.is_none());
            if !left && self.groups[&id].detached.is_none() {
                self.bury(id);
            }
        }
        self.wake(&woken);
    }

    /// Everybody in the group is due this outcome, and nobody finds it any more.
    pub(super) fn end(&mut self, group: u64, outcome: Outcome) {
        for waiter in self
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.group == group)
        {
            waiter.due = waiter.due.or(Some(outcome));
        }
        self.bury(group);
    }

    pub(super) fn bury(&mut self, id: u64) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.live = false;
        let lead = self.leads.iter().find(|(_, other, _)| *other == id);
        match lead {
            Some((lead, _, true)) => {
                self.stops_due.insert(lead.request);
            }
            Some(_) => {}
            None => {
                if let Some((cookie, ..)) = group.detached
                    && group.tried.is_none()
                {
                    self.reaped.insert(cookie);
                }
                self.groups.remove(&id);
            }
        }
    }

    /// The driver unloads: everybody is let go, and nothing is left (I4).
    pub fn finish(mut self) -> u64 {
        let mut woken = Vec::new();
        self.table
            .fail_all(Failure::Unloading, true, &mut |index| woken.push(index));
        let live: Vec<u64> = self.live().collect();
        for group in live {
            self.end(group, Outcome::Failed(Failure::Unloading));
        }
        self.wake(&woken);
        while !self.leads.is_empty() {
            self.publish(0, 0);
        }
        while let Some(lead) = self.table.take_next(self.now) {
            assert!(!lead.live, "a live scan after the end");
            assert!(self.reaped.remove(&lead.cookie));
            assert_eq!(
                self.table
                    .publish(lead.flight, Attempt::Changed, 0, &mut |_| {}),
                Published::Dead
            );
        }
        assert!(self.reaped.is_empty(), "a scan at close was lost");
        while !self.waiters.is_empty() {
            let before = self.waiters.len();
            self.collect(0);
            assert!(self.waiters.len() < before, "somebody waits for ever");
        }
        assert!(self.table.is_empty());
        for which in 0..SUBJECTS {
            assert!(!self.filter.may_have(&subject(which)));
        }
        for stream in 1..4 {
            assert!(
                !self
                    .filter
                    .may_have(&Subject::Stream(StreamId::new(stream).unwrap()))
            );
        }
        for silo in 1..4 {
            let account = self.table.account(silo);
            assert_eq!(
                (account.waiters, account.flights, account.leaders),
                (0, 0, 0)
            );
        }
        self.verdicts
    }
}
