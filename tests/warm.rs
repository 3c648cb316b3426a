//! Package files that were laid down on the host have their verdicts before any container starts:
//! the first container's start asks for no scan of them.

use std::time::Duration;

use filterhost::user::{Process, cache};
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_core::reason::{AllowReason, Event, LookupReason};
use siloscan_service::warm::{SimulatedTree, Tally, Warmed, warm, warm_all};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::marked::{MARKER, Marked};
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

/// Waits until that many verdicts are kept.
fn kept(world: &World, verdicts: u64) {
    while world.count(Event::VerdictStored) < verdicts {
        world.machine().sched().sleep(Duration::from_millis(100));
    }
}

/// The first container starts over `layer`, and asks for nothing.
fn starts_without_a_scan(world: &World, layer: &Layer) {
    let before = world.scans();
    let hits = world.count(AllowReason::CachedClean);
    let containers = containers(world, layer, 1, EcpVariant::default());
    containers[0].process("app").run(|p| {
        assert!(p.read_file(TOOL).is_ok());
        assert!(p.read_file(OTHER).is_ok());
    });
    assert_eq!(world.scans(), before, "{:?}", world.counts().named());
    let counts = world.counts();
    assert_eq!(counts.get(LookupReason::Layer), 2, "{:?}", counts.named());
    let hits = counts.get(AllowReason::CachedClean) - hits;
    assert_eq!(hits, 2, "{:?}", counts.named());
    containers[0].destroy();
}

#[test]
fn what_an_install_writes_is_known_to_the_first_container() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        kept(world, 2);
        starts_without_a_scan(world, &layer);
    });
}

#[test]
fn the_lazy_writer_voids_no_verdict() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        kept(world, 2);
        // The installed bytes reach the disk only now, as paging writes of a system thread.
        world.machine().sched().sleep(Duration::from_secs(3));
        starts_without_a_scan(world, &layer);
    });
}

#[test]
fn a_flush_after_the_scan_voids_no_verdict() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        kept(world, 2);
        cache::settle(world.machine());
        starts_without_a_scan(world, &layer);
    });
}

/// What `siloscan warm` does, as a process of the host.
fn helper(world: &World, layer: &Layer) -> Process {
    let helper = world.process("siloscan");
    helper.set_drive('C', &layer.volume);
    helper
}

fn warmed(p: &Process, folder: &str) -> Tally {
    warm(&SimulatedTree(p), &folder.to_owned(), |_, _| {}).expect("there are files")
}

#[test]
fn after_warming_the_first_container_asks_for_no_scan() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        kept(world, 2);
        // What the install earned is stale.
        world.use_engine(Marked::new(7).engine());
        let tally = helper(world, &layer).run(|p| warmed(p, r"C:\app"));
        let both = Tally {
            warm: 2,
            ..Tally::default()
        };
        assert_eq!((tally.exit_code(), tally), (0, both));
        starts_without_a_scan(world, &layer);
    });
}

#[test]
fn warming_tells_what_was_found_and_replaces_what_was_wrong() {
    let first = WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        ..options()
    };
    everywhere(&first, |world| {
        let layer = layer(world);
        let helper = helper(world, &layer);
        helper.run(|p| p.write_file(TOOL, MARKER).expect("the host may"));
        let tally = helper.run(|p| warmed(p, r"C:\app"));
        assert_eq!(tally.infected, [TOOL]);
        assert_eq!((tally.exit_code(), tally.warm), (1, 1));
        // Rules that do not find it any more: the stale "infected" is replaced by this.
        world.use_engine(Marked::new(2).engine());
        assert_eq!(helper.run(|p| warmed(p, r"C:\app")).exit_code(), 0);
        starts_without_a_scan(world, &layer);
        // And rules that find it again.
        world.use_engine(Marked::new(3).finding().engine());
        assert_eq!(helper.run(|p| p.read_file(TOOL)), Err(INFECTED));
    });
}

#[test]
fn the_layers_of_an_image_are_warmed_together_and_each_tells_its_own() {
    let finding = WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        ..options()
    };
    everywhere(&finding, |world| {
        let layer = layer(world);
        kept(world, 2);
        let helper = helper(world, &layer);
        helper.run(|p| {
            p.create_directory(r"C:\above").expect("the host may");
            p.write_file(r"C:\above\bad.exe", MARKER)
                .expect("the host may");
        });
        world.use_engine(Marked::new(2).finding().engine());
        let (warmed, told) = helper.run(|p| {
            let folders = [r"C:\app", r"C:\above"].map(str::to_owned);
            let mut told = Vec::new();
            let tree = SimulatedTree(p);
            let warmed = warm_all(&tree, &folders, |done, all| told.push((done, all)));
            (warmed.expect("both are there"), told)
        });
        let clean = Tally {
            warm: 2,
            ..Tally::default()
        };
        let infected = Tally {
            infected: vec![r"C:\above\bad.exe".to_owned()],
            ..Tally::default()
        };
        let expected = [(2, clean), (1, infected)].map(|(files, tally)| Warmed { files, tally });
        assert_eq!(warmed, expected);
        assert_eq!(told, [(0, 3), (1, 3), (2, 3), (3, 3)]);
        starts_without_a_scan(world, &layer);
    });
}

#[test]
fn w14_a_tree_can_be_renamed_and_deleted_while_it_is_warmed() {
    let slow = Marked::new(1).taking(Duration::from_millis(200));
    let slow = WorldOptions {
        engine: Some(slow.engine()),
        ..options()
    };
    everywhere(&slow, |world| {
        let layer = layer(world);
        kept(world, 2);
        world.use_engine(Marked::new(2).taking(Duration::from_millis(200)).engine());
        let before = world.scans();
        let helper = helper(world, &layer);
        let warming = helper.spawn("warm", |p| warmed(p, r"C:\app"));
        let scanning = || (world.scans() > before).then_some(());
        let sched = world.machine().sched();
        let _scanning = sched.wait_until("a scan", None, scanning);
        helper.run(|p| {
            p.rename_file(r"C:\app", r"C:\removing", false)
                .expect("a scan gives way to a rename");
            for file in ["tool.exe", "other.dll"] {
                p.delete_file(&format!(r"C:\removing\{file}"))
                    .expect("a scan gives way to a delete");
            }
            p.delete_file(r"C:\removing").expect("nothing is left");
        });
        let tally = warming.join();
        assert_eq!(tally.exit_code(), 0, "{tally:?}");
        assert!(tally.gone >= 1, "{tally:?}");
        assert_eq!(tally.warm + tally.gone, 2, "{tally:?}");
    });
}
