//! siloscan: the cache with its volumes, and the ledger as the driver uses it.

use siloscan_core::cache::{PlainCache, Set, sets_for};
use siloscan_core::change::{ChangeBucket, ChangeCounter, Generation};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::ledger::{Binding, Ledger, LedgerMemory, Lookup};
use siloscan_core::limits;
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict;
use siloscan_core::volume::{VolumeRef, VolumeSlot};

use crate::peers::Subject;
use crate::speed::Timed;
use crate::trace::VOLUMES;

/// As random as those that the driver takes.
const SECRET: [u64; 4] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
];
const RULES: [u8; 32] = [7; 32];

/// The cache with its volumes: what a peer does, no more.
pub struct Plain {
    cache: PlainCache<'static>,
    memory: LedgerMemory<'static>,
}

/// The whole ledger: an insertion takes a ticket and settles it, and everything is looked at.
pub struct Whole {
    ledger: Ledger<'static>,
    stream: ChangeCounter,
    instance: ChangeCounter,
    memory: LedgerMemory<'static>,
}

fn lend<T: Default>(count: usize) -> &'static [T] {
    let all: Vec<T> = (0..count).map(|_| T::default()).collect();
    all.leak()
}

/// Memory for so many entries, with the driver's other tables.
fn memory(entries: usize) -> LedgerMemory<'static> {
    LedgerMemory {
        sets: lend::<Set>(sets_for(entries)),
        changing: lend::<ChangeBucket>(limits::CHANGING.div_ceil(5)),
        generations: lend::<Generation>(16_384),
        volumes: lend::<VolumeSlot>(limits::VOLUMES),
    }
}

fn guids() -> impl Iterator<Item = VolumeGuid> {
    (1..=VOLUMES).filter_map(|volume| VolumeGuid::from_words(volume, 0x5170_5ca9))
}

const TOKEN: WriteToken<'static> = WriteToken::promise_dispatch_level();

impl Plain {
    /// Room for so many entries.
    pub fn of(entries: usize) -> Self {
        let memory = memory(entries);
        let cache = PlainCache::new(memory.sets, memory.volumes, Secret::new(SECRET));
        for guid in guids() {
            cache.attach(guid, &TOKEN);
        }
        Self { cache, memory }
    }

    /// Bytes of the verdicts' sets, and of these with the volumes.
    pub fn bytes(&self) -> (usize, usize) {
        let sets = size_of_val(self.memory.sets);
        (sets, sets + size_of_val(self.memory.volumes))
    }

    /// Whether the verdict was kept.
    pub fn store(&self, key: &Key) -> bool {
        self.cache.put(key, Verdict::Clean, 1, &TOKEN)
    }
}

impl Subject for Plain {
    const NAME: &'static str = "siloscan";

    /// Four fifths full with that many.
    fn with_capacity(entries: usize) -> Self {
        Self::of(entries * 5 / 4)
    }

    fn get(&self, key: &Key) -> u64 {
        self.cache.look(key).signature()
    }

    fn put(&self, key: &Key, _value: u64) {
        self.store(key);
    }

    fn remove(&self, key: &Key) {
        self.cache.remove(key, &TOKEN);
    }
}

/// The cache as a caller uses it that keeps what it found of a volume.
pub struct Told(Plain);

/// A file on a volume that was found before.
#[derive(Clone, Copy)]
pub struct OnKnown {
    volume: VolumeRef,
    file: FileId,
}

impl Timed for Told {
    const NAME: &'static str = "siloscan, volume known";
    type Asked = OnKnown;

    fn with_capacity(entries: usize) -> Self {
        Self(<Plain as Subject>::with_capacity(entries))
    }

    fn asked(&self, key: &Key) -> OnKnown {
        let volume = self.0.cache.find(key.volume).expect("it is attached");
        OnKnown {
            volume,
            file: key.file,
        }
    }

    #[inline(always)]
    fn get(&self, asked: &OnKnown) -> u64 {
        self.0.cache.look_on(asked.volume, asked.file).signature()
    }

    fn put(&self, asked: &OnKnown, _value: u64) {
        self.0
            .cache
            .put_on(asked.volume, asked.file, Verdict::Clean, 1, &TOKEN);
    }

    fn remove(&self, asked: &OnKnown) {
        self.0.cache.remove_on(asked.volume, asked.file, &TOKEN);
    }
}

impl Subject for Whole {
    const NAME: &'static str = "siloscan's ledger";

    fn with_capacity(entries: usize) -> Self {
        let memory = memory(entries * 5 / 4);
        let ledger = Ledger::new(memory, Secret::new(SECRET));
        for guid in guids() {
            ledger.attach_volume(guid, &TOKEN);
        }
        ledger.connected(&RULES, 0, &TOKEN);
        Self {
            ledger,
            stream: ChangeCounter::new(),
            instance: ChangeCounter::new(),
            memory,
        }
    }

    fn get(&self, key: &Key) -> u64 {
        u64::from(self.ledger.lookup(key) == Lookup::Hit(Verdict::Clean))
    }

    fn put(&self, key: &Key, _value: u64) {
        let binding = Binding {
            key: Some(*key),
            stream: &self.stream,
            instance: &self.instance,
            keeps: true,
        };
        if let Some(ticket) = self.ledger.ticket(&binding, &TOKEN) {
            self.ledger
                .settle(&ticket, &binding, Verdict::Clean, &RULES, &TOKEN);
        }
    }

    fn remove(&self, key: &Key) {
        self.ledger.drop_key(key, &TOKEN);
    }
}

/// The memory of a subject lives as long as the program, except the verdicts' sets.
fn give_back(memory: &LedgerMemory<'static>) {
    let sets = std::ptr::from_ref(memory.sets).cast_mut();
    // SAFETY: `lend` leaked exactly this slice, and the subject that used it is being dropped.
    drop(unsafe { Box::from_raw(sets) });
}

impl Drop for Plain {
    fn drop(&mut self) {
        give_back(&self.memory);
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        give_back(&self.memory);
    }
}
