//! Kinds of files and of opens, each with its stated treatment: what is counted for it, and that
//! it is neither let through unseen nor cached where it must not be. `docs/kinds.md` lists them.

use std::any::Any;
use std::sync::Arc;

use filterhost::Machine;
use filterhost::fltmgr::port::security;
use filterhost::fltmgr::{NativeFilter, Pre, native};
use filterhost::layout::{
    FLT_CALLBACK_DATA, FO_HANDLE_CREATED, GUID, GUID_ECP_PREFETCH_OPEN, IRP_MJ_CREATE,
};
use filterhost::status::{STATUS_ACCESS_DENIED, STATUS_SUCCESS};
use filterhost::user::{EcpSpec, OpenOptions, Process};
use filterhost::volume::share::{READ_ATTRIBUTES, WRITE_ATTRIBUTES};
use filterhost::volume::{FsKind, Request, Volume, VolumeOptions};
use siloscan_core::reason::{AllowReason, Event, Failure, IgnoreReason, LookupReason, ScanReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, during, options};
use siloscan_worlds::world::World;

const FILE: &str = r"C:\notes.txt";
const EVIL: &str = r"C:\evil.com";
const PAGE_READWRITE: u32 = 4;

/// A clean file and an infected one.
fn files(p: &Process) {
    p.write_file(FILE, b"clean").expect("a new file");
    p.write_file(EVIL, &eicar_test_file()).expect("a new file");
}

/// A volume as drive C of a new process.
fn user_of(world: &World, options: &VolumeOptions) -> (Arc<Volume>, Process) {
    let volume = Volume::mount(world.machine(), options);
    let user = world.process("user");
    user.set_drive('C', &volume);
    (volume, user)
}

fn ntfs(guid: Option<GUID>, dax: bool) -> VolumeOptions {
    VolumeOptions {
        kind: FsKind::Ntfs,
        guid,
        read_only: false,
        dax,
    }
}

/// A filter below whose post-create makes the file object look as if it had a handle: what an open
/// that was completed early and is then looked at by us shows.
struct Early;

impl NativeFilter for Early {
    fn altitude(&self) -> &str {
        "180000"
    }

    fn name(&self) -> &str {
        "a filter that is early"
    }

    fn pre(&self, _m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        if Request::new(data).major() == IRP_MJ_CREATE {
            Pre::WithCallback(Box::new(()))
        } else {
            Pre::NoCallback
        }
    }

    fn post(&self, _m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA, _context: Box<dyn Any + Send>) {
        let request = Request::new(data);
        if request.status().0 == STATUS_SUCCESS
            && let Ok(file) = request.file()
        {
            file.set_flags(FO_HANDLE_CREATED);
        }
    }
}

#[test]
fn an_open_that_has_its_handle_is_not_taken_back() {
    everywhere(&options(), |world| {
        let (volume, user) = user_of(world, &ntfs(None, false));
        user.run(files);
        native::attach(world.machine(), &volume, Arc::new(Early));
        let (exists, opened) = during(world, &user, AllowReason::HandleExists, |p| {
            p.open(&OpenOptions::new(EVIL).read())?.close()
        });
        // It cannot be cancelled, so it goes through; and that is counted.
        assert_eq!((exists, opened), (1, Ok(())));
    });
}

#[test]
fn an_open_that_empties_an_infected_file_is_not_denied() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        let (ignored, opened) = during(world, &user, IgnoreReason::NotOpened, |p| {
            assert_eq!(p.read_file(EVIL), Err(INFECTED));
            let file = p.open(&OpenOptions::new(EVIL).write().create_always())?;
            file.close()?;
            p.read_file(EVIL)
        });
        assert_eq!((ignored, opened.as_deref()), (1, Ok(&[][..])));
        // Its route is left before anything can be denied.
        assert_eq!(world.count(AllowReason::NothingLeft), 0);
    });
}

#[test]
fn w15_named_streams_are_scanned_and_never_cached() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            p.write_file(FILE, b"clean").expect("a new file");
            p.write_file(r"C:\notes.txt:evil", &eicar_test_file())
                .expect("a named stream");
            assert!(p.read_file(FILE).is_ok(), "the unnamed one");
            p.write_file(r"C:\notes.txt:good", b"good")
                .expect("a named stream");
        });
        let (scans, read) = during(world, &user, ScanReason::NamedStream, |p| {
            assert!(p.read_file(r"C:\notes.txt:good").is_ok());
            assert!(p.read_file(r"C:\notes.txt:good").is_ok());
            p.read_file(r"C:\notes.txt:evil")
        });
        assert_eq!(read, Err(INFECTED));
        assert_eq!(scans, 3);
    });
}

#[test]
fn hard_links_are_one_file() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            files(p);
            assert!(p.read_file(FILE).is_ok());
            let file = p.open(&OpenOptions::new(FILE)).expect("attributes only");
            file.hard_link("link.txt", false).expect("a free name");
        });
        let (hits, _) = during(world, &user, AllowReason::CachedClean, |p| {
            assert!(p.read_file(r"C:\link.txt").is_ok());
        });
        assert_eq!(hits, 1);
    });
}

#[test]
fn another_case_of_the_name_is_the_same_file() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            files(p);
            assert!(p.read_file(FILE).is_ok());
        });
        let (hits, evil) = during(world, &user, AllowReason::CachedClean, |p| {
            assert!(p.read_file(r"C:\NOTES.TXT").is_ok());
            p.read_file(r"C:\eViL.CoM")
        });
        assert_eq!((hits, evil), (1, Err(INFECTED)));
    });
}

#[test]
fn an_open_by_id_is_scanned_and_hits_the_same_key() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        let volume = Arc::clone(world.system());
        let by_id = move |p: &Process, path: &str| {
            let file = p.open(&OpenOptions::new(path))?;
            let id = file.file_id()?;
            let open = p.open(&OpenOptions::by_id(&volume, &id[..8]).read())?;
            open.read_to_end()
        };
        let first = by_id.clone();
        assert_eq!(user.run(move |p| first(p, EVIL)), Err(INFECTED));
        let (hits, _) = during(world, &user, AllowReason::CachedClean, move |p| {
            assert!(p.read_file(FILE).is_ok());
            assert!(by_id(p, FILE).is_ok());
        });
        assert!(hits >= 1);
    });
}

#[test]
fn directories_and_attribute_opens_are_named_ignores() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        let (count, _) = during(world, &user, IgnoreReason::Directory, |p| {
            assert!(p.list_directory(r"C:\").is_ok());
        });
        assert_eq!(count, 1);
        let (count, _) = during(world, &user, IgnoreReason::NoDataAccess, |p| {
            let options = OpenOptions::new(EVIL).exact_access(READ_ATTRIBUTES);
            let open = p.open(&options).expect("no byte can be read through it");
            assert!(open.read_at(0, 68).is_err());
        });
        assert_eq!(count, 1);
        let (count, attributes) = during(world, &user, IgnoreReason::StackFileObject, |p| {
            p.query_attributes(EVIL)
        });
        assert!(attributes.is_ok());
        assert_eq!(count, 1);
    });
}

#[test]
fn kernel_mode_opens_are_scanned() {
    everywhere(&options(), |world| {
        let user = world.process("srv");
        user.run(|p| {
            files(p);
            let open = p.open(&OpenOptions::new(EVIL).read().kernel_mode());
            assert_eq!(open.map(|_| ()), Err(INFECTED));
        });
    });
}

#[test]
fn the_offline_attribute_excuses_nothing_and_recall_is_not_forced() {
    const OFFLINE: u32 = 0x1000;
    const RECALL_ON_OPEN: u32 = 0x4_0000;
    const RECALL_ON_DATA_ACCESS: u32 = 0x40_0000;
    const RECALLED: [(&str, u32); 3] = [
        (r"C:\open.com", RECALL_ON_OPEN),
        (r"C:\data.com", RECALL_ON_DATA_ACCESS),
        (r"C:\both.com", RECALL_ON_OPEN | RECALL_ON_DATA_ACCESS),
    ];
    everywhere(&options(), |world| {
        let user = world.process("user");
        let marked = |p: &Process, path: &str, attributes: u32| {
            let options = OpenOptions::new(path).write().create_new();
            let file = p.open(&options).expect("a new file");
            file.write_at(0, &eicar_test_file()).expect("written");
            file.set_attributes(attributes).expect("settable");
            file.close().expect("an open handle");
        };
        user.run(move |p| {
            marked(p, EVIL, OFFLINE);
            assert_eq!(p.read_file(EVIL), Err(INFECTED));
            for (path, attributes) in RECALLED {
                marked(p, path, attributes);
            }
        });
        let scans = world.scans();
        for (path, attributes) in RECALLED {
            let (count, read) = during(world, &user, Failure::NotRecalled, move |p| {
                p.read_file(path).is_ok()
            });
            assert!(count >= 1, "{attributes:#x}: not fetched by a scan");
            assert!(read, "on the host, where on_evasion allows");
        }
        assert_eq!(world.scans(), scans);
    });
}

#[test]
fn a_prefetch_open_is_a_named_ignore_only_from_the_kernel() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        let spec = |from_user| EcpSpec {
            kind: GUID_ECP_PREFETCH_OPEN,
            context: vec![0; 8],
            from_user,
            acknowledged: false,
        };
        let (count, _) = during(world, &user, IgnoreReason::Prefetch, move |p| {
            let options = OpenOptions::new(EVIL).read().kernel_mode();
            p.open(&options.ecp(spec(false))).expect("the kernel's own");
        });
        assert_eq!(count, 1);
        let (count, open) = during(world, &user, IgnoreReason::Prefetch, move |p| {
            let options = OpenOptions::new(EVIL).read().ecp(spec(true));
            p.open(&options).map(|_| ())
        });
        assert_eq!(
            (count, open),
            (0, Err(INFECTED)),
            "a program says so of itself"
        );
    });
}

#[test]
fn a_paging_file_is_a_named_ignore() {
    const SL_OPEN_PAGING_FILE: u8 = 2;
    everywhere(&options(), |world| {
        let user = world.process("system");
        let (count, _) = during(world, &user, IgnoreReason::PagingFile, |p| {
            let options = OpenOptions::new(r"C:\pagefile.sys").read().write().create();
            let options = options.kernel_mode().operation_flags(SL_OPEN_PAGING_FILE);
            p.open(&options).expect("the memory manager's own");
        });
        assert_eq!(count, 1);
    });
}

#[test]
fn reparse_points_are_scanned_where_they_lead() {
    const FSCTL_SET_REPARSE_POINT: u32 = 0x900a4;
    const SYMLINK: u32 = 0xA000_000C;
    everywhere(&options(), |world| {
        let user = world.process("user");
        let (count, read) = during(world, &user, IgnoreReason::Reparse, |p| {
            files(p);
            let link = p.open(&OpenOptions::new(r"C:\link.com").write().create_new());
            let link = link.expect("a new file");
            let reparse = filterhost::user::reparse::link_data(SYMLINK, "evil.com", true);
            let mut data = reparse.tag.to_le_bytes().to_vec();
            let length = u16::try_from(reparse.data.len()).expect("short");
            data.extend(u32::from(length).to_le_bytes());
            data.extend(&reparse.data);
            link.control(FSCTL_SET_REPARSE_POINT, &data, 0)
                .expect("a link");
            link.close().expect("an open handle");
            p.read_file(r"C:\link.com")
        });
        assert_eq!(read, Err(INFECTED));
        assert_eq!(count, 1, "the first pass of its create");
    });
}

#[test]
fn a_writable_section_keeps_a_file_out_of_the_cache() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        let (count, _) = during(world, &user, ScanReason::WritableSection, |p| {
            let options = OpenOptions::new(FILE).read().write();
            let file = p.open(&options).expect("clean");
            let section = file.create_section(PAGE_READWRITE, 0).expect("a section");
            assert!(p.read_file(FILE).is_ok());
            assert!(p.read_file(FILE).is_ok());
            section.close().expect("an open section");
            file.close().expect("an open handle");
        });
        assert_eq!(count, 2);
    });
}

#[test]
fn a_direct_access_volume_is_scanned_and_never_cached() {
    everywhere(&options(), |world| {
        let guid = filterhost::volume::random_guid(world.machine());
        let (_volume, user) = user_of(world, &ntfs(Some(guid), true));
        user.run(files);
        let (count, evil) = during(world, &user, ScanReason::Dax, |p| {
            assert!(p.read_file(FILE).is_ok());
            assert!(p.read_file(FILE).is_ok());
            p.read_file(EVIL)
        });
        assert_eq!((count, evil), (3, Err(INFECTED)));
    });
}

#[test]
fn a_volume_whose_guid_comes_late_is_cached_from_then_on() {
    everywhere(&options(), |world| {
        let (volume, user) = user_of(world, &ntfs(None, false));
        user.run(files);
        let (count, evil) = during(world, &user, ScanReason::NoVolume, |p| {
            assert!(p.read_file(FILE).is_ok());
            p.read_file(EVIL)
        });
        assert_eq!((count, evil), (2, Err(INFECTED)));
        volume.set_guid(Some(filterhost::volume::random_guid(world.machine())));
        world
            .machine()
            .sched()
            .sleep(std::time::Duration::from_millis(1_100));
        let (late, _) = during(world, &user, Event::LateGuid, |p| {
            assert!(p.read_file(FILE).is_ok());
            assert!(p.read_file(FILE).is_ok());
        });
        assert_eq!(late, 1);
        let (hits, evil) = during(world, &user, AllowReason::CachedClean, |p| {
            assert!(p.read_file(FILE).is_ok());
            p.read_file(EVIL)
        });
        assert_eq!((hits, evil), (1, Err(INFECTED)));
    });
}

#[test]
fn two_live_volumes_with_one_guid_are_never_cached() {
    everywhere(&options(), |world| {
        let guid = filterhost::volume::random_guid(world.machine());
        let (_one, user) = user_of(world, &ntfs(Some(guid), false));
        user.run(|p| {
            files(p);
            assert!(p.read_file(FILE).is_ok());
        });
        let (_two, other) = user_of(world, &ntfs(Some(guid), false));
        other.run(|p| {
            p.write_file(FILE, &eicar_test_file()).expect("a new file");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
        let (count, read) = during(world, &user, ScanReason::NoVolume, |p| p.read_file(FILE));
        assert!(read.is_ok(), "the other volume's verdict is not its own");
        assert_eq!(count, 1);
    });
}

#[test]
fn execute_access_is_data_access() {
    const EXECUTE: u32 = 0x20;
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        let (count, open) = during(world, &user, LookupReason::HostOwn, |p| {
            let options = OpenOptions::new(EVIL).exact_access(EXECUTE);
            p.open(&options).map(|_| ())
        });
        assert_eq!((count, open), (1, Err(INFECTED)));
    });
}

#[test]
fn a_question_for_attributes_of_a_changed_file_queues_nothing() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let (queued, _) = during(world, &user, Event::CloseScan, |p| {
            let options = OpenOptions::new(FILE).read().write().create_new();
            let file = p.open(&options).expect("a new file");
            file.write_at(0, &eicar_test_file()).expect("writable");
            // Its file object lies on the stack of the one who asks, and is gone when it returns.
            assert!(p.query_attributes(FILE).is_ok());
            let open = p.open(&OpenOptions::new(FILE)).expect("attributes only");
            assert!(open.info().is_ok());
            file.set_end_of_file(0).expect("writable");
            file.close().expect("an open handle");
        });
        assert!(queued <= 1, "{queued}");
    });
}

#[test]
fn an_encrypted_file_is_scanned_through_the_opener_who_has_the_key() {
    const FSCTL_SET_ENCRYPTION: u32 = 0x9_00d7;
    const DECRYPT: u32 = 2;
    const ENCRYPTED: u32 = 0x4000;
    everywhere(&options(), |world| {
        let set = |p: &Process, path: &str, operation: u32| {
            let file = p.open(&OpenOptions::new(path).access(WRITE_ATTRIBUTES));
            let file = file.expect("its attributes");
            let mut buffer = operation.to_le_bytes().to_vec();
            buffer.resize(8, 0);
            file.control(FSCTL_SET_ENCRYPTION, &buffer, 0)
                .expect("a key");
        };
        let (owner, other) = (world.process("owner"), world.process("other"));
        owner
            .kernel()
            .set_user_sid(Some(security::sid(5, &[21, 1, 2, 3, 1001])));
        owner.run(move |p| {
            files(p);
            assert!(p.read_file(FILE).is_ok());
            set(p, FILE, 1);
            set(p, EVIL, 1);
            let told = p.query_attributes(EVIL).expect("there");
            assert_eq!(told & ENCRYPTED, ENCRYPTED);
        });
        other.run(|p| {
            let refused = Err(STATUS_ACCESS_DENIED);
            assert_eq!(p.read_file(FILE), refused, "it has no key");
            assert_eq!(p.read_file(EVIL), refused, "it has no key");
        });
        // The verdict about the same bytes stands, and what was never scanned is read in the
        // clear, though neither driver nor service have the key.
        let (hits, evil) = during(world, &owner, AllowReason::CachedClean, |p| {
            assert!(p.read_file(FILE).is_ok());
            p.read_file(EVIL)
        });
        assert_eq!((hits, evil), (1, Err(INFECTED)));
        owner.run(move |p| set(p, EVIL, DECRYPT));
        other.run(|p| {
            assert_eq!(p.read_file(EVIL), Err(INFECTED));
            assert_eq!(p.read_file(FILE), Err(STATUS_ACCESS_DENIED));
        });
    });
}
