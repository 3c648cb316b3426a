//! Server 2016 to 2025: the same image does its work on each, with the routines that each one has
//! and the fallbacks for those that it lacks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use filterhost::container::ContainerOptions;
use filterhost::layout::GUID;
use filterhost::status::STATUS_ACCESS_DENIED;
use filterhost::user::OpenOptions;
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{DenyReason, LookupReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_service::events::Event;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, layer, options};
use siloscan_worlds::world::WorldOptions;

/// Server 2016 (1607), 2019 (1809), 2022, 2025 (24H2).
const SERVER_2016: u32 = 14_393;
const SERVER_2019: u32 = 17_763;
const SERVER_2022: u32 = 20_348;
const SERVER_2025: u32 = 26_100;

const CONTAINER: GUID = GUID::from_u128(0x1b3e_7d1a_4c55_4e0f_9a42_6f0c_8d2b_7e31);

fn on(build: u32) -> WorldOptions {
    WorldOptions { build, ..options() }
}

/// What the driver is for: packages scanned once for all, modified files denied, told with the
/// container where the system has its id, and everything gone at unload.
fn does_its_work(build: u32, tells_containers: bool) {
    works(&on(build), EcpVariant::default(), tells_containers, &[]);
}

/// The same on this host, whose container file system filter answers as `variant` says; each
/// routine of `looked_up` was looked up, and found or not.
fn works(
    host: &WorldOptions,
    variant: EcpVariant,
    tells_containers: bool,
    looked_up: &[(&'static str, bool)],
) {
    let looked_up = looked_up.to_vec();
    everywhere(host, move |world| {
        for (name, found) in &looked_up {
            let noted = world.machine().looked_up().get(*name).copied();
            assert_eq!(noted, Some(*found), "{name}");
        }
        let layer = layer(world);
        let container = ContainerOptions {
            layers: vec![layer],
            variant,
            container_id: Some(CONTAINER),
            ..ContainerOptions::default()
        };
        let containers = [(); 2].map(|()| world.machine().create_container(&container));
        for container in containers.iter() {
            container.process("app").run(|p| {
                let file = p.open(&OpenOptions::new(TOOL).execute()).expect("clean");
                file.close().expect("an open handle");
                assert!(p.read_file(OTHER).is_ok());
            });
        }
        containers[0].process("malware").run(|p| {
            p.write_file(OTHER, &eicar_test_file())
                .expect("copied on write");
            assert_eq!(p.read_file(OTHER), Err(INFECTED));
        });
        containers[1]
            .process("app")
            .run(|p| assert!(p.read_file(OTHER).is_ok(), "its own is clean"));
        let counts = world.counts();
        if variant == EcpVariant::default() {
            // Overwriting looks at nothing; the five others are opens of layer files.
            assert_eq!(counts.get(LookupReason::Layer), 5, "{:?}", counts.named());
            assert!(world.scans() <= 5, "{} scans", world.scans());
        } else {
            // Whose bytes they are is not told: each open is scanned as what it shows.
            assert_eq!(counts.get(LookupReason::Layer), 0, "{:?}", counts.named());
        }
        let denied = counts.get(DenyReason::ScannedInfected);
        let denied = denied + counts.get(DenyReason::CachedInfected);
        assert_eq!(denied, 1, "{:?}", counts.named());
        let told = world.events().all();
        let mut detections = told.iter().filter_map(|event| match event {
            Event::Detection { scan, .. } => Some(scan.container.is_some()),
            _ => None,
        });
        assert!(
            detections.clone().count() > 0 && detections.all(|told| told == tells_containers),
            "{told:?}"
        );
        containers.iter().for_each(|container| container.destroy());
    });
}

#[test]
fn server_2016_does_without_container_ids() {
    does_its_work(SERVER_2016, false);
}

#[test]
fn server_2019_does_without_new_pool_routines() {
    does_its_work(SERVER_2019, true);
}

#[test]
fn server_2022_is_served() {
    does_its_work(SERVER_2022, true);
}

#[test]
fn server_2025_is_served() {
    does_its_work(SERVER_2025, true);
}

/// Routines that the driver looks up when it runs, since not every system has them.
const AT_RUN_TIME: [&str; 4] = [
    "ExAllocatePool2",
    "ExUuidCreate",
    "KeGetCurrentIrql",
    "PsGetSiloContainerId",
];

#[test]
fn all_routines_that_are_looked_up_are_there_on_the_newest() {
    let found = AT_RUN_TIME.map(|name| (name, true));
    works(&on(SERVER_2025), EcpVariant::default(), true, &found);
}

#[test]
fn without_any_of_them_the_work_is_done() {
    for name in AT_RUN_TIME {
        let host = WorldOptions {
            without: vec![name],
            ..on(SERVER_2025)
        };
        let told = name != "PsGetSiloContainerId";
        works(&host, EcpVariant::default(), told, &[(name, false)]);
    }
    let host = WorldOptions {
        without: AT_RUN_TIME.to_vec(),
        ..on(SERVER_2025)
    };
    let missed = AT_RUN_TIME.map(|name| (name, false));
    works(&host, EcpVariant::default(), false, &missed);
}

#[test]
fn the_list_of_them_is_whole() {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    let mut folders = vec![kernel];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the driver's sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let text: String = text.split_whitespace().collect();
            let calls = text.split("routine::kernel(routine::name!(\"").skip(1);
            found.extend(calls.filter_map(|call| Some(call.split_once('"')?.0.to_owned())));
        }
    }
    assert_eq!(found, AT_RUN_TIME.map(str::to_owned).into_iter().collect());
}

#[test]
fn a_container_filter_that_predates_the_question_costs_scans_and_nothing_else() {
    // No page says which build of the container file system filter first answers, so any may not.
    for build in [SERVER_2016, SERVER_2019] {
        works(&on(build), EcpVariant::SILENT, build != SERVER_2016, &[]);
    }
}

#[test]
fn a_container_filter_that_tells_no_ids_costs_scans_and_nothing_else() {
    works(&on(SERVER_2019), EcpVariant::ZERO_IDS, true, &[]);
}

#[test]
fn the_parameters_are_read_on_each() {
    for build in [SERVER_2016, SERVER_2019, SERVER_2022, SERVER_2025] {
        let options = WorldOptions {
            engine: None,
            parameters: vec![("OnFailure".to_owned(), 1)],
            ..on(build)
        };
        everywhere(&options, |world| {
            let user = world.process("user");
            user.run(|p| {
                p.write_file(r"C:\notes.txt", b"x").expect("a new file");
                assert_eq!(p.read_file(r"C:\notes.txt"), Err(STATUS_ACCESS_DENIED));
            });
        });
    }
}
