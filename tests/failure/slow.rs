//! Scans that are too slow, or end in an error, are their silo's: they open no circuit breaker, and
//! however many containers make them, the others' scans find leaders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use filterhost::Mode;
use filterhost::container::Container;
use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED};
use filterhost::user::{OpenOptions, Process, Task};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{Event, Failure};
use siloscan_core::wire::WireVerdict;
use siloscan_worlds::everywhere::{everywhere, once};
use siloscan_worlds::puppet::{Asked, Delivered, Puppet};
use siloscan_worlds::scene::{containers, layer};
use siloscan_worlds::world::World;

use crate::causes::wait;
use crate::host;

/// Bytes of a file whose scan never ends.
const SLOW: usize = 4_444;
/// Containers that make slow scans: each holds its quarter of four leaders.
const SLOW_ONES: usize = 4;
/// Of an open, as [`host`] has it.
const DEADLINE: Duration = Duration::from_millis(300);

fn is_slow(scan: &siloscan_core::wire::ScanRequest) -> bool {
    scan.size == SLOW as u64
}

/// A service that never answers about slow files and calls the others clean.
fn service(world: &World) -> Arc<Puppet> {
    let puppet = Puppet::start(world, 8, |puppet: &Puppet, message| match &message.asked {
        Asked::Scan(scan) if is_slow(scan) => puppet.let_go(scan),
        _ => puppet.behave(message, WireVerdict::CLEAN),
    });
    puppet.expect("the driver accepts it")
}

fn open(p: &Process, path: &str) -> Result<(), NtStatus> {
    p.open(&OpenOptions::new(path).read())?.close()
}

/// Every slow container opens its slow file at once.
fn slow_opens(containers: &[Container]) -> Vec<Task<Result<(), NtStatus>>> {
    let slow = containers.iter().take(SLOW_ONES);
    slow.map(|it| {
        it.process("slow")
            .spawn("slow", |p| open(p, r"C:\slow.bin"))
    })
    .collect()
}

fn all_denied(opens: Vec<Task<Result<(), NtStatus>>>) {
    for open in opens {
        assert_eq!(
            open.join(),
            Err(STATUS_ACCESS_DENIED),
            "too slow, in a silo"
        );
    }
}

/// Slow scans that were asked for until now.
fn asked(puppet: &Puppet) -> usize {
    puppet.scans().iter().filter(|scan| is_slow(scan)).count()
}

fn many_slow_containers(world: &World) {
    let layer = layer(world);
    let containers = containers(world, &layer, SLOW_ONES + 1, EcpVariant::default());
    for container in containers.iter() {
        container.process("setup").run(|p| {
            p.write_file(r"C:\slow.bin", &[b'x'; SLOW])
                .expect("a new file");
            for number in 0..4 {
                p.write_file(&format!(r"C:\{number}.bin"), b"good")
                    .expect("a new file");
            }
        });
    }
    let puppet = service(world);
    let other = containers[SLOW_ONES].process("other");
    let fresh = |number: usize| other.run(move |p| open(p, &format!(r"C:\{number}.bin")));
    // Until they are known to be slow they hold every leader: here the other one waits in vain.
    let slow = slow_opens(&containers);
    wait(world, "four slow scans", || {
        (asked(&puppet) >= SLOW_ONES).then_some(())
    });
    assert_eq!(fresh(0), Err(STATUS_ACCESS_DENIED), "no leader is left");
    all_denied(slow);
    all_denied(slow_opens(&containers));
    puppet.await_counts();
    assert_eq!(puppet.count(Event::SiloSlowed), SLOW_ONES as u64);
    // Now they hold two leaders, and the other container does not notice them.
    let before = asked(&puppet);
    let slow = slow_opens(&containers);
    wait(world, "two slow scans", || {
        (asked(&puppet) >= before + 2).then_some(())
    });
    assert_eq!(fresh(1), Ok(()));
    assert_eq!(fresh(2), Ok(()));
    assert_eq!(asked(&puppet), before + 2, "half of the leaders");
    all_denied(slow);
    // Ten deadlines later all is forgiven.
    world.machine().sched().sleep(DEADLINE * 11);
    let before = asked(&puppet);
    let slow = slow_opens(&containers);
    wait(world, "four slow scans again", || {
        (asked(&puppet) >= before + SLOW_ONES).then_some(())
    });
    all_denied(slow);
    puppet.await_counts();
    assert_eq!(puppet.count(Event::HeartbeatMissed), 0);
    for container in containers.iter() {
        container.destroy();
    }
}

#[test]
fn containers_whose_scans_are_too_slow_leave_leaders_to_the_others() {
    let options = host(&[("ScanThreads", 4), ("OnFailure", 1)]);
    // By the clock: only where time is virtual.
    for seed in 0..6 {
        if let Err(report) = once(Mode::Seeded(seed), &options, Arc::new(many_slow_containers)) {
            panic!("seed {seed}\n{report}");
        }
    }
}

/// What the service does.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Does {
    /// It answers each scan with an error.
    Errors,
    /// It never answers a scan.
    Hangs,
    /// It answers nothing at all.
    Silent,
    /// All is well.
    Works,
}

fn habit(puppet: &Puppet, message: &Delivered, does: u8) {
    let is_scan = match &message.asked {
        Asked::Scan(scan) => {
            puppet.let_go(scan);
            true
        }
        _ => false,
    };
    match does {
        does if does == Does::Silent as u8 => {}
        does if does == Does::Hangs as u8 && is_scan => {}
        does if does == Does::Errors as u8 && is_scan => puppet.behave(message, WireVerdict::ERROR),
        _ => puppet.behave(message, WireVerdict::CLEAN),
    }
}

#[test]
fn only_a_missed_heartbeat_opens_the_circuit_breaker() {
    /// Files that are opened while it does one of these.
    const EACH: usize = 5;
    everywhere(&host(&[("OnFailure", 1), ("OnEvasion", 2)]), |world| {
        let user = world.process("user");
        user.run(|p| {
            for number in 0..4 * EACH {
                p.write_file(&format!(r"C:\{number}.bin"), b"bytes")
                    .expect("a new file");
            }
        });
        let does = Arc::new(AtomicU8::new(Does::Errors as u8));
        let told = Arc::clone(&does);
        let puppet = Puppet::start(world, 3, move |puppet: &Puppet, message| {
            habit(puppet, message, told.load(Ordering::SeqCst));
        });
        let puppet = puppet.expect("the driver accepts it");
        let opens = |turn: usize| {
            let opens = (turn * EACH..(turn + 1) * EACH)
                .map(|number| user.spawn("open", move |p| open(p, &format!(r"C:\{number}.bin"))));
            opens.collect::<Vec<_>>()
        };
        for (turn, next) in [Does::Errors, Does::Hangs].into_iter().enumerate() {
            does.store(next as u8, Ordering::SeqCst);
            all_denied(opens(turn));
        }
        puppet.await_counts();
        assert!(puppet.count(Failure::ServiceError) >= EACH as u64);
        assert!(puppet.count(Failure::TooSlow) >= EACH as u64);
        assert_eq!(puppet.count(Event::HeartbeatMissed), 0);
        assert_eq!(puppet.count(Failure::Breaker), 0);
        does.store(Does::Silent as u8, Ordering::SeqCst);
        world.machine().sched().sleep(Duration::from_millis(2_500));
        let asked = puppet.scans().len();
        all_denied(opens(2));
        assert_eq!(puppet.scans().len(), asked, "nobody waits, nobody asks");
        does.store(Does::Works as u8, Ordering::SeqCst);
        puppet.await_counts();
        assert!(puppet.count(Event::HeartbeatMissed) >= 1);
        assert_eq!(puppet.count(Failure::Breaker), EACH as u64);
        for open in opens(3) {
            assert_eq!(open.join(), Ok(()), "closed again");
        }
    });
}
