//! The siloscan driver: `DriverEntry` registers with the Filter Manager, unload unregisters.
//! It builds to nothing except for a Windows target.
#![cfg(windows)]
#![no_std]
#![expect(unsafe_code, reason = "the entry points that the kernel calls")]

extern crate wdk_panic;

mod pool;
mod sys;

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING};

use sys::{FLT_OPERATION_END, FLT_OPERATION_REGISTRATION, FLT_REGISTRATION, PFLT_FILTER};

/// The filter that the Filter Manager handed out, null before registration and after unload.
static FILTER: AtomicPtr<core::ffi::c_void> = AtomicPtr::new(ptr::null_mut());

/// No operation is filtered yet.
static OPERATIONS: [FLT_OPERATION_REGISTRATION; 1] = [FLT_OPERATION_END];

static REGISTRATION: FLT_REGISTRATION = FLT_REGISTRATION {
    operations: OPERATIONS.as_ptr(),
    unload: Some(unload),
    ..FLT_REGISTRATION::EMPTY
};

/// Called once by the I/O manager when the driver is loaded, at PASSIVE_LEVEL.
///
/// # Safety
/// Only the I/O manager calls it, with its own live driver object.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DriverEntry(
    driver: *mut DRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    let mut filter: PFLT_FILTER = ptr::null_mut();
    // SAFETY: the I/O manager's driver object is live; the registration is a static.
    let status =
        unsafe { sys::FltRegisterFilter(driver, &raw const REGISTRATION, &raw mut filter) };
    if status < 0 {
        return status;
    }
    FILTER.store(filter, Ordering::Release);
    // SAFETY: the filter was handed out just above and is not yet unregistered.
    let status = unsafe { sys::FltStartFiltering(filter) };
    if status < 0 {
        unregister();
    }
    status
}

/// Called by the Filter Manager, at PASSIVE_LEVEL, when the driver is to be unloaded.
unsafe extern "system" fn unload(_flags: u32) -> NTSTATUS {
    unregister();
    wdk_sys::STATUS_SUCCESS
}

/// Takes the filter out of the static, so that it is unregistered at most once.
fn unregister() {
    let filter = FILTER.swap(ptr::null_mut(), Ordering::AcqRel);
    if !filter.is_null() {
        // SAFETY: the swap makes this the only owner of a filter that was registered.
        unsafe { sys::FltUnregisterFilter(filter) };
    }
}
