//! I/O that a filter issues itself on an open file: it goes only to what is below the filter.

use std::sync::Arc;

use super::instance::{self, InstanceRef};
use super::request::Request;
use super::{call, guest};
use crate::layout::{
    CompletedAsyncIo, FILE_OBJECT, FILE_STANDARD_INFORMATION, FLT_PARAMETERS,
    FLTFL_CALLBACK_DATA_GENERATED_IO, FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET,
    FLTFL_IO_OPERATION_NON_CACHED, FLTFL_IO_OPERATION_PAGING,
    FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING, FO_FILE_OPEN_CANCELLED, FileStandardInformation,
    FltFsControl, FltQueryInfo, FltReadWrite, FltSetInfo, IRP_MJ_FILE_SYSTEM_CONTROL,
    IRP_MJ_FLUSH_BUFFERS, IRP_MJ_QUERY_INFORMATION, IRP_MJ_READ, IRP_MJ_SET_INFORMATION,
    IRP_MJ_WRITE, IRP_NOCACHE, IRP_PAGING_IO, IRP_SYNCHRONOUS_API, IRP_SYNCHRONOUS_PAGING_IO,
    PVOID, Zeroed,
};
use crate::machine::{self, Machine};
use crate::status::{NtStatus, STATUS_SUCCESS};
use crate::verifier;

/// Rules that hold for all self-issued I/O.
fn check(m: &Machine, function: &str, file: *const FILE_OBJECT) {
    use verifier::own_io;
    let told = |what: &str| format!("{function}: {what}");
    if file.is_null() {
        verifier::fatal(&own_io::FILE, told("the file object is a null pointer"));
    }
    if guest::file::fs_context(file).is_null() {
        verifier::fatal(&own_io::FILE, told("the file object is not open"));
    }
    if guest::file::flags(file) & FO_FILE_OPEN_CANCELLED != 0 {
        verifier::violation(&own_io::CANCELLED, told("the open was cancelled"));
    }
    let thread = machine::current_thread();
    if thread.guarded_region() > 0 {
        verifier::violation(&own_io::APCS, told("special kernel APCs are disabled"));
    }
    let locks = super::wait::held_by(m, thread.id());
    if locks > 0 {
        verifier::violation(&own_io::LOCK, told("a push lock is held across I/O"));
    }
}

/// Sends a request below the instance.
fn send(
    m: &Arc<Machine>,
    function: &str,
    instance: &InstanceRef,
    file: *const FILE_OBJECT,
    mut request: Request,
) -> (NtStatus, usize) {
    check(m, function, file);
    instance.hold();
    let result = request.send(m, instance.volume().volume(), Some(instance));
    instance.release_hold(m);
    result
}

fn generated(major: u8, file: *mut FILE_OBJECT) -> Request {
    Request::new(major, file)
        .flag(FLTFL_CALLBACK_DATA_GENERATED_IO)
        .irp_flags(IRP_SYNCHRONOUS_API)
}

/// Asks the file system about an open file; gives status and length.
pub(crate) fn query(
    m: &Arc<Machine>,
    function: &str,
    instance: &InstanceRef,
    file: *mut FILE_OBJECT,
    (class, buffer, length): (i32, PVOID, u32),
) -> (NtStatus, usize) {
    let query_info = FltQueryInfo {
        length,
        _0: 0,
        class,
        _1: 0,
        buffer,
    };
    let request =
        generated(IRP_MJ_QUERY_INFORMATION, file).parameters(FLT_PARAMETERS { query_info });
    send(m, function, instance, file, request)
}

/// One read or write that a filter issues.
struct Transfer {
    major: u8,
    offset: *const i64,
    length: u32,
    buffer: PVOID,
    flags: u32,
    done: *mut u32,
    callback: Option<CompletedAsyncIo>,
    context: PVOID,
}

fn irp_flags(flags: u32) -> u32 {
    let mut irp = 0;
    let mut add = |wanted: u32, flag: u32| {
        if flags & wanted != 0 {
            irp |= flag;
        }
    };
    add(FLTFL_IO_OPERATION_NON_CACHED, IRP_NOCACHE);
    add(FLTFL_IO_OPERATION_PAGING, IRP_PAGING_IO | IRP_NOCACHE);
    add(
        FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING,
        IRP_SYNCHRONOUS_PAGING_IO,
    );
    irp
}

fn transfer(
    m: &Arc<Machine>,
    function: &str,
    by: PVOID,
    file: *mut FILE_OBJECT,
    of: &Transfer,
) -> NtStatus {
    let instance = instance::expect(m, function, by);
    let position = guest::file::position(file);
    let byte_offset = guest::read(of.offset).unwrap_or(position);
    let uncached = of.flags & FLTFL_IO_OPERATION_NON_CACHED != 0;
    if uncached && (byte_offset % 512 != 0 || !of.length.is_multiple_of(512)) {
        let detail = format!("{function}: noncached I/O must be aligned to sectors");
        verifier::violation(&verifier::own_io::UNALIGNED, detail);
    }
    let rw = FltReadWrite {
        length: of.length,
        _0: 0,
        key: 0,
        _1: 0,
        byte_offset,
        buffer: of.buffer,
        mdl_address: core::ptr::null_mut(),
    };
    let synchronous = if of.callback.is_none() {
        IRP_SYNCHRONOUS_API
    } else {
        0
    };
    let mut request = generated(of.major, file)
        .parameters(FLT_PARAMETERS { rw })
        .irp_flags(irp_flags(of.flags) | synchronous);
    check(m, function, file);
    instance.hold();
    let (status, done) = request.send(m, instance.volume().volume(), Some(&instance));
    let keeps = of.offset.is_null() || of.flags & FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET == 0;
    if !keeps {
        guest::file::set_position(file, position);
    }
    guest::write(of.done, u32::try_from(done).unwrap_or(u32::MAX));
    if let Some(callback) = of.callback {
        call::completed_io(callback, request.data(), of.context);
    }
    instance.release_hold(m);
    status
}

/// Whether an open file is a directory.
fn is_directory(
    m: &Arc<Machine>,
    function: &str,
    instance: &InstanceRef,
    file: *mut FILE_OBJECT,
) -> Result<bool, NtStatus> {
    let mut standard = FILE_STANDARD_INFORMATION::zeroed();
    let length = u32::try_from(size_of_val(&standard)).unwrap_or(0);
    let buffer: PVOID = (&raw mut standard).cast();
    let asked = (FileStandardInformation, buffer, length);
    let (status, _) = query(m, function, instance, file, asked);
    status.ok()?;
    Ok(standard.directory != 0)
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltqueryinformationfile",
     fails crate::status::STATUS_INSUFFICIENT_RESOURCES]
    fn FltQueryInformationFile(
        c, instance: PVOID, file: *mut FILE_OBJECT, out: PVOID, length: u32, class: i32,
        returned: *mut u32,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let asked = (class, out, length);
        let (status, done) = query(c.m, c.info.name, &instance, file, asked);
        guest::write(returned, u32::try_from(done).unwrap_or(u32::MAX));
        status
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltsetinformationfile",
     fails crate::status::STATUS_INSUFFICIENT_RESOURCES]
    fn FltSetInformationFile(
        c, instance: PVOID, file: *mut FILE_OBJECT, from: PVOID, length: u32, class: i32,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let set_info = FltSetInfo {
            length,
            _0: 0,
            class,
            _1: 0,
            parent_of_target: core::ptr::null_mut(),
            replace_if_exists: 0,
            advance_only: 0,
            _2: [0; 6],
            info_buffer: from,
        };
        let request =
            generated(IRP_MJ_SET_INFORMATION, file).parameters(FLT_PARAMETERS { set_info });
        send(c.m, c.info.name, &instance, file, request).0
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltreadfile",
     fails crate::status::STATUS_INSUFFICIENT_RESOURCES]
    fn FltReadFile(
        c, instance: PVOID, file: *mut FILE_OBJECT, offset: *const i64, length: u32,
        buffer: PVOID, flags: u32, done: *mut u32, callback: Option<CompletedAsyncIo>,
        context: PVOID,
    ) -> NtStatus {
        let major = IRP_MJ_READ;
        let of = Transfer { major, offset, length, buffer, flags, done, callback, context };
        transfer(c.m, c.info.name, instance, file, &of)
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltwritefile",
     fails crate::status::STATUS_INSUFFICIENT_RESOURCES]
    fn FltWriteFile(
        c, instance: PVOID, file: *mut FILE_OBJECT, offset: *const i64, length: u32,
        buffer: PVOID, flags: u32, done: *mut u32, callback: Option<CompletedAsyncIo>,
        context: PVOID,
    ) -> NtStatus {
        let major = IRP_MJ_WRITE;
        let of = Transfer { major, offset, length, buffer, flags, done, callback, context };
        transfer(c.m, c.info.name, instance, file, &of)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltisdirectory",
     fails crate::status::STATUS_INSUFFICIENT_RESOURCES]
    fn FltIsDirectory(
        c, file: *mut FILE_OBJECT, instance: PVOID, answer: *mut u8,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        match is_directory(c.m, c.info.name, &instance, file) {
            Ok(directory) => {
                guest::write(answer, u8::from(directory));
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltfscontrolfile",
     fails crate::status::STATUS_INSUFFICIENT_RESOURCES]
    fn FltFsControlFile(
        c, instance: PVOID, file: *mut FILE_OBJECT, code: u32, input: PVOID, input_length: u32,
        output: PVOID, output_length: u32, returned: *mut u32,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let fs_control = FltFsControl {
            output_buffer_length: output_length,
            _0: 0,
            input_buffer_length: input_length,
            _1: 0,
            code,
            _2: 0,
            input_buffer: input,
            output_buffer: output,
            output_mdl: core::ptr::null_mut(),
        };
        let request =
            generated(IRP_MJ_FILE_SYSTEM_CONTROL, file).parameters(FLT_PARAMETERS { fs_control });
        let (status, done) = send(c.m, c.info.name, &instance, file, request);
        guest::write(returned, u32::try_from(done).unwrap_or(u32::MAX));
        status
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltflushbuffers",
     fails crate::status::STATUS_INSUFFICIENT_RESOURCES]
    fn FltFlushBuffers(c, instance: PVOID, file: *mut FILE_OBJECT) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        send(c.m, c.info.name, &instance, file, generated(IRP_MJ_FLUSH_BUFFERS, file)).0
    }
}
