//! How an operation of the file system ends, or why it has to stop half-way.

use std::sync::Arc;

use crate::status::{NtStatus, STATUS_SUCCESS};
use crate::volume::node::Reparse;
use crate::volume::stream::Stream;

/// A success: value, status and `IoStatus.Information`.
#[derive(Debug)]
pub struct Done<T> {
    /// What was made.
    pub value: T,
    /// A success or informational status.
    pub status: NtStatus,
    /// `IoStatus.Information`.
    pub information: usize,
}

impl<T> Done<T> {
    /// STATUS_SUCCESS with this information.
    pub fn new(value: T, information: usize) -> Self {
        Self {
            value,
            status: STATUS_SUCCESS,
            information,
        }
    }
}

/// Why an operation did not succeed. The last two are tried again after something has happened
/// that must not happen under the file system's locks.
#[derive(Debug)]
pub enum Stop {
    /// It fails with this status.
    Failed(NtStatus),
    /// A reparse point was met: STATUS_REPARSE with its data.
    Reparse {
        /// The tag and data.
        reparse: Reparse,
        /// Units of the name that were not looked at.
        unparsed: usize,
    },
    /// An oplock is being broken: wait for its holder, then again.
    Oplock(Arc<Stream>),
    /// A section for a data scan is in the way: tell its owner, then again.
    Conflict(Arc<Stream>),
}

impl From<NtStatus> for Stop {
    fn from(status: NtStatus) -> Self {
        Self::Failed(status)
    }
}

/// The result of an operation that may have to stop half-way.
pub type Outcome<T> = Result<Done<T>, Stop>;
