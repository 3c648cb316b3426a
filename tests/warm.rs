//! Package files that were laid down on the host have their verdicts before any container starts:
//! the first container's start asks for no scan of them.

use std::time::Duration;

use filterhost::user::cache;
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_core::reason::{AllowReason, Event, LookupReason};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::World;

/// Waits until that many verdicts are kept.
fn kept(world: &World, verdicts: u64) {
    while world.count(Event::VerdictStored) < verdicts {
        world.machine().sched().sleep(Duration::from_millis(100));
    }
}

/// The first container starts over `layer`, and asks for nothing.
fn starts_without_a_scan(world: &World, layer: &Layer) {
    let before = world.scans();
    let containers = containers(world, layer, 1, EcpVariant::default());
    containers[0].process("app").run(|p| {
        assert!(p.read_file(TOOL).is_ok());
        assert!(p.read_file(OTHER).is_ok());
    });
    assert_eq!(world.scans(), before, "{:?}", world.counts().named());
    let counts = world.counts();
    assert_eq!(counts.get(LookupReason::Layer), 2, "{:?}", counts.named());
    assert_eq!(
        counts.get(AllowReason::CachedClean),
        2,
        "{:?}",
        counts.named()
    );
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
