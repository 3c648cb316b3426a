//! The ledger under real threads (I2): writers, scanners and openers at once, on few keys.
//!
//! Contents only grow. An opener reads a key's content before and after its look-up; if it is the
//! same, a hit must be the verdict of exactly that content. A writer's change is over before the
//! next opener asks, so an older verdict would be a stale one.

use siloscan_core::cache::Set;
use siloscan_core::change::{ChangeBucket, ChangeCounter, Generation};
use siloscan_core::flight::{Attempt, Join, Outcome, Request, WaiterSlot};
use siloscan_core::flight::{FlightFilter, FlightSlot, FlightTable, Shares, SiloAccount, Subject};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::ledger::{Binding, Ledger, LedgerMemory, Lookup, Settled};
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict;
use siloscan_core::volume::VolumeSlot;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const KEYS: usize = 8;
const DIGEST: [u8; 32] = [1; 32];

fn key(file: usize) -> Key {
    let volume = VolumeGuid::from_words(5, 6).unwrap();
    Key::new(volume, FileId::from_words(1 + file as u64, 0).unwrap())
}

/// The verdict of a content: a bit of it that changes in no simple rhythm.
fn verdict_of(content: u64) -> Verdict {
    let mixed = content.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63;
    if mixed == 0 {
        Verdict::Clean
    } else {
        Verdict::Infected
    }
}

fn zeroed<T: Default>(count: usize) -> Vec<T> {
    (0..count).map(|_| T::default()).collect()
}

struct Memory {
    sets: Vec<Set>,
    changing: Vec<ChangeBucket>,
    generations: Vec<Generation>,
    volumes: Vec<VolumeSlot>,
}

impl Memory {
    fn new(sets: usize, buckets: usize) -> Self {
        Self {
            sets: zeroed(sets),
            changing: zeroed(buckets),
            generations: zeroed(64),
            volumes: zeroed(16),
        }
    }

    fn ledger(&self) -> Ledger<'_> {
        let memory = LedgerMemory {
            sets: &self.sets,
            changing: &self.changing,
            generations: &self.generations,
            volumes: &self.volumes,
        };
        let ledger = Ledger::new(memory, Secret::new([3, 5, 7, 11]));
        let token = WriteToken::promise_dispatch_level();
        ledger.attach_volume(key(0).volume, &token);
        ledger.connected(&DIGEST, 0, &token);
        ledger
    }
}

/// Does something at the end of a thread's work, also when an assertion ends it: the others must
/// not run on for ever.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A small generator, one per thread.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct World<'m> {
    ledger: Ledger<'m>,
    content: [AtomicU64; KEYS],
    instance: ChangeCounter,
    streams: [ChangeCounter; KEYS],
    stop: AtomicBool,
    hits: AtomicU64,
    stored: AtomicU64,
}

impl World<'_> {
    fn write(&self, dice: &mut Dice) {
        let token = WriteToken::promise_dispatch_level();
        let file = dice.roll(KEYS as u64) as usize;
        match dice.roll(24) {
            0 => {
                // Known only afterwards, before anybody can open the new bytes: the drop and the
                // new bytes are one thing to openers, so the old content is hidden first.
                let mark = self.ledger.begin_change(&key(file), &token);
                self.content[file].fetch_add(1, Ordering::SeqCst);
                self.ledger.drop_key(&key(file), &token);
                self.ledger.end_change(mark, &token);
            }
            1 => {
                self.ledger.bump_volume(key(file).volume, &token);
            }
            _ => {
                let mark = self.ledger.begin_change(&key(file), &token);
                self.content[file].fetch_add(1, Ordering::SeqCst);
                if dice.roll(2) == 0 {
                    std::thread::yield_now();
                }
                self.ledger.end_change(mark, &token);
            }
        }
    }

    fn scan(&self, dice: &mut Dice) {
        let token = WriteToken::promise_dispatch_level();
        let file = dice.roll(KEYS as u64) as usize;
        let binding = Binding {
            key: Some(key(file)),
            stream: &self.streams[file],
            instance: &self.instance,
            keeps: true,
        };
        let Some(ticket) = self.ledger.ticket(&binding, &token) else {
            return;
        };
        let saw = self.content[file].load(Ordering::SeqCst);
        if dice.roll(3) == 0 {
            std::thread::yield_now();
        }
        let settled = self
            .ledger
            .settle(&ticket, &binding, verdict_of(saw), &DIGEST, &token);
        self.stored
            .fetch_add(u64::from(settled == Settled::Stored), Ordering::Relaxed);
    }

    fn open(&self, dice: &mut Dice) {
        let file = dice.roll(KEYS as u64) as usize;
        let before = self.content[file].load(Ordering::SeqCst);
        let found = self.ledger.lookup(&key(file));
        let after = self.content[file].load(Ordering::SeqCst);
        if let Lookup::Hit(verdict) = found
            && before == after
        {
            assert_eq!(verdict, verdict_of(before), "I2: a hit of other bytes");
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn stress(sets: usize, buckets: usize, time: Duration) {
    let memory = Memory::new(sets, buckets);
    let world = World {
        ledger: memory.ledger(),
        content: [const { AtomicU64::new(0) }; KEYS],
        instance: ChangeCounter::new(),
        streams: [const { ChangeCounter::new() }; KEYS],
        stop: AtomicBool::new(false),
        hits: AtomicU64::new(0),
        stored: AtomicU64::new(0),
    };
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        for number in 0..6_u64 {
            let world = &world;
            scope.spawn(move || {
                let mut dice = Dice(0x1234_5678_9abc_def1 ^ (number << 20));
                while !world.stop.load(Ordering::Relaxed) {
                    for _ in 0..64 {
                        match number {
                            0 => world.write(&mut dice),
                            1 | 2 => world.scan(&mut dice),
                            _ => world.open(&mut dice),
                        }
                    }
                    if number == 0 {
                        // Let verdicts live for a while.
                        std::thread::sleep(Duration::from_micros(50));
                    }
                    if Instant::now() > until {
                        world.stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (hits, stored) = (world.hits.into_inner(), world.stored.into_inner());
    assert!(
        hits > 1_000 && stored > 100,
        "{hits} hits, {stored} stored: nothing was tested"
    );
}

#[test]
fn i2_no_hit_of_other_bytes_in_two_sets() {
    stress(2, 2, Duration::from_millis(1_500));
}

#[test]
fn i2_no_hit_of_other_bytes_in_one_set_that_evicts() {
    stress(1, 1, Duration::from_millis(1_500));
}

/// One writer and one scanner, as fast as they can, on one key: a verdict whose ticket was good a
/// moment ago must not outlive the change that came in that moment.
#[test]
fn i2_a_ticket_that_dies_at_the_last_moment_stores_nothing() {
    let memory = Memory::new(1, 1);
    let ledger = memory.ledger();
    let (content, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (stream, instance) = (ChangeCounter::new(), ChangeCounter::new());
    let (mut hits, stored) = (0_u64, AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let token = WriteToken::promise_dispatch_level();
            let key = Some(key(0));
            let binding = Binding {
                key,
                stream: &stream,
                instance: &instance,
                keeps: true,
            };
            while !stop.load(Ordering::Relaxed) {
                let Some(ticket) = ledger.ticket(&binding, &token) else {
                    continue;
                };
                let verdict = verdict_of(content.load(Ordering::SeqCst));
                if ledger.settle(&ticket, &binding, verdict, &DIGEST, &token) == Settled::Stored {
                    stored.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let _stop = Finally(|| stop.store(true, Ordering::Relaxed));
        let token = WriteToken::promise_dispatch_level();
        let until = Instant::now() + Duration::from_millis(1_500);
        // A busy machine may take much longer until the two have met often enough.
        let late = until + Duration::from_secs(60);
        let met = |hits: u64| hits > 100 && stored.load(Ordering::Relaxed) > 100;
        let mut now = 0_u64;
        while !now.is_multiple_of(1_024)
            || Instant::now() < until
            || (!met(hits) && Instant::now() < late)
        {
            let mark = ledger.begin_change(&key(0), &token);
            now += 1;
            content.store(now, Ordering::SeqCst);
            ledger.end_change(mark, &token);
            // Only this thread changes the content: whatever is found is of it, or is wrong.
            for _ in 0..(now % 16) {
                if let Lookup::Hit(verdict) = ledger.lookup(&key(0)) {
                    assert_eq!(verdict, verdict_of(now), "I2: stored in the last moment");
                    hits += 1;
                }
            }
        }
    });
    let stored = stored.into_inner();
    assert!(hits > 100 && stored > 100, "{hits} hits, {stored} stored");
}

/// One writer that puts keys in and out of one set, and readers: each key has one verdict for
/// ever, so a reader that mixes words of two entries shows.
#[test]
fn i2_a_reader_never_mixes_two_entries() {
    let memory = Memory::new(1, 1);
    let ledger = memory.ledger();
    let stop = AtomicBool::new(false);
    let (stream, instance) = (ChangeCounter::new(), ChangeCounter::new());
    let verdict = |file: usize| {
        if file.is_multiple_of(2) {
            Verdict::Clean
        } else {
            Verdict::Infected
        }
    };
    let hits = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (ledger, stop, hits) = (&ledger, &stop, &hits);
            scope.spawn(move || {
                let mut dice = Dice(77 + number);
                while !stop.load(Ordering::Relaxed) {
                    let file = dice.roll(KEYS as u64) as usize;
                    if let Lookup::Hit(found) = ledger.lookup(&key(file)) {
                        assert_eq!(found, verdict(file), "I2: another entry's verdict");
                        hits.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let token = WriteToken::promise_dispatch_level();
        let mut dice = Dice(4);
        let until = Instant::now() + Duration::from_millis(2_500);
        while Instant::now() < until {
            for _ in 0..256 {
                let file = dice.roll(KEYS as u64) as usize;
                let key = Some(key(file));
                let binding = Binding {
                    key,
                    stream: &stream,
                    instance: &instance,
                    keeps: true,
                };
                let ticket = ledger.ticket(&binding, &token).expect("nothing changes");
                ledger.settle(&ticket, &binding, verdict(file), &DIGEST, &token);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(hits.into_inner() > 1_000);
}

/// Openers, one leader and one writer on one key, with the table in one lock as in the driver.
struct Crowd<'m> {
    ledger: Ledger<'m>,
    table: Mutex<FlightTable<'m>>,
    filter: &'m FlightFilter,
    content: AtomicU64,
    stream: ChangeCounter,
    instance: ChangeCounter,
    /// By waiter: the content that its verdict is of.
    saw: [AtomicU64; 8],
    stop: AtomicBool,
    verdicts: AtomicU64,
    kills: AtomicU64,
}

impl Crowd<'_> {
    fn change(&self, round: u64) {
        let token = WriteToken::promise_dispatch_level();
        let subject = Subject::Key(key(0));
        let mark = self.ledger.begin_change(&key(0), &token);
        if self.filter.may_have(&subject) {
            let killed = self.table.lock().unwrap().kill(&subject, &mut |_| {});
            self.kills.fetch_add(u64::from(killed), Ordering::Relaxed);
        }
        self.content.fetch_add(1, Ordering::SeqCst);
        self.ledger.end_change(mark, &token);
        if round.is_multiple_of(4) {
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    fn lead(&self, dice: &mut Dice) {
        let token = WriteToken::promise_dispatch_level();
        let Some(lead) = self.table.lock().unwrap().take_next(0) else {
            std::thread::yield_now();
            return;
        };
        let binding = Binding {
            key: Some(key(0)),
            stream: &self.stream,
            instance: &self.instance,
            keeps: dice.roll(2) == 0,
        };
        let ticket = self.ledger.ticket(&binding, &token);
        let saw = self.content.load(Ordering::SeqCst);
        if dice.roll(4) == 0 {
            std::thread::yield_now();
        }
        let verdict = verdict_of(saw);
        let settled = ticket.map(|ticket| {
            self.ledger
                .settle(&ticket, &binding, verdict, &DIGEST, &token)
        });
        let attempt = match settled {
            None | Some(Settled::Dead) => Attempt::Changed,
            Some(_) => Attempt::Verdict(verdict),
        };
        let told = &mut |index: usize| self.saw[index].store(saw, Ordering::SeqCst);
        self.table
            .lock()
            .unwrap()
            .publish(lead.flight, attempt, 0, told);
    }

    fn open(&self) {
        let request = Request {
            subject: Subject::Key(key(0)),
            stream: None,
            silo: 0,
            owner: 1,
            cookie: 1,
            deadline: u64::MAX,
            detached: false,
            alone: false,
            file: None,
        };
        let before = self.content.load(Ordering::SeqCst);
        let join = self.table.lock().unwrap().join_or_start(&request);
        let (Join::Started(waiter) | Join::Joined(waiter)) = join else {
            panic!("{join:?}")
        };
        let (outcome, saw) = loop {
            let mut table = self.table.lock().unwrap();
            if let Some(outcome) = table.take_outcome(waiter) {
                // Under the lock: the place is free now, and its next owner's note replaces ours.
                break (outcome, self.saw[waiter.index()].load(Ordering::SeqCst));
            }
            drop(table);
            std::thread::yield_now();
        };
        if let Outcome::Verdict(verdict) = outcome {
            assert_eq!(verdict, verdict_of(saw));
            assert!(
                saw >= before,
                "I6: joined a scan of bytes older than the open"
            );
            self.verdicts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A writer marks, then asks the filter; a scan is entered, then takes its ticket. Whatever the
/// interleaving, a verdict of the older bytes reaches nobody who came after the change.
#[test]
fn i6_a_change_kills_the_scan_or_its_ticket() {
    let memory = Memory::new(4, 4);
    let (mut flights, mut waiters) = ([FlightSlot::FREE; 8], [WaiterSlot::FREE; 8]);
    let mut accounts = [SiloAccount::FREE; 16];
    let filter = FlightFilter::new();
    let shares = Shares {
        leaders: 2,
        percent: 25,
        forgiven_after: 1_000,
    };
    let table = FlightTable::new(&mut flights, &mut waiters, &mut accounts, &filter, shares);
    let crowd = Crowd {
        ledger: memory.ledger(),
        table: Mutex::new(table),
        filter: &filter,
        content: AtomicU64::new(0),
        stream: ChangeCounter::new(),
        instance: ChangeCounter::new(),
        saw: [const { AtomicU64::new(0) }; 8],
        stop: AtomicBool::new(false),
        verdicts: AtomicU64::new(0),
        kills: AtomicU64::new(0),
    };
    let openers = AtomicU64::new(3);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + Duration::from_millis(1_500);
            let mut round = 0;
            while Instant::now() < until {
                crowd.change(round);
                round += 1;
            }
            crowd.stop.store(true, Ordering::SeqCst);
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let _gone = Finally(|| {
                    openers.fetch_sub(1, Ordering::SeqCst);
                });
                while !crowd.stop.load(Ordering::SeqCst) {
                    crowd.open();
                }
            });
        }
        scope.spawn(|| {
            let mut dice = Dice(99);
            while openers.load(Ordering::SeqCst) != 0 {
                crowd.lead(&mut dice);
            }
        });
    });
    assert!(crowd.table.lock().unwrap().is_empty());
    let (verdicts, kills) = (crowd.verdicts.into_inner(), crowd.kills.into_inner());
    assert!(
        verdicts > 100 && kills > 10,
        "{verdicts} verdicts, {kills} kills"
    );
}
