//! What user processes see of files, without any filter: the file system and the I/O manager's
//! part, end to end, under both schedulers.

use std::sync::Arc;

use filterhost::layout as w;
use filterhost::status::*;
use filterhost::user::reparse::{TAG_MOUNT_POINT, TAG_SYMLINK, link_data};
use filterhost::user::{OpenOptions, Process, cache};
use filterhost::volume::fs::control::FSCTL_REQUEST_BATCH_OPLOCK;
use filterhost::volume::share::{
    APPEND_DATA, DELETE, MAXIMUM_ALLOWED, READ_DATA, SHARE_ALL, SHARE_READ, WRITE_DATA,
};
use filterhost::volume::{FsKind, Volume, VolumeOptions};
use filterhost::{Machine, Mode};

/// Runs a scenario in a user process on an NTFS volume: free, and under seeds, one of them twice.
fn on_ntfs(body: impl Fn(&Process, &Arc<Volume>) + Copy + Send + Sync + 'static) {
    on(FsKind::Ntfs, body);
}

fn on(kind: FsKind, body: impl Fn(&Process, &Arc<Volume>) + Copy + Send + Sync + 'static) {
    let run = |mode: Mode| {
        let outcome = Machine::builder()
            .scheduler(mode)
            .run(move |m| {
                let volume = Volume::mount_kind(m, kind);
                let process = Process::create(m, "user.exe", &volume, None);
                let own = Arc::clone(&volume);
                process.run(move |process| body(process, &own));
                process.exit();
                cache::settle(m);
                assert_eq!(volume.fs().open_count(), 0, "every open is closed");
            })
            .unwrap_or_else(|report| panic!("{report}"));
        outcome.trace_hash
    };
    run(Mode::Free);
    for seed in 1..4 {
        run(Mode::Seeded(seed));
    }
    assert_eq!(run(Mode::Seeded(7)), run(Mode::Seeded(7)));
}

fn put(process: &Process, path: &str, data: &[u8]) {
    process.write_file(path, data).unwrap();
}

#[test]
fn a_file_is_written_read_and_told() {
    on_ntfs(|p, volume| {
        p.create_directory("C:\\dir").unwrap();
        put(p, "C:\\dir\\File.txt", b"hello");
        assert_eq!(p.read_file("c:\\DIR\\fILE.TXT").unwrap(), b"hello");
        let file = p.open(&OpenOptions::new("\\dir\\File.txt").read()).unwrap();
        assert_eq!(file.information(), w::FILE_OPENED);
        let info = file.info().unwrap();
        assert_eq!((info.length, info.links, info.directory), (5, 1, false));
        let id = file.file_id().unwrap();
        assert_eq!(id[8..], [0; 8], "an NTFS id has a zero upper half");
        let name = file.query(w::FileNameInformation, 64).unwrap();
        assert_eq!(name.len(), 4 + 2 * "\\dir\\File.txt".len());
        let whole = file.query(w::FileIdInformation, 0x18).unwrap();
        assert_eq!(whole[..8], volume.serial().to_le_bytes());
        assert_eq!(p.list_directory("\\dir").unwrap(), ["File.txt"]);
    });
}

#[test]
fn every_disposition_answers_as_documented() {
    on_ntfs(|p, _| {
        let information = |path: &str, disposition: u32| {
            let options = OpenOptions::new(path)
                .write()
                .access(DELETE)
                .disposition(disposition);
            p.open(&options).map(|file| file.information())
        };
        use w::{
            FILE_CREATE, FILE_CREATED, FILE_OPEN, FILE_OPEN_IF, FILE_OPENED, FILE_OVERWRITE,
            FILE_OVERWRITE_IF, FILE_OVERWRITTEN, FILE_SUPERSEDE, FILE_SUPERSEDED,
        };
        assert_eq!(
            information("\\f", FILE_OPEN),
            Err(STATUS_OBJECT_NAME_NOT_FOUND)
        );
        assert_eq!(
            information("\\f", FILE_OVERWRITE),
            Err(STATUS_OBJECT_NAME_NOT_FOUND)
        );
        assert_eq!(
            information("\\no\\f", FILE_CREATE),
            Err(STATUS_OBJECT_PATH_NOT_FOUND)
        );
        assert_eq!(information("\\f", FILE_CREATE), Ok(FILE_CREATED));
        assert_eq!(
            information("\\f", FILE_CREATE),
            Err(STATUS_OBJECT_NAME_COLLISION)
        );
        assert_eq!(information("\\f", FILE_OPEN_IF), Ok(FILE_OPENED));
        assert_eq!(information("\\f", FILE_OVERWRITE), Ok(FILE_OVERWRITTEN));
        assert_eq!(information("\\g", FILE_OVERWRITE_IF), Ok(FILE_CREATED));
        assert_eq!(information("\\h", FILE_OPEN_IF), Ok(FILE_CREATED));
        assert_eq!(information("\\i", FILE_SUPERSEDE), Ok(FILE_CREATED));
        put(p, "\\f", b"data");
        assert_eq!(information("\\f", FILE_SUPERSEDE), Ok(FILE_SUPERSEDED));
        assert_eq!(p.read_file("\\f").unwrap(), b"");
        assert_eq!(information("\\f", 6), Err(STATUS_INVALID_PARAMETER));
    });
}

#[test]
fn directories_and_files_are_told_apart() {
    on_ntfs(|p, _| {
        p.create_directory("\\d").unwrap();
        put(p, "\\f", b"x");
        let open = |options: OpenOptions| p.open(&options).map(|_| ());
        assert_eq!(
            open(OpenOptions::new("\\d").file()),
            Err(STATUS_FILE_IS_A_DIRECTORY)
        );
        assert_eq!(
            open(OpenOptions::new("\\f").directory()),
            Err(STATUS_NOT_A_DIRECTORY)
        );
        assert_eq!(
            open(OpenOptions::new("\\f\\")),
            Err(STATUS_OBJECT_NAME_INVALID)
        );
        assert_eq!(open(OpenOptions::new("\\d\\")), Ok(()));
        assert_eq!(
            open(OpenOptions::new("\\f\\x")),
            Err(STATUS_OBJECT_PATH_NOT_FOUND)
        );
        assert_eq!(
            open(OpenOptions::new("\\d").create_always()),
            Err(STATUS_OBJECT_NAME_COLLISION)
        );
        assert_eq!(p.delete_file("\\d"), Ok(()));
        p.create_directory("\\d").unwrap();
        put(p, "\\d\\x", b"x");
        assert_eq!(p.delete_file("\\d"), Err(STATUS_DIRECTORY_NOT_EMPTY));
    });
}

#[test]
fn share_modes_keep_others_out_until_the_handle_closes() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"x");
        let first = p
            .open(&OpenOptions::new("\\f").read().share(SHARE_READ))
            .unwrap();
        let write = OpenOptions::new("\\f").exact_access(WRITE_DATA);
        assert_eq!(p.open(&write).err(), Some(STATUS_SHARING_VIOLATION));
        assert_eq!(
            p.open(&OpenOptions::new("\\f").delete()).err(),
            Some(STATUS_SHARING_VIOLATION)
        );
        p.open(&OpenOptions::new("\\f"))
            .expect("attributes only take no part");
        first.close().unwrap();
        assert_eq!(first.close(), Err(STATUS_INVALID_HANDLE));
        p.open(&write).unwrap();
    });
}

#[test]
fn a_handle_gives_only_the_access_that_was_asked_for() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"x");
        let file = p.open(&OpenOptions::new("\\f").read()).unwrap();
        assert_eq!(file.write_at(0, b"y"), Err(STATUS_ACCESS_DENIED));
        assert_eq!(file.delete(), Err(STATUS_ACCESS_DENIED));
        let attributes = p.open(&OpenOptions::new("\\f")).unwrap();
        assert_eq!(attributes.read_at(0, 1).err(), Some(STATUS_ACCESS_DENIED));
        let all = p
            .open(&OpenOptions::new("\\f").exact_access(MAXIMUM_ALLOWED))
            .unwrap();
        all.write_at(0, b"y").unwrap();
        all.set_attributes(w::FILE_ATTRIBUTE_READONLY).unwrap();
        let write = p.open(&OpenOptions::new("\\f").exact_access(APPEND_DATA));
        assert_eq!(write.err(), Some(STATUS_ACCESS_DENIED));
        all.set_attributes(w::FILE_ATTRIBUTE_NORMAL).unwrap();
    });
}

#[test]
fn a_deleted_name_stays_pending_until_the_last_handle() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"x");
        let keeper = p.open(&OpenOptions::new("\\f").read()).unwrap();
        p.delete_file("\\f").unwrap();
        assert!(keeper.info().unwrap().delete_pending);
        assert_eq!(p.read_file("\\f").err(), Some(STATUS_DELETE_PENDING));
        assert_eq!(keeper.read_at(0, 1).unwrap(), b"x");
        keeper.close().unwrap();
        assert_eq!(p.read_file("\\f").err(), Some(STATUS_OBJECT_NAME_NOT_FOUND));
    });
}

#[test]
fn a_posix_delete_frees_the_name_at_once() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"old");
        let keeper = p.open(&OpenOptions::new("\\f").read()).unwrap();
        let deleter = p.open(&OpenOptions::new("\\f").delete()).unwrap();
        deleter.delete_posix().unwrap();
        deleter.close().unwrap();
        put(p, "\\f", b"new");
        assert_eq!(keeper.read_to_end().unwrap(), b"old");
        assert_eq!(p.read_file("\\f").unwrap(), b"new");
    });
}

#[test]
fn delete_on_close_and_its_right() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"x");
        let options = OpenOptions::new("\\f")
            .read()
            .options(w::FILE_DELETE_ON_CLOSE);
        assert_eq!(p.open(&options).err(), Some(STATUS_INVALID_PARAMETER));
        let file = p.open(&options.access(DELETE)).unwrap();
        file.read_at(0, 1).unwrap();
        drop(file);
        assert_eq!(p.read_file("\\f").err(), Some(STATUS_OBJECT_NAME_NOT_FOUND));
    });
}

#[test]
fn renames_replace_move_and_refuse() {
    on_ntfs(|p, volume| {
        p.create_directory("\\d").unwrap();
        put(p, "\\a", b"a");
        put(p, "\\d\\b", b"b");
        assert_eq!(
            p.rename_file("\\a", "\\d\\b", false),
            Err(STATUS_OBJECT_NAME_COLLISION)
        );
        let keeper = p.open(&OpenOptions::new("\\d\\b").read()).unwrap();
        assert_eq!(
            p.rename_file("\\a", "\\d\\b", true),
            Err(STATUS_ACCESS_DENIED)
        );
        let mover = p.open(&OpenOptions::new("\\a").delete()).unwrap();
        mover.rename_posix("\\d\\b").unwrap();
        drop(mover);
        assert_eq!(keeper.read_to_end().unwrap(), b"b");
        drop(keeper);
        let keeper = p.open(&OpenOptions::new("\\d\\b").read()).unwrap();
        assert_eq!(
            p.rename_file("\\d", "\\e", false),
            Err(STATUS_ACCESS_DENIED),
            "open below"
        );
        drop(keeper);
        p.rename_file("\\d", "\\e", false).unwrap();
        assert_eq!(volume.fs().contents("\\e\\b").unwrap(), b"a");
        p.rename_file("\\e\\b", "B2", false)
            .expect("a bare name stays in its directory");
        assert_eq!(p.list_directory("\\e").unwrap(), ["B2"]);
    });
}

#[test]
fn hard_links_share_one_file() {
    on_ntfs(|p, _| {
        put(p, "\\a", b"1");
        let file = p.open(&OpenOptions::new("\\a").read()).unwrap();
        file.hard_link("\\b", false).unwrap();
        assert_eq!(file.info().unwrap().links, 2);
        put_in_place(p, "\\b", b"2");
        assert_eq!(file.read_to_end().unwrap(), b"2");
        let other = p.open(&OpenOptions::new("\\b").read()).unwrap();
        assert_eq!(other.file_id(), file.file_id());
        drop(other);
        p.delete_file("\\a").unwrap();
        drop(file);
        assert_eq!(p.read_file("\\b").unwrap(), b"2");
    });
}

fn put_in_place(p: &Process, path: &str, data: &[u8]) {
    let file = p.open(&OpenOptions::new(path).write()).unwrap();
    file.write_at(0, data).unwrap();
    file.set_end_of_file(data.len() as u64).unwrap();
}

#[test]
fn named_streams_have_their_own_bytes_and_the_files_id() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"main");
        put(p, "\\f:evil", b"stream");
        assert_eq!(p.read_file("\\f").unwrap(), b"main");
        assert_eq!(p.read_file("\\F:EVIL:$DATA").unwrap(), b"stream");
        let main = p.open(&OpenOptions::new("\\f::$DATA").read()).unwrap();
        let evil = p.open(&OpenOptions::new("\\f:evil").read()).unwrap();
        assert_eq!(main.file_id(), evil.file_id());
        let relative = p
            .open(&OpenOptions::relative(&main, ":evil").read())
            .unwrap();
        assert_eq!(relative.read_to_end().unwrap(), b"stream");
        let list = main.query(w::FileStreamInformation, 256).unwrap();
        assert!(list.len() > 64);
        drop((relative, evil, main));
        put(p, "\\f", b"new");
        let gone = p.read_file("\\f:evil").err();
        assert_eq!(
            gone,
            Some(STATUS_OBJECT_NAME_NOT_FOUND),
            "overwriting takes streams away"
        );
    });
}

#[test]
fn files_open_by_id_and_relative() {
    on_ntfs(|p, volume| {
        p.create_directory("\\d").unwrap();
        put(p, "\\d\\f", b"x");
        let file = p.open(&OpenOptions::new("\\d\\f").read()).unwrap();
        let id = file.file_id().unwrap();
        let by_long = p.open(&OpenOptions::by_id(volume, &id).read()).unwrap();
        let by_short = p
            .open(&OpenOptions::by_id(volume, &id[..8]).read())
            .unwrap();
        assert_eq!(
            by_long.read_to_end().unwrap(),
            by_short.read_to_end().unwrap()
        );
        let wrong = p.open(&OpenOptions::by_id(volume, &[9; 16]).read());
        assert_eq!(wrong.err(), Some(STATUS_INVALID_PARAMETER));
        let dir = p.open(&OpenOptions::new("\\d").list()).unwrap();
        assert!(p.open(&OpenOptions::relative(&dir, "F").read()).is_ok());
    });
}

#[test]
fn mount_points_and_links_are_followed_and_loops_end() {
    on_ntfs(|p, volume| {
        let other = Volume::mount_kind(p.machine(), FsKind::Ntfs);
        other.fs().place("\\x\\f", b"there").unwrap();
        let set = |path: &str, tag: u32, to: &str, relative: bool| {
            let data = link_data(tag, to, relative);
            let mut input = tag.to_le_bytes().to_vec();
            input.extend_from_slice(&u32::try_from(data.data.len()).unwrap().to_le_bytes());
            input.extend_from_slice(&data.data);
            let file = p
                .open(&OpenOptions::new(path).write().open_reparse_point())
                .unwrap();
            file.control(w::FSCTL_SET_REPARSE_POINT, &input, 0).unwrap();
        };
        p.create_directory("\\mnt").unwrap();
        set(
            "\\mnt",
            TAG_MOUNT_POINT,
            &format!("\\??\\Volume{}\\", other.guid().unwrap()),
            false,
        );
        assert_eq!(p.read_file("\\mnt\\x\\f").unwrap(), b"there");
        put(p, "\\real", b"here");
        put(p, "\\link", b"");
        set("\\link", TAG_SYMLINK, "real", true);
        assert_eq!(p.read_file("\\link").unwrap(), b"here");
        put(p, "\\loop", b"");
        set("\\loop", TAG_SYMLINK, "loop", true);
        let end = p.read_file("\\loop").err();
        assert_eq!(end, Some(STATUS_REPARSE_POINT_NOT_RESOLVED));
        put(p, "\\odd", b"");
        let odd = p.open(&OpenOptions::new("\\odd").write()).unwrap();
        odd.control(
            w::FSCTL_SET_REPARSE_POINT,
            &[0x18, 0, 0, 0x80, 0, 0, 0, 0],
            0,
        )
        .unwrap();
        drop(odd);
        let tag = p.read_file("\\odd").err();
        assert_eq!(tag, Some(STATUS_IO_REPARSE_TAG_NOT_HANDLED));
        assert_eq!(volume.fs().contents("\\real").unwrap(), b"here");
        assert_eq!(other.fs().open_count(), 0);
    });
}

#[test]
fn byte_range_locks_stop_reads_and_writes_of_others() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"0123456789");
        let both = || p.open(&OpenOptions::new("\\f").read().write()).unwrap();
        let (one, two) = (both(), both());
        one.lock(2, 3, true).unwrap();
        assert_eq!(two.read_at(0, 3).err(), Some(STATUS_FILE_LOCK_CONFLICT));
        assert_eq!(two.lock(4, 1, false), Err(STATUS_LOCK_NOT_GRANTED));
        assert_eq!(two.read_at(0, 2).unwrap(), b"01");
        assert_eq!(one.read_at(0, 3).unwrap(), b"012");
        one.unlock(2, 3).unwrap();
        two.write_at(2, b"x").unwrap();
    });
}

#[test]
fn a_users_section_stops_truncation_and_deletion() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"0123456789");
        let file = p
            .open(&OpenOptions::new("\\f").read().write().access(DELETE))
            .unwrap();
        let section = file.create_section(w::PAGE_READONLY, 0).unwrap();
        let view = section.map().unwrap();
        assert_eq!(file.set_end_of_file(3), Err(STATUS_USER_MAPPED_FILE));
        assert_eq!(file.delete(), Err(STATUS_CANNOT_DELETE));
        assert_eq!(view.write(0, b"x"), Err(STATUS_ACCESS_VIOLATION));
        section.close().unwrap();
        assert_eq!(
            file.set_end_of_file(3),
            Err(STATUS_USER_MAPPED_FILE),
            "the view holds it"
        );
        file.write_at(0, b"XY").unwrap();
        assert_eq!(view.read(0, 4).unwrap(), b"XY23");
        drop(view);
        file.set_end_of_file(3).unwrap();
        file.set_end_of_file(0).unwrap();
        let empty = file.create_section(w::PAGE_READONLY, 0).err();
        assert_eq!(empty, Some(STATUS_MAPPED_FILE_SIZE_ZERO));
        file.delete().unwrap();
    });
}

#[test]
fn mapped_writes_reach_the_file() {
    on_ntfs(|p, volume| {
        put(p, "\\f", b"0123456789");
        let file = p.open(&OpenOptions::new("\\f").read().write()).unwrap();
        let section = file.create_section(w::PAGE_READWRITE, 0).unwrap();
        let view = section.map().unwrap();
        view.write(3, b"abc").unwrap();
        assert_eq!(file.read_to_end().unwrap(), b"012abc6789");
        drop((view, section, file));
        cache::settle(p.machine());
        assert_eq!(volume.fs().contents("\\f").unwrap(), b"012abc6789");
    });
}

#[test]
fn sizes_change_in_every_way() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"0123456789");
        let file = p.open(&OpenOptions::new("\\f").read().write()).unwrap();
        file.set_end_of_file(4).unwrap();
        file.append(b"zz").unwrap();
        assert_eq!(file.read_to_end().unwrap(), b"0123zz");
        file.set_allocation(2).unwrap();
        assert_eq!(file.read_to_end().unwrap(), b"01");
        file.set_end_of_file(6).unwrap();
        assert_eq!(file.read_to_end().unwrap(), b"01\0\0\0\0");
        file.set_valid_data_length(6).unwrap();
        assert_ne!(
            file.read_to_end().unwrap(),
            b"01\0\0\0\0",
            "old disk shows through"
        );
        let mut range = 1u64.to_le_bytes().to_vec();
        range.extend_from_slice(&3u64.to_le_bytes());
        file.control(w::FSCTL_SET_ZERO_DATA, &range, 0).unwrap();
        assert_eq!(file.read_at(0, 3).unwrap(), b"0\0\0");
        assert_eq!(
            file.control(0x0009_dead, &[], 0).err(),
            Some(STATUS_INVALID_DEVICE_REQUEST)
        );
        assert_eq!(file.read_at(100, 1).err(), Some(STATUS_END_OF_FILE));
    });
}

#[test]
fn noncached_transfers_need_whole_sectors() {
    on_ntfs(|p, _| {
        put(p, "\\f", &[7; 1024]);
        let file = p
            .open(&OpenOptions::new("\\f").read().unbuffered())
            .unwrap();
        assert_eq!(file.read_at(0, 100).err(), Some(STATUS_INVALID_PARAMETER));
        assert_eq!(file.read_at(512, 512).unwrap(), [7; 512]);
    });
}

#[test]
fn an_open_breaks_a_batch_oplock_and_may_decline_to_wait() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"x");
        let holder = p.open(&OpenOptions::new("\\f").read()).unwrap();
        holder.control(FSCTL_REQUEST_BATCH_OPLOCK, &[], 0).unwrap();
        let impatient = OpenOptions::new("\\f")
            .read()
            .options(w::FILE_COMPLETE_IF_OPLOCKED);
        let open = p.open(&impatient).unwrap();
        assert_eq!(open.status(), STATUS_OPLOCK_BREAK_IN_PROGRESS);
        let patient = p.spawn("patient", |p| p.read_file("\\f"));
        p.machine()
            .sched()
            .sleep(std::time::Duration::from_millis(5));
        assert!(!patient.is_finished());
        holder.close().unwrap();
        assert_eq!(patient.join().unwrap(), b"x");
    });
}

#[test]
fn fat_has_no_streams_links_or_ids() {
    on(FsKind::Fat, |p, _| {
        put(p, "\\f", b"x");
        let stream = p.write_file("\\f:s", b"x").err();
        assert!(stream.is_some());
        let file = p.open(&OpenOptions::new("\\f").read()).unwrap();
        assert_eq!(file.file_id().err(), Some(STATUS_INVALID_PARAMETER));
        assert_eq!(
            file.hard_link("\\g", false),
            Err(STATUS_INVALID_DEVICE_REQUEST)
        );
        let before = file.query(w::FileInternalInformation, 8).unwrap();
        drop(file);
        p.rename_file("\\f", "\\g", false).unwrap();
        let file = p.open(&OpenOptions::new("\\g").read()).unwrap();
        assert_ne!(file.query(w::FileInternalInformation, 8).unwrap(), before);
    });
}

#[test]
fn read_only_and_raw_volumes_refuse() {
    let outcome = Machine::builder().run(|m| {
        let cim = Volume::mount_kind(m, FsKind::CimFs);
        cim.fs().place("\\f", b"x").unwrap();
        let raw = Volume::mount_kind(m, FsKind::Raw);
        let p = Process::create(m, "user.exe", &cim, None);
        p.set_drive('R', &raw);
        p.run(move |p| {
            assert_eq!(p.read_file("\\f").unwrap(), b"x");
            assert_eq!(
                p.write_file("\\f", b"y").err(),
                Some(STATUS_MEDIA_WRITE_PROTECTED)
            );
            assert_eq!(
                p.write_file("\\g", b"y").err(),
                Some(STATUS_MEDIA_WRITE_PROTECTED)
            );
            assert_eq!(
                p.read_file("R:\\f").err(),
                Some(STATUS_INVALID_DEVICE_REQUEST)
            );
            let volume = p.open(&OpenOptions::of_volume(&raw).read()).unwrap();
            assert_eq!(volume.read_at(0, 512).unwrap(), [0; 512]);
            let attributes = volume
                .query_volume(w::FileFsAttributeInformation, 64)
                .unwrap();
            assert!(attributes.len() > 12);
        });
    });
    outcome.unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn refs_clones_blocks_and_ntfs_does_not() {
    fn body(p: &Process, volume: &Arc<Volume>) {
        put(p, "\\from", &[1; 8192]);
        put(p, "\\to", &[2; 8192]);
        let from = p.open(&OpenOptions::new("\\from").read()).unwrap();
        let to = p.open(&OpenOptions::new("\\to").read().write()).unwrap();
        let mut input = (from.value() as u64).to_le_bytes().to_vec();
        for value in [0u64, 4096, 4096] {
            input.extend_from_slice(&value.to_le_bytes());
        }
        let cloned = to.control(w::FSCTL_DUPLICATE_EXTENTS_TO_FILE, &input, 0);
        if volume.kind() == FsKind::Refs {
            cloned.unwrap();
            assert_eq!(
                to.read_at(4000, 200).unwrap(),
                [[2; 96].as_slice(), &[1; 104]].concat()
            );
        } else {
            assert_eq!(cloned.err(), Some(STATUS_INVALID_DEVICE_REQUEST));
        }
    }
    on(FsKind::Refs, body);
    on(FsKind::Ntfs, body);
}

#[test]
fn a_locked_or_dismounted_volume_lets_nobody_in() {
    on_ntfs(|p, volume| {
        put(p, "\\f", b"x");
        cache::settle(p.machine());
        let whole = p
            .open(&OpenOptions::of_volume(volume).read().write())
            .unwrap();
        let file = p.open(&OpenOptions::new("\\f").read()).unwrap();
        assert_eq!(
            whole.control(w::FSCTL_LOCK_VOLUME, &[], 0).err(),
            Some(STATUS_ACCESS_DENIED)
        );
        drop(file);
        whole.control(w::FSCTL_LOCK_VOLUME, &[], 0).unwrap();
        assert_eq!(p.read_file("\\f").err(), Some(STATUS_ACCESS_DENIED));
        whole.control(w::FSCTL_UNLOCK_VOLUME, &[], 0).unwrap();
        whole.control(w::FSCTL_DISMOUNT_VOLUME, &[], 0).unwrap();
        assert_eq!(p.read_file("\\f").err(), Some(STATUS_VOLUME_DISMOUNTED));
    });
}

#[test]
fn many_processes_share_a_folder() {
    on_ntfs(|p, volume| {
        p.create_directory("\\d").unwrap();
        let tasks: Vec<_> = (0..6)
            .map(|number| {
                p.spawn("worker", move |p| {
                    for round in 0..5 {
                        let path = format!("\\d\\{number}-{round}");
                        p.write_file(&path, path.as_bytes()).unwrap();
                        let to = format!("\\d\\done-{number}-{round}");
                        p.rename_file(&path, &to, false).unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.join();
        }
        assert_eq!(p.list_directory("\\d").unwrap().len(), 30);
        assert_eq!(volume.fs().contents("\\d\\done-3-4").unwrap(), b"\\d\\3-4");
    });
}

#[test]
fn an_import_is_seen_and_never_written() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("System32")).unwrap();
    std::fs::write(dir.path().join("System32/a.dll"), b"original").unwrap();
    let path = dir.path().to_path_buf();
    let outcome = Machine::builder().run(move |m| {
        let options = VolumeOptions {
            kind: FsKind::Ntfs,
            guid: None,
            read_only: false,
            dax: false,
        };
        let volume = Volume::mount(m, &options);
        volume.import_folder("\\Windows", &path).unwrap();
        let p = Process::create(m, "user.exe", &volume, None);
        p.run(|p| {
            assert_eq!(
                p.read_file("\\windows\\system32\\A.DLL").unwrap(),
                b"original"
            );
            p.write_file("\\windows\\system32\\a.dll", b"changed")
                .unwrap();
            assert_eq!(
                p.read_file("\\windows\\system32\\a.dll").unwrap(),
                b"changed"
            );
            let file = OpenOptions::new("\\windows\\system32\\a.dll").exact_access(READ_DATA);
            p.open(&file.share(SHARE_ALL)).unwrap();
        });
    });
    outcome.unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(
        std::fs::read(dir.path().join("System32/a.dll")).unwrap(),
        b"original"
    );
}

#[test]
fn attributes_are_told_without_a_handle() {
    on_ntfs(|p, volume| {
        put(p, "\\f", b"x");
        cache::settle(p.machine());
        let before = volume.fs().open_count();
        let told = p.query_attributes("C:\\f").unwrap();
        assert_eq!(told, w::FILE_ATTRIBUTE_ARCHIVE);
        let none = p.query_attributes("\\none").err();
        assert_eq!(none, Some(STATUS_OBJECT_NAME_NOT_FOUND));
        assert_eq!(volume.fs().open_count(), before);
    });
}

#[test]
fn a_killed_thread_leaves_its_wait() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"x");
        let holder = p.open(&OpenOptions::new("\\f").read()).unwrap();
        holder.control(FSCTL_REQUEST_BATCH_OPLOCK, &[], 0).unwrap();
        let waiting = p.spawn("waiting", |p| p.read_file("\\f"));
        p.machine()
            .sched()
            .sleep(std::time::Duration::from_millis(5));
        waiting.terminate();
        assert_eq!(waiting.join().err(), Some(STATUS_CANCELLED));
    });
}
