//! The service on Windows: the port functions of `fltlib.dll`, sections as views of this process.
#![expect(
    unsafe_code,
    reason = "the port and the views are system calls on raw handles"
)]

use std::ffi::c_void;
use std::mem::size_of;
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_FLT_NO_WAITER_FOR_REPLY,
    ERROR_INVALID_HANDLE, ERROR_IO_PENDING, ERROR_OPERATION_ABORTED, GetLastError, HANDLE,
    WAIT_OBJECT_0,
};
use windows_sys::Win32::Storage::InstallableFileSystems::{
    FILTER_MESSAGE_HEADER, FILTER_REPLY_HEADER, FilterConnectCommunicationPort, FilterGetMessage,
    FilterReplyMessage,
};
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Memory::{
    FILE_MAP_READ, MEMORY_BASIC_INFORMATION, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile,
    UnmapViewOfFile, VirtualQuery,
};
use windows_sys::Win32::System::Threading::{CreateEventW, GetCurrentProcess, WaitForSingleObject};

use siloscan_core::key::Key;

use super::host::{HostClock, together};
use super::{
    ConnectError, Delivery, MESSAGE_BYTES_MAX, PORT_NAME, Platform, Port, PortError, RemoveError,
    Section, SectionError, Work, windows_files,
};

const HEADER_BYTES: usize = size_of::<FILTER_MESSAGE_HEADER>();
const _: () = assert!(HEADER_BYTES == 16 && size_of::<FILTER_REPLY_HEADER>() == 16);

/// `HRESULT_FROM_WIN32`.
const fn from_win32(code: u32) -> i32 {
    ((code & 0xFFFF) | 0x8007_0000).cast_signed()
}

/// Windows: threads and time of the system, the driver's real port.
pub struct WindowsPlatform {
    clock: HostClock,
}

impl WindowsPlatform {
    /// Connects when the service does.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: HostClock::new(),
        }
    }
}

impl Default for WindowsPlatform {
    fn default() -> Self {
        Self::new()
    }
}

impl Platform for WindowsPlatform {
    type Port = WindowsPort;

    fn connect(&self, hello: &[u8]) -> Result<WindowsPort, ConnectError> {
        let name: Vec<u16> = PORT_NAME.encode_utf16().chain([0]).collect();
        let length = u16::try_from(hello.len())
            .map_err(|_| ConnectError::Failed("the greeting is too long".to_owned()))?;
        let mut port: HANDLE = ptr::null_mut();
        // SAFETY: the name ends in zero, the context has `length` bytes, the handle is ours to
        // fill.
        let result = unsafe {
            FilterConnectCommunicationPort(
                name.as_ptr(),
                0,
                hello.as_ptr().cast(),
                length,
                ptr::null(),
                &raw mut port,
            )
        };
        match result {
            0 => Ok(WindowsPort { port: Handle(port) }),
            code if code == from_win32(ERROR_FILE_NOT_FOUND) => Err(ConnectError::NoDriver),
            code if code == from_win32(ERROR_ACCESS_DENIED) => Err(ConnectError::Denied),
            code => Err(ConnectError::Refused(code.cast_unsigned())),
        }
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn together(&self, name: &str, threads: usize, work: Work) {
        together(name, threads, &work);
    }

    fn name_of_folder(&self, folder: &str) -> Result<String, String> {
        windows_files::name_of_folder(folder).map_err(|cause| cause.to_string())
    }

    fn name_of_file(&self, key: &Key) -> Option<String> {
        windows_files::name_of_file(key).ok()
    }

    fn remove_file(&self, key: &Key, content: &[u8]) -> Result<(), RemoveError> {
        windows_files::remove_file(key, content)
    }

    fn engines_may_measure_time(&self) -> bool {
        true
    }
}

/// An owned handle.
struct Handle(HANDLE);

// SAFETY: a handle is a number that any thread of the process may pass to the system.
unsafe impl Send for Handle {}
// SAFETY: the system serialises what several threads do through one handle.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this value owns the handle and is about to go, so nobody uses it afterwards.
        unsafe { CloseHandle(self.0) };
    }
}

/// A connection to the driver.
pub struct WindowsPort {
    port: Handle,
}

/// What `FilterGetMessage` fills, aligned as its header asks.
#[repr(C, align(8))]
struct MessageBuffer {
    header: FILTER_MESSAGE_HEADER,
    body: [u8; MESSAGE_BYTES_MAX],
}

fn last_error() -> u32 {
    // SAFETY: reads a number that belongs to this thread; there is nothing to get wrong.
    unsafe { GetLastError() }
}

fn port_error(result: i32) -> PortError {
    if result == ERROR_FLT_NO_WAITER_FOR_REPLY {
        PortError::NoWaiter
    } else if result == from_win32(ERROR_INVALID_HANDLE) {
        PortError::Disconnected
    } else {
        PortError::Failed(result.cast_unsigned())
    }
}

impl WindowsPort {
    /// Waits for one message; returns how many bytes came, header included.
    fn wait(&self, buffer: &mut MessageBuffer, timeout: Duration) -> Result<usize, PortError> {
        // SAFETY: no name and no attributes are passed; the event is a new one.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() {
            return Err(PortError::Failed(last_error()));
        }
        let event = Handle(event);
        let mut overlapped = OVERLAPPED {
            hEvent: event.0,
            ..OVERLAPPED::default()
        };
        // SAFETY: buffer and overlapped outlive the request: it is waited for or cancelled below,
        // and GetOverlappedResult returns only when the system has let go of both.
        let result = unsafe {
            FilterGetMessage(
                self.port.0,
                &raw mut buffer.header,
                size_of::<MessageBuffer>() as u32,
                &raw mut overlapped,
            )
        };
        if result != 0 && result != from_win32(ERROR_IO_PENDING) {
            return Err(port_error(result));
        }
        let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX - 1);
        // SAFETY: the event is ours and open.
        let waited = unsafe { WaitForSingleObject(event.0, milliseconds) };
        if waited != WAIT_OBJECT_0 {
            // SAFETY: names the one request that was made with this overlapped; it may have ended.
            unsafe { CancelIoEx(self.port.0, &raw const overlapped) };
        }
        let mut bytes = 0;
        // SAFETY: waits until the system is done with buffer and overlapped, whatever became of
        // them.
        let done =
            unsafe { GetOverlappedResult(self.port.0, &raw const overlapped, &raw mut bytes, 1) };
        if done != 0 {
            // Also when a message came in while the wait was being cancelled: it is ours to answer.
            return Ok(bytes as usize);
        }
        match last_error() {
            ERROR_OPERATION_ABORTED if waited != WAIT_OBJECT_0 => Err(PortError::TimedOut),
            ERROR_OPERATION_ABORTED | ERROR_INVALID_HANDLE => Err(PortError::Disconnected),
            code => Err(PortError::Failed(code)),
        }
    }
}

impl Port for WindowsPort {
    type Section = WindowsSection;

    fn get(&self, body: &mut Vec<u8>, timeout: Duration) -> Result<Delivery, PortError> {
        let mut buffer = Box::new(MessageBuffer {
            header: FILTER_MESSAGE_HEADER::default(),
            body: [0; MESSAGE_BYTES_MAX],
        });
        let bytes = self.wait(&mut buffer, timeout)?;
        let length = bytes.saturating_sub(HEADER_BYTES);
        body.clear();
        body.extend_from_slice(buffer.body.get(..length).unwrap_or_default());
        Ok(Delivery {
            message: buffer.header.MessageId,
            reply_capacity: buffer.header.ReplyLength,
        })
    }

    fn reply(&self, message: u64, status: i32, body: &[u8]) -> Result<(), PortError> {
        // Eight-byte units, so that the header is aligned as the system asks.
        let mut reply = vec![0_u64; 2];
        let header = [u64::from(status.cast_unsigned()), message];
        reply.copy_from_slice(&header);
        reply.extend(body.chunks(8).map(|chunk| {
            let mut unit = [0; 8];
            unit[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(unit)
        }));
        let length = size_of::<FILTER_REPLY_HEADER>() + body.len();
        // SAFETY: the buffer is aligned to eight, begins with a reply header and has `length`
        // bytes.
        let result =
            unsafe { FilterReplyMessage(self.port.0, reply.as_ptr().cast(), length as u32) };
        if result == 0 {
            Ok(())
        } else {
            Err(port_error(result))
        }
    }

    fn open_section(&self, handle: u64) -> Result<WindowsSection, SectionError> {
        let section = Handle(handle as usize as HANDLE);
        // SAFETY: the system checks the handle; a view of the whole section is asked for,
        // read-only.
        let view = unsafe { MapViewOfFile(section.0, FILE_MAP_READ, 0, 0, 0) };
        if view.Value.is_null() {
            return Err(SectionError::Unusable(last_error()));
        }
        let mut section = WindowsSection {
            view,
            length: 0,
            _handle: section,
        };
        let mut about = MEMORY_BASIC_INFORMATION::default();
        // SAFETY: the view was mapped above; the structure is ours to fill and its size is given.
        let told = unsafe {
            VirtualQuery(
                section.view.Value,
                &raw mut about,
                size_of::<MEMORY_BASIC_INFORMATION>(),
            )
        };
        if told == 0 {
            return Err(SectionError::Unusable(last_error()));
        }
        section.length = about.RegionSize as u64;
        Ok(section)
    }

    fn close_section(&self, handle: u64) {
        drop(Handle(handle as usize as HANDLE));
    }
}

/// A read-only view of a section. Its bytes are never dereferenced: the file may shrink at any
/// time, and touching a page that is gone would end the process.
pub struct WindowsSection {
    view: MEMORY_MAPPED_VIEW_ADDRESS,
    length: u64,
    _handle: Handle,
}

impl Section for WindowsSection {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SectionError> {
        let end = offset
            .checked_add(buffer.len() as u64)
            .ok_or(SectionError::Shrunk)?;
        if end > self.length {
            return Err(SectionError::Shrunk);
        }
        let from: *const c_void = self
            .view
            .Value
            .cast::<u8>()
            .wrapping_add(offset as usize)
            .cast();
        let mut copied = 0;
        // SAFETY: a constant that names this process; there is nothing to get wrong.
        let process = unsafe { GetCurrentProcess() };
        // SAFETY: the system copies from this process to this process and reports a page that
        // cannot be read instead of faulting; the buffer has the length that is given.
        let done = unsafe {
            ReadProcessMemory(
                process,
                from,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut copied,
            )
        };
        if done != 0 && copied == buffer.len() {
            Ok(())
        } else {
            Err(SectionError::Shrunk)
        }
    }
}

impl Drop for WindowsSection {
    fn drop(&mut self) {
        // SAFETY: this value owns the view and is about to go, so nobody reads it afterwards.
        unsafe { UnmapViewOfFile(self.view) };
    }
}
