//! What the start of a container costs, as the driver tells the service; and that a hit costs one
//! counter for each step and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use filterhost::container::{Container, ContainerOptions};
use filterhost::user::{OpenOptions, Process};
use filterhost::volume::random_guid;
use filterhost::wcifs::Layer;
use siloscan_core::reason::Event;
use siloscan_core::tally::Tally;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::marked::Marked;
use siloscan_worlds::scene::{OTHER, TOOL, layer, options};
use siloscan_worlds::world::{Counts, World};

fn container(world: &World, layer: &Layer) -> Container {
    world.machine().create_container(&ContainerOptions {
        layers: vec![layer.clone()],
        container_id: Some(random_guid(world.machine())),
        ..ContainerOptions::default()
    })
}

fn open(container: &Container, path: &'static str, times: usize) {
    container.process("app").run(move |p: &Process| {
        for _ in 0..times {
            let file = p.open(&OpenOptions::new(path).execute()).expect("clean");
            file.close().expect("an open handle");
        }
    });
}

/// What the driver told of its containers, once it told of `count`; by the time of their first
/// open.
fn tallies(world: &World, count: usize) -> Vec<Tally> {
    let service = world.service().expect("it runs");
    let told = world.counts_once(|_| service.container_counts().len() >= count);
    let mut tallies = service.container_counts();
    assert!(told.is_some() && tallies.len() == count, "{tallies:?}");
    tallies.sort_by_key(|tally| tally.since);
    tallies
}

/// The counters that moved, by kind and name, and by how much.
fn moved(before: &Counts, after: &Counts) -> BTreeMap<String, u64> {
    let named = |counts: &Counts| -> BTreeMap<String, u64> {
        let named = counts.named().into_iter();
        named
            .map(|(kind, name, n)| (format!("{kind}/{name}"), n))
            .collect()
    };
    let before = named(before);
    let moved = named(after).into_iter().map(|(name, n)| {
        let old = before.get(&name).copied().unwrap_or(0);
        (name, n - old)
    });
    moved.filter(|(_, n)| *n > 0).collect()
}

#[test]
fn the_first_container_pays_and_the_next_one_starts_for_nothing() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        // What was earned while the layer was laid down is stale under new signatures.
        let laid_down = world.counts_once(|counts| counts.get(Event::VerdictStored) >= 2);
        assert!(laid_down.is_some());
        let slow = Marked::new(1).taking(Duration::from_millis(5));
        world.use_engine(slow.engine());
        let first = container(world, &layer);
        open(&first, TOOL, 2);
        open(&first, OTHER, 1);
        world.machine().sched().sleep(Duration::from_millis(20));
        let second = container(world, &layer);
        open(&second, TOOL, 2);
        open(&second, OTHER, 1);
        let told = tallies(world, 2);
        assert_eq!((told[0].start_opens, told[0].opens), (2, 2), "{told:?}");
        assert!(told[0].start_waited >= 100_000, "{told:?}");
        assert_eq!(told[0].start_waited, told[0].waited);
        assert_eq!((told[1].opens, told[1].start_waited), (0, 0), "{told:?}");
        assert!(told[0].since < told[1].since, "{told:?}");
        first.destroy();
        second.destroy();
    });
}

#[test]
fn a_hit_moves_a_counter_for_each_step_and_nothing_else() {
    const HITS: u64 = 25;
    everywhere(&options(), |world| {
        let layer = layer(world);
        let container = container(world, &layer);
        open(&container, TOOL, 1);
        let before = (tallies(world, 1), world.counts(), world.scans());
        open(&container, TOOL, HITS as usize);
        let after = (tallies(world, 1), world.counts(), world.scans());
        let steps = ["event/ecp-attached", "look-up/layer", "allow/cached-clean"];
        let steps = steps.map(|name| (name.to_owned(), HITS));
        assert_eq!(moved(&before.1, &after.1), BTreeMap::from(steps));
        assert_eq!(before.0, after.0, "no table of containers is touched");
        assert_eq!(before.2, after.2, "no scan");
        container.destroy();
    });
}
