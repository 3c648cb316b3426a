//! Names: dispositions, directories, deleting, renaming, links, streams, ids.

use super::*;

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
fn a_file_object_tells_that_its_file_is_about_to_go() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"x");
        let file = p.open(&OpenOptions::new("\\f").delete()).unwrap();
        let pending = || {
            let object = filterhost::user::file_object::file_ref(file.object()).unwrap();
            object.get().delete_pending
        };
        assert_eq!(pending(), 0);
        file.delete().unwrap();
        assert_eq!(pending(), 1);
        file.undelete().unwrap();
        assert_eq!(pending(), 0);
        file.delete_posix().unwrap();
        assert_eq!(pending(), 1);
        file.close().unwrap();
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
