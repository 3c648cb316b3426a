//! What the Filter Manager hands to a callback.

use super::{FILE_OBJECT, FLT_PARAMETERS, IO_STATUS_BLOCK, PVOID, Zeroed, layout, plain};

plain! {
    /// One operation on its way through the stack.
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltkernel/ns-fltkernel-_flt_callback_data>
    pub struct FLT_CALLBACK_DATA {
        pub flags: u32,
        pub thread: PVOID,
        pub iopb: *mut FLT_IO_PARAMETER_BLOCK,
        pub io_status: IO_STATUS_BLOCK,
        pub tag_data: PVOID,
        pub filter_context: [PVOID; 4],
        pub requestor_mode: i8,
    }

    /// The operation's parameters; changes count only after `FltSetCallbackDataDirty`.
    pub struct FLT_IO_PARAMETER_BLOCK {
        pub irp_flags: u32,
        pub major_function: u8,
        pub minor_function: u8,
        pub operation_flags: u8,
        pub reserved: u8,
        pub target_file_object: *mut FILE_OBJECT,
        pub target_instance: PVOID,
        pub parameters: FLT_PARAMETERS,
    }

    /// The opaque objects that an operation belongs to.
    pub struct FLT_RELATED_OBJECTS {
        pub size: u16,
        pub transaction_context: u16,
        pub filter: PVOID,
        pub volume: PVOID,
        pub instance: PVOID,
        pub file_object: *mut FILE_OBJECT,
        pub transaction: PVOID,
    }

    /// A reparse point's data as `TagData` points to it.
    pub struct FLT_TAG_DATA_BUFFER {
        pub file_tag: u32,
        pub tag_data_length: u16,
        pub unparsed_name_length: u16,
        pub data: [u8; 8],
    }
}

layout!(
    FLT_CALLBACK_DATA,
    0x58,
    thread = 0x08,
    iopb = 0x10,
    io_status = 0x18,
    tag_data = 0x28,
    filter_context = 0x30,
    requestor_mode = 0x50,
);
layout!(
    FLT_IO_PARAMETER_BLOCK,
    0x48,
    major_function = 4,
    minor_function = 5,
    operation_flags = 6,
    target_file_object = 8,
    target_instance = 0x10,
    parameters = 0x18,
);
layout!(
    FLT_RELATED_OBJECTS,
    0x30,
    transaction_context = 2,
    filter = 8,
    volume = 0x10,
    instance = 0x18,
    file_object = 0x20,
    transaction = 0x28,
);
layout!(FLT_TAG_DATA_BUFFER, 0x10, tag_data_length = 4, data = 8);
