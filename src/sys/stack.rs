//! Who else is on a volume's stacks.
#![expect(
    unsafe_code,
    reason = "foreign functions can only be declared in an unsafe block"
)]

use super::{FltFilter, FltInstance, FltVolume, NTSTATUS, P, PCUNICODE_STRING};

#[link(name = "fltmgr.sys", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    pub fn FltGetDiskDeviceObject(volume: FltVolume, disk: *mut P) -> NTSTATUS;
    pub fn FltGetFilterFromName(name: PCUNICODE_STRING, filter: *mut FltFilter) -> NTSTATUS;
    pub fn FltGetVolumeInstanceFromName(
        filter: FltFilter,
        volume: FltVolume,
        name: PCUNICODE_STRING,
        instance: *mut FltInstance,
    ) -> NTSTATUS;
}
