//! IRP_MJ_CREATE at the bottom of the stack: every disposition, by name, by id, the volume itself.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntcreatefile>

use std::sync::Arc;

use super::MemFs;
use super::open::{Open, OpenKind, OpenState};
use super::outcome::{Done, Outcome};
use crate::layout::{
    FILE_COMPLETE_IF_OPLOCKED, FILE_CREATE, FILE_CREATED, FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE, FILE_DOES_NOT_EXIST, FILE_EXISTS, FILE_NON_DIRECTORY_FILE, FILE_OPEN,
    FILE_OPEN_BY_FILE_ID, FILE_OPEN_IF, FILE_OPEN_REPARSE_POINT, FILE_OPENED, FILE_OVERWRITE,
    FILE_OVERWRITE_IF, FILE_OVERWRITTEN, FILE_SUPERSEDE, FILE_SUPERSEDED,
    SL_IGNORE_READONLY_ATTRIBUTE, SL_OPEN_PAGING_FILE, SL_OPEN_TARGET_DIRECTORY,
};
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_CANNOT_DELETE, STATUS_DELETE_PENDING,
    STATUS_FILE_IS_A_DIRECTORY, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
    STATUS_IO_REPARSE_DATA_INVALID, STATUS_MEDIA_WRITE_PROTECTED, STATUS_NOT_A_DIRECTORY,
    STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_INVALID, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OPLOCK_BREAK_IN_PROGRESS, STATUS_SHARING_VIOLATION,
};
use crate::volume::bytes::Bytes;
use crate::volume::ids::FileId;
use crate::volume::name::{ParsedPath, StreamName, fold, parse};
use crate::volume::namespace::{Namespace, Resolved};
use crate::volume::node::{ARCHIVE, LinkId, Node, NodeId, READONLY, SETTABLE};
use crate::volume::share::{
    ALL_ACCESS, APPEND_DATA, DELETE, MAXIMUM_ALLOWED, Sharing, WRITE_ATTRIBUTES, WRITE_DATA,
    WRITE_EA, map_generic,
};
use crate::volume::stream::Stream;

/// A create, taken from callback data.
#[derive(Clone, Debug)]
pub struct CreateParams {
    /// The name, or the bytes of an id.
    pub name: Vec<u8>,
    /// The open that a relative name starts from.
    pub related: Option<Arc<Open>>,
    /// FILE_SUPERSEDE … FILE_OVERWRITE_IF.
    pub disposition: u32,
    /// FILE_* create options.
    pub options: u32,
    /// SL_* flags.
    pub operation_flags: u8,
    /// Desired access as given.
    pub access: u32,
    /// FILE_SHARE_*.
    pub share: u16,
    /// Attributes for a new or overwritten file.
    pub attributes: u32,
    /// Initial allocation of a new file.
    pub allocation: u64,
    /// Address of the file object, by which an oplock knows it.
    pub file: usize,
    /// The transaction that the open is part of; zero for none.
    pub transaction: usize,
}

impl CreateParams {
    fn option(&self, option: u32) -> bool {
        self.options & option != 0
    }

    pub(super) fn overwrites(&self) -> bool {
        matches!(
            self.disposition,
            FILE_SUPERSEDE | FILE_OVERWRITE | FILE_OVERWRITE_IF
        )
    }

    fn may_create(&self) -> bool {
        !matches!(self.disposition, FILE_OPEN | FILE_OVERWRITE)
    }

    /// Rights that the disposition needs beside those that were asked for.
    fn added_access(&self) -> u32 {
        match self.disposition {
            FILE_SUPERSEDE => DELETE,
            FILE_OVERWRITE | FILE_OVERWRITE_IF => WRITE_DATA | WRITE_EA | WRITE_ATTRIBUTES,
            _ => 0,
        }
    }
}

/// What was found or is to be made.
struct Target {
    node: NodeId,
    link: Option<LinkId>,
    stream: Option<Arc<Stream>>,
    stream_name: Vec<u16>,
    information: usize,
    by_short: bool,
}

impl MemFs {
    /// Opens or makes what `params` names.
    pub(super) fn create(&self, params: &CreateParams, now: i64) -> Outcome<Arc<Open>> {
        let mut space = self.space();
        if params.disposition > FILE_OVERWRITE_IF {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let both = FILE_DIRECTORY_FILE | FILE_NON_DIRECTORY_FILE;
        if params.options & both == both {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        if self.is_volume_open(params) {
            return self.open_volume(&mut space, params);
        }
        if !self.has_files() {
            return Err(STATUS_INVALID_DEVICE_REQUEST.into());
        }
        if params.option(FILE_OPEN_BY_FILE_ID) {
            let node = find_by_id(&space, &params.name)?;
            let link = space.first_link(node);
            let path = ParsedPath {
                absolute: false,
                components: Vec::new(),
                stream: StreamName::None,
                trailing_backslash: false,
            };
            return self.open_found(&mut space, params, &path, (node, link), now);
        }
        let path = parse(&super::to_units(&params.name))?;
        let start = params
            .related
            .as_ref()
            .map_or(space.root(), |open| open.node);
        if params.related.is_some() && path.absolute {
            return Err(STATUS_OBJECT_NAME_INVALID.into());
        }
        let resolved = space.resolve(start, &path)?;
        match self.resolved_in(&space, params.transaction, resolved)? {
            Resolved::Reparse { node, left } => {
                Err(self.reparse(&space, node, unparsed(&path, left)))
            }
            Resolved::Found { node, link } => {
                let link = link.or_else(|| params.related.as_ref().and_then(|open| open.link()));
                if params.operation_flags & SL_OPEN_TARGET_DIRECTORY != 0 {
                    return self.open_target_directory(&mut space, params, node, link, now);
                }
                self.open_found(&mut space, params, &path, (node, link), now)
            }
            Resolved::Missing { parent, name } => {
                if params.operation_flags & SL_OPEN_TARGET_DIRECTORY != 0 {
                    let done = self.open_directory(&mut space, params, parent)?;
                    return Ok(Done {
                        information: FILE_DOES_NOT_EXIST,
                        ..done
                    });
                }
                self.make(&mut space, params, &path, (parent, &name), now)
            }
        }
    }

    fn is_volume_open(&self, params: &CreateParams) -> bool {
        let by_volume = |open: &Arc<Open>| open.kind == OpenKind::Volume;
        params.name.is_empty() && params.related.as_ref().is_none_or(by_volume)
    }

    fn open_volume(&self, space: &mut Namespace, params: &CreateParams) -> Outcome<Arc<Open>> {
        if params.option(FILE_DIRECTORY_FILE) {
            return Err(STATUS_NOT_A_DIRECTORY.into());
        }
        if !matches!(params.disposition, FILE_OPEN | FILE_OPEN_IF) {
            return Err(STATUS_ACCESS_DENIED.into());
        }
        let access = map_generic(params.access);
        let sharing = Sharing::new(access, params.share);
        let stream = Arc::clone(&self.volume_stream);
        stream.scb().share.check(sharing)?;
        let root = space.root();
        self.enter(space, root, None, &stream, sharing)?;
        let granted = (access, sharing);
        let state = OpenState::default();
        let open = Open::new(
            root,
            stream,
            OpenKind::Volume,
            granted,
            params.options,
            state,
        );
        Ok(Done::new(Arc::new(open), FILE_OPENED))
    }

    /// For a rename: opens the directory that holds the name, and says whether the name is taken.
    fn open_target_directory(
        &self,
        space: &mut Namespace,
        params: &CreateParams,
        node: NodeId,
        link: Option<LinkId>,
        _now: i64,
    ) -> Outcome<Arc<Open>> {
        let link = link.ok_or(STATUS_INVALID_PARAMETER)?;
        let parent = space.link(node, link)?.parent;
        let done = self.open_directory(space, params, parent)?;
        Ok(Done {
            information: FILE_EXISTS,
            ..done
        })
    }

    fn open_directory(
        &self,
        space: &mut Namespace,
        params: &CreateParams,
        node: NodeId,
    ) -> Outcome<Arc<Open>> {
        let link = space.first_link(node);
        let stream = Arc::clone(&space.node(node)?.data);
        let access = map_generic(params.access);
        let sharing = Sharing::new(access, params.share);
        stream.scb().share.check(sharing)?;
        self.enter(space, node, link, &stream, sharing)?;
        let state = OpenState {
            link,
            ..OpenState::default()
        };
        let granted = (access, sharing);
        let open = Open::new(
            node,
            stream,
            OpenKind::Directory,
            granted,
            params.options,
            state,
        );
        Ok(Done::new(Arc::new(open), FILE_OPENED))
    }

    /// The name exists.
    fn open_found(
        &self,
        space: &mut Namespace,
        params: &CreateParams,
        path: &ParsedPath,
        (node, link): (NodeId, Option<LinkId>),
        now: i64,
    ) -> Outcome<Arc<Open>> {
        if link.is_some_and(|link| space.link(node, link).is_ok_and(|link| link.delete_pending)) {
            return Err(STATUS_DELETE_PENDING.into());
        }
        let found = space.node(node)?;
        super::transactions::check_there(found, params.transaction, params.may_create())?;
        if found.reparse.is_some() && !params.option(FILE_OPEN_REPARSE_POINT) {
            return Err(self.reparse(space, node, 0));
        }
        check_type(found, params, path)?;
        let stream_name = match &path.stream {
            StreamName::Named(name) => name.clone(),
            _ => Vec::new(),
        };
        let stream = found.stream(&stream_name);
        let information = match (&stream, params.disposition) {
            (Some(_), FILE_CREATE) => return Err(STATUS_OBJECT_NAME_COLLISION.into()),
            (Some(_), FILE_SUPERSEDE) => FILE_SUPERSEDED,
            (Some(_), FILE_OVERWRITE | FILE_OVERWRITE_IF) => FILE_OVERWRITTEN,
            (Some(_), _) => FILE_OPENED,
            (None, _) if params.may_create() => FILE_CREATED,
            (None, _) => return Err(STATUS_OBJECT_NAME_NOT_FOUND.into()),
        };
        let target = Target {
            node,
            link,
            stream,
            stream_name,
            information,
            by_short: is_by_short(space, path, node, link),
        };
        self.finish_open(space, params, target, now)
    }

    /// The name does not exist.
    fn make(
        &self,
        space: &mut Namespace,
        params: &CreateParams,
        path: &ParsedPath,
        (parent, name): (NodeId, &[u16]),
        now: i64,
    ) -> Outcome<Arc<Open>> {
        let directory = params.option(FILE_DIRECTORY_FILE) || path.stream == StreamName::Index;
        if !params.may_create() {
            return Err(STATUS_OBJECT_NAME_NOT_FOUND.into());
        }
        if self.is_read_only() {
            return Err(STATUS_MEDIA_WRITE_PROTECTED.into());
        }
        let stream_name = match &path.stream {
            StreamName::Named(name) if self.kind.named_streams() => name.clone(),
            StreamName::Named(_) => return Err(STATUS_OBJECT_NAME_INVALID.into()),
            _ => Vec::new(),
        };
        let odd = directory && (params.overwrites() || !stream_name.is_empty());
        if odd || (path.trailing_backslash && !directory) {
            return Err(STATUS_OBJECT_NAME_INVALID.into());
        }
        let pending = |link| {
            space
                .link(parent, link)
                .is_ok_and(|link| link.delete_pending)
        };
        if space.first_link(parent).is_some_and(pending) {
            return Err(STATUS_DELETE_PENDING.into());
        }
        if params.attributes & READONLY != 0 && params.option(FILE_DELETE_ON_CLOSE) {
            return Err(STATUS_CANNOT_DELETE.into());
        }
        let (node, link) = space.create(parent, name, directory, Bytes::default(), now)?;
        let made = space.node_mut(node)?;
        made.attributes = params.attributes & SETTABLE | if directory { 0 } else { ARCHIVE };
        made.data.bytes.set_allocation(params.allocation)?;
        let stream = stream_name.is_empty().then(|| Arc::clone(&made.data));
        let target = Target {
            node,
            link: Some(link),
            stream,
            stream_name,
            information: FILE_CREATED,
            by_short: false,
        };
        let done = self.finish_open(space, params, target, now);
        if done.is_err() {
            // The file was made for this open alone.
            let _gone = space.unlink(node, link, now);
        }
        done
    }

    /// Access, sharing, oplocks; then the open itself, and emptying where the disposition says so.
    fn finish_open(
        &self,
        space: &mut Namespace,
        params: &CreateParams,
        target: Target,
        now: i64,
    ) -> Outcome<Arc<Open>> {
        let node = space.node(target.node)?;
        let kind = if node.is_directory() && target.stream_name.is_empty() {
            OpenKind::Directory
        } else {
            OpenKind::Stream
        };
        let fresh = target.information == FILE_CREATED;
        let access = self.granted_access(node, params, fresh)?;
        super::encryption::check_key(node, access)?;
        let stream = match target.stream {
            Some(stream) => stream,
            None => space.add_stream(target.node, &target.stream_name, Bytes::default())?,
        };
        if stream.scb().delete_pending {
            return Err(STATUS_DELETE_PENDING.into());
        }
        let stream = self.seen_in(space, params, stream, access, fresh)?;
        let sharing = Sharing::new(access, params.share);
        let added = if fresh { 0 } else { params.added_access() };
        let wide = Sharing::new(access | added, params.share);
        let breaking = check_shared(&stream, wide, params)?;
        if !fresh && params.overwrites() {
            stream.check_truncate()?;
            if self.needs_notice(&stream) {
                return Err(super::outcome::Stop::Conflict(stream));
            }
            self.overwrite(space, params, target.node, &stream, now)?;
        }
        self.enter(space, target.node, target.link, &stream, sharing)?;
        if params.operation_flags & SL_OPEN_PAGING_FILE != 0 {
            stream.scb().paging = true;
        }
        let delete_on_close = params.option(FILE_DELETE_ON_CLOSE);
        let state = OpenState {
            link: target.link,
            transaction: params.transaction,
            by_short: target.by_short,
            delete_on_close,
            ..OpenState::default()
        };
        let granted = (access, sharing);
        let open = Open::new(target.node, stream, kind, granted, params.options, state);
        let mut done = Done::new(Arc::new(open), target.information);
        if breaking {
            done.status = STATUS_OPLOCK_BREAK_IN_PROGRESS;
        }
        Ok(done)
    }

    /// The access that this open gets; the host has no security descriptors, so only the volume and
    /// the read-only attribute stand in the way.
    fn granted_access(
        &self,
        node: &Node,
        params: &CreateParams,
        fresh: bool,
    ) -> Result<u32, NtStatus> {
        let mut access = map_generic(params.access);
        let write = WRITE_DATA | APPEND_DATA;
        let ignores = params.operation_flags & SL_IGNORE_READONLY_ATTRIBUTE != 0;
        let locked = node.attributes & READONLY != 0 && !node.is_directory() && !fresh && !ignores;
        if params.access & MAXIMUM_ALLOWED != 0 {
            access = ALL_ACCESS;
            if locked || self.is_read_only() {
                access &= !write;
            }
        }
        let wanted = access | if fresh { 0 } else { params.added_access() };
        if self.is_read_only() && (wanted & (write | DELETE) != 0) {
            return Err(STATUS_MEDIA_WRITE_PROTECTED);
        }
        if locked && wanted & write != 0 {
            return Err(STATUS_ACCESS_DENIED);
        }
        if locked && params.option(FILE_DELETE_ON_CLOSE) {
            return Err(STATUS_CANNOT_DELETE);
        }
        Ok(access)
    }

    /// Empties the stream; the unnamed one takes the named ones with it.
    fn overwrite(
        &self,
        space: &mut Namespace,
        params: &CreateParams,
        node: NodeId,
        stream: &Arc<Stream>,
        now: i64,
    ) -> Result<(), NtStatus> {
        let owner = space.node_mut(node)?;
        let keep = params.attributes & SETTABLE;
        // In a transaction the other streams, and the attributes, stay as everybody sees them.
        if stream.name.is_empty() && params.transaction == 0 {
            owner.named.retain(|_, stream| stream.scb().handles > 0);
            owner.attributes = keep | ARCHIVE;
        }
        owner.times.write = now;
        owner.times.change = now;
        stream.bytes.drop_source();
        stream.bytes.set_length(0)?;
        stream.bytes.set_allocation(params.allocation)
    }

    /// The answer to an open that met a reparse point.
    fn reparse(&self, space: &Namespace, node: NodeId, unparsed: usize) -> super::outcome::Stop {
        let found = space.node(node).ok().and_then(|node| node.reparse.clone());
        match found {
            Some(reparse) => super::outcome::Stop::Reparse { reparse, unparsed },
            None => STATUS_IO_REPARSE_DATA_INVALID.into(),
        }
    }

    /// Counts the open in everywhere.
    fn enter(
        &self,
        space: &mut Namespace,
        node: NodeId,
        link: Option<LinkId>,
        stream: &Arc<Stream>,
        sharing: Sharing,
    ) -> Result<(), NtStatus> {
        space.retain(node)?;
        if let Some(link) = link
            && let Ok(link) = space.link_mut(node, link)
        {
            link.handles = link.handles.saturating_add(1);
        }
        let mut scb = stream.scb();
        scb.share.add(sharing);
        scb.opens = scb.opens.saturating_add(1);
        scb.handles = scb.handles.saturating_add(1);
        stream.show_block(&mut scb);
        Ok(())
    }
}

/// Whether the last name of a path is the short one of what it led to.
fn is_by_short(space: &Namespace, path: &ParsedPath, node: NodeId, link: Option<LinkId>) -> bool {
    let found = link.and_then(|link| space.link(node, link).ok());
    let short = found.and_then(|link| link.short.as_ref());
    short
        .zip(path.components.last())
        .is_some_and(|(short, last)| fold(short) == fold(last))
}

/// The file by the 8 or 16 bytes of its id.
fn find_by_id(space: &Namespace, bytes: &[u8]) -> Result<NodeId, NtStatus> {
    let id = if let Ok(short) = <[u8; 8]>::try_from(bytes) {
        u128::from(u64::from_le_bytes(short))
    } else {
        let long = <[u8; 16]>::try_from(bytes).map_err(|_| STATUS_INVALID_PARAMETER)?;
        u128::from_le_bytes(long)
    };
    space.by_id(FileId(id)).ok_or(STATUS_INVALID_PARAMETER)
}

/// Units of the path behind the component where a reparse point was met, the backslash included.
fn unparsed(path: &ParsedPath, left: usize) -> usize {
    let from = path.components.len().saturating_sub(left);
    let names = path.components.iter().skip(from);
    let mut units: usize = names.map(|name| name.len() + 1).sum();
    units += match &path.stream {
        StreamName::Named(name) => name.len() + 1,
        _ => 0,
    };
    units + usize::from(path.trailing_backslash)
}

fn check_type(node: &Node, params: &CreateParams, path: &ParsedPath) -> Result<(), NtStatus> {
    let names_stream = matches!(path.stream, StreamName::Named(_) | StreamName::DefaultData);
    if node.is_directory() && !matches!(path.stream, StreamName::Named(_)) {
        if params.option(FILE_NON_DIRECTORY_FILE) || path.stream == StreamName::DefaultData {
            return Err(STATUS_FILE_IS_A_DIRECTORY);
        }
        if params.overwrites() {
            return Err(STATUS_OBJECT_NAME_COLLISION);
        }
        return Ok(());
    }
    if params.option(FILE_DIRECTORY_FILE) || path.stream == StreamName::Index {
        return Err(if params.disposition == FILE_CREATE {
            STATUS_OBJECT_NAME_COLLISION
        } else {
            STATUS_NOT_A_DIRECTORY
        });
    }
    if path.trailing_backslash && !names_stream {
        return Err(STATUS_OBJECT_NAME_INVALID);
    }
    Ok(())
}

/// Share modes and oplocks. True if a break is under way and the caller does not wait for it.
fn check_shared(
    stream: &Arc<Stream>,
    sharing: Sharing,
    params: &CreateParams,
) -> Result<bool, super::outcome::Stop> {
    let mut scb = stream.scb();
    let shared = scb.share.check(sharing);
    if scb.oplock.break_for(shared.is_err()) {
        if !params.option(FILE_COMPLETE_IF_OPLOCKED) {
            return Err(super::outcome::Stop::Oplock(Arc::clone(stream)));
        }
        shared?;
        return Ok(true);
    }
    shared?;
    if sharing.write && scb.sections.image > 0 {
        return Err(STATUS_SHARING_VIOLATION.into());
    }
    Ok(false)
}
