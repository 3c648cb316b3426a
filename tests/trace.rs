//! What the driver tells a session that listens: each open, once, with what happened to it.

use std::collections::BTreeMap;

use filterhost::container::ContainerOptions;
use filterhost::user::OpenOptions;
use filterhost::volume::random_guid;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::opens::{self, Told};
use siloscan_worlds::scene::{INFECTED, TOOL, layer, options};
use siloscan_worlds::world::{Counts, World};

/// Kinds of counters of which each open moves one: the reason of its route.
const ROUTES: [&str; 4] = ["ignore", "skip", "look-up", "scan"];

/// The counters of routes.
fn routes(counts: &Counts) -> BTreeMap<(String, String), u64> {
    let named = counts.named().into_iter();
    named
        .filter(|(kind, _, _)| ROUTES.contains(kind))
        .map(|(kind, name, n)| ((kind.to_owned(), name.to_owned()), n))
        .collect()
}

/// A container's work: a package file twice, one of its own, and an infected one.
fn work(world: &World) {
    let container = world.machine().create_container(&ContainerOptions {
        layers: vec![layer(world)],
        container_id: Some(random_guid(world.machine())),
        ..ContainerOptions::default()
    });
    container.process("app").run(|p| {
        for _ in 0..2 {
            let file = p.open(&OpenOptions::new(TOOL).execute()).expect("clean");
            file.close().expect("an open handle");
        }
        p.write_file(r"C:\evil.com", &eicar_test_file())
            .expect("writing is allowed");
        assert_eq!(p.read_file(r"C:\evil.com"), Err(INFECTED));
    });
    container.destroy();
}

#[test]
fn each_open_is_told_once_with_its_route_reason_decision_and_time() {
    everywhere(&options(), |world| {
        opens::listen(world.machine());
        work(world);
        let told = opens::take(world.machine());
        let mut by_route = BTreeMap::new();
        for open in &told {
            *by_route
                .entry((open.route.clone(), open.reason.clone()))
                .or_insert(0) += 1;
        }
        assert_eq!(by_route, routes(&world.counts()), "{told:#?}");
        let of = |route: &str, reason: &str| -> Vec<Told> {
            let matching = told.iter().cloned();
            matching
                .filter(|open| open.route == route && open.reason == reason)
                .collect()
        };
        let tool = of("look-up", "layer");
        assert_eq!(tool.len(), 2, "{told:#?}");
        assert_eq!(tool[1].decision, "cached-clean");
        assert_ne!(tool[0].container, [0; 16], "the container's id is told");
        let denied: Vec<_> = told
            .iter()
            .filter(|open| open.decision.ends_with("-infected"))
            .collect();
        assert_eq!(denied.len(), 1, "{told:#?}");
        assert_eq!(denied[0].container, tool[0].container);
        assert!(told.iter().all(|open| open.took.as_secs() < 60));
    });
}

#[test]
fn nothing_is_told_while_nobody_listens() {
    everywhere(&options(), |world| {
        work(world);
        assert_eq!(opens::take(world.machine()), []);
    });
}
