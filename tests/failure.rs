//! What an open does when its file cannot be scanned, as a table against the built driver: each
//! cause, from each route, under each policy; and with each single allocation failing in turn.

use std::time::Duration;

use filterhost::Mode;
use filterhost::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS,
};
use filterhost::user::{FileHandle, OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{AllowReason, DenyReason, Event, Failure, Origin};
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::{SEEDS, everywhere};
use siloscan_worlds::gate::Gate;
use siloscan_worlds::puppet::{Asked, Puppet};
use siloscan_worlds::scene::{TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const FILE: &str = r"C:\file.bin";

/// Causes that a scan service, or its absence, can provoke in every route; and a lock, which a
/// user of the file holds.
const CAUSES: [Failure; 10] = [
    Failure::NoService,
    Failure::Breaker,
    Failure::ServiceError,
    Failure::BadReply,
    Failure::Unscannable,
    Failure::Unreadable,
    Failure::Conflict,
    Failure::TooSlow,
    Failure::Locked,
    Failure::Unloading,
];

/// Where an open comes from, and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// A program of the host, and its own file.
    Host,
    /// A container's program and a file that it made.
    Scratch,
    /// A container's program and a package file.
    Layer,
}

const ROUTES: [Route; 3] = [Route::Host, Route::Scratch, Route::Layer];

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

/// A service whose answers lead to this failure.
fn service(world: &World, cause: Failure) -> Option<std::sync::Arc<Puppet>> {
    if cause == Failure::NoService {
        return None;
    }
    let puppet = Puppet::start(world, 3, move |puppet: &Puppet, message| {
        let verdict = match (&message.asked, cause) {
            (Asked::Poll(_), Failure::Breaker) => return,
            (Asked::Scan(_), Failure::TooSlow | Failure::Unloading) => return,
            (Asked::Scan(scan), Failure::BadReply) => {
                puppet.let_go(scan);
                let _nobody_waits = puppet.reply(message, STATUS_SUCCESS, &[]);
                return;
            }
            (_, Failure::ServiceError) => WireVerdict::ERROR,
            (_, Failure::Unscannable) => WireVerdict::UNSCANNABLE,
            (_, Failure::Unreadable) => WireVerdict::UNREADABLE,
            (_, Failure::Conflict) => WireVerdict::STOPPED,
            _ => WireVerdict::CLEAN,
        };
        puppet.behave(message, verdict);
    });
    let puppet = puppet.expect("the driver accepts it");
    if cause == Failure::Breaker {
        let missed = || (puppet.count(Event::HeartbeatMissed) > 0).then_some(());
        let waited = world
            .machine()
            .sched()
            .wait_until("the breaker", None, missed);
        assert!(waited.is_ok());
    }
    Some(puppet)
}

/// A handle of somebody's that holds a byte-range lock.
fn locked(process: &Process, path: &'static str) -> FileHandle {
    process.run(move |p| {
        let file = p
            .open(&OpenOptions::new(path).read())
            .expect("before the service");
        file.lock(0, 1, true).expect("nobody else has one");
        file
    })
}

/// What one open does.
fn outcome(world: &World, cause: Failure, route: Route) -> Result<(), NtStatus> {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let (process, path) = match route {
        Route::Host => (world.process("app"), FILE),
        Route::Scratch => (containers[0].process("app"), FILE),
        Route::Layer => (containers[0].process("app"), TOOL),
    };
    // Created: nothing is refused, and without a service nothing is scanned at its close.
    let setup = process.clone();
    setup.run(|p| p.write_file(FILE, b"bytes").expect("a new file"));
    let lock = (cause == Failure::Locked).then(|| locked(&process, path));
    let puppet = service(world, cause);
    let opener = process.spawn("open", move |p| {
        p.open(&OpenOptions::new(path).read())?.close()
    });
    if cause == Failure::Unloading {
        let asked = || {
            let puppet = puppet.as_ref()?;
            (!puppet.scans().is_empty()).then_some(())
        };
        let waited = world.machine().sched().wait_until("the scan", None, asked);
        assert!(waited.is_ok());
        world.driver().unload().expect("it is never refused");
    }
    let opened = opener.join();
    if let Some(puppet) = puppet.filter(|_| !matches!(cause, Failure::Unloading)) {
        if cause != Failure::Breaker {
            puppet.await_counts();
            assert!(puppet.count(cause) >= 1, "{cause:?} is counted");
        }
        let decided = puppet.count(AllowReason::FailureAllowed)
            + puppet.count(AllowReason::EvasionAllowed)
            + puppet.count(DenyReason::FailureDenied)
            + puppet.count(DenyReason::EvasionDenied);
        assert!(decided >= 1 || cause == Failure::Breaker);
        assert_eq!(puppet.count(Event::VerdictStored), 0, "it is never cached");
    }
    if let Some(lock) = lock {
        process.run(move |_| lock.close().expect("an open handle"));
    }
    containers[0].destroy();
    opened
}

/// Runs the open on a host with these policies.
fn open_under(
    parameters: &[(&str, u32)],
    cause: Failure,
    route: Route,
) -> Vec<Result<(), NtStatus>> {
    let options = host(parameters);
    let run = |mode: Mode| {
        let unloads = cause == Failure::Unloading;
        let found = std::sync::Arc::new(std::sync::Mutex::new(None));
        let slot = std::sync::Arc::clone(&found);
        let options = options.clone();
        let run = filterhost::Machine::builder()
            .scheduler(mode)
            .run(move |m| {
                let world = World::boot(m, &options).unwrap_or_else(|error| panic!("{error}"));
                let opened = outcome(&world, cause, route);
                *slot.lock().expect("nobody panics with it") = Some(opened);
                if !unloads {
                    world.shut_down();
                }
            });
        let hash = match run {
            Ok(outcome) => outcome.trace_hash,
            Err(report) => panic!("{cause:?}, {route:?}, {mode:?}\n{report}"),
        };
        let opened = found.lock().expect("nobody panics with it").take();
        (hash, opened.expect("the scenario has ended"))
    };
    let (first, _) = run(Mode::Seeded(0));
    let (again, _) = run(Mode::Seeded(0));
    assert_eq!(first, again, "one seed is one history");
    // In real time for one route only: most causes take as long as a deadline or a heartbeat.
    let free = (route == Route::Scratch).then_some(Mode::Free);
    let runs = (0..SEEDS)
        .map(Mode::Seeded)
        .chain(free)
        .map(|mode| run(mode).1);
    runs.collect()
}

#[test]
fn every_cause_from_every_route_follows_its_policy() {
    for cause in CAUSES {
        let ours = cause.origin() == Origin::Ours;
        let (name, choices): (_, &[u32]) = match ours {
            // Allow, deny.
            true => ("OnFailure", &[0, 1]),
            // Deny in a silo, allow, deny.
            false => ("OnEvasion", &[0, 1, 2]),
        };
        for route in ROUTES {
            for choice in choices.iter().copied() {
                let deny = match (ours, choice) {
                    (true, choice) => choice == 1,
                    (false, 0) => route != Route::Host,
                    (false, choice) => choice == 2,
                };
                // The other policy says the opposite, and must not matter. (Who locks a file has
                // opened it before there was a service.)
                let other = match (ours, deny) {
                    _ if cause == Failure::Locked => ("OnFailure", 0),
                    (true, deny) => ("OnEvasion", if deny { 1 } else { 2 }),
                    (false, deny) => ("OnFailure", u32::from(!deny)),
                };
                let expected = if deny {
                    Err(STATUS_ACCESS_DENIED)
                } else {
                    Ok(())
                };
                for opened in open_under(&[(name, choice), other], cause, route) {
                    assert_eq!(opened, expected, "{cause:?}, {route:?}, {name} = {choice}");
                }
            }
        }
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
