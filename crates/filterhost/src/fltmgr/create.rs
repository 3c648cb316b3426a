//! Files that a filter opens itself.

use std::sync::Arc;

use super::{instance, registration};
use crate::exports::Call;
use crate::layout::{IO_DRIVER_CREATE_CONTEXT, IO_STATUS_BLOCK, OBJECT_ATTRIBUTES, PVOID};
use crate::memory;
use crate::object::{Handle, OBJ_KERNEL_HANDLE};
use crate::status::{
    NtStatus, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_NOT_SUPPORTED,
    STATUS_SUCCESS,
};
use crate::user::open::{self, CreateRequest};
use crate::user::path::resolve_absolute;
use crate::volume::request::to_units;

/// What the create is to be, apart from the name.
struct Wanted {
    instance: PVOID,
    access: u32,
    attributes: *const OBJECT_ATTRIBUTES,
    allocation: *const i64,
    file_attributes: u32,
    share: u32,
    disposition: u32,
    options: u32,
    flags: u32,
    context: *const IO_DRIVER_CREATE_CONTEXT,
}

/// Where the results go.
struct Results {
    handle: *mut Handle,
    object: *mut PVOID,
    status: *mut IO_STATUS_BLOCK,
}

/// The open that a filter asks for.
///
/// # Errors
/// `INVALID_PARAMETER` without a name; `NOT_SUPPORTED` for what the host does not offer to
/// filters: names below a directory's handle, options, and transactions.
fn request(c: &Call<'_>, wanted: &Wanted) -> Result<CreateRequest, NtStatus> {
    let attributes = memory::read(wanted.attributes);
    if attributes.attributes & OBJ_KERNEL_HANDLE == 0
        && !Arc::ptr_eq(&c.thread.process(), c.m.system_process())
    {
        c.violation(
            "user-handle",
            "OBJ_KERNEL_HANDLE is missing outside of the system process",
        );
    }
    if attributes.object_name.is_null() {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let context = (!wanted.context.is_null()).then(|| memory::read(wanted.context));
    let transacted = context.is_some_and(|context| !context.txn_parameters.is_null());
    if !attributes.root_directory.is_null() || wanted.flags != 0 || transacted {
        return Err(STATUS_NOT_SUPPORTED);
    }
    let name = memory::read(attributes.object_name);
    let name = memory::read_bytes(name.buffer.cast(), usize::from(name.length));
    let place = resolve_absolute(c.m, &to_units(&name))?;
    let below = match wanted.instance.is_null() {
        true => None,
        false => Some(instance::expect(c.m, c.info.name, wanted.instance)),
    };
    if let Some(below) = &below
        && below.volume().volume().number() != place.volume.number()
    {
        c.violation(
            "instance-of-another-volume",
            "the file is not on the instance's volume",
        );
    }
    let allocation = match wanted.allocation.is_null() {
        true => 0,
        false => memory::read(wanted.allocation),
    };
    let list = context.map_or(0, |context| context.extra_create_parameter.addr());
    Ok(CreateRequest {
        access: wanted.access,
        attributes: wanted.file_attributes,
        share: u16::try_from(wanted.share).map_err(|_| STATUS_INVALID_PARAMETER)?,
        disposition: wanted.disposition,
        options: wanted.options,
        allocation,
        mode: 0,
        below,
        lent_ecps: (list != 0).then_some(list),
        ..CreateRequest::new(&place.volume, &place.name)
    })
}

fn create(c: &Call<'_>, wanted: &Wanted, results: &Results) -> NtStatus {
    if c.thread.top_level_irp() != 0 {
        c.violation("top-level-irp", "a file is opened with a top-level IRP set");
    }
    if c.is_to_fail() {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    let opened = request(c, wanted).and_then(|request| open::create_file(c.m, &request));
    let (status, information) = match &opened {
        Ok(opened) => (opened.status, opened.information),
        Err(status) => (*status, 0),
    };
    if !results.status.is_null() {
        let block = IO_STATUS_BLOCK {
            status: status.0,
            information,
        };
        memory::write(results.status, block);
    }
    let Ok(opened) = opened else {
        return status;
    };
    let attributes = memory::read(wanted.attributes).attributes;
    let process = match attributes & OBJ_KERNEL_HANDLE {
        0 => c.thread.process(),
        _ => c.m.system_process().clone(),
    };
    let handle = open::insert_handle(c.m, &process, &opened, attributes);
    memory::write(results.handle, handle);
    if results.object.is_null() {
        // The handle has a reference of its own.
        opened.object.dereference(c.m);
    } else {
        memory::write(results.object, opened.object.pointer());
    }
    if status.is_success() {
        status
    } else {
        STATUS_SUCCESS
    }
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    /// Opens or makes a file for the filter, below one of its instances or from the top.
    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltcreatefileex2"]
    fn FltCreateFileEx2(
        c, filter: PVOID, instance: PVOID, handle: *mut Handle, object: *mut PVOID, access: u32,
        attributes: *const OBJECT_ATTRIBUTES, status: *mut IO_STATUS_BLOCK,
        allocation: *const i64, file_attributes: u32, share: u32, disposition: u32, options: u32,
        _ea: PVOID, _ea_length: u32, flags: u32, context: *const IO_DRIVER_CREATE_CONTEXT,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        let wanted = Wanted {
            instance, access, attributes, allocation, file_attributes, share, disposition,
            options, flags, context,
        };
        create(c, &wanted, &Results { handle, object, status })
    }

    /// Closes a handle that the filter opened.
    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltclose"]
    fn FltClose(c, handle: Handle) -> NtStatus {
        crate::kernel::handles::close(c, handle)
    }
}
