//! Listing a directory that is open.

use super::handle::{FileHandle, long, word};
use super::operation::{Path, pointer};
use crate::layout::{
    FltQueryDirectory, IRP_MJ_DIRECTORY_CONTROL, IRP_MN_QUERY_DIRECTORY, UNICODE_STRING,
};
use crate::status::{NtStatus, STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE};
use crate::volume::fs::directory::{ID_BOTH_DIRECTORY_INFORMATION, SL_RESTART_SCAN};
use crate::volume::name::{text, units};
use crate::volume::request::to_units;
use crate::volume::share::READ_DATA;

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirListing {
    /// The name.
    pub name: String,
    /// Attributes.
    pub attributes: u32,
    /// End of file.
    pub length: u64,
    /// The 64-bit id.
    pub id: u64,
}

impl FileHandle {
    /// Lists the directory from its start.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn list(&self, pattern: &str) -> Result<Vec<DirListing>, NtStatus> {
        self.need(READ_DATA)?;
        let mut all = Vec::new();
        let mut flags = SL_RESTART_SCAN;
        loop {
            match self.list_part(pattern, flags) {
                Ok(part) => all.extend(parse_listing(&part)),
                Err(STATUS_NO_MORE_FILES | STATUS_NO_SUCH_FILE) => return Ok(all),
                Err(status) => return Err(status),
            }
            flags = 0;
        }
    }

    fn list_part(&self, pattern: &str, flags: u8) -> Result<Vec<u8>, NtStatus> {
        let mut buffer = vec![0; 4096];
        let mut pattern = units(pattern);
        let length = u16::try_from(pattern.len() * 2).unwrap_or(u16::MAX);
        let mut name = UNICODE_STRING {
            length,
            maximum_length: length,
            buffer: pattern.as_mut_ptr(),
        };
        let parameters = FltQueryDirectory {
            length: 4096,
            _0: 0,
            file_name: &raw mut name,
            class: ID_BOTH_DIRECTORY_INFORMATION,
            _1: 0,
            file_index: 0,
            _2: 0,
            directory_buffer: pointer(&mut buffer),
            mdl_address: core::ptr::null_mut(),
        };
        let function = (IRP_MJ_DIRECTORY_CONTROL, IRP_MN_QUERY_DIRECTORY);
        let operation = self.operation(Path::Irp, function).operation_flags(flags);
        let count = operation.parameters(parameters).run()?;
        buffer.truncate(count);
        Ok(buffer)
    }
}

/// Entries of FILE_ID_BOTH_DIR_INFORMATION.
fn parse_listing(data: &[u8]) -> Vec<DirListing> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(entry) = data.get(at..).filter(|entry| entry.len() >= 104) {
        let length = usize::try_from(word(entry, 60)).unwrap_or(0);
        let name = entry.get(104..104 + length).unwrap_or(&[]);
        entries.push(DirListing {
            name: text(&to_units(name)),
            attributes: word(entry, 56),
            length: long(entry, 40),
            id: long(entry, 96),
        });
        match word(entry, 0) {
            0 => break,
            next => at += usize::try_from(next).unwrap_or(usize::MAX),
        }
    }
    entries
}
