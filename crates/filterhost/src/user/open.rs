//! Opening a file as the I/O manager does: file object, create, reparse loop, handle.

use std::sync::Arc;

use super::file_object::{FileHost, file_ref};
use super::operation::{Operation, Path};
use super::path::{Place, resolve_absolute};
use super::reparse::{self, Next};
use crate::fltmgr::transaction::{self, Transaction};
use crate::layout::{
    FILE_DELETE_ON_CLOSE, FILE_NO_INTERMEDIATE_BUFFERING, FILE_OPEN_BY_FILE_ID,
    FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FILE_WRITE_THROUGH, FO_HANDLE_CREATED,
    FO_NO_INTERMEDIATE_BUFFERING, FO_SYNCHRONOUS_IO, FO_WRITE_THROUGH, FltCreate, GUID,
    IRP_CREATE_OPERATION, IRP_MJ_CREATE,
};
use crate::machine::{self, Machine};
use crate::object::{Handle, Object};
use crate::status::{
    NtStatus, STATUS_INVALID_PARAMETER, STATUS_REPARSE, STATUS_REPARSE_POINT_NOT_RESOLVED,
};
use crate::volume::Volume;
use crate::volume::share::{DELETE, SHARE_ALL};
use crate::volume::stack::{self, InstanceRef};

/// How often a create may start anew.
const REPARSE_MAX: u32 = 63;

/// An extra create parameter that comes with an open.
#[derive(Clone, Debug)]
pub struct EcpSpec {
    /// Its type.
    pub kind: GUID,
    /// Its context.
    pub context: Vec<u8>,
    /// It came from user mode.
    pub from_user: bool,
    /// Somebody has acknowledged it already.
    pub acknowledged: bool,
}

/// Everything that a create says.
#[derive(Clone)]
pub struct CreateRequest {
    /// Where the name starts.
    pub volume: Arc<Volume>,
    /// The name below the volume in UTF-16, or the bytes of an id.
    pub name: Vec<u8>,
    /// An open file object that the name is relative to.
    pub related: Option<Arc<Object>>,
    /// Desired access.
    pub access: u32,
    /// Attributes for a new file.
    pub attributes: u32,
    /// FILE_SHARE_*.
    pub share: u16,
    /// FILE_SUPERSEDE … FILE_OVERWRITE_IF.
    pub disposition: u32,
    /// FILE_* create options.
    pub options: u32,
    /// SL_* flags.
    pub operation_flags: u8,
    /// Initial allocation.
    pub allocation: i64,
    /// 0 kernel, 1 user.
    pub mode: i8,
    /// Only instances below this one see the operations of a filter's own open.
    pub below: Option<InstanceRef>,
    /// Extra create parameters.
    pub ecps: Vec<EcpSpec>,
    /// A list of extra create parameters that stays its owner's, by its address.
    pub lent_ecps: Option<usize>,
    /// The transaction that the open is part of.
    pub transaction: Option<Transaction>,
}

/// An open that succeeded. The caller owns one reference.
#[derive(Clone)]
pub struct Opened {
    /// The file object.
    pub object: Arc<Object>,
    /// The volume that it is on, which reparse points may have changed.
    pub volume: Arc<Volume>,
    /// SUCCESS, or OPLOCK_BREAK_IN_PROGRESS.
    pub status: NtStatus,
    /// FILE_OPENED and so on.
    pub information: usize,
    /// Granted access.
    pub access: u32,
}

impl CreateRequest {
    /// An open of an existing file for reading its attributes, sharing everything, in user mode.
    #[must_use]
    pub fn new(volume: &Arc<Volume>, name: &[u16]) -> Self {
        Self {
            volume: Arc::clone(volume),
            name: name.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            related: None,
            access: crate::volume::share::READ_ATTRIBUTES | crate::volume::share::SYNCHRONIZE,
            attributes: 0,
            share: SHARE_ALL,
            disposition: crate::layout::FILE_OPEN,
            options: FILE_SYNCHRONOUS_IO_NONALERT,
            operation_flags: 0,
            allocation: 0,
            mode: 1,
            below: None,
            ecps: Vec::new(),
            lent_ecps: None,
            transaction: None,
        }
    }

    fn file_object_flags(&self) -> u32 {
        let mut flags = 0;
        let sync = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
        if self.options & sync != 0 {
            flags |= FO_SYNCHRONOUS_IO;
        }
        if self.options & FILE_WRITE_THROUGH != 0 {
            flags |= FO_WRITE_THROUGH;
        }
        if self.options & FILE_NO_INTERMEDIATE_BUFFERING != 0 {
            flags |= FO_NO_INTERMEDIATE_BUFFERING;
        }
        flags
    }

    fn check(&self) -> Result<(), NtStatus> {
        if self.options & FILE_DELETE_ON_CLOSE != 0 && self.access & DELETE == 0 {
            return Err(STATUS_INVALID_PARAMETER);
        }
        if self.disposition > crate::layout::FILE_OVERWRITE_IF {
            return Err(STATUS_INVALID_PARAMETER);
        }
        Ok(())
    }
}

/// Opens a file. The extra create parameters travel with every pass of the create and are freed
/// at its end.
///
/// # Errors
/// What filters and file system answer; `REPARSE_POINT_NOT_RESOLVED` for an endless loop.
pub fn create_file(m: &Arc<Machine>, request: &CreateRequest) -> Result<Opened, NtStatus> {
    request.check()?;
    let packet = stack::OpenPacket::new(m, &request.ecps, request.lent_ecps);
    let mut request = request.clone();
    let mut passes = 0;
    let result = loop {
        match attempt(m, &request, &packet) {
            Ok(Pass::Opened(opened)) => break Ok(opened),
            Ok(Pass::Again(next)) => {
                passes += 1;
                if passes > REPARSE_MAX {
                    break Err(STATUS_REPARSE_POINT_NOT_RESOLVED);
                }
                request = *next;
            }
            Err(status) => break Err(status),
        }
    };
    packet.free(m);
    result
}

enum Pass {
    Opened(Opened),
    Again(Box<CreateRequest>),
}

fn attempt(
    m: &Arc<Machine>,
    request: &CreateRequest,
    packet: &stack::OpenPacket,
) -> Result<Pass, NtStatus> {
    let object = FileHost::create(
        m,
        &request.volume,
        &request.name,
        request.related.as_ref(),
        request.below.clone(),
        request.file_object_flags(),
    );
    if let Some(of) = request.transaction {
        transaction::join(m, object.pointer().cast(), of);
    }
    let operation = Operation::new(
        m,
        &request.volume,
        request.below.clone(),
        Path::Irp,
        (IRP_MJ_CREATE, 0),
        &object,
    );
    let create = FltCreate {
        security_context: operation.security(request.access, request.options),
        options: request.disposition << 24 | request.options & 0x00ff_ffff,
        _0: 0,
        file_attributes: u16::try_from(request.attributes & 0xffff).unwrap_or(0),
        share_access: request.share,
        _1: 0,
        ea_length: 0,
        _2: 0,
        ea_buffer: core::ptr::null_mut(),
        allocation_size: request.allocation,
    };
    let operation = operation
        .mode(request.mode)
        .irp_flags(IRP_CREATE_OPERATION)
        .operation_flags(request.operation_flags)
        .parameters(create);
    packet.attach(m, operation.data());
    let (status, information) = operation.send();
    if let Some(host) = object.host::<FileHost>() {
        host.create_is_over(&object);
    }
    if status == STATUS_REPARSE {
        let next = next_request(m, request, &operation, &object, information);
        transaction::leave(m, object.pointer().cast());
        object.dereference(m);
        return next.map(|next| Pass::Again(Box::new(next)));
    }
    if !status.is_success() {
        transaction::leave(m, object.pointer().cast());
        object.dereference(m);
        return Err(status);
    }
    let volume = Arc::clone(&request.volume);
    let access = operation.granted_access();
    Ok(Pass::Opened(Opened {
        object,
        volume,
        status,
        information,
        access,
    }))
}

/// The create that a STATUS_REPARSE asks for.
fn next_request(
    m: &Arc<Machine>,
    request: &CreateRequest,
    operation: &Operation,
    object: &Arc<Object>,
    information: usize,
) -> Result<CreateRequest, NtStatus> {
    let file = file_ref(object).ok_or(STATUS_INVALID_PARAMETER)?;
    if request.options & FILE_OPEN_BY_FILE_ID != 0 && information != 0 {
        return Err(crate::status::STATUS_IO_REPARSE_TAG_NOT_HANDLED);
    }
    let tag_data = stack::reparse_of(operation.request());
    let base = super::path::full_name(request);
    let next = match tag_data {
        Some((reparse, unparsed)) => reparse::target(&reparse, &base, unparsed)?,
        None => Next::Absolute(file.name()),
    };
    let mut again = request.clone();
    again.related = None;
    let Place { volume, name } = match next {
        Next::Absolute(name) => resolve_absolute(m, &name)?,
        Next::SameVolume(name) => Place {
            volume: Arc::clone(&request.volume),
            name,
        },
    };
    again.volume = volume;
    again.name = name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    Ok(again)
}

/// Makes a handle for an open in `process`; only then is the create over for filters.
pub fn insert_handle(
    m: &Arc<Machine>,
    process: &Arc<crate::process::Process>,
    opened: &Opened,
    attributes: u32,
) -> Handle {
    let handle = m
        .objects()
        .open_handle(m, process, &opened.object, opened.access, attributes);
    if let Some(file) = file_ref(&opened.object) {
        file.set_flags(FO_HANDLE_CREATED);
    }
    handle
}

/// The process whose handle table the current thread uses.
#[must_use]
pub fn current_process() -> Arc<crate::process::Process> {
    machine::current_thread().process()
}

/// Ends an open that never got a handle of its own: cleanup, then the reference.
pub fn close_without_handle(m: &Arc<Machine>, opened: &Opened) {
    let process = m.system_process();
    let attributes = crate::object::OBJ_KERNEL_HANDLE;
    let handle = insert_handle(m, process, opened, attributes);
    opened.object.dereference(m);
    // The handle was made a moment ago.
    let _closed = m.objects().close_handle(m, process, handle);
}
