//! Extra create parameters whose layout Windows documents, and the ids of others.

use super::{GUID, PVOID, Zeroed, layout, plain};

plain! {
    /// Where the file behind a redirected open comes from. Aligned to 4 only.
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_create_redirection_ecp_context>
    pub struct CREATE_REDIRECTION_ECP_CONTEXT {
        pub size: u16,
        pub flags: u16,
        pub file_id: [u8; 16],
        pub volume_guid: GUID,
    }

    /// What a driver says beyond the arguments of an open, as Windows 7 has it; the silo that
    /// newer systems take after it is the thread's own here.
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_io_driver_create_context>
    pub struct IO_DRIVER_CREATE_CONTEXT {
        pub size: i16,
        pub _0: [u8; 6],
        pub extra_create_parameter: PVOID,
        pub device_object_hint: PVOID,
        pub txn_parameters: PVOID,
    }

    /// The prefetcher's open.
    pub struct PREFETCH_OPEN_ECP_CONTEXT {
        pub context: PVOID,
    }
}

layout!(
    CREATE_REDIRECTION_ECP_CONTEXT,
    0x24,
    flags = 2,
    file_id = 4,
    volume_guid = 0x14
);
layout!(
    IO_DRIVER_CREATE_CONTEXT,
    0x20,
    extra_create_parameter = 8,
    device_object_hint = 0x10,
    txn_parameters = 0x18,
);
const _: () = assert!(core::mem::align_of::<CREATE_REDIRECTION_ECP_CONTEXT>() == 4);

/// Type of [`CREATE_REDIRECTION_ECP_CONTEXT`].
pub const GUID_ECP_CREATE_REDIRECTION: GUID =
    GUID::from_u128(0x188d6bd6_a126_4fa8_bdf2_1ccdf896f3e0);
/// Type of the prefetcher's ECP.
pub const GUID_ECP_PREFETCH_OPEN: GUID = GUID::from_u128(0xe1777b21_847e_4837_aa45_64161d280655);
/// Type of the ECP on opens below a cluster shared volume.
pub const GUID_ECP_CSV_DOWN_LEVEL_OPEN: GUID =
    GUID::from_u128(0x4248be44_647f_488f_8be5_a08aaf70f028);
/// Type of the file server's ECP.
pub const GUID_ECP_SRV_OPEN: GUID = GUID::from_u128(0xbebfaebc_aabf_489d_9d2c_e9e361102853);

/// The bytes come from a layer.
pub const CREATE_REDIRECTION_FLAGS_SERVICED_FROM_LAYER: u16 = 0x01;
/// The bytes come from the container's own writable volume.
pub const CREATE_REDIRECTION_FLAGS_SERVICED_FROM_SCRATCH: u16 = 0x02;
/// The layer is one of those that an antivirus scans when it is laid down.
pub const CREATE_REDIRECTION_FLAGS_SERVICED_FROM_REGISTERED_LAYER: u16 = 0x04;
/// The layer is on a remote host.
pub const CREATE_REDIRECTION_FLAGS_SERVICED_FROM_REMOTE_LAYER: u16 = 0x08;
/// The bytes need user-mode redirection.
pub const CREATE_REDIRECTION_FLAGS_SERVICED_FROM_USER_MODE: u16 = 0x10;
