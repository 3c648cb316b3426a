//! Processes: who an operation comes from, and which process may be handed a section.
#![expect(unsafe_code, reason = "references kernel objects")]

use core::ptr::{self, NonNull};

use super::{Status, irql, thread};
use crate::sys::constants::{KERNEL_MODE, PROCESS_DUP_HANDLE, SECTION_MAP_READ, SECTION_QUERY};
use crate::sys::{HANDLE, P};

/// A referenced process. The reference keeps the address from being used again, so comparing
/// addresses identifies the process beyond doubt.
pub struct Process(NonNull<core::ffi::c_void>);

// SAFETY: the reference is counted by the kernel and belongs to no thread.
unsafe impl Send for Process {}
// SAFETY: nothing is changed through a shared process.
unsafe impl Sync for Process {}

impl Process {
    /// The process of the calling thread.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    #[must_use]
    pub fn current() -> Option<Self> {
        irql::at_most_dispatch();
        // SAFETY: the routine takes nothing; the current process lives while its thread runs.
        let process = NonNull::new(unsafe { wdk_sys::ntddk::IoGetCurrentProcess() }.cast())?;
        // SAFETY: the process lives; the reference is given back in `drop`.
        unsafe { wdk_sys::ntddk::ObfReferenceObject(process.as_ptr()) };
        Some(Self(process))
    }

    /// The address, for comparison only.
    #[must_use]
    pub fn address(&self) -> usize {
        self.0.addr().get()
    }

    /// Another reference to the same process.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    #[must_use]
    pub fn again(&self) -> Self {
        irql::at_most_dispatch();
        // SAFETY: the process lives (it is referenced); the reference is given back in `drop`.
        unsafe { wdk_sys::ntddk::ObfReferenceObject(self.0.as_ptr()) };
        Self(self.0)
    }

    /// Gives the process a handle of its own to a section: it may map it for reading and ask
    /// for its size. The handle belongs to that process; the driver never closes it.
    ///
    /// # Errors
    /// What the object manager says: the process may be ending or over its quota.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn give_section(&self, section: &KernelHandle) -> Result<u64, Status> {
        irql::passive();
        let target = self.open()?;
        let mut given: HANDLE = ptr::null_mut();
        // SAFETY: both process handles and the section's are live; -1 is the calling process,
        // which is System, where kernel handles are found.
        let status = unsafe {
            wdk_sys::ntddk::ZwDuplicateObject(
                ptr::without_provenance_mut(usize::MAX),
                section.0,
                target.0,
                &raw mut given,
                SECTION_MAP_READ | SECTION_QUERY,
                0,
                0,
            )
        };
        Status::check(status)?;
        Ok(given.addr() as u64)
    }

    /// A kernel handle that may put handles into the process.
    fn open(&self) -> Result<KernelHandle, Status> {
        let mut handle: HANDLE = ptr::null_mut();
        // SAFETY: the process is referenced; in kernel mode no type needs to be named.
        let status = unsafe {
            wdk_sys::ntddk::ObOpenObjectByPointer(
                self.0.as_ptr(),
                thread::kernel_handle().Attributes,
                ptr::null_mut(),
                PROCESS_DUP_HANDLE,
                ptr::null_mut(),
                KERNEL_MODE,
                &raw mut handle,
            )
        };
        Status::check(status)?;
        Ok(KernelHandle(handle))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this owns.
        unsafe { wdk_sys::ntddk::ObfDereferenceObject(self.0.as_ptr()) };
    }
}

/// The calling thread's process, as others know it.
///
/// # IRQL
/// Any.
#[must_use]
pub fn current_process_id() -> u64 {
    // SAFETY: the routine takes nothing and may be called at any level.
    let id = unsafe { wdk_sys::ntddk::PsGetCurrentProcessId() };
    id.addr() as u64
}

/// A handle in the kernel's table, closed when dropped.
pub struct KernelHandle(HANDLE);

// SAFETY: a kernel handle is valid in every thread.
unsafe impl Send for KernelHandle {}

impl KernelHandle {
    /// # Safety
    /// The handle is a kernel handle that nobody else closes.
    #[must_use]
    pub unsafe fn own(handle: HANDLE) -> Self {
        Self(handle)
    }
}

impl Drop for KernelHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is this value's own and is closed once.
        let _closing_a_good_handle_succeeds = unsafe { wdk_sys::ntddk::ZwClose(self.0) };
    }
}

/// A referenced kernel object of whatever type, given back when dropped.
pub struct Object(NonNull<core::ffi::c_void>);

// SAFETY: the reference is counted by the kernel and belongs to no thread.
unsafe impl Send for Object {}

impl Object {
    /// # Safety
    /// The caller owns one reference to the object and gives it up.
    #[must_use]
    pub unsafe fn own(object: P) -> Option<Self> {
        Some(Self(NonNull::new(object)?))
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this owns.
        unsafe { wdk_sys::ntddk::ObfDereferenceObject(self.0.as_ptr()) };
    }
}
