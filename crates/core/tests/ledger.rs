//! Single stories of the ledger, one promise each (I2, I4, W3).

use siloscan_core::cache::{Set, sets_for};
use siloscan_core::change::{ChangeBucket, ChangeCounter, Generation};
use siloscan_core::exclusion::{Excluded, Exemption};
use siloscan_core::hash::Secret;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::ledger::{
    Attached, Binding, Ledger, LedgerMemory, Lookup, NotKept, Settled, Ticket,
};
use siloscan_core::sync::WriteToken;
use siloscan_core::verdict::Verdict;
use siloscan_core::volume::VolumeSlot;

const RULES: [u8; 32] = [1; 32];
const OTHER_RULES: [u8; 32] = [2; 32];

fn guid(number: u64) -> VolumeGuid {
    VolumeGuid::from_words(number, 1).unwrap()
}

fn key(file: u64) -> Key {
    Key::new(guid(1), FileId::from_words(file, 0).unwrap())
}

fn zeroed<T: Default>(count: usize) -> Vec<T> {
    (0..count).map(|_| T::default()).collect()
}

struct World<'m> {
    ledger: Ledger<'m>,
    token: WriteToken<'m>,
    stream: ChangeCounter,
    instance: ChangeCounter,
}

impl World<'_> {
    fn binding(&self, file: u64, keeps: bool) -> Binding<'_> {
        let key = Some(key(file));
        Binding {
            key,
            stream: &self.stream,
            instance: &self.instance,
            keeps,
        }
    }

    fn ticket(&self, file: u64) -> Option<Ticket> {
        self.ledger.ticket(&self.binding(file, true), &self.token)
    }

    fn settle(&self, file: u64, ticket: &Ticket, verdict: Verdict, rules: &[u8; 32]) -> Settled {
        self.ledger.settle(
            ticket,
            &self.binding(file, true),
            verdict,
            rules,
            &self.token,
        )
    }

    fn store(&self, file: u64, verdict: Verdict) {
        let ticket = self.ticket(file).expect("nothing changes");
        assert_eq!(self.settle(file, &ticket, verdict, &RULES), Settled::Stored);
        assert_eq!(self.ledger.lookup(&key(file)), Lookup::Hit(verdict));
    }
}

impl World<'_> {
    fn exempt(&self, file: u64, keeps: bool) -> Settled {
        let binding = self.binding(file, keeps);
        let ticket = self.ledger.ticket(&binding, &self.token);
        let ticket = ticket.expect("nothing changes");
        let said = exemption(1);
        let ledger = &self.ledger;
        ledger.settle_excluded(&ticket, &binding, said, &self.token)
    }
}

fn exemption(list: u64) -> Exemption {
    Exemption {
        list,
        place: Excluded::at(63).expect("a place"),
    }
}

/// Runs a story on a ledger of `sets` sets and one bucket, with volume 1 and the first rules.
fn story(sets: usize, tell: impl FnOnce(&World<'_>)) {
    let (sets, changing) = (zeroed::<Set>(sets), zeroed::<ChangeBucket>(1));
    let (generations, volumes) = (zeroed::<Generation>(1_024), zeroed::<VolumeSlot>(32));
    let memory = LedgerMemory {
        sets: &sets,
        changing: &changing,
        generations: &generations,
        volumes: &volumes,
    };
    let world = World {
        ledger: Ledger::new(memory, Secret::new([1, 2, 3, 4])),
        token: WriteToken::promise_dispatch_level(),
        stream: ChangeCounter::new(),
        instance: ChangeCounter::new(),
    };
    assert_eq!(
        world.ledger.attach_volume(guid(1), &world.token),
        Attached::Cacheable
    );
    world.ledger.connected(&RULES, 7, &world.token);
    tell(&world);
}

#[test]
fn w3_a_changed_file_has_no_verdict_and_earns_none_while_it_changes() {
    story(4, |world| {
        world.store(1, Verdict::Clean);
        world.store(2, Verdict::Clean);
        let before = world.ticket(1).unwrap();
        let mark = world.ledger.begin_change(&key(1), &world.token);
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Miss);
        assert_eq!(world.ledger.lookup(&key(2)), Lookup::Hit(Verdict::Clean));
        assert_eq!(world.ticket(1), None);
        assert_eq!(
            world.settle(1, &before, Verdict::Clean, &RULES),
            Settled::Dead
        );
        world.ledger.end_change(mark, &world.token);
        assert_eq!(
            world.settle(1, &before, Verdict::Clean, &RULES),
            Settled::Dead
        );
        world.store(1, Verdict::Infected);
    });
}

#[test]
fn overlapping_changes_end_with_the_last_of_them() {
    story(4, |world| {
        let first = world.ledger.begin_change(&key(1), &world.token);
        let second = world.ledger.begin_change(&key(1), &world.token);
        world.ledger.end_change(first, &world.token);
        assert_eq!(world.ticket(1), None);
        world.ledger.end_change(second, &world.token);
        world.store(1, Verdict::Clean);
        for changes in 0..3 {
            let mark = world.ticket(1).map(|ticket| ticket.stream_mark());
            assert_eq!(mark, Some(changes));
            world.stream.begin();
            world.stream.end();
        }
    });
}

#[test]
fn a_full_table_makes_the_whole_volume_change() {
    story(4, |world| {
        world.store(50, Verdict::Clean);
        let exact: Vec<_> = (1..6)
            .map(|file| world.ledger.begin_change(&key(file), &world.token))
            .collect();
        assert!(exact.iter().all(|mark| !mark.is_whole_volume()));
        assert_eq!(world.ledger.lookup(&key(50)), Lookup::Hit(Verdict::Clean));
        let before = world.ticket(50).unwrap();
        let whole = world.ledger.begin_change(&key(6), &world.token);
        assert!(whole.is_whole_volume());
        assert_eq!(world.ledger.lookup(&key(50)), Lookup::Miss);
        assert_eq!(world.ticket(50), None, "no ticket on a changing volume");
        assert_eq!(
            world.settle(50, &before, Verdict::Clean, &RULES),
            Settled::Dead
        );
        for mark in exact {
            world.ledger.end_change(mark, &world.token);
        }
        assert_eq!(world.ticket(50), None);
        world.ledger.end_change(whole, &world.token);
        world.store(50, Verdict::Clean);
    });
}

#[test]
fn a_dropped_key_takes_its_tickets_with_it() {
    story(4, |world| {
        world.store(1, Verdict::Infected);
        let ticket = world.ticket(1).unwrap();
        assert!(world.ledger.drop_key(&key(1), &world.token));
        assert!(!world.ledger.drop_key(&key(1), &world.token));
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Miss);
        assert_eq!(
            world.settle(1, &ticket, Verdict::Clean, &RULES),
            Settled::Dead
        );
    });
}

#[test]
fn i2_new_signatures_make_every_verdict_stale_at_once() {
    story(4, |world| {
        world.store(1, Verdict::Clean);
        world.store(2, Verdict::Infected);
        assert!(
            !world.ledger.announced(&RULES, 8, &world.token),
            "the same rules"
        );
        assert!(world.ledger.announced(&OTHER_RULES, 9, &world.token));
        assert_eq!(world.ledger.signature_since(), 9);
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::StaleClean);
        assert_eq!(world.ledger.lookup(&key(2)), Lookup::StaleInfected);
        assert!(world.ledger.want_warm());
        assert!(!world.ledger.want_warm(), "asked once in an epoch");
        assert!(world.ledger.warm_wanted());
        world.ledger.connected(&OTHER_RULES, 10, &world.token);
        assert!(!world.ledger.warm_wanted());
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Old, "two epochs old");
        assert_eq!(
            world.ledger.lookup(&key(2)),
            Lookup::StaleInfected,
            "until replaced"
        );
    });
}

#[test]
fn i2_a_verdict_is_kept_only_under_the_rules_of_its_ticket() {
    story(4, |world| {
        let ticket = world.ticket(1).unwrap();
        let settled = world.settle(1, &ticket, Verdict::Clean, &OTHER_RULES);
        assert_eq!(settled, Settled::Shared(NotKept::Signatures));
        world.ledger.announced(&OTHER_RULES, 8, &world.token);
        for rules in [&RULES, &OTHER_RULES] {
            let settled = world.settle(1, &ticket, Verdict::Clean, rules);
            assert_eq!(settled, Settled::Shared(NotKept::Signatures));
        }
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Miss);
    });
}

#[test]
fn a_volume_that_comes_back_brings_no_verdict_back() {
    story(4, |world| {
        world.store(1, Verdict::Clean);
        assert!(world.ledger.volume(guid(1)).is_some());
        world.ledger.detach_volume(guid(1), &world.token);
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Untracked);
        assert!(world.ledger.volume(guid(1)).is_none());
        world.ledger.attach_volume(guid(1), &world.token);
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Miss);
    });
}

#[test]
fn two_live_volumes_with_one_guid_are_not_cached() {
    story(4, |world| {
        world.store(1, Verdict::Clean);
        assert_eq!(
            world.ledger.attach_volume(guid(1), &world.token),
            Attached::Duplicate
        );
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Untracked);
        assert_eq!(world.ticket(1), None);
        world.ledger.detach_volume(guid(1), &world.token);
        assert_eq!(
            world.ledger.lookup(&key(1)),
            Lookup::Untracked,
            "until both are gone"
        );
        world.ledger.detach_volume(guid(1), &world.token);
        assert_eq!(
            world.ledger.attach_volume(guid(1), &world.token),
            Attached::Cacheable
        );
        world.store(1, Verdict::Clean);
    });
}

#[test]
fn a_thousand_volumes_come_and_go() {
    story(4, |world| {
        for round in 0..1_000 {
            let guid = guid(2 + round);
            assert_eq!(
                world.ledger.attach_volume(guid, &world.token),
                Attached::Cacheable
            );
            let key = Key::new(guid, FileId::from_words(1, 0).unwrap());
            assert_eq!(
                world.ledger.lookup(&key),
                Lookup::Miss,
                "another volume's verdict"
            );
            let binding = Binding {
                key: Some(key),
                ..world.binding(1, true)
            };
            let ticket = world.ledger.ticket(&binding, &world.token).unwrap();
            let settled =
                world
                    .ledger
                    .settle(&ticket, &binding, Verdict::Clean, &RULES, &world.token);
            assert_eq!(settled, Settled::Stored);
            world.ledger.detach_volume(guid, &world.token);
        }
    });
}

#[test]
fn a_full_table_of_volumes_is_told_and_harmless() {
    story(4, |world| {
        let answers: Vec<Attached> = (2..60)
            .map(|n| world.ledger.attach_volume(guid(n), &world.token))
            .collect();
        let full = answers
            .iter()
            .filter(|answer| **answer == Attached::Full)
            .count();
        assert!(full >= 58 - 31, "{full}");
        let lost = 2 + answers
            .iter()
            .position(|answer| *answer == Attached::Full)
            .unwrap() as u64;
        let key = Key::new(guid(lost), FileId::from_words(1, 0).unwrap());
        assert_eq!(world.ledger.lookup(&key), Lookup::Untracked);
        let mark = world.ledger.begin_change(&key, &world.token);
        world.ledger.end_change(mark, &world.token);
    });
}

#[test]
fn coverage_is_of_one_epoch_and_one_life_of_the_volume() {
    story(4, |world| {
        let epoch = world.ledger.signature_epoch();
        assert!(!world.ledger.covered(guid(1)));
        assert!(
            !world.ledger.begin_cover(guid(1), epoch + 1, &world.token),
            "another epoch"
        );
        assert!(
            !world.ledger.begin_cover(guid(2), epoch, &world.token),
            "no instance of ours"
        );
        assert!(
            !world.ledger.cover(guid(1), epoch, &world.token),
            "a scan that never began"
        );
        let cover = || {
            let epoch = world.ledger.signature_epoch();
            assert!(world.ledger.begin_cover(guid(1), epoch, &world.token));
            assert!(!world.ledger.covered(guid(1)), "it only begins");
            assert!(!world.ledger.cover(guid(1), epoch + 1, &world.token));
            assert!(world.ledger.cover(guid(1), epoch, &world.token));
            assert!(world.ledger.covered(guid(1)));
        };
        cover();
        assert!(world.ledger.is_cover_at_stake(guid(1)));
        assert!(world.ledger.uncover(guid(1), &world.token));
        assert!(!world.ledger.covered(guid(1)));
        assert!(!world.ledger.is_cover_at_stake(guid(1)));
        assert!(!world.ledger.uncover(guid(1), &world.token), "once");
        // A file that changes under the scan is in nobody's report.
        assert!(world.ledger.begin_cover(guid(1), epoch, &world.token));
        assert!(world.ledger.is_cover_at_stake(guid(1)));
        assert!(world.ledger.uncover(guid(1), &world.token));
        assert!(!world.ledger.cover(guid(1), epoch, &world.token));
        assert!(!world.ledger.covered(guid(1)));
        cover();
        world.ledger.bump_volume(guid(1), &world.token);
        assert!(!world.ledger.covered(guid(1)), "bytes may have changed");
        cover();
        world.ledger.announced(&OTHER_RULES, 8, &world.token);
        assert!(!world.ledger.covered(guid(1)), "other signatures");
        cover();
        world.ledger.connected(&OTHER_RULES, 9, &world.token);
        assert!(!world.ledger.covered(guid(1)), "another connection");
    });
}

#[test]
fn a_hidden_volume_serves_and_keeps_nothing_until_it_is_shown() {
    story(16, |world| {
        world.store(1, Verdict::Clean);
        let hidden = world.ledger.hide_volume(guid(1), &world.token);
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Untracked);
        assert!(world.ticket(2).is_none_or(|ticket| {
            world.settle(2, &ticket, Verdict::Clean, &RULES) != Settled::Stored
        }));
        let hidden = hidden.expect("the volume is tracked");
        world.ledger.show_volume(hidden, &world.token);
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Miss, "it stays void");
        world.store(1, Verdict::Clean);
    });
}

#[test]
fn a_pin_is_taken_from_the_place_where_it_was_set() {
    story(1_024, |world| {
        for file in 1..200 {
            let ledger = &world.ledger;
            let pin = ledger.pin(&key(file), &world.token).expect("a place");
            let kept = || {
                let ticket = world.ticket(file).expect("nothing changes");
                world.settle(file, &ticket, Verdict::Clean, &RULES)
            };
            assert_eq!(kept(), Settled::Shared(NotKept::NoKey), "{file}");
            assert_eq!(ledger.lookup(&key(file)), Lookup::Untracked);
            ledger.unpin(pin);
            // Its set may be full of others, which is no matter of pins.
            let after = [Settled::Stored, Settled::Shared(NotKept::Crowded)];
            assert!(after.contains(&kept()), "{file}");
        }
    });
}

#[test]
fn nothing_is_earned_before_a_service_was_there() {
    let (sets, changing) = (zeroed::<Set>(1), zeroed::<ChangeBucket>(1));
    let (generations, volumes) = (zeroed::<Generation>(1), zeroed::<VolumeSlot>(16));
    let memory = LedgerMemory {
        sets: &sets,
        changing: &changing,
        generations: &generations,
        volumes: &volumes,
    };
    let ledger = Ledger::new(memory, Secret::new([0; 4]));
    let token = WriteToken::promise_dispatch_level();
    ledger.attach_volume(guid(1), &token);
    assert!(!ledger.begin_cover(guid(1), 0, &token));
    assert!(!ledger.cover(guid(1), 0, &token));
    assert!(!ledger.covered(guid(1)));
    let (stream, instance) = (ChangeCounter::new(), ChangeCounter::new());
    let binding = Binding {
        key: Some(key(1)),
        stream: &stream,
        instance: &instance,
        keeps: true,
    };
    let ticket = ledger.ticket(&binding, &token).unwrap();
    let settled = ledger.settle(&ticket, &binding, Verdict::Clean, &[0; 32], &token);
    assert_eq!(settled, Settled::Shared(NotKept::Signatures));
}

/// Sixteen keys for four places: what is in use stays longer, and the memory is the bound.
#[test]
fn i5_an_exemption_is_told_to_layer_opens_alone() {
    story(16, |world| {
        assert_eq!(world.exempt(1, true), Settled::Stored);
        let layer = |file| world.ledger.lookup_layer(&key(file));
        assert_eq!(layer(1), Lookup::Excluded(exemption(1)));
        assert_eq!(world.ledger.lookup(&key(1)), Lookup::Miss);
        assert_eq!(layer(2), Lookup::Miss);
        // Signatures are no matter of it: nothing was scanned.
        world.ledger.connected(&OTHER_RULES, 8, &world.token);
        assert_eq!(layer(1), Lookup::Excluded(exemption(1)));
        // A change takes it away, as does the volume's epoch.
        assert!(world.ledger.drop_key(&key(1), &world.token));
        assert_eq!(layer(1), Lookup::Miss);
        assert_eq!(world.exempt(2, true), Settled::Stored);
        world.ledger.bump_volume(guid(1), &world.token);
        assert_eq!(layer(2), Lookup::Miss);
        // An open that can write gets it, and keeps it for nobody.
        let shared = Settled::Shared(NotKept::CanWrite);
        assert_eq!(world.exempt(3, false), shared);
        assert_eq!(layer(3), Lookup::Miss);
        // A list that no entry can carry is not cut to another.
        let last = (1 << 24) - 2;
        for (list, expected) in [
            (u64::MAX, shared),
            (last + 2, shared),
            (last + 1, shared),
            (last, Settled::Stored),
        ] {
            let ticket = world.ticket(4).expect("nothing changes");
            let (binding, said) = (world.binding(4, true), exemption(list));
            let settled = world
                .ledger
                .settle_excluded(&ticket, &binding, said, &world.token);
            assert_eq!(settled, expected, "{list:#x}");
        }
        assert_eq!(layer(4), Lookup::Excluded(exemption(last)));
    });
}

#[test]
fn i1_an_exemption_replaces_no_infected_of_whatever_signatures() {
    story(16, |world| {
        world.store(1, Verdict::Infected);
        for keeps in [true, false] {
            assert_eq!(world.exempt(1, keeps), Settled::Dead);
        }
        world.ledger.connected(&OTHER_RULES, 8, &world.token);
        assert_eq!(world.exempt(1, true), Settled::Dead);
        assert_eq!(world.ledger.lookup_layer(&key(1)), Lookup::StaleInfected);
        // A verdict replaces an exemption.
        assert_eq!(world.exempt(2, true), Settled::Stored);
        let ticket = world.ticket(2).expect("nothing changes");
        let settled = world.settle(2, &ticket, Verdict::Infected, &OTHER_RULES);
        assert_eq!(settled, Settled::Stored);
        let found = world.ledger.lookup_layer(&key(2));
        assert_eq!(found, Lookup::Hit(Verdict::Infected));
        // What was changed meanwhile is told to nobody.
        let ticket = world.ticket(3).expect("nothing changes");
        world.ledger.drop_key(&key(3), &world.token);
        let binding = world.binding(3, true);
        let settled = world
            .ledger
            .settle_excluded(&ticket, &binding, exemption(1), &world.token);
        assert_eq!(settled, Settled::Dead);
    });
}

#[test]
fn a_sweep_does_not_turn_out_what_is_used_and_who_comes_back_gets_in() {
    story(1, |world| {
        for file in 1..5 {
            // Looked up once each: they are used.
            world.store(file, Verdict::Clean);
        }
        let bring = |file| {
            let ticket = world.ticket(file).expect("nothing changes");
            world.settle(file, &ticket, Verdict::Clean, &RULES)
        };
        let kept = |files: core::ops::Range<u64>| {
            files
                .filter(|file| world.ledger.lookup(&key(*file)) != Lookup::Miss)
                .count()
        };
        for file in 100..160 {
            assert_eq!(bring(file), Settled::Shared(NotKept::Crowded));
        }
        assert_eq!(kept(1..5), 4);
        assert_eq!(kept(100..160), 0);
        let tries = (0..3).take_while(|_| bring(7) != Settled::Stored).count();
        assert!((1..3).contains(&tries), "let in after {tries} refusals");
        assert_eq!((kept(1..5), kept(7..8)), (3, 1));
    });
}

#[test]
fn a_full_set_gives_up_what_was_not_used() {
    story(1, |world| {
        let bring = |file| {
            let ticket = world.ticket(file).expect("nothing changes");
            world.settle(file, &ticket, Verdict::Clean, &RULES)
        };
        for file in 1..60 {
            assert_eq!(bring(file), Settled::Stored);
        }
        let found = (1..60).filter(|f| world.ledger.lookup(&key(*f)) != Lookup::Miss);
        assert_eq!(found.count(), 4);
    });
}

#[test]
fn what_is_void_makes_room_for_whoever_comes_first() {
    story(1, |world| {
        for file in 1..=4 {
            world.store(file, Verdict::Clean);
            for _ in 0..100 {
                let _ = world.ledger.lookup(&key(file));
            }
        }
        world.ledger.bump_volume(guid(1), &world.token);
        (5..=8).for_each(|file| world.store(file, Verdict::Clean));
    });
}

#[test]
fn a_removed_key_does_not_come_back() {
    // A tag that is compared by the "has a zero byte" trick finds the neighbour of a match; here
    // the neighbours differ in one bit of one word, and only the right one may be found.
    story(1, |world| {
        for bit in 0..64 {
            world.store(1 << bit, Verdict::Infected);
            world.store((1 << bit) | 1 << ((bit + 1) % 64), Verdict::Clean);
            for file in [1 << bit, (1 << bit) | 1 << ((bit + 1) % 64)] {
                assert!(world.ledger.drop_key(&key(file), &world.token));
                assert_eq!(world.ledger.lookup(&key(file)), Lookup::Miss);
                assert!(
                    !world.ledger.drop_key(&key(file), &world.token),
                    "still there"
                );
            }
        }
    });
}

#[test]
fn a_ledger_without_memory_remembers_nothing_and_does_not_fall() {
    let memory = LedgerMemory {
        sets: &[],
        changing: &[],
        generations: &[],
        volumes: &[],
    };
    let ledger = Ledger::new(memory, Secret::new([1; 4]));
    let token = WriteToken::promise_dispatch_level();
    assert_eq!(ledger.attach_volume(guid(1), &token), Attached::Full);
    assert_eq!(ledger.lookup(&key(1)), Lookup::Untracked);
    let mark = ledger.begin_change(&key(1), &token);
    ledger.end_change(mark, &token);
    assert!(!ledger.drop_key(&key(1), &token));
    assert_eq!((sets_for(0), sets_for(1), sets_for(65_536)), (0, 1, 16_384));
}
