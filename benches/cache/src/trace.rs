//! What is asked for: keys, and histories of opens. All from fixed seeds.

use siloscan_core::key::{FileId, Key, VolumeGuid};

/// Volumes that keys are on.
pub const VOLUMES: u64 = 8;

/// A generator of numbers (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, sides: usize) -> usize {
        ((u128::from(self.roll()) * sides as u128) >> 64) as usize
    }

    fn part(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The key of a number: NTFS ids, a record number and a sequence number, on a few volumes.
pub fn key(number: u64) -> Key {
    let guid = VolumeGuid::from_words(number % VOLUMES + 1, 0x5170_5ca9);
    let file = FileId::from_words((number / VOLUMES + 64) | (1 + number % 5) << 48, 0);
    Key::new(guid.expect("not zero"), file.expect("not zero"))
}

/// Draws ranks by Zipf's law.
pub struct Zipf(Vec<f64>);

impl Zipf {
    pub fn new(ranks: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        sums.iter_mut().for_each(|part| *part /= sum);
        Self(sums)
    }

    pub fn draw(&self, dice: &mut Dice) -> usize {
        let part = dice.part();
        self.0
            .partition_point(|sum| *sum < part)
            .min(self.0.len() - 1)
    }
}

/// A history, and how much of its beginning only fills the cache.
pub struct Trace {
    pub name: &'static str,
    pub opens: Vec<u64>,
    pub warm_up: usize,
    pub capacity: usize,
}

/// 100,000 files by Zipf's law with exponent 0.9, a million opens, room for 10 %.
pub fn zipf() -> Trace {
    let (files, mut dice) = (100_000, Dice(7));
    let law = Zipf::new(files, 0.9);
    Trace {
        name: "Zipf 0.9",
        opens: (0..1_000_000).map(|_| law.draw(&mut dice) as u64).collect(),
        warm_up: 500_000,
        capacity: files / 10,
    }
}

/// A container host: twelve images on three base layers start by Zipf's law; a start opens half
/// of its base's hot files and of its image's own, and thirty files that it wrote itself. Every
/// 400 starts something sweeps once over 60,000 files that nobody opens again: a backup, a scan of
/// images that do not start. 2,940 files are hot; the room is for 9,300, or for less.
pub fn containers(capacity: usize) -> Trace {
    const BASES: u64 = 3;
    const IMAGES: usize = 12;
    const BASE_FILES: u64 = 500;
    const IMAGE_FILES: u64 = 120;
    const HOST_FILES: u64 = 60_000;
    let (mut dice, popular) = (Dice(42), Zipf::new(IMAGES, 0.9));
    let mut opens = Vec::new();
    let mut written = 1_u64 << 32;
    for start in 1..=2_000 {
        let image = popular.draw(&mut dice) as u64;
        let base = (image % BASES) << 20;
        let files = (0..BASE_FILES).map(|file| 1 + base + file);
        let own = (0..IMAGE_FILES).map(|file| (1 << 24) + (image << 20) + file);
        for file in files.chain(own) {
            if dice.below(2) == 0 {
                opens.push(file);
            }
        }
        for _ in 0..30 {
            opens.push(written);
            written += 1;
        }
        if start % 400 == 0 {
            let sweep = start << 40;
            opens.extend((0..HOST_FILES).map(|file| sweep + file));
        }
    }
    let warm_up = opens.len() / 4;
    Trace {
        name: "containers and sweeps",
        opens,
        warm_up,
        capacity,
    }
}
