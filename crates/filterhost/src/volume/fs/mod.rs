//! The file system at the bottom of the stack: takes callback data apart, does what it asks, and
//! puts the answer back.

pub mod control;
pub mod create;
pub mod directory;
mod encryption;
pub mod io;
mod mdl;
mod names_in;
pub mod open;
pub mod outcome;
mod perform;
pub mod query;
pub mod reply;
pub mod set;
mod teardown;
mod transactions;
mod volume_info;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use self::open::Open;
use super::bytes::Bytes;
use super::import::{ImportError, Imported, import_folder};
use super::kind::FsKind;
use super::name::{parse, units};
use super::namespace::{Namespace, Resolved};
use super::node::NodeId;
use super::request::FileRef;
pub use super::request::to_units;
use super::stream::Stream;
use crate::status::{NtStatus, STATUS_ACCESS_DENIED, STATUS_OBJECT_NAME_NOT_FOUND};

/// How one in-memory file system is to be.
#[derive(Clone, Copy, Debug)]
pub struct FsOptions {
    /// Which file system it plays.
    pub kind: FsKind,
    /// Volume serial number.
    pub serial: u64,
    /// Write-protected, whatever the kind.
    pub read_only: bool,
    /// Mapped writes do not pass the I/O stack.
    pub dax: bool,
    /// System time of its making, in 100 ns since 1601.
    pub now: i64,
}

/// An in-memory file system.
#[derive(Debug)]
pub struct MemFs {
    kind: FsKind,
    options: FsOptions,
    space: Mutex<Namespace>,
    opens: Mutex<BTreeMap<usize, Arc<Open>>>,
    volume_stream: Arc<Stream>,
    lent: Mutex<BTreeMap<usize, mdl::Lent>>,
    transactions: Mutex<transactions::Transactions>,
    next_open: AtomicU64,
    locked: AtomicBool,
    dismounted: AtomicBool,
}

impl MemFs {
    /// An empty file system.
    #[must_use]
    pub fn new(options: FsOptions) -> Self {
        let space = Namespace::new(options.kind, options.now);
        let volume_stream = Stream::new(space.root(), Vec::new(), Bytes::default());
        Self {
            kind: options.kind,
            options,
            space: Mutex::new(space),
            opens: Mutex::default(),
            volume_stream,
            lent: Mutex::default(),
            transactions: Mutex::default(),
            next_open: AtomicU64::new(1),
            locked: AtomicBool::new(false),
            dismounted: AtomicBool::new(false),
        }
    }

    /// The tree. The lock is never held across a call into a driver or a wait.
    pub fn space(&self) -> MutexGuard<'_, Namespace> {
        self.space.lock()
    }

    /// The kind of file system.
    #[must_use]
    pub fn fs_kind(&self) -> FsKind {
        self.kind
    }

    /// The volume serial number.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.options.serial
    }

    /// When the file system was made.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.options.now
    }

    /// Nothing can be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.options.read_only || self.kind.read_only()
    }

    /// Mapped writes do not pass the I/O stack.
    #[must_use]
    pub fn is_dax(&self) -> bool {
        self.options.dax
    }

    /// False for RAW, which has only the volume itself.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.kind != FsKind::Raw
    }

    /// The volume was dismounted: every operation but cleanup and close fails.
    #[must_use]
    pub fn is_dismounted(&self) -> bool {
        self.dismounted.load(Ordering::Acquire)
    }

    /// Dismounts: open files keep existing and answer nothing any more.
    pub fn set_dismounted(&self) {
        self.dismounted.store(true, Ordering::Release);
    }

    /// FSCTL_LOCK_VOLUME and its undoing.
    pub(crate) fn lock_volume(&self, lock: bool) -> Result<(), NtStatus> {
        let busy = self
            .opens
            .lock()
            .values()
            .any(|open| open.kind != open::OpenKind::Volume && !open.state().cleaned);
        if lock && (busy || self.locked.load(Ordering::Acquire)) {
            return Err(STATUS_ACCESS_DENIED);
        }
        self.locked.store(lock, Ordering::Release);
        Ok(())
    }

    /// The volume is locked by FSCTL_LOCK_VOLUME.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Acquire)
    }

    /// What the file system keeps for a file object.
    #[must_use]
    pub fn open_of(&self, file: FileRef) -> Option<Arc<Open>> {
        let cookie = file.get().fs_context2.addr();
        self.opens.lock().get(&cookie).cloned()
    }

    /// The open stream whose `SectionObjectPointer` has this value.
    #[must_use]
    pub fn stream_of_sections(&self, section_pointers: usize) -> Option<Arc<Stream>> {
        let has = |stream: &&Arc<Stream>| {
            let scb = stream.scb();
            let block = scb.block.as_ref();
            block.is_some_and(|block| block.section_pointers() == section_pointers)
        };
        let opens = self.opens.lock();
        opens.values().map(|open| &open.stream).find(has).cloned()
    }

    /// Opens not closed yet.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.opens.lock().len()
    }

    /// True if a section for a data scan stands in the way of a change of size.
    pub(crate) fn needs_notice(&self, stream: &Arc<Stream>) -> bool {
        stream.scb().sections.scan > 0
    }

    /// Fills the directory `at` (made if need be) from a host folder, copy-on-write.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn import(&self, at: &str, folder: &Path) -> Result<Imported, ImportError> {
        let mut space = self.space();
        let target = make_directories(&mut space, at, self.options.now).map_err(|status| {
            ImportError::Refused {
                path: folder.to_path_buf(),
                status: status.0.cast_unsigned(),
            }
        })?;
        import_folder(&mut space, target, folder, self.options.now)
    }

    /// Puts a file there without any open, as an image tool lays it down offline.
    ///
    /// # Errors
    /// What making directories or the file reports.
    pub fn place(&self, path: &str, contents: &[u8]) -> Result<NodeId, NtStatus> {
        let mut space = self.space();
        let (directory, name) = path.rsplit_once('\\').unwrap_or(("", path));
        let parent = make_directories(&mut space, directory, self.options.now)?;
        let bytes = Bytes::default();
        bytes.write(0, contents)?;
        let name = units(name);
        let (node, _) = space.create(parent, &name, false, bytes, self.options.now)?;
        Ok(node)
    }

    /// The file or directory at a path, without any open.
    ///
    /// # Errors
    /// `OBJECT_NAME_NOT_FOUND` and what resolving reports.
    pub fn find(&self, path: &str) -> Result<NodeId, NtStatus> {
        let space = self.space();
        find_in(&space, path)
    }

    /// All bytes of the unnamed stream at a path, without any open: what is on the disk.
    ///
    /// # Errors
    /// As [`MemFs::find`].
    pub fn contents(&self, path: &str) -> Result<Vec<u8>, NtStatus> {
        let space = self.space();
        let node = find_in(&space, path)?;
        space.node(node)?.data.bytes.snapshot()
    }
}

fn find_in(space: &Namespace, path: &str) -> Result<NodeId, NtStatus> {
    match space.resolve(space.root(), &parse(&units(path))?)? {
        Resolved::Found { node, .. } | Resolved::Reparse { node, .. } => Ok(node),
        Resolved::Missing { .. } => Err(STATUS_OBJECT_NAME_NOT_FOUND),
    }
}

fn make_directories(space: &mut Namespace, path: &str, now: i64) -> Result<NodeId, NtStatus> {
    let mut at = space.root();
    for name in path.split('\\').filter(|name| !name.is_empty()) {
        let name = units(name);
        at = match space.child(at, &name)? {
            Some((node, _)) => node,
            None => space.create(at, &name, true, Bytes::default(), now)?.0,
        };
    }
    Ok(at)
}
