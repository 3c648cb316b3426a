//! Containers that the service excludes: nothing of them is scanned, each open so let through is
//! counted, what is known to be infected stays denied, and a service that is gone leaves nothing.

use filterhost::container::{Container, ContainerOptions};
use filterhost::layout::GUID;
use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED, STATUS_SUCCESS};
use filterhost::user::Process;
use filterhost::volume::random_guid;
use filterhost::wcifs::Layer;
use siloscan_core::exclusion::ContainerId;
use siloscan_core::reason::{AllowReason, DenyReason, Event, SkipReason};
use siloscan_core::trace::TraceId;
use siloscan_core::wire::{Kind, WireVerdict};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::events;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::marked::Marked;
use siloscan_worlds::puppet::{Asked, Puppet, excluding_reply, exclusions};
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const EVIL: &str = r"C:\evil.com";

/// A GUID as it lies in memory.
fn bytes(id: &GUID) -> ContainerId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&id.data1.to_le_bytes());
    bytes[4..6].copy_from_slice(&id.data2.to_le_bytes());
    bytes[6..8].copy_from_slice(&id.data3.to_le_bytes());
    bytes[8..].copy_from_slice(&id.data4);
    bytes
}

fn container(world: &World, layer: &Layer) -> (Container, ContainerId) {
    let id = random_guid(world.machine());
    let container = world.machine().create_container(&ContainerOptions {
        layers: vec![layer.clone()],
        container_id: Some(id),
        ..ContainerOptions::default()
    });
    (container, bytes(&id))
}

/// Lets the service exclude these, and waits until the driver does.
fn exclude(world: &World, containers: &[ContainerId]) {
    let service = world.service().expect("it runs");
    let _what_came_before = events::take(world.machine());
    service.exclude_containers(containers.to_vec());
    let told = (0..600).find_map(|_| {
        let told = events::take_of(world.machine(), TraceId::ExclusionsChanged).pop();
        if told.is_none() {
            let pause = std::time::Duration::from_millis(50);
            world.machine().sched().sleep(pause);
        }
        told
    });
    let told = told.expect("the driver takes the list");
    assert_eq!(told.number("Containers"), containers.len() as u64);
    assert_eq!(told.number("List") == 0, containers.is_empty());
}

fn read(container: &Container, path: &'static str) -> Result<(), NtStatus> {
    let read = move |p: &Process| p.read_file(path).map(drop);
    container.process("app").run(read)
}

/// The hits of one exclusion, once the driver has told them.
fn hits(world: &World, container: &ContainerId, at_least: u64) -> u64 {
    let service = world.service().expect("it runs");
    let told = world.counts_once(|_| {
        let hits = service.exclusion_hits();
        hits.iter()
            .any(|(id, hits)| id == container && *hits >= at_least)
    });
    assert!(told.is_some(), "{:?}", service.exclusion_hits());
    let hits = service.exclusion_hits();
    hits.iter()
        .find(|(id, _)| id == container)
        .map_or(0, |(_, hits)| *hits)
}

#[test]
fn an_excluded_container_is_not_scanned_and_its_hits_are_counted() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let (excluded, id) = container(world, &layer);
        let (other, _) = container(world, &layer);
        exclude(world, &[id]);
        assert_eq!(read(&excluded, TOOL), Ok(()));
        let written = |p: &Process| p.write_file(EVIL, &eicar_test_file());
        excluded
            .process("app")
            .run(written)
            .expect("writing is allowed");
        assert_eq!(read(&excluded, EVIL), Ok(()), "nothing of it is scanned");
        let opens = hits(world, &id, 2);
        let counts = world.counts();
        assert_eq!(counts.get(SkipReason::Excluded), opens);
        assert!(counts.get(Event::CloseExcluded) > 0);
        assert_eq!(counts.get(AllowReason::ScannedClean), 0);

        let written = |p: &Process| p.write_file(EVIL, &eicar_test_file());
        other
            .process("app")
            .run(written)
            .expect("writing is allowed");
        assert_eq!(
            read(&other, EVIL),
            Err(INFECTED),
            "the others are scanned as ever"
        );
        exclude(world, &[]);
        assert_eq!(read(&excluded, EVIL), Err(INFECTED));
        assert_eq!(world.count(SkipReason::Excluded), opens);
        excluded.destroy();
        other.destroy();
    });
}

#[test]
fn i1_what_is_known_to_be_infected_stays_denied_in_an_excluded_container() {
    let finding = WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        ..options()
    };
    everywhere(&finding, |world| {
        let layer = layer(world);
        let setup = world.process("setup");
        setup.set_drive('C', &layer.volume);
        let made = setup.run(|p| p.write_file(OTHER, b"MARKED by a scenario"));
        made.expect("writing is allowed");
        let (first, _) = container(world, &layer);
        let (excluded, id) = container(world, &layer);
        assert_eq!(read(&first, OTHER), Err(INFECTED));
        exclude(world, &[id]);
        assert_eq!(read(&excluded, OTHER), Err(INFECTED));
        assert_eq!(world.count(DenyReason::CoveredInfected), 1);
        assert_eq!(read(&excluded, TOOL), Ok(()));
        first.destroy();
        excluded.destroy();
    });
}

#[test]
fn a_service_that_is_gone_leaves_no_exclusion_behind() {
    let strict = WorldOptions {
        parameters: vec![("OnFailure".to_owned(), 1)],
        ..options()
    };
    everywhere(&strict, |world| {
        let layer = layer(world);
        let (excluded, id) = container(world, &layer);
        exclude(world, &[id]);
        let written = |p: &Process| p.write_file(r"C:\own.bin", b"never scanned");
        let written = excluded.process("app").run(written);
        written.expect("writing is allowed");
        assert_eq!(read(&excluded, r"C:\own.bin"), Ok(()));
        world.stop_service();
        assert_eq!(read(&excluded, r"C:\own.bin"), Err(STATUS_ACCESS_DENIED));
        let rules = siloscan_service::rules::load(None).engine;
        world.start_service(rules, 2);
        let written = |p: &Process| p.write_file(EVIL, &eicar_test_file());
        excluded
            .process("app")
            .run(written)
            .expect("writing is allowed");
        assert_eq!(read(&excluded, EVIL), Err(INFECTED));
        excluded.destroy();
    });
}

#[test]
fn a_list_that_makes_no_sense_excludes_nobody() {
    let alone = WorldOptions {
        engine: None,
        parameters: vec![("OnFailure".to_owned(), 1)],
        ..options()
    };
    everywhere(&alone, |world| {
        let layer = layer(world);
        let (victim, id) = container(world, &layer);
        let tries = std::sync::atomic::AtomicUsize::new(0);
        let puppet = Puppet::start(world, 2, move |puppet: &Puppet, message| {
            let reply = match &message.asked {
                Asked::Poll(sequence) => excluding_reply(*sequence, 9),
                Asked::Nonsense(asked) if asked.get(2) == Some(&(Kind::EXCLUSIONS.0 as u8)) => {
                    let mut bytes = exclusions(9, &[id]);
                    match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 4 {
                        0 => bytes.truncate(1000),
                        1 => bytes[8..12].fill(0),
                        2 => bytes[12..16].fill(0xff),
                        _ => bytes[2] = 3,
                    }
                    bytes
                }
                _ => return puppet.behave(message, WireVerdict::INFECTED),
            };
            let _nobody_waits = puppet.reply(message, STATUS_SUCCESS, &reply);
        });
        let puppet = puppet.expect("the driver accepts it");
        let asked = |puppet: &Puppet| {
            let asked = puppet.messages().into_iter();
            asked
                .filter(|it| matches!(it.asked, Asked::Nonsense(_)))
                .count()
        };
        for _ in 0..600 {
            if asked(&puppet) >= 5 {
                break;
            }
            world
                .machine()
                .sched()
                .sleep(std::time::Duration::from_millis(50));
        }
        assert!(asked(&puppet) >= 5, "the driver asks again");
        assert_eq!(read(&victim, TOOL), Err(INFECTED));
        puppet.kill();
        victim.destroy();
    });
}
