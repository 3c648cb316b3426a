//! Calls of Windows that the commands need. Not yet run on Windows.

mod file;
mod registry;

pub use file::replace_file;
pub use registry::Registry;

use std::os::windows::ffi::OsStrExt;

/// A text as the system takes it, with its zero.
fn wide(text: &std::ffi::OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}
