//! What an open does when its file cannot be scanned: the table of causes, routes and policies
//! ([`table`]), programs that dodge the scan ([`hides`]) or slow it down ([`slow`]), and each
//! single allocation of one open failing in turn (`tests/memory.rs` does that for the driver's
//! whole life).

mod causes;
mod hides;
mod slow;
mod table;

use std::time::Duration;

use filterhost::status::{STATUS_ACCESS_DENIED, STATUS_INSUFFICIENT_RESOURCES};
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::Event;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::Gate;
use siloscan_worlds::scene::{TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const FILE: &str = r"C:\file.bin";

/// A host that starts without a service and whose opens do not wait for long.
fn host(parameters: &[(&str, u32)]) -> WorldOptions {
    let times = [
        ("OpenDeadlineMs", 300),
        ("HeartbeatMs", 500),
        ("SectionGraceMs", 10_000),
    ];
    let all = times.iter().chain(parameters);
    WorldOptions {
        engine: None,
        parameters: all
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        ..options()
    }
}

#[test]
fn w3_a_container_that_changes_its_file_without_end_is_denied() {
    let scenario = |world: &World| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let app = containers[0].process("malware");
        let writer = app.run(|p| {
            p.write_file(FILE, b"bytes").expect("a new file");
            p.open(&OpenOptions::new(FILE).write())
                .expect("before the service")
        });
        world.start_service(Gate::taking(Duration::from_millis(200)), 2);
        let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let end = std::sync::Arc::clone(&ended);
        let dodger = app.spawn("dodge", move |p| {
            let mut round = 0_u64;
            while !end.load(std::sync::atomic::Ordering::SeqCst) {
                // It grows, is cut and is overwritten, faster than it can be scanned.
                round += 1;
                let _changed = match round % 3 {
                    0 => writer.write_at(round % 7, b"other").map(drop),
                    1 => writer.set_end_of_file(4 + round % 90),
                    _ => writer.append(b"more").map(drop),
                };
                p.machine().sched().sleep(Duration::from_millis(5));
            }
            writer.close().expect("an open handle");
        });
        let opened = app.run(|p| p.read_file(FILE).map(drop));
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
        dodger.join();
        assert_eq!(opened, Err(STATUS_ACCESS_DENIED));
        assert!(world.count(Event::FlightKilled) >= 2);
        containers[0].destroy();
    };
    everywhere(&host(&[]), scenario);
}

/// Opens an infected file again and again, each time with a later allocation failing, until an
/// open has fewer of them: it never goes through. How many allocations it had.
fn one_allocation_after_another(world: &World, process: &Process, path: &'static str) -> u64 {
    for nth in 1..200 {
        let faults = world.machine().faults();
        let before = faults.allocations();
        faults.fail_allocation(nth);
        let opened = process.run(move |p| p.open(&OpenOptions::new(path).read()).map(drop));
        let all = faults.allocations() - before;
        faults.fail_allocation(u64::MAX / 2);
        let status = opened.expect_err("an infected file");
        let known = [
            siloscan_worlds::scene::INFECTED,
            STATUS_ACCESS_DENIED,
            STATUS_INSUFFICIENT_RESOURCES,
        ];
        assert!(known.contains(&status), "allocation {nth}: {status}");
        if all < nth {
            return all;
        }
    }
    panic!("an open without an end of allocations");
}

#[test]
fn an_infected_file_stays_shut_whichever_single_allocation_fails() {
    let scenario = |world: &World| {
        // A named stream is scanned at each open, so that its whole path is walked each time.
        const STREAM: &str = r"C:\file.bin:data";
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let (inside, outside) = (containers[0].process("app"), world.process("user"));
        for process in [&inside, &outside] {
            process.run(|p| {
                p.write_file(FILE, b"host").expect("a new file");
                p.write_file(STREAM, &eicar_test_file())
                    .expect("a new stream");
            });
        }
        world.start_service(Gate::opened(), 2);
        for process in [&outside, &inside] {
            let all = one_allocation_after_another(world, process, STREAM);
            assert!(all >= 2, "{all} allocations of one open");
        }
        // Nothing of it lasts.
        assert!(inside.run(|p| p.read_file(TOOL)).is_ok());
        assert!(outside.run(|p| p.read_file(FILE)).is_ok());
        containers[0].destroy();
    };
    everywhere(&host(&[("OnFailure", 1), ("OnEvasion", 2)]), scenario);
}
