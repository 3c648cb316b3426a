//! IRP_MJ_QUERY_VOLUME_INFORMATION.
#![expect(
    non_upper_case_globals,
    reason = "information classes keep their Windows names"
)]

use super::MemFs;
use super::outcome::Outcome;
use super::reply::Reply;
use crate::layout::{
    FileFsAttributeInformation, FileFsDeviceInformation, FileFsFullSizeInformation,
    FileFsObjectIdInformation, FileFsSectorSizeInformation, FileFsSizeInformation,
    FileFsVolumeInformation,
};
use crate::status::{STATUS_INVALID_INFO_CLASS, STATUS_OBJECT_NAME_NOT_FOUND};
use crate::volume::kind::{CLUSTER_BYTES, FILE_DAX_VOLUME, SECTOR_BYTES};
use crate::volume::name::{COMPONENT_UNITS_MAX, units};

/// Clusters that a volume pretends to have: 64 GiB.
const CLUSTERS: u64 = (64 << 30) / CLUSTER_BYTES;
/// FILE_DEVICE_IS_MOUNTED.
const DEVICE_IS_MOUNTED: u32 = 0x20;
/// FILE_REMOTE_DEVICE.
const REMOTE_DEVICE: u32 = 0x10;

impl MemFs {
    /// Answers a query of one class into at most `room` bytes.
    pub(crate) fn query_volume(&self, class: i32, room: usize) -> Outcome<Vec<u8>> {
        let mut reply = Reply::default();
        let fixed = match class {
            FileFsVolumeInformation => {
                let label = units("");
                let serial = u32::try_from(self.serial() & 0xffff_ffff).unwrap_or(0);
                reply
                    .time(self.created())
                    .word(serial)
                    .word(0)
                    .byte(1)
                    .byte(0)
                    .units(&label);
                0x18.min(reply.align(8).len())
            }
            FileFsSizeInformation => {
                reply.long(CLUSTERS).long(CLUSTERS / 2);
                self.geometry(&mut reply);
                0x18
            }
            FileFsFullSizeInformation => {
                reply.long(CLUSTERS).long(CLUSTERS / 2).long(CLUSTERS / 2);
                self.geometry(&mut reply);
                0x20
            }
            FileFsDeviceInformation => {
                let remote = if self.kind.is_network() {
                    REMOTE_DEVICE
                } else {
                    0
                };
                reply
                    .word(self.kind.device_type())
                    .word(DEVICE_IS_MOUNTED | remote);
                8
            }
            FileFsAttributeInformation => {
                let name = units(self.kind.name());
                let longest = u32::try_from(COMPONENT_UNITS_MAX).unwrap_or(255);
                reply.word(self.attributes()).word(longest);
                reply
                    .word(u32::try_from(name.len() * 2).unwrap_or(0))
                    .units(&name);
                0x10
            }
            FileFsSectorSizeInformation => {
                let sector = u32::try_from(SECTOR_BYTES).unwrap_or(512);
                for _ in 0..4 {
                    reply.word(sector);
                }
                reply.word(3).word(0).word(0);
                0x1c
            }
            FileFsObjectIdInformation => return Err(STATUS_OBJECT_NAME_NOT_FOUND.into()),
            _ => return Err(STATUS_INVALID_INFO_CLASS.into()),
        };
        reply.finish(fixed, room)
    }

    fn geometry(&self, reply: &mut Reply) {
        let per_cluster = u32::try_from(CLUSTER_BYTES / SECTOR_BYTES).unwrap_or(8);
        reply
            .word(per_cluster)
            .word(u32::try_from(SECTOR_BYTES).unwrap_or(512));
    }

    /// FileSystemAttributes of this volume.
    #[must_use]
    pub fn attributes(&self) -> u32 {
        self.kind.attributes() | if self.is_dax() { FILE_DAX_VOLUME } else { 0 }
    }
}
