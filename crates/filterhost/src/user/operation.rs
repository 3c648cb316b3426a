//! Builds the callback data of one operation, sends it down the stack, and takes the answer back.

use core::mem::offset_of;
use std::sync::Arc;

use crate::layout::{
    ACCESS_STATE, FILE_OBJECT, FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK,
    FLTFL_CALLBACK_DATA_FAST_IO_OPERATION, FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION,
    FLTFL_CALLBACK_DATA_IRP_OPERATION, FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, IO_SECURITY_CONTEXT,
    PVOID, Zeroed,
};
use crate::machine::{self, Machine};
use crate::memory::{self, Block};
use crate::object::Object;
use crate::status::NtStatus;
use crate::volume::stack::{self, InstanceRef};
use crate::volume::{Request, Volume};

/// How an operation reaches the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// As an I/O request packet.
    Irp,
    /// By a fast I/O routine; may be refused.
    FastIo,
    /// As a file system filter callback of the memory manager.
    FsFilter,
}

const IOPB_AT: usize = 0x60;
const SECURITY_AT: usize = 0xb0;
const ACCESS_AT: usize = 0xd0;
const LENGTH_AT: usize = 0x170;
const SIZE: usize = 0x180;
const _: () = assert!(size_of::<FLT_CALLBACK_DATA>() <= IOPB_AT);
const _: () = assert!(IOPB_AT + size_of::<FLT_IO_PARAMETER_BLOCK>() <= SECURITY_AT);
const _: () = assert!(ACCESS_AT + size_of::<ACCESS_STATE>() <= LENGTH_AT);

/// One operation under way.
pub struct Operation {
    m: Arc<Machine>,
    volume: Arc<Volume>,
    below: Option<InstanceRef>,
    memory: Block,
}

impl Operation {
    /// An operation of `major` on `file`, asked for by the current thread.
    #[must_use]
    pub fn new(
        m: &Arc<Machine>,
        volume: &Arc<Volume>,
        below: Option<InstanceRef>,
        path: Path,
        function: (u8, u8),
        file: &Arc<Object>,
    ) -> Self {
        let file = file.pointer().cast::<FILE_OBJECT>();
        Self::on_file(m, volume, below, path, function, file)
    }

    /// As [`Operation::new`], on a file object that is no object: one on a stack.
    #[must_use]
    pub fn on_file(
        m: &Arc<Machine>,
        volume: &Arc<Volume>,
        below: Option<InstanceRef>,
        path: Path,
        (major, minor): (u8, u8),
        file: *mut FILE_OBJECT,
    ) -> Self {
        let operation = Self {
            m: Arc::clone(m),
            volume: Arc::clone(volume),
            below,
            memory: Block::zeroed(SIZE),
        };
        let mut data = FLT_CALLBACK_DATA::zeroed();
        data.flags = match path {
            Path::Irp => FLTFL_CALLBACK_DATA_IRP_OPERATION,
            Path::FastIo => FLTFL_CALLBACK_DATA_FAST_IO_OPERATION,
            Path::FsFilter => FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION,
        };
        let thread = machine::current_thread().address();
        data.thread = core::ptr::with_exposed_provenance_mut(thread);
        data.iopb = operation.at(IOPB_AT);
        memory::write(operation.at(0), data);
        let mut iopb = FLT_IO_PARAMETER_BLOCK::zeroed();
        iopb.major_function = major;
        iopb.minor_function = minor;
        iopb.target_file_object = file;
        memory::write(operation.at(IOPB_AT), iopb);
        operation
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        self.memory.pointer::<u8>().wrapping_add(offset).cast()
    }

    /// The operation as the file system sees it.
    #[must_use]
    pub fn request(&self) -> Request {
        Request::new(self.at(0))
    }

    /// The raw callback data.
    #[must_use]
    pub fn data(&self) -> *mut FLT_CALLBACK_DATA {
        self.at(0)
    }

    /// Says which mode the caller runs in: 0 kernel, 1 user.
    #[must_use]
    pub fn mode(self, mode: i8) -> Self {
        memory::write(self.at(offset_of!(FLT_CALLBACK_DATA, requestor_mode)), mode);
        self
    }

    /// Sets IRP_* flags.
    #[must_use]
    pub fn irp_flags(self, flags: u32) -> Self {
        memory::write(self.at(IOPB_AT), flags);
        self
    }

    /// Sets SL_* flags.
    #[must_use]
    pub fn operation_flags(self, flags: u8) -> Self {
        let at = IOPB_AT + offset_of!(FLT_IO_PARAMETER_BLOCK, operation_flags);
        memory::write(self.at(at), flags);
        self
    }

    /// Says that the buffer is the I/O manager's copy.
    #[must_use]
    pub fn system_buffer(self) -> Self {
        let flags: u32 = memory::read(self.at(0));
        memory::write(self.at(0), flags | FLTFL_CALLBACK_DATA_SYSTEM_BUFFER);
        self
    }

    /// Sets the parameters: the member of the union that the major function names.
    #[must_use]
    pub fn parameters<T: Copy>(self, parameters: T) -> Self {
        const { assert!(size_of::<T>() <= 0x30) };
        let at = IOPB_AT + offset_of!(FLT_IO_PARAMETER_BLOCK, parameters);
        memory::write(self.at(at), parameters);
        self
    }

    /// Makes the security context of a create and gives its address.
    pub fn security(&self, access: u32, options: u32) -> *mut IO_SECURITY_CONTEXT {
        let mut state = ACCESS_STATE::zeroed();
        state.remaining_desired_access = access;
        state.original_desired_access = access;
        memory::write(self.at(ACCESS_AT), state);
        let context = IO_SECURITY_CONTEXT {
            security_qos: core::ptr::null_mut(),
            access_state: self.at(ACCESS_AT),
            desired_access: access,
            full_create_options: options,
        };
        memory::write(self.at(SECURITY_AT), context);
        self.at(SECURITY_AT)
    }

    /// The access that a finished create was granted.
    #[must_use]
    pub fn granted_access(&self) -> u32 {
        let at = ACCESS_AT + offset_of!(ACCESS_STATE, previously_granted_access);
        memory::read(self.at(at))
    }

    /// Keeps the length of a byte-range lock and gives its address.
    pub fn lock_length(&self, length: i64) -> *mut i64 {
        memory::write(self.at(LENGTH_AT), length);
        self.at(LENGTH_AT)
    }

    /// Sends the operation down and waits for its end: status and information.
    pub fn send(&self) -> (NtStatus, usize) {
        stack::call(&self.m, &self.volume, self.below.clone(), self.data());
        self.request().status()
    }

    /// As [`Operation::send`], with errors and warnings as `Err`.
    ///
    /// # Errors
    /// The status, if it is not a success.
    pub fn run(&self) -> Result<usize, NtStatus> {
        let (status, information) = self.send();
        status.ok()?;
        Ok(information)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        stack::detach_reparse(&self.m, self.request());
    }
}

/// A pointer to a buffer that lives as long as the operation.
#[must_use]
pub fn pointer(buffer: &mut [u8]) -> PVOID {
    if buffer.is_empty() {
        core::ptr::null_mut()
    } else {
        buffer.as_mut_ptr().cast()
    }
}
