//! The redirection ECP: attached zeroed, read only where it was acknowledged and is not tainted,
//! in each way in which the documents allow a filter to answer.

use std::sync::Arc;

use filterhost::fltmgr::{NativeFilter, native};
use filterhost::layout::{GUID, GUID_ECP_CREATE_REDIRECTION};
use filterhost::native::{OtherAntivirus, Projected};
use filterhost::user::{EcpSpec, OpenOptions};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{Event, LookupReason, ScanReason, SkipReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{Counts, World};

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
        assert_eq!(unbelieved(&counts), 2, "{:?}", counts.named());
        assert_eq!(counts.get(LookupReason::Layer), 0, "{:?}", counts.named());
    });
}

/// Opens of a container whose answer was worth nothing. The first one finds the container filter
/// on the volume and nothing under its own id; from then on own ids are not looked up.
fn unbelieved(counts: &Counts) -> u64 {
    counts.get(LookupReason::ContainerOwn) + counts.get(ScanReason::RedirectingVolume)
}

#[test]
fn i2_a_container_filter_that_never_answers_redirects_all_the_same() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::SILENT);
        let host = world.process("host");
        host.set_drive('L', &layer.volume);
        let read = || containers[0].process("app").run(|p| p.read_file(TOOL));
        assert!(read().is_ok());
        assert!(read().is_ok());
        host.run(|p| {
            let name = TOOL.replace("C:", "L:");
            p.write_file(&name, &eicar_test_file())
                .expect("the host may change a layer");
        });
        assert_eq!(read(), Err(INFECTED));
        containers[0].destroy();
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
    everywhere(&options(), |world| {
        let other = OtherAntivirus::with("328010", forged(), true);
        read_both(world, EcpVariant::SILENT, Some(Arc::new(other)));
        let counts = world.counts();
        assert_eq!(unbelieved(&counts), 2, "{:?}", counts.named());
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

#[test]
fn an_answer_that_no_page_documents_is_scanned() {
    for unknown in [0x20, 0x8000] {
        everywhere(&options(), move |world| {
            let later: Arc<dyn NativeFilter> = Arc::new(Projected::with("250000", unknown));
            read_both(world, EcpVariant::default(), Some(later));
            let counts = world.counts();
            assert_eq!(
                counts.get(ScanReason::UnknownFlags),
                2,
                "{:?}",
                counts.named()
            );
            assert_eq!(counts.get(LookupReason::Layer), 0, "{:?}", counts.named());
        });
    }
}

/// Size 36, flags LAYER and REMOTE: believed, it would be a skip.
fn forged() -> Vec<u8> {
    let mut context = vec![0; 36];
    context[0] = 36;
    context[2] = 9;
    context
}

/// A container opens a package file and brings an ECP of this kind along.
fn open_with(world: &World, variant: EcpVariant, kind: GUID, from_user: bool) {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, variant);
    containers[0].process("app").run(move |p| {
        let ecp = EcpSpec {
            kind,
            context: forged(),
            from_user,
            acknowledged: from_user,
        };
        let file = p
            .open(&OpenOptions::new(TOOL).read().ecp(ecp))
            .expect("clean");
        file.close().expect("an open handle");
    });
    containers[0].destroy();
}

#[test]
fn i5_an_ecp_from_user_mode_is_not_believed() {
    everywhere(&options(), |world| {
        open_with(world, EcpVariant::SILENT, GUID_ECP_CREATE_REDIRECTION, true);
        let counts = world.counts();
        assert_eq!(unbelieved(&counts), 1, "{:?}", counts.named());
        assert_eq!(
            counts.get(SkipReason::RemoteLayer),
            0,
            "{:?}",
            counts.named()
        );
    });
}

#[test]
fn a_list_that_is_there_gets_the_ecp_too() {
    let kind = GUID::from_u128(0x5f0c_1a3e_77d2_4b10_0102_0304_0506_0708);
    everywhere(&options(), move |world| {
        open_with(world, EcpVariant::default(), kind, false);
        let counts = world.counts();
        assert_eq!(counts.get(LookupReason::Layer), 1, "{:?}", counts.named());
    });
}

#[test]
fn without_memory_for_the_ecp_the_open_is_decided_without_it() {
    const EVIL: &str = r"C:\app\evil.com";
    // Without the marker alone the ECP still is there.
    let steps = [
        ("FltAllocateExtraCreateParameterList", 1, true),
        ("FltAllocateExtraCreateParameter", 1, true),
        ("FltAllocateExtraCreateParameter", 2, false),
        ("FltInsertExtraCreateParameter", 1, true),
        ("FltInsertExtraCreateParameter", 2, false),
        ("FltSetEcpListIntoCallbackData", 1, true),
    ];
    for (function, nth, lost) in steps {
        everywhere(&options(), move |world| {
            let layer = layer(world);
            let host = world.process("host");
            host.set_drive('C', &layer.volume);
            host.run(|p| p.write_file(EVIL, &eicar_test_file()).expect("a new file"));
            let containers = containers(world, &layer, 1, EcpVariant::default());
            let before = world.counts().get(LookupReason::HostOwn);
            world.machine().faults().fail_call(function, nth);
            containers[0].process("app").run(move |p| {
                assert_eq!(p.read_file(EVIL), Err(INFECTED), "{function} {nth}");
                assert!(p.read_file(TOOL).is_ok());
            });
            let counts = world.counts();
            let named = counts.named();
            assert_eq!(
                counts.get(Event::EcpFailed),
                u64::from(lost),
                "{function}: {named:?}"
            );
            let looked = counts.get(LookupReason::Layer) + counts.get(LookupReason::ContainerOwn);
            let scanned = counts.get(ScanReason::RedirectingVolume);
            assert_eq!(looked + scanned, 2, "{function} {nth}: {named:?}");
            assert_eq!(counts.get(LookupReason::HostOwn), before, "{named:?}");
            containers[0].destroy();
        });
    }
}
