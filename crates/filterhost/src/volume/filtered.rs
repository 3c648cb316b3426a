//! What the Filter Manager asks of a volume beside its operations.

use super::Volume;
use super::fs::outcome::Stop;
use super::node::NodeId;
use super::request::{FileRef, copy_out};
use crate::layout::{FILE_OBJECT, PVOID};
use crate::status::{NtStatus, STATUS_REPARSE};

impl Volume {
    /// Answers a query about the volume without a file object: writes at most `room` bytes to
    /// `out` and gives status and `IoStatus.Information`.
    pub fn query_information(&self, class: i32, out: PVOID, room: u32) -> (NtStatus, usize) {
        let answer = self
            .fs()
            .query_volume(class, usize::try_from(room).unwrap_or(0));
        let done = match answer {
            Ok(done) => done,
            Err(Stop::Failed(status)) => return (status, 0),
            Err(_) => return (STATUS_REPARSE, 0),
        };
        match copy_out(out, &done.value) {
            Ok(()) => (done.status, done.information),
            Err(status) => (status, 0),
        }
    }

    /// Whether the file of an open file object was opened as a paging file.
    #[must_use]
    pub fn is_paging_file(&self, file: *const FILE_OBJECT) -> bool {
        let file = FileRef::new(file.cast_mut());
        let stream = file.and_then(|file| self.stream_of(file));
        stream.is_some_and(|stream| stream.scb().paging)
    }

    /// A number that is the same for all opens of one file, whatever stream or name they used.
    #[must_use]
    pub fn file_key(&self, file: *const FILE_OBJECT) -> Option<u64> {
        let open = self.fs().open_of(FileRef::new(file.cast_mut())?)?;
        Some(open.node.0)
    }

    /// Whether any stream of a file has an open that was not closed yet.
    #[must_use]
    pub fn has_opens(&self, node: NodeId) -> bool {
        let space = self.fs().space();
        let streams = space
            .node(node)
            .map(|node| node.streams().cloned().collect::<Vec<_>>());
        drop(space);
        streams.is_ok_and(|streams| streams.iter().any(|stream| stream.scb().opens > 0))
    }
}
