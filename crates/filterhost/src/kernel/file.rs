//! What file objects are, and sections over them.

use core::ffi::c_void;

use super::handles::give_handle;
use crate::exports;
use crate::exports::Call;
use crate::layout::{
    FILE_OBJECT, OBJECT_ATTRIBUTES, PAGE_EXECUTE, PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE,
    PAGE_EXECUTE_WRITECOPY, PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY, SEC_COMMIT, SEC_IMAGE,
    SEC_RESERVE,
};
use crate::memory;
use crate::object::{Handle, Kind, OBJ_KERNEL_HANDLE};
use crate::status::{
    NTSTATUS, NtStatus, STATUS_FILE_IS_A_DIRECTORY, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_FILE_FOR_SECTION, STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_8,
    STATUS_INVALID_PARAMETER_9, STATUS_SUCCESS,
};
use crate::user::file_object::FileHost;
use crate::user::section::SectionHost;
use crate::volume::request::to_units;
use crate::volume::section::SectionUse;
use crate::volume::{FileRef, Volumes};

const PROTECTIONS: [u32; 7] = [
    PAGE_READONLY,
    PAGE_READWRITE,
    PAGE_WRITECOPY,
    PAGE_EXECUTE,
    PAGE_EXECUTE_READ,
    PAGE_EXECUTE_READWRITE,
    PAGE_EXECUTE_WRITECOPY,
];

/// What a driver asks for besides the file.
struct Wanted {
    access: u32,
    attributes: *const OBJECT_ATTRIBUTES,
    protection: u32,
    allocation: u32,
    flags: u32,
}

/// Where the results go.
struct Results {
    handle: *mut Handle,
    object: *mut *mut c_void,
    size: *mut i64,
}

fn check(wanted: &Wanted) -> Result<(), NtStatus> {
    if !PROTECTIONS.contains(&wanted.protection) {
        return Err(STATUS_INVALID_PARAMETER_8);
    }
    if ![SEC_COMMIT, SEC_IMAGE, SEC_RESERVE].contains(&wanted.allocation) {
        return Err(STATUS_INVALID_PARAMETER_9);
    }
    // The page: the handle must be a kernel handle, and no flags are defined.
    let attributes = wanted.attributes;
    let kernel =
        !attributes.is_null() && memory::read(attributes).attributes & OBJ_KERNEL_HANDLE != 0;
    if !kernel || wanted.flags != 0 {
        return Err(STATUS_INVALID_PARAMETER);
    }
    Ok(())
}

fn create_section(
    c: &Call<'_>,
    file: *mut FILE_OBJECT,
    wanted: &Wanted,
    results: &Results,
) -> Result<(), NtStatus> {
    check(wanted)?;
    let reference = FileRef::new(file).ok_or(STATUS_INVALID_FILE_FOR_SECTION)?;
    let volume = c.m.state::<Volumes>().of_file(reference);
    let volume = volume.ok_or(STATUS_INVALID_FILE_FOR_SECTION)?;
    let directory = volume
        .fs()
        .open_of(reference)
        .is_some_and(|open| open.kind == crate::volume::fs::open::OpenKind::Directory);
    if directory {
        return Err(STATUS_FILE_IS_A_DIRECTORY);
    }
    let object = c.m.objects().find_kind(file, Kind::File);
    let object = object.ok_or(STATUS_INVALID_FILE_FOR_SECTION)?;
    let section = SectionHost::create(c.m, &volume, &object, SectionUse::Scan)?;
    let bytes = section.host::<SectionHost>().and_then(|host| host.bytes());
    let size = bytes.map_or(0, |bytes| bytes.size());
    if !results.size.is_null() {
        memory::write(results.size, i64::try_from(size).unwrap_or(i64::MAX));
    }
    give_handle(
        c,
        results.handle,
        wanted.attributes,
        &section,
        wanted.access,
    )
    .ok()?;
    // The reference from its making is the caller's, beside the handle's own.
    memory::write(results.object, section.pointer());
    Ok(())
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Replaces the name of a file object, whose buffer is the I/O manager's.
    [PASSIVE, 0, "ntifs/nf-ntifs-ioreplacefileobjectname"]
    fn IoReplaceFileObjectName(
        c, file: *mut FILE_OBJECT, name: *const u16, length: u16,
    ) -> NTSTATUS {
        let object = c.m.objects().find_kind(file, Kind::File);
        let host = object.as_ref().and_then(|object| object.host::<FileHost>());
        let Some((object, host)) = object.as_ref().zip(host) else {
            c.violation("file-object", "this is no file object");
        };
        let named = FileRef::new(file).is_some_and(|file| !file.name_bytes().is_empty());
        if !named {
            return STATUS_INVALID_PARAMETER;
        }
        if c.is_to_fail() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        let name = memory::read_bytes(name.cast(), usize::from(length));
        host.set_name(object, &to_units(&name));
        STATUS_SUCCESS
    }

    /// Whether a file object is on a volume of directly mapped storage.
    [ANY, 14393, "ntifs/nf-ntifs-fsrtlisdaxvolume"]
    fn FsRtlIsDaxVolume(c, file: *mut FILE_OBJECT) -> u8 {
        let volumes = c.m.state::<Volumes>();
        let volume = FileRef::new(file).and_then(|file| volumes.of_file(file));
        u8::from(volume.is_some_and(|volume| volume.is_dax()))
    }

    /// Whether a file object is a paging file.
    [APC, 0, "ntifs/nf-ntifs-fsrtlispagingfile"]
    fn FsRtlIsPagingFile(c, file: *mut FILE_OBJECT) -> u32 {
        let volumes = c.m.state::<Volumes>();
        let stream = FileRef::new(file)
            .and_then(|file| volumes.of_file(file)?.stream_of(file));
        u32::from(stream.is_some_and(|stream| stream.scb().paging))
    }

    /// How many writable sections and views users have of a stream.
    [APC, 0, "ntifs/nf-ntifs-mmdoesfilehaveuserwritablereferences"]
    fn MmDoesFileHaveUserWritableReferences(c, sections: *const c_void) -> u32 {
        if sections.is_null() {
            c.violation("access-violation", "the section object pointers are null");
        }
        let stream = c.m.state::<Volumes>().stream_of_sections(sections.addr());
        stream.map_or(0, |stream| stream.scb().sections.writable)
    }

    /// Makes a section over a file for a scan, without telling the scanner of conflicts.
    [APC, 0, "ntifs/nf-ntifs-fsrtlcreatesectionfordatascan",
        fails STATUS_INSUFFICIENT_RESOURCES]
    fn FsRtlCreateSectionForDataScan(
        c, handle: *mut Handle, object: *mut *mut c_void, size: *mut i64, file: *mut FILE_OBJECT,
        access: u32, attributes: *const OBJECT_ATTRIBUTES, _maximum: *const i64, protection: u32,
        allocation: u32, flags: u32,
    ) -> NTSTATUS {
        let wanted = Wanted { access, attributes, protection, allocation, flags };
        let results = Results { handle, object, size };
        create_section(c, file, &wanted, &results).into()
    }
}
