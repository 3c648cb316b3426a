//! Safe views of an operation that has come down to the file system.
//!
//! Callback data, parameters and file objects are raw Windows structures that drivers share. All
//! reading and writing of them by this module tree happens here, by value and by offset.

use core::mem::offset_of;

use crate::layout::{
    ACCESS_STATE, FILE_OBJECT, FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, FltAcquireForSection,
    FltCreate, FltFsControl, FltLockControl, FltMdl, FltMdlWriteComplete, FltQueryDirectory,
    FltQueryInfo, FltReadWrite, FltSetInfo, IO_SECURITY_CONTEXT, IO_STATUS_BLOCK, MDL, PVOID,
    UNICODE_STRING,
};
use crate::memory;
use crate::status::{NtStatus, STATUS_INVALID_PARAMETER, STATUS_INVALID_USER_BUFFER};

/// Largest buffer that is copied in or out, in bytes.
const BUFFER_BYTES_MAX: usize = 1 << 30;

/// One operation. Its callback data, parameter block and file object are valid for as long as
/// whoever made the callback data waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    data: *mut FLT_CALLBACK_DATA,
}

/// One file object, valid while an operation on it is under way or a reference is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRef(*mut FILE_OBJECT);

impl Request {
    /// Wraps callback data.
    #[must_use]
    pub fn new(data: *mut FLT_CALLBACK_DATA) -> Self {
        Self { data }
    }

    /// The raw callback data.
    #[must_use]
    pub fn raw(&self) -> *mut FLT_CALLBACK_DATA {
        self.data
    }

    fn data(&self) -> FLT_CALLBACK_DATA {
        memory::read(self.data)
    }

    /// The parameter block.
    #[must_use]
    pub fn iopb(&self) -> FLT_IO_PARAMETER_BLOCK {
        memory::read(self.data().iopb)
    }

    /// The member of the parameters that the major function names.
    fn parameters<T: Copy>(&self) -> T {
        let at = offset_of!(FLT_IO_PARAMETER_BLOCK, parameters);
        memory::read(self.data().iopb.wrapping_byte_add(at).cast())
    }

    /// The major function.
    #[must_use]
    pub fn major(&self) -> u8 {
        self.iopb().major_function
    }

    /// Flags of the callback data.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.data().flags
    }

    /// The thread that the operation belongs to.
    #[must_use]
    pub fn thread(&self) -> PVOID {
        self.data().thread
    }

    /// True if a user process asks.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.data().requestor_mode != 0
    }

    /// The file object.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` if there is none.
    pub fn file(&self) -> Result<FileRef, NtStatus> {
        FileRef::new(self.iopb().target_file_object).ok_or(STATUS_INVALID_PARAMETER)
    }

    /// Parameters of a create.
    #[must_use]
    pub fn create(&self) -> FltCreate {
        self.parameters()
    }

    /// Parameters of a read or write.
    #[must_use]
    pub fn read_write(&self) -> FltReadWrite {
        self.parameters()
    }

    /// Parameters of a query of a file or volume.
    #[must_use]
    pub fn query_info(&self) -> FltQueryInfo {
        self.parameters()
    }

    /// Parameters of handing out the cache's pages.
    #[must_use]
    pub fn mdl(&self) -> FltMdl {
        self.parameters()
    }

    /// Parameters of taking them back.
    #[must_use]
    pub fn mdl_write_complete(&self) -> FltMdlWriteComplete {
        self.parameters()
    }

    /// Parameters of setting information.
    #[must_use]
    pub fn set_info(&self) -> FltSetInfo {
        self.parameters()
    }

    /// Parameters of a directory query.
    #[must_use]
    pub fn query_directory(&self) -> FltQueryDirectory {
        self.parameters()
    }

    /// Parameters of a file system control.
    #[must_use]
    pub fn fs_control(&self) -> FltFsControl {
        self.parameters()
    }

    /// Parameters of a lock or unlock.
    #[must_use]
    pub fn lock_control(&self) -> FltLockControl {
        self.parameters()
    }

    /// Parameters of the synchronisation with a new section.
    #[must_use]
    pub fn acquire_for_section(&self) -> FltAcquireForSection {
        self.parameters()
    }

    /// Who opens and what for; only of a create.
    #[must_use]
    pub fn security(&self) -> Option<IO_SECURITY_CONTEXT> {
        let context = self.create().security_context;
        (!context.is_null()).then(|| memory::read(context))
    }

    /// Notes the access that the open was granted.
    pub fn grant(&self, access: u32) {
        let Some(context) = self.security() else {
            return;
        };
        if context.access_state.is_null() {
            return;
        }
        let mut state: ACCESS_STATE = memory::read(context.access_state);
        state.previously_granted_access |= access;
        state.remaining_desired_access = 0;
        memory::write(context.access_state, state);
    }

    /// Replaces a create's parameters, as a filter does before it marks the data dirty.
    pub fn set_create(&self, create: FltCreate) {
        let at = offset_of!(FLT_IO_PARAMETER_BLOCK, parameters);
        memory::write(self.data().iopb.wrapping_byte_add(at).cast(), create);
    }

    /// Sets status and information.
    pub fn finish(&self, status: NtStatus, information: usize) -> NtStatus {
        let at = offset_of!(FLT_CALLBACK_DATA, io_status);
        let block = IO_STATUS_BLOCK {
            status: status.0,
            information,
        };
        memory::write(self.data.wrapping_byte_add(at).cast(), block);
        status
    }

    /// The status so far.
    #[must_use]
    pub fn status(&self) -> (NtStatus, usize) {
        let status = self.data().io_status;
        (NtStatus(status.status), status.information)
    }

    /// The reparse buffer that hangs under the callback data.
    #[must_use]
    pub fn tag_data(&self) -> PVOID {
        self.data().tag_data
    }

    /// Hangs a reparse buffer under the callback data, or takes it away with null.
    pub fn set_tag_data(&self, tag_data: PVOID) {
        let at = offset_of!(FLT_CALLBACK_DATA, tag_data);
        memory::write(self.data.wrapping_byte_add(at).cast(), tag_data);
    }

    /// Address of the data of a read or write: the buffer, or what the memory descriptor describes.
    #[must_use]
    pub fn data_address(&self) -> PVOID {
        let parameters = self.read_write();
        if !parameters.buffer.is_null() || parameters.mdl_address.is_null() {
            return parameters.buffer;
        }
        let mdl: MDL = memory::read(parameters.mdl_address);
        mdl.start_va
            .wrapping_byte_add(usize::try_from(mdl.byte_offset).unwrap_or(0))
    }
}

impl FileRef {
    /// Wraps a file object that is not null.
    #[must_use]
    pub fn new(file: *mut FILE_OBJECT) -> Option<Self> {
        (!file.is_null()).then_some(Self(file))
    }

    /// The raw file object.
    #[must_use]
    pub fn raw(self) -> *mut FILE_OBJECT {
        self.0
    }

    /// The address, by which host tables know it.
    #[must_use]
    pub fn address(self) -> usize {
        self.0.addr()
    }

    /// A copy of its fields.
    #[must_use]
    pub fn get(self) -> FILE_OBJECT {
        memory::read(self.0)
    }

    /// Changes its fields.
    pub fn update(self, change: impl FnOnce(&mut FILE_OBJECT)) {
        let mut fields = self.get();
        change(&mut fields);
        memory::write(self.0, fields);
    }

    /// Sets flags.
    pub fn set_flags(self, flags: u32) {
        let at = offset_of!(FILE_OBJECT, flags);
        memory::write(
            self.0.wrapping_byte_add(at).cast(),
            self.get().flags | flags,
        );
    }

    /// Sets `CurrentByteOffset`.
    pub fn set_position(self, position: i64) {
        let at = offset_of!(FILE_OBJECT, current_byte_offset);
        memory::write(self.0.wrapping_byte_add(at).cast(), position);
    }

    /// True if all these flags are set.
    #[must_use]
    pub fn has(self, flags: u32) -> bool {
        self.get().flags & flags == flags
    }

    /// The file that a relative open starts from.
    #[must_use]
    pub fn related(self) -> Option<FileRef> {
        Self::new(self.get().related_file_object)
    }

    /// The name as it was given, in bytes: text, or the bytes of an id.
    #[must_use]
    pub fn name_bytes(self) -> Vec<u8> {
        string_bytes(self.get().file_name)
    }

    /// The name as text.
    #[must_use]
    pub fn name(self) -> Vec<u16> {
        to_units(&self.name_bytes())
    }
}

/// UTF-16 units of little-endian bytes; an odd byte at the end is dropped.
#[must_use]
pub fn to_units(bytes: &[u8]) -> Vec<u16> {
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .collect()
}

/// The bytes of a counted string.
#[must_use]
pub fn string_bytes(string: UNICODE_STRING) -> Vec<u8> {
    copy_in(string.buffer.cast(), usize::from(string.length)).unwrap_or_default()
}

/// A copy of a counted string; empty for null.
#[must_use]
pub fn string_units(string: *const UNICODE_STRING) -> Vec<u16> {
    if string.is_null() {
        return Vec::new();
    }
    to_units(&string_bytes(memory::read(string)))
}

/// Copies bytes of a caller's buffer.
///
/// # Errors
/// `INVALID_USER_BUFFER` for null or an absurd length.
pub fn copy_in(address: PVOID, length: usize) -> Result<Vec<u8>, NtStatus> {
    if length == 0 {
        return Ok(Vec::new());
    }
    if address.is_null() || length > BUFFER_BYTES_MAX {
        return Err(STATUS_INVALID_USER_BUFFER);
    }
    Ok(memory::read_bytes(address.cast(), length))
}

/// Copies bytes into a caller's buffer of at least that length.
///
/// # Errors
/// `INVALID_USER_BUFFER` for null.
pub fn copy_out(address: PVOID, bytes: &[u8]) -> Result<(), NtStatus> {
    if bytes.is_empty() {
        return Ok(());
    }
    if address.is_null() {
        return Err(STATUS_INVALID_USER_BUFFER);
    }
    memory::write_bytes(address.cast(), bytes);
    Ok(())
}
