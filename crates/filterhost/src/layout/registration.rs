//! What a minifilter registers, and the shapes of its callbacks.

use super::GUID;
use super::{
    FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, FLT_RELATED_OBJECTS, PVOID, UNICODE_STRING, Zeroed,
    layout, plain,
};
use crate::status::NtStatus;

/// Called before an operation goes down; returns an `FLT_PREOP_*` value.
pub type PreOperation =
    unsafe extern "win64" fn(*mut FLT_CALLBACK_DATA, *const FLT_RELATED_OBJECTS, *mut PVOID) -> u32;

/// Called when an operation comes back; returns an `FLT_POSTOP_*` value.
pub type PostOperation =
    unsafe extern "win64" fn(*mut FLT_CALLBACK_DATA, *const FLT_RELATED_OBJECTS, PVOID, u32) -> u32;

/// Asks the filter to unload; the argument is `FLTFL_FILTER_UNLOAD_MANDATORY` or 0.
pub type FilterUnload = unsafe extern "win64" fn(u32) -> NtStatus;

/// (objects, flags, device type, file system type): attach to this volume?
pub type InstanceSetup =
    unsafe extern "win64" fn(*const FLT_RELATED_OBJECTS, u32, u32, u32) -> NtStatus;

/// May this instance be detached by hand?
pub type InstanceQueryTeardown =
    unsafe extern "win64" fn(*const FLT_RELATED_OBJECTS, u32) -> NtStatus;

/// Teardown begins or is complete; the flags give the reason.
pub type InstanceTeardown = unsafe extern "win64" fn(*const FLT_RELATED_OBJECTS, u32);

/// A context is about to be freed.
pub type ContextCleanup = unsafe extern "win64" fn(PVOID, u16);

/// The filter's own allocator for a context type: (pool type, size, context type).
pub type ContextAllocate = unsafe extern "win64" fn(u32, usize, u16) -> PVOID;

/// The filter's own deallocator for a context type.
pub type ContextFree = unsafe extern "win64" fn(PVOID, u16);

/// A section under scan conflicts with somebody's operation.
pub type SectionNotification =
    unsafe extern "win64" fn(PVOID, PVOID, *mut FLT_CALLBACK_DATA) -> NtStatus;

/// (related objects, the operation as it was, its status, context).
pub type OperationStatus = unsafe extern "win64" fn(
    *const FLT_RELATED_OBJECTS,
    *mut FLT_IO_PARAMETER_BLOCK,
    NtStatus,
    PVOID,
);

/// A transaction that the filter enlisted in changed its state.
pub type TransactionNotification =
    unsafe extern "win64" fn(*const FLT_RELATED_OBJECTS, PVOID, u32) -> NtStatus;

/// (session, control code, level, any keyword, all keywords, filter data, context).
pub type EtwEnable = unsafe extern "win64" fn(*const GUID, u32, u8, u64, u64, PVOID, PVOID);

/// (client port, server cookie, context, its size, connection cookie out).
pub type ConnectNotify = unsafe extern "win64" fn(PVOID, PVOID, PVOID, u32, *mut PVOID) -> NtStatus;

/// (connection cookie).
pub type DisconnectNotify = unsafe extern "win64" fn(PVOID);

/// (connection cookie, input, its length, output, its length, returned length).
pub type MessageNotify =
    unsafe extern "win64" fn(PVOID, PVOID, u32, PVOID, u32, *mut u32) -> NtStatus;

/// (work item, filter object, context).
pub type GenericWorkItemRoutine = unsafe extern "win64" fn(PVOID, PVOID, PVOID);

/// (work item, callback data, context).
pub type DeferredIoRoutine = unsafe extern "win64" fn(PVOID, *mut FLT_CALLBACK_DATA, PVOID);

/// (ECP context, its type).
pub type EcpCleanup = unsafe extern "win64" fn(PVOID, *const super::GUID);

/// A self-issued read or write is done: (callback data, context).
pub type CompletedAsyncIo = unsafe extern "win64" fn(*mut FLT_CALLBACK_DATA, PVOID);

plain! {
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltkernel/ns-fltkernel-_flt_registration>
    pub struct FLT_REGISTRATION {
        pub size: u16,
        pub version: u16,
        pub flags: u32,
        pub context_registration: *const FLT_CONTEXT_REGISTRATION,
        pub operation_registration: *const FLT_OPERATION_REGISTRATION,
        pub filter_unload: Option<FilterUnload>,
        pub instance_setup: Option<InstanceSetup>,
        pub instance_query_teardown: Option<InstanceQueryTeardown>,
        pub instance_teardown_start: Option<InstanceTeardown>,
        pub instance_teardown_complete: Option<InstanceTeardown>,
        pub generate_file_name: PVOID,
        pub normalize_name_component: PVOID,
        pub normalize_context_cleanup: PVOID,
        pub transaction_notification: Option<TransactionNotification>,
        pub normalize_name_component_ex: PVOID,
        pub section_notification: Option<SectionNotification>,
    }

    /// One operation that the filter wants to see.
    pub struct FLT_OPERATION_REGISTRATION {
        pub major_function: u8,
        pub flags: u32,
        pub pre_operation: Option<PreOperation>,
        pub post_operation: Option<PostOperation>,
        pub reserved1: PVOID,
    }

    /// One kind of context that the filter allocates.
    pub struct FLT_CONTEXT_REGISTRATION {
        pub context_type: u16,
        pub flags: u16,
        pub cleanup: Option<ContextCleanup>,
        pub size: usize,
        pub pool_tag: u32,
        pub allocate: Option<ContextAllocate>,
        pub free: Option<ContextFree>,
        pub reserved1: PVOID,
    }

    /// What `FltGetVolumeProperties` fills; the strings follow in the same buffer.
    pub struct FLT_VOLUME_PROPERTIES {
        pub device_type: u32,
        pub device_characteristics: u32,
        pub device_object_flags: u32,
        pub alignment_requirement: u32,
        pub sector_size: u16,
        pub reserved0: u16,
        pub file_system_driver_name: UNICODE_STRING,
        pub file_system_device_name: UNICODE_STRING,
        pub real_device_name: UNICODE_STRING,
    }
}

layout!(
    FLT_REGISTRATION,
    0x70,
    version = 2,
    flags = 4,
    context_registration = 8,
    operation_registration = 0x10,
    filter_unload = 0x18,
    instance_setup = 0x20,
    instance_query_teardown = 0x28,
    instance_teardown_start = 0x30,
    instance_teardown_complete = 0x38,
    generate_file_name = 0x40,
    transaction_notification = 0x58,
    normalize_name_component_ex = 0x60,
    section_notification = 0x68,
);
layout!(
    FLT_OPERATION_REGISTRATION,
    0x20,
    flags = 4,
    pre_operation = 8,
    post_operation = 0x10,
    reserved1 = 0x18,
);
layout!(
    FLT_CONTEXT_REGISTRATION,
    0x38,
    flags = 2,
    cleanup = 8,
    size = 0x10,
    pool_tag = 0x18,
    allocate = 0x20,
    free = 0x28,
    reserved1 = 0x30,
);
layout!(
    FLT_VOLUME_PROPERTIES,
    0x48,
    device_characteristics = 4,
    device_object_flags = 8,
    alignment_requirement = 0xc,
    sector_size = 0x10,
    file_system_driver_name = 0x18,
    file_system_device_name = 0x28,
    real_device_name = 0x38,
);
