//! Encrypted files (EFS): who has no key cannot open them, and whoever has one reads plain text.
//!
//! Key and file object go together: the bytes that come through an open file are in the clear for
//! every filter above. A key is its user here; no bytes are kept as cipher text, since nothing that
//! a filter sees shows them.
//! <https://learn.microsoft.com/windows/win32/fileio/file-encryption>

use std::sync::Arc;

use super::MemFs;
use super::open::{Open, OpenKind};
use super::outcome::Stop;
use super::set::word;
use crate::machine;
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
};
use crate::volume::node::Node;
use crate::volume::share::{APPEND_DATA, EXECUTE, READ_DATA, WRITE_DATA};

/// FSCTL_SET_ENCRYPTION.
pub const FSCTL_SET_ENCRYPTION: u32 = 0x9_00d7;
/// FILE_SET_ENCRYPTION, FILE_CLEAR_ENCRYPTION, and the same for one stream.
const FILE_SET: u32 = 1;
const FILE_CLEAR: u32 = 2;
const STREAM_SET: u32 = 3;
const STREAM_CLEAR: u32 = 4;

/// The user of the current thread's process; empty for the system's own.
fn user() -> Vec<u8> {
    let process = machine::current_thread().process();
    process.user_sid().unwrap_or_default()
}

impl MemFs {
    /// `ENCRYPTION_BUFFER`: what to do. A file has one key for all its streams here.
    pub(super) fn set_encryption(&self, open: &Arc<Open>, input: &[u8]) -> Result<(), Stop> {
        if !self.kind.encryption() {
            return Err(STATUS_INVALID_DEVICE_REQUEST.into());
        }
        let operation = word(input, 0).map_err(|_| STATUS_BUFFER_TOO_SMALL)?;
        let mut space = self.space();
        let node = space.node_mut(open.node)?;
        if open.kind == OpenKind::Volume {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        match operation {
            FILE_SET | STREAM_SET => {
                check_key(node, READ_DATA)?;
                node.encrypted_for = Some(user());
            }
            FILE_CLEAR | STREAM_CLEAR => {
                check_key(node, READ_DATA)?;
                node.encrypted_for = None;
            }
            _ => return Err(STATUS_INVALID_PARAMETER.into()),
        }
        Ok(())
    }
}

/// May the current user open the file with this access?
///
/// # Errors
/// `ACCESS_DENIED` for access to the data without the key.
pub(super) fn check_key(node: &Node, access: u32) -> Result<(), NtStatus> {
    let data = READ_DATA | WRITE_DATA | APPEND_DATA | EXECUTE;
    let Some(owner) = &node.encrypted_for else {
        return Ok(());
    };
    if access & data != 0 && !node.is_directory() && *owner != user() {
        return Err(STATUS_ACCESS_DENIED);
    }
    Ok(())
}
