//! What `wdk-sys` does not declare: the Filter Manager, and routines that the headers of the build
//! on Linux lack. Every offset that the driver reads or writes is asserted.
#![expect(unsafe_code, reason = "foreign functions")]
#![expect(non_camel_case_types, reason = "names as in fltKernel.h")]

use core::ffi::c_void;
use core::mem::{offset_of, size_of};
use core::ptr;
use core::ptr::NonNull;

use wdk_sys::{DRIVER_OBJECT, NTSTATUS, UNICODE_STRING};

pub type PFLT_FILTER = *mut c_void;

/// `NonPagedPoolNx` of `POOL_TYPE`.
pub const NON_PAGED_POOL_NX: i32 = 512;

#[repr(C)]
pub struct FLT_OPERATION_REGISTRATION {
    pub major_function: u8,
    pub flags: u32,
    pub pre_operation: *const c_void,
    pub post_operation: *const c_void,
    pub reserved: *const c_void,
}

// SAFETY: the tables are never written; the Filter Manager only reads them.
unsafe impl Sync for FLT_OPERATION_REGISTRATION {}

/// The row that ends a table of operations.
pub const FLT_OPERATION_END: FLT_OPERATION_REGISTRATION = FLT_OPERATION_REGISTRATION {
    major_function: 0x80,
    flags: 0,
    pre_operation: ptr::null(),
    post_operation: ptr::null(),
    reserved: ptr::null(),
};

#[repr(C)]
pub struct FLT_REGISTRATION {
    pub size: u16,
    pub version: u16,
    pub flags: u32,
    pub contexts: *const c_void,
    pub operations: *const FLT_OPERATION_REGISTRATION,
    pub unload: Option<unsafe extern "system" fn(u32) -> NTSTATUS>,
    pub callbacks: [*const c_void; 9],
    pub section_notification: *const c_void,
}

// SAFETY: the registration is never written; the Filter Manager only reads it.
unsafe impl Sync for FLT_REGISTRATION {}

impl FLT_REGISTRATION {
    /// Version 0x203 with no callback.
    pub const EMPTY: Self = Self {
        size: 0x70,
        version: 0x203,
        flags: 0,
        contexts: ptr::null(),
        operations: ptr::null(),
        unload: None,
        callbacks: [ptr::null(); 9],
        section_notification: ptr::null(),
    };
}

const _: () = assert!(size_of::<FLT_OPERATION_REGISTRATION>() == 0x20);
const _: () = assert!(offset_of!(FLT_OPERATION_REGISTRATION, pre_operation) == 0x8);
const _: () = assert!(size_of::<FLT_REGISTRATION>() == 0x70);
const _: () = assert!(offset_of!(FLT_REGISTRATION, operations) == 0x10);
const _: () = assert!(offset_of!(FLT_REGISTRATION, unload) == 0x18);
const _: () = assert!(offset_of!(FLT_REGISTRATION, section_notification) == 0x68);

#[link(name = "fltmgr.sys", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    pub fn FltRegisterFilter(
        driver: *mut DRIVER_OBJECT,
        registration: *const FLT_REGISTRATION,
        filter: *mut PFLT_FILTER,
    ) -> NTSTATUS;
    pub fn FltStartFiltering(filter: PFLT_FILTER) -> NTSTATUS;
    pub fn FltUnregisterFilter(filter: PFLT_FILTER);
}

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    pub fn ExAllocatePoolWithTag(pool_type: i32, size: usize, tag: u32) -> *mut c_void;
    pub fn MmGetSystemRoutineAddress(name: *const UNICODE_STRING) -> *mut c_void;
}

/// ASCII as UTF-16, NUL and all.
pub const fn utf16<const N: usize>(ascii: &[u8; N]) -> [u16; N] {
    let mut wide = [0; N];
    let mut at = 0;
    while at < N {
        wide[at] = ascii[at] as u16;
        at += 1;
    }
    wide
}

/// Looks up a routine of the running kernel; `name` ends with NUL. PASSIVE_LEVEL.
pub fn routine(name: &'static [u16]) -> Option<NonNull<c_void>> {
    let bytes = u16::try_from(size_of_val(name)).ok()?;
    let name = UNICODE_STRING {
        Length: bytes.saturating_sub(2),
        MaximumLength: bytes,
        Buffer: name.as_ptr().cast_mut(),
    };
    // SAFETY: the string lives for the call, and the routine only reads it.
    NonNull::new(unsafe { MmGetSystemRoutineAddress(&raw const name) })
}
