//! Where the driver attaches.

use filterhost::volume::disk::{DISK_CLUSTER_FLAG_CSV, DISK_CLUSTER_FLAG_IN_MAINTENANCE};
use filterhost::volume::{FsKind, Volume};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, options};

/// Whether a file on a volume is guarded, where a cluster says this of the volume's disk.
fn is_guarded(kind: FsKind, cluster: Option<u64>, wanted: bool) {
    everywhere(&options(), move |world| {
        let volume = Volume::mount_kind(world.machine(), kind);
        let disk = volume.disk().expect("a local volume has a disk");
        disk.set_cluster(cluster);
        let user = world.process("user");
        user.set_drive('E', &volume);
        user.run(move |p| {
            p.write_file(r"E:\evil.com", &eicar_test_file())
                .expect("writing is allowed");
            let read = p.read_file(r"E:\evil.com");
            assert_eq!(read == Err(INFECTED), wanted, "{kind:?} {cluster:?}");
        });
    });
}

#[test]
fn the_hidden_volume_below_a_cluster_volume_is_left_alone() {
    is_guarded(FsKind::Ntfs, Some(DISK_CLUSTER_FLAG_CSV | 1), false);
    is_guarded(FsKind::Refs, Some(DISK_CLUSTER_FLAG_CSV | 1), false);
    // Its other face is what users open.
    is_guarded(FsKind::Csvfs, Some(DISK_CLUSTER_FLAG_CSV | 1), true);
}

#[test]
fn a_clusters_disk_that_is_no_shared_volume_is_guarded() {
    let maintained = DISK_CLUSTER_FLAG_CSV | DISK_CLUSTER_FLAG_IN_MAINTENANCE;
    is_guarded(FsKind::Ntfs, Some(maintained), true);
    is_guarded(FsKind::Ntfs, Some(1), true);
    is_guarded(FsKind::Ntfs, None, true);
}
