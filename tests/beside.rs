//! Beside others: an antivirus above or below that asks through the same ECP, filters that send
//! creates round again, projected files, and answers that are left over from anywhere.

use std::sync::Arc;

use filterhost::container::Container;
use filterhost::fltmgr::{NativeFilter, native};
use filterhost::native::{OtherAntivirus, Projected, Reissue};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{Event, LookupReason, ScanReason, SkipReason};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{OTHER, TOOL, containers, layer, live, options};
use siloscan_worlds::world::{Counts, World};

/// Above us, and between us and the container's file system filter.
const ABOVE: &str = "328010";
const BELOW: &str = "320100";

/// What a container does beside `filter`: it reads, and what it makes infected is denied.
fn lives(world: &World, variant: EcpVariant, filters: Make) -> Counts {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, variant);
    for filter in filters(&containers[0]) {
        native::attach(world.machine(), containers[0].scratch(), filter);
    }
    let counts = live(world, &containers[0]);
    containers[0].destroy();
    counts
}

/// The filters beside us on a container's volume.
type Make = fn(&Container) -> Vec<Arc<dyn NativeFilter>>;

fn all_are_looked_up(counts: &Counts) {
    assert_eq!(counts.get(LookupReason::Layer), 2, "{:?}", counts.named());
}

#[test]
fn an_antivirus_above_that_asks_first_is_joined() {
    everywhere(&options(), |world| {
        let counts = lives(world, EcpVariant::default(), |_| {
            vec![Arc::new(OtherAntivirus::new(ABOVE))]
        });
        all_are_looked_up(&counts);
        assert_eq!(counts.get(Event::EcpShared), 2, "{:?}", counts.named());
    });
}

#[test]
fn an_antivirus_below_that_asks_after_us_changes_nothing() {
    everywhere(&options(), |world| {
        let counts = lives(world, EcpVariant::default(), |_| {
            vec![Arc::new(OtherAntivirus::new(BELOW))]
        });
        all_are_looked_up(&counts);
        assert_eq!(counts.get(Event::EcpAttached), 2, "{:?}", counts.named());
    });
}

#[test]
fn one_above_and_one_below_at_once() {
    everywhere(&options(), |world| {
        let counts = lives(world, EcpVariant::default(), |_| {
            vec![
                Arc::new(OtherAntivirus::new(ABOVE)),
                Arc::new(OtherAntivirus::new(BELOW)),
            ]
        });
        all_are_looked_up(&counts);
    });
}

#[test]
fn a_create_that_is_sent_round_again_above_us_is_asked_once() {
    everywhere(&options(), |world| {
        let counts = lives(world, EcpVariant::default(), |container| {
            vec![Arc::new(Reissue::new(ABOVE, container.scratch()))]
        });
        all_are_looked_up(&counts);
    });
}

#[test]
fn a_create_that_is_sent_round_again_below_us_is_asked_anew() {
    everywhere(&options(), |world| {
        let counts = lives(world, EcpVariant::default(), |container| {
            vec![Arc::new(Reissue::new(BELOW, container.scratch()))]
        });
        all_are_looked_up(&counts);
        assert_eq!(counts.get(Event::EcpReused), 2, "{:?}", counts.named());
    });
}

#[test]
fn i5_an_answer_that_another_antivirus_kept_over_a_reparse_is_not_believed() {
    // The one above attached its ECP, the first pass answered it, the second pass does not: what
    // is left in it is another pass's.
    let variant = EcpVariant::REPARSE | EcpVariant::STALE_ANSWER;
    everywhere(&options(), move |world| {
        let counts = lives(world, variant, |_| {
            vec![Arc::new(OtherAntivirus::new(ABOVE))]
        });
        assert!(counts.get(Event::EcpTainted) > 0, "{:?}", counts.named());
        let skipped = counts.get(SkipReason::RemoteLayer) + counts.get(SkipReason::CoveredLayer);
        assert_eq!(skipped, 0, "{:?}", counts.named());
    });
}

#[test]
fn i5_stale_bits_of_every_kind_skip_nothing() {
    // Each bit that means something, and two that mean nothing, beside those that ask for a skip.
    const LAYER_AND_REMOTE: u8 = 9;
    for bit in 0..7_u8 {
        everywhere(&options(), move |world| {
            let layer = layer(world);
            let containers = containers(world, &layer, 1, EcpVariant::SILENT);
            let mut context = vec![0; 36];
            context[0] = 36;
            context[2] = LAYER_AND_REMOTE | 1 << bit;
            context[4..].fill(0x5a);
            for answered in [true, false] {
                let other = OtherAntivirus::with(ABOVE, context.clone(), answered);
                let other: Arc<dyn NativeFilter> = Arc::new(other);
                let there = native::attach(world.machine(), containers[0].scratch(), other);
                let file = if answered { TOOL } else { OTHER };
                containers[0]
                    .process("app")
                    .run(move |p| assert!(p.read_file(file).is_ok()));
                native::detach(world.machine(), &there);
            }
            let counts = world.counts();
            // Whoever believed them would count one of these.
            let believed = counts.get(SkipReason::RemoteLayer)
                + counts.get(LookupReason::Layer)
                + counts.get(ScanReason::UnknownFlags)
                + counts.get(ScanReason::Contradiction)
                + counts.get(ScanReason::UserMode);
            assert_eq!(believed, 0, "{bit}: {:?}", counts.named());
            containers[0].destroy();
        });
    }
}

#[test]
fn projected_files_are_scanned_each_time() {
    everywhere(&options(), |world| {
        let counts = lives(world, EcpVariant::SILENT, |_| {
            vec![Arc::new(Projected::new("189800"))]
        });
        let scanned = counts.get(ScanReason::UserMode) + counts.get(ScanReason::Contradiction);
        assert_eq!(scanned, 2, "{:?}", counts.named());
    });
}

#[test]
fn projected_files_below_a_container_are_not_taken_for_its_layer() {
    // Both answer one ECP, and each adds its own flag: a layer, and served by user mode.
    everywhere(&options(), |world| {
        let counts = lives(world, EcpVariant::OR_FLAGS, |_| {
            vec![Arc::new(Projected::new("189800"))]
        });
        assert_eq!(counts.get(LookupReason::Layer), 0, "{:?}", counts.named());
    });
}
