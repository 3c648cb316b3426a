//! New signatures and new connections: what was earned under older ones is stale, and an update
//! neither hides what is found nor stops the host.

use std::time::Duration;

use filterhost::status::STATUS_ACCESS_DENIED;
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{AllowReason, DenyReason, Event, Failure};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::Gate;
use siloscan_worlds::marked::{MARKER, Marked};
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const FILE: &str = r"C:\notes.txt";

/// A host whose first rule set finds nothing.
fn marked(parameters: &[(&str, u32)]) -> WorldOptions {
    let parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    WorldOptions {
        engine: Some(Marked::new(1).engine()),
        parameters: parameters.collect(),
        ..options()
    }
}

/// A user of the host who has a marked file, known under the signatures in use.
fn known_file(world: &World) -> Process {
    let user = world.process("user");
    user.run(|p| p.write_file(FILE, MARKER).expect("a new file"));
    let _verdict = user.run(|p| p.read_file(FILE));
    user
}

#[test]
fn w6_new_signatures_make_every_older_verdict_stale() {
    everywhere(&marked(&[]), |world| {
        let user = known_file(world);
        let before = world.scans();
        assert!(user.run(|p| p.read_file(FILE)).is_ok());
        assert_eq!(world.scans(), before, "known");
        world.use_engine(Marked::new(2).finding().engine());
        assert_eq!(user.run(|p| p.read_file(FILE)), Err(INFECTED));
        assert_eq!(world.scans(), before + 1, "scanned under the new ones");
        assert_eq!(user.run(|p| p.read_file(FILE)), Err(INFECTED));
        assert_eq!(world.scans(), before + 1, "known again");
    });
}

#[test]
fn w6_a_new_connection_is_a_new_epoch() {
    everywhere(&marked(&[]), |world| {
        let user = known_file(world);
        world.stop_service();
        // The same digest: what happened while nobody was connected is not known.
        world.start_service(Marked::new(1).engine(), 2);
        assert!(user.run(|p| p.read_file(FILE)).is_ok());
        assert_eq!(world.scans(), 1, "the first scan of the new connection");
    });
}

#[test]
fn w6_a_verdict_of_other_signatures_than_its_tickets_is_not_kept() {
    let slow = Marked::new(1).taking(Duration::from_millis(300)).engine();
    let options = WorldOptions {
        engine: Some(slow),
        ..options()
    };
    everywhere(&options, |world| {
        let user = known_file(world);
        world.stop_service();
        let gate = Gate::closed();
        world.start_service(gate.clone(), 2);
        let opener = user.spawn("open", |p| p.read_file(FILE));
        gate.await_held(1);
        // In mid-scan. The old rule set finds nothing; its verdict must not outlive it.
        world.use_engine(Marked::new(4).finding().engine());
        gate.open();
        assert!(opener.join().is_ok(), "the verdict of those who waited");
        assert_eq!(user.run(|p| p.read_file(FILE)), Err(INFECTED));
    });
}

#[test]
fn i1_a_stale_infected_denies_until_a_scan_replaces_it() {
    let options = WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        ..options()
    };
    everywhere(&options, |world| {
        let user = known_file(world);
        assert_eq!(user.run(|p| p.read_file(FILE)), Err(INFECTED));
        // Nothing can be said of the file under these; it stays what it was last known to be,
        // although the policy lets a host's open of an unscannable file through.
        world.use_engine(Marked::new(2).failing().engine());
        let before = world.scans();
        assert_eq!(user.run(|p| p.read_file(FILE)), Err(INFECTED));
        assert_eq!(world.scans(), before + 1, "a scan was tried");
        let denied = world.count(DenyReason::StaleInfected);
        assert_eq!(denied, 1, "{:?}", world.counts().named());
        // A scan that finds nothing replaces it.
        world.use_engine(Marked::new(3).engine());
        assert!(user.run(|p| p.read_file(FILE)).is_ok());
        assert!(user.run(|p| p.read_file(FILE)).is_ok());
        assert_eq!(world.scans(), before + 2, "once");
    });
}

#[test]
fn i1_a_stale_infected_is_over_when_the_bytes_change() {
    let options = WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        ..options()
    };
    everywhere(&options, |world| {
        let user = known_file(world);
        world.use_engine(Marked::new(2).failing().engine());
        assert_eq!(user.run(|p| p.read_file(FILE)), Err(INFECTED));
        user.run(|p| p.write_file(FILE, b"other bytes").expect("overwritten"));
        assert!(user.run(|p| p.read_file(FILE)).is_ok());
        let failed = world.count(Failure::Unscannable);
        assert!(failed > 0, "{:?}", world.counts().named());
    });
}

#[test]
fn i2_a_stale_clean_passes_only_within_its_window() {
    let parameters = [("OnStale", 1), ("OnEvasion", 2)];
    everywhere(&marked(&parameters), |world| {
        let user = known_file(world);
        // Nothing can be said of the file under these.
        world.use_engine(Marked::new(2).failing().engine());
        assert!(user.run(|p| p.read_file(FILE)).is_ok());
        let passed = world.count(AllowReason::StaleClean);
        assert_eq!(passed, 1, "{:?}", world.counts().named());
        if world.machine().sched().is_seeded() {
            // Ten minutes of virtual time.
            world.machine().sched().sleep(Duration::from_secs(601));
            assert_eq!(user.run(|p| p.read_file(FILE)), Err(STATUS_ACCESS_DENIED));
        }
        // Two epochs back is no verdict at all.
        world.use_engine(Marked::new(3).failing().engine());
        world.use_engine(Marked::new(4).finding().engine());
        assert_eq!(user.run(|p| p.read_file(FILE)), Err(INFECTED));
    });
}

#[test]
fn i2_what_passes_with_a_stale_clean_is_scanned_meanwhile() {
    everywhere(&marked(&[("OnStale", 1)]), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let (user, app) = (known_file(world), containers[0].process("app"));
        assert!(app.run(|p| p.read_file(TOOL)).is_ok());
        let gate = Gate::closed();
        world.use_engine(gate.clone());
        let before = gate.all_begun();
        for _ in 0..3 {
            assert!(user.run(|p| p.read_file(FILE)).is_ok(), "nobody waits");
            assert!(app.run(|p| p.read_file(TOOL)).is_ok(), "nobody waits");
        }
        assert!(gate.holds(2), "{:?}", world.counts().named());
        assert_eq!(gate.all_begun(), before + 2, "one scan a file");
        assert_eq!(world.count(AllowReason::StaleClean), 6);
        assert_eq!(world.count(Event::StaleRescan), 2);
        gate.empty();
        let kept = world.counts_once(|counts| {
            counts.get(AllowReason::CachedClean) > 0 || {
                assert!(user.run(|p| p.read_file(FILE)).is_ok());
                false
            }
        });
        assert!(
            kept.is_some(),
            "the verdict of a scan that nobody waited for is kept"
        );
        // What such a scan finds is denied from then on.
        world.use_engine(Marked::new(5).finding().engine());
        assert!(user.run(|p| p.read_file(FILE)).is_ok());
        let found = world.counts_once(|counts| {
            counts.get(Event::VerdictStored) > 0 && {
                user.run(|p| p.read_file(FILE)) == Err(INFECTED)
            }
        });
        assert!(found.is_some());
        containers[0].destroy();
    });
}

#[test]
fn a_proactive_scan_is_asked_for_once_in_an_epoch() {
    everywhere(&marked(&[]), |world| {
        let user = world.process("user");
        let files = [r"C:\a", r"C:\b", r"C:\c"];
        let read = move |p: &Process| files.iter().all(|file| p.read_file(file).is_ok());
        user.run(move |p| {
            for file in files {
                p.write_file(file, b"x").expect("a new file");
            }
        });
        assert!(user.run(read));
        assert_eq!(world.count(Event::WarmWanted), 0, "nothing is stale");
        for epoch in 2..4_u8 {
            world.use_engine(Marked::new(epoch).engine());
            let service = world.service().expect("it runs");
            assert!(!service.warm_wanted(), "nobody has opened anything yet");
            assert!(user.run(read));
            assert_eq!(world.count(Event::WarmWanted), u64::from(epoch) - 1);
            assert!(service.warm_wanted());
        }
    });
}

/// Containers whose threads all read the package files at once, before and after an update. Of
/// each opener: that it could, or how long it took all of them, in 100 ns.
fn storm(world: &World) -> Vec<Result<(), u64>> {
    let layer = layer(world);
    let containers = containers(world, &layer, 3, EcpVariant::default());
    let rush = || {
        let started = world.machine().sched().now();
        let tasks: Vec<_> = containers
            .iter()
            .flat_map(|container| {
                let app = container.process("app");
                (0..4).map(move |_| app.spawn("open", |p| [TOOL, OTHER].map(|f| p.read_file(f))))
            })
            .collect();
        let ends: Vec<_> = tasks
            .into_iter()
            .map(filterhost::user::Task::join)
            .collect();
        let took = world.machine().sched().now().0 - started.0;
        (ends, took)
    };
    let _known = rush();
    world.use_engine(Marked::new(2).taking(Duration::from_millis(50)).engine());
    let (ends, took) = rush();
    containers.iter().for_each(|container| container.destroy());
    ends.into_iter()
        .map(|[tool, other]| {
            if tool.and(other).is_ok() {
                Ok(())
            } else {
                Err(took)
            }
        })
        .collect()
}

#[test]
fn i3_an_update_storm_ends_with_one_scan_for_each_file() {
    everywhere(&marked(&[("OpenDeadlineMs", 30_000)]), |world| {
        let ends = storm(world);
        assert!(ends.iter().all(Result::is_ok), "{ends:?}");
        // Two files are laid down, first opened, and opened anew: one scan each time at most.
        assert!(world.scans() <= 6, "{} scans", world.scans());
        let late = world.count(Failure::TooSlow);
        assert_eq!(late, 0, "{:?}", world.counts().named());
    });
}

#[test]
fn i3_an_update_storm_waits_for_nobody_where_stale_passes() {
    everywhere(&marked(&[("OnStale", 1)]), |world| {
        let ends = storm(world);
        assert!(ends.iter().all(Result::is_ok), "{ends:?}");
        let passed = world.count(AllowReason::StaleClean);
        let (counts, known) = (world.counts(), world.count(AllowReason::CachedClean));
        assert!(passed >= 2 && passed + known >= 24, "{:?}", counts.named());
        assert_eq!(counts.get(Event::StaleRescan), 2, "one scan a file");
        assert_eq!(counts.get(Event::WarmWanted), 1);
    });
}

#[test]
fn i1_a_scan_by_one_who_can_write_replaces_no_stale_infected() {
    let options = WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        ..options()
    };
    everywhere(&options, |world| {
        let user = known_file(world);
        world.use_engine(Marked::new(2).engine());
        let writer = user.run(|p| p.open(&OpenOptions::new(FILE).read().write())?.close());
        assert_eq!(writer, Err(INFECTED), "its verdict is not kept");
        assert!(user.run(|p| p.read_file(FILE)).is_ok(), "a reader's is");
        let writer = user.run(|p| p.open(&OpenOptions::new(FILE).read().write())?.close());
        assert!(writer.is_ok());
    });
}
