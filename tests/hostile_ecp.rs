//! Whatever lies in the place of our redirection ECP or its marker before we come: of any size,
//! with any content, from anybody. Nothing is skipped for it, nothing is read outside of it, and
//! it is counted (I5, I7).

use std::sync::Arc;

use filterhost::layout::{GUID, GUID_ECP_CREATE_REDIRECTION};
use filterhost::user::{EcpSpec, OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use filterhost::{Machine, Mode};
use siloscan_core::reason::{Event, SkipReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::scene::{INFECTED, TOOL, containers, layer_with, options};
use siloscan_worlds::world::World;

const EVIL: &str = r"C:\app\evil.com";
/// The driver's private marker.
const MARKER: GUID = GUID {
    data1: 0x9c5e_1f0a,
    data2: 0x3d64,
    data3: 0x4e2b,
    data4: [0x8f, 0x17, 0x51, 0x6b, 0xa4, 0xd2, 0x70, 0xce],
};
/// Bytes of the redirection ECP.
const WHOLE: usize = 36;
/// LAYER and REMOTE: believed, it is a skip.
const FORGED: u8 = 9;

/// Runs a scenario freely and under one seed. Each pool block ends at a page that cannot be
/// touched, so that a byte read behind one ends the run.
fn run(scenario: impl Fn(&World) + Send + Sync + 'static) {
    let scenario = Arc::new(scenario);
    for mode in [Mode::Free, Mode::Seeded(0)] {
        let scenario = Arc::clone(&scenario);
        let machine = Machine::builder().scheduler(mode).special_pool(true);
        let run = machine.run(move |m| {
            let world = World::boot(m, &options()).unwrap_or_else(|error| panic!("{error}"));
            scenario(&world);
            world.shut_down();
        });
        if let Err(report) = run {
            panic!("{mode:?}\n{report}");
        }
    }
}

/// Runs `body` in a container over a layer with an infected and a clean file.
fn contained(world: &World, variant: EcpVariant, body: impl FnOnce(&Process) + Send + 'static) {
    let layer = layer_with(world, |p| {
        p.create_directory(r"C:\app").expect("a new directory");
        p.write_file(TOOL, b"MZ clean").expect("a new file");
        p.write_file(EVIL, &eicar_test_file()).expect("a new file");
    });
    let containers = containers(world, &layer, 1, variant);
    containers[0].process("app").run(body);
    containers[0].destroy();
}

/// Opens the infected file with these ECPs, and then the clean one.
fn open_with(p: &Process, ecps: &[EcpSpec]) {
    let with = |path: &str| {
        let ecps = ecps.iter().cloned();
        p.open(&ecps.fold(OpenOptions::new(path).read(), OpenOptions::ecp))
    };
    let shown: Vec<_> = ecps
        .iter()
        .map(|ecp| (ecp.context.len(), ecp.from_user))
        .collect();
    assert_eq!(with(EVIL).map(drop), Err(INFECTED), "{shown:?}");
    assert!(with(TOOL).is_ok(), "{shown:?}");
}

/// Every redirection ECP that somebody else can have attached: of `length` bytes, beginning with a
/// Size of its own, answered or not.
fn redirections() -> Vec<EcpSpec> {
    let mut all = Vec::new();
    for length in [0, 1, 2, 3, 4, 35, 36, 37, 4096] {
        for size in [0_u16, 35, 36, u16::MAX] {
            for (flags, from_user, acknowledged) in [
                (0, false, false),
                (0, false, true),
                (0, true, false),
                (FORGED, false, false),
                (FORGED, false, true),
                (FORGED, true, true),
                (0xff, true, true),
            ] {
                let mut context = vec![0xff; length.max(4)];
                context[..2].copy_from_slice(&size.to_le_bytes());
                context[2..4].copy_from_slice(&[flags, 0]);
                context.truncate(length);
                all.push(EcpSpec {
                    kind: GUID_ECP_CREATE_REDIRECTION,
                    context,
                    from_user,
                    acknowledged,
                });
            }
        }
    }
    all
}

/// Whether nobody has answered it yet, as far as can be seen.
fn is_fresh(ecp: &EcpSpec) -> bool {
    let answered = ecp.context.get(2).is_some_and(|flags| *flags != 0);
    ecp.context.len() >= WHOLE && !answered && !ecp.acknowledged && !ecp.from_user
}

#[test]
fn i5_a_redirection_ecp_of_any_size_and_content_skips_nothing() {
    for variant in [EcpVariant::SILENT, EcpVariant::default()] {
        run(move |world| {
            let all = redirections();
            let fresh = 2 * all.iter().filter(|ecp| is_fresh(ecp)).count() as u64;
            let tainted = 2 * all.len() as u64 - fresh;
            contained(world, variant, move |p| {
                for ecp in all {
                    open_with(p, &[ecp]);
                }
            });
            let counts = world.counts();
            let named = counts.named();
            assert_eq!(counts.get(Event::EcpTainted), tainted, "{named:?}");
            assert_eq!(counts.get(Event::EcpShared), fresh, "{named:?}");
            assert_eq!(counts.get(SkipReason::RemoteLayer), 0, "{named:?}");
        });
    }
}

/// A marker that somebody forged, of `length` bytes.
fn marker(length: usize, from_user: bool) -> EcpSpec {
    EcpSpec {
        kind: MARKER,
        context: vec![0xff; length],
        from_user,
        acknowledged: from_user,
    }
}

#[test]
fn i5_a_forged_marker_lends_nobodys_answer_our_name() {
    let silent = EcpVariant::SILENT;
    let stale = EcpVariant::REPARSE | EcpVariant::STALE_ANSWER | EcpVariant::OR_FLAGS;
    for variant in [silent, EcpVariant::default(), stale] {
        run(move |world| {
            contained(world, variant, |p| {
                for (length, from_user) in
                    [(0, true), (8, true), (4096, true), (0, false), (8, false)]
                {
                    open_with(p, &[marker(length, from_user)]);
                    for ecp in redirections() {
                        if [0, 35, WHOLE].contains(&ecp.context.len()) {
                            open_with(p, &[marker(length, from_user), ecp]);
                        }
                    }
                }
            });
            let counts = world.counts();
            let named = counts.named();
            assert_eq!(counts.get(SkipReason::RemoteLayer), 0, "{named:?}");
            assert!(counts.get(Event::EcpTainted) > 0, "{named:?}");
            assert!(counts.get(Event::EcpReused) > 0, "{named:?}");
        });
    }
}
