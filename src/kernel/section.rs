//! Read-only data-scan sections: how the bytes of an open file reach the service. The Filter
//! Manager tells us (see `registration.rs`) when an operation conflicts with one.
#![expect(unsafe_code, reason = "creates and closes sections")]

use core::ptr;

use super::file::{File, Instance};
use super::object::{KernelHandle, Object};
use super::{Status, irql, thread};
use crate::context::{Owned, SectionContext};
use crate::sys::constants::{PAGE_READONLY, SEC_COMMIT, SECTION_MAP_READ, SECTION_QUERY};
use crate::sys::{self, HANDLE, P};

/// A section over a file's bytes.
///
/// # Invariants
/// The context went into a successful create and is closed exactly once, in `drop`.
pub struct ScanSection {
    context: Owned<SectionContext>,
    handle: Option<KernelHandle>,
    object: Option<Object>,
    size: u64,
}

impl ScanSection {
    /// Makes the section. The conflict callback may run for `context` before this returns.
    ///
    /// # Errors
    /// `STATUS_END_OF_FILE` for an empty file, `STATUS_FILE_LOCK_CONFLICT`, "already defined"
    /// where this instance scans the stream already, and what else the file system says.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn create(
        instance: Instance<'_>,
        file: File<'_>,
        context: Owned<SectionContext>,
    ) -> Result<Self, Status> {
        irql::at_most_apc();
        let mut attributes = thread::kernel_handle();
        let mut handle: HANDLE = ptr::null_mut();
        let mut object: P = ptr::null_mut();
        let mut size: i64 = 0;
        // SAFETY: instance and file live (types); the context is ours and of the section type;
        // the outputs outlive the call.
        let status = unsafe {
            sys::FltCreateSectionForDataScan(
                instance.as_ptr(),
                file.as_ptr(),
                context.as_ptr(),
                SECTION_MAP_READ | SECTION_QUERY,
                &raw mut attributes,
                ptr::null_mut(),
                PAGE_READONLY,
                SEC_COMMIT,
                0,
                &raw mut handle,
                &raw mut object,
                &raw mut size,
            )
        };
        core::hint::black_box(());
        Status::check(status)?;
        // SAFETY: the create call made this kernel handle for us alone.
        let handle = unsafe { KernelHandle::own(handle) };
        // SAFETY: the create call gave us one reference to the section object.
        let object = unsafe { Object::own(object) };
        let size = u64::try_from(size).unwrap_or(0);
        // INVARIANT: the create call succeeded with this context.
        Ok(Self {
            context,
            handle: Some(handle),
            object,
            size,
        })
    }

    /// The handle to give to the service.
    #[must_use]
    pub fn handle(&self) -> Option<&KernelHandle> {
        self.handle.as_ref()
    }

    /// The file's size when the section was made, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether an operation needs the section gone: what was read through it is no verdict.
    #[must_use]
    pub fn in_conflict(&self) -> bool {
        self.context.in_conflict()
    }
}

impl Drop for ScanSection {
    fn drop(&mut self) {
        self.object = None;
        self.handle = None;
        // SAFETY: the context went into a successful create and is closed once (invariant).
        unsafe { sys::FltCloseSectionForDataScan(self.context.as_ptr()) };
        self.context.closed();
        core::hint::black_box(());
    }
}
