//! Silos: what an open tells of its container, and what becomes of silos that the host compute
//! service did not make. The attack of the second kind (W: wcifs abuse): a process turns a job of
//! its own into a silo, lays an overlay over a volume, and lets the container filter answer for
//! its files.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use filterhost::container::{Container, ContainerOptions};
use filterhost::layout::GUID;
use filterhost::object::Object;
use filterhost::silo::SiloKind;
use filterhost::user::{Process, Task};
use filterhost::volume::random_guid;
use filterhost::wcifs::{EcpVariant, Layer, Whiteouts};
use siloscan_core::reason::{AllowReason, Event, LookupReason, ScanReason, SkipReason};
use siloscan_core::tally::Tally;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::{Gate, HOLD};
use siloscan_worlds::marked::{MARKER, Marked};
use siloscan_worlds::opens;
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const SERVER_2016: u32 = 14_393;

/// A process on the host makes a silo of its own, and a union of `layers` over the system volume.
fn attack(world: &World, layer: &Layer, silo: &ContainerOptions) -> Container {
    let options = ContainerOptions {
        layers: vec![layer.clone()],
        variant: EcpVariant::IDS_FOR_REGISTERED,
        ..silo.clone()
    };
    let whiteouts = Arc::new(Whiteouts::default());
    Container::start(world.machine(), &options, world.system(), whiteouts)
}

/// The silos that the host compute service did not make.
fn foreign(world: &World) -> [ContainerOptions; 4] {
    let of = |silo, container_id, within| ContainerOptions {
        silo,
        container_id,
        within,
        ..ContainerOptions::default()
    };
    let m = world.machine();
    let real = m.create_silo(Some(random_guid(m)));
    [
        of(SiloKind::App, None, None),
        of(SiloKind::Server, None, None),
        of(SiloKind::Server, Some(GUID::from_u128(0)), None),
        of(SiloKind::App, None, Some(real)),
    ]
}

/// Malware in a layer that says of itself that others have scanned it.
fn malware(world: &World, registered: bool, remote: bool) -> Layer {
    let layer = Layer {
        registered,
        remote,
        ..layer(world)
    };
    let attacker = world.process("attacker");
    attacker.set_drive('C', &layer.volume);
    attacker.run(|p| {
        p.write_file(TOOL, &eicar_test_file())
            .expect("writing is allowed");
    });
    layer
}

fn sees_no_skip(world: &World, silo: &ContainerOptions, registered: bool, remote: bool) {
    opens::listen(world.machine());
    let layer = malware(world, registered, remote);
    if registered {
        world.covering(&layer.volume);
        world.covered(&layer.volume);
    }
    let container = attack(world, &layer, silo);
    let before = world.counts();
    container
        .process("attacker")
        .run(|p| assert_eq!(p.read_file(TOOL), Err(INFECTED)));
    let after = world.counts();
    let more = |reason| after.get(reason) - before.get(reason);
    for skip in SkipReason::ALL {
        assert_eq!(after.get(*skip), 0, "{:?}", after.named());
    }
    assert_eq!(more(ScanReason::ForeignSilo), 1, "{:?}", after.named());
    let events = after.get(Event::ForeignSilo) - before.get(Event::ForeignSilo);
    assert!(events > 0, "{:?}", after.named());
    let told = opens::take_foreign(world.machine());
    assert!(told.iter().any(|told| told.answer == "layer"), "{told:?}");
    container.stop();
}

#[test]
fn i5_nothing_is_skipped_in_a_silo_that_a_process_made_for_itself() {
    for (registered, remote) in [(false, true), (true, false), (true, true), (false, false)] {
        everywhere(&options(), move |world| {
            let [app, ..] = foreign(world);
            sees_no_skip(world, &app, registered, remote);
        });
    }
}

#[test]
fn i5_a_silo_without_a_container_id_is_no_container() {
    for number in 1..4 {
        everywhere(&options(), move |world| {
            sees_no_skip(world, &foreign(world)[number], false, true);
        });
    }
}

#[test]
fn i5_server_2016_knows_such_a_silo_by_what_it_is() {
    let old = WorldOptions {
        build: SERVER_2016,
        ..options()
    };
    everywhere(&old, |world| {
        let [app, server, ..] = foreign(world);
        sees_no_skip(world, &app, false, true);
        // Nobody has an id there: a server silo is a container.
        let layer = Layer {
            remote: true,
            ..layer(world)
        };
        let container = world.machine().create_container(&ContainerOptions {
            layers: vec![layer],
            ..server
        });
        let read = container.process("app").run(|p| p.read_file(OTHER));
        assert!(read.is_ok());
        let counts = world.counts();
        assert_eq!(
            counts.get(SkipReason::RemoteLayer),
            1,
            "{:?}",
            counts.named()
        );
        container.destroy();
    });
}

#[test]
fn i2_what_such_a_silo_shows_earns_and_uses_no_verdict_of_a_layer() {
    let engine = Marked::new(1);
    let counting = WorldOptions {
        engine: Some(engine.engine()),
        ..options()
    };
    everywhere(&counting, move |world| {
        let layer = layer(world);
        let real = containers(world, &layer, 1, EcpVariant::default());
        let read = |process: &Process| process.run(|p| p.read_file(TOOL).map(drop));
        assert_eq!(read(&real[0].process("app")), Ok(()));
        let before = world.counts();
        let [app, ..] = foreign(world);
        let container = attack(world, &layer, &app);
        for _ in 0..2 {
            assert_eq!(read(&container.process("attacker")), Ok(()));
        }
        let after = world.counts();
        let same = [LookupReason::Layer, LookupReason::Scratch];
        for reason in same {
            assert_eq!(after.get(reason), before.get(reason), "{:?}", after.named());
        }
        let scanned = |counts: &siloscan_worlds::world::Counts| {
            (
                counts.get(ScanReason::ForeignSilo),
                counts.get(AllowReason::ScannedClean),
            )
        };
        let (routed, clean) = scanned(&before);
        assert_eq!(scanned(&after), (routed + 2, clean + 2), "each is scanned");
        assert_eq!(
            after.get(Event::VerdictStored),
            before.get(Event::VerdictStored),
            "{:?}",
            after.named()
        );
        assert_eq!(read(&real[0].process("app")), Ok(()));
        container.stop();
        real[0].destroy();
    });
}

#[test]
fn an_application_silo_without_an_overlay_is_told_and_served_from_the_cache() {
    everywhere(&options(), |world| {
        opens::listen(world.machine());
        let silo = world.machine().create_app_silo(None);
        let packaged = Process::create(world.machine(), "packaged", world.system(), Some(&silo));
        packaged.run(|p| {
            p.write_file(r"C:\tool.exe", b"MZ").expect("a new file");
            for _ in 0..3 {
                assert!(p.read_file(r"C:\tool.exe").is_ok());
            }
            p.write_file(r"C:\evil.com", &eicar_test_file())
                .expect("writing is allowed");
            assert_eq!(p.read_file(r"C:\evil.com"), Err(INFECTED));
        });
        let counts = world.counts();
        assert!(
            counts.get(AllowReason::CachedClean) >= 2,
            "{:?}",
            counts.named()
        );
        let told = opens::take_foreign(world.machine());
        assert!(!told.is_empty(), "{:?}", counts.named());
        assert!(told.iter().all(|told| told.answer == "none"), "{told:?}");
        silo.dereference(world.machine());
    });
}

#[test]
fn events_about_such_silos_are_bounded() {
    everywhere(&options(), |world| {
        opens::listen(world.machine());
        let layer = malware(world, false, true);
        let [app, ..] = foreign(world);
        let container = attack(world, &layer, &app);
        let before = world.counts().get(Event::ForeignSilo);
        let since = world.machine().sched().now();
        container.process("attacker").run(|p| {
            for _ in 0..40 {
                assert_eq!(p.read_file(TOOL), Err(INFECTED));
            }
        });
        let took = (world.machine().sched().now().0 - since.0) / 10_000_000;
        let opens = world.counts().get(Event::ForeignSilo) - before;
        let told = opens::take_foreign(world.machine()).len() as u64;
        assert!(opens >= 40 && told > 0, "{opens} opens, {told} told");
        // Ten a second of each of two kinds; the clock's seconds may cut a second in two.
        assert!(told <= 20 * (took + 2), "{told} in {took} s");
        container.stop();
    });
}

/// The bytes of an id as the driver tells it.
fn bytes(id: GUID) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&id.data1.to_le_bytes());
    bytes[4..6].copy_from_slice(&id.data2.to_le_bytes());
    bytes[6..8].copy_from_slice(&id.data3.to_le_bytes());
    bytes[8..].copy_from_slice(&id.data4);
    bytes
}

/// What the driver counted of one container.
fn tally(world: &World, id: [u8; 16]) -> Option<Tally> {
    let _told_before = world.counts();
    let service = world.service()?;
    let tallies = service.container_counts();
    tallies.into_iter().find(|tally| tally.container == id)
}

/// A GUID as the service writes it.
fn text(id: GUID) -> String {
    let tail = u64::from_be_bytes(id.data4);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        id.data1,
        id.data2,
        id.data3,
        tail >> 48,
        tail & 0xffff_ffff_ffff
    )
}

#[test]
fn requests_events_and_counters_tell_the_container() {
    let finding = WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        ..options()
    };
    everywhere(&finding, |world| {
        opens::listen(world.machine());
        let layer = layer(world);
        let ids = [(); 2].map(|()| random_guid(world.machine()));
        let [quiet, loud] = ids.map(|id| {
            world.machine().create_container(&ContainerOptions {
                layers: vec![layer.clone()],
                container_id: Some(id),
                ..ContainerOptions::default()
            })
        });
        let loud_id = ids[1];
        let ids = ids.map(bytes);
        quiet.process("app").run(|p| {
            assert!(p.read_file(OTHER).is_ok());
        });
        let known = tally(world, ids[0]).map_or(0, |tally| tally.opens);
        // Hits: they move no counter of the container's.
        quiet.process("app").run(|p| {
            assert!(p.read_file(OTHER).is_ok());
            assert!(p.read_file(OTHER).is_ok());
        });
        loud.process("app").run(|p| {
            p.write_file(r"C:\evil.com", MARKER)
                .expect("writing is allowed");
            for _ in 0..2 {
                assert_eq!(p.read_file(r"C:\evil.com"), Err(INFECTED));
            }
        });
        let [first, second] = ids.map(|id| tally(world, id));
        assert_eq!(first.map_or(0, |tally| tally.opens), known);
        assert_eq!(first.map_or(0, |tally| tally.denied), 0);
        let second = second.expect("the container is counted");
        assert_eq!((second.opens, second.denied), (2, 2), "{second:?}");
        assert_eq!(second.foreign, 0);
        let told: BTreeSet<_> = opens::take(world.machine())
            .into_iter()
            .map(|open| open.container)
            .filter(|id| *id != [0; 16])
            .collect();
        assert_eq!(told, BTreeSet::from(ids));
        let named = world.events().all();
        let detected = named.iter().filter_map(|event| match event {
            siloscan_service::events::Event::Detection { scan, .. } => Some(&scan.container),
            _ => None,
        });
        let detected: BTreeSet<_> = detected.collect();
        let name = Some(text(loud_id));
        assert_eq!(detected, BTreeSet::from([&name]), "{named:?}");
        quiet.destroy();
        loud.destroy();
    });
}

#[test]
fn a_silo_within_a_container_is_told_as_the_container() {
    everywhere(&options(), |world| {
        opens::listen(world.machine());
        let id = random_guid(world.machine());
        let container = world.machine().create_silo(Some(id));
        let nested = world.machine().create_app_silo(Some(&container));
        let process = Process::create(world.machine(), "app", world.system(), Some(&nested));
        process.run(|p| {
            p.write_file(r"C:\a.exe", b"MZ").expect("a new file");
            assert!(p.read_file(r"C:\a.exe").is_ok());
        });
        let tally = tally(world, bytes(id)).expect("the container is counted");
        assert!(tally.foreign > 0, "{tally:?}");
        let told = opens::take_foreign(world.machine());
        assert!(told.iter().all(|told| told.container == bytes(id)));
        assert!(!told.is_empty());
        nested.dereference(world.machine());
        container.dereference(world.machine());
    });
}

/// Eight programs open eight files whose scans do not end, two in each of four silos. How many
/// scans run at once.
fn at_once(world: &World, silos: &[Arc<Object>]) -> usize {
    const FILES: [&str; 8] = [
        r"C:\0.exe",
        r"C:\1.exe",
        r"C:\2.exe",
        r"C:\3.exe",
        r"C:\4.exe",
        r"C:\5.exe",
        r"C:\6.exe",
        r"C:\7.exe",
    ];
    let m = world.machine();
    world.process("setup").run(|p| {
        for file in FILES {
            p.write_file(file, &[HOLD, file.as_bytes()].concat())
                .expect("a new file");
            assert!(p.read_file(file).is_ok());
        }
    });
    let gate = Gate::choosing();
    gate.close();
    // New rules: nothing that was found before counts.
    world.use_engine(gate.clone());
    let tasks: Vec<_> = FILES
        .into_iter()
        .zip(silos.iter().cycle())
        .map(|(file, silo)| {
            let process = Process::create(m, "app", world.system(), Some(silo));
            process.spawn("app", move |p| p.read_file(file).is_ok())
        })
        .collect();
    gate.await_held(2);
    m.sched().sleep(Duration::from_millis(300));
    let running = gate.running();
    gate.open();
    assert!(tasks.into_iter().all(Task::join), "all are clean");
    for silo in silos {
        silo.dereference(m);
    }
    running
}

#[test]
fn i3_silo_after_silo_within_a_container_gives_it_no_second_share() {
    let roomy = WorldOptions {
        engine: Some(Marked::new(1).engine()),
        threads: 8,
        ..options()
    };
    everywhere(&roomy, |world| {
        let m = world.machine();
        let container = m.create_silo(Some(random_guid(m)));
        let nested = [(); 4].map(|()| m.create_app_silo(Some(&container)));
        // A quarter of eight threads.
        assert_eq!(at_once(world, &nested), 2);
        container.dereference(m);
    });
    everywhere(&roomy, |world| {
        let m = world.machine();
        let containers = [(); 4].map(|()| m.create_silo(Some(random_guid(m))));
        assert_eq!(at_once(world, &containers), 8, "each has its own");
    });
    everywhere(&roomy, |world| {
        let m = world.machine();
        let loose = [(); 4].map(|()| m.create_app_silo(None));
        assert_eq!(at_once(world, &loose), 2, "these share one");
    });
}
