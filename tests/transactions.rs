//! Files that are changed in a transaction (TxF): what nobody else sees is shared with nobody, and
//! with the commit the verdicts of the older bytes end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use filterhost::fltmgr::transaction::{self, Transaction};
use filterhost::status::STATUS_SHARING_VIOLATION;
use filterhost::user::{OpenOptions, Process};
use filterhost::volume::name::units;
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{AllowReason, Event, LookupReason, ScanReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::{Gate, HOLD};
use siloscan_worlds::scene::{INFECTED, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const FILE: &str = r"C:\notes.txt";
const NEW: &str = r"C:\new.txt";

/// A clean file whose verdict is in the cache.
fn known(p: &Process) {
    p.write_file(FILE, b"clean").expect("a new file");
    assert!(p.read_file(FILE).is_ok());
    assert!(p.read_file(FILE).is_ok());
}

/// Writes EICAR over a file, seen in the transaction alone.
fn infect(p: &Process, path: &str, within: Transaction) {
    let options = OpenOptions::new(path).read().write().transacted(within);
    let file = p.open(&options).expect("still clean");
    file.write_at(0, &eicar_test_file()).expect("writable");
    file.set_end_of_file(eicar_test_file().len() as u64)
        .expect("writable");
    file.close().expect("an open handle");
}

fn read_in(p: &Process, path: &str, within: Transaction) -> bool {
    let options = OpenOptions::new(path).read().transacted(within);
    match p.open(&options) {
        Ok(file) => {
            file.close().expect("an open handle");
            true
        }
        Err(status) => {
            assert_eq!(status, INFECTED);
            false
        }
    }
}

fn end(world: &World, within: Transaction, commit: bool) {
    transaction::end(world.machine(), within, commit);
}

#[test]
fn i2_a_verdict_from_before_a_commit_is_not_believed_after_it() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(known);
        let within = transaction::begin(world.machine());
        user.run(move |p| {
            infect(p, FILE, within);
            // Outside it is what it was, and looked at as such: this verdict must not stay.
            assert_eq!(p.read_file(FILE).expect("clean"), b"clean");
            assert_eq!(p.read_file(FILE).expect("clean"), b"clean");
            assert!(!read_in(p, FILE, within), "in there it is infected");
        });
        end(world, within, true);
        let volume = world.system();
        assert_eq!(
            volume.fs().contents(r"\notes.txt"),
            Ok(eicar_test_file().to_vec())
        );
        user.run(|p| assert_eq!(p.read_file(FILE), Err(INFECTED)));
    });
}

#[test]
fn i2_a_rollback_changes_nothing_outside() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(known);
        let within = transaction::begin(world.machine());
        user.run(move |p| {
            infect(p, FILE, within);
            infect_new(p, within);
            assert!(!read_in(p, NEW, within));
            assert!(p.read_file(NEW).is_err(), "not there for others");
        });
        end(world, within, false);
        let before = world.count(AllowReason::CachedClean);
        user.run(|p| {
            assert_eq!(p.read_file(FILE).expect("clean"), b"clean");
            assert_eq!(p.read_file(FILE).expect("clean"), b"clean");
            assert!(p.read_file(NEW).is_err(), "never there");
        });
        assert!(
            world.count(AllowReason::CachedClean) > before,
            "cached again"
        );
    });
}

/// A new file that is infected, in the transaction.
fn infect_new(p: &Process, within: Transaction) {
    let options = OpenOptions::new(NEW)
        .write()
        .create_new()
        .transacted(within);
    let file = p.open(&options).expect("new");
    file.write_at(0, &eicar_test_file()).expect("writable");
    file.close().expect("an open handle");
}

#[test]
fn i2_a_file_that_comes_to_light_with_a_commit_is_scanned() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let within = transaction::begin(world.machine());
        user.run(move |p| infect_new(p, within));
        end(world, within, true);
        user.run(|p| assert_eq!(p.read_file(NEW), Err(INFECTED)));
    });
}

#[test]
fn i2_what_is_seen_in_a_transaction_is_shared_with_nobody() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            p.write_file(FILE, &eicar_test_file()).expect("a new file");
            p.write_file(r"C:\notes.txt:evil", &eicar_test_file())
                .expect("a named stream");
        });
        // The other way round: infected for everybody, clean in the transaction.
        let within = transaction::begin(world.machine());
        let before = world.count(ScanReason::Transaction);
        user.run(move |p| {
            for path in [FILE, r"C:\notes.txt:evil"] {
                // Emptied, so it is not denied.
                let clean = OpenOptions::new(path).write().create_always();
                let file = p.open(&clean.transacted(within)).expect("emptied");
                file.write_at(0, b"clean").expect("writable");
                file.close().expect("an open handle");
                assert!(read_in(p, path, within), "clean in there");
            }
        });
        assert!(world.count(ScanReason::Transaction) - before >= 2);
        // All at once: scans of the two sights of one file run side by side.
        let inside = user.spawn("inside", move |p| {
            (0..4).all(|_| read_in(p, r"C:\notes.txt:evil", within))
        });
        let outside = user.spawn("outside", |p| {
            for _ in 0..4 {
                assert_eq!(p.read_file(FILE), Err(INFECTED));
                assert_eq!(p.read_file(r"C:\notes.txt:evil"), Err(INFECTED));
            }
        });
        assert!(inside.join(), "clean in there");
        outside.join();
        end(world, within, false);
        user.run(|p| assert_eq!(p.read_file(FILE), Err(INFECTED)));
    });
}

#[test]
fn i2_a_scan_of_older_bytes_dies_with_the_commit() {
    let without_service = WorldOptions {
        engine: None,
        ..options()
    };
    everywhere(&without_service, |world| {
        let user = world.process("user");
        // As long as what comes: a section of a shorter file would show the beginning of it alone.
        user.run(|p| {
            let mut bytes = HOLD.to_vec();
            bytes.resize(eicar_test_file().len(), b'x');
            p.write_file(FILE, &bytes).expect("a new file");
        });
        let gate = Gate::choosing();
        // One scan for each drop of the key may be held, of bytes that nobody sees any more.
        world.start_service(gate.clone(), 4);
        let within = transaction::begin(world.machine());
        user.run(move |p| infect(p, FILE, within));
        let before = world.count(Event::TransactionCommitted);
        gate.close();
        let first = user.spawn("first", |p| p.read_file(FILE));
        gate.await_held(1);
        end(world, within, true);
        let second = user.spawn("second", |p| p.read_file(FILE));
        assert_eq!(second.join(), Err(INFECTED), "while the first is held");
        gate.empty();
        let first = first.join();
        assert_eq!(
            first,
            Err(INFECTED),
            "it waits for the new bytes: {:?}",
            world.counts().named()
        );
        assert_eq!(world.count(Event::TransactionCommitted) - before, 2);
        user.run(|p| assert_eq!(p.read_file(FILE), Err(INFECTED)));
    });
}

#[test]
fn i2_a_package_file_changed_in_a_transaction_is_scanned_in_containers() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let app = containers[0].process("app");
        app.run(|p| {
            assert!(p.read_file(TOOL).is_ok());
            assert!(p.read_file(TOOL).is_ok());
        });
        let host = world.process("host");
        host.set_drive('C', &layer.volume);
        let within = transaction::begin(world.machine());
        host.run(move |p| infect(p, TOOL, within));
        // Its layer key serves nobody while the transaction lives.
        let (looked, hits) = (LookupReason::Layer, AllowReason::CachedClean);
        let before = (world.count(looked), world.count(hits));
        app.run(|p| assert!(p.read_file(TOOL).is_ok(), "not committed"));
        let after = (world.count(looked), world.count(hits));
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 0));
        end(world, within, true);
        app.run(|p| assert_eq!(p.read_file(TOOL), Err(INFECTED)));
        containers[0].destroy();
    });
}

#[test]
fn a_transaction_of_many_files_hides_the_volume() {
    const FILES: usize = 70;
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(known);
        let within = transaction::begin(world.machine());
        user.run(move |p| {
            for number in 0..FILES {
                let path = format!(r"C:\f{number}.txt");
                p.write_file(&path, b"clean").expect("a new file");
                let options = OpenOptions::new(&path).write().transacted(within);
                let file = p.open(&options).expect("clean");
                file.close().expect("an open handle");
            }
            infect(p, r"C:\f69.txt", within);
        });
        assert_eq!(world.count(Event::TransactionUnseen), 1);
        let before = world.count(ScanReason::NoVolume);
        user.run(|p| {
            assert!(p.read_file(FILE).is_ok(), "scanned, and not kept");
            assert!(p.read_file(r"C:\f69.txt").is_ok(), "not committed");
        });
        assert_eq!(world.count(ScanReason::NoVolume) - before, 2);
        end(world, within, true);
        let before = world.count(AllowReason::CachedClean);
        user.run(|p| {
            assert_eq!(p.read_file(r"C:\f69.txt"), Err(INFECTED));
            assert!(p.read_file(FILE).is_ok());
            assert!(p.read_file(FILE).is_ok());
        });
        assert_eq!(world.count(AllowReason::CachedClean) - before, 1);
    });
}

#[test]
fn coverage_is_withdrawn_by_a_commit() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let host = world.process("host");
        host.set_drive('C', &layer.volume);
        let within = transaction::begin(world.machine());
        host.run(move |p| infect(p, TOOL, within));
        world.covering(&layer.volume);
        world.covered(&layer.volume);
        let before = world.count(Event::CoverageWithdrawn);
        end(world, within, true);
        assert_eq!(world.count(Event::CoverageWithdrawn) - before, 1);
    });
}

#[test]
fn others_cannot_write_meanwhile_and_an_unload_leaves_nothing() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(known);
        let within = transaction::begin(world.machine());
        user.run(move |p| {
            infect(p, FILE, within);
            let write = OpenOptions::new(FILE).write();
            assert_eq!(p.open(&write).err(), Some(STATUS_SHARING_VIOLATION));
        });
        // It never ends: the driver goes while it follows it, and the machine's checkers look.
    });
}

/// The bytes of the file's stream that everybody sees.
fn committed(world: &World, stream: &str) -> Vec<u8> {
    let fs = world.system().fs();
    let node = fs.find(r"\notes.txt").expect("there");
    let space = fs.space();
    let stream = space.node(node).expect("there").stream(&units(stream));
    stream.expect("there").bytes.snapshot().expect("in memory")
}

#[test]
fn i2_no_open_joins_a_scan_from_before_a_commit() {
    const STREAM: &str = r"C:\notes.txt:evil";
    let without_service = WorldOptions {
        engine: None,
        ..options()
    };
    everywhere(&without_service, |world| {
        world.start_service(Gate::taking(Duration::from_micros(300)), 4);
        let user = world.process("user");
        user.run(|p| {
            p.write_file(FILE, b"clean").expect("a new file");
            p.write_file(STREAM, b"clean").expect("a named stream");
        });
        let within = transaction::begin(world.machine());
        user.run(move |p| {
            infect(p, FILE, within);
            infect(p, STREAM, within);
        });
        // Some are always being scanned, so that there is something to join.
        let over = Arc::new(AtomicBool::new(false));
        let others = [FILE, STREAM, FILE, STREAM].map(|path| {
            let over = Arc::clone(&over);
            user.spawn("other", move |p| {
                while !over.load(Ordering::Acquire) {
                    let _old_or_new = p.read_file(path);
                }
            })
        });
        let ending = {
            let (m, over) = (Arc::clone(world.machine()), Arc::clone(&over));
            user.spawn("end", move |_| {
                m.sched().sleep(Duration::from_millis(1));
                transaction::end(&m, within, true);
                over.store(true, Ordering::Release);
            })
        };
        // Whoever opens it when everybody sees the new bytes gets their verdict.
        while !over.load(Ordering::Acquire) {
            for (path, stream) in [(FILE, ""), (STREAM, "evil")] {
                if committed(world, stream) == eicar_test_file() {
                    user.run(move |p| assert_eq!(p.read_file(path), Err(INFECTED), "{path}"));
                } else {
                    world.machine().sched().sleep(Duration::from_micros(50));
                }
            }
        }
        ending.join();
        for other in others {
            other.join();
        }
    });
}
