//! What `wdk-sys` does not declare: the Filter Manager, and the few kernel names that the stand-in
//! headers lack. Written by hand from the documentation; every offset that the driver reads or
//! writes is asserted. This file holds declarations only: no logic, no safety promises.
//!
//! Callers: `registration.rs`, `context.rs`, `ecp.rs`, `port.rs`, `kernel/`. Nobody else.
use core::ffi::c_void;
use core::mem::offset_of;

pub use wdk_sys::{
    DRIVER_OBJECT, FILE_OBJECT, HANDLE, KEVENT, NTSTATUS, OBJECT_ATTRIBUTES, PCUNICODE_STRING,
    PEPROCESS, PETHREAD, UNICODE_STRING,
};

/// An untyped pointer of the kernel.
pub type P = *mut c_void;
pub type FltFilter = *mut c_void;
pub type FltVolume = *mut c_void;
pub type FltInstance = *mut c_void;
pub type FltPort = *mut c_void;
pub type FltContext = *mut c_void;
pub type EcpList = *mut c_void;

/// A GUID as Windows lays it out.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guid {
    pub data1: u32,
    pub data2: u16,
    pub data3: u16,
    pub data4: [u8; 8],
}

impl Guid {
    /// The sixteen bytes as they lie in memory.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        let [a0, a1, a2, a3] = self.data1.to_le_bytes();
        let [b0, b1] = self.data2.to_le_bytes();
        let [c0, c1] = self.data3.to_le_bytes();
        let [d0, d1, d2, d3, d4, d5, d6, d7] = self.data4;
        [
            a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7,
        ]
    }
}

// ---- operations --------------------------------------------------------------------------------

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ParamsCreate {
    pub security_context: *mut IoSecurityContext,
    pub options: u32,
    pad0: u32,
    pub file_attributes: u16,
    pub share_access: u16,
    pad1: u32,
    pub ea_length: u32,
    pad2: u32,
    pub ea_buffer: P,
    pub allocation_size: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ParamsWrite {
    pub length: u32,
    pad0: u32,
    pub key: u32,
    pad1: u32,
    pub byte_offset: i64,
    pub buffer: P,
    pub mdl: P,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ParamsSetInformation {
    pub length: u32,
    pad0: u32,
    pub class: i32,
    pad1: u32,
    pub parent_of_target: P,
    pub replace_if_exists: u8,
    pub advance_only: u8,
    pad2: [u8; 6],
    pub info_buffer: P,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ParamsFsControl {
    pub output_length: u32,
    pad0: u32,
    pub input_length: u32,
    pad1: u32,
    pub code: u32,
    pad2: u32,
    pub input: P,
    pub output: P,
    pub output_mdl: P,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ParamsAcquireSection {
    pub sync_type: i32,
    pub page_protection: u32,
    pub output: P,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union FltParameters {
    pub create: ParamsCreate,
    pub write: ParamsWrite,
    pub set_information: ParamsSetInformation,
    pub fs_control: ParamsFsControl,
    pub acquire_section: ParamsAcquireSection,
    size: [u64; 6],
}

#[repr(C)]
pub struct FltIoParameterBlock {
    pub irp_flags: u32,
    pub major: u8,
    pub minor: u8,
    pub operation_flags: u8,
    reserved: u8,
    pub target_file_object: *mut FILE_OBJECT,
    pub target_instance: FltInstance,
    pub parameters: FltParameters,
}

#[repr(C)]
pub struct FltCallbackData {
    pub flags: u32,
    pub thread: PETHREAD,
    pub iopb: *mut FltIoParameterBlock,
    pub status: NTSTATUS,
    pad0: u32,
    pub information: usize,
    pub tag_data: P,
    pub filter_context: [P; 4],
    pub requestor_mode: i8,
}

#[repr(C)]
pub struct FltRelatedObjects {
    pub size: u16,
    pub transaction_context: u16,
    pub filter: FltFilter,
    pub volume: FltVolume,
    pub instance: FltInstance,
    pub file_object: *mut FILE_OBJECT,
    pub transaction: P,
}

#[repr(C)]
pub struct IoSecurityContext {
    pub security_qos: P,
    pub access_state: P,
    pub desired_access: u32,
    pub full_create_options: u32,
}

const _: () = assert!(size_of::<FltParameters>() == 0x30);
const _: () = assert!(offset_of!(ParamsCreate, options) == 0x08);
const _: () = assert!(offset_of!(ParamsCreate, file_attributes) == 0x10);
const _: () = assert!(offset_of!(ParamsCreate, share_access) == 0x12);
const _: () = assert!(offset_of!(ParamsCreate, ea_length) == 0x18);
const _: () = assert!(offset_of!(ParamsCreate, ea_buffer) == 0x20);
const _: () = assert!(offset_of!(ParamsCreate, allocation_size) == 0x28);
const _: () = assert!(offset_of!(ParamsWrite, key) == 0x08);
const _: () = assert!(offset_of!(ParamsWrite, byte_offset) == 0x10);
const _: () = assert!(offset_of!(ParamsWrite, buffer) == 0x18);
const _: () = assert!(offset_of!(ParamsWrite, mdl) == 0x20);
const _: () = assert!(offset_of!(ParamsSetInformation, class) == 0x08);
const _: () = assert!(offset_of!(ParamsSetInformation, parent_of_target) == 0x10);
const _: () = assert!(offset_of!(ParamsSetInformation, replace_if_exists) == 0x18);
const _: () = assert!(offset_of!(ParamsSetInformation, advance_only) == 0x19);
const _: () = assert!(offset_of!(ParamsSetInformation, info_buffer) == 0x20);
const _: () = assert!(offset_of!(ParamsFsControl, input_length) == 0x08);
const _: () = assert!(offset_of!(ParamsFsControl, code) == 0x10);
const _: () = assert!(offset_of!(ParamsFsControl, input) == 0x18);
const _: () = assert!(offset_of!(ParamsFsControl, output) == 0x20);
const _: () = assert!(offset_of!(ParamsAcquireSection, page_protection) == 0x04);
const _: () = assert!(offset_of!(FltIoParameterBlock, operation_flags) == 0x06);
const _: () = assert!(offset_of!(FltIoParameterBlock, target_file_object) == 0x08);
const _: () = assert!(offset_of!(FltIoParameterBlock, target_instance) == 0x10);
const _: () = assert!(offset_of!(FltIoParameterBlock, parameters) == 0x18);
const _: () = assert!(size_of::<FltIoParameterBlock>() == 0x48);
const _: () = assert!(offset_of!(FltCallbackData, thread) == 0x08);
const _: () = assert!(offset_of!(FltCallbackData, iopb) == 0x10);
const _: () = assert!(offset_of!(FltCallbackData, status) == 0x18);
const _: () = assert!(offset_of!(FltCallbackData, information) == 0x20);
const _: () = assert!(offset_of!(FltCallbackData, requestor_mode) == 0x50);
const _: () = assert!(size_of::<FltCallbackData>() == 0x58);
const _: () = assert!(offset_of!(FltRelatedObjects, filter) == 0x08);
const _: () = assert!(offset_of!(FltRelatedObjects, volume) == 0x10);
const _: () = assert!(offset_of!(FltRelatedObjects, instance) == 0x18);
const _: () = assert!(offset_of!(FltRelatedObjects, file_object) == 0x20);
const _: () = assert!(offset_of!(FltRelatedObjects, transaction) == 0x28);
const _: () = assert!(offset_of!(IoSecurityContext, desired_access) == 0x10);
const _: () = assert!(offset_of!(FILE_OBJECT, RelatedFileObject) == 0x40);
const _: () = assert!(offset_of!(FILE_OBJECT, SectionObjectPointer) == 0x28);
const _: () = assert!(offset_of!(FILE_OBJECT, DeletePending) == 0x49);
const _: () = assert!(offset_of!(FILE_OBJECT, Flags) == 0x50);
const _: () = assert!(offset_of!(FILE_OBJECT, FileName) == 0x58);
const _: () = assert!(size_of::<KEVENT>() == 0x18);

// ---- registration ------------------------------------------------------------------------------

pub type PreOperation =
    unsafe extern "system" fn(*mut FltCallbackData, *const FltRelatedObjects, *mut P) -> i32;
pub type PostOperation =
    unsafe extern "system" fn(*mut FltCallbackData, *const FltRelatedObjects, P, u32) -> i32;
pub type InstanceSetup = unsafe extern "system" fn(*const FltRelatedObjects, u32, u32, u32) -> i32;
pub type InstanceQueryTeardown = unsafe extern "system" fn(*const FltRelatedObjects, u32) -> i32;
pub type InstanceTeardown = unsafe extern "system" fn(*const FltRelatedObjects, u32);
pub type SectionConflict =
    unsafe extern "system" fn(FltInstance, FltContext, *mut FltCallbackData) -> NTSTATUS;
pub type TransactionNotification =
    unsafe extern "system" fn(*const FltRelatedObjects, FltContext, u32) -> NTSTATUS;
pub type ContextCleanup = unsafe extern "system" fn(FltContext, u16);
pub type FilterUnload = unsafe extern "system" fn(u32) -> NTSTATUS;
pub type ConnectNotify = unsafe extern "system" fn(FltPort, P, P, u32, *mut P) -> NTSTATUS;
pub type DisconnectNotify = unsafe extern "system" fn(P);

#[repr(C)]
pub struct FltOperationRegistration {
    pub major: u8,
    pub flags: u32,
    pub pre: Option<PreOperation>,
    pub post: Option<PostOperation>,
    pub reserved: P,
}

#[repr(C)]
pub struct FltContextRegistration {
    pub context_type: u16,
    pub flags: u16,
    pub cleanup: Option<ContextCleanup>,
    pub size: usize,
    pub pool_tag: u32,
    pub allocate: P,
    pub free: P,
    pub reserved: P,
}

#[repr(C)]
pub struct FltRegistration {
    pub size: u16,
    pub version: u16,
    pub flags: u32,
    pub contexts: *const FltContextRegistration,
    pub operations: *const FltOperationRegistration,
    pub unload: Option<FilterUnload>,
    pub instance_setup: Option<InstanceSetup>,
    pub instance_query_teardown: Option<InstanceQueryTeardown>,
    pub instance_teardown_start: Option<InstanceTeardown>,
    pub instance_teardown_complete: Option<InstanceTeardown>,
    pub generate_file_name: P,
    pub normalize_name_component: P,
    pub normalize_context_cleanup: P,
    pub transaction_notification: Option<TransactionNotification>,
    pub normalize_name_component_ex: P,
    pub section_notification: Option<SectionConflict>,
}

// SAFETY: tables are never written; the Filter Manager only reads them.
unsafe impl Sync for FltOperationRegistration {}
// SAFETY: tables are never written; the Filter Manager only reads them.
unsafe impl Sync for FltContextRegistration {}
// SAFETY: the registration is never written; the Filter Manager only reads it.
unsafe impl Sync for FltRegistration {}

const _: () = assert!(size_of::<FltOperationRegistration>() == 0x20);
const _: () = assert!(offset_of!(FltOperationRegistration, pre) == 0x08);
const _: () = assert!(size_of::<FltContextRegistration>() == 0x38);
const _: () = assert!(offset_of!(FltContextRegistration, size) == 0x10);
const _: () = assert!(offset_of!(FltContextRegistration, pool_tag) == 0x18);
const _: () = assert!(size_of::<FltRegistration>() == 0x70);
const _: () = assert!(offset_of!(FltRegistration, contexts) == 0x08);
const _: () = assert!(offset_of!(FltRegistration, unload) == 0x18);
const _: () = assert!(offset_of!(FltRegistration, instance_setup) == 0x20);
const _: () = assert!(offset_of!(FltRegistration, transaction_notification) == 0x58);
const _: () = assert!(offset_of!(FltRegistration, section_notification) == 0x68);

// ---- data --------------------------------------------------------------------------------------

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FileIdInformation {
    pub volume_serial: u64,
    pub file_id: [u8; 16],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FileFsAttributeInformation {
    pub attributes: u32,
    pub max_component: i32,
    pub name_length: u32,
    pub name: [u16; 16],
}

impl FileFsAttributeInformation {
    pub const EMPTY: Self = Self {
        attributes: 0,
        max_component: 0,
        name_length: 0,
        name: [0; 16],
    };
}

/// The answer of the filter that redirects a container's open.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CreateRedirectionEcp {
    pub size: u16,
    pub flags: u16,
    pub file_id: [u8; 16],
    pub volume_guid: Guid,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FltFileNameInformation {
    pub size: u16,
    pub names_parsed: u16,
    pub format: u32,
    pub name: UNICODE_STRING,
    pub volume: UNICODE_STRING,
    pub share: UNICODE_STRING,
    pub extension: UNICODE_STRING,
    pub stream: UNICODE_STRING,
    pub final_component: UNICODE_STRING,
    pub parent_dir: UNICODE_STRING,
}

#[repr(C)]
pub struct KeyValuePartialDword {
    pub title_index: u32,
    pub kind: u32,
    pub data_length: u32,
    pub data: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct EventDescriptor {
    pub id: u16,
    pub version: u8,
    pub channel: u8,
    pub level: u8,
    pub opcode: u8,
    pub task: u16,
    pub keyword: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct EventDataDescriptor {
    pub ptr: u64,
    pub size: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct OsVersionInfo {
    pub size: u32,
    pub major: u32,
    pub minor: u32,
    pub build: u32,
    pub platform: u32,
    pub service_pack: [u16; 128],
}

#[repr(C)]
pub struct IoStatusBlock {
    pub status: NTSTATUS,
    pad0: u32,
    pub information: usize,
}

impl IoStatusBlock {
    pub const EMPTY: Self = Self {
        status: 0,
        pad0: 0,
        information: 0,
    };
}

const _: () = assert!(size_of::<FileIdInformation>() == 0x18);
const _: () = assert!(size_of::<CreateRedirectionEcp>() == 0x24);
const _: () = assert!(offset_of!(CreateRedirectionEcp, file_id) == 0x04);
const _: () = assert!(offset_of!(CreateRedirectionEcp, volume_guid) == 0x14);
const _: () = assert!(align_of::<CreateRedirectionEcp>() == 4);
const _: () = assert!(size_of::<FltFileNameInformation>() == 0x78);
const _: () = assert!(offset_of!(FltFileNameInformation, stream) == 0x48);
const _: () = assert!(offset_of!(FileFsAttributeInformation, name) == 0x0c);
const _: () = assert!(size_of::<EventDescriptor>() == 0x10);
const _: () = assert!(size_of::<EventDataDescriptor>() == 0x10);
const _: () = assert!(size_of::<OsVersionInfo>() == 0x114);
const _: () = assert!(size_of::<IoStatusBlock>() == 0x10);

#[path = "sys/constants.rs"]
pub mod constants;
mod functions;
#[path = "sys/stack.rs"]
pub mod stack;

pub use functions::*;

#[repr(C)]
pub struct IoFoextSiloParameters {
    pub length: u32,
    pub flags: u32,
    pub silo: P,
}

const _: () = assert!(offset_of!(IoFoextSiloParameters, silo) == 0x08);
const _: () = assert!(size_of::<IoFoextSiloParameters>() == 0x10);
