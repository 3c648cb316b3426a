//! Opens: sharing, access, oplocks, kinds of volumes, what ends a wait.

use super::*;

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
fn a_rename_of_a_directory_waits_for_oplocks_below_it() {
    on_ntfs(|p, _| {
        p.create_directory("\\d").unwrap();
        put(p, "\\d\\f", b"x");
        let holder = p.open(&OpenOptions::new("\\d\\f").read()).unwrap();
        let renamed = p.rename_file("\\d", "\\e", false);
        assert_eq!(renamed, Err(STATUS_ACCESS_DENIED), "no oplock, no warning");
        holder.control(FSCTL_REQUEST_OPLOCK, &[], 0).unwrap();
        assert!(!holder.is_oplock_breaking());
        let rename = p.spawn("rename", |p| p.rename_file("\\d", "\\e", false));
        let broken = || holder.is_oplock_breaking().then_some(());
        let sched = p.machine().sched();
        sched.wait_until("a break", None, broken).unwrap();
        assert!(!rename.is_finished());
        holder.close().unwrap();
        assert_eq!(rename.join(), Ok(()));
        assert_eq!(p.read_file("\\e\\f").unwrap(), b"x");
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
