//! Files with their rights. Not yet run on Windows.
#![expect(unsafe_code, reason = "files are replaced by a system call")]

use std::io;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Storage::FileSystem::{REPLACEFILE_WRITE_THROUGH, ReplaceFileW};

use super::wide;

/// Puts `from` in the place of `to`, which keeps its list of rights, its attributes and its named
/// streams.
/// <https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-replacefilew>
pub fn replace_file(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (wide(from.as_os_str()), wide(to.as_os_str()));
    // SAFETY: both names end in zero and live through the call; the rest is documented to be null.
    let done = unsafe {
        ReplaceFileW(
            to.as_ptr(),
            from.as_ptr(),
            ptr::null(),
            REPLACEFILE_WRITE_THROUGH,
            ptr::null(),
            ptr::null(),
        )
    };
    match done {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
