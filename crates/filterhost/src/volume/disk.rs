//! The disk below a volume, as far as a filter asks it anything.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::machine::Machine;
use crate::object::{KernelObject, Kind};
use crate::status::{
    NtStatus, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_DEVICE_REQUEST, STATUS_SUCCESS,
};

/// What a cluster knows of a disk.
/// <https://learn.microsoft.com/windows/win32/fileio/ioctl-disk-get-cluster-info>
pub const IOCTL_DISK_GET_CLUSTER_INFO: u32 = 0x0007_0214;

/// Volumes on the disk are exposed by CSVFS on all nodes.
pub const DISK_CLUSTER_FLAG_CSV: u64 = 2;
/// The disk's resource is in maintenance: its volumes are this node's alone.
pub const DISK_CLUSTER_FLAG_IN_MAINTENANCE: u64 = 4;

/// Bytes of `DISK_CLUSTER_INFO`: version, flags at 8, mask at 16, notify at 24.
const CLUSTER_INFO_BYTES: usize = 32;

/// A disk.
#[derive(Default)]
pub struct Disk {
    cluster: Mutex<Option<u64>>,
}

impl KernelObject for Disk {
    fn kind(&self) -> Kind {
        Kind::Device
    }
}

impl Disk {
    /// The cluster's flags for this disk; `None` for one that belongs to no cluster.
    pub fn set_cluster(&self, flags: Option<u64>) {
        *self.cluster.lock() = flags;
    }

    /// Answers a device control request: its status, and the bytes for the caller's buffer.
    pub(crate) fn control(&self, m: &Arc<Machine>, code: u32, room: usize) -> (NtStatus, Vec<u8>) {
        if code != IOCTL_DISK_GET_CLUSTER_INFO {
            return (STATUS_INVALID_DEVICE_REQUEST, Vec::new());
        }
        let flags = match *self.cluster.lock() {
            Some(flags) => flags,
            // No page says whether a disk outside of a cluster answers with no flags or not at all.
            None if m.sched().random() & 1 == 0 => {
                return (STATUS_INVALID_DEVICE_REQUEST, Vec::new());
            }
            None => 0,
        };
        if room < CLUSTER_INFO_BYTES {
            return (STATUS_BUFFER_TOO_SMALL, Vec::new());
        }
        let mut info = vec![0; CLUSTER_INFO_BYTES];
        info[..4].copy_from_slice(&32_u32.to_le_bytes());
        info[8..16].copy_from_slice(&flags.to_le_bytes());
        (STATUS_SUCCESS, info)
    }
}
