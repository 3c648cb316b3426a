//! A folder that only the system, administrators and its owner can look into, and names that are
//! durable. Not yet run on Windows.
#![expect(
    unsafe_code,
    reason = "a folder is made with its rights by system calls"
)]

use std::io;
use std::mem::size_of;
use std::os::windows::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES};
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};

/// Nothing is inherited from above; all rights for the system, administrators and the owner, also
/// on what is made inside.
const RIGHTS: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)";

fn wide(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}

/// Renames a file and returns when the new name is on the disk.
/// <https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-movefileexw>
pub(crate) fn rename_through(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (wide(from), wide(to));
    let flags = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
    // SAFETY: both paths end in zero and live through the call.
    match unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let rights: Vec<u16> = RIGHTS.encode_utf16().chain([0]).collect();
    let path = wide(path);
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the text ends in zero, the descriptor's place is ours to fill, its size is not asked.
    let converted = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            rights.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            ptr::null_mut(),
        )
    };
    if converted == 0 {
        return Err(io::Error::last_os_error());
    }
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor,
        bInheritHandle: 0,
    };
    // SAFETY: the path ends in zero, the attributes and their descriptor live through the call.
    let made = unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) };
    let outcome = if made == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    };
    // SAFETY: the descriptor was allocated by the call above and nobody uses it any more.
    unsafe { LocalFree(descriptor) };
    outcome
}
