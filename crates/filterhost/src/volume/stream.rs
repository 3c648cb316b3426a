//! One stream of a file: its bytes, and what all opens of it share.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::bytes::Bytes;
use super::locks::LockTable;
use super::node::NodeId;
use super::oplock::Oplock;
use super::scb::ScbBlock;
use super::share::ShareAccess;
use crate::status::{NtStatus, STATUS_CANNOT_DELETE, STATUS_USER_MAPPED_FILE};

/// What the opens of one stream share while there are any.
#[derive(Debug, Default)]
pub struct Scb {
    /// Share modes.
    pub share: ShareAccess,
    /// Byte-range locks.
    pub locks: LockTable,
    /// The oplock, if somebody holds one.
    pub oplock: Oplock,
    /// File objects that were opened and not closed yet.
    pub opens: u32,
    /// File objects that were opened and not cleaned up yet.
    pub handles: u32,
    /// Sections and views.
    pub sections: Sections,
    /// Byte ranges changed in memory and not yet written by the lazy writer.
    pub dirty: Vec<(u64, u64)>,
    /// It was opened as a paging file.
    pub paging: bool,
    /// The named stream goes with its last handle.
    pub delete_pending: bool,
    /// Transactions' views of it that are open and have its `FsContext`.
    pub viewers: u32,
    /// What `FsContext` and `SectionObjectPointer` point to, while there are opens.
    pub block: Option<Arc<ScbBlock>>,
}

/// Sections over one stream, by kind. A section with its views counts once until all are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// Read-only data sections of users.
    pub user: u32,
    /// Writable data sections of users.
    pub writable: u32,
    /// Image sections.
    pub image: u32,
    /// Sections for a data scan.
    pub scan: u32,
    /// Those of them that were made through a placeholder: whoever made them has no section
    /// context of this stream, so that nobody is told of a conflict, and nothing waits for them.
    pub through: u32,
}

impl Sections {
    /// Sections that truncation and deletion cannot get out of the way.
    #[must_use]
    pub fn stubborn(&self) -> u32 {
        self.user
            .saturating_add(self.writable)
            .saturating_add(self.image)
    }
}

/// One stream of a file.
#[derive(Debug)]
pub struct Stream {
    /// The file that it belongs to.
    pub node: NodeId,
    /// Its name as given; empty for the unnamed stream and for a directory's index.
    pub name: Vec<u16>,
    /// Its bytes.
    pub bytes: Arc<Bytes>,
    /// The stream that it is a transaction's view of, where both have one `FsContext`.
    beside: Option<Arc<Stream>>,
    /// While it is a placeholder: the stream that its sections for a scan count on instead.
    behind: Mutex<Option<Arc<Stream>>>,
    scb: Mutex<Scb>,
}

impl Stream {
    /// A stream with these bytes.
    #[must_use]
    pub fn new(node: NodeId, name: Vec<u16>, bytes: Bytes) -> Arc<Self> {
        Arc::new(Self {
            node,
            name,
            bytes: Arc::new(bytes),
            beside: None,
            behind: Mutex::default(),
            scb: Mutex::default(),
        })
    }

    /// A transaction's view of `base`, with its `FsContext` or with one of its own.
    #[must_use]
    pub fn view(base: &Arc<Self>, bytes: Bytes, one_context: bool) -> Arc<Self> {
        Arc::new(Self {
            node: base.node,
            name: base.name.clone(),
            bytes: Arc::new(bytes),
            beside: one_context.then(|| Arc::clone(base)),
            behind: Mutex::default(),
            scb: Mutex::default(),
        })
    }

    /// From now on sections for a scan count on the stream behind the placeholder, or here again.
    pub fn set_behind(&self, behind: Option<Arc<Self>>) {
        *self.behind.lock() = behind;
    }

    /// The stream that sections for a scan count on, where that is another one.
    pub(super) fn behind(&self) -> Option<Arc<Self>> {
        self.behind.lock().clone()
    }

    /// The first open of a period: gives the stream what file objects point to.
    pub(super) fn show_block(&self, scb: &mut Scb) {
        if scb.block.is_some() {
            return;
        }
        let block = match &self.beside {
            None => ScbBlock::default(),
            Some(base) => {
                let mut base = base.scb();
                base.viewers = base.viewers.saturating_add(1);
                ScbBlock::beside(base.block.get_or_insert_default())
            }
        };
        scb.block = Some(Arc::new(block));
    }

    /// The last open is closed. Gives the `FsContext`, unless it still serves another stream.
    pub(super) fn hide_block(&self, scb: &mut Scb) -> Option<usize> {
        if scb.viewers > 0 {
            return None;
        }
        let own = scb.block.take()?;
        let Some(base) = &self.beside else {
            return Some(own.fs_context());
        };
        let mut base = base.scb();
        base.viewers = base.viewers.saturating_sub(1);
        if base.viewers > 0 || base.opens > 0 {
            return None;
        }
        base.block.take().map(|block| block.fs_context())
    }

    /// The state shared by all opens. The lock is never held across a call into a driver.
    pub fn scb(&self) -> MutexGuard<'_, Scb> {
        self.scb.lock()
    }

    /// May the stream get shorter? A section that a user has forbids it.
    ///
    /// # Errors
    /// `USER_MAPPED_FILE`.
    pub fn check_truncate(&self) -> Result<(), NtStatus> {
        if self.scb().sections.stubborn() > 0 {
            return Err(STATUS_USER_MAPPED_FILE);
        }
        Ok(())
    }

    /// May the stream be deleted? Neither an image nor a user's view may be left.
    ///
    /// # Errors
    /// `CANNOT_DELETE`.
    pub fn check_delete(&self) -> Result<(), NtStatus> {
        if self.scb().sections.stubborn() > 0 {
            return Err(STATUS_CANNOT_DELETE);
        }
        Ok(())
    }

    /// Notes a changed range for the lazy writer.
    pub fn mark_dirty(&self, from: u64, to: u64) {
        if from < to {
            self.scb().dirty.push((from, to));
        }
    }
}
