//! System threads of the driver's own. Every thread is joined before anything that it uses is
//! freed: it ends inside the kernel, so no instruction of this image runs after the join.
#![expect(unsafe_code, reason = "starts threads and waits for their end")]

use core::ptr;

use super::{Status, clock, irql};
use crate::sys::constants::{KERNEL_MODE, OBJ_KERNEL_HANDLE, SYNCHRONIZE, THREAD_ALL_ACCESS};
use crate::sys::{HANDLE, OBJECT_ATTRIBUTES, P};

/// What a thread does. A type and not a closure: starting a thread allocates nothing.
pub trait Body {
    /// Runs at PASSIVE_LEVEL in the System process; the thread ends when it returns.
    fn run(argument: usize);
}

/// A running thread that somebody must join.
#[must_use = "a thread that is not joined may run in an unloaded image"]
pub struct Thread {
    handle: HANDLE,
}

// SAFETY: a kernel handle is valid in every thread.
unsafe impl Send for Thread {}

impl Thread {
    /// Starts a thread.
    ///
    /// # Errors
    /// What the kernel says, mostly `STATUS_INSUFFICIENT_RESOURCES`.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn spawn<B: Body>(argument: usize) -> Result<Self, Status> {
        irql::passive();
        let mut handle: HANDLE = ptr::null_mut();
        let mut attributes = kernel_handle();
        // SAFETY: attributes and handle outlive the call; the start routine never returns into
        // a freed image, since whoever frees it joins this thread first.
        let status = unsafe {
            wdk_sys::ntddk::PsCreateSystemThread(
                &raw mut handle,
                THREAD_ALL_ACCESS,
                &raw mut attributes,
                ptr::null_mut(),
                ptr::null_mut(),
                Some(start::<B>),
                ptr::without_provenance_mut(argument),
            )
        };
        Status::check(status)?;
        Ok(Self { handle })
    }

    /// Waits, for as long as it takes, until the thread has ended. The caller has told it to.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn join(self) {
        irql::passive();
        let mut object: P = ptr::null_mut();
        // The handle is ours and good, so this fails only where resources are short for a moment.
        while !self.reference(&mut object) {
            sleep(10);
        }
        // SAFETY: the thread object is referenced, so it lives until it is dereferenced below.
        let _it_waits_for_ever = unsafe {
            wdk_sys::ntddk::KeWaitForSingleObject(object, 0, KERNEL_MODE, 0, ptr::null_mut())
        };
        // SAFETY: gives back the reference that `reference` took.
        unsafe { wdk_sys::ntddk::ObfDereferenceObject(object) };
        // SAFETY: the handle is ours and is closed once, here.
        let _closing_a_good_handle_succeeds = unsafe { wdk_sys::ntddk::ZwClose(self.handle) };
    }

    fn reference(&self, object: &mut P) -> bool {
        // SAFETY: the handle is ours; in kernel mode no type needs to be named.
        let status = unsafe {
            wdk_sys::ntddk::ObReferenceObjectByHandle(
                self.handle,
                SYNCHRONIZE,
                ptr::null_mut(),
                KERNEL_MODE,
                object,
                ptr::null_mut(),
            )
        };
        status >= 0
    }
}

/// Attributes of an unnamed object whose handle belongs to the kernel.
#[must_use]
pub fn kernel_handle() -> OBJECT_ATTRIBUTES {
    OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: ptr::null_mut(),
        ObjectName: ptr::null_mut(),
        Attributes: OBJ_KERNEL_HANDLE,
        SecurityDescriptor: ptr::null_mut(),
        SecurityQualityOfService: ptr::null_mut(),
    }
}

/// Sleeps.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn sleep(milliseconds: u64) {
    irql::passive();
    let until = clock::until(clock::after(clock::now(), milliseconds));
    let mut interval = wdk_sys::LARGE_INTEGER { QuadPart: until };
    // SAFETY: the interval is ours and outlives the call, which only reads it.
    let _the_wait_is_not_alertable =
        unsafe { wdk_sys::ntddk::KeDelayExecutionThread(KERNEL_MODE, 0, &raw mut interval) };
}

/// The kernel's entry into a thread.
///
/// # Safety
/// Called by the kernel only, with the argument that `spawn` gave.
unsafe extern "C" fn start<B: Body>(argument: P) {
    B::run(argument.addr());
    // SAFETY: ends the calling thread, which is a system thread; it does not return.
    let _does_not_return = unsafe { wdk_sys::ntddk::PsTerminateSystemThread(0) };
}
