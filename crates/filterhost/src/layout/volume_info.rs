//! `FILE_FS_*_INFORMATION`: what the information classes of a volume carry.

use super::{Zeroed, layout, plain};

plain! {
    /// Class 1; the label follows.
    pub struct FILE_FS_VOLUME_INFORMATION {
        pub volume_creation_time: i64,
        pub volume_serial_number: u32,
        pub volume_label_length: u32,
        pub supports_objects: u8,
        pub volume_label: [u16; 1],
    }

    /// Class 3.
    pub struct FILE_FS_SIZE_INFORMATION {
        pub total_allocation_units: i64,
        pub available_allocation_units: i64,
        pub sectors_per_allocation_unit: u32,
        pub bytes_per_sector: u32,
    }

    /// Class 4.
    pub struct FILE_FS_DEVICE_INFORMATION {
        pub device_type: u32,
        pub characteristics: u32,
    }

    /// Class 5; the file system's name follows.
    pub struct FILE_FS_ATTRIBUTE_INFORMATION {
        pub file_system_attributes: u32,
        pub maximum_component_name_length: i32,
        pub file_system_name_length: u32,
        pub file_system_name: [u16; 1],
    }

    /// Class 7.
    pub struct FILE_FS_FULL_SIZE_INFORMATION {
        pub total_allocation_units: i64,
        pub caller_available_allocation_units: i64,
        pub actual_available_allocation_units: i64,
        pub sectors_per_allocation_unit: u32,
        pub bytes_per_sector: u32,
    }
}

layout!(
    FILE_FS_VOLUME_INFORMATION,
    0x18,
    volume_serial_number = 8,
    volume_label_length = 0xc,
    supports_objects = 0x10,
    volume_label = 0x12,
);
layout!(
    FILE_FS_SIZE_INFORMATION,
    0x18,
    sectors_per_allocation_unit = 0x10
);
layout!(FILE_FS_DEVICE_INFORMATION, 8, characteristics = 4);
layout!(
    FILE_FS_ATTRIBUTE_INFORMATION,
    0x10,
    maximum_component_name_length = 4,
    file_system_name_length = 8,
    file_system_name = 0xc,
);
layout!(
    FILE_FS_FULL_SIZE_INFORMATION,
    0x20,
    sectors_per_allocation_unit = 0x18
);
