//! The cache with two and three threads, every interleaving and every outcome that the memory
//! orders allow, up to two or three preemptions.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use siloscan_core::cache::{PlainCache, Set};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::ledger::Attached;
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict::{self, Clean, Infected};
use siloscan_core::volume::VolumeSlot;

fn guid(number: u64) -> VolumeGuid {
    VolumeGuid::from_words(number, 1).expect("not zero")
}

fn key(low: u64, high: u64) -> Key {
    Key::new(guid(1), FileId::from_words(low, high).expect("not zero"))
}

/// One set and one volume; loom looks for what leaks, so the memory is given back.
struct World {
    cache: Option<PlainCache<'static>>,
    sets: *mut [Set],
    volumes: *mut [VolumeSlot],
}

// SAFETY: the pointers are the memory that the cache borrows; nobody else uses them.
unsafe impl Send for World {}
// SAFETY: as above; what is shared are atomics of the model checker.
unsafe impl Sync for World {}

impl World {
    fn new() -> Arc<Self> {
        let sets = Box::into_raw(vec![Set::default()].into_boxed_slice());
        let volumes = Box::into_raw(vec![VolumeSlot::default()].into_boxed_slice());
        // SAFETY: both live until this world is dropped, and the cache goes first.
        let (lent, table) = unsafe { (&*sets, &*volumes) };
        let cache = PlainCache::new(lent, table, Secret::new([3, 5, 7, 9]));
        cache.attach(guid(1), &token());
        Arc::new(Self {
            cache: Some(cache),
            sets,
            volumes,
        })
    }

    fn cache(&self) -> &PlainCache<'static> {
        self.cache.as_ref().expect("until it is dropped")
    }

    fn put(&self, key: &Key, verdict: Verdict, signature: u64) -> bool {
        self.cache().put(key, verdict, signature, &token())
    }

    fn remove(&self, key: &Key) -> bool {
        self.cache().remove(key, &token())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.cache = None;
        // SAFETY: the cache that borrowed them is gone; they came from boxes.
        unsafe {
            drop(Box::from_raw(self.sets));
            drop(Box::from_raw(self.volumes));
        }
    }
}

fn token() -> WriteToken<'static> {
    WriteToken::promise_dispatch_level()
}

fn explore(preemptions: usize, story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(story);
}

/// A word of the story, not of the cache, that orders nothing. The model checker goes back only to
/// the last access of a word before a write to it, and a writer of a set looks at the version
/// before it changes it. So it would never try the writer before all looks of a reader who began
/// first. It does where the writer ends with this word and the reader begins with it.
struct Ended(loom::sync::atomic::AtomicU32);

impl Ended {
    fn new() -> Arc<Self> {
        Arc::new(Self(loom::sync::atomic::AtomicU32::new(0)))
    }

    fn tell(&self) {
        self.0.store(1, loom::sync::atomic::Ordering::Relaxed);
    }

    fn look(&self) {
        self.0.load(loom::sync::atomic::Ordering::Relaxed);
    }
}

/// Two keys that differ in their high words only take each other's place: a reader that mixes
/// words of both would find the verdict of one under the key of the other.
fn beside_an_exchange(high: u64, right: (Verdict, u64)) {
    explore(2, move || {
        let (world, ended) = (World::new(), Ended::new());
        assert!(world.put(&key(1, 1), Clean, 11));
        let writer = {
            let (world, ended) = (Arc::clone(&world), Arc::clone(&ended));
            thread::spawn(move || {
                world.remove(&key(1, 1));
                world.put(&key(1, 2), Infected, 22);
                ended.tell();
            })
        };
        ended.look();
        if let Some(found) = world.cache().get(&key(1, high)) {
            assert_eq!(found, right, "a value of another key");
        }
        writer.join().expect("it does not fail");
        assert_eq!(world.cache().get(&key(1, 1)), None);
        assert_eq!(world.cache().get(&key(1, 2)), Some((Infected, 22)));
    });
}

#[test]
fn a_value_never_appears_for_the_key_that_goes() {
    beside_an_exchange(1, (Clean, 11));
}

#[test]
fn a_value_never_appears_for_the_key_that_comes() {
    beside_an_exchange(2, (Infected, 22));
}

/// A newcomer takes the place of an entry of a full set, whose words are written over without
/// having been zeroed.
#[test]
fn a_value_never_appears_in_the_place_of_another() {
    explore(2, || {
        let (world, ended) = (World::new(), Ended::new());
        for high in 1..5 {
            assert!(world.put(&key(1, high), Clean, 11));
        }
        let writer = {
            let (world, ended) = (Arc::clone(&world), Arc::clone(&ended));
            thread::spawn(move || {
                assert!(world.put(&key(1, 5), Infected, 22));
                ended.tell();
            })
        };
        ended.look();
        if let Some(found) = world.cache().get(&key(1, 5)) {
            assert_eq!(found, (Infected, 22), "a value of another key");
        }
        writer.join().expect("it does not fail");
    });
}

/// Values of one key: what a reader sees is one of them, and never goes back.
#[test]
fn a_newer_value_is_not_followed_by_an_older_one() {
    explore(3, || {
        let world = World::new();
        let one = key(1, 0);
        assert!(world.put(&one, Clean, 1));
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.put(&one, Infected, 2))
        };
        let first = world.cache().get(&one);
        let second = world.cache().get(&one);
        for found in [first, second].into_iter().flatten() {
            assert!(found == (Clean, 1) || found == (Infected, 2), "{found:?}");
        }
        if first == Some((Infected, 2)) {
            assert_ne!(second, Some((Clean, 1)), "it went back");
        }
        writer.join().expect("it does not fail");
    });
}

/// An invalidation that has returned is seen by whoever learns of it.
#[test]
fn nothing_is_found_after_its_removal_or_its_epoch() {
    for bump in [false, true] {
        explore(3, move || {
            let world = World::new();
            let one = key(1, 0);
            assert!(world.put(&one, Clean, 1));
            let done = Arc::new(loom::sync::atomic::AtomicU32::new(0));
            let writer = {
                let (world, done) = (Arc::clone(&world), Arc::clone(&done));
                thread::spawn(move || {
                    if bump {
                        assert!(world.cache().bump(guid(1), &token()));
                    } else {
                        assert!(world.remove(&one));
                    }
                    done.store(1, loom::sync::atomic::Ordering::Release);
                })
            };
            let over = done.load(loom::sync::atomic::Ordering::Acquire) == 1;
            let found = world.cache().get(&one);
            if over {
                assert_eq!(found, None, "found after its invalidation");
            }
            writer.join().expect("it does not fail");
            assert_eq!(world.cache().get(&one), None);
        });
    }
}

/// Who found the volume before and looks on is told nothing of an epoch that was over before it
/// looked, and nothing that was put in later.
#[test]
fn a_volume_found_before_serves_no_epoch_that_is_over() {
    explore(2, || {
        let (world, ended) = (World::new(), Ended::new());
        let one = key(1, 0);
        let before = world.cache().find(guid(1)).expect("it is attached");
        assert!(world.put(&one, Clean, 1));
        let over = Arc::new(loom::sync::atomic::AtomicU32::new(0));
        let writer = {
            let (world, over) = (Arc::clone(&world), Arc::clone(&over));
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                assert!(world.cache().bump(guid(1), &token()));
                over.store(1, loom::sync::atomic::Ordering::Release);
                assert!(world.put(&one, Infected, 2));
                ended.tell();
            })
        };
        ended.look();
        let is_over = over.load(loom::sync::atomic::Ordering::Acquire) == 1;
        let kept = world.cache().look_on(before, one.file).verdict();
        assert!(kept.is_none() || !is_over, "an epoch that was over");
        assert_ne!(kept, Some(Infected), "put in later");
        writer.join().expect("it does not fail");
        assert_eq!(world.cache().look_on(before, one.file).verdict(), None);
        assert_eq!(world.cache().get(&one), Some((Infected, 2)));
    });
}

/// Two writers of one key: it is in once, so that one removal takes it out.
#[test]
fn no_key_is_in_twice() {
    explore(3, || {
        let world = World::new();
        let one = key(1, 0);
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.put(&one, Infected, 2))
        };
        world.put(&one, Clean, 1);
        writer.join().expect("it does not fail");
        assert!(world.cache().get(&one).is_some());
        assert!(world.remove(&one));
        assert_eq!(world.cache().get(&one), None);
        assert!(!world.remove(&one), "it was in twice");
    });
}

/// A volume's place passes to another volume, which has a verdict of its own: nobody who asks for
/// the first finds that.
#[test]
fn the_verdict_of_a_later_volume_is_not_the_first_ones() {
    explore(2, || {
        let (world, ended) = (World::new(), Ended::new());
        let one = key(1, 0);
        let other = Key::new(guid(2), one.file);
        let writer = {
            let (world, ended) = (Arc::clone(&world), Arc::clone(&ended));
            thread::spawn(move || {
                world.cache().detach(guid(1), &token());
                world.cache().attach(guid(2), &token());
                assert!(world.put(&other, Infected, 2));
                ended.tell();
            })
        };
        ended.look();
        assert_eq!(world.cache().get(&one), None, "another volume's verdict");
        writer.join().expect("it does not fail");
    });
}

/// A volume's place passes to another volume: nothing of the first appears on the second.
#[test]
fn two_volumes_are_never_confused() {
    explore(3, || {
        let world = World::new();
        let one = key(1, 0);
        let other = Key::new(guid(2), one.file);
        assert!(world.put(&one, Clean, 1));
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.cache().detach(guid(1), &token());
                world.cache().attach(guid(2), &token());
            })
        };
        assert_eq!(world.cache().get(&other), None, "another volume's verdict");
        writer.join().expect("it does not fail");
        assert_eq!(world.cache().get(&one), None);
        assert_eq!(world.cache().get(&other), None);
    });
}

/// Three instances on one volume are counted as three, whoever comes at the same time: the place
/// is another volume's only when the last has gone.
#[test]
fn no_instance_is_lost_count_of() {
    explore(3, || {
        let world = World::new();
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.cache().attach(guid(1), &token()))
        };
        world.cache().attach(guid(1), &token());
        writer.join().expect("it does not fail");
        for left in [2, 1] {
            world.cache().detach(guid(1), &token());
            let other = world.cache().attach(guid(2), &token());
            assert_eq!(other, Attached::Full, "{left} are still there");
        }
    });
}
