//! What the driver tells a session that listens: each open, once, with what happened to it; and
//! each other event of core's table, but not too often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use filterhost::container::ContainerOptions;
use filterhost::kernel::etw::Tracing;
use filterhost::status::{STATUS_ACCESS_DENIED, STATUS_CONNECTION_COUNT_LIMIT};
use filterhost::user::OpenOptions;
use filterhost::volume::random_guid;
use siloscan_core::reason::Event;
use siloscan_core::trace::TraceId;
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::events::{self, Event as Told};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::opens;
use siloscan_worlds::puppet::{Asked, Puppet};
use siloscan_worlds::scene::{INFECTED, TOOL, layer, options};
use siloscan_worlds::world::{Counts, World, WorldOptions};

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
        let of = |route: &str, reason: &str| -> Vec<opens::Told> {
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
        // A refusal takes the file away: its name was asked for before.
        assert!(denied[0].file.ends_with(r"\evil.com"), "{denied:#?}");
        assert!(
            tool.iter()
                .all(|open| open.file.ends_with(r"\app\tool.exe"))
        );
        assert!(told.iter().all(|open| open.took.as_secs() < 60));
    });
}

#[test]
fn nothing_is_told_while_nobody_listens() {
    everywhere(&options(), |world| {
        let m = world.machine();
        m.state::<Tracing>().listen(m, None);
        let _what_came_before = events::take(world.machine());
        work(world);
        assert_eq!(events::take(world.machine()), []);
        assert_eq!(world.count(Event::TraceDropped), 0);
    });
}

/// The only event of its kind since the last look.
fn one(world: &World, id: TraceId) -> Told {
    let told = events::take_of(world.machine(), id);
    assert_eq!(told.len(), 1, "{told:#?}");
    told.into_iter().next().expect("there is one")
}

#[test]
fn w16_a_detection_says_what_was_found_where_and_for_whom() {
    everywhere(&options(), |world| {
        work(world);
        let told = events::take_of(world.machine(), TraceId::Detection);
        assert!(!told.is_empty());
        for found in &told {
            assert!(found.text("File").ends_with("evil.com"), "{found:?}");
            assert_ne!(found.guid("Container"), [0; 16]);
            assert_ne!(found.number("ProcessId"), 0);
        }
        let by_rule = told
            .iter()
            .filter(|found| found.text("Rule") == "EICAR_Test_File");
        assert!(by_rule.count() > 0, "{told:#?}");
    });
}

#[test]
fn what_the_policy_decided_is_told_with_its_cause() {
    let refusing = WorldOptions {
        engine: None,
        parameters: vec![("OnFailure".to_owned(), 1)],
        ..options()
    };
    everywhere(&refusing, |world| {
        let file = unscanned(world);
        let user = world.process("user");
        let id = user.id();
        user.run(move |p| assert_eq!(p.read_file(file), Err(STATUS_ACCESS_DENIED)));
        let told = one(world, TraceId::Policy);
        assert_eq!(told.text("Failure"), "no-service");
        assert_eq!(told.text("Decision"), "failure-denied");
        assert!(told.text("File").ends_with("file.bin"), "{told:?}");
        assert_eq!(told.number("ProcessId"), u64::from(id));
    });
}

#[test]
fn an_infected_open_that_goes_through_is_told() {
    let audited = WorldOptions {
        parameters: vec![("AuditOnly".to_owned(), 1)],
        ..options()
    };
    everywhere(&audited, |world| {
        world.process("user").run(|p| {
            p.write_file(r"C:\evil.com", &eicar_test_file())
                .expect("writing is allowed");
            p.read_file(r"C:\evil.com").expect("nothing is denied");
        });
        let told = one(world, TraceId::Policy);
        assert_eq!(
            (told.text("Failure"), told.text("Decision")),
            ("", "audit-only")
        );
    });
}

/// A file of the host that no scan has seen, since there is no service yet.
fn unscanned(world: &World) -> &'static str {
    const FILE: &str = r"C:\file.bin";
    let setup = world.process("setup");
    setup.run(|p| p.write_file(FILE, b"bytes").expect("a new file"));
    let _what_came_before = events::take(world.machine());
    FILE
}

#[test]
fn an_open_that_waited_in_vain_is_told() {
    let hasty = WorldOptions {
        engine: None,
        parameters: vec![("OpenDeadlineMs".to_owned(), 200)],
        ..options()
    };
    everywhere(&hasty, |world| {
        let file = unscanned(world);
        let puppet = Puppet::start(world, 2, |puppet: &Puppet, message| {
            if !matches!(message.asked, Asked::Scan(_)) {
                puppet.behave(message, WireVerdict::CLEAN);
            }
        });
        let puppet = puppet.expect("the driver accepts it");
        let user = world.process("user");
        user.run(move |p| {
            assert!(
                p.read_file(file).is_ok(),
                "the host's policy lets it through"
            )
        });
        let told = one(world, TraceId::TimedOut);
        assert!(told.text("File").ends_with("file.bin"), "{told:?}");
        assert!(told.number("Waited100ns") >= 2_000_000, "{told:?}");
        puppet.kill();
    });
}

/// Waits for an event of this kind; the others that come meanwhile are dropped.
fn next(world: &World, id: TraceId) -> Told {
    for _ in 0..600 {
        let told = events::take_of(world.machine(), id);
        if let Some(first) = told.into_iter().next() {
            return first;
        }
        world.machine().sched().sleep(Duration::from_millis(50));
    }
    panic!("no {id:?} within half a minute");
}

#[test]
fn services_that_come_go_and_are_refused_are_told() {
    let alone = WorldOptions {
        engine: None,
        ..options()
    };
    everywhere(&alone, |world| {
        let start = || {
            Puppet::start(world, 1, |puppet: &Puppet, message| {
                puppet.behave(message, WireVerdict::CLEAN);
            })
        };
        let first = start().expect("the driver accepts it");
        let came = one(world, TraceId::Connected);
        assert_eq!(came.number("ProcessId"), u64::from(first.process().id()));
        assert_eq!(came.number("Epoch"), 1);
        assert_eq!(start().err(), Some(STATUS_CONNECTION_COUNT_LIMIT));
        let refused = one(world, TraceId::ConnectRefused);
        let status = STATUS_CONNECTION_COUNT_LIMIT.0.cast_unsigned();
        assert_eq!(refused.number("Status"), u64::from(status));
        assert_ne!(refused.number("ProcessId"), came.number("ProcessId"));
        first.kill();
        assert_eq!(next(world, TraceId::Disconnected).text("Cause"), "closed");
    });
}

#[test]
fn a_service_that_falls_silent_is_told_and_that_it_is_back() {
    let alone = WorldOptions {
        engine: None,
        parameters: vec![("HeartbeatMs".to_owned(), 500)],
        ..options()
    };
    everywhere(&alone, |world| {
        let silent = Arc::new(AtomicBool::new(true));
        let shared = Arc::clone(&silent);
        let puppet = Puppet::start(world, 1, move |puppet: &Puppet, message| {
            if !shared.load(Ordering::SeqCst) {
                puppet.behave(message, WireVerdict::CLEAN);
            }
        });
        let puppet = puppet.expect("the driver accepts it");
        let opened = next(world, TraceId::BreakerOpened);
        assert_eq!(opened.number("HeartbeatMs"), 500);
        // The next question may be asked, and answered, in the same moment.
        world.machine().sched().sleep(Duration::from_millis(100));
        silent.store(false, Ordering::SeqCst);
        let closed = next(world, TraceId::BreakerClosed);
        assert!(closed.number("Open100ns") >= 1_000_000);
        puppet.kill();
    });
}

#[test]
fn a_volume_that_becomes_redirecting_is_told_once() {
    everywhere(&options(), |world| {
        work(world);
        assert_ne!(one(world, TraceId::Redirecting).guid("Volume"), [0; 16]);
    });
}

#[test]
fn a_container_cannot_flood_the_trace() {
    const OPENS: u64 = 250;
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            p.write_file(r"C:\evil.com", &eicar_test_file())
                .expect("writing is allowed");
            assert_eq!(p.read_file(r"C:\evil.com"), Err(INFECTED));
        });
        let before = world.count(Event::TraceDropped);
        let _what_came_before = events::take(world.machine());
        let sched = world.machine().sched();
        let begun = sched.now();
        user.run(|p| {
            for _ in 0..OPENS {
                assert_eq!(p.read_file(r"C:\evil.com"), Err(INFECTED));
            }
        });
        let seconds = sched.now().0.saturating_sub(begun.0) / 10_000_000;
        let told = events::take_of(world.machine(), TraceId::Detection).len() as u64;
        let dropped = world.count(Event::TraceDropped) - before;
        assert_eq!(told + dropped, OPENS, "each is told or counted");
        // A second that is begun counts as one, at either end.
        assert!(told <= 100 * (seconds + 2), "{told} in {seconds} s");
        assert!(seconds > 0 || dropped > 0);
    });
}
