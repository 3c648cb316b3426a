//! Names as the Filter Manager hands them out.

use super::{UNICODE_STRING, Zeroed, layout, plain};

plain! {
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltkernel/ns-fltkernel-_flt_file_name_information>
    pub struct FLT_FILE_NAME_INFORMATION {
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
}

layout!(
    FLT_FILE_NAME_INFORMATION,
    0x78,
    names_parsed = 2,
    format = 4,
    name = 8,
    volume = 0x18,
    share = 0x28,
    extension = 0x38,
    stream = 0x48,
    final_component = 0x58,
    parent_dir = 0x68,
);
