//! File objects and what an open carries.

use super::{
    IO_STATUS_BLOCK, KEVENT, LIST_ENTRY, LUID, NTSTATUS, PVOID, UNICODE_STRING, Zeroed, layout,
    plain,
};

plain! {
    /// One open of a file. <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_object>
    pub struct FILE_OBJECT {
        pub kind: i16,
        pub size: i16,
        pub device_object: PVOID,
        pub vpb: PVOID,
        pub fs_context: PVOID,
        pub fs_context2: PVOID,
        pub section_object_pointer: *mut SECTION_OBJECT_POINTERS,
        pub private_cache_map: PVOID,
        pub final_status: NTSTATUS,
        pub related_file_object: *mut FILE_OBJECT,
        pub lock_operation: u8,
        pub delete_pending: u8,
        pub read_access: u8,
        pub write_access: u8,
        pub delete_access: u8,
        pub shared_read: u8,
        pub shared_write: u8,
        pub shared_delete: u8,
        pub flags: u32,
        pub file_name: UNICODE_STRING,
        pub current_byte_offset: i64,
        pub waiters: u32,
        pub busy: u32,
        pub last_lock: PVOID,
        pub lock: KEVENT,
        pub event: KEVENT,
        pub completion_context: PVOID,
        pub irp_list_lock: usize,
        pub irp_list: LIST_ENTRY,
        pub file_object_extension: PVOID,
    }

    /// The memory manager's view of a stream; shared by all file objects of it.
    pub struct SECTION_OBJECT_POINTERS {
        pub data_section_object: PVOID,
        pub shared_cache_map: PVOID,
        pub image_section_object: PVOID,
    }

    /// Who opens, and what for.
    pub struct IO_SECURITY_CONTEXT {
        pub security_qos: PVOID,
        pub access_state: *mut ACCESS_STATE,
        pub desired_access: u32,
        pub full_create_options: u32,
    }

    /// Tokens of the caller, captured at the open.
    pub struct SECURITY_SUBJECT_CONTEXT {
        pub client_token: PVOID,
        pub impersonation_level: u32,
        pub primary_token: PVOID,
        pub process_audit_id: PVOID,
    }

    /// How far an access check has come.
    pub struct ACCESS_STATE {
        pub operation_id: LUID,
        pub security_evaluated: u8,
        pub generate_audit: u8,
        pub generate_on_close: u8,
        pub privileges_allocated: u8,
        pub flags: u32,
        pub remaining_desired_access: u32,
        pub previously_granted_access: u32,
        pub original_desired_access: u32,
        pub subject_security_context: SECURITY_SUBJECT_CONTEXT,
        pub security_descriptor: PVOID,
        pub aux_data: PVOID,
        pub privileges: [u32; 11],
        pub audit_privileges: u8,
        pub object_name: UNICODE_STRING,
        pub object_type_name: UNICODE_STRING,
    }

    /// What `IoGetSiloParameters` returns.
    pub struct IO_FOEXT_SILO_PARAMETERS {
        pub length: u32,
        pub flags: u32,
        pub silo_context: PVOID,
    }

    /// An NPFS or MSFS create's parameters are not modelled; this keeps the pointer's type.
    pub struct IO_COMPLETION_CONTEXT {
        pub port: PVOID,
        pub key: PVOID,
    }

    /// A driver's own object. <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_driver_object>
    pub struct DRIVER_OBJECT {
        pub kind: i16,
        pub size: i16,
        pub device_object: PVOID,
        pub flags: u32,
        pub driver_start: PVOID,
        pub driver_size: u32,
        pub driver_section: PVOID,
        pub driver_extension: PVOID,
        pub driver_name: UNICODE_STRING,
        pub hardware_database: *mut UNICODE_STRING,
        pub fast_io_dispatch: PVOID,
        pub driver_init: PVOID,
        pub driver_start_io: PVOID,
        pub driver_unload: PVOID,
        pub major_function: [PVOID; 28],
    }
}

/// The status block of a callback is embedded, so its type is named here once more.
pub type IoStatus = IO_STATUS_BLOCK;

layout!(
    FILE_OBJECT,
    0xd8,
    device_object = 0x08,
    vpb = 0x10,
    fs_context = 0x18,
    fs_context2 = 0x20,
    section_object_pointer = 0x28,
    final_status = 0x38,
    related_file_object = 0x40,
    lock_operation = 0x48,
    read_access = 0x4a,
    shared_read = 0x4d,
    flags = 0x50,
    file_name = 0x58,
    current_byte_offset = 0x68,
    waiters = 0x70,
    last_lock = 0x78,
    lock = 0x80,
    event = 0x98,
    completion_context = 0xb0,
    irp_list = 0xc0,
    file_object_extension = 0xd0,
);
layout!(
    SECTION_OBJECT_POINTERS,
    0x18,
    shared_cache_map = 8,
    image_section_object = 0x10
);
layout!(
    IO_SECURITY_CONTEXT,
    0x18,
    access_state = 8,
    desired_access = 0x10,
    full_create_options = 0x14
);
layout!(SECURITY_SUBJECT_CONTEXT, 0x20, primary_token = 0x10);
layout!(
    ACCESS_STATE,
    0xa0,
    flags = 0x0c,
    remaining_desired_access = 0x10,
    previously_granted_access = 0x14,
    original_desired_access = 0x18,
    subject_security_context = 0x20,
    security_descriptor = 0x40,
    aux_data = 0x48,
    privileges = 0x50,
    audit_privileges = 0x7c,
    object_name = 0x80,
);
layout!(IO_FOEXT_SILO_PARAMETERS, 0x10, flags = 4, silo_context = 8);
layout!(
    DRIVER_OBJECT,
    0x150,
    device_object = 0x08,
    driver_start = 0x18,
    driver_section = 0x28,
    driver_name = 0x38,
    driver_init = 0x58,
    driver_unload = 0x68,
    major_function = 0x70,
);
