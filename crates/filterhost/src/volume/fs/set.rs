//! IRP_MJ_SET_INFORMATION: every class that changes bytes, names or attributes.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntsetinformationfile>
#![expect(
    non_upper_case_globals,
    reason = "information classes keep their Windows names"
)]

use std::sync::Arc;

use super::MemFs;
use super::open::{Open, OpenKind};
use super::outcome::{Done, Outcome, Stop};
use crate::layout::{
    FILE_DISPOSITION_DELETE, FILE_DISPOSITION_POSIX_SEMANTICS, FILE_RENAME_POSIX_SEMANTICS,
    FILE_RENAME_REPLACE_IF_EXISTS, FileAllocationInformation, FileBasicInformation,
    FileDispositionInformation, FileDispositionInformationEx, FileEndOfFileInformation,
    FileLinkInformation, FileLinkInformationBypassAccessCheck, FileLinkInformationEx,
    FileLinkInformationExBypassAccessCheck, FilePositionInformation, FileRenameInformation,
    FileRenameInformationBypassAccessCheck, FileRenameInformationEx,
    FileRenameInformationExBypassAccessCheck, FileShortNameInformation,
    FileValidDataLengthInformation,
};
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_CANNOT_DELETE, STATUS_DELETE_PENDING,
    STATUS_DIRECTORY_NOT_EMPTY, STATUS_FILE_DELETED, STATUS_INFO_LENGTH_MISMATCH,
    STATUS_INVALID_INFO_CLASS, STATUS_INVALID_PARAMETER, STATUS_MEDIA_WRITE_PROTECTED,
    STATUS_NOT_SUPPORTED, STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_INVALID,
};
use crate::volume::name::{fold, is_legal_component};
use crate::volume::namespace::{Namespace, Replace};
use crate::volume::node::{NodeId, READONLY, SETTABLE};
use crate::volume::request::to_units;
use crate::volume::share::DELETE;

/// What can be set in a transaction here: sizes, times, attributes, names in the older classes.
const CLASSES_IN_TRANSACTIONS: [i32; 7] = [
    FileDispositionInformation,
    FileRenameInformation,
    FileBasicInformation,
    FilePositionInformation,
    FileEndOfFileInformation,
    FileAllocationInformation,
    FileValidDataLengthInformation,
];
/// FILE_DISPOSITION_ON_CLOSE.
const DISPOSITION_ON_CLOSE: u32 = 8;
/// FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE.
const DISPOSITION_IGNORE_READONLY: u32 = 0x10;
/// FILE_DISPOSITION_FORCE_IMAGE_SECTION_CHECK.
const DISPOSITION_FORCE_CHECK: u32 = 4;
/// What the disk held before: shows when the valid data length is moved by hand.
const OLD_DISK: &[u8] = b"what the disk held before ";

/// Where a rename or link goes, beside the buffer.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The directory opened for it; none means a name in the same directory.
    pub parent: Option<NodeId>,
    /// ReplaceIfExists of the parameters.
    pub replace: bool,
    /// AdvanceOnly of the parameters.
    pub advance_only: bool,
}

/// What a file object says of the deletion of its file once this information is set
/// (`DeletePending`); nothing for information that is not about it.
/// <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_object>
pub(super) fn deletion(class: i32, buffer: &[u8]) -> Option<bool> {
    let first = buffer.first().copied().unwrap_or(0);
    match class {
        FileDispositionInformation => Some(first != 0),
        FileDispositionInformationEx => {
            let flags = word(buffer, 0).ok()?;
            (flags & DISPOSITION_ON_CLOSE == 0).then_some(flags & FILE_DISPOSITION_DELETE != 0)
        }
        _ => None,
    }
}

impl MemFs {
    /// Sets information of one class from `buffer`.
    pub(super) fn set(
        &self,
        open: &Arc<Open>,
        class: i32,
        buffer: &[u8],
        to: &Destination,
        now: i64,
    ) -> Outcome<()> {
        if open.kind == OpenKind::Volume {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        if self.is_read_only() && class != FilePositionInformation {
            return Err(STATUS_MEDIA_WRITE_PROTECTED.into());
        }
        let within = open.state().transaction;
        if within != 0 && !CLASSES_IN_TRANSACTIONS.contains(&class) {
            return Err(STATUS_NOT_SUPPORTED.into());
        }
        match class {
            FileDispositionInformation if within != 0 => {
                let delete = buffer.first().ok_or(STATUS_INFO_LENGTH_MISMATCH)?;
                self.dispose_in(open, within, *delete != 0)?;
            }
            FileRenameInformation if within != 0 => self.rename_in(open, within, buffer, to)?,
            FileBasicInformation => self.set_basic(open, buffer, now)?,
            FilePositionInformation => {}
            FileEndOfFileInformation => {
                self.set_end_of_file(open, number(buffer)?, to.advance_only, now)?;
            }
            FileAllocationInformation => self.set_allocation(open, number(buffer)?, now)?,
            FileValidDataLengthInformation => {
                stream_only(open)?;
                open.stream.bytes.set_valid(number(buffer)?, OLD_DISK)?;
                open.state().modified = true;
            }
            FileDispositionInformation => {
                let delete = buffer.first().ok_or(STATUS_INFO_LENGTH_MISMATCH)?;
                self.dispose(open, u32::from(*delete != 0), false)?;
            }
            FileDispositionInformationEx => {
                self.dispose(open, word(buffer, 0)?, true)?;
            }
            FileRenameInformation | FileRenameInformationBypassAccessCheck => {
                let replace = old_replace(buffer, to);
                self.rename(open, buffer, to, replace, now)?;
            }
            FileRenameInformationEx | FileRenameInformationExBypassAccessCheck => {
                let replace = self.replace_of(word(buffer, 0)?);
                self.rename(open, buffer, to, replace, now)?;
            }
            FileLinkInformation | FileLinkInformationBypassAccessCheck => {
                let replace = old_replace(buffer, to);
                self.link(open, buffer, to, replace, now)?;
            }
            FileLinkInformationEx | FileLinkInformationExBypassAccessCheck => {
                let replace = self.replace_of(word(buffer, 0)?);
                self.link(open, buffer, to, replace, now)?;
            }
            FileShortNameInformation => self.set_short_name(open, buffer)?,
            _ => return Err(STATUS_INVALID_INFO_CLASS.into()),
        }
        Ok(Done::new((), 0))
    }

    fn set_basic(&self, open: &Arc<Open>, buffer: &[u8], now: i64) -> Result<(), NtStatus> {
        let attributes = word(buffer, 32)?;
        let mut space = self.space();
        let node = space.node_mut(open.node)?;
        let mut times = node.times;
        let given = [
            (0, &mut times.creation),
            (8, &mut times.access),
            (16, &mut times.write),
            (24, &mut times.change),
        ];
        for (at, time) in given {
            // Zero and -1 mean: leave it.
            let value = long(buffer, at)?;
            if value > 0 {
                *time = value;
            }
        }
        if long(buffer, 24)? == 0 {
            times.change = now;
        }
        node.times = times;
        if attributes != 0 {
            node.attributes = attributes & SETTABLE;
        }
        Ok(())
    }

    fn set_end_of_file(
        &self,
        open: &Arc<Open>,
        length: u64,
        advance_only: bool,
        now: i64,
    ) -> Result<(), Stop> {
        stream_only(open)?;
        if advance_only {
            // The lazy writer's notice that data up to here has reached the disk.
            return Ok(());
        }
        self.make_room_for(open, length)?;
        open.stream.bytes.set_length(length)?;
        self.changed(open, now);
        Ok(())
    }

    fn set_allocation(&self, open: &Arc<Open>, allocation: u64, now: i64) -> Result<(), Stop> {
        stream_only(open)?;
        self.make_room_for(open, allocation)?;
        open.stream.bytes.set_allocation(allocation)?;
        self.changed(open, now);
        Ok(())
    }

    /// A shorter stream needs sections out of the way.
    fn make_room_for(&self, open: &Arc<Open>, length: u64) -> Result<(), Stop> {
        if length >= open.stream.bytes.length() {
            return Ok(());
        }
        open.stream.check_truncate()?;
        if self.needs_notice(&open.stream) {
            return Err(Stop::Conflict(Arc::clone(&open.stream)));
        }
        Ok(())
    }

    fn changed(&self, open: &Arc<Open>, now: i64) {
        open.state().modified = true;
        if let Ok(node) = self.space().node_mut(open.node) {
            node.times.write = now;
            node.times.change = now;
        }
    }

    /// Marks for deletion, or takes the mark away.
    fn dispose(&self, open: &Arc<Open>, flags: u32, extended: bool) -> Result<(), Stop> {
        let delete = flags & FILE_DISPOSITION_DELETE != 0;
        let posix = extended && flags & FILE_DISPOSITION_POSIX_SEMANTICS != 0;
        if posix && !self.kind.posix() {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        if extended && flags & DISPOSITION_ON_CLOSE != 0 {
            open.state().delete_on_close = delete;
            return Ok(());
        }
        let mut space = self.space();
        if !open.stream.name.is_empty() {
            open.stream.scb().delete_pending = delete;
            return Ok(());
        }
        if delete {
            let forced = flags & DISPOSITION_FORCE_CHECK != 0;
            self.check_deletable(&space, open, flags, posix && !forced)?;
        }
        let link = open.link().ok_or(STATUS_FILE_DELETED)?;
        space.link_mut(open.node, link)?.delete_pending = delete;
        open.state().posix_delete = delete && posix;
        Ok(())
    }

    /// May this file be deleted now?
    pub(super) fn check_deletable(
        &self,
        space: &Namespace,
        open: &Arc<Open>,
        flags: u32,
        whatever_is_mapped: bool,
    ) -> Result<(), Stop> {
        let node = space.node(open.node)?;
        if open.node == space.root() {
            return Err(STATUS_CANNOT_DELETE.into());
        }
        if node
            .entries
            .as_ref()
            .is_some_and(|entries| !entries.is_empty())
        {
            return Err(STATUS_DIRECTORY_NOT_EMPTY.into());
        }
        let ignore = flags & DISPOSITION_IGNORE_READONLY != 0;
        if node.attributes & READONLY != 0 && !ignore {
            return Err(STATUS_CANNOT_DELETE.into());
        }
        if whatever_is_mapped {
            return Ok(());
        }
        open.stream.check_delete()?;
        if self.needs_notice(&open.stream) {
            return Err(Stop::Conflict(Arc::clone(&open.stream)));
        }
        Ok(())
    }

    fn rename(
        &self,
        open: &Arc<Open>,
        buffer: &[u8],
        to: &Destination,
        replace: Replace,
        now: i64,
    ) -> Result<(), Stop> {
        if !open.stream.name.is_empty() {
            return self.rename_stream(open, buffer, replace);
        }
        let mut space = self.space();
        let link = open.link().ok_or(STATUS_FILE_DELETED)?;
        let old = space.link(open.node, link)?;
        if old.delete_pending {
            return Err(STATUS_DELETE_PENDING.into());
        }
        let parent = to.parent.unwrap_or(old.parent);
        let name = final_name(buffer)?;
        self.check_target(&space, parent, &name, open.node, replace)?;
        let mut below = space.streams_below(open.node).into_iter();
        if let Some(stream) = below.find(|stream| stream.scb().oplock.break_for_rename_above()) {
            return Err(Stop::Oplock(stream));
        }
        Ok(space.rename(open.node, link, parent, &name, replace, now)?)
    }

    fn link(
        &self,
        open: &Arc<Open>,
        buffer: &[u8],
        to: &Destination,
        replace: Replace,
        now: i64,
    ) -> Result<(), Stop> {
        let mut space = self.space();
        let from = open.link().ok_or(STATUS_FILE_DELETED)?;
        let parent = to.parent.unwrap_or(space.link(open.node, from)?.parent);
        let name = final_name(buffer)?;
        self.check_target(&space, parent, &name, open.node, replace)?;
        space.add_link(open.node, parent, &name, replace, now)?;
        Ok(())
    }

    /// The file that a rename or link replaces must let go of sections first.
    fn check_target(
        &self,
        space: &Namespace,
        parent: NodeId,
        name: &[u16],
        node: NodeId,
        replace: Replace,
    ) -> Result<(), Stop> {
        let Some((target, _)) = space.child(parent, name)? else {
            return Ok(());
        };
        if target == node || replace == Replace::No {
            return Ok(());
        }
        let stream = &space.node(target)?.data;
        if self.needs_notice(stream) {
            return Err(Stop::Conflict(Arc::clone(stream)));
        }
        Ok(())
    }

    /// FILE_NAME_INFORMATION: byte count and name. The handle needs DELETE.
    fn set_short_name(&self, open: &Arc<Open>, buffer: &[u8]) -> Result<(), Stop> {
        if open.access & DELETE == 0 {
            return Err(STATUS_ACCESS_DENIED.into());
        }
        let length = usize::try_from(word(buffer, 0)?).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let end = length.checked_add(4).ok_or(STATUS_INVALID_PARAMETER)?;
        let name = buffer.get(4..end).ok_or(STATUS_INFO_LENGTH_MISMATCH)?;
        let link = open.link().ok_or(STATUS_FILE_DELETED)?;
        Ok(self.space().set_short(open.node, link, &to_units(name))?)
    }

    /// `:new` on an open of `file:old`.
    fn rename_stream(&self, open: &Arc<Open>, buffer: &[u8], replace: Replace) -> Result<(), Stop> {
        let name = rename_name(buffer)?;
        let colon = u16::from(b':');
        let mut parts = name.split(|unit| *unit == colon);
        let (Some([]), Some(new), None | Some(_)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(STATUS_INVALID_PARAMETER.into());
        };
        if new.is_empty() {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let mut space = self.space();
        let node = space.node_mut(open.node)?;
        if node.named.contains_key(&fold(new)) && replace == Replace::No {
            return Err(STATUS_OBJECT_NAME_COLLISION.into());
        }
        let old = node
            .named
            .iter()
            .find(|(_, stream)| Arc::ptr_eq(stream, &open.stream));
        let key = old.map(|(key, _)| key.clone()).ok_or(STATUS_FILE_DELETED)?;
        if let Some(stream) = node.named.remove(&key) {
            node.named.insert(fold(new), stream);
        }
        Ok(())
    }

    fn replace_of(&self, flags: u32) -> Replace {
        let posix = flags & FILE_RENAME_POSIX_SEMANTICS != 0 && self.kind.posix();
        match flags & FILE_RENAME_REPLACE_IF_EXISTS != 0 {
            false => Replace::No,
            true if posix => Replace::Posix,
            true => Replace::Yes,
        }
    }
}

pub(super) fn old_replace(buffer: &[u8], to: &Destination) -> Replace {
    let in_buffer = buffer.first().is_some_and(|byte| *byte != 0);
    if to.replace || in_buffer {
        Replace::Yes
    } else {
        Replace::No
    }
}

fn stream_only(open: &Arc<Open>) -> Result<(), NtStatus> {
    if open.kind == OpenKind::Stream {
        Ok(())
    } else {
        Err(STATUS_INVALID_PARAMETER)
    }
}

/// The name in FILE_RENAME_INFORMATION or FILE_LINK_INFORMATION.
fn rename_name(buffer: &[u8]) -> Result<Vec<u16>, NtStatus> {
    let length = usize::try_from(word(buffer, 16)?).map_err(|_| STATUS_INVALID_PARAMETER)?;
    let end = length.checked_add(20).ok_or(STATUS_INVALID_PARAMETER)?;
    let name = buffer.get(20..end).ok_or(STATUS_INFO_LENGTH_MISMATCH)?;
    Ok(to_units(name))
}

/// What follows the last backslash of that name.
pub(super) fn final_name(buffer: &[u8]) -> Result<Vec<u16>, NtStatus> {
    let whole = rename_name(buffer)?;
    let last = whole
        .rsplit(|unit| *unit == u16::from(b'\\'))
        .next()
        .unwrap_or(&[]);
    if is_legal_component(last) {
        Ok(last.to_vec())
    } else {
        Err(STATUS_OBJECT_NAME_INVALID)
    }
}

/// A 32-bit number at `at`.
pub(super) fn word(buffer: &[u8], at: usize) -> Result<u32, NtStatus> {
    let bytes = buffer.get(at..).and_then(|rest| rest.first_chunk::<4>());
    bytes
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or(STATUS_INFO_LENGTH_MISMATCH)
}

/// A 64-bit number at `at`.
pub(super) fn long(buffer: &[u8], at: usize) -> Result<i64, NtStatus> {
    let bytes = buffer.get(at..).and_then(|rest| rest.first_chunk::<8>());
    bytes
        .map(|bytes| i64::from_le_bytes(*bytes))
        .ok_or(STATUS_INFO_LENGTH_MISMATCH)
}

fn number(buffer: &[u8]) -> Result<u64, NtStatus> {
    u64::try_from(long(buffer, 0)?).map_err(|_| STATUS_INVALID_PARAMETER)
}
