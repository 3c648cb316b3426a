//! Nobody waits for longer than its own deadline, whatever the scan service, the other openers or
//! their owners do; and whoever waits gets the verdict once there is one (I3).

use std::sync::Arc;
use std::time::Duration;

use filterhost::Time;
use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED, STATUS_CANCELLED};
use filterhost::user::{Process, Task};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{DenyReason, Event, Failure};
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::{Gate, HOLD};
use siloscan_worlds::puppet::{Asked, Puppet};
use siloscan_worlds::scene::{INFECTED, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

/// A file of the host, written before there is a service: not scanned when it was closed.
const FILE: &str = r"C:\file.bin";
const BYTES: &[u8] = b"bytes of a host's file";
/// Deadline of an open in these scenarios.
const DEADLINE: Duration = Duration::from_millis(2_000);

/// A host that starts without a service, and whose opens wait for [`DEADLINE`] at most.
fn host(parameters: &[(&str, u32)]) -> WorldOptions {
    let deadline = u32::try_from(DEADLINE.as_millis()).expect("two seconds");
    // Of two values of one name the later one counts.
    let own = [("OpenDeadlineMs", deadline), ("SectionGraceMs", 10_000)];
    let all = [&own, parameters].concat();
    WorldOptions {
        engine: None,
        parameters: all.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
        ..options()
    }
}

fn now(world: &World) -> Time {
    world.machine().sched().now()
}

fn since(world: &World, then: Time) -> Duration {
    now(world).since(then)
}

/// Where time is virtual it has moved by exactly this much; elsewhere by at least as much.
fn passed(world: &World, then: Time, time: Duration) {
    let passed = since(world, then);
    if world.machine().sched().is_seeded() {
        assert_eq!(passed, time);
    } else {
        assert!(passed >= time, "{passed:?}");
    }
}

/// A thread that reads the file.
fn opener(process: &Process) -> Task<Result<Vec<u8>, NtStatus>> {
    process.spawn("open", |p| p.read_file(FILE))
}

/// Writes the file while there is no service, then starts one whose engine is at the gate.
fn behind_the_gate(world: &World, bytes: &[u8], threads: usize) -> (Process, Arc<Gate>) {
    let user = world.process("user");
    let bytes = bytes.to_vec();
    user.run(move |p| p.write_file(FILE, &bytes).expect("a new file"));
    let gate = Gate::closed();
    world.start_service(gate.clone(), threads);
    (user, gate)
}

#[test]
fn i3_w8_an_engine_that_never_answers_delays_each_open_by_its_own_deadline_only() {
    everywhere(&host(&[]), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let (user, gate) = behind_the_gate(world, BYTES, 1);
        let inside = containers[0].process("app");
        let start = now(world);
        let early = opener(&user);
        gate.await_held(1);
        // One that comes half a deadline later waits for half a deadline longer.
        world.machine().sched().sleep(DEADLINE / 2);
        let late = opener(&user);
        let contained = inside.spawn("open", |p| p.read_file(TOOL));
        assert!(early.join().is_ok(), "allowed outside of a silo");
        passed(world, start, DEADLINE);
        assert!(late.join().is_ok(), "allowed outside of a silo");
        assert_eq!(contained.join(), Err(STATUS_ACCESS_DENIED));
        passed(world, start, DEADLINE / 2 * 3);
        let counts = world.counts();
        assert_eq!(counts.get(Failure::TooSlow), 3, "{:?}", counts.named());
        assert_eq!(counts.get(DenyReason::EvasionDenied), 1);
        gate.open();
        containers[0].destroy();
    });
}

#[test]
fn i3_an_opener_that_is_cancelled_or_killed_leaves_at_once_and_stalls_nobody() {
    everywhere(&host(&[("OpenDeadlineMs", 600_000)]), |world| {
        let (user, gate) = behind_the_gate(world, BYTES, 2);
        let start = now(world);
        let first = opener(&user);
        gate.await_held(1);
        let others: Vec<_> = (0..3).map(|_| opener(&user)).collect();
        let killed = opener(&user);
        while world.count(Event::FlightJoined) < 4 {
            world.machine().sched().sleep(Duration::from_millis(1));
        }
        let waiting = since(world, start);
        // The first one is that whose file object the scan uses.
        first.cancel_io();
        assert_eq!(first.join(), Err(STATUS_CANCELLED));
        killed.terminate();
        assert_eq!(killed.join(), Err(STATUS_CANCELLED));
        if world.machine().sched().is_seeded() {
            assert_eq!(since(world, start), waiting, "they left at once");
        }
        gate.open();
        for other in others {
            assert_eq!(other.join().as_deref(), Ok(BYTES));
        }
        let counts = world.counts();
        assert_eq!(counts.get(DenyReason::Cancelled), 2, "{:?}", counts.named());
        assert_eq!(
            gate.begun(BYTES),
            1,
            "the scan that was under way served them"
        );
    });
}

#[test]
fn i3_a_scan_that_nobody_waits_for_any_more_is_stopped() {
    everywhere(&host(&[]), |world| {
        world
            .process("user")
            .run(|p| p.write_file(FILE, BYTES).expect("a new file"));
        let puppet = Puppet::start(world, 2, |puppet, message| match &message.asked {
            // Scans are answered when the driver says stop, as a good service does.
            Asked::Scan(_) => {}
            Asked::Stop(request) => {
                for scan in puppet.messages() {
                    if let Asked::Scan(of) = &scan.asked
                        && of.request == *request
                    {
                        puppet.behave(&scan, WireVerdict::STOPPED);
                    }
                }
            }
            _ => puppet.behave(message, WireVerdict::CLEAN),
        });
        let puppet = puppet.expect("the driver accepts it");
        let user = world.process("user");
        let only = opener(&user);
        let sched = world.machine().sched();
        let asked = || (!puppet.scans().is_empty()).then_some(());
        assert!(sched.wait_until("the scan", None, asked).is_ok());
        only.cancel_io();
        assert_eq!(only.join(), Err(STATUS_CANCELLED));
        let stopped = || (!puppet.stops().is_empty()).then_some(());
        assert!(sched.wait_until("the stop", None, stopped).is_ok());
        assert_eq!(puppet.stops(), [puppet.scans()[0].request]);
    });
}

#[test]
fn i3_a_suspended_opener_stalls_nobody() {
    everywhere(&host(&[]), |world| {
        let (user, gate) = behind_the_gate(world, BYTES, 2);
        let frozen = opener(&user);
        gate.await_held(1);
        let start = now(world);
        frozen.suspend();
        let other = opener(&user);
        gate.open();
        assert_eq!(other.join().as_deref(), Ok(BYTES));
        if world.machine().sched().is_seeded() {
            passed(world, start, Duration::ZERO);
        }
        // Nor is a change of the file held up, or a scan of what it has become.
        user.run(|p| {
            p.write_file(FILE, b"other bytes")
                .expect("writing is allowed");
            assert!(p.read_file(FILE).is_ok());
        });
        assert!(!frozen.is_finished());
        frozen.resume();
        assert!(frozen.join().is_ok(), "its verdict was there all the while");
    });
}

#[test]
fn i3_w2_w9_a_service_that_dies_in_mid_scan_releases_all_who_wait_at_once() {
    for (policy, expected) in [(0, Ok(BYTES.to_vec())), (1, Err(STATUS_ACCESS_DENIED))] {
        everywhere(&host(&[("OnFailure", policy)]), move |world| {
            let user = world.process("user");
            user.run(|p| p.write_file(FILE, BYTES).expect("a new file"));
            let puppet = Puppet::start(world, 2, |puppet, message| {
                if !matches!(message.asked, Asked::Scan(_)) {
                    puppet.behave(message, WireVerdict::CLEAN);
                }
            });
            let puppet = puppet.expect("the driver accepts it");
            let waiters: Vec<_> = (0..5).map(|_| opener(&user)).collect();
            let all_wait = || {
                let flights =
                    puppet.count(Event::FlightStarted) + puppet.count(Event::FlightJoined);
                (flights >= 5).then_some(())
            };
            let sched = world.machine().sched();
            assert!(sched.wait_until("the waiters", None, all_wait).is_ok());
            let start = now(world);
            puppet.kill();
            for waiter in waiters {
                assert_eq!(waiter.join(), expected);
            }
            if sched.is_seeded() {
                passed(world, start, Duration::ZERO);
            }
            // Nothing was decided for good: the next service scans the file.
            world.start_service(Gate::opened(), 1);
            assert_eq!(opener(&user).join().as_deref(), Ok(BYTES));
            assert_eq!(world.scans(), 1);
        });
    }
}

#[test]
fn i3_a_missed_heartbeat_opens_the_breaker_and_an_answer_closes_it() {
    everywhere(&host(&[("HeartbeatMs", 500), ("OnFailure", 1)]), |world| {
        let user = world.process("user");
        user.run(|p| p.write_file(FILE, BYTES).expect("a new file"));
        let mute = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let is_mute = Arc::clone(&mute);
        let puppet = Puppet::start(world, 2, move |puppet, message| {
            let is_mute = is_mute.load(std::sync::atomic::Ordering::SeqCst);
            if !(is_mute && matches!(message.asked, Asked::Poll(_))) {
                puppet.behave(message, WireVerdict::CLEAN);
            }
        });
        let puppet = puppet.expect("the driver accepts it");
        let sched = world.machine().sched();
        let missed = || (puppet.count(Event::HeartbeatMissed) > 0).then_some(());
        assert!(sched.wait_until("a missed heartbeat", None, missed).is_ok());
        let start = now(world);
        assert_eq!(
            opener(&user).join(),
            Err(STATUS_ACCESS_DENIED),
            "ours, and denied at once"
        );
        if sched.is_seeded() {
            passed(world, start, Duration::ZERO);
        }
        assert!(
            puppet.scans().is_empty(),
            "nobody waits for a service that is not there"
        );
        mute.store(false, std::sync::atomic::Ordering::SeqCst);
        // The question that it did not answer times out; the one after it is answered.
        sched.sleep(Duration::from_millis(1_200));
        assert_eq!(opener(&user).join().as_deref(), Ok(BYTES));
        assert_eq!(puppet.scans().len(), 1);
    });
}

#[test]
fn i3_one_container_cannot_use_up_what_the_others_need() {
    // Eight scans at once, of which one container may hold two.
    everywhere(&host(&[]), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 2, EcpVariant::default());
        let greedy = containers[0].process("greedy");
        let files: Vec<String> = (0..8).map(|i| format!(r"C:\slow-{i}.bin")).collect();
        for (i, file) in files.iter().cloned().enumerate() {
            greedy.run(move |p| {
                p.write_file(&file, format!("slow {i}").as_bytes())
                    .expect("new")
            });
        }
        let modest = containers[1].process("modest");
        modest.run(|p| p.write_file(FILE, BYTES).expect("a new file"));
        let gate = Gate::closed();
        world.start_service(gate.clone(), 8);
        let openers: Vec<_> = files
            .iter()
            .cloned()
            .map(|file| greedy.spawn("open", move |p| p.read_file(&file)))
            .collect();
        gate.await_held(2);
        let other = opener(&modest);
        gate.await_held(3);
        assert_eq!(
            gate.begun(BYTES),
            1,
            "the other container's file is being scanned"
        );
        assert_eq!(
            gate.running(),
            3,
            "of the first one's eight files only two are"
        );
        gate.open();
        assert_eq!(other.join().as_deref(), Ok(BYTES));
        for opener in openers {
            assert!(opener.join().is_ok());
        }
        containers.iter().for_each(|container| container.destroy());
    });
}

/// Writes as many files whose scans do not end.
fn burst(process: &Process, files: usize) {
    process.run(move |p| {
        for number in 0..files {
            let bytes = [HOLD, number.to_string().as_bytes()].concat();
            p.write_file(&format!(r"C:\burst-{number}.bin"), &bytes)
                .expect("a closing writer is never held");
        }
    });
}

#[test]
fn i3_a_burst_of_changed_files_keeps_no_opener_out() {
    everywhere(&host(&[("OpenDeadlineMs", 600_000)]), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 2, EcpVariant::default());
        let (busy, modest) = (world.process("installer"), containers[1].process("modest"));
        for process in [&busy, &modest] {
            process.run(|p| p.write_file(FILE, BYTES).expect("a new file"));
        }
        let gate = Gate::choosing();
        gate.close();
        world.start_service(gate.clone(), 8);
        // Of 512 places a silo has 128, and half of them for scans at close.
        burst(&containers[0].process("greedy"), 80);
        gate.await_held(2);
        let counts = world.counts();
        assert_eq!(counts.get(Event::CloseScan), 64, "{:?}", counts.named());
        assert_eq!(counts.get(Event::CloseCrowded), 16);
        // Six of eight leaders may be busy with what nobody waits for.
        burst(&busy, 20);
        gate.await_held(6);
        assert_eq!(opener(&busy).join().as_deref(), Ok(BYTES));
        let read = opener(&modest).join();
        assert_eq!(read.as_deref(), Ok(BYTES), "{:?}", world.counts().named());
        assert_eq!(gate.begun(BYTES), 2, "scanned, both of them");
        gate.empty();
        containers.iter().for_each(|container| container.destroy());
    });
}

/// Some hundred openers of an infected and a clean file, in several containers.
fn a_crowd(world: &World) {
    const CROWD: usize = 240;
    let layer = layer(world);
    let containers = containers(world, &layer, 6, EcpVariant::default());
    let (user, gate) = behind_the_gate(world, &eicar_test_file(), 2);
    let outside: Vec<_> = (0..CROWD / 2).map(|_| opener(&user)).collect();
    let processes: Vec<_> = containers.iter().map(|it| it.process("app")).collect();
    let inside: Vec<_> = processes
        .iter()
        .cycle()
        .take(CROWD / 2)
        .map(|it| it.spawn("open", |p| p.read_file(TOOL)))
        .collect();
    gate.await_held(2);
    gate.open();
    for opener in outside {
        assert_eq!(opener.join(), Err(INFECTED), "nobody slips through");
    }
    for opener in inside {
        assert_eq!(
            opener.join().as_deref(),
            Ok(b"MZ a clean program".as_slice())
        );
    }
    assert_eq!(gate.all_begun(), 2, "one scan a file, whatever the crowd");
    containers.iter().for_each(|container| container.destroy());
}

#[test]
fn i3_w1_hundreds_of_openers_at_once_all_get_the_verdict() {
    let options = WorldOptions {
        engine: None,
        ..options()
    };
    everywhere(&options, a_crowd);
}
