//! One file or directory: its id, names, streams, attributes and times.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bytes::Bytes;
use super::ids::FileId;
use super::name::{Folded, fold};
use super::stream::Stream;

/// The host's own number of a file; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// The host's own number of one name of a file; it stays when the name changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// FILE_ATTRIBUTE_READONLY.
pub const READONLY: u32 = 0x1;
/// FILE_ATTRIBUTE_DIRECTORY.
pub const DIRECTORY: u32 = 0x10;
/// FILE_ATTRIBUTE_ARCHIVE.
pub const ARCHIVE: u32 = 0x20;
/// FILE_ATTRIBUTE_NORMAL.
pub const NORMAL: u32 = 0x80;
/// FILE_ATTRIBUTE_REPARSE_POINT.
pub const REPARSE_POINT: u32 = 0x400;
/// FILE_ATTRIBUTE_ENCRYPTED.
pub const ENCRYPTED: u32 = 0x4000;
/// Attributes that a caller may set.
pub const SETTABLE: u32 = 0x0004_3127 | 0x0040_0000 | 0x1000;

/// The four times of a file, in 100 ns units since 1601.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Creation.
    pub creation: i64,
    /// Last access.
    pub access: i64,
    /// Last write of data.
    pub write: i64,
    /// Last change of anything.
    pub change: i64,
}

impl Times {
    /// All four at one moment.
    #[must_use]
    pub fn all(now: i64) -> Self {
        Self {
            creation: now,
            access: now,
            write: now,
            change: now,
        }
    }
}

/// A reparse point's tag and data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reparse {
    /// The tag.
    pub tag: u32,
    /// What follows the header.
    pub data: Vec<u8>,
}

/// One name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The directory that holds the name.
    pub parent: NodeId,
    /// The name as given.
    pub name: Vec<u16>,
    /// Its 8.3 name, where it has one of its own.
    pub short: Option<Vec<u16>>,
    /// Opens through this name that were not cleaned up yet.
    pub handles: u32,
    /// The name goes with the last of these.
    pub delete_pending: bool,
}

/// What a directory holds: folded name to file and link, in the order of enumeration.
pub type Entries = BTreeMap<Folded, (NodeId, LinkId)>;

/// One file or directory.
#[derive(Debug)]
pub struct Node {
    /// The id that the file system tells.
    pub id: FileId,
    /// Attributes, without those that follow from the rest.
    pub attributes: u32,
    /// Times.
    pub times: Times,
    /// Entries, if it is a directory.
    pub entries: Option<Entries>,
    /// What a directory's entries are called by their short names.
    pub aliases: Entries,
    /// The unnamed stream; of a directory, its index.
    pub data: Arc<Stream>,
    /// Named streams.
    pub named: BTreeMap<Folded, Arc<Stream>>,
    /// Whose key its streams are encrypted with: the binary SID of a user, empty for the system.
    pub encrypted_for: Option<Vec<u8>>,
    /// The transaction that it was made in, and outside of which it is not there yet.
    pub made_in: Option<usize>,
    /// Its reparse point.
    pub reparse: Option<Reparse>,
    /// Its names; empty once deleted.
    pub links: BTreeMap<LinkId, Link>,
    /// File objects not yet closed.
    pub opens: u32,
}

impl Node {
    /// A node without a name.
    #[must_use]
    pub fn new(number: NodeId, id: FileId, directory: bool, bytes: Bytes, now: i64) -> Self {
        Self {
            id,
            attributes: 0,
            times: Times::all(now),
            entries: directory.then(Entries::new),
            aliases: Entries::new(),
            data: Stream::new(number, Vec::new(), bytes),
            named: BTreeMap::new(),
            encrypted_for: None,
            made_in: None,
            reparse: None,
            links: BTreeMap::new(),
            opens: 0,
        }
    }

    /// What a directory holds under a name, be it the short one.
    #[must_use]
    pub fn entry(&self, name: &Folded) -> Option<&(NodeId, LinkId)> {
        let entries = self.entries.as_ref()?;
        entries.get(name).or_else(|| self.aliases.get(name))
    }

    /// True for a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.entries.is_some()
    }

    /// The attributes that a query tells; never zero.
    #[must_use]
    pub fn told_attributes(&self) -> u32 {
        let mut told = self.attributes & !NORMAL;
        if self.is_directory() {
            told |= DIRECTORY;
        }
        if self.reparse.is_some() {
            told |= REPARSE_POINT;
        }
        if self.encrypted_for.is_some() {
            told |= ENCRYPTED;
        }
        if told == 0 { NORMAL } else { told }
    }

    /// The tag of the reparse point, or zero.
    #[must_use]
    pub fn reparse_tag(&self) -> u32 {
        self.reparse.as_ref().map_or(0, |reparse| reparse.tag)
    }

    /// A stream by name; the empty name is the unnamed one.
    #[must_use]
    pub fn stream(&self, name: &[u16]) -> Option<Arc<Stream>> {
        if name.is_empty() {
            return Some(Arc::clone(&self.data));
        }
        self.named.get(&fold(name)).cloned()
    }

    /// All streams, the unnamed one first.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        std::iter::once(&self.data).chain(self.named.values())
    }

    /// Handles of any stream that were not cleaned up yet.
    #[must_use]
    pub fn handles(&self) -> u32 {
        self.streams().map(|stream| stream.scb().handles).sum()
    }
}
