//! Flights against a model that knows who waits for what (I3, I6).
//!
//! The model groups waiters by the scan that they wait for. Whatever the history: one live scan
//! per subject, a verdict reaches exactly the group that it was earned for, a killed scan reaches
//! nobody, everybody who has an outcome was woken for it, and no place is lost.

use proptest::prelude::*;
use siloscan_core::flight::{
    Attempt, FlightFilter, FlightSlot, FlightTable, Join, Lead, Left, Outcome, Published, Request,
    Shares, SiloAccount, Subject, WaiterId, WaiterSlot,
};
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::reason::Failure;
use siloscan_core::stream::StreamId;
use siloscan_core::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

const FLIGHTS: usize = 5;
const WAITERS: usize = 12;
const SUBJECTS: u64 = 4;

fn subject(which: u64) -> Subject {
    if which.is_multiple_of(2) {
        let volume = VolumeGuid::from_words(1, 1).unwrap();
        Subject::Key(Key::new(volume, FileId::from_words(1 + which, 0).unwrap()))
    } else {
        Subject::Stream(StreamId::new(50 + which).unwrap())
    }
}

#[derive(Clone, Debug)]
enum Op {
    Join {
        subject: u64,
        stream: u64,
        silo: u64,
        owner: u64,
        time: u64,
        detached: bool,
    },
    Take,
    GiveBack(usize),
    Send(usize),
    Publish(usize, u8),
    Leave(usize),
    Collect(usize),
    Kill(u64),
    KillStream(u64),
    KillOwner(u64),
    FailAll,
    Stop,
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let many = 0..64_usize;
    prop_oneof![
        20 => (0..SUBJECTS, 1..4_u64, 0..4_u64, 1..4_u64, 1..60_u64, 0..8_u8).prop_map(
            |(subject, stream, silo, owner, time, d)| Op::Join {
                subject, stream, silo, owner, time, detached: d == 0,
            }
        ),
        12 => Just(Op::Take),
        8 => many.clone().prop_map(Op::GiveBack),
        5 => many.clone().prop_map(Op::Send),
        10 => (many.clone(), 0..6_u8).prop_map(|(lead, end)| Op::Publish(lead, end)),
        6 => many.clone().prop_map(Op::Leave),
        12 => many.prop_map(Op::Collect),
        4 => (0..SUBJECTS).prop_map(Op::Kill),
        2 => (1..4_u64).prop_map(Op::KillStream),
        1 => (1..4_u64).prop_map(Op::KillOwner),
        1 => Just(Op::FailAll),
        2 => Just(Op::Stop),
        4 => (1..20_u64).prop_map(Op::Pass),
    ]
}

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

struct World<'m> {
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
    fn new(table: FlightTable<'m>, filter: &'m FlightFilter, shares: Shares) -> Self {
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

    fn step(&mut self, op: &Op) {
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
                    subject: self::subject(subject),
                    stream: StreamId::new(stream),
                    silo,
                    owner,
                    cookie,
                    deadline: self.now + time,
                    detached,
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

    fn kill(&mut self, killed: Subject) {
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

    fn kill_owner(&mut self, owner: u64) {
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
    fn end(&mut self, group: u64, outcome: Outcome) {
        for waiter in self
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.group == group)
        {
            waiter.due = waiter.due.or(Some(outcome));
        }
        self.bury(group);
    }

    fn bury(&mut self, id: u64) {
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

impl World<'_> {
    /// The driver unloads: everybody is let go, and nothing is left (I4).
    fn finish(mut self) -> u64 {
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

/// An element by a number of any size.
fn pick<T>(all: &mut [T], which: usize) -> Option<&mut T> {
    let count = all.len();
    if count == 0 {
        None
    } else {
        all.get_mut(which % count)
    }
}

/// Runs one history; how many verdicts were shared in it.
fn run(percent: u8, ops: &[Op]) -> u64 {
    let mut flights = [FlightSlot::FREE; FLIGHTS];
    let mut waiters = [WaiterSlot::FREE; WAITERS];
    let mut accounts = [SiloAccount::FREE; 32];
    let filter = FlightFilter::new();
    let shares = Shares {
        leaders: 4,
        percent,
    };
    let table = FlightTable::new(&mut flights, &mut waiters, &mut accounts, &filter, shares);
    let mut world = World::new(table, &filter, shares);
    for op in ops {
        world.step(op);
    }
    world.finish()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn i6_one_live_scan_and_a_killed_one_reaches_nobody(
        percent in prop_oneof![Just(25_u8), Just(50), Just(100)],
        ops in proptest::collection::vec(op(), 1..100),
    ) {
        run(percent, &ops);
    }
}

/// The property above is worth something only if verdicts are common.
#[test]
fn histories_do_share_verdicts() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let shared: u64 = (0..100)
        .map(|_| {
            let ops = proptest::collection::vec(op(), 100)
                .new_tree(&mut runner)
                .unwrap();
            run(100, &ops.current())
        })
        .sum();
    assert!(shared > 100, "{shared}");
}
