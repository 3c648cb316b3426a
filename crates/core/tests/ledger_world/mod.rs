//! The ledger against a world in which the bytes are known. Property tests and a fuzzer drive it.
//!
//! Files have contents that only change the way Windows changes them: under a mark, or before a
//! drop. Scans read in the middle of it all. Whatever the history, a hit must be the verdict of
//! the bytes that are there now, under the signatures of now.

use siloscan_core::cache::Set;
use siloscan_core::change::{ChangeBucket, ChangeCounter, Generation};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::ledger::{
    Attached, Binding, ChangeMark, Hidden, Ledger, LedgerMemory, Lookup, NotKept, Pin, Settled,
    Ticket, VolumeRef,
};
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict;
use siloscan_core::volume::VolumeSlot;

pub const VOLUMES: usize = 2;
pub const FILES: usize = 3;
pub const STREAMS: usize = 2;

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

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Op {
    Attach(usize),
    Detach(usize),
    Bump(usize),
    Connect(u8),
    Announce(u8),
    Begin(usize),
    Write(usize),
    End(usize),
    /// Begun, written and ended, with nothing between.
    Change(usize),
    Replace(usize),
    Hide(usize),
    Show(usize),
    Pin(usize),
    Unpin(usize),
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
pub struct Sizes {
    pub sets: usize,
    pub buckets: usize,
    pub generations: usize,
}

struct World<'m> {
    ledger: Ledger<'m>,
    attached: [u32; VOLUMES],
    full: [bool; VOLUMES],
    content: [u64; VOLUMES * FILES],
    marks: Vec<(usize, ChangeMark)>,
    /// What hides volumes, `None` where the volume has gone since, and who may write to files
    /// unseen.
    hidden: Vec<(Option<usize>, Hidden)>,
    pins: Vec<(usize, Pin)>,
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
    /// Each volume as it was found at the look before.
    found: [Option<VolumeRef>; VOLUMES],
}

impl<'m> World<'m> {
    fn new(ledger: Ledger<'m>) -> Self {
        Self {
            ledger,
            attached: [0; VOLUMES],
            full: [false; VOLUMES],
            content: [0; VOLUMES * FILES],
            marks: Vec::new(),
            hidden: Vec::new(),
            pins: Vec::new(),
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
            found: [None; VOLUMES],
        }
    }

    fn step(&mut self, op: &Op, token: &WriteToken<'_>) {
        match *op {
            Op::StreamBegin(stream) => {
                self.streams[stream].begin();
                self.stream_open[stream] += 1;
            }
            Op::StreamWrite(stream) => {
                self.overwritten[stream] |= self.stream_open[stream] != 0;
            }
            Op::StreamEnd(stream) => self.stream_end(stream),
            Op::ContextlessWrite => {
                self.instance.begin();
                self.instance.end();
            }
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
            _ => self.step_of_a_volume(op, token),
        }
    }

    /// A change of a file, begun, made or ended.
    fn step_of_a_change(&mut self, op: &Op, token: &WriteToken<'_>) {
        match *op {
            Op::Begin(file) if self.attached[file % VOLUMES] != 0 => {
                let mark = self.ledger.begin_change(&key(file), token);
                self.marks
                    .push((file, ChangeMark::from_raw(mark.into_raw())));
            }
            Op::Write(file) if self.is_marked(file) || self.is_pinned(file) => self.change(file),
            Op::End(which) if !self.marks.is_empty() => {
                let (_, mark) = self.marks.remove(which % self.marks.len());
                self.ledger.end_change(mark, token);
            }
            Op::Change(file) if self.attached[file % VOLUMES] != 0 => {
                let mark = self.ledger.begin_change(&key(file), token);
                self.change(file);
                self.ledger.end_change(mark, token);
            }
            Op::Replace(file) => {
                // Another file took the id; we learn of it before anybody can open it.
                self.change(file);
                self.ledger.drop_key(&key(file), token);
            }
            Op::Pin(file) => {
                let pin = self.ledger.pin(&key(file), token);
                if self.attached[file % VOLUMES] != 0 {
                    self.pins.push((file, pin.expect("an attached volume")));
                }
            }
            Op::Unpin(which) if !self.pins.is_empty() => {
                // Whoever could write is gone; what was written came by before.
                let (file, pin) = self.pins.remove(which % self.pins.len());
                self.ledger.drop_key(&key(file), token);
                self.ledger.unpin(pin);
            }
            // Nothing to change, to end or to take back.
            _ => {}
        }
    }

    /// What happens to a volume, or to the service.
    fn step_of_a_volume(&mut self, op: &Op, token: &WriteToken<'_>) {
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
            Op::Hide(volume) => {
                let hidden = self.ledger.hide_volume(guid(volume), token);
                assert_eq!(hidden.is_some(), self.attached[volume] != 0);
                let of = |hidden| (Some(volume), hidden);
                self.hidden.extend(hidden.map(of));
            }
            Op::Show(which) => {
                if !self.hidden.is_empty() {
                    let (_, hidden) = self.hidden.remove(which % self.hidden.len());
                    self.ledger.show_volume(hidden, token);
                }
            }
            _ => self.step_of_a_change(op, token),
        }
    }

    fn is_marked(&self, file: usize) -> bool {
        self.marks.iter().any(|(marked, _)| *marked == file)
    }

    fn is_pinned(&self, file: usize) -> bool {
        self.pins.iter().any(|(pinned, _)| *pinned == file)
    }

    /// Whether verdicts of the volume can be kept and found.
    fn is_served(&self, volume: usize) -> bool {
        let hidden = self.hidden.iter().any(|(of, _)| *of == Some(volume));
        self.attached[volume] == 1 && !self.full[volume] && !hidden
    }

    /// Whether that is so, and nothing left over from a volume that has gone can be in the way.
    fn is_surely_served(&self, volume: usize) -> bool {
        self.is_served(volume) && self.hidden.iter().all(|(of, _)| of.is_some())
    }

    /// All of the volume may have changed.
    fn bump(&mut self, volume: usize, token: &WriteToken<'_>) {
        let tracked = self.ledger.bump_volume(guid(volume), token);
        assert!(!tracked || self.is_served(volume));
        assert!(tracked || !self.is_surely_served(volume));
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
                for (of, _) in &mut self.hidden {
                    *of = of.filter(|of| *of != volume);
                }
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
        let tracked = self.ledger.volume(guid(file % VOLUMES)).is_some();
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
        if self.is_marked(file) {
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
                assert!(!self.is_pinned(scan.file), "stored what may change unseen");
                assert_eq!(Some(scan.rules), self.rules, "stored under other rules");
                assert_eq!(
                    saw, self.content[scan.file],
                    "stored a verdict of other bytes"
                );
                let found = self.ledger.lookup(&key(scan.file));
                assert_eq!(found, Lookup::Hit(verdict), "stored and not found");
            }
            Settled::Shared(why) => {
                // Who may write unseen may have done so: such a scan is for one opener alone.
                assert!(
                    saw == self.content[scan.file] || self.is_pinned(scan.file),
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
                // A pin holds its neighbours off, too.
                let held = !self.is_surely_served(volume) || !self.pins.is_empty();
                assert!(held, "a tracked volume");
            }
            Lookup::Miss => {}
            Lookup::Hit(verdict) => {
                self.hits += 1;
                assert_eq!(verdict, right, "a hit of other bytes");
                assert_eq!(self.earned[file], self.epoch, "a hit of older signatures");
                assert!(!self.is_marked(file), "hit in change");
                assert!(!self.is_pinned(file), "hit of what may change unseen");
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
        if !self.is_served(volume) {
            assert_eq!(found, Lookup::Untracked);
        }
        // Who found the volume before is told the same, unless the epoch has moved since.
        let now = self.ledger.volume(guid(volume));
        let before = std::mem::replace(&mut self.found[volume], now);
        let on = |volume| self.ledger.lookup_on(volume, key(file).file);
        if before == now {
            assert_eq!(before.map(on), now.map(|_| Some(found)));
        } else {
            assert_eq!(before.and_then(on), None, "the epoch has moved");
        }
    }
}

fn zeroed<T: Default>(count: usize) -> Vec<T> {
    (0..count).map(|_| T::default()).collect()
}

/// Runs one history; how often it hit and stored.
pub fn run(sizes: Sizes, secret: u64, ops: &[Op]) -> (u64, u64) {
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

/// The history that bytes stand for: four for how much memory there is, then two for each step.
/// How often it hit and stored.
pub fn run_bytes(data: &[u8]) -> (u64, u64) {
    let Some((sizes, steps)) = data.split_at_checked(4) else {
        return (0, 0);
    };
    let size = |at: usize, most: usize| 1 + usize::from(sizes[at]) % most;
    let sizes_of = Sizes {
        sets: size(0, 2),
        buckets: size(1, 2),
        generations: size(2, 40),
    };
    let ops: Vec<Op> = steps
        .chunks_exact(2)
        .map(|two| step(two[0], two[1]))
        .collect();
    run(sizes_of, u64::from(sizes[3]), &ops)
}

/// The step that two bytes stand for; the shares are those of the property test.
fn step(kind: u8, at: u8) -> Op {
    let flag = at & 0x80 != 0;
    let at = usize::from(at & 0x7f);
    let (volume, file, stream) = (at % VOLUMES, at % (VOLUMES * FILES), at % STREAMS);
    match kind % 128 {
        0..=2 => Op::Attach(volume),
        3..=4 => Op::Detach(volume),
        5..=6 => Op::Bump(volume),
        7..=8 => Op::Connect(u8::from(flag)),
        9..=10 => Op::Announce(u8::from(flag)),
        11..=17 => Op::Begin(file),
        18..=27 => Op::Write(file),
        28..=36 => Op::End(at % 4),
        37..=38 => Op::Replace(file),
        39..=41 => Op::StreamBegin(stream),
        42..=45 => Op::StreamWrite(stream),
        46..=49 => Op::StreamEnd(stream),
        50 => Op::ContextlessWrite,
        51..=64 => Op::Ticket {
            file,
            stream: (at / 6) % STREAMS,
            keeps: flag,
        },
        65..=77 => Op::Read(at % 4),
        78..=88 => Op::Settle(at % 4, flag),
        89..=107 => Op::Scan(file),
        108 => Op::Hide(volume),
        109 => Op::Show(at % 4),
        110 => Op::Pin(file),
        111 => Op::Unpin(at % 4),
        _ => Op::Look(file),
    }
}
