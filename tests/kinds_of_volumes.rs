//! Each kind of volume has its stated treatment: attached or not, cached or not, by a section or
//! piece by piece; and where siloscan is attached, what is infected is denied.

use std::sync::Arc;
use std::time::Duration;

use filterhost::status::STATUS_ACCESS_DENIED;
use filterhost::user::{OpenOptions, Process};
use filterhost::volume::{FsKind, Volume, VolumeOptions, random_guid};
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_core::limits::{CHUNK_BYTES, SENT_BYTES_MAX};
use siloscan_core::reason::{
    AllowReason, DenyReason, Event, Failure, IgnoreReason, LookupReason, ScanReason,
};
use siloscan_service::engine::{Digest, Engine, EngineError, Finding, Scanner, eicar_test_file};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, containers, options};
use siloscan_worlds::world::World;
use tempfile::TempDir;

const EVIL: &str = r"C:\evil.com";
const GOOD: &str = r"C:\good.bin";

/// A volume that is drive C of somebody, and the folder that its first files are read from.
struct Place {
    volume: Arc<Volume>,
    user: Process,
    _folder: TempDir,
}

/// A volume of this kind with an infected and a clean file that were there before.
fn volume(world: &World, kind: FsKind, sections: bool) -> Place {
    let volume = Volume::mount_kind(world.machine(), kind);
    if !sections {
        volume.refuse_data_scan();
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("evil.com"), eicar_test_file()).expect("a file");
    std::fs::write(folder.path().join("good.bin"), b"good").expect("a file");
    volume
        .import_folder(r"\", folder.path())
        .expect("two plain files");
    let user = world.process("user");
    user.set_drive('C', &volume);
    Place {
        volume,
        user,
        _folder: folder,
    }
}

/// Opens the two files; the clean one twice.
fn open_both(user: &Process) {
    user.run(|p| {
        assert_eq!(p.read_file(EVIL), Err(INFECTED));
        assert_eq!(p.read_file(GOOD).as_deref(), Ok(b"good".as_slice()));
        assert_eq!(p.read_file(GOOD).as_deref(), Ok(b"good".as_slice()));
    });
}

/// Attached, denied what is infected, cached, or scanned at each open for this reason.
fn attached(kind: FsKind, sections: bool, uncached: Option<ScanReason>) {
    let cached = uncached.is_none();
    everywhere(&options(), move |world| {
        let place = volume(world, kind, sections);
        open_both(&place.user);
        let counts = world.counts();
        assert_eq!(counts.get(DenyReason::ScannedInfected), 1, "{counts:?}");
        let clean = [AllowReason::ScannedClean, AllowReason::CachedClean].map(|r| counts.get(r));
        assert_eq!(clean, if cached { [1, 1] } else { [2, 0] }, "{kind:?}");
        let looked_up = counts.get(LookupReason::HostOwn);
        assert_eq!(looked_up, if cached { 3 } else { 0 }, "{kind:?}");
        let scanned = uncached.map(|reason| counts.get(reason));
        assert!(scanned.is_none_or(|scanned| scanned == 3), "{counts:?}");
        let pieces = world.service().expect("it runs").figures().pieces;
        assert_eq!(pieces > 0, !sections, "{pieces} pieces");
    });
}

/// Not attached: nothing is scanned, nothing is counted, and nothing is in the way.
fn left_alone(kind: FsKind) {
    everywhere(&options(), move |world| {
        let place = volume(world, kind, true);
        place
            .user
            .run(|p| assert_eq!(p.read_file(EVIL).as_deref(), Ok(&eicar_test_file()[..])));
        assert_eq!(world.scans(), 0);
    });
}

#[test]
fn ntfs_is_scanned_and_cached() {
    attached(FsKind::Ntfs, true, None);
}

#[test]
fn refs_is_scanned_and_cached() {
    attached(FsKind::Refs, true, None);
}

#[test]
fn fat_and_exfat_are_scanned_and_never_cached() {
    attached(FsKind::Fat, true, Some(ScanReason::NoFileId));
    attached(FsKind::ExFat, true, Some(ScanReason::NoFileId));
}

#[test]
fn udf_and_cimfs_are_scanned_and_never_cached() {
    attached(FsKind::Udf, true, Some(ScanReason::NoFileId));
    attached(FsKind::CimFs, true, Some(ScanReason::NoFileId));
}

#[test]
fn a_cluster_volume_is_scanned_and_never_cached() {
    attached(FsKind::Csvfs, true, Some(ScanReason::Csv));
}

#[test]
fn i2_a_layer_where_changes_are_not_seen_is_scanned_at_each_open() {
    let kinds = [
        (FsKind::Csvfs, false),
        (FsKind::Fat, false),
        (FsKind::Ntfs, true),
    ];
    for (kind, dax) in kinds {
        everywhere(&options(), move |world| {
            let guid = Some(random_guid(world.machine()));
            let options = VolumeOptions {
                kind,
                guid,
                read_only: false,
                dax,
            };
            let volume = Volume::mount(world.machine(), &options);
            let host = world.process("host");
            host.set_drive('C', &volume);
            host.run(|p| p.write_file(GOOD, &[b'x'; 68]).expect("a new file"));
            let layer = Layer {
                volume,
                root: r"\".to_owned(),
                registered: false,
                remote: false,
            };
            let containers = containers(world, &layer, 2, EcpVariant::default());
            let read = |p: &Process| p.read_file(GOOD);
            for container in containers.iter() {
                assert!(container.process("app").run(read).is_ok());
            }
            let counts = world.counts();
            assert_eq!(counts.get(ScanReason::NoVolume), 2, "{kind:?} {counts:?}");
            assert_eq!(counts.get(LookupReason::Layer), 0, "{kind:?} {counts:?}");
            host.run(|p| p.write_file(GOOD, &eicar_test_file()).expect("written"));
            let app = containers[1].process("app");
            assert_eq!(app.run(read), Err(INFECTED), "{kind:?}");
            containers.iter().for_each(|container| container.destroy());
        });
    }
}

#[test]
fn network_volumes_are_left_alone() {
    left_alone(FsKind::Lanman);
}

#[test]
fn a_volume_without_file_system_is_left_alone() {
    everywhere(&options(), |world| {
        let raw = Volume::mount_kind(world.machine(), FsKind::Raw);
        world.process("user").run(move |p| {
            // Only the volume itself can be opened there.
            let opened = p.open(&OpenOptions::of_volume(&raw).read());
            assert!(opened.is_ok(), "{:?}", opened.err());
        });
        assert_eq!(world.count(IgnoreReason::Volume), 0, "not even seen");
    });
}

#[test]
fn without_sections_the_bytes_are_sent_and_verdicts_kept_as_ever() {
    attached(FsKind::Ntfs, false, None);
    attached(FsKind::CimFs, false, Some(ScanReason::NoFileId));
    attached(FsKind::Fat, false, Some(ScanReason::NoFileId));
}

#[test]
fn i1_a_volume_that_came_without_memory_is_guarded() {
    const CONTEXTS: &str = "FltAllocateContext";
    for (choice, without) in [(0, Ok(())), (1, Err(STATUS_ACCESS_DENIED))] {
        let mut options = options();
        options.parameters = vec![("OnFailure".to_owned(), choice)];
        everywhere(&options, move |world| {
            let faults = world.machine().faults();
            faults.fail_every_call(CONTEXTS, true);
            let place = volume(world, FsKind::Ntfs, true);
            let open = |p: &Process| p.open(&OpenOptions::new(EVIL).read()).map(drop);
            assert_eq!(place.user.run(open), without, "by the policy");
            faults.fail_every_call(CONTEXTS, false);
            open_both(&place.user);
            let counts = world.counts();
            let named = counts.named();
            assert_eq!(counts.get(Event::VolumeUnknown), 1, "{named:?}");
            assert_eq!(counts.get(Failure::NoMemory), 1, "{named:?}");
            let uncached = counts.get(ScanReason::NoVolume) + counts.get(ScanReason::Dax);
            assert_eq!(uncached, 3, "{named:?}");
        });
    }
}

/// A machine whose user has drive C on a volume without sections.
fn without_sections(world: &World) -> Place {
    volume(world, FsKind::Ntfs, false)
}

/// The byte at each place of a file that [`Ordered`] calls clean.
fn ordered(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place % 251) as u8).collect()
}

/// An engine that calls "infected" whatever has a byte that is not in its place.
struct Ordered;

impl Engine for Ordered {
    fn digest(&self) -> Digest {
        Digest([9; 32])
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        Box::new(Self)
    }
}

impl Scanner for Ordered {
    fn scan(&mut self, bytes: &[u8], _limit: Option<Duration>) -> Result<Finding, EngineError> {
        Ok(if bytes == ordered(bytes.len()) {
            Finding::Clean
        } else {
            Finding::Infected {
                rule: "Disorder".into(),
                origin: "test".into(),
            }
        })
    }
}

#[test]
fn every_size_is_sent_whole_and_in_order() {
    let mut options = options();
    options.engine = Some(Arc::new(Ordered));
    everywhere(&options, |world| {
        let place = without_sections(world);
        let sizes = [1, 68, 4096, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1];
        for size in sizes.into_iter().chain([3 * CHUNK_BYTES + 77]) {
            let before = world.service().expect("it runs").figures();
            place.user.run(move |p| {
                p.write_file(GOOD, &ordered(size)).expect("a new file");
                assert_eq!(p.read_file(GOOD).map(|bytes| bytes.len()), Ok(size));
            });
            let after = world.service().expect("it runs").figures();
            assert_eq!(after.bytes - before.bytes, size as u64);
            let pieces = size.div_ceil(CHUNK_BYTES) as u64;
            assert_eq!(after.pieces - before.pieces, pieces, "{size} bytes");
        }
        let counts = world.counts();
        assert_eq!(counts.get(Event::CloseLeft), 7, "{:?}", counts.named());
        assert_eq!(counts.get(Event::CloseScan), 0);
    });
}

#[test]
fn an_empty_file_is_not_sent() {
    everywhere(&options(), |world| {
        let place = without_sections(world);
        place.user.run(|p| {
            p.write_file(GOOD, b"").expect("a new file");
            assert_eq!(p.read_file(GOOD).as_deref(), Ok(b"".as_slice()));
        });
        assert_eq!(world.scans(), 0);
        assert_eq!(world.count(AllowReason::Empty), 1);
    });
}

#[test]
fn i1_what_was_written_is_scanned_by_its_next_open() {
    everywhere(&options(), |world| {
        let place = without_sections(world);
        place.user.run(|p| {
            assert!(p.read_file(GOOD).is_ok());
            let file = p
                .open(&OpenOptions::new(GOOD).read().write())
                .expect("clean");
            file.set_end_of_file(0).expect("cutting is allowed");
            file.write_at(0, &eicar_test_file())
                .expect("writing is allowed");
            assert_eq!(p.read_file(GOOD), Err(INFECTED), "still open for writing");
            file.close().expect("an open handle");
            assert_eq!(p.read_file(GOOD), Err(INFECTED));
        });
    });
}

#[test]
fn i2_a_file_that_changes_while_it_is_sent_gets_no_verdict_of_the_old_bytes() {
    everywhere(&options(), |world| {
        let place = without_sections(world);
        place.user.run(|p| {
            let long = vec![b'x'; 3 * CHUNK_BYTES];
            p.write_file(GOOD, &long).expect("a new file");
        });
        let writer = world.process("writer");
        writer.set_drive('C', &place.volume);
        let file = writer.run(|p| p.open(&OpenOptions::new(GOOD).write()));
        let file = file.expect("clean");
        let opens: Vec<_> = (0..3)
            .map(|_| place.user.spawn("open", |p| p.read_file(GOOD).map(drop)))
            .collect();
        let write = writer.spawn("write", move |_| {
            file.write_at(0, &eicar_test_file())?;
            file.set_end_of_file(68)?;
            file.close()
        });
        for open in opens {
            let _before_or_after_the_write = open.join();
        }
        assert_eq!(write.join(), Ok(()));
        // Had a scan of the old bytes been kept, this would be a hit.
        place
            .user
            .run(|p| assert_eq!(p.read_file(GOOD), Err(INFECTED)));
    });
}

#[test]
fn a_locked_file_is_denied_where_the_policy_on_evasion_says_so() {
    let mut options = options();
    options.parameters = vec![("OnEvasion".into(), 2), ("OpenDeadlineMs".into(), 500)];
    everywhere(&options, |world| {
        let place = volume(world, FsKind::Fat, false);
        let other = world.process("other");
        other.set_drive('C', &place.volume);
        let held = other.run(|p| {
            let file = p.open(&OpenOptions::new(GOOD).read()).expect("clean");
            file.lock(0, 4, true).expect("nobody else has a lock");
            file
        });
        let open = place
            .user
            .run(|p| p.open(&OpenOptions::new(GOOD).read()).map(drop));
        assert_eq!(open, Err(STATUS_ACCESS_DENIED));
        assert!(world.count(Failure::Locked) >= 1);
        other.run(move |_| held.close()).expect("an open handle");
    });
}

#[test]
fn a_file_larger_than_is_sent_follows_the_policy() {
    for (choice, expected) in [(1, Ok(())), (2, Err(STATUS_ACCESS_DENIED))] {
        let mut options = options();
        options.parameters = vec![("OnEvasion".to_owned(), choice)];
        everywhere(&options, move |world| {
            let place = without_sections(world);
            place.user.run(move |p| {
                let file = p.open(&OpenOptions::new(r"C:\large.bin").create().write());
                let file = file.expect("a new file");
                file.set_end_of_file(SENT_BYTES_MAX + 1).expect("room");
                file.close().expect("an open handle");
                let open = p.open(&OpenOptions::new(r"C:\large.bin").read());
                assert_eq!(open.map(drop), expected);
            });
            assert_eq!(world.count(Failure::TooLarge), 1);
            assert_eq!(world.service().expect("it runs").figures().pieces, 0);
        });
    }
}

#[test]
fn i7_a_service_that_goes_away_while_bytes_are_sent_releases_the_opener() {
    everywhere(&options(), |world| {
        let place = without_sections(world);
        place.user.run(|p| {
            p.write_file(GOOD, &vec![b'x'; 5 * CHUNK_BYTES])
                .expect("a new file");
        });
        let open = place
            .user
            .spawn("open", |p| p.read_file(GOOD).map(|bytes| bytes.len()));
        world.stop_service();
        assert_eq!(open.join(), Ok(5 * CHUNK_BYTES), "allowed by default");
    });
}

#[test]
fn no_scan_of_a_writers_own_named_stream_is_kept() {
    everywhere(&options(), |world| {
        let place = without_sections(world);
        place.user.run(|p| {
            p.write_file(r"C:\good.bin:more", &eicar_test_file())
                .expect("a new stream");
            assert_eq!(p.read_file(r"C:\good.bin:more"), Err(INFECTED));
            assert!(
                p.read_file(GOOD).is_ok(),
                "the unnamed stream is another one"
            );
        });
        assert!(world.count(ScanReason::NamedStream) >= 1);
    });
}
