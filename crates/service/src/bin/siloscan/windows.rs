//! Calls of Windows that the commands need. Not yet run on Windows.

mod file;
mod filters;
mod registry;
mod services;

pub use file::replace_file;
pub use filters::{filters, free_bytes, instances};
pub use registry::Registry;
pub use services::service;

use std::os::windows::ffi::OsStrExt;

/// A text as the system takes it, with its zero.
fn wide(text: &std::ffi::OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}
