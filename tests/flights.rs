//! At most one live scan of a file's bytes at any time, and one that died reaches nobody (I6). The
//! engine of these scenarios keeps its own account of what ran beside what.

use std::time::Duration;

use filterhost::user::{FileHandle, OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{AllowReason, Event, Failure, LookupReason, ScanReason};
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::{Gate, HOLD};
use siloscan_worlds::puppet::{Asked, Delivered, Puppet};
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const FILE: &str = r"C:\file.com";

/// A host that starts without a service, and on which a stop may take its time to be obeyed: the
/// threads of this test share processors with others.
fn host() -> WorldOptions {
    WorldOptions {
        engine: None,
        parameters: vec![("SectionGraceMs".to_owned(), 10_000)],
        ..options()
    }
}

/// As many bytes as the test file has, none of them harmful.
fn harmless() -> Vec<u8> {
    vec![b'x'; eicar_test_file().len()]
}

/// The file with these bytes, and a handle that can write to it, from before there is a service.
fn written(user: &Process, bytes: Vec<u8>) -> FileHandle {
    user.run(move |p| {
        p.write_file(FILE, &bytes).expect("a new file");
        p.open(&OpenOptions::new(FILE).write())
            .expect("no service, no denial")
    })
}

#[test]
fn i6_a_file_is_scanned_once_at_a_time_however_many_want_it() {
    everywhere(&host(), |world| {
        const STREAM: &str = r"C:\file.com:data";
        let layer = layer(world);
        let containers = containers(world, &layer, 4, EcpVariant::default());
        let user = world.process("user");
        user.run(|p| {
            p.write_file(FILE, b"the unnamed stream")
                .expect("a new file");
            p.write_file(STREAM, b"the named stream")
                .expect("a new stream");
        });
        let gate = Gate::taking(Duration::from_millis(3));
        world.start_service(gate.clone(), 4);
        let mut openers = Vec::new();
        for container in containers.iter() {
            let app = container.process("app");
            for path in [TOOL, OTHER, TOOL, OTHER] {
                openers.push(app.spawn("open", move |p| p.read_file(path).is_ok()));
            }
        }
        for path in [FILE, STREAM, FILE, STREAM, FILE, STREAM] {
            openers.push(user.spawn("open", move |p| p.read_file(path).is_ok()));
        }
        for opener in openers {
            assert!(opener.join(), "they are all clean");
        }
        assert_eq!(
            gate.most_at_once(),
            1,
            "one scan of the same bytes at a time"
        );
        // With a key one scan is enough for all; without, each scan serves those who waited.
        assert_eq!(gate.begun(b"MZ a clean program"), 1);
        assert_eq!(gate.begun(b"the unnamed stream"), 1);
        let counts = world.counts();
        assert_eq!(counts.get(LookupReason::Layer), 16, "{:?}", counts.named());
        assert_eq!(
            counts.get(ScanReason::NamedStream),
            3,
            "{:?}",
            counts.named()
        );
        containers.iter().for_each(|container| container.destroy());
    });
}

/// A file is changed from `before` to `after` while it is scanned: what the opener gets.
fn changed_in_mid_scan(world: &World, before: Vec<u8>, after: Vec<u8>) -> bool {
    let user = world.process("user");
    let writer = written(&user, before);
    let gate = Gate::closed();
    world.start_service(gate.clone(), 3);
    let opener = user.spawn("open", |p| p.read_file(FILE));
    let joiner = user.spawn("open", |p| p.read_file(FILE));
    gate.await_held(1);
    let new = after.clone();
    user.run(move |_| writer.write_at(0, &new).map(drop).expect("never held up"));
    // The scan of what the file was still runs, and reaches nobody: another one has begun.
    gate.await_held(2);
    assert_eq!(gate.begun(&after), 1);
    gate.open();
    let first = opener.join();
    assert_eq!(first, joiner.join(), "both wait for the new scan");
    assert!(world.count(Event::FlightKilled) >= 1);
    assert_eq!(gate.most_at_once(), 1);
    first == Err(INFECTED)
}

#[test]
fn i6_a_change_kills_the_flight_and_its_waiters_start_anew() {
    everywhere(&host(), |world| {
        let denied = changed_in_mid_scan(world, harmless(), eicar_test_file().to_vec());
        assert!(denied, "the 'clean' was about bytes that are gone");
    });
    everywhere(&host(), |world| {
        let denied = changed_in_mid_scan(world, eicar_test_file().to_vec(), harmless());
        assert!(!denied, "the 'infected' was about bytes that are gone");
    });
}

#[test]
fn one_openers_failure_is_its_own_and_the_next_ones_file_object_is_tried() {
    let mut options = host();
    options.parameters.push(("ScanThreads".to_owned(), 2));
    everywhere(&options, |world| {
        let user = world.process("user");
        user.run(|p| {
            for path in [r"C:\hold-1.bin", r"C:\hold-2.bin"] {
                p.write_file(path, HOLD).expect("a new file");
            }
            p.write_file(FILE, b"clean").expect("a new file");
        });
        let gate = Gate::choosing();
        gate.close();
        world.start_service(gate.clone(), 3);
        let open = |path: &'static str| user.spawn("open", move |p| p.read_file(path).map(drop));
        let busy = [open(r"C:\hold-1.bin"), open(r"C:\hold-2.bin")];
        gate.await_held(2);
        // Both want the same bytes, and no leader is free.
        let both = [open(FILE), open(FILE)];
        let joined = world.counts_once(|counts| counts.get(Event::FlightJoined) == 1);
        assert!(joined.is_some(), "{:?}", world.counts().named());
        let faults = world.machine().faults();
        faults.fail_call("FltCreateSectionForDataScan", 1);
        gate.open();
        for open in busy.into_iter().chain(both) {
            assert_eq!(open.join(), Ok(()), "no memory is ours, and allowed");
        }
        let counts = world.counts();
        let named = counts.named();
        assert_eq!(counts.get(Event::FlightRetried), 1, "{named:?}");
        assert_eq!(counts.get(Failure::NoMemory), 1, "{named:?}");
        assert_eq!(counts.get(AllowReason::FailureAllowed), 1, "{named:?}");
        assert_eq!(counts.get(AllowReason::ScannedClean), 3, "{named:?}");
    });
}

#[test]
fn i6_the_late_answer_of_a_dead_scan_reaches_nobody() {
    everywhere(&host(), |world| {
        let user = world.process("user");
        let writer = written(&user, b"before".to_vec());
        // The first scan is answered when it is to be stopped, and with a verdict instead of
        // "stopped"; every later one is answered at once.
        let puppet = Puppet::start(world, 3, |puppet: &Puppet, message| {
            let first = || puppet.scans().first().map(|scan| scan.request);
            match &message.asked {
                Asked::Scan(scan) if first() == Some(scan.request) => {}
                Asked::Stop(request) => {
                    let scans = puppet.messages();
                    let request = *request;
                    let of = |it: &&Delivered| match &it.asked {
                        Asked::Scan(scan) => scan.request == request,
                        _ => false,
                    };
                    if let Some(scan) = scans.iter().find(of) {
                        puppet.behave(scan, WireVerdict::INFECTED);
                    }
                }
                _ => puppet.behave(message, WireVerdict::CLEAN),
            }
        });
        let puppet = puppet.expect("the driver accepts it");
        let opener = user.spawn("open", |p| p.read_file(FILE));
        let asked = || (!puppet.scans().is_empty()).then_some(());
        let sched = world.machine().sched();
        assert!(sched.wait_until("the scan", None, asked).is_ok());
        // The handle stays open: there is no scan at its close.
        let writer = user.run(move |_| {
            writer.write_at(0, b"behind").expect("never held up");
            writer
        });
        assert_eq!(opener.join().as_deref(), Ok(b"behind".as_slice()));
        assert_eq!(puppet.stops(), [puppet.scans()[0].request]);
        assert!(puppet.port().connection().is_alive(), "it let go in time");
        puppet.await_counts();
        assert_eq!(puppet.count(Event::VerdictDropped), 1);
        // Nor was it kept for later.
        let again = user.run(|p| p.read_file(FILE));
        assert_eq!(again.as_deref(), Ok(b"behind".as_slice()));
        assert_eq!(
            puppet.scans().len(),
            2,
            "the second verdict serves from the cache"
        );
        user.run(move |_| writer.close().expect("an open handle"));
    });
}

#[test]
fn i6_an_open_waits_for_the_scan_at_close_of_its_stream_and_no_longer() {
    // In a container a changed file is scanned at close without a key, and looked up with one: two
    // flights, but one section a stream.
    everywhere(&host(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let app = containers[0].process("app");
        // The instance becomes redirecting.
        app.run(|p| assert!(p.read_file(TOOL).is_ok()));
        let gate = Gate::closed();
        world.start_service(gate.clone(), 2);
        app.run(|p| {
            p.write_file(FILE, &eicar_test_file())
                .expect("writing is allowed")
        });
        gate.await_held(1);
        let opener = app.spawn("open", |p| p.read_file(FILE));
        world.machine().sched().sleep(Duration::from_millis(70));
        let start = world.machine().sched().now();
        gate.open();
        assert_eq!(opener.join(), Err(INFECTED));
        if world.machine().sched().is_seeded() {
            let end = world.machine().sched().now();
            assert_eq!(
                end, start,
                "it went on as soon as the scan at close was over"
            );
        }
        assert_eq!(world.count(siloscan_core::reason::Failure::Changing), 0);
        containers[0].destroy();
    });
}
