//! What process-notify routines are told.

use super::{FILE_OBJECT, PVOID, UNICODE_STRING, Zeroed, layout, plain};

plain! {
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_ps_create_notify_info>
    pub struct PS_CREATE_NOTIFY_INFO {
        pub size: usize,
        pub flags: u32,
        pub parent_process_id: usize,
        pub creating_process: usize,
        pub creating_thread: usize,
        pub file_object: *mut FILE_OBJECT,
        pub image_file_name: *const UNICODE_STRING,
        pub command_line: *const UNICODE_STRING,
        pub creation_status: i32,
    }
}

layout!(
    PS_CREATE_NOTIFY_INFO,
    0x48,
    flags = 8,
    parent_process_id = 0x10,
    creating_process = 0x18,
    creating_thread = 0x20,
    file_object = 0x28,
    image_file_name = 0x30,
    command_line = 0x38,
    creation_status = 0x40,
);

/// (process, its id, what is known of its start; null at its end).
pub type ProcessNotify = unsafe extern "win64" fn(PVOID, usize, *mut PS_CREATE_NOTIFY_INFO);
