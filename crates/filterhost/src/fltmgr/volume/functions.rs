//! The functions on volumes that drivers import.

use std::sync::Arc;

use super::{AttachedVolume, attached, expect};
use crate::fltmgr::registration::{self, reference};
use crate::fltmgr::{FilterManager, Opaque, guest, instance};
use crate::layout::{
    FILE_DEVICE_CD_ROM, FILE_DEVICE_CD_ROM_FILE_SYSTEM, FILE_DEVICE_DISK_FILE_SYSTEM,
    FILE_DEVICE_NETWORK_FILE_SYSTEM, FILE_OBJECT, FLT_VOLUME_PROPERTIES, IO_STATUS_BLOCK, PVOID,
    UNICODE_STRING, Zeroed,
};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_TOO_SMALL, STATUS_FLT_NO_DEVICE_OBJECT,
    STATUS_FLT_VOLUME_NOT_FOUND, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};
use crate::volume::{Volume, Volumes};

/// The volume of an instance or volume pointer.
fn of_either(m: &Machine, object: PVOID) -> Option<Arc<AttachedVolume>> {
    match FilterManager::of(m).find(object)? {
        Opaque::Volume(volume) => Some(volume),
        Opaque::Instance(instance) => Some(instance.volume().clone()),
        Opaque::Filter(_) => None,
    }
}

/// Hands out a referenced volume.
fn give(m: &Machine, volume: &AttachedVolume, out: *mut PVOID) -> NtStatus {
    let status = reference(m, volume.pointer());
    if status.is_success() {
        guest::write(out, volume.pointer());
    }
    status
}

/// Writes text into a caller's counted string; says how many bytes it takes.
fn copy_string(to: *mut UNICODE_STRING, needed: *mut u32, text: &[u16]) -> NtStatus {
    let bytes = guest::wide_bytes(text);
    guest::write(needed, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let Some(mut string) = guest::read(to) else {
        return STATUS_BUFFER_TOO_SMALL;
    };
    if usize::from(string.maximum_length) < bytes.len() || string.buffer.is_null() {
        return STATUS_BUFFER_TOO_SMALL;
    }
    guest::write_bytes(string.buffer.cast(), &bytes);
    string.length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    guest::write(to, string);
    STATUS_SUCCESS
}

fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// The name of a volume in the mount manager's form.
fn guid_name(volume: &Volume) -> Result<Vec<u16>, NtStatus> {
    if volume.is_network() {
        return Err(STATUS_INVALID_DEVICE_REQUEST);
    }
    let guid = volume.guid().ok_or(STATUS_FLT_VOLUME_NOT_FOUND)?;
    Ok(units(&format!(r"\??\Volume{guid}")))
}

/// The type of the file system's device for a type of storage.
fn file_system_device(storage: u32) -> u32 {
    match storage {
        FILE_DEVICE_CD_ROM => FILE_DEVICE_CD_ROM_FILE_SYSTEM,
        FILE_DEVICE_NETWORK_FILE_SYSTEM => FILE_DEVICE_NETWORK_FILE_SYSTEM,
        _ => FILE_DEVICE_DISK_FILE_SYSTEM,
    }
}

/// Fills the fixed part, and the strings behind it when there is room.
fn properties(
    volume: &Volume,
    out: *mut FLT_VOLUME_PROPERTIES,
    room: u32,
    returned: *mut u32,
) -> NtStatus {
    let driver = format!(r"\FileSystem\{}", volume.kind().driver_name());
    let texts = [
        units(&driver),
        units(volume.device_name()),
        units(volume.device_name()),
    ];
    let fixed = size_of::<FLT_VOLUME_PROPERTIES>();
    let text_bytes: usize = texts.iter().map(|text| text.len() * 2).sum();
    let whole = fixed + text_bytes;
    guest::write(returned, u32::try_from(whole).unwrap_or(u32::MAX));
    let room = room as usize;
    if room < fixed {
        return STATUS_BUFFER_TOO_SMALL;
    }
    let mut record = FLT_VOLUME_PROPERTIES::zeroed();
    record.device_type = file_system_device(volume.kind().device_type());
    record.sector_size = 512;
    if room < whole {
        guest::write(out, record);
        guest::write(returned, u32::try_from(fixed).unwrap_or(u32::MAX));
        return STATUS_BUFFER_OVERFLOW;
    }
    let mut at = out.wrapping_add(1).cast::<u8>();
    let strings = texts.map(|text| {
        let bytes = guest::wide_bytes(&text);
        guest::write_bytes(at, &bytes);
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let string = UNICODE_STRING {
            length,
            maximum_length: length,
            buffer: at.cast(),
        };
        at = at.wrapping_add(bytes.len());
        string
    });
    [
        record.file_system_driver_name,
        record.file_system_device_name,
        record.real_device_name,
    ] = strings;
    guest::write(out, record);
    STATUS_SUCCESS
}

/// Writes as many referenced objects as fit; all or none.
pub(crate) fn give_list(
    m: &Machine,
    objects: &[PVOID],
    list: *mut PVOID,
    room: u32,
    count: *mut u32,
) -> NtStatus {
    let alive: Vec<PVOID> = objects
        .iter()
        .copied()
        .filter(|object| reference(m, *object).is_success())
        .collect();
    guest::write(count, u32::try_from(alive.len()).unwrap_or(u32::MAX));
    if alive.len() > room as usize {
        let own = crate::machine::current();
        for object in alive {
            registration::dereference(&own, object);
        }
        return STATUS_BUFFER_TOO_SMALL;
    }
    for (at, object) in alive.into_iter().enumerate() {
        guest::write(list.wrapping_add(at), object);
    }
    STATUS_SUCCESS
}

fn all_volumes(m: &Arc<Machine>) -> Vec<Arc<AttachedVolume>> {
    m.state::<Volumes>()
        .all()
        .iter()
        .map(|volume| attached(m, volume))
        .collect()
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltgetvolumeguidname",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltGetVolumeGuidName(
        c, volume: PVOID, name: *mut UNICODE_STRING, needed: *mut u32,
    ) -> NtStatus {
        let volume = expect(c.m, c.info.name, volume);
        match guid_name(volume.volume()) {
            Ok(text) => copy_string(name, needed, &text),
            Err(status) => status,
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetvolumename"]
    fn FltGetVolumeName(
        c, volume: PVOID, name: *mut UNICODE_STRING, needed: *mut u32,
    ) -> NtStatus {
        let volume = expect(c.m, c.info.name, volume);
        if name.is_null() && needed.is_null() {
            return STATUS_INVALID_PARAMETER;
        }
        copy_string(name, needed, &units(volume.volume().device_name()))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetvolumeproperties"]
    fn FltGetVolumeProperties(
        c, volume: PVOID, out: *mut FLT_VOLUME_PROPERTIES, room: u32, returned: *mut u32,
    ) -> NtStatus {
        let volume = expect(c.m, c.info.name, volume);
        properties(volume.volume(), out, room, returned)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetfilesystemtype"]
    fn FltGetFileSystemType(c, object: PVOID, kind: *mut u32) -> NtStatus {
        let Some(volume) = of_either(c.m, object) else {
            return STATUS_INVALID_PARAMETER;
        };
        guest::write(kind, volume.volume().kind().filesystem_type());
        STATUS_SUCCESS
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltqueryvolumeinformation",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltQueryVolumeInformation(
        c, instance: PVOID, status_block: *mut IO_STATUS_BLOCK, out: PVOID, room: u32, class: i32,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let volume = instance.volume().volume();
        if volume.is_network() {
            return STATUS_INVALID_PARAMETER;
        }
        let (status, information) = volume.query_information(class, out, room);
        guest::write(status_block, IO_STATUS_BLOCK { status: status.0, information });
        status
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltisvolumewritable",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltIsVolumeWritable(c, object: PVOID, writable: *mut u8) -> NtStatus {
        let Some(volume) = of_either(c.m, object) else {
            return STATUS_INVALID_PARAMETER;
        };
        let volume = volume.volume();
        if volume.is_network() {
            return STATUS_INVALID_DEVICE_REQUEST;
        }
        guest::write(writable, u8::from(!volume.is_read_only()));
        STATUS_SUCCESS
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltisvolumesnapshot",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltIsVolumeSnapshot(c, object: PVOID, snapshot: *mut u8) -> NtStatus {
        let Some(volume) = of_either(c.m, object) else {
            return STATUS_INVALID_PARAMETER;
        };
        if volume.volume().is_network() {
            return STATUS_FLT_NO_DEVICE_OBJECT;
        }
        guest::write(snapshot, u8::from(volume.is_snapshot()));
        STATUS_SUCCESS
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetvolumefrominstance"]
    fn FltGetVolumeFromInstance(c, instance: PVOID, volume: *mut PVOID) -> NtStatus {
        guest::write(volume, core::ptr::null_mut());
        let instance = instance::expect(c.m, c.info.name, instance);
        give(c.m, instance.volume(), volume)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetvolumefromfileobject"]
    fn FltGetVolumeFromFileObject(
        c, filter: PVOID, file: *mut FILE_OBJECT, volume: *mut PVOID,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        guest::write(volume, core::ptr::null_mut());
        let device = guest::file::device(file).addr();
        match c.m.state::<Volumes>().by_device(device) {
            Some(found) => give(c.m, &attached(c.m, &found), volume),
            None => STATUS_INVALID_PARAMETER,
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetvolumefromdeviceobject"]
    fn FltGetVolumeFromDeviceObject(
        c, filter: PVOID, device: PVOID, volume: *mut PVOID,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        guest::write(volume, core::ptr::null_mut());
        match c.m.state::<Volumes>().by_device(device.addr()) {
            Some(found) => give(c.m, &attached(c.m, &found), volume),
            None => STATUS_INVALID_PARAMETER,
        }
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltgetvolumefromname"]
    fn FltGetVolumeFromName(
        c, filter: PVOID, name: *const UNICODE_STRING, volume: *mut PVOID,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        guest::write(volume, core::ptr::null_mut());
        let name = String::from_utf16_lossy(&guest::units(name));
        if name.is_empty() {
            return STATUS_INVALID_PARAMETER;
        }
        let wanted = name.trim_end_matches('\\');
        let found = c.m.state::<Volumes>().all().into_iter().find(|candidate| {
            let by_guid = guid_name(candidate).ok().map(|text| String::from_utf16_lossy(&text));
            candidate.device_name().eq_ignore_ascii_case(wanted)
                || by_guid.is_some_and(|text| text.eq_ignore_ascii_case(wanted))
        });
        match found {
            Some(found) => give(c.m, &attached(c.m, &found), volume),
            None => STATUS_FLT_VOLUME_NOT_FOUND,
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltenumeratevolumes"]
    fn FltEnumerateVolumes(
        c, filter: PVOID, list: *mut PVOID, room: u32, count: *mut u32,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        let all: Vec<PVOID> = all_volumes(c.m).iter().map(|volume| volume.pointer()).collect();
        give_list(c.m, &all, list, room, count)
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltgetdeviceobject"]
    fn FltGetDeviceObject(c, volume: PVOID, device: *mut PVOID) -> NtStatus {
        let volume = expect(c.m, c.info.name, volume);
        let object = volume.volume().device_object();
        object.reference();
        guest::write(device, object.pointer());
        STATUS_SUCCESS
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltgetdiskdeviceobject"]
    fn FltGetDiskDeviceObject(c, volume: PVOID, disk: *mut PVOID) -> NtStatus {
        let volume = expect(c.m, c.info.name, volume);
        let Some(object) = volume.volume().disk_object() else {
            return STATUS_FLT_NO_DEVICE_OBJECT;
        };
        object.reference();
        guest::write(disk, object.pointer());
        STATUS_SUCCESS
    }
}
