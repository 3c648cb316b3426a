//! Volumes that were mounted, and files that were mapped, before our instance was there: what is
//! written through such a mapping passes nobody, and comes to the file as a paging write later.

use std::sync::Arc;

use filterhost::Machine;
use filterhost::user::{FileHandle, OpenOptions, Process, Section, View, cache};
use filterhost::volume::{FsKind, Volume};
use siloscan_core::reason::{AllowReason, Event, ScanReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::in_every_order;
use siloscan_worlds::scene::{INFECTED, options};
use siloscan_worlds::world::World;

const FILE: &str = r"C:\notes.txt";
const PAGE_READONLY: u32 = 2;
const PAGE_READWRITE: u32 = 4;

/// What somebody holds when the driver is loaded.
struct Held {
    file: FileHandle,
    section: Section,
    view: View,
}

impl Held {
    fn new(p: &Process, protection: u32) -> Self {
        let file = p.open(&OpenOptions::new(FILE).read().write());
        let file = file.expect("there is no driver yet");
        let section = file.create_section(protection, 0).expect("a section");
        let view = section.map().expect("a view");
        Self {
            file,
            section,
            view,
        }
    }

    /// Lets go of everything but the view, as a program that needs no handle any more.
    fn keep_view(self) -> View {
        self.section.close().expect("an open section");
        self.file.close().expect("an open handle");
        self.view
    }
}

/// A volume with a clean file that `before` did something with before the driver was loaded, and
/// what comes after it.
fn late<T: Send + 'static>(before: fn(&Process) -> T, after: fn(&World, &Process, T)) {
    in_every_order(|mode| {
        let run = Machine::builder().scheduler(mode).run(move |m| {
            let volume = Volume::mount_kind(m, FsKind::Ntfs);
            let user = Process::create(m, "user", &volume, None);
            let held = user.run(move |p| {
                p.write_file(FILE, &[b'x'; 68]).expect("a new file");
                cache::settle(p.machine());
                before(p)
            });
            let world = World::boot(m, &options()).unwrap_or_else(|error| panic!("{error}"));
            after(&world, &user, held);
            world.shut_down();
        });
        match run {
            Ok(outcome) => outcome.trace_hash,
            Err(report) => panic!("{mode:?}\n{report}"),
        }
    });
}

/// Reads the clean file until its verdict would be in the cache.
fn read_twice(user: &Process) {
    user.run(|p| {
        assert!(p.read_file(FILE).is_ok());
        assert!(p.read_file(FILE).is_ok());
    });
}

#[test]
fn i2_a_file_that_was_mapped_to_be_written_before_us_is_not_cached() {
    late(
        |p| Held::new(p, PAGE_READWRITE),
        |world, user, held| {
            read_twice(user);
            assert_eq!(world.count(AllowReason::CachedClean), 0);
            assert_eq!(world.count(ScanReason::WritableSection), 2);
            let view = held.keep_view();
            user.run(move |p| {
                view.write(0, &eicar_test_file()).expect("a writable view");
                // The file shows it at once, and no operation has told of it.
                assert_eq!(p.read_file(FILE), Err(INFECTED), "while it is mapped");
                drop(view);
                cache::settle(p.machine());
                assert_eq!(p.read_file(FILE), Err(INFECTED), "when it was written");
            });
        },
    );
}

#[test]
fn i2_a_paging_write_counts_where_somebody_may_have_been_before_us() {
    // A read-only mapping: nobody is known who can write, and nobody is known who cannot.
    late(
        |p| Held::new(p, PAGE_READONLY),
        |world, user, held| {
            read_twice(user);
            assert_eq!(world.count(AllowReason::CachedClean), 1, "it may be cached");
            let before = world.count(Event::KeyDropped);
            let m = Arc::clone(world.machine());
            user.run(move |_| {
                held.file.write_at(0, &[b'y'; 68]).expect("writable");
                cache::settle(&m);
                held.keep_view();
            });
            // The write, and its way to the disk.
            assert_eq!(world.count(Event::KeyDropped) - before, 2);
        },
    );
}

#[test]
fn the_lazy_writer_moves_no_verdict_where_nobody_has_a_file_mapped() {
    late(
        |p| {
            p.open(&OpenOptions::new(FILE).read().write())
                .expect("no driver")
        },
        |world, user, file| {
            read_twice(user);
            let before = world.count(Event::KeyDropped);
            let m = Arc::clone(world.machine());
            user.run(move |_| {
                file.write_at(0, &[b'y'; 68]).expect("writable");
                cache::settle(&m);
                file.close().expect("an open handle");
            });
            assert_eq!(world.count(Event::KeyDropped) - before, 1, "the write");
            // On a volume that came after us nobody can have been before us.
            let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
            user.set_drive('C', &volume);
            user.run(|p| {
                p.write_file(FILE, &[b'x'; 68]).expect("a new file");
                cache::settle(p.machine());
            });
            let (before, m) = (world.count(Event::KeyDropped), Arc::clone(world.machine()));
            user.run(move |p| {
                let held = Held::new(p, PAGE_READONLY);
                held.file.write_at(0, &[b'y'; 68]).expect("writable");
                cache::settle(&m);
                held.keep_view();
            });
            assert_eq!(world.count(Event::KeyDropped) - before, 1, "the write");
        },
    );
}
