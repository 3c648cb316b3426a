//! Handles, references and events by handle.

use core::ffi::c_void;
use std::sync::Arc;

use super::data;
use super::dispatcher;
use crate::exports;
use crate::exports::Call;
use crate::layout::OBJECT_ATTRIBUTES;
use crate::memory;
use crate::object::{Handle, KernelObject, Kind, OBJ_KERNEL_HANDLE, Object};
use crate::process::Process;
use crate::status::{
    NTSTATUS, NtStatus, STATUS_HANDLE_NOT_CLOSABLE, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_4,
    STATUS_OBJECT_NAME_INVALID, STATUS_OBJECT_PATH_SYNTAX_BAD, STATUS_OBJECT_TYPE_MISMATCH,
    STATUS_SUCCESS,
};

/// `OBJ_PROTECT_CLOSE`.
const OBJ_PROTECT_CLOSE: u32 = 1;
/// `OBJ_VALID_ATTRIBUTES`, as `ntdef.h` has it for kernel mode.
const VALID_ATTRIBUTES: u32 = 0x1_3ff2 | OBJ_PROTECT_CLOSE;
/// `NtCurrentProcess()`.
const CURRENT_PROCESS: Handle = usize::MAX;
/// `NtCurrentThread()`.
const CURRENT_THREAD: Handle = usize::MAX - 1;
/// `UserMode`.
const USER_MODE: i8 = 1;
/// All rights of an object with generic mapping of no use here.
const ALL_ACCESS: u32 = 0x1f_ffff;
/// `MAXIMUM_ALLOWED` and the generic rights.
const GENERIC: u32 = 0xf200_0000;
/// `DUPLICATE_CLOSE_SOURCE`.
const CLOSE_SOURCE: u32 = 1;
/// `DUPLICATE_SAME_ACCESS`.
const SAME_ACCESS: u32 = 2;
/// `DUPLICATE_SAME_ATTRIBUTES`.
const SAME_ATTRIBUTES: u32 = 4;
/// `EVENT_MODIFY_STATE`.
const EVENT_MODIFY_STATE: u32 = 2;
/// `SYNCHRONIZE`.
const SYNCHRONIZE: u32 = 0x10_0000;

/// An event made by handle.
struct EventHost;

impl KernelObject for EventHost {
    fn kind(&self) -> Kind {
        Kind::Event
    }
}

/// Opens a handle as `attributes` ask (a null pointer asks for nothing) and stores it.
pub(super) fn give_handle(
    c: &Call<'_>,
    out: *mut Handle,
    attributes: *const OBJECT_ATTRIBUTES,
    object: &Arc<Object>,
    access: u32,
) -> NtStatus {
    let flags = if attributes.is_null() {
        0
    } else {
        memory::read(attributes).attributes
    };
    let process = c.thread.process();
    let handle =
        c.m.objects()
            .open_handle(c.m, &process, object, access, flags);
    memory::write(out, handle);
    STATUS_SUCCESS
}

/// Attributes of an object without a name.
///
/// # Errors
/// What a wrong length, or a name of a wrong form, is answered with.
fn check_unnamed(c: &Call<'_>, attributes: *const OBJECT_ATTRIBUTES) -> Result<(), NtStatus> {
    if attributes.is_null() {
        return Ok(());
    }
    let attributes = memory::read(attributes);
    if attributes.length as usize != size_of::<OBJECT_ATTRIBUTES>() {
        return Err(STATUS_INVALID_PARAMETER);
    }
    if attributes.object_name.is_null() {
        return Ok(());
    }
    let name = memory::read(attributes.object_name);
    if !name.length.is_multiple_of(2) {
        return Err(STATUS_OBJECT_NAME_INVALID);
    }
    let rooted = !attributes.root_directory.is_null();
    if !rooted && (name.length == 0 || memory::read(name.buffer) != u16::from(b'\\')) {
        return Err(STATUS_OBJECT_PATH_SYNTAX_BAD);
    }
    c.violation("unsupported", "objects with names are not modelled")
}

/// The live object that a driver names by address; anything else ends the run.
pub(super) fn object_at(c: &Call<'_>, pointer: *const c_void) -> Arc<Object> {
    if let Some(object) = c.m.objects().find(pointer.addr()) {
        return object;
    }
    if c.m.objects().was_freed(pointer.addr()) {
        c.violation("object-use-after-free", format!("{pointer:p} was deleted"));
    }
    c.violation("object", format!("{pointer:p} is no object"))
}

/// The object behind a handle, pseudo handles included, with the access granted.
fn by_handle(
    c: &Call<'_>,
    process: &Process,
    handle: Handle,
) -> Result<(Arc<Object>, u32, u32), NtStatus> {
    let own = match handle {
        CURRENT_PROCESS => Some(process.address()),
        CURRENT_THREAD => Some(c.thread.address()),
        _ => None,
    };
    if let Some(address) = own {
        let object = c.m.objects().find(address).ok_or(STATUS_INVALID_HANDLE)?;
        return Ok((object, ALL_ACCESS, 0));
    }
    let entry = c.m.objects().entry(c.m, process, handle)?;
    Ok((entry.object, entry.access, entry.attributes))
}

fn reference_by_handle(
    c: &Call<'_>,
    handle: Handle,
    access: u32,
    object_type: *const c_void,
    mode: i8,
) -> Result<(Arc<Object>, u32), NtStatus> {
    let process = c.thread.process();
    let (object, granted, attributes) = by_handle(c, &process, handle)?;
    let wanted = data::kind_of_type(c.m, object_type.addr());
    if !object_type.is_null() && wanted != Some(object.kind()) {
        return Err(STATUS_OBJECT_TYPE_MISMATCH);
    }
    if mode == USER_MODE {
        if attributes & OBJ_KERNEL_HANDLE != 0 {
            return Err(STATUS_INVALID_HANDLE);
        }
        if granted & access != access {
            return Err(crate::status::STATUS_ACCESS_DENIED);
        }
    }
    object.reference();
    Ok((object, granted))
}

fn dereference(c: &Call<'_>, pointer: *const c_void) -> i64 {
    let object = object_at(c, pointer);
    let level = c.thread.irql();
    if object.references() == 1 && level > crate::irql::PASSIVE {
        c.violation("irql", format!("drops the last reference at {level}"));
    }
    if object.references() <= object.open_handles() {
        c.violation(
            "object-over-dereference",
            format!("{pointer:p} has only its handles' left"),
        );
    }
    object.dereference(c.m)
}

/// Closes a handle of the calling thread's process, or a kernel handle.
///
/// # Errors
/// `HANDLE_NOT_CLOSABLE` for a protected one, `INVALID_HANDLE`.
pub(crate) fn close(c: &Call<'_>, handle: Handle) -> NtStatus {
    if handle == CURRENT_PROCESS || handle == CURRENT_THREAD {
        return STATUS_SUCCESS;
    }
    let process = c.thread.process();
    let entry = c.m.objects().entry(c.m, &process, handle);
    if entry.is_ok_and(|entry| entry.attributes & OBJ_PROTECT_CLOSE != 0) {
        return STATUS_HANDLE_NOT_CLOSABLE;
    }
    c.m.objects().close_handle(c.m, &process, handle).into()
}

struct Duplicate {
    source_process: Handle,
    source: Handle,
    target_process: Handle,
    access: u32,
    attributes: u32,
    options: u32,
}

fn duplicate(c: &Call<'_>, wanted: &Duplicate, out: *mut Handle) -> Result<(), NtStatus> {
    let current = c.thread.process();
    let process = |handle| {
        let (object, ..) = by_handle(c, &current, handle)?;
        object.host::<Process>().ok_or(STATUS_OBJECT_TYPE_MISMATCH)
    };
    let from = process(wanted.source_process)?;
    let (object, granted, attributes) = by_handle(c, &from, wanted.source)?;
    if wanted.target_process != 0 {
        let to = process(wanted.target_process)?;
        let same = wanted.options & SAME_ACCESS != 0;
        let access = if same { granted } else { full(wanted.access) };
        let same = wanted.options & SAME_ATTRIBUTES != 0;
        let flags = if same { attributes } else { wanted.attributes };
        let handle = c.m.objects().open_handle(c.m, &to, &object, access, flags);
        if !out.is_null() {
            memory::write(out, handle);
        }
    }
    if wanted.options & CLOSE_SOURCE != 0 {
        c.m.objects().close_handle(c.m, &from, wanted.source)?;
    }
    Ok(())
}

fn full(access: u32) -> u32 {
    if access & GENERIC != 0 {
        access | ALL_ACCESS
    } else {
        access
    }
}

fn event_by_handle(c: &Call<'_>, handle: Handle, access: u32) -> Result<Arc<Object>, NtStatus> {
    let process = c.thread.process();
    c.m.objects()
        .by_handle(c.m, &process, handle, Some(Kind::Event), access)
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// References the object behind a handle.
    [PASSIVE, 0, "wdm/nf-wdm-obreferenceobjectbyhandle"]
    fn ObReferenceObjectByHandle(
        c, handle: Handle, access: u32, object_type: *const c_void, mode: i8,
        out: *mut *mut c_void, information: *mut u32,
    ) -> NTSTATUS {
        match reference_by_handle(c, handle, access, object_type, mode) {
            Ok((object, granted)) => {
                memory::write(out, object.pointer());
                if !information.is_null() {
                    // OBJECT_HANDLE_INFORMATION: attributes, granted access.
                    memory::write(information, 0);
                    memory::write(information.wrapping_add(1), granted);
                }
                STATUS_SUCCESS
            }
            Err(status) => {
                memory::write(out, std::ptr::null_mut());
                status
            }
        }
    }

    /// References an object that the caller has a pointer to.
    [DISPATCH, 0, "wdm/nf-wdm-obreferenceobjectbypointer"]
    fn ObReferenceObjectByPointer(
        c, object: *const c_void, _access: u32, object_type: *const c_void, mode: i8,
    ) -> NTSTATUS {
        let object = object_at(c, object);
        let wanted = data::kind_of_type(c.m, object_type.addr());
        let checked = !object_type.is_null() || mode == USER_MODE;
        if checked && wanted != Some(object.kind()) {
            return STATUS_OBJECT_TYPE_MISMATCH;
        }
        object.reference();
        STATUS_SUCCESS
    }

    /// Adds a reference; gives the new count.
    [DISPATCH, 0, "wdm/nf-wdm-obfreferenceobject"]
    fn ObfReferenceObject(c, object: *const c_void) -> i64 {
        object_at(c, object).reference()
    }

    /// Drops a reference; gives the new count.
    [DISPATCH, 0, "wdm/nf-wdm-obdereferenceobject"]
    fn ObfDereferenceObject(c, object: *const c_void) -> i64 {
        dereference(c, object)
    }

    /// Drops a reference; the object is deleted by a worker, so the level does not matter.
    [DISPATCH, 0, "wdm/nf-wdm-obdereferenceobjectdeferdelete"]
    fn ObDereferenceObjectDeferDelete(c, object: *const c_void) {
        let object = object_at(c, object);
        let m = c.m.clone();
        c.m.sched().spawn(c.m.system_process(), "deferred delete", move || {
            object.dereference(&m);
        });
    }

    /// Opens a handle to an object that the caller has a pointer to.
    [APC, 0, "ntifs/nf-ntifs-obopenobjectbypointer", fails STATUS_INSUFFICIENT_RESOURCES]
    fn ObOpenObjectByPointer(
        c, object: *const c_void, attributes: u32, _state: *const c_void, access: u32,
        object_type: *const c_void, _mode: i8, out: *mut Handle,
    ) -> NTSTATUS {
        let object = object_at(c, object);
        memory::write(out, 0);
        if attributes & !VALID_ATTRIBUTES != 0 {
            return STATUS_INVALID_PARAMETER;
        }
        let wanted = data::kind_of_type(c.m, object_type.addr());
        if !object_type.is_null() && wanted != Some(object.kind()) {
            return STATUS_OBJECT_TYPE_MISMATCH;
        }
        let process = c.thread.process();
        let objects = c.m.objects();
        memory::write(out, objects.open_handle(c.m, &process, &object, full(access), attributes));
        STATUS_SUCCESS
    }

    /// Closes a handle.
    [PASSIVE, 0, "wdm/nf-wdm-zwclose"]
    fn ZwClose(c, handle: Handle) -> NTSTATUS {
        close(c, handle)
    }

    /// Closes a handle; a system thread has no previous mode that would matter.
    [PASSIVE, 0, "ntifs/nf-ntifs-ntclose"]
    fn NtClose(c, handle: Handle) -> NTSTATUS {
        close(c, handle)
    }

    /// Makes a handle in one process to what a handle in another names.
    [PASSIVE, 0, "ntifs/nf-ntifs-zwduplicateobject", fails STATUS_INSUFFICIENT_RESOURCES]
    fn ZwDuplicateObject(
        c, source_process: Handle, source: Handle, target_process: Handle, out: *mut Handle,
        access: u32, attributes: u32, options: u32,
    ) -> NTSTATUS {
        let wanted =
            Duplicate { source_process, source, target_process, access, attributes, options };
        duplicate(c, &wanted, out).into()
    }

    /// Makes an event without a name and a handle to it.
    [PASSIVE, 0, "ntifs/nf-ntifs-zwcreateevent", fails STATUS_INSUFFICIENT_RESOURCES]
    fn ZwCreateEvent(
        c, out: *mut Handle, access: u32, attributes: *const OBJECT_ATTRIBUTES, kind: i32,
        state: u8,
    ) -> NTSTATUS {
        let Some(kind) = u8::try_from(kind).ok().filter(|kind| *kind <= 1) else {
            return STATUS_INVALID_PARAMETER_4;
        };
        if let Err(status) = check_unnamed(c, attributes) {
            return status;
        }
        let object = c.m.objects().create(Kind::Event.body_size(), Arc::new(EventHost));
        dispatcher::initialize(object.pointer(), kind, 6, i32::from(state != 0));
        let status = give_handle(c, out, attributes, &object, full(access));
        object.dereference(c.m);
        status
    }

    /// Signals an event by handle.
    [PASSIVE, 0, "ntifs/nf-ntifs-zwsetevent"]
    fn ZwSetEvent(c, handle: Handle, previous: *mut i32) -> NTSTATUS {
        match event_by_handle(c, handle, EVENT_MODIFY_STATE) {
            Ok(event) => {
                let old = dispatcher::update(c.m, event.pointer(), |_| 1);
                if !previous.is_null() {
                    memory::write(previous, old);
                }
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Waits for an object by handle.
    [PASSIVE, 0, "ntifs/nf-ntifs-zwwaitforsingleobject"]
    fn ZwWaitForSingleObject(
        c, handle: Handle, _alertable: u8, timeout: *const i64,
    ) -> NTSTATUS {
        let process = c.thread.process();
        let found = by_handle(c, &process, handle);
        let (object, granted) = match found {
            Ok((object, granted, _)) => (object, granted),
            Err(status) => return status,
        };
        if granted & SYNCHRONIZE == 0 {
            return crate::status::STATUS_ACCESS_DENIED;
        }
        if !matches!(object.kind(), Kind::Event | Kind::Thread | Kind::Process) {
            return STATUS_OBJECT_TYPE_MISMATCH;
        }
        let limit = dispatcher::Limit::read(c.m, timeout);
        let objects = [object.pointer()];
        let name = c.info.name;
        match dispatcher::wait(c.m, c.thread, name, &objects, false, limit, || None) {
            Ok((_, status)) | Err(status) => status,
        }
    }
}
