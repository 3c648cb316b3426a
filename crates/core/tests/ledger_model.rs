//! The ledger against a world in which the bytes are known (I2).
//!
//! Files have contents that only change the way Windows changes them: under a mark, or before a
//! drop. Scans read in the middle of it all. Whatever the history, a hit must be the verdict of
//! the bytes that are there now, under the signatures of now.

use proptest::prelude::*;
use siloscan_core::cache::Set;
use siloscan_core::change::{ChangeBucket, ChangeCounter, Generation};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::ledger::{
    Attached, Binding, ChangeMark, Ledger, LedgerMemory, Lookup, NotKept, Settled, Ticket,
};
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict;
use siloscan_core::volume::VolumeSlot;

const VOLUMES: usize = 2;
const FILES: usize = 3;
const STREAMS: usize = 2;

fn guid(volume: usize) -> VolumeGuid {
    VolumeGuid::from_words(100 + volume as u64, 7).unwrap()
}

fn key(file: usize) -> Key {
    let (volume, file) = (file % VOLUMES, file / VOLUMES);
    Key::new(
        guid(volume),
        FileId::from_words(1 + file as u64, 0).unwrap(),
    )
}

fn digest(rules: u8) -> [u8; 32] {
    [rules; 32]
}

fn verdict_of(content: u64) -> Verdict {
    if content.is_multiple_of(2) {
        Verdict::Clean
    } else {
        Verdict::Infected
    }
}

#[derive(Clone, Debug)]
enum Op {
    Attach(usize),
    Detach(usize),
    Bump(usize),
    Connect(u8),
    Announce(u8),
    Begin(usize),
    Write(usize),
    End(usize),
    Replace(usize),
    StreamBegin(usize),
    StreamWrite(usize),
    StreamEnd(usize),
    ContextlessWrite,
    Ticket {
        file: usize,
        stream: usize,
        keeps: bool,
    },
    Read(usize),
    Settle(usize, bool),
    Scan(usize),
    Look(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let file = 0..VOLUMES * FILES;
    let stream = 0..STREAMS;
    prop_oneof![
        3 => (0..VOLUMES).prop_map(Op::Attach),
        2 => (0..VOLUMES).prop_map(Op::Detach),
        2 => (0..VOLUMES).prop_map(Op::Bump),
        2 => (0..2_u8).prop_map(Op::Connect),
        2 => (0..2_u8).prop_map(Op::Announce),
        7 => file.clone().prop_map(Op::Begin),
        10 => file.clone().prop_map(Op::Write),
        9 => (0..4_usize).prop_map(Op::End),
        2 => file.clone().prop_map(Op::Replace),
        1 => stream.clone().prop_map(Op::StreamBegin),
        1 => stream.clone().prop_map(Op::StreamWrite),
        2 => stream.clone().prop_map(Op::StreamEnd),
        1 => Just(Op::ContextlessWrite),
        12 => (file.clone(), stream, any::<bool>()).prop_map(|(file, stream, k)| {
            Op::Ticket { file, stream, keeps: k }
        }),
        12 => (0..4_usize).prop_map(Op::Read),
        10 => (0..4_usize, any::<bool>()).prop_map(|(i, right)| Op::Settle(i, right)),
        20 => file.clone().prop_map(Op::Look),
        20 => file.prop_map(Op::Scan),
    ]
}

/// A scan under way: what it saw last, and under which rules it runs.
struct Scan {
    ticket: Ticket,
    file: usize,
    stream: usize,
    keeps: bool,
    saw: Option<u64>,
    rules: u8,
}

/// How much memory the ledger gets: little of it makes every overflow happen.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    sets: usize,
    buckets: usize,
    generations: usize,
}

struct World<'m> {
    ledger: Ledger<'m>,
    attached: [u32; VOLUMES],
    full: [bool; VOLUMES],
    content: [u64; VOLUMES * FILES],
    marks: Vec<(usize, ChangeMark)>,
    streams: [ChangeCounter; STREAMS],
    /// Changes under way on each stream, and whether it shows bytes of its own.
    stream_open: [u32; STREAMS],
    overwritten: [bool; STREAMS],
    instance: ChangeCounter,
    scans: Vec<Scan>,
    rules: Option<u8>,
    /// Signature epochs so far, and in which the stored verdict of each file was earned.
    epoch: u64,
    earned: [u64; VOLUMES * FILES],
    /// Content counter, so that no content comes twice.
    next: u64,
    hits: u64,
    stored: u64,
}

impl<'m> World<'m> {
    fn new(ledger: Ledger<'m>) -> Self {
        Self {
            ledger,
            attached: [0; VOLUMES],
            full: [false; VOLUMES],
            content: [0; VOLUMES * FILES],
            marks: Vec::new(),
            streams: [const { ChangeCounter::new() }; STREAMS],
            stream_open: [0; STREAMS],
            overwritten: [false; STREAMS],
            instance: ChangeCounter::new(),
            scans: Vec::new(),
            rules: None,
            epoch: 0,
            earned: [0; VOLUMES * FILES],
            next: 1,
            hits: 0,
            stored: 0,
        }
    }

    fn step(&mut self, op: &Op, token: &WriteToken<'_>) {
        match *op {
            Op::Attach(volume) => self.attach(volume, token),
            Op::Detach(volume) => self.detach(volume, token),
            Op::Bump(volume) => self.bump(volume, token),
            Op::Connect(rules) => {
                self.ledger.connected(&digest(rules), 0, token);
                self.rules = Some(rules);
                self.epoch += 1;
            }
            Op::Announce(rules) => {
                let new = self.ledger.announced(&digest(rules), 0, token);
                assert_eq!(new, self.rules != Some(rules));
                self.epoch += u64::from(new);
                self.rules = Some(rules);
            }
            Op::Begin(file) if self.attached[file % VOLUMES] == 0 => {}
            Op::Begin(file) => {
                let mark = self.ledger.begin_change(&key(file), token);
                self.marks
                    .push((file, ChangeMark::from_raw(mark.into_raw())));
            }
            Op::Write(file) => {
                if self.marks.iter().any(|(marked, _)| *marked == file) {
                    self.change(file);
                }
            }
            Op::End(which) => {
                if !self.marks.is_empty() {
                    let (_, mark) = self.marks.remove(which % self.marks.len());
                    self.ledger.end_change(mark, token);
                }
            }
            Op::Replace(file) => {
                // Another file took the id; we learn of it before anybody can open it.
                self.change(file);
                self.ledger.drop_key(&key(file), token);
            }
            Op::StreamBegin(stream) => {
                self.streams[stream].begin();
                self.stream_open[stream] += 1;
            }
            Op::StreamWrite(stream) => {
                self.overwritten[stream] |= self.stream_open[stream] != 0;
            }
            Op::StreamEnd(stream) => self.stream_end(stream),
            Op::ContextlessWrite => self.instance.touch(),
            Op::Ticket {
                file,
                stream,
                keeps,
            } => self.ticket(file, stream, keeps, token),
            Op::Read(which) => self.read(which),
            Op::Settle(which, right) => self.settle(which, right, token),
            Op::Scan(file) => {
                // A scan that nothing comes between.
                let before = self.scans.len();
                self.ticket(file, file % STREAMS, true, token);
                if self.scans.len() > before {
                    self.read(before);
                    self.settle(before, true, token);
                }
            }
            Op::Look(file) => self.look(file),
        }
    }

    /// All of the volume may have changed.
    fn bump(&mut self, volume: usize, token: &WriteToken<'_>) {
        let tracked = self.ledger.bump_volume(guid(volume), token);
        assert_eq!(tracked, self.attached[volume] == 1 && !self.full[volume]);
        for file in (0..VOLUMES * FILES).filter(|file| file % VOLUMES == volume) {
            if tracked {
                self.change(file);
            }
        }
    }

    fn stream_end(&mut self, stream: usize) {
        if self.stream_open[stream] != 0 {
            self.streams[stream].end();
            self.stream_open[stream] -= 1;
            if self.stream_open[stream] == 0 {
                // Nobody opens it as a layer's any more; another stream takes its place.
                self.overwritten[stream] = false;
            }
        }
    }

    fn change(&mut self, file: usize) {
        self.content[file] = self.next;
        self.next += 1 + u64::from(self.next.is_multiple_of(3));
    }

    fn attach(&mut self, volume: usize, token: &WriteToken<'_>) {
        if self.attached[volume] == 2 {
            return;
        }
        if self.attached[volume] == 0 {
            // Nobody looked while no instance of ours was there.
            for file in (0..VOLUMES * FILES).filter(|file| file % VOLUMES == volume) {
                self.change(file);
            }
        }
        match self.ledger.attach_volume(guid(volume), token) {
            Attached::Cacheable => assert_eq!(self.attached[volume], 0),
            Attached::Duplicate => self.full[volume] = true,
            Attached::Full => panic!("there is room for two"),
        }
        self.attached[volume] += 1;
    }

    fn detach(&mut self, volume: usize, token: &WriteToken<'_>) {
        if self.attached[volume] != 0 {
            self.ledger.detach_volume(guid(volume), token);
            self.attached[volume] -= 1;
            if self.attached[volume] == 0 {
                // What is under way is drained: its post-callback comes before the end.
                let marks = std::mem::take(&mut self.marks);
                for (file, mark) in marks {
                    if file % VOLUMES == volume {
                        self.ledger.end_change(mark, token);
                    } else {
                        self.marks.push((file, mark));
                    }
                }
            }
            self.full[volume] &= self.attached[volume] != 0;
        }
    }

    fn binding(&self, scan: (usize, usize, bool)) -> Binding<'_> {
        let (file, stream, keeps) = scan;
        Binding {
            key: Some(key(file)),
            stream: &self.streams[stream],
            instance: &self.instance,
            keeps,
        }
    }

    fn ticket(&mut self, file: usize, stream: usize, keeps: bool, token: &WriteToken<'_>) {
        let got = self
            .ledger
            .ticket(&self.binding((file, stream, keeps)), token);
        let tracked = self.ledger.tracks(guid(file % VOLUMES));
        assert!(
            tracked || got.is_none(),
            "a ticket for a key whose changes nobody sees"
        );
        if self.stream_open[stream] != 0 {
            assert!(
                got.is_none(),
                "a ticket while the opened stream is changing"
            );
        }
        if tracked
            && self
                .marks
                .iter()
                .any(|(marked, mark)| *marked == file && *mark != ChangeMark::from_raw(1))
        {
            assert!(got.is_none(), "a ticket while the key is changing");
        }
        if let Some(ticket) = got
            && self.scans.len() < 4
        {
            let rules = self.rules.unwrap_or(0);
            self.scans.push(Scan {
                ticket,
                file,
                stream,
                keeps,
                saw: None,
                rules,
            });
        }
    }

    fn read(&mut self, which: usize) {
        if self.scans.is_empty() {
            return;
        }
        let which = which % self.scans.len();
        let scan = &mut self.scans[which];
        // Through an overwritten placeholder the scan sees bytes that nobody else sees.
        let bytes = self.content[scan.file];
        scan.saw = Some(if self.overwritten[scan.stream] {
            bytes + 1
        } else {
            bytes
        });
    }

    fn settle(&mut self, which: usize, right: bool, token: &WriteToken<'_>) {
        if self.scans.is_empty() {
            return;
        }
        let scan = self.scans.remove(which % self.scans.len());
        let Some(saw) = scan.saw else { return };
        let rules = if right { scan.rules } else { 9 };
        let binding = self.binding((scan.file, scan.stream, scan.keeps));
        let verdict = verdict_of(saw);
        let settled = self
            .ledger
            .settle(&scan.ticket, &binding, verdict, &digest(rules), token);
        match settled {
            Settled::Stored => {
                self.stored += 1;
                self.earned[scan.file] = self.epoch;
                assert!(scan.keeps && right, "stored what must not be kept");
                assert_eq!(Some(scan.rules), self.rules, "stored under other rules");
                assert_eq!(
                    saw, self.content[scan.file],
                    "stored a verdict of other bytes"
                );
                let found = self.ledger.lookup(&key(scan.file));
                assert_eq!(found, Lookup::Hit(verdict), "stored and not found");
            }
            Settled::Shared(why) => {
                assert_eq!(
                    saw, self.content[scan.file],
                    "shared a verdict of other bytes"
                );
                if why == NotKept::CanWrite {
                    assert!(!scan.keeps);
                }
            }
            Settled::Dead => {}
        }
    }

    fn look(&mut self, file: usize) {
        let volume = file % VOLUMES;
        let right = verdict_of(self.content[file]);
        let found = self.ledger.lookup(&key(file));
        match found {
            Lookup::Untracked => {
                assert!(
                    self.attached[volume] != 1 || self.full[volume],
                    "a tracked volume"
                );
            }
            Lookup::Miss => {}
            Lookup::Hit(verdict) => {
                self.hits += 1;
                assert_eq!(verdict, right, "a hit of other bytes");
                assert_eq!(self.earned[file], self.epoch, "a hit of older signatures");
                assert!(
                    !self.marks.iter().any(|(marked, _)| *marked == file),
                    "hit in change"
                );
            }
            Lookup::StaleClean => {
                assert_eq!(right, Verdict::Clean, "stale clean of other bytes");
                assert_eq!(
                    self.earned[file] + 1,
                    self.epoch,
                    "older than the epoch before"
                );
            }
            Lookup::Old => {
                assert_eq!(right, Verdict::Clean, "old clean of other bytes");
                assert!(self.earned[file] + 1 < self.epoch);
            }
            Lookup::Excluded(_) => panic!("nobody excludes anything here"),
            Lookup::StaleInfected => {
                assert_eq!(right, Verdict::Infected, "stale infected of other bytes");
                assert!(self.earned[file] < self.epoch);
            }
        }
        if self.attached[volume] != 1 || self.full[volume] {
            assert_eq!(found, Lookup::Untracked);
        }
    }
}

fn zeroed<T: Default>(count: usize) -> Vec<T> {
    (0..count).map(|_| T::default()).collect()
}

/// Runs one history; how often it hit and stored.
fn run(sizes: Sizes, secret: u64, ops: &[Op]) -> (u64, u64) {
    let (sets, changing) = (
        zeroed::<Set>(sizes.sets),
        zeroed::<ChangeBucket>(sizes.buckets),
    );
    let generations = zeroed::<Generation>(sizes.generations);
    let volumes = zeroed::<VolumeSlot>(16);
    let memory = LedgerMemory {
        sets: &sets,
        changing: &changing,
        generations: &generations,
        volumes: &volumes,
    };
    let token = WriteToken::promise_dispatch_level();
    let secret = Secret::new([secret, secret ^ 0x55, !secret, secret.rotate_left(9)]);
    let mut world = World::new(Ledger::new(memory, secret));
    for op in [Op::Attach(0), Op::Attach(1), Op::Connect(0)]
        .iter()
        .chain(ops)
    {
        world.step(op, &token);
    }
    (world.hits, world.stored)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn i2_a_hit_is_the_verdict_of_the_bytes_that_are_there(
        sets in 1..3_usize,
        buckets in 1..3_usize,
        generations in 1..40_usize,
        secret in any::<u64>(),
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        run(Sizes { sets, buckets, generations }, secret, &ops);
    }
}

/// The property above is worth something only if hits and insertions are common.
#[test]
fn histories_do_hit_and_store() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut hits, mut stored) = (0, 0);
    for secret in 0..200 {
        let ops = proptest::collection::vec(op(), 80)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let got = run(
            Sizes {
                sets: 2,
                buckets: 2,
                generations: 32,
            },
            secret,
            &ops,
        );
        hits += got.0;
        stored += got.1;
    }
    assert!(hits > 200 && stored > 200, "{hits} hits, {stored} stored");
}
