//! The lowest priority that the system has, for a process that is in nobody's way.

use std::io;

/// Gives this process the lowest priority: nice 19 on Linux; on Windows the background mode, which
/// lowers that of its reads, too. Not yet run on Windows.
///
/// # Errors
/// What the system said.
#[cfg(unix)]
pub fn step_back() -> io::Result<()> {
    rustix::process::setpriority_process(None, 19)?;
    Ok(())
}

/// Gives this process the lowest priority: nice 19 on Linux; on Windows the background mode, which
/// lowers that of its reads, too. Not yet run on Windows.
///
/// # Errors
/// What the system said.
#[cfg(windows)]
#[expect(unsafe_code, reason = "the priority is set by a system call")]
pub fn step_back() -> io::Result<()> {
    use windows_sys::Win32::System::Threading::{
        GetCurrentProcess, PROCESS_MODE_BACKGROUND_BEGIN, SetPriorityClass,
    };
    // SAFETY: the call has no preconditions; its result is a constant that needs no closing.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the handle of this process is always open, and the mode is one that it may ask for.
    match unsafe { SetPriorityClass(this, PROCESS_MODE_BACKGROUND_BEGIN) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
