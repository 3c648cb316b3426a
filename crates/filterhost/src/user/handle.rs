//! An open file as a user process has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file_object::file_ref;
use super::open::Opened;
use super::operation::{Operation, Path, pointer};
use super::process::Process;
use crate::layout::{
    FO_CACHE_SUPPORTED, FO_NO_INTERMEDIATE_BUFFERING, FltFsControl, FltLockControl, FltQueryInfo,
    FltReadWrite, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_LOCK_CONTROL,
    IRP_MJ_QUERY_INFORMATION, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ, IRP_MJ_WRITE,
    IRP_NOCACHE, IRP_READ_OPERATION, IRP_WRITE_OPERATION,
};
use crate::machine::Machine;
use crate::object::{Handle, Object};
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_END_OF_FILE, STATUS_FLT_DISALLOW_FAST_IO,
    STATUS_INVALID_HANDLE,
};
use crate::volume::Volume;
use crate::volume::fs::io::{IRP_MN_LOCK, IRP_MN_UNLOCK_SINGLE};
use crate::volume::name::text;
use crate::volume::request::to_units;
use crate::volume::share::{APPEND_DATA, READ_DATA, WRITE_DATA};

/// An open file. Dropping it closes the handle, as long as the machine runs.
pub struct FileHandle {
    process: Process,
    handle: Handle,
    object: Arc<Object>,
    volume: Arc<Volume>,
    status: NtStatus,
    information: usize,
    access: u32,
    mode: i8,
    cached_once: AtomicBool,
    closed: AtomicBool,
}

/// What queries of an open file tell most often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// End of file.
    pub length: u64,
    /// Allocation.
    pub allocation: u64,
    /// Attributes.
    pub attributes: u32,
    /// Number of names.
    pub links: u32,
    /// The file goes with its last handle.
    pub delete_pending: bool,
    /// It is a directory.
    pub directory: bool,
}

impl FileHandle {
    pub(super) fn new(process: &Process, handle: Handle, opened: Opened, mode: i8) -> Self {
        Self {
            process: process.clone(),
            handle,
            object: opened.object,
            volume: opened.volume,
            status: opened.status,
            information: opened.information,
            access: opened.access,
            mode,
            cached_once: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn m(&self) -> &Arc<Machine> {
        self.process.machine()
    }

    /// The handle's value.
    #[must_use]
    pub fn value(&self) -> Handle {
        self.handle
    }

    /// The file object.
    #[must_use]
    pub fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// The volume.
    #[must_use]
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// The mode that its operations are asked for in: 0 kernel, 1 user.
    #[must_use]
    pub fn mode(&self) -> i8 {
        self.mode
    }

    /// The process that opened it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What the create did: FILE_OPENED and so on.
    #[must_use]
    pub fn information(&self) -> usize {
        self.information
    }

    /// SUCCESS, or OPLOCK_BREAK_IN_PROGRESS.
    #[must_use]
    pub fn status(&self) -> NtStatus {
        self.status
    }

    /// Granted access.
    #[must_use]
    pub fn access(&self) -> u32 {
        self.access
    }

    /// Does the handle still exist and give this access?
    ///
    /// # Errors
    /// `INVALID_HANDLE`, `ACCESS_DENIED`.
    pub(super) fn need(&self, any_of: u32) -> Result<(), NtStatus> {
        if self.closed.load(Ordering::Acquire) {
            return Err(STATUS_INVALID_HANDLE);
        }
        if any_of != 0 && self.access & any_of == 0 {
            return Err(STATUS_ACCESS_DENIED);
        }
        Ok(())
    }

    fn has_flags(&self, flags: u32) -> bool {
        file_ref(&self.object).is_some_and(|file| file.has(flags))
    }

    pub(super) fn operation(&self, path: Path, function: (u8, u8)) -> Operation {
        let m = self.m();
        Operation::new(m, &self.volume, None, path, function, &self.object).mode(self.mode)
    }

    /// Sends a read or write: by fast I/O once the file is cached, unless a filter refuses.
    fn transfer(&self, major: u8, offset: i64, buffer: &mut [u8]) -> Result<usize, NtStatus> {
        let parameters = FltReadWrite {
            length: u32::try_from(buffer.len()).unwrap_or(u32::MAX),
            _0: 0,
            key: 0,
            _1: 0,
            byte_offset: offset,
            buffer: pointer(buffer),
            mdl_address: core::ptr::null_mut(),
        };
        let cached =
            self.has_flags(FO_CACHE_SUPPORTED) && !self.has_flags(FO_NO_INTERMEDIATE_BUFFERING);
        if cached && self.cached_once.swap(true, Ordering::AcqRel) {
            let operation = self
                .operation(Path::FastIo, (major, 0))
                .parameters(parameters);
            let (status, information) = operation.send();
            if status != STATUS_FLT_DISALLOW_FAST_IO {
                return status.ok().map(|()| information);
            }
        }
        let mut flags = if major == IRP_MJ_READ {
            IRP_READ_OPERATION
        } else {
            IRP_WRITE_OPERATION
        };
        if !cached {
            flags |= IRP_NOCACHE;
        }
        self.operation(Path::Irp, (major, 0))
            .irp_flags(flags)
            .parameters(parameters)
            .run()
    }

    /// Reads up to `length` bytes at `offset`.
    ///
    /// # Errors
    /// `END_OF_FILE`, `FILE_LOCK_CONFLICT`, or what a filter answers.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, NtStatus> {
        self.need(READ_DATA)?;
        let mut buffer = vec![0; length];
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let count = self.transfer(IRP_MJ_READ, offset, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Reads from the start to the end of file.
    ///
    /// # Errors
    /// As [`FileHandle::read_at`], without `END_OF_FILE`.
    pub fn read_to_end(&self) -> Result<Vec<u8>, NtStatus> {
        const CHUNK: usize = 64 * 1024;
        let mut all = Vec::new();
        loop {
            match self.read_at(all.len() as u64, CHUNK) {
                Ok(part) => all.extend_from_slice(&part),
                Err(STATUS_END_OF_FILE) => return Ok(all),
                Err(status) => return Err(status),
            }
        }
    }

    /// Writes at `offset`.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize, NtStatus> {
        self.need(WRITE_DATA)?;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let written = self.transfer(IRP_MJ_WRITE, offset, &mut data.to_vec())?;
        super::cache::written(self.m(), &self.volume, &self.object);
        Ok(written)
    }

    /// Writes at the end of file.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn append(&self, data: &[u8]) -> Result<usize, NtStatus> {
        self.need(APPEND_DATA | WRITE_DATA)?;
        let written = self.transfer(IRP_MJ_WRITE, -1, &mut data.to_vec())?;
        super::cache::written(self.m(), &self.volume, &self.object);
        Ok(written)
    }

    /// Writes everything that is only in the cache.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn flush(&self) -> Result<(), NtStatus> {
        self.need(0)?;
        super::cache::flush(self.m(), &self.object);
        self.operation(Path::Irp, (IRP_MJ_FLUSH_BUFFERS, 0)).run()?;
        Ok(())
    }

    /// Queries an information class into a buffer of `room` bytes.
    ///
    /// # Errors
    /// What filters and file system answer; a cut reply is `BUFFER_OVERFLOW`.
    pub fn query(&self, class: i32, room: usize) -> Result<Vec<u8>, NtStatus> {
        self.query_with(IRP_MJ_QUERY_INFORMATION, class, room)
    }

    /// Queries an information class of the volume.
    ///
    /// # Errors
    /// As [`FileHandle::query`].
    pub fn query_volume(&self, class: i32, room: usize) -> Result<Vec<u8>, NtStatus> {
        self.query_with(IRP_MJ_QUERY_VOLUME_INFORMATION, class, room)
    }

    fn query_with(&self, major: u8, class: i32, room: usize) -> Result<Vec<u8>, NtStatus> {
        self.need(0)?;
        let mut buffer = vec![0; room];
        let parameters = FltQueryInfo {
            length: u32::try_from(room).unwrap_or(u32::MAX),
            _0: 0,
            class,
            _1: 0,
            buffer: pointer(&mut buffer),
        };
        let operation = self.operation(Path::Irp, (major, 0)).parameters(parameters);
        let count = operation.system_buffer().run()?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// The file's 128-bit id.
    ///
    /// # Errors
    /// As [`FileHandle::query`].
    pub fn file_id(&self) -> Result<[u8; 16], NtStatus> {
        let reply = self.query(crate::layout::FileIdInformation, 0x18)?;
        Ok(reply
            .get(8..)
            .and_then(|id| id.first_chunk::<16>())
            .copied()
            .unwrap_or_default())
    }

    /// The 8.3 name of the file, without the path.
    ///
    /// # Errors
    /// `OBJECT_NAME_NOT_FOUND` where it has none, and as [`FileHandle::query`].
    pub fn short_name(&self) -> Result<String, NtStatus> {
        let reply = self.query(crate::layout::FileAlternateNameInformation, 4 + 24)?;
        let name = reply.get(4..).unwrap_or(&[]);
        Ok(text(&to_units(name)))
    }

    /// Size, attributes, links.
    ///
    /// # Errors
    /// As [`FileHandle::query`].
    pub fn info(&self) -> Result<FileInfo, NtStatus> {
        let standard = self.query(crate::layout::FileStandardInformation, 0x18)?;
        let tag = self.query(crate::layout::FileAttributeTagInformation, 8)?;
        Ok(FileInfo {
            allocation: long(&standard, 0),
            length: long(&standard, 8),
            links: word(&standard, 16),
            delete_pending: standard.get(20).is_some_and(|byte| *byte != 0),
            directory: standard.get(21).is_some_and(|byte| *byte != 0),
            attributes: word(&tag, 0),
        })
    }

    /// Sends a file system control.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn control(&self, code: u32, input: &[u8], room: usize) -> Result<Vec<u8>, NtStatus> {
        self.need(0)?;
        let mut input = input.to_vec();
        let mut output = vec![0; room];
        let parameters = FltFsControl {
            output_buffer_length: u32::try_from(room).unwrap_or(u32::MAX),
            _0: 0,
            input_buffer_length: u32::try_from(input.len()).unwrap_or(u32::MAX),
            _1: 0,
            code,
            _2: 0,
            input_buffer: pointer(&mut input),
            output_buffer: pointer(&mut output),
            output_mdl: core::ptr::null_mut(),
        };
        let function = (IRP_MJ_FILE_SYSTEM_CONTROL, 0);
        let count = self
            .operation(Path::Irp, function)
            .parameters(parameters)
            .run()?;
        output.truncate(count);
        Ok(output)
    }

    /// Takes a byte-range lock; fails at once where it conflicts.
    ///
    /// # Errors
    /// `LOCK_NOT_GRANTED`.
    pub fn lock(&self, offset: u64, length: u64, exclusive: bool) -> Result<(), NtStatus> {
        self.lock_with(IRP_MN_LOCK, offset, length, exclusive)
    }

    /// Lets a byte-range lock go.
    ///
    /// # Errors
    /// `RANGE_NOT_LOCKED`.
    pub fn unlock(&self, offset: u64, length: u64) -> Result<(), NtStatus> {
        self.lock_with(IRP_MN_UNLOCK_SINGLE, offset, length, false)
    }

    fn lock_with(
        &self,
        minor: u8,
        offset: u64,
        length: u64,
        exclusive: bool,
    ) -> Result<(), NtStatus> {
        self.need(READ_DATA | WRITE_DATA)?;
        let operation = self.operation(Path::Irp, (IRP_MJ_LOCK_CONTROL, minor));
        let kernel = self.process.kernel().address();
        let parameters = FltLockControl {
            length: operation.lock_length(i64::try_from(length).unwrap_or(i64::MAX)),
            key: 0,
            _0: 0,
            byte_offset: i64::try_from(offset).unwrap_or(i64::MAX),
            process_id: core::ptr::without_provenance_mut(kernel),
            fail_immediately: 1,
            exclusive_lock: u8::from(exclusive),
            _1: [0; 6],
        };
        operation.parameters(parameters).run()?;
        Ok(())
    }

    /// Whether the holder of an oplock on this stream is asked to give way.
    #[must_use]
    pub fn is_oplock_breaking(&self) -> bool {
        super::file_object::file_ref(self.object())
            .and_then(|file| self.volume().stream_of(file))
            .is_some_and(|stream| stream.scb().oplock.is_breaking())
    }

    /// Closes the handle.
    ///
    /// # Errors
    /// `INVALID_HANDLE` if it is closed already.
    pub fn close(&self) -> Result<(), NtStatus> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Err(STATUS_INVALID_HANDLE);
        }
        let m = self.m();
        m.objects()
            .close_handle(m, self.process.kernel(), self.handle)
    }
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        let running = crate::machine::try_current().is_some_and(|(m, _)| !m.is_over());
        if running && !std::thread::panicking() && !self.closed.load(Ordering::Acquire) {
            // Closed by the end of its process, perhaps.
            let _closed = self.close();
        }
    }
}

impl std::fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileHandle({:#x} on {:?})", self.handle, self.volume)
    }
}

pub(super) fn word(data: &[u8], at: usize) -> u32 {
    let bytes = data.get(at..).and_then(|rest| rest.first_chunk::<4>());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn long(data: &[u8], at: usize) -> u64 {
    let bytes = data.get(at..).and_then(|rest| rest.first_chunk::<8>());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
