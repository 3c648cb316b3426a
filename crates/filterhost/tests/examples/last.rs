//! Remembers the name of the file that was opened last. No crate but `core`; what it uses of the
//! kernel is declared here.
#![no_std]
#![no_main]
use core::ffi::c_void;
use core::ptr::{copy_nonoverlapping, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering::AcqRel};

type Any = *mut c_void;
#[repr(C)] // FLT_OPERATION_REGISTRATION: major function, flags, before, after, reserved
struct Operation(u8, u32, Option<extern "C" fn(Any, Any, *mut Any) -> u32>, [usize; 2]);
#[repr(C)] // FLT_REGISTRATION: size, version, flags, contexts, operations, unload, the rest
struct Registration(u16, u16, u32, usize, Ops, extern "C" fn(u32) -> i32, [usize; 10]);
type Ops = &'static [Operation; 2];
#[repr(C)] // FLT_FILE_NAME_INFORMATION: size, parsed, format, and the name, counted in bytes
struct Name(u16, u16, u32, u16, u16, *const u8);
unsafe extern "C" {
    fn FltRegisterFilter(driver: Any, registration: &Registration, out: *mut Any) -> i32;
    fn FltStartFiltering(filter: Any) -> i32;
    fn FltUnregisterFilter(filter: Any);
    fn FltGetFileNameInformation(data: Any, options: u32, out: *mut *mut Name) -> i32;
    fn FltReleaseFileNameInformation(name: *mut Name);
    fn ExAllocatePoolWithTag(pool: u32, size: usize, tag: u32) -> *mut u8;
    fn ExFreePoolWithTag(block: *mut u8, tag: u32);
}
const TAG: u32 = u32::from_le_bytes(*b"Last");
static FILTER: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static LAST: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static OPERATIONS: [Operation; 2] =
    [Operation(0, 0, Some(opens), [0; 2]), Operation(0x80, 0, None, [0; 2])];
static REGISTRATION: Registration = Registration(112, 0x203, 0, 0, &OPERATIONS, unload, [0; 10]);

fn remember(block: *mut u8) {
    let old = LAST.swap(block, AcqRel);
    if !old.is_null() {
        unsafe { ExFreePoolWithTag(old, TAG) };
    }
}
fn look(data: Any) -> Option<()> {
    let mut name = null_mut();
    let status = unsafe { FltGetFileNameInformation(data, 0x101, &mut name) };
    let Name(.., bytes, _, text) = unsafe { name.as_ref().filter(|_| status >= 0)? };
    let block = unsafe { ExAllocatePoolWithTag(0x200, *bytes as usize, TAG).as_mut()? };
    unsafe { copy_nonoverlapping(*text, block, *bytes as usize) };
    unsafe { FltReleaseFileNameInformation(name) };
    remember(block);
    Some(())
}
extern "C" fn opens(data: Any, _objects: Any, _context: *mut Any) -> u32 {
    look(data).map_or(1, |()| 1) // FLT_PREOP_SUCCESS_NO_CALLBACK
}
extern "C" fn unload(_flags: u32) -> i32 {
    unsafe { FltUnregisterFilter(FILTER.load(core::sync::atomic::Ordering::Acquire)) };
    remember(null_mut());
    0
}
#[unsafe(no_mangle)]
extern "C" fn DriverEntry(driver: Any, _path: Any) -> i32 {
    let mut filter = null_mut();
    let status = unsafe { FltRegisterFilter(driver, &REGISTRATION, &mut filter) };
    FILTER.store(filter, core::sync::atomic::Ordering::Release);
    if status < 0 { status } else { unsafe { FltStartFiltering(filter) } }
}
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
