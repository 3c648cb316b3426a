//! Ledger and flights with two threads under the model checker: tickets, changes, wake-ups.
#![cfg(loom)]

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use siloscan_core::cache::Set;
use siloscan_core::change::{ChangeBucket, ChangeCounter, Generation};
use siloscan_core::flight::{Attempt, FlightFilter, FlightSlot, FlightTable, Join, Outcome};
use siloscan_core::flight::{Request, Shares, SiloAccount, Subject, WaiterId, WaiterSlot};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::ledger::{Binding, Ledger, LedgerMemory, Lookup, Settled};
use siloscan_core::stream::StreamId;
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict::Clean;
use siloscan_core::volume::VolumeSlot;

const RULES: [u8; 32] = [1; 32];

fn key() -> Key {
    let guid = VolumeGuid::from_words(1, 1).expect("not zero");
    Key::new(guid, FileId::from_words(1, 0).expect("not zero"))
}

fn token() -> WriteToken<'static> {
    WriteToken::promise_dispatch_level()
}

fn lend<T: Default>() -> &'static [T] {
    vec![T::default()].leak()
}

/// A ledger with one of everything. Its memory is not given back: it is a few hundred bytes.
struct World {
    ledger: Ledger<'static>,
    stream: ChangeCounter,
    instance: ChangeCounter,
    /// Which bytes the file has. Nothing but the ledger orders who reads and who writes them.
    bytes: AtomicU64,
    /// What a writer ends with and a reader begins with, so that the checker tries the writer
    /// before all of the reader; it orders nothing.
    ended: AtomicU64,
}

impl World {
    fn new() -> Self {
        let memory = LedgerMemory {
            sets: lend::<Set>(),
            changing: lend::<ChangeBucket>(),
            generations: lend::<Generation>(),
            volumes: lend::<VolumeSlot>(),
        };
        let ledger = Ledger::new(memory, Secret::new([3, 5, 7, 9]));
        ledger.attach_volume(key().volume, &token());
        ledger.connected(&RULES, 0, &token());
        Self {
            ledger,
            stream: ChangeCounter::new(),
            instance: ChangeCounter::new(),
            bytes: AtomicU64::new(1),
            ended: AtomicU64::new(0),
        }
    }

    fn write(&self) {
        self.bytes.store(2, Ordering::Relaxed);
    }

    fn binding(&self) -> Binding<'_> {
        Binding {
            key: Some(key()),
            stream: &self.stream,
            instance: &self.instance,
            keeps: true,
        }
    }
}

fn explore(preemptions: usize, story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(story);
}

/// A scan whose ticket was taken before the change, and settles beside it.
fn beside(change: impl Fn(&World) + Sync + Send + Copy + 'static) {
    explore(2, move || {
        let world = Arc::new(World::new());
        let binding = world.binding();
        let ticket = world
            .ledger
            .ticket(&binding, &token())
            .expect("nothing changes");
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || change(&world))
        };
        world
            .ledger
            .settle(&ticket, &binding, Clean, &RULES, &token());
        writer.join().expect("it does not fail");
        let found = world.ledger.lookup(&key());
        assert!(
            matches!(found, Lookup::Miss | Lookup::Untracked),
            "{found:?}: a dead ticket's verdict outlived the change"
        );
    });
}

#[test]
fn a_ticket_that_a_change_killed_never_inserts() {
    beside(|world| {
        let mark = world.ledger.begin_change(&key(), &token());
        world.ledger.end_change(mark, &token());
    });
}

#[test]
fn a_ticket_that_a_drop_killed_never_inserts() {
    beside(|world| {
        world.ledger.drop_key(&key(), &token());
    });
}

#[test]
fn a_ticket_that_a_pin_killed_never_inserts() {
    beside(|world| {
        let _stays = world.ledger.pin(&key(), &token());
    });
}

#[test]
fn a_ticket_of_an_older_volume_epoch_never_inserts() {
    beside(|world| {
        world.ledger.bump_volume(key().volume, &token());
    });
}

/// A scan that begins at any time beside a change: what is found afterwards is a verdict of the
/// bytes that are there.
fn scanned_beside(change: impl Fn(&World) + Sync + Send + Copy + 'static) {
    explore(2, move || {
        let world = Arc::new(World::new());
        let binding = world.binding();
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                change(&world);
                world.ended.store(1, Ordering::Relaxed);
            })
        };
        world.ended.load(Ordering::Relaxed);
        let mut saw = 0;
        if let Some(ticket) = world.ledger.ticket(&binding, &token()) {
            saw = world.bytes.load(Ordering::Relaxed);
            world
                .ledger
                .settle(&ticket, &binding, Clean, &RULES, &token());
        }
        writer.join().expect("it does not fail");
        if world.ledger.lookup(&key()) == Lookup::Hit(Clean) {
            assert_eq!(saw, 2, "a verdict of bytes that are gone");
        }
    });
}

#[test]
fn a_hit_is_of_the_bytes_after_a_change_of_the_file() {
    scanned_beside(|world| {
        let mark = world.ledger.begin_change(&key(), &token());
        world.write();
        world.ledger.end_change(mark, &token());
    });
}

#[test]
fn a_hit_is_of_the_bytes_after_a_change_of_the_volume() {
    scanned_beside(|world| {
        let mark = world.ledger.begin_volume_change(key().volume, &token());
        world.write();
        world.ledger.end_change(mark, &token());
    });
}

#[test]
fn a_hit_is_of_the_bytes_after_a_mapping_is_gone() {
    scanned_beside(|world| {
        let pin = world.ledger.pin(&key(), &token());
        world.write();
        // What was stored through the mapping comes by as a paging write before it is gone.
        let mark = world.ledger.begin_change(&key(), &token());
        world.ledger.end_change(mark, &token());
        world.ledger.unpin(pin.expect("an attached volume"));
    });
}

#[test]
fn a_hit_is_of_the_bytes_after_a_change_that_is_known_afterwards() {
    scanned_beside(|world| {
        world.write();
        world.ledger.drop_key(&key(), &token());
    });
}

#[test]
fn a_hit_is_of_the_bytes_after_the_volume_was_away() {
    scanned_beside(|world| {
        let hidden = world.ledger.hide_volume(key().volume, &token());
        world.write();
        world
            .ledger
            .show_volume(hidden.expect("an attached volume"), &token());
    });
}

/// The place of a covered volume passes to another, or the other way round: a volume that no
/// proactive scan has covered is not called covered.
#[test]
fn one_volumes_coverage_is_not_anothers() {
    for first_covered in [false, true] {
        explore(2, move || {
            let other = VolumeGuid::from_words(2, 1).expect("not zero");
            let world = Arc::new(World::new());
            let epoch = world.ledger.signature_epoch();
            let cover = move |ledger: &Ledger<'_>, guid| {
                assert!(ledger.begin_cover(guid, epoch, &token()));
                assert!(ledger.cover(guid, epoch, &token()));
            };
            if first_covered {
                cover(&world.ledger, key().volume);
            }
            let writer = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    world.ledger.detach_volume(key().volume, &token());
                    world.ledger.attach_volume(other, &token());
                    if !first_covered {
                        cover(&world.ledger, other);
                    }
                    world.ended.store(1, Ordering::Relaxed);
                })
            };
            world.ended.load(Ordering::Relaxed);
            let uncovered = if first_covered { other } else { key().volume };
            assert!(!world.ledger.covered(uncovered));
            writer.join().expect("it does not fail");
        });
    }
}

/// The first who meets a stale verdict in an epoch is told so, whoever else comes.
#[test]
fn somebody_asks_for_a_proactive_scan_in_each_epoch() {
    explore(2, || {
        let world = Arc::new(World::new());
        let binding = world.binding();
        let ticket = world.ledger.ticket(&binding, &token()).expect("no change");
        let ledger = &world.ledger;
        ledger.settle(&ticket, &binding, Clean, &RULES, &token());
        assert!(ledger.want_warm());
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                assert!(world.ledger.announced(&[2; 32], 0, &token()));
                world.ended.store(1, Ordering::Relaxed);
            })
        };
        world.ended.load(Ordering::Relaxed);
        if ledger.lookup(&key()) == Lookup::StaleClean {
            assert!(ledger.want_warm(), "nobody asks in this epoch");
        }
        writer.join().expect("it does not fail");
    });
}

fn request(subject: Subject) -> Request {
    Request {
        subject,
        stream: None,
        silo: 0,
        owner: 1,
        cookie: 1,
        deadline: u64::MAX,
        detached: false,
        alone: false,
        file: None,
    }
}

/// Openers, a leader and a writer of one file.
struct Crowd {
    world: World,
    subject: Subject,
    table: Mutex<FlightTable<'static>>,
    filter: &'static FlightFilter,
    /// Of which bytes the verdict of each waiter is.
    saw: [AtomicU64; 2],
}

impl Crowd {
    fn new(subject: Subject) -> Self {
        let filter: &'static FlightFilter = Box::leak(Box::new(FlightFilter::new()));
        let shares = Shares {
            leaders: 1,
            percent: 100,
            forgiven_after: 0,
        };
        let table = FlightTable::new(
            vec![FlightSlot::FREE; 2].leak(),
            vec![WaiterSlot::FREE; 2].leak(),
            vec![SiloAccount::FREE; 16].leak(),
            filter,
            shares,
        );
        Self {
            world: World::new(),
            subject,
            table: Mutex::new(table),
            filter,
            saw: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    fn join(&self) -> WaiterId {
        let join = self
            .table
            .lock()
            .expect("nobody fails")
            .join_or_start(&request(self.subject));
        match join {
            Join::Started(waiter) | Join::Joined(waiter) => waiter,
            other => panic!("{other:?}"),
        }
    }

    /// Leads one flight, if there is one.
    fn lead(&self) -> bool {
        let Some(lead) = self.table.lock().expect("nobody fails").take_next(0) else {
            return false;
        };
        let (ledger, mut binding) = (&self.world.ledger, self.world.binding());
        if let Subject::Stream(_) = self.subject {
            binding.key = None;
        }
        let ticket = ledger.ticket(&binding, &token());
        let saw = self.world.bytes.load(Ordering::Relaxed);
        let settle = |ticket| ledger.settle(&ticket, &binding, Clean, &RULES, &token());
        let attempt = match ticket.map(settle) {
            None | Some(Settled::Dead) => Attempt::Changed,
            Some(_) => Attempt::Verdict(Clean),
        };
        let mut table = self.table.lock().expect("nobody fails");
        let told = &mut |index: usize| self.saw[index].store(saw, Ordering::Relaxed);
        table.publish(lead.flight, attempt, 0, told);
        true
    }

    /// A change as the driver makes it: marked, then the flight is looked for, then the bytes.
    fn change(&self) {
        let World { ledger, stream, .. } = &self.world;
        let mark = match self.subject {
            Subject::Key(key) => Some(ledger.begin_change(&key, &token())),
            Subject::Stream(_) => {
                stream.begin();
                None
            }
        };
        if self.filter.may_have(&self.subject) {
            let mut table = self.table.lock().expect("nobody fails");
            table.kill(&self.subject, &mut |_| {});
        }
        self.world.write();
        match mark {
            Some(mark) => ledger.end_change(mark, &token()),
            None => stream.end(),
        }
    }

    /// The waiter's outcome, which must be there; a verdict is of these bytes or newer ones.
    fn take(&self, waiter: WaiterId, bytes: u64) {
        let mut table = self.table.lock().expect("nobody fails");
        let outcome = table.take_outcome(waiter).expect("a lost wake-up");
        if let Outcome::Verdict(_) = outcome {
            let saw = self.saw[waiter.index()].load(Ordering::Relaxed);
            assert!(saw >= bytes, "joined a scan of bytes older than the open");
        }
    }
}

/// A writer marks and asks the filter; an opener is entered, its scan takes a ticket. Whoever
/// opens after the change never gets the verdict of the older bytes, and nobody waits for ever.
fn a_flight_beside_a_change(subject: Subject) {
    explore(2, move || {
        let crowd = Arc::new(Crowd::new(subject));
        let writer = {
            let crowd = Arc::clone(&crowd);
            thread::spawn(move || {
                crowd.change();
                let opener = crowd.join();
                crowd.world.ended.store(1, Ordering::Relaxed);
                opener
            })
        };
        crowd.world.ended.load(Ordering::Relaxed);
        let first = crowd.join();
        crowd.lead();
        let second = writer.join().expect("it does not fail");
        while crowd.lead() {}
        crowd.take(first, 1);
        crowd.take(second, 2);
        assert!(crowd.table.lock().expect("nobody fails").is_empty());
    });
}

#[test]
fn a_change_finds_the_flight_or_kills_its_ticket() {
    a_flight_beside_a_change(Subject::Key(key()));
}

#[test]
fn a_change_of_a_stream_finds_the_flight_or_kills_its_ticket() {
    let stream = StreamId::new(1).expect("not zero");
    a_flight_beside_a_change(Subject::Stream(stream));
}
