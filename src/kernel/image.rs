//! What is known of a file object outside of an operation on it: our instance on its volume, and
//! whether its stream is mapped as an image or to be written.
#![expect(
    unsafe_code,
    reason = "calls the Filter Manager and reads a file object"
)]

use core::ptr::{self, NonNull};

use super::file::{File, Instance};
use super::irql;
use crate::registration;
use crate::sys::{self, FltInstance, P};

/// Our instance on a volume, referenced.
pub struct OurInstance(NonNull<core::ffi::c_void>);

impl OurInstance {
    /// Our instance on the volume of an open file; `None` where there is none, or it goes away.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    #[must_use]
    pub fn of(file: File<'_>) -> Option<Self> {
        irql::at_most_apc();
        let filter = registration::filter();
        if filter.is_null() {
            return None;
        }
        let mut volume: P = ptr::null_mut();
        // SAFETY: the filter is registered, the file object lives (type), the output outlives
        // the call.
        let status =
            unsafe { sys::FltGetVolumeFromFileObject(filter, file.as_ptr(), &raw mut volume) };
        core::hint::black_box(());
        if status < 0 {
            return None;
        }
        let mut instance: FltInstance = ptr::null_mut();
        // SAFETY: filter and volume are live; without a name it is the topmost one of the filter.
        let status = unsafe {
            sys::stack::FltGetVolumeInstanceFromName(filter, volume, ptr::null(), &raw mut instance)
        };
        // SAFETY: gives back the reference of the first call.
        unsafe { sys::FltObjectDereference(volume) };
        core::hint::black_box(());
        if status < 0 {
            return None;
        }
        NonNull::new(instance).map(Self)
    }

    /// The instance.
    #[must_use]
    pub fn borrow(&self) -> Option<Instance<'_>> {
        // SAFETY: the reference keeps the instance alive for as long as the borrow.
        unsafe { Instance::borrow(self.0.as_ptr()) }
    }
}

impl Drop for OurInstance {
    fn drop(&mut self) {
        // SAFETY: gives back the reference that `of` took.
        unsafe { sys::FltObjectDereference(self.0.as_ptr()) };
        core::hint::black_box(());
    }
}

/// Whether there is an image section over the file object's stream.
///
/// # IRQL
/// Any.
#[must_use]
pub fn is_imaged(file: File<'_>) -> bool {
    sections(file).is_some_and(|sections| {
        // SAFETY: the pointers live as long as the stream, which the file object keeps.
        let image = unsafe { &raw const (*sections.as_ptr()).ImageSectionObject };
        // SAFETY: one aligned word of the live pointers.
        !unsafe { image.read_volatile() }.is_null()
    })
}

/// Whether there is a data section over the file object's stream: somebody has it mapped, or it
/// is cached.
///
/// # IRQL
/// Any.
#[must_use]
pub fn has_data_section(file: File<'_>) -> bool {
    sections(file).is_some_and(|sections| {
        // SAFETY: the pointers live as long as the stream, which the file object keeps.
        let data = unsafe { &raw const (*sections.as_ptr()).DataSectionObject };
        // SAFETY: one aligned word of the live pointers.
        !unsafe { data.read_volatile() }.is_null()
    })
}

/// Whether somebody in user mode can write to the file object's stream through a mapping, as far
/// as the memory manager tells.
/// <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-mmdoesfilehaveuserwritablereferences>
///
/// # IRQL
/// At most APC_LEVEL.
#[must_use]
pub fn has_writers(file: File<'_>) -> bool {
    irql::at_most_apc();
    sections(file).is_some_and(|sections| {
        // SAFETY: the pointers live as long as the stream, which the file object keeps.
        unsafe { sys::MmDoesFileHaveUserWritableReferences(sections.as_ptr().cast()) != 0 }
    })
}

fn sections(file: File<'_>) -> Option<NonNull<wdk_sys::SECTION_OBJECT_POINTERS>> {
    // SAFETY: the file object lives (type), so the field's address is inside of it.
    let field = unsafe { &raw const (*file.as_ptr()).SectionObjectPointer };
    // SAFETY: the file object lives (type) and the field is one aligned word.
    NonNull::new(unsafe { field.read_volatile() }.cast())
}
