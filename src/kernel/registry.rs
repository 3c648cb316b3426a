//! The driver's own registry values, read once at load. A value that is missing, has another
//! type or length counts as not there; core checks the range.
#![expect(unsafe_code, reason = "calls the registry")]

use core::ptr;

use super::routine::unicode;
use super::{Status, irql, routine, thread};
use crate::sys::constants::{KEY_READ, OBJ_CASE_INSENSITIVE, REG_DWORD};
use crate::sys::{HANDLE, KeyValuePartialDword, PCUNICODE_STRING};

/// An open registry key, closed when dropped.
pub struct Key(HANDLE);

impl Key {
    /// Opens `Parameters` below the service key that `DriverEntry` was given.
    ///
    /// # Errors
    /// What the registry says; mostly that there is no such key.
    ///
    /// # Safety
    /// `path` is the string that the I/O manager gave to `DriverEntry`, still live.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub unsafe fn parameters(path: PCUNICODE_STRING) -> Result<Self, Status> {
        irql::passive();
        let service = open(ptr::null_mut(), path)?;
        let name = unicode(routine::name!("Parameters"));
        open(service.0, &raw const name)
    }

    /// A 32-bit value of this name.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    #[must_use]
    pub fn dword(&self, name: &[u16]) -> Option<u32> {
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
        (status >= 0 && value.kind == REG_DWORD && value.data_length == 4).then_some(value.data)
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
