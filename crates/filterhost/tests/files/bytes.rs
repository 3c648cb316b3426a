//! Bytes: reading, writing, sizes, sections, imports, block clones.

use super::*;

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
fn pages_of_an_mdl_write_are_the_caches_own() {
    on_ntfs(|p, _| {
        put(p, "\\f", b"0123456789");
        let file = p
            .open(&OpenOptions::new("\\f").read().write())
            .expect("there");
        // The file grows to hold the range; the pages show what it holds.
        let pages = file.prepare_mdl_write(8, 4).expect("the cache's pages");
        assert_eq!(file.info().unwrap().length, 12);
        assert_eq!(p.read_file("\\f").unwrap(), b"0123456789\0\0");
        pages.store(b"abcd").unwrap();
        assert_eq!(p.read_file("\\f").unwrap(), b"01234567abcd", "at once");
        pages.complete().unwrap();
        assert_eq!(p.read_file("\\f").unwrap(), b"01234567abcd");
        assert_eq!(
            file.prepare_mdl_write(-3, 1).err(),
            Some(STATUS_INVALID_PARAMETER)
        );
        file.lock(0, 4, true).unwrap();
        let other = p.open(&OpenOptions::new("\\f").write()).unwrap();
        let refused = other.prepare_mdl_write(2, 1).err();
        assert_eq!(refused, Some(STATUS_FILE_LOCK_CONFLICT));
        let reader = p.open(&OpenOptions::new("\\f").read()).unwrap();
        let refused = reader.prepare_mdl_write(8, 1).err();
        assert_eq!(refused, Some(STATUS_ACCESS_DENIED));
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
fn a_truncation_waits_for_a_scan_to_let_go_and_not_for_ever() {
    use filterhost::volume::SectionBytes;
    use filterhost::volume::section::SectionUse;
    on_ntfs(|p, volume| {
        put(p, "\\f", b"0123456789");
        let file = p.open(&OpenOptions::new("\\f").read().write()).unwrap();
        let node = volume.fs().find("\\f").unwrap();
        let stream = volume.fs().space().node(node).unwrap().stream(&[]).unwrap();
        let scan = SectionBytes::create(p.machine(), &stream, SectionUse::Scan).unwrap();
        assert_eq!(file.set_end_of_file(3), Err(STATUS_USER_MAPPED_FILE));
        file.lock(0, 1, true).unwrap();
        let locked = SectionBytes::create(p.machine(), &stream, SectionUse::Scan).err();
        assert_eq!(locked, Some(STATUS_FILE_LOCK_CONFLICT));
        file.unlock(0, 1).unwrap();
        let release = p.spawn("scanner", move |p| {
            p.machine()
                .sched()
                .sleep(std::time::Duration::from_millis(2));
            drop(scan);
        });
        file.set_end_of_file(3).unwrap();
        release.join();
    });
}

#[test]
fn lazy_writes_come_later_from_the_system_and_carry_newer_bytes() {
    on_ntfs(|p, volume| {
        put(p, "\\f", b"first");
        let file = p.open(&OpenOptions::new("\\f").read().write()).unwrap();
        file.write_at(0, b"SECOND").unwrap();
        file.close().unwrap();
        assert_eq!(
            volume.fs().open_count(),
            1,
            "the cache still holds a file object"
        );
        p.machine().sched().sleep(std::time::Duration::from_secs(3));
        assert_eq!(volume.fs().open_count(), 0);
        assert_eq!(volume.fs().contents("\\f").unwrap(), b"SECOND");
    });
}
