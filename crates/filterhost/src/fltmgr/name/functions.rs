//! The functions on names that drivers import.

use std::sync::Arc;

use super::{FullName, ask, cached, hand_out, parse, release, text, with_record};
use crate::fltmgr::dispatch::{self, Operation, Stage};
use crate::fltmgr::guest;
use crate::fltmgr::instance::{self, InstanceRef};
use crate::layout::{
    FILE_OBJECT, FILE_OPEN_BY_FILE_ID, FLT_CALLBACK_DATA, FLT_FILE_NAME_ALLOW_QUERY_ON_REPARSE,
    FLT_FILE_NAME_DO_NOT_CACHE, FLT_FILE_NAME_INFORMATION, FLT_FILE_NAME_NORMALIZED,
    FLT_FILE_NAME_OPENED, FLT_FILE_NAME_QUERY_ALWAYS_ALLOW_CACHE_LOOKUP,
    FLT_FILE_NAME_QUERY_CACHE_ONLY, FLT_FILE_NAME_QUERY_DEFAULT,
    FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY, FLT_FILE_NAME_REQUEST_FROM_CURRENT_PROVIDER,
    FLT_FILE_NAME_SHORT, FO_CLEANUP_COMPLETE, HANDLE, IRP_MJ_ACQUIRE_FOR_CC_FLUSH,
    IRP_MJ_ACQUIRE_FOR_MOD_WRITE, IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, IRP_MJ_CREATE,
    IRP_MJ_RELEASE_FOR_CC_FLUSH, IRP_MJ_RELEASE_FOR_MOD_WRITE,
    IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, IRP_PAGING_IO, PVOID,
};
use crate::machine::{self, Machine};
use crate::object::Kind;
use crate::status::{
    NtStatus, STATUS_FLT_INVALID_NAME_REQUEST, STATUS_FLT_NAME_CACHE_MISS,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER,
    STATUS_MOUNT_POINT_NOT_RESOLVED, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_SUCCESS,
};
use crate::volume::Volume;
use crate::volume::ids::FileId;

/// The options of a request, taken apart.
#[derive(Clone, Copy)]
struct Options {
    format: u32,
    method: u32,
}

impl Options {
    fn read(options: u32) -> Result<Self, NtStatus> {
        let flags = FLT_FILE_NAME_REQUEST_FROM_CURRENT_PROVIDER
            | FLT_FILE_NAME_DO_NOT_CACHE
            | FLT_FILE_NAME_ALLOW_QUERY_ON_REPARSE;
        let (format, method) = (options & 0xff, options & 0xff00);
        let formats = [
            FLT_FILE_NAME_NORMALIZED,
            FLT_FILE_NAME_OPENED,
            FLT_FILE_NAME_SHORT,
        ];
        let methods = [
            FLT_FILE_NAME_QUERY_DEFAULT,
            FLT_FILE_NAME_QUERY_CACHE_ONLY,
            FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY,
            FLT_FILE_NAME_QUERY_ALWAYS_ALLOW_CACHE_LOOKUP,
        ];
        let known = formats.contains(&format)
            && methods.contains(&method)
            && options & !(flags | 0xffff) == 0;
        if known {
            Ok(Self { format, method })
        } else {
            Err(STATUS_INVALID_PARAMETER)
        }
    }
}

/// The volume's part of each name on it.
fn volume_part(volume: &Volume) -> Vec<u16> {
    volume.device_name().encode_utf16().collect()
}

/// Whether the file system may be asked now. Only the operation's kind and the thread decide.
fn may_ask(operation: &Operation, data: *const FLT_CALLBACK_DATA) -> bool {
    let block = guest::data::block(data);
    let never = matches!(
        block.major_function,
        IRP_MJ_ACQUIRE_FOR_CC_FLUSH
            | IRP_MJ_ACQUIRE_FOR_MOD_WRITE
            | IRP_MJ_RELEASE_FOR_CC_FLUSH
            | IRP_MJ_RELEASE_FOR_MOD_WRITE
            | IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION
    );
    let post_acquire = block.major_function == IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION
        && operation.stage() == Stage::Post;
    let paging = block.irp_flags & IRP_PAGING_IO != 0;
    let closing = guest::file::flags(block.target_file_object) & FO_CLEANUP_COMPLETE != 0;
    thread_may_ask() && !never && !post_acquire && !paging && !closing
}

fn thread_may_ask() -> bool {
    let thread = machine::current_thread();
    thread.top_level_irp() == 0 && thread.guarded_region() == 0
}

/// The path of an open file, from the cache or the file system as the options say.
fn path_of(
    m: &Arc<Machine>,
    instance: &InstanceRef,
    file: *mut FILE_OBJECT,
    options: Options,
    may_ask: bool,
) -> Result<Vec<u16>, NtStatus> {
    let stream = guest::file::fs_context(file).addr();
    let known = || cached(m, stream, options.format);
    match options.method {
        FLT_FILE_NAME_QUERY_CACHE_ONLY => known().ok_or(STATUS_FLT_NAME_CACHE_MISS),
        FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY if may_ask => ask(m, instance, file, options.format),
        FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY => Err(STATUS_FLT_INVALID_NAME_REQUEST),
        method => match known() {
            Some(path) => Ok(path),
            None if may_ask => ask(m, instance, file, options.format),
            None if method == FLT_FILE_NAME_QUERY_ALWAYS_ALLOW_CACHE_LOOKUP => {
                Err(STATUS_FLT_NAME_CACHE_MISS)
            }
            None => Err(STATUS_FLT_INVALID_NAME_REQUEST),
        },
    }
}

/// The path that a create names, before anything is open.
fn path_before_create(
    m: &Arc<Machine>,
    instance: &InstanceRef,
    data: *const FLT_CALLBACK_DATA,
    options: Options,
    may_ask: bool,
) -> Result<Vec<u16>, NtStatus> {
    if options.format == FLT_FILE_NAME_SHORT {
        return Err(STATUS_FLT_INVALID_NAME_REQUEST);
    }
    if options.method == FLT_FILE_NAME_QUERY_CACHE_ONLY {
        return Err(STATUS_FLT_NAME_CACHE_MISS);
    }
    if !may_ask {
        return Err(STATUS_FLT_INVALID_NAME_REQUEST);
    }
    let volume = instance.volume().volume();
    let block = guest::data::block(data);
    let file = block.target_file_object;
    if guest::parameters::create(&block).options & FILE_OPEN_BY_FILE_ID != 0 {
        return path_by_id(volume, file);
    }
    let name = guest::string_units(guest::file::name(file));
    let related = guest::file::related(file);
    let opened = FLT_FILE_NAME_OPENED;
    let path = if related.is_null() {
        name
    } else {
        let base = path_of(
            m,
            instance,
            related,
            Options {
                format: opened,
                ..options
            },
            true,
        )?;
        let stream_of_related = name.first() == Some(&u16::from(b':'));
        if name.is_empty() || stream_of_related {
            base.into_iter().chain(name).collect()
        } else {
            text::join(&base, &name)
        }
    };
    if options.format == opened {
        Ok(path)
    } else {
        Ok(normalize(volume, path))
    }
}

/// The directories as the volume spells them, the last part as the caller does: it may not exist.
fn normalize(volume: &Volume, path: Vec<u16>) -> Vec<u16> {
    let path = text::normalized(path);
    let (directory, name) = text::split(&path);
    if directory.is_empty() {
        return path;
    }
    let found = volume.fs().find(&String::from_utf16_lossy(directory));
    let spelled = found.ok().map(|node| volume.fs().space().path(node, None));
    spelled.map_or_else(|| path.clone(), |directory| text::join(&directory, name))
}

fn path_by_id(volume: &Volume, file: *const FILE_OBJECT) -> Result<Vec<u16>, NtStatus> {
    let name = guest::file::name(file);
    let bytes = guest::bytes(name.buffer.cast(), usize::from(name.length));
    let mut id = [0_u8; 16];
    for (to, from) in id.iter_mut().zip(&bytes) {
        *to = *from;
    }
    let space = volume.fs().space();
    let node = space
        .by_id(FileId(u128::from_le_bytes(id)))
        .ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
    Ok(space.path(node, None))
}

fn get(m: &Arc<Machine>, data: *const FLT_CALLBACK_DATA, options: u32) -> Result<PVOID, NtStatus> {
    let operation = dispatch::find(m, "FltGetFileNameInformation", data);
    let options = Options::read(options)?;
    let instance = operation.instance().ok_or(STATUS_INVALID_PARAMETER)?;
    let may_ask = may_ask(&operation, data);
    let before = operation.major() == IRP_MJ_CREATE && operation.stage() == Stage::Pre;
    let path = if before {
        path_before_create(m, &instance, data, options, may_ask)?
    } else {
        let file = guest::data::file_object(data);
        if guest::file::fs_context(file).is_null() {
            return Err(STATUS_FLT_INVALID_NAME_REQUEST);
        }
        path_of(m, &instance, file, options, may_ask)?
    };
    let name = FullName {
        volume: volume_part(instance.volume().volume()),
        path,
    };
    hand_out(m, instance.filter().id(), options.format, &name)
}

/// What a rename or link is to be called.
struct Destination {
    file: *mut FILE_OBJECT,
    root: HANDLE,
    name: Vec<u16>,
}

fn destination(
    m: &Arc<Machine>,
    instance: &InstanceRef,
    to: &Destination,
    options: u32,
) -> Result<PVOID, NtStatus> {
    let options = Options::read(options)?;
    if options.format == FLT_FILE_NAME_SHORT || !thread_may_ask() {
        return Err(STATUS_FLT_INVALID_NAME_REQUEST);
    }
    let volume = instance.volume().volume();
    let opened = Options {
        format: FLT_FILE_NAME_OPENED,
        method: FLT_FILE_NAME_QUERY_DEFAULT,
    };
    let absolute = to.name.first() == Some(&u16::from(b'\\'));
    let path = if !to.root.is_null() {
        let process = machine::current_thread().process();
        let handle = to.root.addr();
        let found = m
            .objects()
            .by_handle(m, &process, handle, Some(Kind::File), 0)?;
        let base = path_of(m, instance, found.pointer().cast(), opened, true)?;
        text::join(&base, &to.name)
    } else if absolute {
        on_volume(volume, &to.name)?
    } else {
        let own = path_of(m, instance, to.file, opened, true)?;
        text::join(text::split(&own).0, &to.name)
    };
    let path = if options.format == FLT_FILE_NAME_NORMALIZED {
        normalize(volume, path)
    } else {
        path
    };
    let name = FullName {
        volume: volume_part(volume),
        path,
    };
    hand_out(m, instance.filter().id(), options.format, &name)
}

/// The path on the volume of a full name; another volume is an unresolved mount point.
fn on_volume(volume: &Volume, name: &[u16]) -> Result<Vec<u16>, NtStatus> {
    let text = String::from_utf16_lossy(name);
    let guid = volume.guid().map(|guid| format!(r"\??\Volume{guid}"));
    let prefixes = [Some(volume.device_name().to_owned()), guid];
    for prefix in prefixes.into_iter().flatten() {
        let head = text.get(..prefix.len());
        if head.is_some_and(|head| head.eq_ignore_ascii_case(&prefix)) {
            let rest = text.get(prefix.len()..).unwrap_or_default();
            return Ok(rest.encode_utf16().collect());
        }
    }
    let foreign = text.starts_with(r"\??\") || text.starts_with(r"\Device\");
    if foreign {
        Err(STATUS_MOUNT_POINT_NOT_RESOLVED)
    } else {
        Ok(name.to_vec())
    }
}

fn finish(result: Result<PVOID, NtStatus>, out: *mut PVOID) -> NtStatus {
    match result {
        Ok(information) => {
            guest::write(out, information);
            STATUS_SUCCESS
        }
        Err(status) => status,
    }
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [APC, 0, "fltkernel/nf-fltkernel-fltgetfilenameinformation",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltGetFileNameInformation(
        c, data: *mut FLT_CALLBACK_DATA, options: u32, out: *mut PVOID,
    ) -> NtStatus {
        if data.is_null() || out.is_null() {
            return STATUS_INVALID_PARAMETER;
        }
        guest::write(out, core::ptr::null_mut());
        finish(get(c.m, data, options), out)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetfilenameinformationunsafe",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltGetFileNameInformationUnsafe(
        c, file: *mut FILE_OBJECT, instance: PVOID, options: u32, out: *mut PVOID,
    ) -> NtStatus {
        if file.is_null() || out.is_null() {
            return STATUS_INVALID_PARAMETER;
        }
        guest::write(out, core::ptr::null_mut());
        let options = match Options::read(options) {
            Ok(options) => options,
            Err(status) => return status,
        };
        if guest::file::fs_context(file).is_null() {
            return STATUS_FLT_INVALID_NAME_REQUEST;
        }
        let instance = instance::expect(c.m, c.info.name, instance);
        let volume = volume_part(instance.volume().volume());
        let named = path_of(c.m, &instance, file, options, thread_may_ask()).and_then(|path| {
            hand_out(c.m, instance.filter().id(), options.format, &FullName { volume, path })
        });
        finish(named, out)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetdestinationfilenameinformation",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltGetDestinationFileNameInformation(
        c, instance: PVOID, file: *mut FILE_OBJECT, root: HANDLE, name: *const u16, length: u32,
        options: u32, out: *mut PVOID,
    ) -> NtStatus {
        guest::write(out, core::ptr::null_mut());
        let instance = instance::expect(c.m, c.info.name, instance);
        if guest::file::fs_context(file).is_null() {
            return STATUS_INVALID_HANDLE;
        }
        let name = guest::wide(name, length as usize / 2);
        finish(destination(c.m, &instance, &Destination { file, root, name }, options), out)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgettunneledname",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltGetTunneledName(
        c, data: *mut FLT_CALLBACK_DATA, information: PVOID, out: *mut PVOID,
    ) -> NtStatus {
        dispatch::find(c.m, c.info.name, data);
        with_record(c.m, information, |_| ());
        // The volumes here keep no tunnel cache, so no name was tunneled.
        guest::write(out, core::ptr::null_mut());
        STATUS_SUCCESS
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltparsefilenameinformation"]
    fn FltParseFileNameInformation(c, information: *mut FLT_FILE_NAME_INFORMATION) -> NtStatus {
        parse(c.m, information);
        STATUS_SUCCESS
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltreferencefilenameinformation"]
    fn FltReferenceFileNameInformation(c, information: PVOID) {
        with_record(c.m, information, |record| record.references += 1);
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltreleasefilenameinformation"]
    fn FltReleaseFileNameInformation(c, information: PVOID) {
        release(c.m, information);
    }
}
