//! Every kind of operation that can change a file: the row of `docs/changes.md` and the test that
//! fails without it. Whether the file system then carries the operation out does not matter: what
//! is known about the file is dropped before.

use std::sync::Arc;

use filterhost::Machine;
use filterhost::layout::GUID;
use filterhost::user::{FileHandle, OpenOptions, Process, cache};
use filterhost::volume::share::DELETE;
use filterhost::volume::{FsKind, Volume, VolumeOptions};
use siloscan_core::reason::{AllowReason, Counted, Event};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, options};
use siloscan_worlds::world::World;

const FILE: &str = r"C:\notes.txt";
const PAGE_READWRITE: u32 = 4;
/// Codes of controls that change the file they are sent to.
const CHANGING: [u32; 19] = [
    0x980c8, 0x98268, 0x98344, 0x983e8, 0x900df, 0x98208, 0x9030c, 0x90314, 0x98330, 0x98338,
    0x90440, 0x9c2b4, 0x9c340, 0x98178, 0x900a4, 0x9040c, 0x900ac,
    // Known to nobody: with write access, and with write access of a vendor's own device type.
    0x9_aaf0, 0x222_b008,
];
/// Codes of controls that change files which only their buffer names.
const CHANGING_OTHERS: [u32; 3] = [0x9c420, 0x90100, 0x9c104];
/// Codes of controls that leave the bytes as they are: compression, encryption, sparse, a
/// defragmenter's move, asking for a reparse point, asking for an object id.
const KEEPING: [u32; 6] = [0x9c040, 0x900d7, 0x900c4, 0x90074, 0x900a8, 0x9009c];

/// A clean file whose verdict is in the cache.
fn known(p: &Process, path: &str) {
    p.write_file(path, &[b'x'; 4096]).expect("a new file");
    assert!(p.read_file(path).is_ok());
    assert!(p.read_file(path).is_ok());
}

/// A known file, open for everything.
fn opened(user: &Process) -> Arc<FileHandle> {
    user.run(|p| {
        known(p, FILE);
        let options = OpenOptions::new(FILE).read().write().delete();
        Arc::new(p.open(&options).expect("a clean file"))
    })
}

/// How often `reason` is counted for `operation` on `file`, in a thread of `user`.
fn counted<R: Counted>(
    world: &World,
    user: &Process,
    file: &Arc<FileHandle>,
    reason: R,
    operation: impl FnOnce(&FileHandle) + Send + 'static,
) -> u64 {
    let file = Arc::clone(file);
    during(world, user, reason, move |_| operation(&file))
}

/// How often `reason` is counted while `user` does something.
fn during<R: Counted>(
    world: &World,
    user: &Process,
    reason: R,
    operation: impl FnOnce(&Process) + Send + 'static,
) -> u64 {
    let before = world.count(reason);
    user.run(operation);
    world.count(reason) - before
}

fn close(user: &Process, file: Arc<FileHandle>) {
    user.run(move |_| file.close().expect("an open handle"));
}

#[test]
fn i2_every_control_that_changes_bytes_drops_the_key() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let file = opened(&user);
        let dropped = counted(world, &user, &file, Event::KeyDropped, |file| {
            for code in CHANGING {
                // Most are unknown to the file system, which says so.
                let _refused = file.control(code, &[0; 8], 0);
            }
        });
        assert_eq!(dropped, CHANGING.len() as u64);
        let moved = counted(world, &user, &file, Event::VolumeEpoch, |file| {
            for code in CHANGING_OTHERS {
                let _refused = file.control(code, &[0; 8], 0);
            }
        });
        assert_eq!(moved, CHANGING_OTHERS.len() as u64);
        close(&user, file);
    });
}

#[test]
fn i2_a_control_that_keeps_the_bytes_keeps_the_verdict() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let file = opened(&user);
        for reason in [Event::KeyDropped, Event::VolumeEpoch] {
            let counted = counted(world, &user, &file, reason, move |file| {
                for code in KEEPING {
                    let _refused = file.control(code, &[0; 8], 64);
                }
            });
            assert_eq!(counted, 0);
        }
        close(&user, file);
        let hits = during(world, &user, AllowReason::CachedClean, |p| {
            assert!(p.read_file(FILE).is_ok());
        });
        assert_eq!(hits, 1);
    });
}

#[test]
fn i2_every_size_that_is_set_drops_the_key() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let file = opened(&user);
        let set: [fn(&FileHandle) -> bool; 3] = [
            |file| file.set_end_of_file(68).is_ok(),
            |file| file.set_allocation(8192).is_ok(),
            |file| file.set_end_of_file(100).is_ok() && file.set_valid_data_length(100).is_ok(),
        ];
        for (set, expected) in set.into_iter().zip([1, 1, 2]) {
            let dropped = counted(world, &user, &file, Event::KeyDropped, move |file| {
                assert!(set(file));
            });
            assert_eq!(dropped, expected);
        }
        close(&user, file);
    });
}

#[test]
fn i2_an_unbuffered_write_drops_the_key() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let file = user.run(|p| {
            known(p, FILE);
            let options = OpenOptions::new(FILE).read().write().unbuffered();
            Arc::new(p.open(&options).expect("a clean file"))
        });
        let dropped = counted(world, &user, &file, Event::KeyDropped, |file| {
            file.write_at(0, &[b'y'; 512]).expect("whole sectors");
        });
        assert_eq!(dropped, 1);
        close(&user, file);
    });
}

#[test]
fn i2_what_was_written_through_a_mapping_is_scanned_again() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let (file, section, view) = user.run(|p| {
            p.write_file(FILE, &[b'x'; 68]).expect("a new file");
            assert!(p.read_file(FILE).is_ok());
            let options = OpenOptions::new(FILE).read().write();
            let file = p.open(&options).expect("a clean file");
            let section = file.create_section(PAGE_READWRITE, 0).expect("a section");
            let view = section.map().expect("a view");
            cache::settle(p.machine());
            assert!(p.read_file(FILE).is_ok());
            (file, section, view)
        });
        // The lazy writer may come before us: one paging write in all.
        let dropped = during(world, &user, Event::KeyDropped, move |p| {
            view.write(0, &eicar_test_file()).expect("a writable view");
            assert_eq!(p.read_file(FILE), Err(INFECTED), "while it is mapped");
            drop(view);
            section.close().expect("an open section");
            file.close().expect("an open handle");
            cache::settle(p.machine());
        });
        assert_eq!(dropped, 1, "by the paging write");
        user.run(|p| assert_eq!(p.read_file(FILE), Err(INFECTED), "when it was written"));
    });
}

#[test]
fn i2_pages_handed_out_for_an_mdl_write_are_not_believed() {
    everywhere(&options(), |world| {
        let user = world.process("srv");
        user.run(|p| {
            p.write_file(FILE, &[b'x'; 68]).expect("a new file");
            assert!(p.read_file(FILE).is_ok());
            let file = p.open(&OpenOptions::new(FILE).write()).expect("clean");
            let pages = file.prepare_mdl_write(0, 68).expect("the cache's pages");
            // Scanned as they are, and not kept.
            assert!(p.read_file(FILE).is_ok());
            pages.store(&eicar_test_file()).expect("handed out");
            assert_eq!(p.read_file(FILE), Err(INFECTED), "no operation told of it");
            pages.complete().expect("handed out");
            file.close().expect("an open handle");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
        let file = user.run(|p| {
            known(p, r"C:\other.txt");
            cache::settle(p.machine());
            let options = OpenOptions::new(r"C:\other.txt").write();
            Arc::new(p.open(&options).expect("clean"))
        });
        let dropped = counted(world, &user, &file, Event::KeyDropped, |file| {
            let pages = file.prepare_mdl_write(0, 68).expect("the cache's pages");
            pages.complete().expect("handed out");
            cache::settle(file.process().machine());
        });
        // The pin, each of the two operations, and the paging write that follows.
        assert_eq!(dropped, 4);
        close(&user, file);
    });
}

#[test]
fn i2_a_file_that_an_open_empties_loses_its_key() {
    const SUPERSEDE: u32 = 0;
    const OVERWRITE: u32 = 4;
    const OVERWRITE_IF: u32 = 5;
    everywhere(&options(), |world| {
        let user = world.process("user");
        for disposition in [SUPERSEDE, OVERWRITE, OVERWRITE_IF] {
            user.run(|p| known(p, FILE));
            let dropped = during(world, &user, Event::KeyDropped, move |p| {
                let options = OpenOptions::new(FILE).read().disposition(disposition);
                p.open(&options).expect("emptied").close().expect("open");
            });
            assert_eq!(dropped, 1, "disposition {disposition}");
        }
        // A new file may have got the id of one that is gone.
        let dropped = during(world, &user, Event::KeyDropped, |p| {
            let options = OpenOptions::new(r"C:\new.txt").read().create_new();
            p.open(&options).expect("new").close().expect("open");
        });
        assert_eq!(dropped, 1);
    });
}

#[test]
fn i2_a_deleted_file_loses_its_key() {
    const DELETE_ON_CLOSE: u32 = 0x1000;
    everywhere(&options(), |world| {
        let user = world.process("user");
        let dispositions: [fn(&FileHandle) -> bool; 2] = [
            |file| file.delete().is_ok() && file.undelete().is_ok(),
            |file| {
                let deleted = file.set(0x40, &1_u32.to_le_bytes());
                deleted.is_ok() && file.set(0x40, &0_u32.to_le_bytes()).is_ok()
            },
        ];
        for dispose in dispositions {
            let file = opened(&user);
            let dropped = counted(world, &user, &file, Event::KeyDropped, move |file| {
                assert!(dispose(file));
            });
            assert_eq!(dropped, 2, "there and back");
            close(&user, file);
        }
        let dropped = during(world, &user, Event::KeyDropped, |p| {
            let options = OpenOptions::new(FILE).delete().options(DELETE_ON_CLOSE);
            p.open(&options).expect("there").close().expect("open");
        });
        assert_eq!(dropped, 1, "deleted by its last handle");
    });
}

/// `FILE_RENAME_INFORMATION` and `FILE_LINK_INFORMATION`.
fn new_name(flags: u32, name: &str) -> Vec<u8> {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut data = vec![0; 20];
    data[..4].copy_from_slice(&flags.to_le_bytes());
    data[16..].copy_from_slice(&u32::try_from(units.len()).expect("short").to_le_bytes());
    data.extend(units);
    data.resize(data.len().max(24), 0);
    data
}

#[test]
fn i2_a_name_taken_from_another_file_drops_the_key() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let names: [fn(&FileHandle) -> bool; 8] = [
            |file| file.rename("a.txt", true).is_ok(),
            |file| file.rename_posix("b.txt").is_ok(),
            |file| file.hard_link("c.txt", true).is_ok(),
            |file| file.set(0x48, &new_name(1, "d.txt")).is_ok(),
            |file| file.set(0x42, &new_name(1, "e.txt")).is_ok(),
            // These three and the one before are for whoever has checked the access already.
            |file| file.set(0x38, &new_name(1, "f.txt")).is_ok(),
            |file| file.set(0x39, &new_name(1, "g.txt")).is_ok(),
            |file| file.set(0x49, &new_name(1, "h.txt")).is_ok(),
        ];
        user.run(|p| {
            for other in ["a", "b", "c", "d", "e", "f", "g", "h"] {
                let other = format!(r"C:\{other}.txt");
                p.write_file(&other, b"other").expect("a new file");
            }
        });
        let file = opened(&user);
        for (at, name) in names.into_iter().enumerate() {
            let dropped = counted(world, &user, &file, Event::KeyDropped, move |file| {
                assert!(name(file));
            });
            assert_eq!(dropped, 1, "name {at}");
        }
        close(&user, file);
        // A stream takes another one's name: without a write the file may hold other bytes.
        let stream = user.run(|p| {
            known(p, FILE);
            p.write_file(r"C:\notes.txt:one", b"one").expect("a stream");
            let options = OpenOptions::new(r"C:\notes.txt:one").read().delete();
            Arc::new(p.open(&options).expect("clean"))
        });
        let dropped = counted(world, &user, &stream, Event::KeyDropped, |stream| {
            stream.rename(":two", false).expect("a free name");
        });
        assert_eq!(dropped, 1);
        close(&user, stream);
    });
}

#[test]
fn i2_an_ordinary_new_name_keeps_the_verdict() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let file = opened(&user);
        let dropped = counted(world, &user, &file, Event::KeyDropped, |file| {
            file.rename("renamed.txt", false).expect("a free name");
            file.hard_link("link.txt", false).expect("a free name");
            file.set_short_name("OTHER.TXT").expect("a free name");
        });
        assert_eq!(dropped, 0);
        close(&user, file);
        let hits = during(world, &user, AllowReason::CachedClean, |p| {
            assert!(p.read_file(r"C:\renamed.txt").is_ok());
            assert!(p.read_file(r"C:\link.txt").is_ok());
        });
        assert_eq!(hits, 2);
    });
}

#[test]
fn i2_raw_writes_and_dismounts_void_the_volume() {
    const LOCK: u32 = 0x90018;
    const DISMOUNT: u32 = 0x90020;
    const INVALIDATE: u32 = 0x90054;
    const UNKNOWN: u32 = 0x9_aaf0;
    everywhere(&options(), |world| {
        let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
        let user = world.process("user");
        user.set_drive('C', &volume);
        user.run(|p| known(p, FILE));
        let raw = {
            let volume = Arc::clone(&volume);
            user.run(move |p| {
                let options = OpenOptions::of_volume(&volume).read().write();
                Arc::new(p.open(&options).expect("the volume"))
            })
        };
        let moved = counted(world, &user, &raw, Event::VolumeEpoch, |raw| {
            // The host's file system lets nobody write there.
            let _refused = raw.write_at(0, &[0; 512]);
        });
        assert_eq!(moved, 1, "raw write");
        for code in [UNKNOWN, INVALIDATE, LOCK, DISMOUNT] {
            let moved = counted(world, &user, &raw, Event::VolumeEpoch, move |raw| {
                let _refused = raw.control(code, &[0; 8], 0);
            });
            assert!(moved >= 1, "{code:#x}");
        }
        close(&user, raw);
    });
}

#[test]
fn i2_a_dismount_voids_the_volume_told_or_not() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        // The operation, if it is sent, and the teardown.
        for (told, times) in [(false, 1), (true, 2)] {
            let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
            volume.tell_dismount(told);
            user.set_drive('C', &volume);
            user.run(|p| known(p, FILE));
            let before = world.count(Event::VolumeEpoch);
            // Without a word to the file system.
            volume.dismount(world.machine());
            // A late write of the file system may move it once more.
            assert!(world.count(Event::VolumeEpoch) - before >= times);
        }
    });
}

/// A volume with a file that no filter saw being written.
fn prepared(m: &Arc<Machine>, guid: GUID, bytes: &[u8], number: u32) -> Arc<Volume> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("changes-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("notes.txt"), bytes).expect("a file");
    let volume = Volume::mount(
        m,
        &VolumeOptions {
            kind: FsKind::Ntfs,
            guid: Some(guid),
            read_only: false,
            dax: false,
        },
    );
    volume.import_folder(r"\in", &folder).expect("imported");
    volume
}

#[test]
fn i2_a_volume_that_comes_back_is_unknown() {
    everywhere(&options(), |world| {
        let m = world.machine();
        let guid = filterhost::volume::random_guid(m);
        let first = prepared(m, guid, &[b'x'; 68], 1);
        let user = world.process("user");
        user.set_drive('C', &first);
        let read = |p: &Process| p.read_file(r"C:\in\notes.txt");
        let id = |p: &Process| {
            let file = p.open(&OpenOptions::new(r"C:\in\notes.txt"))?;
            file.file_id()
        };
        assert!(user.run(read).is_ok());
        assert!(user.run(read).is_ok());
        let before = user.run(id);
        first.dismount(m);
        // Changed elsewhere meanwhile: the same GUID, the same id, other bytes.
        let second = prepared(m, guid, &eicar_test_file(), 2);
        user.set_drive('C', &second);
        assert_eq!(user.run(id), before);
        assert_eq!(user.run(read), Err(INFECTED));
    });
}

#[test]
fn i2_a_change_of_a_stream_without_a_context_moves_the_volume() {
    everywhere(&options(), |world| {
        let m = world.machine();
        let guid = filterhost::volume::random_guid(m);
        let volume = prepared(m, guid, &[b'x'; 68], 3);
        let user = world.process("user");
        user.set_drive('C', &volume);
        // The volume's first operation: our instance comes to life.
        user.run(|p| assert!(p.list_directory(r"C:\in").is_ok()));
        for nth in 1..=64 {
            m.faults().fail_call("FltAllocateContext", nth);
        }
        let moved = during(world, &user, Event::VolumeEpoch, |p| {
            // No data access, so no scan that would ask for contexts, too.
            let options = OpenOptions::new(r"C:\in\notes.txt").exact_access(DELETE);
            let file = p.open(&options).expect("not looked at");
            file.delete().expect("deleted");
            file.undelete().expect("and back");
            file.close().expect("an open handle");
        });
        assert!(moved >= 2, "{moved}");
    });
}
