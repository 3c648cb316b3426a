//! `FILE_*_INFORMATION`: what the information classes of a file carry.

use super::{HANDLE, Zeroed, layout, plain};

plain! {
    /// Class 4. Times are 100 ns units since 1601.
    pub struct FILE_BASIC_INFORMATION {
        pub creation_time: i64,
        pub last_access_time: i64,
        pub last_write_time: i64,
        pub change_time: i64,
        pub file_attributes: u32,
    }

    /// Class 5.
    pub struct FILE_STANDARD_INFORMATION {
        pub allocation_size: i64,
        pub end_of_file: i64,
        pub number_of_links: u32,
        pub delete_pending: u8,
        pub directory: u8,
    }

    /// Class 6: the 64-bit file id.
    pub struct FILE_INTERNAL_INFORMATION {
        pub index_number: i64,
    }

    /// Class 7.
    pub struct FILE_EA_INFORMATION {
        pub ea_size: u32,
    }

    /// Class 8.
    pub struct FILE_ACCESS_INFORMATION {
        pub access_flags: u32,
    }

    /// Class 9; the name follows.
    pub struct FILE_NAME_INFORMATION {
        pub file_name_length: u32,
        pub file_name: [u16; 1],
    }

    /// Classes 10, 11, 0x41, 0x42, 0x48: rename and link. The first word is a BOOLEAN
    /// (`ReplaceIfExists`) or flags, by class; the name follows.
    pub struct FILE_RENAME_INFORMATION {
        pub flags: u32,
        pub root_directory: HANDLE,
        pub file_name_length: u32,
        pub file_name: [u16; 1],
    }

    /// Class 13.
    pub struct FILE_DISPOSITION_INFORMATION {
        pub delete_file: u8,
    }

    /// Class 0x40.
    pub struct FILE_DISPOSITION_INFORMATION_EX {
        pub flags: u32,
    }

    /// Class 14.
    pub struct FILE_POSITION_INFORMATION {
        pub current_byte_offset: i64,
    }

    /// Class 16.
    pub struct FILE_MODE_INFORMATION {
        pub mode: u32,
    }

    /// Class 17.
    pub struct FILE_ALIGNMENT_INFORMATION {
        pub alignment_requirement: u32,
    }

    /// Class 18; the name follows.
    pub struct FILE_ALL_INFORMATION {
        pub basic: FILE_BASIC_INFORMATION,
        pub standard: FILE_STANDARD_INFORMATION,
        pub internal: FILE_INTERNAL_INFORMATION,
        pub ea: FILE_EA_INFORMATION,
        pub access: FILE_ACCESS_INFORMATION,
        pub position: FILE_POSITION_INFORMATION,
        pub mode: FILE_MODE_INFORMATION,
        pub alignment: FILE_ALIGNMENT_INFORMATION,
        pub name: FILE_NAME_INFORMATION,
    }

    /// Class 19.
    pub struct FILE_ALLOCATION_INFORMATION {
        pub allocation_size: i64,
    }

    /// Class 20.
    pub struct FILE_END_OF_FILE_INFORMATION {
        pub end_of_file: i64,
    }

    /// Class 22: a list of these, each padded to 8 bytes.
    pub struct FILE_STREAM_INFORMATION {
        pub next_entry_offset: u32,
        pub stream_name_length: u32,
        pub stream_size: i64,
        pub stream_allocation_size: i64,
        pub stream_name: [u16; 1],
    }

    /// Class 34.
    pub struct FILE_NETWORK_OPEN_INFORMATION {
        pub creation_time: i64,
        pub last_access_time: i64,
        pub last_write_time: i64,
        pub change_time: i64,
        pub allocation_size: i64,
        pub end_of_file: i64,
        pub file_attributes: u32,
    }

    /// Class 35.
    pub struct FILE_ATTRIBUTE_TAG_INFORMATION {
        pub file_attributes: u32,
        pub reparse_tag: u32,
    }

    /// Class 39.
    pub struct FILE_VALID_DATA_LENGTH_INFORMATION {
        pub valid_data_length: i64,
    }

    /// Class 0x3b: the 128-bit file id.
    pub struct FILE_ID_INFORMATION {
        pub volume_serial_number: u64,
        pub file_id: [u8; 16],
    }
}

layout!(
    FILE_BASIC_INFORMATION,
    0x28,
    last_write_time = 0x10,
    file_attributes = 0x20
);
layout!(
    FILE_STANDARD_INFORMATION,
    0x18,
    end_of_file = 8,
    number_of_links = 0x10,
    delete_pending = 0x14,
    directory = 0x15,
);
layout!(FILE_INTERNAL_INFORMATION, 8);
layout!(FILE_NAME_INFORMATION, 8, file_name = 4);
layout!(
    FILE_RENAME_INFORMATION,
    0x18,
    root_directory = 8,
    file_name_length = 0x10,
    file_name = 0x14,
);
layout!(FILE_DISPOSITION_INFORMATION, 1);
layout!(
    FILE_ALL_INFORMATION,
    0x68,
    standard = 0x28,
    internal = 0x40,
    ea = 0x48,
    access = 0x4c,
    position = 0x50,
    mode = 0x58,
    alignment = 0x5c,
    name = 0x60,
);
layout!(
    FILE_STREAM_INFORMATION,
    0x20,
    stream_size = 8,
    stream_allocation_size = 0x10,
    stream_name = 0x18,
);
layout!(
    FILE_NETWORK_OPEN_INFORMATION,
    0x38,
    end_of_file = 0x28,
    file_attributes = 0x30
);
layout!(FILE_ATTRIBUTE_TAG_INFORMATION, 8, reparse_tag = 4);
layout!(FILE_ID_INFORMATION, 0x18, file_id = 8);
