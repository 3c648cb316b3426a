//! Images that the service excludes: every container that was started from one, also a later one,
//! by what Docker's store and the host compute service's listing say.

use filterhost::container::{Container, ContainerOptions};
use filterhost::layout::GUID;
use filterhost::status::NtStatus;
use filterhost::user::Process;
use filterhost::volume::random_guid;
use filterhost::wcifs::Layer;
use siloscan_core::reason::SkipReason;
use siloscan_service::engine::eicar_test_file;
use siloscan_service::exclusions::Exclusion;
use siloscan_worlds::events;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::exclusions::{Operator, await_list, hits};
use siloscan_worlds::scene::{INFECTED, TOOL, layer, options};
use siloscan_worlds::world::World;

const EVIL: &str = r"C:\evil.com";

fn container(world: &World, layer: &Layer) -> (Container, GUID) {
    let id = random_guid(world.machine());
    let container = world.machine().create_container(&ContainerOptions {
        layers: vec![layer.clone()],
        container_id: Some(id),
        ..ContainerOptions::default()
    });
    (container, id)
}

fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

fn read(container: &Container, path: &'static str) -> Result<(), NtStatus> {
    let read = move |p: &Process| p.read_file(path).map(drop);
    container.process("app").run(read)
}

/// Writes malware in a container, and reads it.
fn be_evil(container: &Container) -> Result<(), NtStatus> {
    let written = |p: &Process| p.write_file(EVIL, &eicar_test_file());
    let written = container.process("app").run(written);
    written.expect("writing is allowed");
    read(container, EVIL)
}

#[test]
fn an_excluded_image_is_every_container_of_it() {
    everywhere(&options(), |world| {
        let (layer, operator) = (layer(world), Operator::new());
        let (first, first_id) = container(world, &layer);
        let (second, second_id) = container(world, &layer);
        let (other, other_id) = container(world, &layer);
        operator.started(&first_id, 1, &digest("a"));
        operator.started(&second_id, 2, &digest("a"));
        operator.started(&other_id, 3, &digest("b"));
        operator.exclude(world, &format!("image {}\n", digest("a")));
        assert_eq!(be_evil(&first), Ok(()));
        assert_eq!(be_evil(&second), Ok(()));
        assert_eq!(be_evil(&other), Err(INFECTED));

        // One that starts later is scanned until it is known, and then no more.
        let (later, later_id) = container(world, &layer);
        operator.started(&later_id, 4, &digest("a"));
        let skipped = world.count(SkipReason::Excluded);
        assert_eq!(read(&later, TOOL), Ok(()));
        assert_eq!(world.count(SkipReason::Excluded), skipped);
        let _what_came_before = events::take(world.machine());
        operator.look(world);
        assert_eq!(await_list(world), (3, 0));
        assert_eq!(be_evil(&later), Ok(()));

        // The hits are the image's, to the last one.
        let skipped = world.count(SkipReason::Excluded);
        let told = hits(world);
        assert!(skipped >= 3, "{skipped}");
        assert!(
            matches!(told.as_slice(), [(Exclusion::Image(_), hits)] if *hits == skipped),
            "{told:?} and {skipped}"
        );
        operator.exclude(world, "");
        assert_eq!(read(&first, EVIL), Err(INFECTED));
        for container in [first, second, other, later] {
            container.destroy();
        }
    });
}

#[test]
fn a_container_that_nobody_can_name_is_scanned() {
    everywhere(&options(), |world| {
        let (layer, operator) = (layer(world), Operator::new());
        let (known, known_id) = container(world, &layer);
        let (damaged, damaged_id) = container(world, &layer);
        let (unlisted, _) = container(world, &layer);
        // By the digest of the manifest that the image was pulled by.
        let repositories = format!(
            r#"{{"Repositories":{{"site/app":{{"site/app:1":"{0}","site/app@{1}":"{0}"}}}}}}"#,
            digest("a"),
            digest("c"),
        );
        operator.write("image/windowsfilter/repositories.json", &repositories);
        operator.started(&known_id, 1, &digest("a"));
        operator.started(&damaged_id, 2, &digest("a"));
        let path = format!("containers/{}/config.v2.json", "02".repeat(32));
        operator.write(&path, r#"{"ID": "#);
        operator.exclude(world, &format!("image {}\n", digest("c")));
        assert_eq!(be_evil(&known), Ok(()));
        for _ in 0..12 {
            assert_eq!(be_evil(&damaged), Err(INFECTED));
            assert_eq!(be_evil(&unlisted), Err(INFECTED));
            operator.look(world);
        }
        // When its file is whole again the next list knows it.
        operator.started(&damaged_id, 2, &digest("a"));
        for container in [known, damaged, unlisted] {
            container.destroy();
        }
    });
}
