//! Recorded histories of the cache under real threads are linearisable.
//!
//! Each operation notes when it began and ended on one counter. Per key the cache is a register
//! that may forget: a miss is always right, a value found must have been the last one put in at
//! some moment between the look-up's beginning and end. `cargo xtask stress` runs this for longer.

use siloscan_core::cache::{PlainCache, Set};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict;
use siloscan_core::volume::VolumeSlot;
use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const KEYS: usize = 7;
const THREADS: u64 = 4;
/// Of one thread in one history; few where an interpreter runs it.
const OPERATIONS: usize = if cfg!(miri) { 100 } else { 3_000 };

/// What one operation did to one key. Every put has a value of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Did {
    Put(u64),
    Found(u64),
    Removed,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    key: usize,
    did: Did,
    began: u64,
    ended: u64,
}

fn guid() -> VolumeGuid {
    VolumeGuid::from_words(1, 1).unwrap()
}

/// Keys that share words: a torn copy of two of them is a third.
fn key(number: usize) -> Key {
    let (low, high) = (1 + number as u64 % 3, 1 + number as u64 / 3);
    Key::new(guid(), FileId::from_words(low, high).unwrap())
}

fn verdict(value: u64) -> Verdict {
    if value.is_multiple_of(2) {
        Verdict::Clean
    } else {
        Verdict::Infected
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn act(cache: &PlainCache<'_>, clock: &AtomicU64, dice: &mut Dice, value: u64) -> Vec<Event> {
    let token = WriteToken::promise_dispatch_level();
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    let which = dice.roll(KEYS as u64) as usize;
    let began = tick();
    let did = match dice.roll(64) {
        0 => {
            cache.bump(guid(), &token);
            let ended = tick();
            let all = (0..KEYS).map(|key| Event {
                key,
                did: Did::Removed,
                began,
                ended,
            });
            return all.collect();
        }
        1..=20 => cache
            .put(&key(which), verdict(value), value, &token)
            .then_some(Did::Put(value)),
        21..=25 => {
            cache.remove(&key(which), &token);
            Some(Did::Removed)
        }
        _ => cache.get(&key(which)).map(|(found, value)| {
            assert_eq!(found, verdict(value), "a mixture of two values");
            Did::Found(value)
        }),
    };
    let ended = tick();
    let event = did.map(|did| Event {
        key: which,
        did,
        began,
        ended,
    });
    event.into_iter().collect()
}

/// One history of all threads.
fn record(seed: u64) -> Vec<Event> {
    let sets = [Set::default(), Set::default()];
    let volumes: Vec<VolumeSlot> = (0..16).map(|_| VolumeSlot::default()).collect();
    let cache = PlainCache::new(&sets, &volumes, Secret::new([3, 5, seed, !seed]));
    cache.attach(guid(), &WriteToken::promise_dispatch_level());
    let (clock, barrier) = (AtomicU64::new(1), Barrier::new(THREADS as usize));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (cache, clock, barrier) = (&cache, &clock, &barrier);
                scope.spawn(move || {
                    let mut dice = Dice(seed.wrapping_mul(THREADS).wrapping_add(thread) | 1 << 40);
                    barrier.wait();
                    let values = (0..OPERATIONS as u64).map(|n| 1 + n * THREADS + thread);
                    values
                        .flat_map(|value| act(cache, clock, &mut dice, value))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// When a value surely was in, from the first end to the last beginning of those that know it.
/// Where the end comes later, there is only a time in which it may have been.
#[derive(Clone, Copy, Debug)]
struct Zone {
    first_end: u64,
    last_begin: u64,
}

/// Why a history of one key has no linear order; `None` where it has one (Gibbons and Korach).
fn broken(events: &[Event]) -> Option<String> {
    let mut zones: HashMap<u64, (Zone, bool)> = HashMap::new();
    let mut removed = 1 << 60;
    for event in events {
        let (value, put) = match event.did {
            Did::Put(value) => (value, true),
            Did::Found(value) => (value, false),
            Did::Removed => {
                removed += 1;
                (removed, true)
            }
        };
        let (zone, has_put) = zones.entry(value).or_insert((
            Zone {
                first_end: u64::MAX,
                last_begin: 0,
            },
            false,
        ));
        zone.first_end = zone.first_end.min(event.ended);
        zone.last_begin = zone.last_begin.max(event.began);
        *has_put |= put;
    }
    if let Some((value, _)) = zones.iter().find(|(_, (_, has_put))| !has_put) {
        return Some(format!("{value} was found and never put in"));
    }
    for event in events {
        if let Did::Put(value) = event.did
            && zones[&value].0.first_end < event.began
        {
            return Some(format!("{value} was found before it was put in"));
        }
    }
    let mut sure: Vec<Zone> = Vec::new();
    let mut may = Vec::new();
    for (zone, _) in zones.into_values() {
        if zone.first_end < zone.last_begin {
            sure.push(zone);
        } else {
            may.push(zone);
        }
    }
    sure.sort_by_key(|zone| zone.first_end);
    for pair in sure.windows(2) {
        if pair[1].first_end < pair[0].last_begin {
            return Some(format!("two values at once: {pair:?}"));
        }
    }
    may.iter().find_map(|write| {
        // The last sure zone that begins before this write did.
        let at = sure.partition_point(|zone| zone.first_end < write.last_begin);
        let zone = sure.get(at.checked_sub(1)?)?;
        (write.first_end < zone.last_begin)
            .then(|| format!("found after {write:?} had taken its place: {zone:?}"))
    })
}

fn check(history: &[Event], seed: u64) -> usize {
    let mut found = 0;
    for key in 0..KEYS {
        let own: Vec<Event> = history
            .iter()
            .filter(|event| event.key == key)
            .copied()
            .collect();
        found += own
            .iter()
            .filter(|event| matches!(event.did, Did::Found(_)))
            .count();
        if let Some(why) = broken(&own) {
            panic!("seed {seed}, key {key}: not linearisable: {why}");
        }
    }
    found
}

#[test]
fn histories_are_linearisable() {
    let minutes = std::env::var("SILOSCAN_STRESS_MINUTES").ok();
    let minutes = minutes.and_then(|text| text.parse::<f64>().ok());
    let time = Duration::from_secs_f64(minutes.map_or(1.0, |minutes| minutes * 60.0));
    let until = Instant::now() + time;
    let (mut seed, mut found) = (1, 0);
    while seed < 3 || Instant::now() < until {
        found += check(&record(seed), seed);
        seed += 1;
    }
    println!("{} histories, {found} values found", seed - 1);
    assert!(found > OPERATIONS / 6, "{found} found: nothing was tested");
}

#[test]
fn a_broken_history_is_seen() {
    let event = |did, began, ended| Event {
        key: 0,
        did,
        began,
        ended,
    };
    let right = [
        event(Did::Put(1), 0, 1),
        event(Did::Found(1), 2, 3),
        event(Did::Put(2), 2, 5),
        event(Did::Found(2), 4, 6),
        event(Did::Removed, 7, 8),
    ];
    assert_eq!(broken(&right), None);
    let after_removal = [
        right[0],
        event(Did::Removed, 2, 3),
        event(Did::Found(1), 4, 5),
    ];
    assert!(broken(&after_removal).is_some());
    let back = [
        right[0],
        event(Did::Put(2), 2, 9),
        event(Did::Found(2), 3, 4),
        event(Did::Found(1), 5, 6),
    ];
    assert!(broken(&back).is_some());
    assert!(broken(&[event(Did::Found(1), 0, 1)]).is_some());
    assert!(broken(&[event(Did::Found(1), 0, 1), event(Did::Put(1), 2, 3)]).is_some());
}
