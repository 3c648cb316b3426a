//! The probe whose ratios to the floor are the gate, made again from its description: four-way
//! sets in two cache lines, the volume as a number of 16 bits, tags compared at once, a version in
//! the set. It promises far less than siloscan's cache: no epochs of volumes, no choice of who
//! stays, volumes that never go. Two of it: one finds the volume's number by its GUID in each
//! call, the other is told the number, as if the caller had remembered it.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU16, AtomicU64, fence};

use siloscan_core::key::{Key, VolumeGuid};

use crate::peers::{SECRET, Subject, fold};
use crate::trace::VOLUMES;

const WAYS: usize = 4;
/// The lowest bit of each of four words of 16 bits.
const EACH: u64 = 0x0001_0001_0001_0001;
const LOW_BITS: u64 = 0x7fff_7fff_7fff_7fff;

#[repr(C, align(128))]
#[derive(Default)]
struct Set {
    version: AtomicU64,
    /// Sixteen bits a way, never zero of a way that is taken.
    tags: AtomicU64,
    volumes: [AtomicU16; WAYS],
    low: [AtomicU64; WAYS],
    high: [AtomicU64; WAYS],
    values: [AtomicU64; WAYS],
}

const _: () = assert!(size_of::<Set>() == 128);

/// A key as the table knows it.
struct Local {
    set: usize,
    tag: u64,
    volume: u16,
    low: u64,
    high: u64,
}

/// The table, with a few volumes.
struct Table {
    sets: Vec<Set>,
    volumes: [(u64, u64); SLOTS],
}

const SLOTS: usize = 64;

/// Where a volume is looked for first.
const fn slot(low: u64, high: u64) -> usize {
    ((low ^ high).wrapping_mul(SECRET[2]) >> 58) as usize
}

impl Table {
    fn new(entries: usize) -> Self {
        let mut volumes = [(0, 0); SLOTS];
        for number in 1..=VOLUMES {
            let guid = VolumeGuid::from_words(number, 0x5170_5ca9).expect("not zero");
            let words = guid.to_words();
            let mut at = slot(words.0, words.1);
            while volumes[at] != (0, 0) {
                at = (at + 1) % SLOTS;
            }
            volumes[at] = words;
        }
        let sets = (0..(entries * 5 / 4).div_ceil(WAYS)).map(|_| Set::default());
        Self {
            sets: sets.collect(),
            volumes,
        }
    }

    #[inline(always)]
    fn number(&self, guid: VolumeGuid) -> u16 {
        let words = guid.to_words();
        let mut at = slot(words.0, words.1);
        while self.volumes[at % SLOTS] != words {
            at += 1;
        }
        (at % SLOTS) as u16
    }

    #[inline(always)]
    fn local(&self, key: &Key, volume: u16) -> Local {
        let (low, high) = key.file.to_words();
        let hash = fold(
            fold(low ^ SECRET[0], high ^ SECRET[1]) ^ u64::from(volume),
            SECRET[3],
        );
        Local {
            set: ((u128::from(hash) * self.sets.len() as u128) >> 64) as usize,
            tag: (hash & 0xffff) | 1,
            volume,
            low,
            high,
        }
    }

    #[inline(always)]
    fn get(&self, key: &Local) -> u64 {
        let set = &self.sets[key.set];
        for _ in 0..4 {
            let version = set.version.load(Acquire);
            let value = set.find(key).map_or(0, |way| set.values[way].load(Relaxed));
            fence(Acquire);
            if version & 1 == 0 && set.version.load(Relaxed) == version {
                return value;
            }
        }
        0
    }

    fn put(&self, key: &Local, value: u64) {
        let set = &self.sets[key.set];
        set.write(|turn| {
            let empty = set.first(0);
            let way = set.find(key).or(empty).unwrap_or(turn % WAYS);
            set.fill(way, key, key.tag, value);
        });
    }

    fn remove(&self, key: &Local) {
        let set = &self.sets[key.set];
        set.write(|_| {
            if let Some(way) = set.find(key) {
                let nothing = Local {
                    set: 0,
                    tag: 0,
                    volume: 0,
                    low: 0,
                    high: 0,
                };
                set.fill(way, &nothing, 0, 0);
            }
        });
    }
}

impl Set {
    /// The first way with this tag, exactly.
    #[inline(always)]
    fn first(&self, tag: u64) -> Option<usize> {
        let differs = self.tags.load(Relaxed) ^ (tag * EACH);
        // The highest bit of each sixteen that are all zero.
        let same = !(((differs & LOW_BITS) + LOW_BITS) | differs | LOW_BITS);
        (same != 0).then(|| same.trailing_zeros() as usize / 16)
    }

    #[inline(always)]
    fn find(&self, key: &Local) -> Option<usize> {
        let way = self.first(key.tag)?;
        if self.is(way, key) {
            return Some(way);
        }
        (way + 1..WAYS).find(|way| self.is(*way, key))
    }

    #[inline(always)]
    fn is(&self, way: usize, key: &Local) -> bool {
        let differs = (self.low[way].load(Relaxed) ^ key.low)
            | (self.high[way].load(Relaxed) ^ key.high)
            | u64::from(self.volumes[way].load(Relaxed) ^ key.volume);
        differs == 0
    }

    fn write(&self, body: impl FnOnce(usize)) {
        let version = loop {
            let version = self.version.load(Relaxed);
            let odd = version | 1;
            if version != odd
                && self
                    .version
                    .compare_exchange_weak(version, odd, Acquire, Relaxed)
                    .is_ok()
            {
                break version;
            }
            std::hint::spin_loop();
        };
        fence(Release);
        body((version >> 1) as usize);
        self.version.store(version + 2, Release);
    }

    fn fill(&self, way: usize, key: &Local, tag: u64, value: u64) {
        let shift = way * 16;
        let tags = self.tags.load(Relaxed) & !(0xffff << shift);
        self.tags.store(tags | (tag << shift), Relaxed);
        self.volumes[way].store(key.volume, Relaxed);
        self.low[way].store(key.low, Relaxed);
        self.high[way].store(key.high, Relaxed);
        self.values[way].store(value, Relaxed);
    }
}

/// The volume's number is found by its GUID.
pub struct Probe(Table);

/// The number is the caller's: here, part of the GUID.
pub struct Told(Table);

/// What [`Told`] is told.
#[inline(always)]
fn told(key: &Key) -> u16 {
    key.volume.to_words().0 as u16
}

macro_rules! probe {
    ($Name:ident, $name:literal, |$s:ident, $k:ident| $number:expr) => {
        impl Subject for $Name {
            const NAME: &'static str = $name;

            fn with_capacity(entries: usize) -> Self {
                Self(Table::new(entries))
            }

            #[inline(always)]
            fn get(&self, $k: &Key) -> u64 {
                let $s = &self.0;
                $s.get(&$s.local($k, $number))
            }

            fn put(&self, $k: &Key, value: u64) {
                let $s = &self.0;
                $s.put(&$s.local($k, $number), value);
            }

            fn remove(&self, $k: &Key) {
                let $s = &self.0;
                $s.remove(&$s.local($k, $number));
            }
        }
    };
}

probe!(Probe, "the probe", |s, k| s.number(k.volume));
probe!(Told, "the probe, told the volume", |s, k| told(k));
