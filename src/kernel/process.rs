//! Processes that start: the kernel's notification, as a view that needs no `unsafe`.
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex>
#![expect(unsafe_code, reason = "the process manager calls with raw pointers")]

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use wdk_sys::{PEPROCESS, PS_CREATE_NOTIFY_INFO};

use super::file::File;
use super::{Status, irql};
use crate::sys::HANDLE;

/// The routine is registered.
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// A process that is being made from an image file, in the thread that makes it.
pub struct Start<'a> {
    info: NonNull<PS_CREATE_NOTIFY_INFO>,
    file: File<'a>,
    process: u64,
    lives: PhantomData<&'a ()>,
}

impl<'a> Start<'a> {
    /// The file object behind the image section. Its handles may be closed.
    #[must_use]
    pub fn file(&self) -> File<'a> {
        self.file
    }

    /// The new process's id.
    #[must_use]
    pub fn process(&self) -> u64 {
        self.process
    }

    /// The image's name as far as it is known, UTF-16 as bytes.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        // SAFETY: the notification is live while its routine runs.
        let name = unsafe { self.info.as_ref() }.ImageFileName;
        // SAFETY: null, or a string of the notification, which lives as long.
        let Some(name) = (unsafe { name.as_ref() }) else {
            return &[];
        };
        if name.Buffer.is_null() {
            return &[];
        }
        // SAFETY: the string has `Length` bytes, which live as long as the notification.
        unsafe { core::slice::from_raw_parts(name.Buffer.cast(), usize::from(name.Length)) }
    }

    /// Keeps the process from being made.
    pub fn refuse(&self, status: Status) {
        // SAFETY: the notification is live, and its routine may set this field.
        unsafe { (*self.info.as_ptr()).CreationStatus = status.code() };
    }
}

/// From now on `crate::start::check` is asked about each process.
///
/// # Errors
/// The image lacks its integrity flag, or the system takes no more routines.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn register() -> Result<(), Status> {
    irql::passive();
    // SAFETY: the routine stays until `unregister`, which comes before the image goes.
    let status = unsafe { wdk_sys::ntddk::PsSetCreateProcessNotifyRoutineEx(Some(notified), 0) };
    Status::check(status)?;
    REGISTERED.store(true, Ordering::Release);
    Ok(())
}

/// Nobody is asked any more, and nobody is being asked when this returns.
///
/// # IRQL
/// PASSIVE_LEVEL; not in the routine itself.
pub fn unregister() {
    irql::passive();
    if REGISTERED.swap(false, Ordering::AcqRel) {
        // SAFETY: the routine was registered, and the swap makes this its only removal.
        let _removed =
            unsafe { wdk_sys::ntddk::PsSetCreateProcessNotifyRoutineEx(Some(notified), 1) };
    }
}

/// # Safety
/// Called by the process manager only; `info` is null where the process ends.
///
/// # IRQL
/// PASSIVE_LEVEL, normal kernel APCs disabled.
unsafe extern "C" fn notified(_process: PEPROCESS, id: HANDLE, info: *mut PS_CREATE_NOTIFY_INFO) {
    irql::passive();
    let Some(info) = NonNull::new(info) else {
        return;
    };
    // SAFETY: the notification is live while this routine runs.
    let told = unsafe { info.as_ref() };
    if told.CreationStatus < 0 {
        return;
    }
    // SAFETY: the file object lives as long as the notification; null where there is none.
    let Some(file) = (unsafe { File::borrow(told.FileObject.cast()) }) else {
        return;
    };
    crate::start::check(&Start {
        info,
        file,
        process: id.addr() as u64,
        lives: PhantomData,
    });
}
