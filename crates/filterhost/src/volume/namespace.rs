//! The tree of one volume: directories, names, ids. No drivers, no threads, no clock.
//!
//! Everything is ordered by number or folded name, so the same calls give the same tree and the
//! same enumeration on every machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bytes::Bytes;
use super::ids::{FileId, IdAllocator};
use super::kind::FsKind;
use super::name::{ParsedPath, fold};
use super::node::{Link, LinkId, Node, NodeId};
use super::stream::Stream;
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_FILE_DELETED, STATUS_FILE_INVALID,
    STATUS_FILE_IS_A_DIRECTORY, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
    STATUS_NOT_A_DIRECTORY, STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_PATH_NOT_FOUND,
};

/// Where a path led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// To a file; `link` is the name that led there, none for the start itself.
    Found {
        /// The file.
        node: NodeId,
        /// The last name used.
        link: Option<LinkId>,
    },
    /// To a name that nothing has yet.
    Missing {
        /// The directory that would hold it.
        parent: NodeId,
        /// The name.
        name: Vec<u16>,
    },
    /// To a reparse point before the last name.
    Reparse {
        /// The file that carries it.
        node: NodeId,
        /// Names after it that were not looked at.
        left: usize,
    },
}

/// How a name that exists already is treated by a rename or a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It is a collision.
    No,
    /// It goes, unless it is open, read-only or a directory.
    Yes,
    /// It goes even while it is open.
    Posix,
}

/// The tree of one volume.
#[derive(Debug)]
pub struct Namespace {
    kind: FsKind,
    nodes: BTreeMap<NodeId, Node>,
    by_id: BTreeMap<FileId, NodeId>,
    ids: IdAllocator,
    root: NodeId,
    next: u64,
}

impl Namespace {
    /// A tree with nothing but its root.
    #[must_use]
    pub fn new(kind: FsKind, now: i64) -> Self {
        let ids = IdAllocator::new(kind.ids());
        let root = NodeId(1);
        let id = ids.root();
        let node = Node::new(root, id, true, Bytes::default(), now);
        Self {
            kind,
            nodes: BTreeMap::from([(root, node)]),
            by_id: BTreeMap::from([(id, root)]),
            ids,
            root,
            next: 2,
        }
    }

    /// From now on a new file gets the id of the last one that went ([`IdAllocator::wrap`]).
    pub fn wrap_ids(&mut self) {
        self.ids.wrap();
    }

    /// The kind of file system.
    #[must_use]
    pub fn kind(&self) -> FsKind {
        self.kind
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// A file by number.
    ///
    /// # Errors
    /// `FILE_INVALID` if it is gone.
    pub fn node(&self, node: NodeId) -> Result<&Node, NtStatus> {
        self.nodes.get(&node).ok_or(STATUS_FILE_INVALID)
    }

    /// As [`Namespace::node`], to change it.
    ///
    /// # Errors
    /// As [`Namespace::node`].
    pub fn node_mut(&mut self, node: NodeId) -> Result<&mut Node, NtStatus> {
        self.nodes.get_mut(&node).ok_or(STATUS_FILE_INVALID)
    }

    /// A file by the id that the file system told; 64-bit ids are also found by their short form.
    #[must_use]
    pub fn by_id(&self, id: FileId) -> Option<NodeId> {
        self.by_id.get(&id).copied()
    }

    /// Files in the tree, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True if nothing but the root is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    /// Follows a path from `start`.
    ///
    /// # Errors
    /// `OBJECT_PATH_NOT_FOUND` if a directory on the way is missing or is none.
    pub fn resolve(&self, start: NodeId, path: &ParsedPath) -> Result<Resolved, NtStatus> {
        let mut node = if path.absolute { self.root } else { start };
        let mut link = None;
        let count = path.components.len();
        for (at, name) in path.components.iter().enumerate() {
            let here = self.node(node)?;
            let left = count - at;
            if here.reparse.is_some() && (at > 0 || !here.is_directory()) {
                return Ok(Resolved::Reparse { node, left });
            }
            if !here.is_directory() {
                return Err(STATUS_OBJECT_PATH_NOT_FOUND);
            }
            match here.entry(&fold(name)) {
                Some((next, by)) => {
                    node = *next;
                    link = Some(*by);
                }
                None if left == 1 => {
                    return Ok(Resolved::Missing {
                        parent: node,
                        name: name.clone(),
                    });
                }
                None => return Err(STATUS_OBJECT_PATH_NOT_FOUND),
            }
        }
        Ok(Resolved::Found { node, link })
    }

    /// The name `link` of a file.
    ///
    /// # Errors
    /// `FILE_DELETED` if the name is gone.
    pub fn link(&self, node: NodeId, link: LinkId) -> Result<&Link, NtStatus> {
        self.node(node)?.links.get(&link).ok_or(STATUS_FILE_DELETED)
    }

    /// As [`Namespace::link`], to change it.
    ///
    /// # Errors
    /// As [`Namespace::link`].
    pub fn link_mut(&mut self, node: NodeId, link: LinkId) -> Result<&mut Link, NtStatus> {
        self.node_mut(node)?
            .links
            .get_mut(&link)
            .ok_or(STATUS_FILE_DELETED)
    }

    /// Any name of a file: the oldest, which an open by id uses.
    #[must_use]
    pub fn first_link(&self, node: NodeId) -> Option<LinkId> {
        self.nodes
            .get(&node)
            .and_then(|node| node.links.keys().next().copied())
    }

    /// Makes a file or directory.
    ///
    /// # Errors
    /// `OBJECT_NAME_COLLISION`, or `NOT_A_DIRECTORY` for the parent.
    pub fn create(
        &mut self,
        parent: NodeId,
        name: &[u16],
        directory: bool,
        bytes: Bytes,
        now: i64,
    ) -> Result<(NodeId, LinkId), NtStatus> {
        if self.child(parent, name)?.is_some() {
            return Err(STATUS_OBJECT_NAME_COLLISION);
        }
        let parent_id = self.node(parent)?.id;
        let id = self.ids.allocate(parent_id, directory);
        let number = NodeId(self.count());
        self.nodes
            .insert(number, Node::new(number, id, directory, bytes, now));
        self.by_id.insert(id, number);
        let link = self.attach(number, parent, name)?;
        self.make_short(number, link)?;
        self.touch(parent, now);
        Ok((number, link))
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// `INVALID_DEVICE_REQUEST` where the kind knows no links, `FILE_IS_A_DIRECTORY`, and what
    /// [`Replace`] says.
    pub fn add_link(
        &mut self,
        node: NodeId,
        parent: NodeId,
        name: &[u16],
        replace: Replace,
        now: i64,
    ) -> Result<LinkId, NtStatus> {
        if !self.kind.hard_links() {
            return Err(STATUS_INVALID_DEVICE_REQUEST);
        }
        if self.node(node)?.is_directory() {
            return Err(STATUS_FILE_IS_A_DIRECTORY);
        }
        if let Some((target, link)) = self.child(parent, name)? {
            if target == node {
                return Ok(link);
            }
            self.clear_target(target, link, replace, now)?;
        }
        let link = self.attach(node, parent, name)?;
        self.touch(parent, now);
        self.touch(node, now);
        Ok(link)
    }

    /// Moves the name `link` of a file.
    ///
    /// # Errors
    /// `ACCESS_DENIED` for a directory with open files below it, `INVALID_PARAMETER` into itself,
    /// and what [`Replace`] says.
    pub fn rename(
        &mut self,
        node: NodeId,
        link: LinkId,
        parent: NodeId,
        name: &[u16],
        replace: Replace,
        now: i64,
    ) -> Result<(), NtStatus> {
        let old_parent = self.link(node, link)?.parent;
        if self.node(node)?.is_directory() {
            if self.is_below(parent, node) {
                return Err(STATUS_INVALID_PARAMETER);
            }
            if self.handles_below(node) > 0 {
                return Err(STATUS_ACCESS_DENIED);
            }
        }
        match self.child(parent, name)? {
            Some((_, same)) if same == link => {}
            Some((target, other)) => self.clear_target(target, other, replace, now)?,
            None => {}
        }
        let (handles, delete_pending) = {
            let old = self.link(node, link)?;
            (old.handles, old.delete_pending)
        };
        self.detach(node, link)?;
        let entries = self.entries_mut(parent)?;
        entries.insert(fold(name), (node, link));
        let moved = Link {
            parent,
            name: name.to_vec(),
            short: None,
            handles,
            delete_pending,
        };
        self.node_mut(node)?.links.insert(link, moved);
        self.make_short(node, link)?;
        if self.ids.moves_with_place() {
            self.move_place(node, parent)?;
        }
        self.touch(old_parent, now);
        self.touch(parent, now);
        self.node_mut(node)?.times.change = now;
        Ok(())
    }

    /// Takes the name `link` away. A file without names goes with its last open.
    ///
    /// # Errors
    /// `FILE_DELETED` if the name is gone already.
    pub fn unlink(&mut self, node: NodeId, link: LinkId, now: i64) -> Result<(), NtStatus> {
        let parent = self.link(node, link)?.parent;
        self.detach(node, link)?;
        self.touch(parent, now);
        self.touch(node, now);
        self.forget_if_unused(node);
        Ok(())
    }

    /// Bytes of a file changed.
    pub(super) fn written(&mut self, node: NodeId, now: i64) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.times.write = now;
            node.times.change = now;
        }
    }

    /// Counts a file object of the file in.
    ///
    /// # Errors
    /// `FILE_INVALID` if the file is gone.
    pub fn retain(&mut self, node: NodeId) -> Result<(), NtStatus> {
        let node = self.node_mut(node)?;
        node.opens = node.opens.saturating_add(1);
        Ok(())
    }

    /// Counts a file object of the file out.
    pub fn release(&mut self, node: NodeId) {
        if let Some(found) = self.nodes.get_mut(&node) {
            found.opens = found.opens.saturating_sub(1);
        }
        self.forget_if_unused(node);
    }

    /// The entry `name` of a directory.
    ///
    /// # Errors
    /// `NOT_A_DIRECTORY`.
    pub fn child(
        &self,
        parent: NodeId,
        name: &[u16],
    ) -> Result<Option<(NodeId, LinkId)>, NtStatus> {
        let directory = self.node(parent)?;
        if !directory.is_directory() {
            return Err(STATUS_NOT_A_DIRECTORY);
        }
        Ok(directory.entry(&fold(name)).copied())
    }

    /// The path of a file by one of its names, from the root, with backslashes.
    #[must_use]
    pub fn path(&self, node: NodeId, link: Option<LinkId>) -> Vec<u16> {
        let mut names: Vec<Vec<u16>> = Vec::new();
        let mut at = node;
        let mut by = link.or_else(|| self.first_link(node));
        while at != self.root {
            let found = by.and_then(|link| self.link(at, link).ok());
            let Some(found) = found else { break };
            names.push(found.name.clone());
            at = found.parent;
            by = self.first_link(at);
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(u16::from(b'\\'));
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(u16::from(b'\\'));
        }
        path
    }

    /// Adds a named stream.
    ///
    /// # Errors
    /// `OBJECT_NAME_COLLISION`, or `OBJECT_NAME_INVALID` where the kind knows no streams.
    pub fn add_stream(
        &mut self,
        node: NodeId,
        name: &[u16],
        bytes: Bytes,
    ) -> Result<Arc<Stream>, NtStatus> {
        if !self.kind.named_streams() {
            return Err(STATUS_OBJECT_NAME_INVALID);
        }
        let owner = self.node_mut(node)?;
        if owner.named.contains_key(&fold(name)) {
            return Err(STATUS_OBJECT_NAME_COLLISION);
        }
        let stream = Stream::new(node, name.to_vec(), bytes);
        owner.named.insert(fold(name), Arc::clone(&stream));
        Ok(stream)
    }

    /// True if `node` is `ancestor` or lies below it.
    #[must_use]
    pub fn is_below(&self, node: NodeId, ancestor: NodeId) -> bool {
        let mut at = node;
        loop {
            if at == ancestor {
                return true;
            }
            let Some(link) = self.first_link(at) else {
                return false;
            };
            let Ok(found) = self.link(at, link) else {
                return false;
            };
            at = found.parent;
        }
    }

    /// Handles of files below a directory that were not cleaned up yet.
    #[must_use]
    pub fn handles_below(&self, directory: NodeId) -> u32 {
        let Ok(Some(entries)) = self.node(directory).map(|node| node.entries.as_ref()) else {
            return 0;
        };
        let mut handles = 0u32;
        for (child, _) in entries.values() {
            let own = self.node(*child).map_or(0, Node::handles);
            handles = handles
                .saturating_add(own)
                .saturating_add(self.handles_below(*child));
        }
        handles
    }

    /// The unnamed streams of open files below a directory.
    #[must_use]
    pub fn streams_below(&self, directory: NodeId) -> Vec<Arc<Stream>> {
        let Ok(Some(entries)) = self.node(directory).map(|node| node.entries.as_ref()) else {
            return Vec::new();
        };
        let mut streams = Vec::new();
        for (child, _) in entries.values() {
            if let Ok(node) = self.node(*child)
                && node.handles() > 0
            {
                streams.push(Arc::clone(&node.data));
            }
            streams.extend(self.streams_below(*child));
        }
        streams
    }

    fn count(&mut self) -> u64 {
        let value = self.next;
        self.next += 1;
        value
    }

    fn entries_mut(&mut self, node: NodeId) -> Result<&mut super::node::Entries, NtStatus> {
        self.node_mut(node)?
            .entries
            .as_mut()
            .ok_or(STATUS_NOT_A_DIRECTORY)
    }

    fn attach(&mut self, node: NodeId, parent: NodeId, name: &[u16]) -> Result<LinkId, NtStatus> {
        let link = LinkId(self.count());
        self.entries_mut(parent)?.insert(fold(name), (node, link));
        let made = Link {
            parent,
            name: name.to_vec(),
            short: None,
            handles: 0,
            delete_pending: false,
        };
        self.node_mut(node)?.links.insert(link, made);
        Ok(link)
    }

    fn detach(&mut self, node: NodeId, link: LinkId) -> Result<(), NtStatus> {
        if self.node(node)?.links.contains_key(&link) {
            self.drop_short(node, link)?;
        }
        let gone = self
            .node_mut(node)?
            .links
            .remove(&link)
            .ok_or(STATUS_FILE_DELETED)?;
        let entries = self.entries_mut(gone.parent)?;
        let folded = fold(&gone.name);
        if entries.get(&folded) == Some(&(node, link)) {
            entries.remove(&folded);
        }
        Ok(())
    }

    /// Makes room for a rename or link over an existing name.
    fn clear_target(
        &mut self,
        target: NodeId,
        link: LinkId,
        replace: Replace,
        now: i64,
    ) -> Result<(), NtStatus> {
        let node = self.node(target)?;
        if replace == Replace::No {
            return Err(STATUS_OBJECT_NAME_COLLISION);
        }
        let full = node
            .entries
            .as_ref()
            .is_some_and(|entries| !entries.is_empty());
        let directory = node.is_directory() && (full || replace != Replace::Posix);
        let busy = self.link(target, link)?.handles > 0 || node.data.check_delete().is_err();
        let read_only = node.attributes & super::node::READONLY != 0;
        if directory || read_only || (busy && replace != Replace::Posix) {
            return Err(STATUS_ACCESS_DENIED);
        }
        self.unlink(target, link, now)
    }

    /// A file of a kind whose ids are places gets the id of its new place.
    fn move_place(&mut self, node: NodeId, parent: NodeId) -> Result<(), NtStatus> {
        let parent_id = self.node(parent)?.id;
        let id = self.ids.allocate(parent_id, false);
        let old = core::mem::replace(&mut self.node_mut(node)?.id, id);
        self.by_id.remove(&old);
        self.by_id.insert(id, node);
        self.ids.free(old);
        Ok(())
    }

    fn forget_if_unused(&mut self, node: NodeId) {
        let unused = |node: &Node| node.opens == 0 && node.links.is_empty();
        if node == self.root || !self.nodes.get(&node).is_some_and(unused) {
            return;
        }
        if let Some(gone) = self.nodes.remove(&node) {
            self.by_id.remove(&gone.id);
            self.ids.free(gone.id);
        }
    }

    fn touch(&mut self, node: NodeId, now: i64) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.times.change = now;
            if node.is_directory() {
                node.times.write = now;
            }
        }
    }
}
