//! What the file system keeps for one file object, from create to close.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::volume::locks::LockOwner;
use crate::volume::name::Folded;
use crate::volume::node::{LinkId, NodeId};
use crate::volume::share::Sharing;
use crate::volume::stream::Stream;

/// What kind of thing was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenKind {
    /// The volume itself.
    Volume,
    /// A directory.
    Directory,
    /// The unnamed stream of a file, or a named one.
    Stream,
}

/// Where a directory listing has come to.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// Set by the first query.
    pub pattern: Option<Folded>,
    /// The last name that was returned.
    pub after: Option<Folded>,
    /// `.` and `..` were returned.
    pub dots: u8,
    /// The first query has been answered.
    pub started: bool,
}

/// What changes during an open.
#[derive(Debug, Default)]
pub struct OpenState {
    /// The name it was opened by; none after a POSIX delete, or for an open by id without names.
    pub link: Option<LinkId>,
    /// The transaction that it is part of; zero for none.
    pub transaction: usize,
    /// It was opened by its short name.
    pub by_short: bool,
    /// The file goes when this handle is closed.
    pub delete_on_close: bool,
    /// Its name goes at this handle's cleanup, whoever else has the file open.
    pub posix_delete: bool,
    /// The listing.
    pub cursor: Cursor,
    /// Cleanup has run.
    pub cleaned: bool,
    /// Something was written through this handle.
    pub modified: bool,
}

/// One open.
#[derive(Debug)]
pub struct Open {
    /// The file.
    pub node: NodeId,
    /// The stream.
    pub stream: Arc<Stream>,
    /// What it is.
    pub kind: OpenKind,
    /// Granted access.
    pub access: u32,
    /// Its part in share access.
    pub sharing: Sharing,
    /// Create options.
    pub options: u32,
    /// Opened by id, not by name.
    pub by_id: bool,
    state: Mutex<OpenState>,
}

impl Open {
    /// A new open.
    #[must_use]
    pub fn new(
        node: NodeId,
        stream: Arc<Stream>,
        kind: OpenKind,
        granted: (u32, Sharing),
        options: u32,
        state: OpenState,
    ) -> Self {
        let (access, sharing) = granted;
        let by_id = options & crate::layout::FILE_OPEN_BY_FILE_ID != 0;
        Self {
            node,
            stream,
            kind,
            access,
            sharing,
            options,
            by_id,
            state: Mutex::new(state),
        }
    }

    /// The part that changes. The lock is a leaf.
    pub fn state(&self) -> parking_lot::MutexGuard<'_, OpenState> {
        self.state.lock()
    }

    /// The name it was opened by.
    #[must_use]
    pub fn link(&self) -> Option<LinkId> {
        self.state.lock().link
    }
}

/// The owner of a byte-range lock taken through this file object.
#[must_use]
pub fn lock_owner(file: usize, process: usize, key: u32) -> LockOwner {
    LockOwner { file, process, key }
}
