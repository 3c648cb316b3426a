//! The redirection ECP: attached zeroed, read only where it was acknowledged and is not tainted,
//! in each way in which the documents allow a filter to answer.

use std::sync::Arc;

use filterhost::fltmgr::{NativeFilter, native};
use filterhost::native::{OtherAntivirus, Projected};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{LookupReason, ScanReason};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::World;

/// A container reads both package files, beside `filter` where there is one.
fn read_both(world: &World, variant: EcpVariant, filter: Option<Arc<dyn NativeFilter>>) {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, variant);
    if let Some(filter) = filter {
        native::attach(world.machine(), containers[0].scratch(), filter);
    }
    containers[0].process("app").run(|p| {
        assert!(p.read_file(TOOL).is_ok());
        assert!(p.read_file(OTHER).is_ok());
    });
    containers[0].destroy();
}

#[test]
fn ecp_fields_are_zero_when_attached() {
    // A filter that ORs its flags and leaves ids alone shows whatever the pool held.
    everywhere(&options(), |world| {
        read_both(world, EcpVariant::OR_FLAGS | EcpVariant::KEEP_IDS, None);
        let counts = world.counts();
        assert_eq!(counts.get(LookupReason::Layer), 2, "{:?}", counts.named());
    });
}

#[test]
fn i5_an_unacknowledged_answer_is_not_believed() {
    everywhere(&options(), |world| {
        read_both(world, EcpVariant::SILENT, None);
        let counts = world.counts();
        assert_eq!(
            counts.get(LookupReason::ContainerOwn),
            2,
            "{:?}",
            counts.named()
        );
        assert_eq!(counts.get(LookupReason::Layer), 0, "{:?}", counts.named());
    });
}

#[test]
fn i5_the_answer_of_a_pass_before_a_reparse_is_forgotten() {
    let variant = EcpVariant::REPARSE | EcpVariant::STALE_ANSWER | EcpVariant::OR_FLAGS;
    everywhere(&options(), move |world| {
        read_both(world, variant, None);
        let counts = world.counts();
        assert_eq!(counts.get(LookupReason::Layer), 2, "{:?}", counts.named());
    });
}

#[test]
fn a_layer_file_without_ids_is_scanned_each_time() {
    everywhere(&options(), |world| {
        read_both(world, EcpVariant::ZERO_IDS, None);
        let counts = world.counts();
        assert_eq!(counts.get(ScanReason::NoLayerId), 2, "{:?}", counts.named());
    });
}

#[test]
fn a_fresh_ecp_of_another_antivirus_is_shared() {
    everywhere(&options(), |world| {
        let other: Arc<dyn NativeFilter> = Arc::new(OtherAntivirus::new("328010"));
        read_both(world, EcpVariant::default(), Some(other));
        let counts = world.counts();
        assert_eq!(counts.get(LookupReason::Layer), 2, "{:?}", counts.named());
    });
}

#[test]
fn i5_an_ecp_that_came_answered_is_tainted() {
    // Size 36, flags LAYER and REMOTE: believed, it would be a skip.
    let mut context = vec![0; 36];
    context[0] = 36;
    context[2] = 9;
    everywhere(&options(), move |world| {
        let other = OtherAntivirus::with("328010", context.clone(), true);
        read_both(world, EcpVariant::SILENT, Some(Arc::new(other)));
        let counts = world.counts();
        let own = counts.get(LookupReason::ContainerOwn);
        assert_eq!(own, 2, "{:?}", counts.named());
    });
}

#[test]
fn an_answer_from_user_mode_redirection_is_scanned() {
    everywhere(&options(), |world| {
        let projected: Arc<dyn NativeFilter> = Arc::new(Projected::new("189800"));
        read_both(world, EcpVariant::SILENT, Some(projected));
        let counts = world.counts();
        let scanned = counts.get(ScanReason::UserMode) + counts.get(ScanReason::Contradiction);
        assert_eq!(scanned, 2, "{:?}", counts.named());
    });
}
