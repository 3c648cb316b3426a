//! The driver's values in this machine's registry. Not yet run on Windows.
#![expect(
    unsafe_code,
    reason = "the registry is read and written by system calls"
)]

use std::ffi::OsStr;
use std::io;
use std::ptr;

use siloscan_core::limits::Found;
use windows_sys::Win32::Foundation::{
    ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS,
};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_QUERY_VALUE, KEY_SET_VALUE, REG_DWORD, REG_SAM_FLAGS,
    RegCloseKey, RegDeleteValueW, RegEnumValueW, RegOpenKeyExW, RegQueryValueExW, RegSetValueExW,
};

use super::wide;
use crate::policy::{KEY, Values};

/// Units of a value's name at most, its zero included: documented as 16,383.
const NAME_UNITS: usize = 16_384;
/// More names are not the driver's.
const NAMES_MAX: u32 = 4_096;

/// The driver's key.
pub struct Registry;

struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key is open, and nobody uses it any more.
        unsafe { RegCloseKey(self.0) };
    }
}

fn result(code: u32) -> io::Result<()> {
    match code {
        ERROR_SUCCESS => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
}

fn is_absent(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(ERROR_FILE_NOT_FOUND.cast_signed())
}

fn open(rights: REG_SAM_FLAGS) -> io::Result<Key> {
    let (name, mut key) = (wide(OsStr::new(KEY)), ptr::null_mut());
    // SAFETY: the name ends in zero, the key's place is ours to fill.
    let code = unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, name.as_ptr(), 0, rights, &raw mut key) };
    result(code)?;
    Ok(Key(key))
}

impl Values for Registry {
    fn found(&self, name: &str) -> io::Result<Found> {
        let key = match open(KEY_QUERY_VALUE) {
            Err(cause) if is_absent(&cause) => return Ok(Found::Absent),
            key => key?,
        };
        let (name, mut kind) = (wide(OsStr::new(name)), 0);
        let (mut value, mut length) = ([0_u8; 4], 4_u32);
        // SAFETY: the key is open, the name ends in zero, the buffer has the length given.
        let code = unsafe {
            RegQueryValueExW(
                key.0,
                name.as_ptr(),
                ptr::null(),
                &raw mut kind,
                value.as_mut_ptr(),
                &raw mut length,
            )
        };
        match code {
            ERROR_FILE_NOT_FOUND => return Ok(Found::Absent),
            ERROR_MORE_DATA => return Ok(Found::OtherType),
            code => result(code)?,
        }
        Ok(match (kind, length) {
            (REG_DWORD, 4) => Found::Dword(u32::from_le_bytes(value)),
            _ => Found::OtherType,
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let key = match open(KEY_QUERY_VALUE) {
            Err(cause) if is_absent(&cause) => return Ok(Vec::new()),
            key => key?,
        };
        let (mut names, mut units) = (Vec::new(), vec![0_u16; NAME_UNITS]);
        for place in 0..NAMES_MAX {
            let mut length = NAME_UNITS as u32;
            // SAFETY: the key is open, the buffer has the length given, no data is asked for.
            let code = unsafe {
                RegEnumValueW(
                    key.0,
                    place,
                    units.as_mut_ptr(),
                    &raw mut length,
                    ptr::null(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                )
            };
            if code == ERROR_NO_MORE_ITEMS {
                break;
            }
            result(code)?;
            let name = units.get(..length as usize).unwrap_or_default();
            names.push(String::from_utf16_lossy(name));
        }
        Ok(names)
    }
}

impl Registry {
    /// Writes a value.
    pub fn set(&self, name: &str, value: u32) -> io::Result<()> {
        let key = open(KEY_SET_VALUE)?;
        let (name, bytes) = (wide(OsStr::new(name)), value.to_le_bytes());
        // SAFETY: the key is open, the name ends in zero, the data has the length given.
        let code = unsafe { RegSetValueExW(key.0, name.as_ptr(), 0, REG_DWORD, bytes.as_ptr(), 4) };
        result(code)
    }

    /// Takes a value out. One that is not there is no error.
    pub fn reset(&self, name: &str) -> io::Result<()> {
        let key = open(KEY_SET_VALUE)?;
        let name = wide(OsStr::new(name));
        // SAFETY: the key is open, the name ends in zero.
        match unsafe { RegDeleteValueW(key.0, name.as_ptr()) } {
            ERROR_FILE_NOT_FOUND => Ok(()),
            code => result(code),
        }
    }
}
