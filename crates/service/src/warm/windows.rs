//! An open on Windows that gives way: while it waits for its scan, an oplock tells whether
//! somebody wants the file to himself, and the open is then cancelled.
//! <https://learn.microsoft.com/windows/win32/api/winioctl/ni-winioctl-fsctl_request_oplock>
#![expect(
    unsafe_code,
    reason = "the oplock and the cancellation are system calls on raw handles"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::thread::JoinHandle;
use std::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, WAIT_OBJECT_0};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_OPEN_NO_RECALL, FILE_FLAG_OPEN_REPARSE_POINT, FILE_FLAG_OVERLAPPED,
    FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    SYNCHRONIZE,
};
use windows_sys::Win32::System::IO::{
    CancelIoEx, CancelSynchronousIo, DeviceIoControl, GetOverlappedResult, OVERLAPPED,
};
use windows_sys::Win32::System::Ioctl::{
    FSCTL_REQUEST_OPLOCK, OPLOCK_LEVEL_CACHE_HANDLE, OPLOCK_LEVEL_CACHE_READ,
    REQUEST_OPLOCK_CURRENT_VERSION, REQUEST_OPLOCK_INPUT_BUFFER, REQUEST_OPLOCK_INPUT_FLAG_REQUEST,
    REQUEST_OPLOCK_OUTPUT_BUFFER,
};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, WaitForMultipleObjects};

/// Pause between two tries to cancel an open that has perhaps not begun to wait yet.
const CANCEL_AGAIN: Duration = Duration::from_millis(1);

/// Opens a file for reading and closes it. An open that somebody else's wish interrupts ends with
/// `ERROR_OPERATION_ABORTED`.
pub fn open_giving_way(path: &Path) -> io::Result<()> {
    // Attributes alone: neither sharing nor anybody's oplock minds, and the driver ignores it.
    let watch = shared(FILE_READ_ATTRIBUTES | SYNCHRONIZE)
        .custom_flags(FILE_FLAG_OVERLAPPED | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    let oplock = Oplock::request(watch)?;
    let wanted = path.to_owned();
    let opener = std::thread::Builder::new()
        .name("open".to_owned())
        .spawn(move || {
            shared(FILE_READ_DATA | SYNCHRONIZE)
                .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_OPEN_NO_RECALL)
                .open(wanted)
                .map(drop)
        })?;
    let gives_way = oplock.breaks_before(&opener);
    if gives_way {
        cancel(&opener);
    }
    // Closing the handle is the acknowledgement: whoever waits for it finds nothing open.
    drop(oplock);
    if gives_way {
        std::thread::sleep(super::GIVE_WAY);
    }
    opener
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the opening thread ended early")))
}

/// An open that shares everything.
fn shared(access: u32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .access_mode(access)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE);
    options
}

/// Interrupts the opens of a thread until it has ended.
fn cancel(opener: &JoinHandle<io::Result<()>>) {
    while !opener.is_finished() {
        // SAFETY: the join handle keeps the thread's handle open; with nothing to cancel the call
        // fails, which does no harm.
        unsafe { CancelSynchronousIo(opener.as_raw_handle()) };
        std::thread::sleep(CANCEL_AGAIN);
    }
}

/// A read-handle oplock that was asked for, perhaps in vain.
struct Oplock {
    request: Box<Request>,
    event: OwnedHandle,
    file: File,
    /// It was granted: the request is under way until it breaks.
    granted: bool,
}

/// What the system reads and writes while the request is under way; it must not move.
struct Request {
    overlapped: OVERLAPPED,
    input: REQUEST_OPLOCK_INPUT_BUFFER,
    output: REQUEST_OPLOCK_OUTPUT_BUFFER,
}

impl Oplock {
    /// Asks for it. A file system that does not grant it is no error: there is just no warning.
    fn request(file: File) -> io::Result<Self> {
        // SAFETY: no attributes and no name; the result is checked below.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the event was made a moment ago and belongs to nobody else.
        let event = unsafe { OwnedHandle::from_raw_handle(event) };
        let mut request = Box::new(Request {
            overlapped: OVERLAPPED {
                hEvent: event.as_raw_handle(),
                ..OVERLAPPED::default()
            },
            input: REQUEST_OPLOCK_INPUT_BUFFER {
                StructureVersion: REQUEST_OPLOCK_CURRENT_VERSION as u16,
                StructureLength: size_of::<REQUEST_OPLOCK_INPUT_BUFFER>() as u16,
                RequestedOplockLevel: OPLOCK_LEVEL_CACHE_READ | OPLOCK_LEVEL_CACHE_HANDLE,
                Flags: REQUEST_OPLOCK_INPUT_FLAG_REQUEST,
            },
            output: REQUEST_OPLOCK_OUTPUT_BUFFER::default(),
        });
        // SAFETY: the buffers are boxed, of the lengths given, and stay until `drop` has seen the
        // end of the request; the file is open for overlapped use.
        let done = unsafe {
            DeviceIoControl(
                file.as_raw_handle(),
                FSCTL_REQUEST_OPLOCK,
                (&raw const request.input).cast(),
                size_of::<REQUEST_OPLOCK_INPUT_BUFFER>() as u32,
                (&raw mut request.output).cast(),
                size_of::<REQUEST_OPLOCK_OUTPUT_BUFFER>() as u32,
                ptr::null_mut(),
                &raw mut request.overlapped,
            )
        };
        let pending = Some(ERROR_IO_PENDING.cast_signed());
        let granted = done == 0 && io::Error::last_os_error().raw_os_error() == pending;
        Ok(Self {
            request,
            event,
            file,
            granted,
        })
    }

    /// Waits for the end of `opener`, or for a break. True for a break.
    fn breaks_before(&self, opener: &JoinHandle<io::Result<()>>) -> bool {
        if !self.granted {
            return false;
        }
        let handles = [opener.as_raw_handle(), self.event.as_raw_handle()];
        // SAFETY: both handles are open for as long as the borrows.
        let which = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) };
        which == WAIT_OBJECT_0 + 1
    }
}

impl Drop for Oplock {
    fn drop(&mut self) {
        if !self.granted {
            return;
        }
        let file = self.file.as_raw_handle();
        // SAFETY: file and request are those of the call that is under way.
        unsafe { CancelIoEx(file, &raw const self.request.overlapped) };
        let mut count = 0;
        // SAFETY: as above; this returns when the system does not use the buffers any more.
        unsafe { GetOverlappedResult(file, &raw const self.request.overlapped, &raw mut count, 1) };
    }
}
