//! IRQL assertions. The level is asked through an exported routine that is looked up at run time:
//! the inline form is an instruction (`mov cr8`) that this image must not hold. Where the kernel
//! does not export it, the assertions are off.
#![expect(unsafe_code, reason = "calls a routine whose address was looked up")]

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::routine;

/// Threads run at this level; everything may be called, everything may be waited for.
pub const PASSIVE: u8 = 0;
/// No user APCs; paged memory may still be touched.
pub const APC: u8 = 1;
/// The dispatcher's level: no waits, no paged memory.
pub const DISPATCH: u8 = 2;

/// "SsIQ": the bug check of a wrong IRQL, in builds with debug assertions only.
const BUG_CHECK: u32 = u32::from_be_bytes(*b"SsIQ");

static ROUTINE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type CurrentIrql = unsafe extern "system" fn() -> u8;

/// Looks the routine up. Called once by `DriverEntry`.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn init() {
    let address = routine::kernel(routine::name!("KeGetCurrentIrql"));
    ROUTINE.store(
        address.map_or(ptr::null_mut(), ptr::NonNull::as_ptr),
        Ordering::Release,
    );
}

/// The current level, where the kernel tells it.
///
/// # IRQL
/// Any.
#[must_use]
pub fn current() -> Option<u8> {
    let address = ROUTINE.load(Ordering::Acquire);
    if address.is_null() {
        return None;
    }
    // SAFETY: `init` stored the address of the kernel's routine of this name and signature.
    let routine: CurrentIrql = unsafe { core::mem::transmute(address) };
    // SAFETY: the routine takes nothing and may be called at any level.
    Some(unsafe { routine() })
}

/// Asserts that the level is at most `limit`.
///
/// # IRQL
/// Any.
#[inline]
pub fn at_most(limit: u8) {
    if cfg!(debug_assertions)
        && let Some(level) = current()
        && level > limit
    {
        wrong(level, limit);
    }
}

/// Stops the machine, as Driver Verifier does: a wait or a page fault at this level would hang or
/// corrupt it later, far from the cause.
#[cold]
fn wrong(level: u8, limit: u8) -> ! {
    // SAFETY: ends the system; no state is relied upon afterwards.
    unsafe {
        wdk_sys::ntddk::KeBugCheckEx(BUG_CHECK, u64::from(level), u64::from(limit), 0, 0);
    }
}

/// Asserts PASSIVE_LEVEL.
///
/// # IRQL
/// Any.
#[inline]
pub fn passive() {
    at_most(PASSIVE);
}

/// Asserts APC_LEVEL or below.
///
/// # IRQL
/// Any.
#[inline]
pub fn at_most_apc() {
    at_most(APC);
}

/// Asserts DISPATCH_LEVEL or below.
///
/// # IRQL
/// Any.
#[inline]
pub fn at_most_dispatch() {
    at_most(DISPATCH);
}
