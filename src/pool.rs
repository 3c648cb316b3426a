//! The allocator, and the one pool routine that older systems lack: `ExAllocatePool2` exists from
//! Windows 10 2004 on, and `wdk-alloc` calls it. A symbol of that name defined here wins over the
//! import library, so the image never imports it.
#![expect(unsafe_code, reason = "defines a symbol that the kernel's ABI names")]

use core::ffi::c_void;
use core::ptr;

use crate::sys;

/// Reserved for use outside of every path that an open takes; see `wdk_alloc`.
#[global_allocator]
static ALLOCATOR: wdk_alloc::WdkAllocator = wdk_alloc::WdkAllocator;

type AllocatePool2 = unsafe extern "system" fn(u64, usize, u32) -> *mut c_void;

/// Forwards to the system's routine where it has one, else to the one that every version has,
/// with zeroed memory that cannot be executed. At most DISPATCH_LEVEL where the routine of that
/// name is known already; PASSIVE_LEVEL at the first call.
///
/// # Safety
/// As the system's routine: the memory is freed with `ExFreePool`.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn ExAllocatePool2(flags: u64, size: usize, tag: u32) -> *mut c_void {
    if let Some(system) = sys::routine(&NAME) {
        // SAFETY: the kernel exports a routine of this name with this signature only.
        let system: AllocatePool2 = unsafe { core::mem::transmute(system) };
        // SAFETY: the caller owes the routine what it owes this function.
        return unsafe { system(flags, size, tag) };
    }
    // SAFETY: the caller owes the same IRQL; size and tag are passed on as they are.
    let memory = unsafe { sys::ExAllocatePoolWithTag(sys::NON_PAGED_POOL_NX, size, tag) };
    if !memory.is_null() {
        // SAFETY: the pool returned at least `size` bytes that nobody else has.
        unsafe { ptr::write_bytes(memory.cast::<u8>(), 0, size) };
    }
    memory
}

/// "ExAllocatePool2" in UTF-16 and NUL-terminated.
static NAME: [u16; 16] = sys::utf16(b"ExAllocatePool2\0");
