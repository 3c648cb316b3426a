//! Calls from the host into a driver's callbacks, with the checks that hold around each.
//!
//! Filter Verifier and I/O verification compare IRQL and the depth of critical and guarded
//! regions before and after each callback; so do
//! [`exports::callback`] and this file, the only place of the Filter Manager that calls driver
//! code.
#![expect(unsafe_code, reason = "calls functions that a driver registered")]

use super::instance::Instance;
use crate::exports;
use crate::irql::{self, Irql};
use crate::layout::{
    CompletedAsyncIo, ConnectNotify, ContextAllocate, ContextCleanup, ContextFree,
    DeferredIoRoutine, DisconnectNotify, EcpCleanup, EtwEnable, FLT_CALLBACK_DATA,
    FLT_IO_PARAMETER_BLOCK, FLT_RELATED_OBJECTS, FilterUnload, GUID, GenericWorkItemRoutine,
    InstanceQueryTeardown, InstanceSetup, InstanceTeardown, MessageNotify, OperationStatus,
    PS_CREATE_NOTIFY_INFO, PVOID, PostOperation, PreOperation, ProcessNotify, SectionNotification,
    TransactionNotification, Zeroed,
};
use crate::machine;
use crate::status::NtStatus;
use crate::verifier;

/// What must be the same before and after a callback.
#[derive(PartialEq, Eq, Debug)]
struct Balance {
    critical: i32,
    guarded: i32,
}

fn balance() -> Balance {
    let thread = machine::current_thread();
    Balance {
        critical: thread.critical_region(),
        guarded: thread.guarded_region(),
    }
}

/// Runs a callback and checks that it left the thread's levels as they were.
fn guarded<R>(what: &'static str, body: impl FnOnce() -> R) -> R {
    let m = machine::current();
    m.sched().yield_point(what);
    let before = balance();
    let result = exports::callback(what, body);
    machine::park_if_over();
    let after = balance();
    if before != after {
        let detail = format!("{what}: entered with {before:?}, left with {after:?}");
        verifier::violation(&verifier::region::UNBALANCED, detail);
        let thread = machine::current_thread();
        thread.add_critical_region(before.critical - after.critical);
        thread.add_guarded_region(before.guarded - after.guarded);
    }
    m.sched().yield_point(what);
    result
}

/// Runs `body` at a raised level and lowers it again.
pub(crate) fn at_level<R>(level: Irql, body: impl FnOnce() -> R) -> R {
    let thread = machine::current_thread();
    let old = thread.set_irql(level.max(thread.irql()));
    let result = body();
    thread.set_irql(old);
    result
}

/// True when the caller may wait.
pub(crate) fn may_wait() -> bool {
    irql::current() < irql::DISPATCH
}

/// The related objects of an instance.
pub(crate) fn objects(instance: &Instance) -> FLT_RELATED_OBJECTS {
    let mut objects = FLT_RELATED_OBJECTS::zeroed();
    objects.size = 0x30;
    objects.filter = instance.filter().pointer();
    objects.volume = instance.volume().pointer();
    objects.instance = instance.pointer();
    objects
}

pub(crate) fn pre(
    callback: PreOperation,
    data: *mut FLT_CALLBACK_DATA,
    objects: &FLT_RELATED_OBJECTS,
    context: &mut PVOID,
) -> u32 {
    guarded("pre-operation callback", || {
        // SAFETY: registered by the driver for this operation; all three outlive the call.
        unsafe { callback(data, objects, context) }
    })
}

pub(crate) fn post(
    callback: PostOperation,
    data: *mut FLT_CALLBACK_DATA,
    objects: &FLT_RELATED_OBJECTS,
    context: PVOID,
    flags: u32,
) -> u32 {
    guarded("post-operation callback", || {
        // SAFETY: registered by the driver for this operation; the arguments outlive the call.
        unsafe { callback(data, objects, context, flags) }
    })
}

pub(crate) fn unload(callback: FilterUnload, flags: u32) -> NtStatus {
    guarded("unload callback", || {
        // SAFETY: registered by the driver, whose image stays mapped during the call.
        unsafe { callback(flags) }
    })
}

pub(crate) fn setup(
    callback: InstanceSetup,
    objects: &FLT_RELATED_OBJECTS,
    flags: u32,
    device_type: u32,
    fs_type: u32,
) -> NtStatus {
    guarded("instance setup callback", || {
        // SAFETY: registered by the driver; the related objects outlive the call.
        unsafe { callback(objects, flags, device_type, fs_type) }
    })
}

pub(crate) fn query_teardown(
    callback: InstanceQueryTeardown,
    objects: &FLT_RELATED_OBJECTS,
    flags: u32,
) -> NtStatus {
    guarded("instance query teardown callback", || {
        // SAFETY: registered by the driver; the related objects outlive the call.
        unsafe { callback(objects, flags) }
    })
}

pub(crate) fn teardown(
    what: &'static str,
    callback: InstanceTeardown,
    objects: &FLT_RELATED_OBJECTS,
    flags: u32,
) {
    guarded(what, || {
        // SAFETY: registered by the driver; the related objects outlive the call.
        unsafe { callback(objects, flags) }
    });
}

pub(crate) fn context_cleanup(callback: ContextCleanup, context: PVOID, kind: u16) {
    guarded("context cleanup callback", || {
        // SAFETY: registered by the driver; the context is freed only after the call.
        unsafe { callback(context, kind) }
    });
}

pub(crate) fn context_allocate(
    callback: ContextAllocate,
    pool: u32,
    size: usize,
    kind: u16,
) -> PVOID {
    guarded("context allocate callback", || {
        // SAFETY: registered by the driver as its allocator for this kind of context.
        unsafe { callback(pool, size, kind) }
    })
}

pub(crate) fn context_free(callback: ContextFree, memory: PVOID, kind: u16) {
    guarded("context free callback", || {
        // SAFETY: the memory came from the driver's allocator and is freed once.
        unsafe { callback(memory, kind) }
    });
}

pub(crate) fn ecp_cleanup(callback: EcpCleanup, context: PVOID, kind: &GUID) {
    guarded("ECP cleanup callback", || {
        // SAFETY: given by the driver with the ECP; the context is freed only after the call.
        unsafe { callback(context, kind) }
    });
}

pub(crate) fn section_conflict(
    callback: SectionNotification,
    instance: PVOID,
    context: PVOID,
    data: *mut FLT_CALLBACK_DATA,
) -> NtStatus {
    guarded("section notification callback", || {
        // SAFETY: registered by the driver; context and data are referenced during the call.
        unsafe { callback(instance, context, data) }
    })
}

pub(crate) fn operation_status(
    callback: OperationStatus,
    objects: &FLT_RELATED_OBJECTS,
    block: &mut FLT_IO_PARAMETER_BLOCK,
    status: NtStatus,
    context: PVOID,
) {
    guarded("operation status callback", || {
        // SAFETY: given by the driver with its context; objects and block live during the call.
        unsafe { callback(objects, block, status, context) }
    });
}

pub(crate) fn transaction(
    callback: TransactionNotification,
    objects: &FLT_RELATED_OBJECTS,
    context: PVOID,
    notification: u32,
) -> NtStatus {
    guarded("transaction notification callback", || {
        // SAFETY: registered by the driver; the context is referenced during the call.
        unsafe { callback(objects, context, notification) }
    })
}

pub(crate) fn connect(
    callback: ConnectNotify,
    client: PVOID,
    server_cookie: PVOID,
    context: &mut [u8],
    connection_cookie: &mut PVOID,
) -> NtStatus {
    let size = u32::try_from(context.len()).unwrap_or(u32::MAX);
    let start = if size == 0 {
        core::ptr::null_mut()
    } else {
        context.as_mut_ptr().cast()
    };
    guarded("connect notify callback", || {
        // SAFETY: given by the driver with the port; the context is a copy owned by the host.
        unsafe { callback(client, server_cookie, start, size, connection_cookie) }
    })
}

pub(crate) fn disconnect(callback: DisconnectNotify, cookie: PVOID) {
    guarded("disconnect notify callback", || {
        // SAFETY: given by the driver with the port; the cookie is the one that it chose.
        unsafe { callback(cookie) }
    });
}

/// Arguments of a message callback: raw addresses of the calling process.
pub(crate) struct UserBuffers {
    pub input: PVOID,
    pub input_length: u32,
    pub output: PVOID,
    pub output_length: u32,
}

pub(crate) fn message(
    callback: MessageNotify,
    cookie: PVOID,
    buffers: &UserBuffers,
    returned: &mut u32,
) -> NtStatus {
    let UserBuffers {
        input,
        input_length,
        output,
        output_length,
    } = *buffers;
    guarded("message notify callback", || {
        // SAFETY: given by the driver with the port; what it does with user addresses is its own.
        unsafe { callback(cookie, input, input_length, output, output_length, returned) }
    })
}

/// The tracer's sessions have changed: a provider is told.
pub(crate) fn etw_enable(
    callback: EtwEnable,
    (code, level, keywords): (u32, u8, u64),
    context: PVOID,
) {
    let session = GUID::zeroed();
    let filter = core::ptr::null_mut();
    guarded("ETW enable callback", || {
        // SAFETY: registered by the driver with this context; the session's id outlives the call.
        unsafe {
            callback(
                &raw const session,
                code,
                level,
                keywords,
                0,
                filter,
                context,
            )
        }
    });
}

/// A process starts, or ends where `info` is null.
pub(crate) fn process_notify(
    callback: ProcessNotify,
    process: usize,
    id: u32,
    info: *mut PS_CREATE_NOTIFY_INFO,
) {
    let process = std::ptr::with_exposed_provenance_mut(process);
    guarded("process-notify routine", || {
        // SAFETY: registered by the driver; the process lives, the information outlives the call.
        unsafe { callback(process, id as usize, info) }
    });
}

pub(crate) fn work_item(callback: GenericWorkItemRoutine, item: PVOID, object: PVOID, ctx: PVOID) {
    guarded("work item routine", || {
        // SAFETY: queued by the driver with these very arguments.
        unsafe { callback(item, object, ctx) }
    });
}

pub(crate) fn deferred_io(
    callback: DeferredIoRoutine,
    item: PVOID,
    data: *mut FLT_CALLBACK_DATA,
    context: PVOID,
) {
    guarded("deferred I/O routine", || {
        // SAFETY: queued by the driver with these very arguments; the operation is pended.
        unsafe { callback(item, data, context) }
    });
}

pub(crate) fn completed_io(
    callback: CompletedAsyncIo,
    data: *mut FLT_CALLBACK_DATA,
    context: PVOID,
) {
    guarded("completion callback", || {
        // SAFETY: given by the driver with its I/O; the data lives until the call returns.
        unsafe { callback(data, context) }
    });
}
