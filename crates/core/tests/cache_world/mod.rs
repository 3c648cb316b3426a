//! The cache against a register that may forget, one for each key. Property tests and a fuzzer
//! drive it.
//!
//! One thread: whatever is found is what was put in last, since the last invalidation. What was
//! once missed does not come back by itself.

use siloscan_core::cache::{PlainCache, Set};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict;
use siloscan_core::volume::{Attached, VolumeSlot};

const VOLUMES: usize = 3;
const FILES: usize = 8;
/// Entries of a set.
const WAYS: usize = 4;

fn guid(volume: usize) -> VolumeGuid {
    VolumeGuid::from_words(1 + volume as u64, 7).unwrap()
}

/// Keys that share words: one is not another's because a part of it is.
fn key(volume: usize, file: usize) -> Key {
    let (low, high) = (1 + file as u64 % 3, file as u64 / 3);
    Key::new(guid(volume), FileId::from_words(low, high).unwrap())
}

struct World<'m> {
    cache: PlainCache<'m>,
    sets: usize,
    /// Live instances of each volume, and whether there ever were two of those.
    attached: [u32; VOLUMES],
    doubled: [bool; VOLUMES],
    /// What may be found.
    known: [[Option<(Verdict, u64)>; FILES]; VOLUMES],
    next: u64,
    hits: u64,
}

impl World<'_> {
    fn step(&mut self, kind: u8, at: u8, token: &WriteToken<'_>) {
        let (volume, file) = (usize::from(at) % VOLUMES, usize::from(at) / VOLUMES % FILES);
        match kind % 16 {
            0 => self.attach(volume, token),
            1 => self.detach(volume, token),
            2 => {
                let tracked = self.cache.bump(guid(volume), token);
                assert_eq!(tracked, self.is_tracked(volume));
                self.known[volume] = [None; FILES];
            }
            3..=7 => self.put(volume, file, kind & 0x80 != 0, token),
            8 | 9 => self.remove(volume, file, token),
            10 => self.count(),
            _ => self.get(volume, file),
        }
    }

    fn is_tracked(&self, volume: usize) -> bool {
        self.attached[volume] == 1 && !self.doubled[volume]
    }

    fn attach(&mut self, volume: usize, token: &WriteToken<'_>) {
        if self.attached[volume] == 2 {
            return;
        }
        match self.cache.attach(guid(volume), token) {
            Attached::Cacheable => assert_eq!(self.attached[volume], 0),
            Attached::Duplicate => self.doubled[volume] = true,
            Attached::Full => panic!("there is room for all"),
        }
        self.attached[volume] += 1;
        self.known[volume] = [None; FILES];
    }

    fn detach(&mut self, volume: usize, token: &WriteToken<'_>) {
        if self.attached[volume] == 0 {
            return;
        }
        self.cache.detach(guid(volume), token);
        self.attached[volume] -= 1;
        self.doubled[volume] &= self.attached[volume] != 0;
        self.known[volume] = [None; FILES];
    }

    fn put(&mut self, volume: usize, file: usize, infected: bool, token: &WriteToken<'_>) {
        let verdict = if infected {
            Verdict::Infected
        } else {
            Verdict::Clean
        };
        self.next += 1;
        let value = (verdict, self.next);
        let stored = self
            .cache
            .put(&key(volume, file), verdict, self.next, token);
        assert!(self.is_tracked(volume) || !stored, "kept and not tracked");
        // Turned away only where it was not in.
        self.known[volume][file] = stored.then_some(value);
        let found = self.cache.get(&key(volume, file));
        assert_eq!(found, stored.then_some(value), "not what was put in");
    }

    fn remove(&mut self, volume: usize, file: usize, token: &WriteToken<'_>) {
        let key = key(volume, file);
        self.cache.remove(&key, token);
        assert_eq!(self.cache.get(&key), None, "found after its removal");
        assert!(!self.cache.remove(&key, token), "it was in twice");
        self.known[volume][file] = None;
    }

    fn get(&mut self, volume: usize, file: usize) {
        let found = self.cache.get(&key(volume, file));
        let known = &mut self.known[volume][file];
        if found.is_some() {
            self.hits += 1;
            assert_eq!(found, *known, "not the value of this key in this epoch");
        } else {
            *known = None;
        }
    }

    /// No more is found than there is room for.
    fn count(&mut self) {
        let before = self.hits;
        for volume in 0..VOLUMES {
            for file in 0..FILES {
                self.get(volume, file);
            }
        }
        assert!(self.hits - before <= (self.sets * WAYS) as u64);
    }
}

/// The history that bytes stand for: two for the size and the secret, then two for each step.
/// How often it hit.
pub fn run_bytes(data: &[u8]) -> u64 {
    let Some((sizes, steps)) = data.split_at_checked(2) else {
        return 0;
    };
    let sets: Vec<Set> = (0..1 + sizes[0] % 3).map(|_| Set::default()).collect();
    let volumes: Vec<VolumeSlot> = (0..16).map(|_| VolumeSlot::default()).collect();
    let secret = u64::from(sizes[1]);
    let secret = Secret::new([secret, secret ^ 0x55, !secret, secret.rotate_left(9)]);
    let mut world = World {
        cache: PlainCache::new(&sets, &volumes, secret),
        sets: sets.len(),
        attached: [0; VOLUMES],
        doubled: [false; VOLUMES],
        known: [[None; FILES]; VOLUMES],
        next: 0,
        hits: 0,
    };
    let token = WriteToken::promise_dispatch_level();
    (0..VOLUMES).for_each(|volume| world.attach(volume, &token));
    for two in steps.chunks_exact(2) {
        world.step(two[0], two[1], &token);
    }
    world.count();
    world.hits
}
