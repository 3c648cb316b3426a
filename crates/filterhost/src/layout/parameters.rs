//! `FLT_PARAMETERS`: the per-operation union inside a callback's parameter block.
//!
//! Most members are aligned to pointers (`POINTER_ALIGNMENT` in the header). The `_n` fields are
//! that padding, spelled out so that every byte is accounted for.

use super::{FILE_OBJECT, IO_SECURITY_CONTEXT, MDL, PVOID, UNICODE_STRING, Zeroed, layout, plain};

plain! {
    /// `IRP_MJ_CREATE`: the low 24 bits of `options` are create options, the high 8 disposition.
    pub struct FltCreate {
        pub security_context: *mut IO_SECURITY_CONTEXT,
        pub options: u32,
        pub _0: u32,
        pub file_attributes: u16,
        pub share_access: u16,
        pub _1: u32,
        pub ea_length: u32,
        pub _2: u32,
        pub ea_buffer: PVOID,
        pub allocation_size: i64,
    }

    /// `IRP_MJ_READ` and `IRP_MJ_WRITE`.
    pub struct FltReadWrite {
        pub length: u32,
        pub _0: u32,
        pub key: u32,
        pub _1: u32,
        pub byte_offset: i64,
        pub buffer: PVOID,
        pub mdl_address: *mut MDL,
    }

    /// `IRP_MJ_QUERY_INFORMATION` and `IRP_MJ_QUERY_VOLUME_INFORMATION`, and setting the latter.
    pub struct FltQueryInfo {
        pub length: u32,
        pub _0: u32,
        pub class: i32,
        pub _1: u32,
        pub buffer: PVOID,
    }

    /// `IRP_MJ_SET_INFORMATION`.
    pub struct FltSetInfo {
        pub length: u32,
        pub _0: u32,
        pub class: i32,
        pub _1: u32,
        pub parent_of_target: *mut FILE_OBJECT,
        pub replace_if_exists: u8,
        pub advance_only: u8,
        pub _2: [u8; 6],
        pub info_buffer: PVOID,
    }

    /// `IRP_MJ_DIRECTORY_CONTROL`, minor query.
    pub struct FltQueryDirectory {
        pub length: u32,
        pub _0: u32,
        pub file_name: *mut UNICODE_STRING,
        pub class: i32,
        pub _1: u32,
        pub file_index: u32,
        pub _2: u32,
        pub directory_buffer: PVOID,
        pub mdl_address: *mut MDL,
    }

    /// `IRP_MJ_FILE_SYSTEM_CONTROL` and `IRP_MJ_DEVICE_CONTROL` in any transfer method.
    pub struct FltFsControl {
        pub output_buffer_length: u32,
        pub _0: u32,
        pub input_buffer_length: u32,
        pub _1: u32,
        pub code: u32,
        pub _2: u32,
        pub input_buffer: PVOID,
        pub output_buffer: PVOID,
        pub output_mdl: *mut MDL,
    }

    /// `IRP_MJ_LOCK_CONTROL`.
    pub struct FltLockControl {
        pub length: *mut i64,
        pub key: u32,
        pub _0: u32,
        pub byte_offset: i64,
        pub process_id: PVOID,
        pub fail_immediately: u8,
        pub exclusive_lock: u8,
        pub _1: [u8; 6],
    }

    /// `IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION`; nothing here is pointer-aligned.
    pub struct FltAcquireForSection {
        pub sync_type: i32,
        pub page_protection: u32,
        pub output_information: PVOID,
    }

    /// `IRP_MJ_ACQUIRE_FOR_MOD_WRITE`.
    pub struct FltAcquireForModWrite {
        pub ending_offset: *mut i64,
        pub resource_to_release: PVOID,
    }

    /// `IRP_MJ_NETWORK_QUERY_OPEN`.
    pub struct FltNetworkQueryOpen {
        pub irp: PVOID,
        pub network_information: PVOID,
    }

    /// `IRP_MJ_MDL_READ` and `IRP_MJ_PREPARE_MDL_WRITE`.
    pub struct FltMdl {
        pub file_offset: i64,
        pub length: u32,
        pub _0: u32,
        pub key: u32,
        pub _1: u32,
        pub mdl_chain: *mut *mut MDL,
    }

    /// `IRP_MJ_MDL_WRITE_COMPLETE`.
    pub struct FltMdlWriteComplete {
        pub file_offset: i64,
        pub mdl_chain: *mut MDL,
    }

    /// `IRP_MJ_QUERY_SECURITY`.
    pub struct FltQuerySecurity {
        pub security_information: u32,
        pub _0: u32,
        pub length: u32,
        pub _1: u32,
        pub security_buffer: PVOID,
        pub mdl_address: *mut MDL,
    }

    /// `IRP_MJ_SET_SECURITY`.
    pub struct FltSetSecurity {
        pub security_information: u32,
        pub _0: u32,
        pub security_descriptor: PVOID,
    }

    /// `IRP_MJ_VOLUME_MOUNT`.
    pub struct FltMountVolume {
        pub device_type: u32,
    }

    /// Operations without a member of their own.
    pub struct FltOthers {
        pub argument: [PVOID; 5],
        pub argument6: i64,
    }
}

/// The union itself; `major_function` of the parameter block says which member is alive.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "each member's type is documented")]
pub union FLT_PARAMETERS {
    pub create: FltCreate,
    pub rw: FltReadWrite,
    pub query_info: FltQueryInfo,
    pub set_info: FltSetInfo,
    pub query_directory: FltQueryDirectory,
    pub fs_control: FltFsControl,
    pub lock_control: FltLockControl,
    pub acquire_for_section: FltAcquireForSection,
    pub acquire_for_mod_write: FltAcquireForModWrite,
    pub network_query_open: FltNetworkQueryOpen,
    pub mdl: FltMdl,
    pub mdl_write_complete: FltMdlWriteComplete,
    pub query_security: FltQuerySecurity,
    pub set_security: FltSetSecurity,
    pub mount_volume: FltMountVolume,
    pub others: FltOthers,
    pub words: [u64; 6],
}

impl Zeroed for FLT_PARAMETERS {}

layout!(
    FltCreate,
    0x30,
    options = 8,
    file_attributes = 0x10,
    share_access = 0x12,
    ea_length = 0x18,
    ea_buffer = 0x20,
    allocation_size = 0x28,
);
layout!(
    FltReadWrite,
    0x28,
    key = 8,
    byte_offset = 0x10,
    buffer = 0x18,
    mdl_address = 0x20
);
layout!(FltQueryInfo, 0x18, class = 8, buffer = 0x10);
layout!(
    FltSetInfo,
    0x28,
    class = 8,
    parent_of_target = 0x10,
    replace_if_exists = 0x18,
    advance_only = 0x19,
    info_buffer = 0x20,
);
layout!(
    FltQueryDirectory,
    0x30,
    file_name = 8,
    class = 0x10,
    directory_buffer = 0x20
);
layout!(
    FltFsControl,
    0x30,
    input_buffer_length = 8,
    code = 0x10,
    input_buffer = 0x18,
    output_buffer = 0x20,
    output_mdl = 0x28,
);
layout!(
    FltLockControl,
    0x28,
    key = 8,
    byte_offset = 0x10,
    process_id = 0x18
);
layout!(
    FltAcquireForSection,
    0x10,
    page_protection = 4,
    output_information = 8
);
layout!(FltMdl, 0x20, length = 8, key = 0x10, mdl_chain = 0x18);
layout!(FltQuerySecurity, 0x20, length = 8, security_buffer = 0x10);
layout!(FltOthers, 0x30, argument6 = 0x28);
const _: () = assert!(core::mem::size_of::<FLT_PARAMETERS>() == 0x30);
const _: () = assert!(core::mem::align_of::<FLT_PARAMETERS>() == 8);
