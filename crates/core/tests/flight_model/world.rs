//! The model: who waits for what, and what each of them must get.

mod end;

use siloscan_core::flight::{
    Attempt, FlightFilter, FlightTable, Join, Lead, Left, Outcome, Published, Request, Shares,
    Subject, WaiterId,
};
use siloscan_core::reason::Failure;
use siloscan_core::stream::StreamId;
use siloscan_core::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

use crate::history::{self, FLIGHTS, Op, WAITERS, subject};

/// What the model knows of one waiter.
#[derive(Clone, Debug)]
struct Waiter {
    id: WaiterId,
    group: u64,
    silo: u64,
    owner: u64,
    deadline: u64,
    cookie: u64,
    lent: bool,
    woken: bool,
    /// What it must get; `None` while it must wait.
    due: Option<Outcome>,
}

/// What the model knows of one scan that is wanted or running.
#[derive(Clone, Debug)]
struct Group {
    subject: u64,
    live: bool,
    /// The cookie of the opener that is tried.
    tried: Option<u64>,
    /// A scan at close that began it.
    detached: Option<(u64, u64, u64)>,
}

/// The table under test, beside what the model knows of it.
pub struct World<'m> {
    table: FlightTable<'m>,
    filter: &'m FlightFilter,
    shares: Shares,
    now: u64,
    cookies: u64,
    groups: BTreeMap<u64, Group>,
    waiters: Vec<Waiter>,
    leads: Vec<(Lead, u64, bool)>,
    /// Stream and owner by cookie.
    sources: BTreeMap<u64, (u64, u64)>,
    requests: BTreeSet<u64>,
    stops_due: BTreeSet<u64>,
    reaped: BTreeSet<u64>,
    verdicts: u64,
}

impl<'m> World<'m> {
    pub fn new(table: FlightTable<'m>, filter: &'m FlightFilter, shares: Shares) -> Self {
        Self {
            table,
            filter,
            shares,
            now: 1,
            cookies: 0,
            groups: BTreeMap::new(),
            waiters: Vec::new(),
            leads: Vec::new(),
            sources: BTreeMap::new(),
            requests: BTreeSet::new(),
            stops_due: BTreeSet::new(),
            reaped: BTreeSet::new(),
            verdicts: 0,
        }
    }

    pub fn step(&mut self, op: &Op) {
        match *op {
            Op::Join {
                subject,
                stream,
                silo,
                owner,
                time,
                detached,
            } => {
                let cookie = self.cookies + 1;
                let request = Request {
                    subject: history::subject(subject),
                    stream: StreamId::new(stream),
                    silo,
                    owner,
                    cookie,
                    deadline: self.now + time,
                    detached,
                    alone: false,
                    file: None,
                };
                self.cookies = cookie;
                self.join(subject, stream, &request);
            }
            Op::Take => self.take(),
            Op::GiveBack(which) => self.give_back(which),
            Op::Send(which) => {
                if let Some((lead, group, sent)) = pick(&mut self.leads, which) {
                    let live = self.table.sending(lead.flight);
                    let group = self.groups.get(group);
                    assert_eq!(live, lead.live && group.is_some_and(|group| group.live));
                    *sent = live;
                }
            }
            Op::Publish(which, end) => self.publish(which, end),
            Op::Leave(which) => self.leave(which),
            Op::Collect(which) => self.collect(which),
            Op::Kill(which) => self.kill(subject(which)),
            Op::KillStream(stream) => {
                self.kill(Subject::Stream(StreamId::new(stream).unwrap()));
            }
            Op::KillOwner(owner) => self.kill_owner(owner),
            Op::FailAll => {
                let mut woken = Vec::new();
                self.table
                    .fail_all(Failure::NoService, false, &mut |index| woken.push(index));
                let live: Vec<u64> = self.live().collect();
                for group in live {
                    self.end(group, Outcome::Failed(Failure::NoService));
                }
                self.wake(&woken);
            }
            Op::Stop => {
                while let Some(request) = self.table.take_stop() {
                    assert!(self.stops_due.remove(&request), "a stop that nobody owes");
                }
                assert!(self.stops_due.is_empty(), "stops that were not told");
            }
            Op::Pass(time) => self.now += time,
        }
        self.check();
    }

    fn live(&self) -> impl Iterator<Item = u64> {
        self.groups
            .iter()
            .filter(|(_, group)| group.live)
            .map(|(id, _)| *id)
    }

    fn group_of(&self, subject: u64) -> Option<u64> {
        self.live().find(|id| self.groups[id].subject == subject)
    }

    fn join(&mut self, subject: u64, stream: u64, request: &Request) {
        self.sources.insert(request.cookie, (stream, request.owner));
        let before = self.group_of(subject);
        let (id, group) = match self.table.join_or_start(request) {
            Join::Joined(id) => (id, before.expect("joined what is not live")),
            Join::Started(id) => {
                assert_eq!(before, None, "I6: a second live scan");
                let group = self.cookies;
                let detached =
                    request
                        .detached
                        .then_some((request.cookie, request.owner, request.deadline));
                self.groups.insert(
                    group,
                    Group {
                        subject,
                        live: true,
                        tried: None,
                        detached,
                    },
                );
                (id, group)
            }
            Join::Needless => {
                assert!(request.detached && before.is_some());
                return;
            }
            Join::Refused(_) => return,
        };
        assert!(id.index() < WAITERS);
        if !request.detached {
            self.waiters.push(Waiter {
                id,
                group,
                silo: request.silo,
                owner: request.owner,
                deadline: request.deadline,
                cookie: request.cookie,
                lent: false,
                woken: false,
                due: None,
            });
        }
    }

    fn take(&mut self) {
        let Some(lead) = self.table.take_next(self.now) else {
            return;
        };
        let Some(group) = self.lead(&lead) else {
            return;
        };
        let led = self
            .leads
            .iter()
            .filter(|(_, other, _)| *other == group)
            .count();
        assert_eq!(led, 0, "I6: two leaders for one scan");
        let stream = |lead: &Lead| self.sources.get(&lead.cookie).map(|source| source.0);
        let beside = self
            .leads
            .iter()
            .filter(|(other, ..)| stream(other) == stream(&lead));
        assert_eq!(beside.count(), 0, "two sections of one stream");
        self.leads.push((lead, group, false));
    }

    /// Takes note of an attempt; the group that it is for. A reaped scan at close has none.
    fn lead(&mut self, lead: &Lead) -> Option<u64> {
        if !lead.live {
            assert!(
                self.reaped.remove(&lead.cookie),
                "reaped what was not killed"
            );
            self.leads.push((*lead, 0, false));
            return None;
        }
        assert!(
            self.requests.insert(lead.request) && lead.request != 0,
            "a request used twice"
        );
        let now = self.now;
        let group = if lead.detached {
            let found = self.groups.iter().find(|(_, group)| {
                group.live
                    && group
                        .detached
                        .is_some_and(|(cookie, ..)| cookie == lead.cookie)
            });
            *found.expect("a scan at close that nobody wants").0
        } else {
            let waiter = self
                .waiters
                .iter_mut()
                .find(|waiter| waiter.cookie == lead.cookie);
            let waiter = waiter.expect("the file object of somebody who left");
            assert!(waiter.due.is_none() && waiter.deadline > now);
            waiter.lent = true;
            waiter.group
        };
        let entry = self.groups.get_mut(&group).unwrap();
        assert!(entry.live && lead.subject == subject(entry.subject));
        entry.tried = Some(lead.cookie);
        Some(group)
    }

    fn give_back(&mut self, which: usize) {
        let Some((lead, ..)) = pick(&mut self.leads, which) else {
            return;
        };
        let lead = *lead;
        let mut woken = Vec::new();
        self.table
            .give_back(lead.flight, &mut |index| woken.push(index));
        self.returned(&lead);
        self.wake(&woken);
    }

    /// The lead's opener has its file object back.
    fn returned(&mut self, lead: &Lead) {
        for waiter in &mut self.waiters {
            waiter.lent &= waiter.cookie != lead.cookie;
        }
    }

    fn publish(&mut self, which: usize, end: u8) {
        if self.leads.is_empty() {
            return;
        }
        let (lead, group, _) = self.leads.remove(which % self.leads.len());
        let attempt = match end {
            0 => Attempt::Verdict(Verdict::Clean),
            1 => Attempt::Verdict(Verdict::Infected),
            2 => Attempt::Empty,
            3 => Attempt::Failed(Failure::TooSlow),
            4 => Attempt::FailedForAll(Failure::NoService),
            _ => Attempt::Changed,
        };
        let mut woken = Vec::new();
        let wake = &mut |index| woken.push(index);
        let published = self.table.publish(lead.flight, attempt, self.now, wake);
        self.stops_due.remove(&lead.request);
        self.returned(&lead);
        let live = lead.live && self.groups.get(&group).is_some_and(|group| group.live);
        if !live {
            assert_eq!(
                published,
                Published::Dead,
                "I6: a killed scan reached somebody"
            );
            assert!(woken.iter().all(|index| self.is_settled(*index)));
            self.groups.remove(&group);
            self.wake(&woken);
            return;
        }
        let shared = match attempt {
            Attempt::Verdict(verdict) => Some(Outcome::Verdict(verdict)),
            Attempt::FailedForAll(why) => Some(Outcome::Failed(why)),
            Attempt::Changed => Some(Outcome::Again),
            Attempt::Empty | Attempt::Failed(_) => None,
        };
        match shared {
            Some(outcome) => {
                self.verdicts += u64::from(matches!(outcome, Outcome::Verdict(_)));
                self.end(group, outcome);
                self.groups.remove(&group);
                assert!(matches!(published, Published::Over(_)), "{published:?}");
            }
            None => self.tried(group, &lead, attempt, published),
        }
        self.wake(&woken);
    }

    /// An attempt that failed for its own opener only.
    fn tried(&mut self, group: u64, lead: &Lead, attempt: Attempt, published: Published) {
        let outcome = match attempt {
            Attempt::Failed(why) => Outcome::Failed(why),
            _ => Outcome::Empty,
        };
        for waiter in self
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.cookie == lead.cookie)
        {
            waiter.due = waiter.due.or(Some(outcome));
        }
        self.groups.get_mut(&group).unwrap().detached = None;
        match published {
            Published::Next(next) => {
                let found = self.lead(&next);
                assert_eq!(found, Some(group));
                self.leads.push((next, group, false));
            }
            Published::Over(_) => {
                let now = self.now;
                for waiter in self.waiters.iter().filter(|waiter| waiter.group == group) {
                    assert!(
                        waiter.due.is_some() || waiter.deadline <= now,
                        "forgot a waiter"
                    );
                }
                self.end(group, Outcome::Failed(Failure::TooSlow));
                self.groups.remove(&group);
            }
            Published::Dead => panic!("it was live"),
        }
    }

    fn is_settled(&self, index: usize) -> bool {
        let found = self
            .waiters
            .iter()
            .find(|waiter| waiter.id.index() == index);
        found.is_some_and(|waiter| waiter.due.is_some() || !waiter.lent)
    }

    fn leave(&mut self, which: usize) {
        if self.waiters.is_empty() {
            return;
        }
        let which = which % self.waiters.len();
        let waiter = self.waiters[which].clone();
        let left = self.table.leave(waiter.id);
        if waiter.lent {
            assert_eq!(left, Left::Lent, "left while its file object was in use");
            self.waiters[which].woken = false;
            return;
        }
        self.waiters.remove(which);
        if let Some(due) = waiter.due {
            assert_eq!(left, Left::Done(due));
            return;
        }
        let group = &self.groups[&waiter.group];
        let tried_at_close = group.detached.is_some();
        let alone = !self
            .waiters
            .iter()
            .any(|other| other.group == waiter.group && other.due.is_none());
        let led = self
            .leads
            .iter()
            .any(|(_, group, _)| *group == waiter.group);
        if alone && !tried_at_close && led {
            assert_eq!(left, Left::GoneAndStop);
            self.bury(waiter.group);
        } else {
            assert_eq!(left, Left::Gone);
            if alone && !tried_at_close {
                self.groups.remove(&waiter.group);
            }
        }
    }

    fn collect(&mut self, which: usize) {
        if self.waiters.is_empty() {
            return;
        }
        let which = which % self.waiters.len();
        let waiter = self.waiters[which].clone();
        let got = self.table.take_outcome(waiter.id);
        if waiter.lent {
            assert_eq!(got, None, "an outcome while its file object was in use");
            return;
        }
        assert_eq!(got, waiter.due);
        if got.is_some() {
            assert!(waiter.woken, "I3: a lost wake-up");
            self.waiters.remove(which);
        }
    }

    fn wake(&mut self, woken: &[usize]) {
        for index in woken {
            for waiter in self.waiters.iter_mut().filter(|w| w.id.index() == *index) {
                waiter.woken = true;
            }
        }
    }

    fn check(&mut self) {
        assert_eq!(self.table.live(), self.live().count());
        let mut subjects = BTreeSet::new();
        for id in self.live() {
            assert!(subjects.insert(self.groups[&id].subject), "I6");
        }
        for silo in 1..4 {
            let account = self.table.account(silo);
            let waiting = self
                .waiters
                .iter()
                .filter(|w| w.silo == silo && w.due.is_none());
            assert!(usize::from(account.waiters) >= waiting.count());
            assert!(usize::from(account.waiters) <= self.shares.part(WAITERS));
            assert!(usize::from(account.flights) <= self.shares.part(FLIGHTS));
            let most = self.shares.part(usize::from(self.shares.leaders));
            let reaping = self.leads.iter().filter(|(lead, ..)| !lead.live).count();
            assert!(usize::from(account.leaders) <= most + reaping);
        }
    }
}

/// An element by a number of any size.
fn pick<T>(all: &mut [T], which: usize) -> Option<&mut T> {
    let count = all.len();
    if count == 0 {
        None
    } else {
        all.get_mut(which % count)
    }
}
