//! One scan for many openers.
//!
//! A *flight* is a scan that is wanted or running, for a key, or for a stream where there is no
//! key. Openers join it and wait; the driver's own threads lead. A change kills a flight: nobody
//! can join it from then on, its verdict reaches nobody, and its waiters start anew.
//!
//! The table is plain data behind `&mut self`: the driver keeps it in one spin lock, and a model
//! checker drives it directly. It holds no event and no pointer; it says whom to wake.

mod filter;
mod leader;
mod share;
mod slots;

pub use filter::FlightFilter;
pub use share::SiloAccount;
pub use slots::{FlightSlot, WaiterSlot};

use crate::key::Key;
use crate::reason::Failure;
use crate::stream::StreamId;
use crate::verdict::Verdict;
use share::Accounts;
use slots::{Flights, State, Waiters};

/// What a flight is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Subject {
    /// The file that holds the bytes.
    Key(Key),
    /// A stream without a key.
    Stream(StreamId),
}

/// An opener that wants a verdict, or a changed file that was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// What the flight is for.
    pub subject: Subject,
    /// The opened stream, whose changes kill a scan that reads through it.
    pub stream: Option<StreamId>,
    /// The silo that the open came from; zero for the host.
    pub silo: u64,
    /// The driver's number of the instance, for [`FlightTable::kill_owner`].
    pub owner: u64,
    /// The driver's own: how its leader finds the file object.
    pub cookie: u64,
    /// Until when the opener waits, in units of 100 ns.
    pub deadline: u64,
    /// Nobody waits: a scan at close. Its cookie is handed to a leader in every case, to be let
    /// go of.
    pub detached: bool,
    /// It joins nobody and is joined by nobody: what an earlier scan saw may be other bytes.
    pub alone: bool,
    /// The opened file's own key, by which all scans of its streams can be ended at once.
    pub file: Option<Key>,
}

/// A place in the table of waiters, valid until its result is taken or it leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaiterId {
    index: u16,
    generation: u32,
}

impl WaiterId {
    /// The index of the waiter's event in the driver's array.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// A flight that a leader has taken, valid until it is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlightId {
    index: u16,
    generation: u32,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// A scan of these bytes was already wanted; wait.
    Joined(WaiterId),
    /// A scan was queued; wake a leader, and wait.
    Started(WaiterId),
    /// A scan at close, and these bytes are already being scanned: nothing is kept.
    Needless,
    /// There is no place.
    Refused(Failure),
}

/// What a waiter gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A scan ended with this verdict.
    Verdict(Verdict),
    /// The file was empty.
    Empty,
    /// It could not be scanned with this waiter's file object.
    Failed(Failure),
    /// The bytes changed, or may have: look up and join anew, within the same deadline.
    Again,
}

/// How a leader's attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// A verdict for everybody.
    Verdict(Verdict),
    /// The file was empty, seen through this file object.
    Empty,
    /// A failure of this attempt: the next waiter's file object is tried.
    Failed(Failure),
    /// A failure that the others would meet, too: no service, unloading.
    FailedForAll(Failure),
    /// The ticket had died: everybody starts anew.
    Changed,
}

/// A flight in a leader's hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lead {
    /// The flight, for every later call.
    pub flight: FlightId,
    /// Names this attempt to the service; never zero, never used twice.
    pub request: u64,
    /// What it is for.
    pub subject: Subject,
    /// The cookie of the waiter whose file object is to be used.
    pub cookie: u64,
    /// That waiter's silo.
    pub silo: u64,
    /// The last deadline of all who wait, in units of 100 ns.
    pub deadline: u64,
    /// The cookie is that of a scan at close.
    pub detached: bool,
    /// False for a scan at close that was killed before it began: let go of the cookie, publish
    /// anything.
    pub live: bool,
}

/// What a leader does after it published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// The flight is over; this many waiters were told.
    Over(u16),
    /// The flight had been killed: the attempt reached nobody.
    Dead,
    /// The attempt failed for one; go on with the next one's file object.
    Next(Lead),
}

/// What a waiter learns that does not want to wait any longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// It is out.
    Gone,
    /// It is out, and was the last one: the scan is to be stopped; wake whoever sends stops.
    GoneAndStop,
    /// The outcome came in the meantime; it is out.
    Done(Outcome),
    /// A leader is using its file object just now: wait to be woken, then leave again.
    Lent,
}

/// The part of the table that one silo may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shares {
    /// Leaders of the driver.
    pub leaders: u16,
    /// Percent of flights, waiters and leaders that one silo may hold.
    pub percent: u8,
    /// How long a silo's scan that held a leader to its deadline counts against it, in units of
    /// 100 ns.
    pub forgiven_after: u64,
}

/// All flights and their waiters.
pub struct FlightTable<'m> {
    flights: Flights<'m>,
    waiters: Waiters<'m>,
    accounts: Accounts<'m>,
    filter: &'m FlightFilter,
    shares: Shares,
    last_request: u64,
    /// The time that a leader told last: at most a leader's idle sleep behind the clock.
    now: u64,
    /// Whether slow silos hold all the leaders that they may, as a leader asked for work.
    slow_led_enough: bool,
    /// Silos that became slow and were not asked for yet.
    slowed: u32,
    closed: bool,
}

impl<'m> FlightTable<'m> {
    /// A table over this memory. The slots must be fresh ([`FlightSlot::FREE`],
    /// [`WaiterSlot::FREE`], [`SiloAccount::FREE`]); at most 65,534 of each are used.
    #[must_use]
    pub fn new(
        flights: &'m mut [FlightSlot],
        waiters: &'m mut [WaiterSlot],
        accounts: &'m mut [SiloAccount],
        filter: &'m FlightFilter,
        shares: Shares,
    ) -> Self {
        Self {
            flights: Flights::new(flights),
            waiters: Waiters::new(waiters),
            accounts: Accounts::new(accounts),
            filter,
            shares,
            last_request: 0,
            now: 0,
            slow_led_enough: false,
            slowed: 0,
            closed: false,
        }
    }

    /// Joins the live flight of this subject, or starts one; who is alone always starts one. The
    /// caller clears the event of the waiter's index before it lets go of the lock.
    pub fn join_or_start(&mut self, request: &Request) -> Join {
        if self.closed {
            return Join::Refused(Failure::Unloading);
        }
        let live = self.flights.find_live(&request.subject);
        let live = live.filter(|_| !request.alone);
        if live.is_some() && request.detached {
            return Join::Needless;
        }
        if self.is_over_share(request, live.is_none()) || self.is_crowded(request) {
            return Join::Refused(Failure::ShareUsed);
        }
        let Some(waiter) = self.waiters.take(request) else {
            return Join::Refused(Failure::QueueFull);
        };
        let (flight, started) = match live {
            Some(flight) => (flight, false),
            None => match self.flights.take(request) {
                Some(flight) => (flight, true),
                None => {
                    self.waiters.free(waiter.index);
                    return Join::Refused(Failure::QueueFull);
                }
            },
        };
        self.accounts.add_waiter(request.silo);
        if started {
            self.accounts.add_flight(request.silo);
            self.filter.add(&request.subject);
        }
        self.attach(flight, waiter.index);
        if started {
            Join::Started(waiter)
        } else {
            Join::Joined(waiter)
        }
    }

    /// Takes the outcome of a waiter that was woken, and frees its place. `None` while there is
    /// none yet (a spurious wake), and for a place that is not this waiter's any more.
    pub fn take_outcome(&mut self, waiter: WaiterId) -> Option<Outcome> {
        let outcome = self.waiters.get(waiter)?.outcome()?;
        self.waiters.free(waiter.index);
        Some(outcome)
    }

    /// A waiter gives up: its deadline passed or it was cancelled.
    pub fn leave(&mut self, waiter: WaiterId) -> Left {
        let Some(slot) = self.waiters.get_mut(waiter) else {
            return Left::Gone;
        };
        if slot.lent {
            slot.leaving = true;
            return Left::Lent;
        }
        if let Some(outcome) = slot.outcome() {
            self.waiters.free(waiter.index);
            return Left::Done(outcome);
        }
        let flight = slot.flight;
        self.detach(flight, waiter.index);
        self.waiters.free(waiter.index);
        if self.flights.has_waiters(flight) {
            return Left::Gone;
        }
        match self.flights.state(flight) {
            State::Leading => {
                self.bury(flight);
                Left::GoneAndStop
            }
            _ => {
                self.bury(flight);
                self.release(flight);
                Left::Gone
            }
        }
    }

    /// The subject's bytes change: its flights die, and those that read through this stream.
    /// Their waiters are woken to start anew. How many flights died.
    pub fn kill(&mut self, subject: &Subject, wake: &mut impl FnMut(usize)) -> u16 {
        let mut killed = 0_u16;
        while let Some(flight) = self.flights.find_affected(subject) {
            self.end(flight, Outcome::Again, wake);
            killed = killed.saturating_add(1);
        }
        killed
    }

    /// The same for all streams of a file, also of those that have no key: what they show changes
    /// at once, and no operation tells of it.
    pub fn kill_file(&mut self, file: &Key, wake: &mut impl FnMut(usize)) -> u16 {
        let mut killed = 0_u16;
        while let Some(flight) = self.flights.find_of_file(file) {
            self.end(flight, Outcome::Again, wake);
            killed = killed.saturating_add(1);
        }
        killed
    }

    /// An instance goes away: its waiters fail, and flights that read through it die.
    pub fn kill_owner(&mut self, owner: u64, wake: &mut impl FnMut(usize)) {
        while let Some(waiter) = self.waiters.find_owned(owner) {
            self.fail_one(waiter, Failure::Unloading, wake);
        }
        while let Some(flight) = self.flights.find_led_through(owner) {
            self.end(flight, Outcome::Again, wake);
        }
    }

    /// The driver unloads, or the service is gone for good: everybody fails with `why` and, if
    /// `close`, nobody can join any more.
    pub fn fail_all(&mut self, why: Failure, close: bool, wake: &mut impl FnMut(usize)) {
        self.closed |= close;
        while let Some(flight) = self.flights.first_live() {
            self.end(flight, Outcome::Failed(why), wake);
        }
    }

    /// Changes the shares while running.
    pub fn set_shares(&mut self, shares: Shares) {
        self.shares = shares;
    }

    /// Whether a flight for this subject is live.
    #[must_use]
    pub fn has(&self, subject: &Subject) -> bool {
        self.flights.find_live(subject).is_some()
    }

    /// How many flights are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.flights.count_live()
    }

    /// Whether nothing is left: no flight in any state, no waiter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flights.all_free() && self.waiters.all_free()
    }

    /// How many silos became slow since this was asked last.
    pub fn take_slowed(&mut self) -> u32 {
        core::mem::take(&mut self.slowed)
    }

    /// What one silo holds now, and how often its scans were too slow.
    #[must_use]
    pub fn account(&self, silo: u64) -> SiloAccount {
        self.accounts.get(silo)
    }

    fn is_over_share(&self, request: &Request, starts: bool) -> bool {
        if request.silo == 0 {
            return false;
        }
        let account = self.accounts.get(request.silo);
        let part = |total: usize| self.shares.part(total);
        let (waiters, flights) = (self.waiters.len(), self.flights.len());
        usize::from(account.waiters) >= part(waiters)
            || (starts && usize::from(account.flights) >= part(flights))
            || (account.is_slow(self.now)
                && (self.held_by_slow(|it| it.waiters) >= Shares::slow(waiters)
                    || (starts && self.held_by_slow(|it| it.flights) >= Shares::slow(flights))))
            || !self.accounts.has_room(request.silo)
    }

    fn held_by_slow(&self, part: fn(&SiloAccount) -> u16) -> usize {
        self.accounts.held_by_slow(self.now, part)
    }

    /// Scans at close must not keep out those who wait: all of them leave a quarter of the places,
    /// and those of one silo half of its share.
    fn is_crowded(&self, request: &Request) -> bool {
        if !request.detached {
            return false;
        }
        let places = self.flights.len();
        let taken = [State::Queued, State::Leading, State::Reap];
        let account = self.accounts.get(request.silo);
        self.flights.count_at_close(&taken) >= places.saturating_sub(places / 4)
            || (request.silo != 0
                && usize::from(account.flights) >= self.shares.part(places).div_ceil(2))
    }

    /// Puts a waiter at the end of a flight's list.
    fn attach(&mut self, flight: u16, waiter: u16) {
        let last = self.flights.push_waiter(flight, waiter);
        self.waiters.link(waiter, flight, last);
    }

    /// Takes a waiter out of a flight's list and off its silo's account.
    fn detach(&mut self, flight: u16, waiter: u16) {
        let Some((previous, next, silo)) = self.waiters.unlink(waiter) else {
            return;
        };
        self.flights.fix_ends(flight, previous, next);
        self.accounts.drop_waiter(silo);
    }

    /// Takes a flight out of the live ones: nobody finds it any more.
    fn bury(&mut self, flight: u16) {
        if let Some((subject, source)) = self.flights.unlist(flight) {
            self.filter.remove(&subject);
            if let Some(source) = source {
                self.filter.remove(&Subject::Stream(source));
            }
        }
    }

    /// Frees the place of a flight that is not live.
    fn release(&mut self, flight: u16) {
        if let Some(silo) = self.flights.free(flight) {
            self.accounts.drop_flight(silo);
        }
    }

    /// Ends a live flight with one outcome for all; frees it unless a leader has it, or must
    /// still get it to let go of a cookie. How many were told.
    fn end(&mut self, flight: u16, outcome: Outcome, wake: &mut impl FnMut(usize)) -> u16 {
        self.bury(flight);
        let mut told = 0_u16;
        while let Some(waiter) = self.flights.first_waiter(flight) {
            if self.waiters.is_detached(waiter) && !self.flights.is_leading(flight) {
                return told.saturating_add(self.tell_after_first(flight, waiter, outcome, wake));
            }
            told = told.saturating_add(self.tell(flight, waiter, outcome, wake));
        }
        if !self.flights.is_leading(flight) {
            self.release(flight);
        }
        told
    }

    /// As [`Self::end`], but leaves the first waiter, a scan at close, for a leader to reap.
    fn tell_after_first(
        &mut self,
        flight: u16,
        first: u16,
        outcome: Outcome,
        wake: &mut impl FnMut(usize),
    ) -> u16 {
        let mut told = 0_u16;
        while let Some(waiter) = self.waiters.next(first) {
            told = told.saturating_add(self.tell(flight, waiter, outcome, wake));
        }
        self.flights.set_state(flight, State::Reap);
        told
    }

    /// Gives one waiter its outcome. One where somebody waits for it, else zero.
    fn tell(
        &mut self,
        flight: u16,
        waiter: u16,
        outcome: Outcome,
        wake: &mut impl FnMut(usize),
    ) -> u16 {
        self.detach(flight, waiter);
        if self.waiters.is_detached(waiter) {
            self.waiters.free(waiter);
            return 0;
        }
        self.waiters.set_outcome(waiter, outcome);
        wake(usize::from(waiter));
        1
    }

    /// Gives one waiting waiter a failure; its flight goes on for the others, if there are any.
    fn fail_one(&mut self, waiter: u16, why: Failure, wake: &mut impl FnMut(usize)) {
        let Some(flight) = self.waiters.flight_of(waiter) else {
            return;
        };
        self.tell(flight, waiter, Outcome::Failed(why), wake);
        if !self.flights.has_waiters(flight) {
            self.bury(flight);
            if !self.flights.is_leading(flight) {
                self.release(flight);
            }
        }
    }
}

impl Shares {
    /// This share of `total`, at least one.
    #[must_use]
    pub fn part(self, total: usize) -> usize {
        (total.saturating_mul(usize::from(self.percent)) / 100).max(1)
    }

    /// What all slow silos together may hold of `total`: the rest is the others', however many of
    /// them collude.
    const fn slow(total: usize) -> usize {
        if total < 4 { 1 } else { total / 2 }
    }

    /// How many leaders may be busy with scans that nobody waits for: all but a quarter, and at
    /// least one.
    fn leaders_at_close(self) -> usize {
        let leaders = usize::from(self.leaders);
        leaders.saturating_sub((leaders / 4).max(1)).max(1)
    }
}
