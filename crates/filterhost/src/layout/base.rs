//! The small structures that everything else is made of.

use super::{HANDLE, NTSTATUS, PVOID, Zeroed, layout, plain};

plain! {
    /// A counted UTF-16 string; lengths are in bytes and there is no terminator.
    pub struct UNICODE_STRING {
        pub length: u16,
        pub maximum_length: u16,
        pub buffer: *mut u16,
    }

    /// A counted 8-bit string.
    pub struct ANSI_STRING {
        pub length: u16,
        pub maximum_length: u16,
        pub buffer: *mut u8,
    }

    /// A doubly linked list's head or entry.
    pub struct LIST_ENTRY {
        pub flink: *mut LIST_ENTRY,
        pub blink: *mut LIST_ENTRY,
    }

    /// Names an object and says how its handle is to be made.
    pub struct OBJECT_ATTRIBUTES {
        pub length: u32,
        pub root_directory: HANDLE,
        pub object_name: *mut UNICODE_STRING,
        pub attributes: u32,
        pub security_descriptor: PVOID,
        pub security_quality_of_service: PVOID,
    }

    /// How an operation ended.
    pub struct IO_STATUS_BLOCK {
        pub status: NTSTATUS,
        pub information: usize,
    }

    /// A locally unique id.
    pub struct LUID {
        pub low_part: u32,
        pub high_part: i32,
    }

    /// What every waitable kernel object begins with.
    pub struct DISPATCHER_HEADER {
        pub kind: u8,
        pub signalling: u8,
        pub size: u8,
        pub reserved: u8,
        pub signal_state: i32,
        pub wait_list_head: LIST_ENTRY,
    }

    /// An event object, embedded in the driver's own memory.
    pub struct KEVENT {
        pub header: DISPATCHER_HEADER,
    }

    /// Rundown protection: one pointer-sized word.
    pub struct EX_RUNDOWN_REF {
        pub count: usize,
    }

    /// A push lock: one pointer-sized word.
    pub struct EX_PUSH_LOCK {
        pub value: usize,
    }

    /// A memory descriptor list's header.
    pub struct MDL {
        pub next: *mut MDL,
        pub size: i16,
        pub mdl_flags: i16,
        pub process: PVOID,
        pub mapped_system_va: PVOID,
        pub start_va: PVOID,
        pub byte_count: u32,
        pub byte_offset: u32,
    }
}

/// A globally unique id, in the byte order of Windows.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GUID {
    /// First group, little-endian in memory.
    pub data1: u32,
    /// Second group.
    pub data2: u16,
    /// Third group.
    pub data3: u16,
    /// The last two groups, byte by byte.
    pub data4: [u8; 8],
}

impl Zeroed for GUID {}

impl GUID {
    /// Builds an id from the number that its text form shows, dashes left out.
    pub const fn from_u128(value: u128) -> Self {
        let tail = (value as u64).to_be_bytes();
        Self {
            data1: (value >> 96) as u32,
            data2: (value >> 80) as u16,
            data3: (value >> 64) as u16,
            data4: tail,
        }
    }

    /// The inverse of [`GUID::from_u128`].
    pub const fn to_u128(self) -> u128 {
        ((self.data1 as u128) << 96)
            | ((self.data2 as u128) << 80)
            | ((self.data3 as u128) << 64)
            | (u64::from_be_bytes(self.data4) as u128)
    }
}

impl core::fmt::Display for GUID {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let tail = u64::from_be_bytes(self.data4);
        write!(
            f,
            "{{{:08x}-{:04x}-{:04x}-{:04x}-{:012x}}}",
            self.data1,
            self.data2,
            self.data3,
            tail >> 48,
            tail & 0xffff_ffff_ffff
        )
    }
}

impl core::fmt::Debug for GUID {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

layout!(UNICODE_STRING, 0x10, maximum_length = 2, buffer = 8);
layout!(ANSI_STRING, 0x10, maximum_length = 2, buffer = 8);
layout!(LIST_ENTRY, 0x10, blink = 8);
layout!(
    OBJECT_ATTRIBUTES,
    0x30,
    root_directory = 0x08,
    object_name = 0x10,
    attributes = 0x18,
    security_descriptor = 0x20,
    security_quality_of_service = 0x28,
);
layout!(IO_STATUS_BLOCK, 0x10, information = 8);
layout!(LUID, 8, high_part = 4);
layout!(
    DISPATCHER_HEADER,
    0x18,
    signal_state = 4,
    wait_list_head = 8
);
layout!(KEVENT, 0x18);
layout!(EX_RUNDOWN_REF, 8);
layout!(EX_PUSH_LOCK, 8);
layout!(
    MDL,
    0x30,
    process = 0x10,
    mapped_system_va = 0x18,
    start_va = 0x20,
    byte_count = 0x28
);
layout!(GUID, 0x10, data2 = 4, data3 = 6, data4 = 8);
