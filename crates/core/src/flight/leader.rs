//! The leaders' side of the table: take a flight, try one waiter's file object, publish.

use super::slots::State;
use super::{
    Attempt, FlightId, FlightSlot, FlightTable, Lead, Outcome, Published, Shares, Subject, WaiterId,
};
use crate::reason::Failure;

impl FlightTable<'_> {
    /// The oldest flight that may be led now, if any: one whose silo does not hold its share of
    /// leaders already, nor all slow silos together theirs, with a waiter whose deadline (units
    /// of 100 ns) has not passed and whose stream no other flight reads just now: it is taken when
    /// that one is over. The waiter cannot leave until [`Self::give_back`].
    ///
    /// Flights that somebody waits for come first. A scan at close comes before them only when an
    /// opener waits for its section to be gone, or its own time is up; and such scans leave some
    /// leaders to the openers in every case.
    pub fn take_next(&mut self, now: u64) -> Option<Lead> {
        self.now = self.now.max(now);
        let of_slow = Shares::slow(usize::from(self.shares.leaders));
        self.slow_led_enough = self.held_by_slow(|it| it.leaders) >= of_slow;
        if let Some(lead) = self.reap() {
            return Some(lead);
        }
        let at_close = self.flights.count_at_close(&[State::Leading]);
        let spare = at_close < self.shares.leaders_at_close();
        let late = if spare { now } else { 0 };
        let urgent = self.flights.live().find_map(|(index, slot)| {
            let waiter = self.ready(index, slot, now)?;
            if !self.is_urgent(index, late) {
                return None;
            }
            let stream = self.waiters.at(waiter)?.stream;
            let first = stream.and_then(|stream| self.flights.find_queued_reader(stream));
            self.leadable(first.unwrap_or(index), now)
        });
        let next = || {
            let mut live = self.flights.live();
            live.find_map(|(index, _)| self.leadable(index, now))
        };
        let (flight, waiter) = urgent.or_else(|| spare.then(next).flatten())?;
        self.accounts.add_leader(self.flights.at(flight)?.silo);
        self.flights.set_state(flight, State::Leading);
        self.begin_attempt(flight, waiter)
    }

    /// The leader has its section, or has failed to get it: the file object is not used any more.
    /// Wakes its opener if that wanted to leave, or has an outcome.
    pub fn give_back(&mut self, flight: FlightId, wake: &mut impl FnMut(usize)) {
        let Some(tried) = self.flights.led(flight).and_then(|slot| slot.tried) else {
            return;
        };
        if let Some(waiter) = self.waiters.get_mut(tried) {
            let was_lent = core::mem::replace(&mut waiter.lent, false);
            let wants = waiter.leaving || waiter.outcome().is_some();
            waiter.leaving = false;
            if was_lent && wants {
                wake(tried.index());
            }
        }
    }

    /// Called before the request goes to the service. False where the flight was killed: nothing
    /// is sent, and [`Self::publish`] follows.
    pub fn sending(&mut self, flight: FlightId) -> bool {
        if self.flights.led(flight).is_none_or(|slot| !slot.listed) {
            return false;
        }
        if let Some(slot) = self.flights.at_mut(flight.index) {
            slot.sent = true;
        }
        true
    }

    /// Whether the flight has not been killed.
    #[must_use]
    pub fn is_live(&self, flight: FlightId) -> bool {
        self.flights.led(flight).is_some_and(|slot| slot.listed)
    }

    /// Whether the opener whose file object is lent wants to go: a leader that reads through it for
    /// long gives it back.
    #[must_use]
    pub fn is_wanted_back(&self, flight: FlightId) -> bool {
        let tried = self.flights.led(flight).and_then(|slot| slot.tried);
        tried
            .and_then(|waiter| self.waiters.get(waiter))
            .is_some_and(|slot| slot.lent && slot.leaving)
    }

    /// The request of a killed flight that the service still works on, each once. A stop can
    /// overtake its scan on the way: the service remembers stops of requests that it never saw.
    pub fn take_stop(&mut self) -> Option<u64> {
        let (index, request) = self.flights.indices().find_map(|(index, slot)| {
            let wanted = slot.state == State::Leading && !slot.listed && slot.sent;
            if wanted && !slot.stop_told {
                Some((index, slot.request))
            } else {
                None
            }
        })?;
        self.flights.at_mut(index)?.stop_told = true;
        Some(request)
    }

    /// The end of an attempt. The place is free afterwards unless the answer is
    /// [`Published::Next`].
    pub fn publish(
        &mut self,
        flight: FlightId,
        attempt: Attempt,
        now: u64,
        wake: &mut impl FnMut(usize),
    ) -> Published {
        self.give_back(flight, wake);
        let Some(slot) = self.flights.led(flight) else {
            return Published::Dead;
        };
        let (silo, listed, tried) = (slot.silo, slot.listed, slot.tried);
        let late = now >= slot.deadline;
        self.now = self.now.max(now);
        // An opener may leave at its deadline before the leader sees that it has passed.
        let slow = match attempt {
            Attempt::Failed(Failure::TooSlow) => true,
            Attempt::Failed(_) | Attempt::Changed => late,
            Attempt::Verdict(_)
            | Attempt::Empty
            | Attempt::Excluded(_)
            | Attempt::FailedForAll(_) => false,
        };
        if slow
            && self
                .accounts
                .add_timeout(silo, now, self.shares.forgiven_after)
        {
            self.slowed = self.slowed.saturating_add(1);
        }
        let index = flight.index;
        if !listed {
            self.retire(index, silo);
            return Published::Dead;
        }
        let all = match attempt {
            Attempt::Verdict(verdict) => Outcome::Verdict(verdict),
            Attempt::FailedForAll(why) => Outcome::Failed(why),
            Attempt::Changed => Outcome::Again,
            Attempt::Empty => return self.one_tried(index, tried, Outcome::Empty, now, wake),
            Attempt::Excluded(by) => {
                return self.one_tried(index, tried, Outcome::Excluded(by), now, wake);
            }
            Attempt::Failed(why) => {
                return self.one_tried(index, tried, Outcome::Failed(why), now, wake);
            }
        };
        let told = self.end(index, all, wake);
        self.retire(index, silo);
        Published::Over(told)
    }

    /// An attempt that is over for the waiter that was tried; the next one is tried.
    fn one_tried(
        &mut self,
        flight: u16,
        tried: Option<WaiterId>,
        outcome: Outcome,
        now: u64,
        wake: &mut impl FnMut(usize),
    ) -> Published {
        let mut told = 0;
        if let Some(waiter) = tried
            && self
                .waiters
                .get(waiter)
                .is_some_and(|slot| slot.flight == flight)
        {
            told = self.tell(flight, waiter.index, outcome, wake);
        }
        if let Some(next) = self.willing(flight, now)
            && let Some(lead) = self.begin_attempt(flight, next)
        {
            return Published::Next(lead);
        }
        // Those that are left have passed their deadlines and are about to leave.
        let silo = self.flights.at(flight).map_or(0, |slot| slot.silo);
        told = told.saturating_add(self.end(flight, Outcome::Failed(Failure::TooSlow), wake));
        self.retire(flight, silo);
        Published::Over(told)
    }

    /// Lends the waiter's file object to the leader of `flight`.
    fn begin_attempt(&mut self, flight: u16, waiter: u16) -> Option<Lead> {
        self.last_request = self.last_request.wrapping_add(1).max(1);
        let request = self.last_request;
        let tried = self.waiters.id(waiter)?;
        let deadline = self.last_deadline(flight);
        let subject = self.flights.subject(flight)?;
        let owner = self.waiters.owner(waiter)?;
        let detached = self.waiters.is_detached(waiter);
        let slot = self.waiters.get_mut(tried)?;
        slot.lent = !detached;
        let (stream, cookie, silo) = (slot.stream, slot.cookie, slot.silo);
        if let Some(before) = self.flights.set_source(flight, stream, owner) {
            self.filter.remove(&Subject::Stream(before));
        }
        if let Some(stream) = stream {
            self.filter.add(&Subject::Stream(stream));
        }
        let place = self.flights.at_mut(flight)?;
        place.deadline = deadline;
        place.tried = Some(tried);
        place.request = request;
        place.sent = false;
        place.stop_told = false;
        let flight = self.flights.id(flight)?;
        Some(Lead {
            flight,
            request,
            subject,
            cookie,
            silo,
            deadline,
            detached,
            live: true,
        })
    }

    /// Whether somebody waits for it, or it had to be over at `late`.
    fn is_urgent(&self, flight: u16, late: u64) -> bool {
        self.waiting(flight).any(|waiter| {
            let slot = self.waiters.at(waiter);
            slot.is_some_and(|slot| !slot.detached || slot.deadline <= late)
        })
    }

    /// A flight that waits for a leader, its silo having one to spare: the waiter to be tried.
    fn ready(&self, index: u16, slot: &FlightSlot, now: u64) -> Option<u16> {
        if slot.state != State::Queued || self.is_led_enough(slot.silo) {
            return None;
        }
        self.willing(index, now)
    }

    /// A ready flight whose stream nobody else reads, with the waiter to be tried.
    fn leadable(&self, index: u16, now: u64) -> Option<(u16, u16)> {
        let waiter = self.ready(index, self.flights.at(index)?, now)?;
        (!self.must_wait(index, waiter)).then_some((index, waiter))
    }

    /// A killed scan at close, for its cookie.
    fn reap(&mut self) -> Option<Lead> {
        let (index, _) = self
            .flights
            .indices()
            .find(|(_, slot)| slot.state == State::Reap)?;
        let waiter = self.flights.first_waiter(index)?;
        let subject = self.flights.subject(index)?;
        let slot = self.waiters.at(waiter)?;
        let (cookie, deadline) = (slot.cookie, slot.deadline);
        let silo = self.flights.at(index)?.silo;
        self.detach(index, waiter);
        self.waiters.free(waiter);
        self.flights.set_state(index, State::Leading);
        self.accounts.add_leader(silo);
        let flight = self.flights.id(index)?;
        let detached = true;
        Some(Lead {
            flight,
            request: 0,
            subject,
            cookie,
            silo,
            deadline,
            detached,
            live: false,
        })
    }

    /// A leader is done with a flight that is not live any more.
    fn retire(&mut self, flight: u16, silo: u64) {
        self.accounts.drop_leader(silo);
        self.release(flight);
    }

    /// Whether the waiter's stream has a section already: another one cannot be made beside it. A
    /// scan at close has its own, and waits for none that is still queued.
    fn must_wait(&self, flight: u16, waiter: u16) -> bool {
        let Some(slot) = self.waiters.at(waiter) else {
            return false;
        };
        slot.stream.is_some_and(|stream| {
            self.flights
                .is_read_elsewhere(flight, stream, slot.detached)
        })
    }

    fn is_led_enough(&self, silo: u64) -> bool {
        if silo == 0 {
            return false;
        }
        let leaders = usize::from(self.shares.leaders);
        let account = self.accounts.get(silo);
        usize::from(account.leaders) >= self.shares.part(leaders)
            || (self.slow_led_enough && account.is_slow(self.now))
    }

    /// The flight's waiters in the order in which they came.
    fn waiting(&self, flight: u16) -> impl Iterator<Item = u16> {
        let mut at = self.flights.first_waiter(flight);
        let mut left = self.waiters.len();
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let waiter = at?;
            at = self.waiters.next(waiter);
            Some(waiter)
        })
    }

    /// The first waiter that still has time. A scan at close always has: it came first, and its
    /// cookie must reach a leader.
    fn willing(&self, flight: u16, now: u64) -> Option<u16> {
        self.waiting(flight).find(|waiter| {
            let slot = self.waiters.at(*waiter);
            slot.is_some_and(|slot| slot.deadline > now || slot.detached)
        })
    }

    /// The last deadline of those who wait.
    fn last_deadline(&self, flight: u16) -> u64 {
        let deadlines = self
            .waiting(flight)
            .filter_map(|waiter| self.waiters.at(waiter));
        deadlines.map(|slot| slot.deadline).max().unwrap_or(0)
    }
}
