//! Each cause, from each route, under each policy, in every order.

use std::sync::{Arc, Mutex};

use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED};
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use filterhost::{Machine, Mode};
use siloscan_core::limits::{FLIGHTS, WAITERS};
use siloscan_core::reason::{AllowReason, DenyReason, Event, Failure, Origin};
use siloscan_core::wire::WireVerdict;
use siloscan_worlds::everywhere::{SEEDS, everywhere};
use siloscan_worlds::puppet::{Asked, Puppet};
use siloscan_worlds::scene::{TOOL, containers, layer};
use siloscan_worlds::world::World;

use crate::causes::{CAUSES, Case, Route, wait};
use crate::{FILE, host};

/// What one open does.
fn outcome(world: &World, cause: Failure, route: Route) -> Result<(), NtStatus> {
    let case = Case::new(world, cause, route);
    let provoked = case.provoke();
    let options = case.options();
    let opener = case
        .opener
        .spawn("open", move |p| p.open(&options)?.close());
    if cause == Failure::Unloading {
        let puppet = provoked.puppet.as_ref().expect("there is a service");
        wait(world, "the scan", || {
            (!puppet.scans().is_empty()).then_some(())
        });
        world.driver().unload().expect("it is never refused");
    }
    let opened = opener.join();
    if let Some(puppet) = provoked
        .puppet
        .as_ref()
        .filter(|_| cause != Failure::Unloading)
    {
        check_counts(puppet, cause);
    }
    case.over(provoked);
    opened
}

/// The cause was counted, and decided; and nothing was kept.
fn check_counts(puppet: &Puppet, cause: Failure) {
    if cause != Failure::Breaker {
        puppet.await_counts();
        assert!(
            puppet.count(cause) >= 1,
            "{cause:?}: {:?}",
            puppet.counts().named()
        );
    }
    let decided = puppet.count(AllowReason::FailureAllowed)
        + puppet.count(AllowReason::EvasionAllowed)
        + puppet.count(DenyReason::FailureDenied)
        + puppet.count(DenyReason::EvasionDenied);
    assert!(decided >= 1 || cause == Failure::Breaker);
    // Where waiting was not possible the file is looked at when it is closed.
    if cause != Failure::Oplock {
        assert_eq!(puppet.count(Event::VerdictStored), 0, "{cause:?} is cached");
    }
}

/// Runs the open on a host with these policies; the trace's hash and what the open did.
fn run(
    mode: Mode,
    parameters: &[(&str, u32)],
    cause: Failure,
    route: Route,
) -> (u64, Result<(), NtStatus>) {
    let options = host(parameters);
    let found = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&found);
    let run = Machine::builder().scheduler(mode).run(move |m| {
        let world = World::boot(m, &options).unwrap_or_else(|error| panic!("{error}"));
        let opened = outcome(&world, cause, route);
        *slot.lock().expect("nobody panics with it") = Some(opened);
        if cause != Failure::Unloading {
            world.shut_down();
        }
    });
    let hash = match run {
        Ok(outcome) => outcome.trace_hash,
        Err(report) => panic!("{cause:?}, {route:?}, {mode:?}\n{report}"),
    };
    let opened = found.lock().expect("nobody panics with it").take();
    (hash, opened.expect("the scenario has ended"))
}

/// The value of the policy that decides, what the open does then, and a value of the other policy
/// that says the opposite, and must not matter.
fn choices(cause: Failure, route: Route) -> Vec<([(&'static str, u32); 2], bool)> {
    let ours = cause.origin() == Origin::Ours;
    let values: &[u32] = if ours { &[0, 1] } else { &[0, 1, 2] };
    let cell = |choice: u32| {
        let deny = match (ours, choice) {
            (true, choice) => choice == 1,
            (false, 0) => route != Route::Host,
            (false, choice) => choice == 2,
        };
        if ours {
            let other = if deny { 1 } else { 2 };
            ([("OnFailure", choice), ("OnEvasion", other)], deny)
        } else {
            let other = !deny && !Case::is_prepared(cause);
            (
                [("OnEvasion", choice), ("OnFailure", u32::from(other))],
                deny,
            )
        }
    };
    values.iter().map(|choice| cell(*choice)).collect()
}

fn check_cell(cause: Failure, route: Route) {
    for (policies, deny) in choices(cause, route) {
        let mut parameters = policies.to_vec();
        if cause == Failure::ShareUsed {
            parameters.push(("SiloSharePercent", 1));
        }
        let expected = if deny {
            Err(STATUS_ACCESS_DENIED)
        } else {
            Ok(())
        };
        let first = run(Mode::Seeded(0), &parameters, cause, route);
        let again = run(Mode::Seeded(0), &parameters, cause, route);
        assert_eq!(first.0, again.0, "one seed is one history");
        let others = (1..SEEDS).map(Mode::Seeded).chain([Mode::Free]);
        let others = others.map(|mode| run(mode, &parameters, cause, route).1);
        for opened in others.chain([first.1]) {
            assert_eq!(opened, expected, "{cause:?}, {route:?}, {policies:?}");
        }
    }
}

/// Every cause but a full queue, which has a test of its own.
fn check_every_cause(route: Route) {
    for cause in CAUSES {
        // The host has no share to use up.
        if (cause, route) != (Failure::ShareUsed, Route::Host) {
            check_cell(cause, route);
        }
    }
}

#[test]
fn every_cause_follows_its_policy_on_the_host() {
    check_every_cause(Route::Host);
}

#[test]
fn every_cause_follows_its_policy_in_a_container() {
    check_every_cause(Route::Scratch);
}

#[test]
fn every_cause_follows_its_policy_for_a_package_file() {
    check_every_cause(Route::Layer);
}

/// Fills the queue from the host, which has no share, with scans at close as far as they may, and
/// opens from everywhere.
fn opens_before_a_full_queue(world: &World, expected: Result<(), NtStatus>) {
    const _: () = assert!(FLIGHTS < WAITERS);
    /// Places that scans at close may have.
    const AT_CLOSE: usize = FLIGHTS - FLIGHTS / 4;
    let layer = layer(world);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let (outside, inside) = (world.process("user"), containers[0].process("app"));
    let name = |number: usize| format!(r"C:\queued-{number}.bin");
    let write = move |p: &Process, number: usize| p.write_file(&name(number), b"queued");
    outside.run(move |p| {
        for number in AT_CLOSE..FLIGHTS {
            write(p, number).expect("a new file");
        }
    });
    for process in [&outside, &inside] {
        process.run(|p| p.write_file(FILE, b"bytes").expect("a new file"));
    }
    let puppet = Puppet::start(world, 3, |puppet, message| {
        if !matches!(message.asked, Asked::Scan(_)) {
            puppet.behave(message, WireVerdict::CLEAN);
        }
    });
    let puppet = puppet.expect("the driver accepts it");
    let open = |p: &Process, path: &str| p.open(&OpenOptions::new(path).read()).map(drop);
    outside.run(move |p| {
        for number in 0..AT_CLOSE {
            write(p, number).expect("a new file");
        }
    });
    let queued: Vec<_> = (AT_CLOSE..FLIGHTS)
        .map(|number| outside.spawn("queued", move |p| open(p, &name(number))))
        .collect();
    let all = (FLIGHTS - AT_CLOSE) as u64;
    wait(world, "a full queue", || {
        (puppet.count(Event::FlightStarted) >= all).then_some(())
    });
    assert_eq!(puppet.count(Event::CloseScan), AT_CLOSE as u64);
    assert_eq!(outside.run(move |p| open(p, FILE)), expected, "the host");
    assert_eq!(inside.run(move |p| open(p, FILE)), expected, "a container");
    assert_eq!(inside.run(move |p| open(p, TOOL)), expected, "a package");
    puppet.await_counts();
    assert_eq!(puppet.count(Failure::QueueFull), 3);
    puppet.kill();
    for task in queued {
        assert_eq!(task.join(), expected, "no service is ours, too");
    }
    containers[0].destroy();
}

#[test]
fn a_full_queue_follows_on_failure() {
    for (choice, expected) in [(0, Ok(())), (1, Err(STATUS_ACCESS_DENIED))] {
        let other = ("OnEvasion", if choice == 1 { 1 } else { 2 });
        let parameters = [("OnFailure", choice), other, ("OpenDeadlineMs", 600_000)];
        everywhere(&host(&parameters), move |world| {
            opens_before_a_full_queue(world, expected);
        });
    }
}
