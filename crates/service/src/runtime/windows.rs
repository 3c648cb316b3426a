//! The host compute service's listing of its containers, as `computecore.dll` gives it.
//! <https://learn.microsoft.com/virtualization/api/hcs/reference/hcsenumeratecomputesystems>
//!
//! The library is loaded by name: a Windows without containers has none, and the service runs there
//! as well. Not yet run on Windows.
#![expect(
    unsafe_code,
    reason = "the functions of a library that may be missing are called by address"
)]

use std::ffi::c_void;
use std::mem::transmute;
use std::ptr;

use windows_sys::Win32::Foundation::{HMODULE, LocalFree};
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};
use windows_sys::core::{PCSTR, w};

/// How long the host compute service may take, in milliseconds.
const WAIT_MS: u32 = 5_000;
/// UTF-16 units of a listing at most.
const UNITS_MAX: usize = 4 << 20;

type Operation = *mut c_void;
type CreateOperation = unsafe extern "system" fn(*const c_void, *const c_void) -> Operation;
type CloseOperation = unsafe extern "system" fn(Operation);
type Enumerate = unsafe extern "system" fn(*const u16, Operation) -> i32;
type WaitForResult = unsafe extern "system" fn(Operation, u32, *mut *mut u16) -> i32;

/// The JSON array of all containers and utility VMs.
pub(super) fn listing() -> Result<String, String> {
    let library = library()?;
    let create = address(library, c"HcsCreateOperation".as_ptr().cast())?;
    // SAFETY: the documented prototype of this function.
    let create = unsafe { transmute::<*const c_void, CreateOperation>(create) };
    let close = address(library, c"HcsCloseOperation".as_ptr().cast())?;
    // SAFETY: the documented prototype of this function.
    let close = unsafe { transmute::<*const c_void, CloseOperation>(close) };
    let enumerate = address(library, c"HcsEnumerateComputeSystems".as_ptr().cast())?;
    // SAFETY: the documented prototype of this function.
    let enumerate = unsafe { transmute::<*const c_void, Enumerate>(enumerate) };
    let wait = address(library, c"HcsWaitForOperationResult".as_ptr().cast())?;
    // SAFETY: the documented prototype of this function.
    let wait = unsafe { transmute::<*const c_void, WaitForResult>(wait) };

    // SAFETY: neither a context nor a callback is given.
    let operation = unsafe { create(ptr::null(), ptr::null()) };
    if operation.is_null() {
        return Err("it makes no operation".to_owned());
    }
    let mut text: *mut u16 = ptr::null_mut();
    // SAFETY: no query stands for all systems; the operation is open.
    let mut result = unsafe { enumerate(ptr::null(), operation) };
    if result >= 0 {
        // SAFETY: the operation is open and stays so until the wait is over; the text is ours.
        result = unsafe { wait(operation, WAIT_MS, &raw mut text) };
    }
    // SAFETY: the operation was made above, and is closed once.
    unsafe { close(operation) };
    let listing = take(text);
    if result < 0 {
        return Err(format!("it answers {result:#010x}"));
    }
    listing.ok_or_else(|| "it says nothing, or too much".to_owned())
}

/// The library, which stays loaded.
fn library() -> Result<HMODULE, String> {
    // SAFETY: the name ends in zero; only the system's own folder is searched.
    let library = unsafe {
        LoadLibraryExW(
            w!("computecore.dll"),
            ptr::null_mut(),
            LOAD_LIBRARY_SEARCH_SYSTEM32,
        )
    };
    if library.is_null() {
        return Err("this Windows has no containers".to_owned());
    }
    Ok(library)
}

fn address(library: HMODULE, name: PCSTR) -> Result<*const c_void, String> {
    // SAFETY: the library is loaded for good, the name ends in zero.
    let found = unsafe { GetProcAddress(library, name) };
    found.map_or_else(
        || Err("this Windows is older than its documentation".to_owned()),
        |function| Ok(function as *const c_void),
    )
}

/// Copies a text that the host compute service made, and frees it.
fn take(text: *mut u16) -> Option<String> {
    if text.is_null() {
        return None;
    }
    let mut units = Vec::new();
    for at in 0..UNITS_MAX {
        // SAFETY: the text ends in zero, and none of the units before was.
        let unit = unsafe { text.add(at).read() };
        if unit == 0 {
            break;
        }
        units.push(unit);
    }
    // SAFETY: the caller of HcsWaitForOperationResult frees its text, once, by LocalFree.
    unsafe { LocalFree(text.cast()) };
    (units.len() < UNITS_MAX).then(|| String::from_utf16_lossy(&units))
}
