//! Anonymous files that another process can read: what a section handle is on Linux.
#![expect(
    unsafe_code,
    reason = "memfd_create and setrlimit have no safe wrapper in the standard library"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A new, empty anonymous file.
///
/// # Errors
/// Whatever `memfd_create` reports, out of descriptors above all.
pub fn create() -> io::Result<File> {
    // SAFETY: the name is a constant that ends in a zero byte.
    let fd = unsafe { libc::memfd_create(c"stream".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above just made this descriptor and nobody else has it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// A second, read-only open of an anonymous file: its reader cannot change the bytes.
///
/// # Errors
/// Whatever opening `/proc/self/fd/N` reports.
pub fn reopen_read_only(file: &File) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(OwnedFd::from(File::open(path)?))
}

/// Lets this process open as many files as its hard limit allows. Each section that is handed to
/// another process takes one descriptor.
///
/// # Errors
/// Whatever `getrlimit` or `setrlimit` reports.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is valid for writing and outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the structure is valid for reading and outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}
