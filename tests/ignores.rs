//! Each open that is none of our business: that it is counted under its name, and why it is safe —
//! no infected byte is read through it (I1). Stack file objects, paging files, directories, opens
//! without data access, the prefetcher and reparse points are in `kinds_of_opens.rs`, the volume
//! itself in `kinds_of_volumes.rs`.

use filterhost::fltmgr::{FilterManager, instance, volume};
use filterhost::layout::GUID_ECP_CSV_DOWN_LEVEL_OPEN;
use filterhost::machine;
use filterhost::status::STATUS_OBJECT_NAME_NOT_FOUND;
use filterhost::user::{EcpSpec, OpenOptions, Process};
use filterhost::volume::fs::control::FSCTL_REQUEST_BATCH_OPLOCK;
use siloscan_core::reason::{Event, IgnoreReason};
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::puppet::{Puppet, service_process};
use siloscan_worlds::scene::{INFECTED, options};
use siloscan_worlds::world::{SERVICE, World, WorldOptions};

const EVIL: &str = r"C:\evil.com";

/// Somebody who has an infected file.
fn owner(world: &World) -> Process {
    let user = world.process("user");
    user.run(|p| p.write_file(EVIL, &eicar_test_file()).expect("a new file"));
    user
}

fn without_service() -> WorldOptions {
    WorldOptions {
        engine: None,
        ..options()
    }
}

#[test]
fn i1_only_the_connected_service_itself_opens_unseen() {
    everywhere(&without_service(), |world| {
        let user = owner(world);
        let connect = || {
            Puppet::start(world, 3, |puppet, message| {
                puppet.behave(message, WireVerdict::INFECTED);
            })
            .expect("the driver accepts it")
        };
        let former = connect();
        former.await_counts();
        let before = former.count(IgnoreReason::Scanner);
        assert!(former.process().run(|p| p.read_file(EVIL)).is_ok());
        former.await_counts();
        assert_eq!(former.count(IgnoreReason::Scanner), before + 1);
        // One of the same account and name that is not connected, and everybody else.
        let namesake = service_process(world);
        assert_eq!(namesake.run(|p| p.read_file(EVIL)), Err(INFECTED));
        assert_eq!(user.run(|p| p.read_file(EVIL)), Err(INFECTED));
        // One that was connected, once another one is.
        former.hang_up();
        let gone = || (!former.is_connected()).then_some(());
        let sched = world.machine().sched();
        assert!(sched.wait_until("the end", None, gone).is_ok());
        let _present = connect();
        let late = former.process().run(|p| p.read_file(EVIL));
        assert_eq!(late, Err(INFECTED), "it is the service no more");
    });
}

#[test]
fn i1_a_renames_target_directory_gives_no_byte_of_a_file() {
    const SL_OPEN_TARGET_DIRECTORY: u8 = 4;
    everywhere(&options(), |world| {
        let user = owner(world);
        let before = world.count(IgnoreReason::TargetDirectory);
        user.run(|p| {
            let options = OpenOptions::new(EVIL).read().kernel_mode();
            let parent = p.open(&options.operation_flags(SL_OPEN_TARGET_DIRECTORY));
            let parent = parent.expect("the folder that the name is in");
            assert!(parent.read_at(0, 68).is_err(), "a folder has no bytes");
        });
        assert_eq!(world.count(IgnoreReason::TargetDirectory), before + 1);
        assert_eq!(user.run(|p| p.read_file(EVIL)), Err(INFECTED));
    });
}

#[test]
fn i1_the_hidden_side_of_a_cluster_open_is_believed_from_the_kernel_only() {
    everywhere(&options(), |world| {
        let user = owner(world);
        let spec = |from_user| EcpSpec {
            kind: GUID_ECP_CSV_DOWN_LEVEL_OPEN,
            context: vec![0; 8],
            from_user,
            acknowledged: false,
        };
        let before = world.count(IgnoreReason::CsvDownLevel);
        user.run(move |p| {
            let options = OpenOptions::new(EVIL).read().kernel_mode();
            p.open(&options.ecp(spec(false)))
                .expect("the cluster's own: its visible side is looked at");
            let options = OpenOptions::new(EVIL).read().ecp(spec(true));
            assert_eq!(p.open(&options).map(drop), Err(INFECTED));
        });
        assert_eq!(world.count(IgnoreReason::CsvDownLevel), before + 1);
    });
}

#[test]
fn i1_a_nested_create_is_a_file_systems_own() {
    everywhere(&options(), |world| {
        let user = owner(world);
        let before = world.count(IgnoreReason::Nested);
        user.run(|p| {
            let thread = machine::current_thread();
            // What a file system sets while it works on another request of this thread.
            let outer = thread.set_top_level_irp(1);
            let opened = p.open(&OpenOptions::new(EVIL).read());
            thread.set_top_level_irp(outer);
            opened.expect("waiting here could wait for the file system's own locks");
            // A program has no such marker: its open is looked at.
            assert_eq!(p.read_file(EVIL), Err(INFECTED));
        });
        assert_eq!(world.count(IgnoreReason::Nested), before + 1);
    });
}

#[test]
fn i1_an_open_that_failed_gives_nothing() {
    everywhere(&options(), |world| {
        let user = owner(world);
        let before = world.count(IgnoreReason::Failed);
        let read = user.run(|p| p.read_file(r"C:\nothing.com"));
        assert_eq!(read, Err(STATUS_OBJECT_NAME_NOT_FOUND));
        assert_eq!(world.count(IgnoreReason::Failed), before + 1);
    });
}

#[test]
fn i1_an_open_that_empties_a_file_reads_nothing_old() {
    everywhere(&options(), |world| {
        let user = owner(world);
        assert_eq!(user.run(|p| p.read_file(EVIL)), Err(INFECTED));
        let before = world.count(IgnoreReason::NotOpened);
        let emptied = user.run(|p| {
            let options = OpenOptions::new(EVIL).read().write().create_always();
            let file = p.open(&options).expect("there is nothing left to protect");
            assert_eq!(file.read_to_end().as_deref(), Ok(b"".as_slice()));
            file
        });
        assert_eq!(world.count(IgnoreReason::NotOpened), before + 1);
        // What comes in through it is looked at by whoever opens it next.
        let other = world.process("other");
        user.run(move |_| {
            emptied.write_at(0, &eicar_test_file()).expect("a handle");
            assert_eq!(other.run(|p| p.read_file(EVIL)), Err(INFECTED));
            emptied.close().expect("an open handle");
        });
    });
}

#[test]
fn i1_an_open_that_outlives_our_instance_is_nobodys_to_decide() {
    everywhere(&options(), |world| {
        const FILE: &str = r"C:\held.bin";
        let user = world.process("user");
        let holder = user.run(|p| {
            p.write_file(FILE, b"bytes").expect("a new file");
            let file = p.open(&OpenOptions::new(FILE).read()).expect("clean");
            file.control(FSCTL_REQUEST_BATCH_OPLOCK, &[], 0)
                .expect("nobody else has it open");
            file
        });
        let before = world.count(IgnoreReason::Draining);
        let late = user.spawn("late", |p| p.read_file(FILE));
        let (m, breaking) = (world.machine(), || {
            holder.is_oplock_breaking().then_some(())
        });
        assert!(m.sched().wait_until("the break", None, breaking).is_ok());
        // The open waits below us when our instance is taken away.
        let filters = FilterManager::of(m).filters();
        let ours = filters.iter().find(|filter| filter.name() == SERVICE);
        let ours = ours.expect("the driver has registered a filter");
        let attached = volume::attached(m, world.system());
        instance::detach_by_hand(m, ours, &attached, None).expect("it is never refused");
        user.run(move |_| holder.close().expect("an open handle"));
        assert_eq!(late.join().as_deref(), Ok(b"bytes".as_slice()));
        assert_eq!(world.count(IgnoreReason::Draining), before + 1);
        assert_eq!(world.count(Event::FlightKilled), 0);
    });
}
