//! The driver's own registry values. A value of another type or length is told apart from one that
//! is not there; core checks the range.
#![expect(unsafe_code, reason = "calls the registry")]

use core::ptr;

use siloscan_core::limits::Found;

use super::pool::{PoolSlice, Tag};
use super::routine::unicode;
use super::{Status, file, irql, routine, thread};
use crate::sys::constants::{
    KEY_READ, OBJ_CASE_INSENSITIVE, REG_DWORD, STATUS_BUFFER_OVERFLOW, STATUS_KEY_DELETED,
    STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_PATH_NOT_FOUND,
};
use crate::sys::{HANDLE, KeyValuePartialDword, PCUNICODE_STRING};

/// The path of the driver's service key, which the I/O manager lends to `DriverEntry` only.
pub struct ServiceKey(PoolSlice<u16>);

impl ServiceKey {
    /// Keeps a copy of the path.
    ///
    /// # Errors
    /// `STATUS_INSUFFICIENT_RESOURCES`.
    ///
    /// # Safety
    /// `path` is the string that the I/O manager gave to `DriverEntry`, still live.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub unsafe fn new(path: PCUNICODE_STRING) -> Result<Self, Status> {
        irql::passive();
        // SAFETY: the caller vouches for the string.
        let path = unsafe { &*path };
        // SAFETY: the caller vouches for the string, which is copied below.
        let text = unsafe { file::units(path) };
        let copy = PoolSlice::new(text.len(), Tag::SETTINGS, |at| {
            text.get(at).copied().unwrap_or(0)
        });
        copy.map(Self)
    }

    /// Opens `Parameters` below it; nothing where there is no such key.
    ///
    /// # Errors
    /// What else the registry says, mostly that memory is short.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn parameters(&self) -> Result<Option<Key>, Status> {
        irql::passive();
        let path = unicode(&self.0);
        let name = unicode(routine::name!("Parameters"));
        let key = open(ptr::null_mut(), &raw const path)
            .and_then(|service| open(service.0, &raw const name));
        match key {
            Ok(key) => Ok(Some(key)),
            Err(status) if is_absence(status) => Ok(None),
            Err(status) => Err(status),
        }
    }
}

/// Whether a status says that there is no such key or value, or none any more.
fn is_absence(status: Status) -> bool {
    matches!(
        status.code(),
        STATUS_OBJECT_NAME_NOT_FOUND | STATUS_OBJECT_PATH_NOT_FOUND | STATUS_KEY_DELETED
    )
}

/// An open registry key, closed when dropped.
pub struct Key(HANDLE);

impl Key {
    /// What is there under this name, of which a 32-bit number is wanted.
    ///
    /// # Errors
    /// What the registry says where that cannot be known now.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn dword(&self, name: &[u16]) -> Result<Found, Status> {
        irql::passive();
        let mut name = unicode(name);
        let mut value = KeyValuePartialDword {
            title_index: 0,
            kind: 0,
            data_length: 0,
            data: 0,
        };
        let mut length = 0;
        // SAFETY: the key is open; name and buffer outlive the call; the length is the buffer's.
        let status = unsafe {
            wdk_sys::ntddk::ZwQueryValueKey(
                self.0,
                &raw mut name,
                wdk_sys::_KEY_VALUE_INFORMATION_CLASS::KeyValuePartialInformation,
                (&raw mut value).cast(),
                size_of::<KeyValuePartialDword>() as u32,
                &raw mut length,
            )
        };
        match Status::check(status) {
            Ok(_) if value.kind == REG_DWORD && value.data_length == 4 => {
                Ok(Found::Dword(value.data))
            }
            Ok(_) => Ok(Found::OtherType),
            // More than four bytes.
            Err(status) if status.code() == STATUS_BUFFER_OVERFLOW => Ok(Found::OtherType),
            Err(status) if is_absence(status) => Ok(Found::Absent),
            Err(status) => Err(status),
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the handle is this key's own and is closed once.
        let _closing_a_good_handle_succeeds = unsafe { wdk_sys::ntddk::ZwClose(self.0) };
    }
}

/// Opens a key below `root`, or an absolute one where `root` is null.
fn open(root: HANDLE, name: PCUNICODE_STRING) -> Result<Key, Status> {
    let mut attributes = thread::kernel_handle();
    attributes.Attributes |= OBJ_CASE_INSENSITIVE;
    attributes.RootDirectory = root;
    attributes.ObjectName = name.cast_mut();
    let mut handle: HANDLE = ptr::null_mut();
    // SAFETY: attributes, name and handle outlive the call.
    let status =
        unsafe { wdk_sys::ntddk::ZwOpenKey(&raw mut handle, KEY_READ, &raw mut attributes) };
    Status::check(status)?;
    Ok(Key(handle))
}
