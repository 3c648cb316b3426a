//! The interleavings that would file a verdict about bytes that are gone: each is played with an
//! engine, or a file system, that stands still at the worst moment.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use filterhost::Machine;
use filterhost::fltmgr::{NativeFilter, Pre, native};
use filterhost::layout::{FLT_CALLBACK_DATA, IRP_MJ_WRITE};
use filterhost::user::{OpenOptions, Process};
use filterhost::volume::request::Request;
use filterhost::volume::{FsKind, Volume};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{AllowReason, Event, ScanReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::{Gate, HOLD};
use siloscan_worlds::scene::{INFECTED, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const FILE: &str = r"C:\notes.txt";
const EVIL: &str = r"C:\app\evil.com";
const PAGE_READWRITE: u32 = 4;
const FSCTL_DUPLICATE_EXTENTS_TO_FILE: u32 = 0x98344;

/// Clean bytes whose scan a gate holds.
fn held_bytes() -> Vec<u8> {
    let mut bytes = HOLD.to_vec();
    bytes.resize(68, b'x');
    bytes
}

/// A host whose service is started by the scenario.
fn without_service() -> WorldOptions {
    WorldOptions {
        engine: None,
        ..options()
    }
}

/// Starts the service behind a gate.
fn gated(world: &World, threads: usize) -> Arc<Gate> {
    let gate = Gate::choosing();
    world.start_service(gate.clone(), threads);
    gate
}

/// A file system that holds writes of ordinary programs while it is told to.
struct SlowWrites {
    holding: AtomicBool,
}

impl NativeFilter for SlowWrites {
    fn altitude(&self) -> &str {
        "40000"
    }

    fn name(&self) -> &str {
        "slow writes"
    }

    fn pre(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        if Request::new(data).major() == IRP_MJ_WRITE {
            let free = || (!self.holding.load(Ordering::SeqCst)).then_some(());
            // Without a deadline the wait ends when the test says so.
            let _free = m.sched().wait_until("a slow disk", None, free);
        }
        Pre::NoCallback
    }

    fn post(&self, _: &Arc<Machine>, _: *mut FLT_CALLBACK_DATA, _: Box<dyn Any + Send>) {}
}

#[test]
fn w4_a_scan_between_pre_write_and_the_write_is_not_believed() {
    everywhere(&options(), |world| {
        let m = world.machine();
        let slow = Arc::new(SlowWrites {
            holding: AtomicBool::new(false),
        });
        let attached = native::attach(m, world.system(), slow.clone());
        let user = world.process("user");
        user.run(|p| {
            p.write_file(FILE, &[b'x'; 68]).expect("a new file");
            assert!(p.read_file(FILE).is_ok());
        });
        slow.holding.store(true, Ordering::SeqCst);
        let writer = user.spawn("writer", |p| {
            let file = p.open(&OpenOptions::new(FILE).write()).expect("clean");
            file.write_at(0, &eicar_test_file()).expect("written");
            file.close().expect("an open handle");
        });
        let dropped = || (world.count(Event::KeyDropped) > 1).then_some(());
        while dropped().is_none() {
            m.sched().sleep(Duration::from_millis(1));
        }
        // The mark is there, the old bytes still are, too.
        let reader = user.spawn("reader", |p| p.read_file(FILE));
        m.sched().sleep(Duration::from_millis(50));
        slow.holding.store(false, Ordering::SeqCst);
        m.sched().notify();
        writer.join();
        assert_eq!(reader.join(), Err(INFECTED));
        user.run(|p| assert_eq!(p.read_file(FILE), Err(INFECTED)));
        native::detach(m, &attached);
    });
}

#[test]
fn w1_an_open_does_not_join_a_scan_of_older_bytes() {
    everywhere(&without_service(), |world| {
        let user = world.process("user");
        user.run(|p| p.write_file(FILE, &held_bytes()).expect("a new file"));
        let gate = gated(world, 2);
        let file = user.run(|p| {
            let options = OpenOptions::new(FILE).write();
            Arc::new(p.open(&options).expect("clean"))
        });
        gate.close();
        let first = user.spawn("first", |p| p.read_file(FILE));
        gate.await_held(1);
        user.run(move |_| {
            file.write_at(0, &eicar_test_file()).expect("written");
            file.close().expect("an open handle");
        });
        let second = user.spawn("second", |p| p.read_file(FILE));
        assert_eq!(second.join(), Err(INFECTED), "while the first is held");
        gate.empty();
        assert_eq!(first.join(), Err(INFECTED), "it waits for the new bytes");
        user.run(|p| assert_eq!(p.read_file(FILE), Err(INFECTED)));
        assert!(world.count(Event::FlightKilled) >= 1);
    });
}

#[test]
fn w1_an_open_of_a_placeholder_without_a_key_joins_no_scan_either() {
    everywhere(&without_service(), |world| {
        let layer = layer(world);
        let host = world.process("host");
        host.set_drive('C', &layer.volume);
        host.run(|p| p.write_file(EVIL, &held_bytes()).expect("a new file"));
        let containers = containers(world, &layer, 1, EcpVariant::ZERO_IDS);
        let gate = gated(world, 2);
        let file = host.run(|p| {
            let options = OpenOptions::new(EVIL).write();
            Arc::new(p.open(&options).expect("clean"))
        });
        gate.close();
        let app = containers[0].process("app");
        let first = app.spawn("first", |p| p.read_file(EVIL));
        gate.await_held(1);
        host.run(move |_| {
            file.write_at(0, &eicar_test_file()).expect("written");
            file.close().expect("an open handle");
        });
        // The scan that is held reads the layer's older bytes, and its stream did not change.
        let second = app.spawn("second", |p| p.read_file(EVIL));
        world.machine().sched().sleep(Duration::from_millis(20));
        gate.empty();
        assert_eq!(second.join(), Err(INFECTED));
        let _either = first.join();
        assert_eq!(world.count(ScanReason::NoLayerId), 2);
        containers.iter().for_each(|container| container.destroy());
    });
}

#[test]
fn i2_a_placeholder_that_is_overwritten_during_the_scan_leaves_no_verdict() {
    everywhere(&without_service(), |world| {
        let layer = layer(world);
        let setup = world.process("setup");
        setup.set_drive('C', &layer.volume);
        setup.run(|p| {
            p.write_file(EVIL, &eicar_test_file()).expect("a new file");
        });
        let user = world.process("user");
        user.run(|p| p.write_file(FILE, &held_bytes()).expect("a new file"));
        let containers = containers(world, &layer, 2, EcpVariant::default());
        // One thread, held: the section of the next scan is made and nobody reads it yet.
        let gate = gated(world, 1);
        gate.close();
        let busy = user.spawn("busy", |p| p.read_file(FILE));
        gate.await_held(1);
        let malware = containers[0].process("malware");
        let opener = malware.spawn("opener", |p| p.read_file(EVIL));
        world.machine().sched().sleep(Duration::from_millis(20));
        let writer = malware.spawn("writer", |p| p.write_file(EVIL, &[b'x'; 68]));
        world.machine().sched().sleep(Duration::from_millis(20));
        gate.empty();
        assert!(busy.join().is_ok());
        // Either of the two may come first; what counts is what the others get.
        let _either = (opener.join(), writer.join());
        let read = containers[1].process("app").run(|p| p.read_file(EVIL));
        assert_eq!(read, Err(INFECTED), "{:?}", world.counts().named());
        setup.run(|p| assert_eq!(p.read_file(EVIL), Err(INFECTED)));
        containers.iter().for_each(|container| container.destroy());
    });
}

#[test]
fn i2_a_layer_file_that_the_host_has_mapped_is_not_cached() {
    const LIBRARY: &str = r"C:\app\library.dll";
    everywhere(&options(), |world| {
        let layer = layer(world);
        let host = world.process("host");
        host.set_drive('C', &layer.volume);
        host.run(|p| p.write_file(LIBRARY, &[b'x'; 68]).expect("a new file"));
        let containers = containers(world, &layer, 3, EcpVariant::default());
        let app = |which: usize| containers[which].process("app");
        assert!(app(0).run(|p| p.read_file(LIBRARY)).is_ok());
        let (file, section, view) = host.run(|p| {
            let options = OpenOptions::new(LIBRARY).read().write();
            let file = p.open(&options).expect("clean");
            let section = file.create_section(PAGE_READWRITE, 0).expect("a section");
            let view = section.map().expect("a view");
            (file, section, view)
        });
        let before = world.count(AllowReason::CachedClean);
        assert!(app(1).run(|p| p.read_file(LIBRARY)).is_ok());
        assert_eq!(world.count(AllowReason::CachedClean), before, "no hit");
        // A store: no operation tells of it.
        let view = host.run(move |_| {
            view.write(0, &eicar_test_file()).expect("a writable view");
            view
        });
        assert_eq!(app(2).run(|p| p.read_file(LIBRARY)), Err(INFECTED));
        host.run(move |_| {
            drop(view);
            section.close().expect("an open section");
            file.close().expect("an open handle");
        });
        assert_eq!(app(1).run(|p| p.read_file(LIBRARY)), Err(INFECTED));
        containers.iter().for_each(|container| container.destroy());
    });
}

#[test]
fn i2_a_file_swapped_in_by_hard_link_gets_its_own_verdict() {
    everywhere(&options(), |world| {
        world.process("user").run(|p| {
            p.write_file(FILE, b"clean").expect("a new file");
            assert!(p.read_file(FILE).is_ok());
            let options = OpenOptions::new(r"C:\evil.tmp").read().write().create();
            let evil = p.open(&options).expect("a new file");
            evil.write_at(0, &eicar_test_file()).expect("written");
            evil.hard_link("notes.txt", true)
                .expect("it takes the name");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
            evil.close().expect("an open handle");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
    });
}

#[test]
fn w7_a_file_swapped_by_block_clone_gets_its_own_verdict() {
    everywhere(&options(), |world| {
        let volume = Volume::mount_kind(world.machine(), FsKind::Refs);
        let user = world.process("user");
        user.set_drive('C', &volume);
        user.run(|p| {
            p.write_file(FILE, &[b'x'; 68]).expect("a new file");
            assert!(p.read_file(FILE).is_ok());
            let options = OpenOptions::new(r"C:\evil.tmp").read().write().create();
            let evil = p.open(&options).expect("a new file");
            evil.write_at(0, &eicar_test_file()).expect("written");
            let target = p.open(&OpenOptions::new(FILE).write()).expect("clean");
            // DUPLICATE_EXTENTS_DATA: the source's handle, two offsets, a count.
            let mut data = vec![0; 32];
            data[..8].copy_from_slice(&(evil.value() as u64).to_le_bytes());
            data[24..].copy_from_slice(&68_u64.to_le_bytes());
            let cloned = target.control(FSCTL_DUPLICATE_EXTENTS_TO_FILE, &data, 0);
            assert!(cloned.is_ok(), "{cloned:?}");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
            target.close().expect("an open handle");
            evil.close().expect("an open handle");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
    });
}

#[test]
fn i2_a_host_open_of_a_placeholder_earns_no_verdict() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let app = containers[0].process("app");
        // The container's first open makes its volume a redirecting one.
        assert!(app.run(|p| p.read_file(TOOL)).is_ok());
        let host = world.process("host");
        host.set_drive('C', containers[0].scratch());
        let read = |p: &Process| p.read_file(TOOL).is_ok();
        let before = world.count(ScanReason::RedirectingVolume);
        host.run(read);
        host.run(read);
        assert_eq!(world.count(ScanReason::RedirectingVolume), before + 2);
        containers[0].destroy();
    });
}

#[test]
fn w3_a_failed_scan_at_close_leaves_no_old_verdict() {
    everywhere(&without_service(), |world| {
        let gate = gated(world, 2);
        let user = world.process("user");
        user.run(|p| {
            p.write_file(FILE, &[b'x'; 68]).expect("a new file");
            assert!(p.read_file(FILE).is_ok());
            assert!(p.read_file(FILE).is_ok());
        });
        let file = user.run(|p| {
            let options = OpenOptions::new(FILE).write();
            Arc::new(p.open(&options).expect("clean"))
        });
        gate.fail(true);
        let before = world.count(Event::CloseFailed);
        user.run(move |_| {
            file.write_at(0, &eicar_test_file()).expect("written");
            file.close().expect("an open handle");
        });
        while world.count(Event::CloseFailed) == before {
            world.machine().sched().sleep(Duration::from_millis(1));
        }
        gate.fail(false);
        let before = world.count(AllowReason::CachedClean);
        user.run(|p| assert_eq!(p.read_file(FILE), Err(INFECTED)));
        assert_eq!(world.count(AllowReason::CachedClean), before);
    });
}
