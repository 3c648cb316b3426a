//! IRP_MJ_FILE_SYSTEM_CONTROL: the controls that change what a file holds or shows.
//!
//! A control that is not listed gets INVALID_DEVICE_REQUEST, as any file system answers.

use std::sync::Arc;

use super::MemFs;
use super::encryption::FSCTL_SET_ENCRYPTION;
use super::open::{Open, OpenKind};
use super::outcome::{Done, Outcome, Stop};
use super::set::{long, word};
use crate::layout::{
    FSCTL_DELETE_REPARSE_POINT, FSCTL_DISMOUNT_VOLUME, FSCTL_DUPLICATE_EXTENTS_TO_FILE,
    FSCTL_GET_REPARSE_POINT, FSCTL_LOCK_VOLUME, FSCTL_SET_REPARSE_POINT, FSCTL_SET_SPARSE,
    FSCTL_SET_ZERO_DATA, FSCTL_UNLOCK_VOLUME,
};
use crate::status::{
    NtStatus, STATUS_BUFFER_TOO_SMALL, STATUS_DIRECTORY_NOT_EMPTY, STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_HANDLE, STATUS_INVALID_OPLOCK_PROTOCOL, STATUS_INVALID_PARAMETER,
    STATUS_IO_REPARSE_DATA_INVALID, STATUS_IO_REPARSE_TAG_MISMATCH, STATUS_MEDIA_WRITE_PROTECTED,
    STATUS_NOT_A_REPARSE_POINT, STATUS_NOT_SUPPORTED, STATUS_OPLOCK_NOT_GRANTED,
};
use crate::volume::kind::CLUSTER_BYTES;
use crate::volume::node::Reparse;
use crate::volume::oplock::OplockKind;

/// FSCTL_REQUEST_BATCH_OPLOCK.
pub const FSCTL_REQUEST_BATCH_OPLOCK: u32 = 0x9_0008;
/// FSCTL_OPLOCK_BREAK_ACKNOWLEDGE.
pub const FSCTL_OPLOCK_BREAK_ACKNOWLEDGE: u32 = 0x9_000c;
/// FSCTL_REQUEST_OPLOCK: here always for read and handle caching.
pub const FSCTL_REQUEST_OPLOCK: u32 = 0x9_0240;
/// FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX.
pub const FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX: u32 = 0x9_83e8;
const REPARSE_DATA_MAX: usize = 16 * 1024;
const SPARSE: u32 = 0x200;
/// Bit 31: the tag is Microsoft's, so there is no GUID behind the header.
const TAG_MICROSOFT: u32 = 0x8000_0000;

/// A control, taken from callback data; `source` is the open that a block clone reads from.
#[derive(Debug)]
pub struct Control<'a> {
    /// The control code.
    pub code: u32,
    /// The input buffer.
    pub input: &'a [u8],
    /// Bytes of the output buffer.
    pub room: usize,
    /// Address of the file object.
    pub file: usize,
    /// For a block clone: the source's open.
    pub source: Option<Arc<Open>>,
}

impl MemFs {
    /// Carries out one control.
    pub(super) fn control(
        &self,
        open: &Arc<Open>,
        control: &Control<'_>,
        now: i64,
    ) -> Outcome<Vec<u8>> {
        let writes = !matches!(
            control.code,
            FSCTL_GET_REPARSE_POINT
                | FSCTL_REQUEST_BATCH_OPLOCK
                | FSCTL_REQUEST_OPLOCK
                | FSCTL_OPLOCK_BREAK_ACKNOWLEDGE
        );
        if open.kind == OpenKind::Volume {
            return self.control_volume(control.code);
        }
        if writes && self.is_read_only() {
            return Err(STATUS_MEDIA_WRITE_PROTECTED.into());
        }
        match control.code {
            FSCTL_SET_ZERO_DATA => self.zero_data(open, control.input, now)?,
            FSCTL_DUPLICATE_EXTENTS_TO_FILE | FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX => {
                self.clone_blocks(open, control, now)?;
            }
            FSCTL_SET_REPARSE_POINT => self.set_reparse(open, control.input, now)?,
            FSCTL_DELETE_REPARSE_POINT => self.delete_reparse(open, control.input, now)?,
            FSCTL_GET_REPARSE_POINT => return self.get_reparse(open, control.room),
            FSCTL_SET_ENCRYPTION => self.set_encryption(open, control.input)?,
            FSCTL_SET_SPARSE => self.space().node_mut(open.node)?.attributes |= SPARSE,
            FSCTL_REQUEST_BATCH_OPLOCK => grant(open, control.file, OplockKind::Batch)?,
            FSCTL_REQUEST_OPLOCK => grant(open, control.file, OplockKind::ReadHandle)?,
            FSCTL_OPLOCK_BREAK_ACKNOWLEDGE => {
                if !open.stream.scb().oplock.release(control.file) {
                    return Err(STATUS_INVALID_OPLOCK_PROTOCOL.into());
                }
            }
            _ => return Err(STATUS_INVALID_DEVICE_REQUEST.into()),
        }
        Ok(Done::new(Vec::new(), 0))
    }

    fn control_volume(&self, code: u32) -> Outcome<Vec<u8>> {
        match code {
            FSCTL_LOCK_VOLUME => self.lock_volume(true)?,
            FSCTL_UNLOCK_VOLUME => self.lock_volume(false)?,
            FSCTL_DISMOUNT_VOLUME => self.set_dismounted(),
            _ => return Err(STATUS_INVALID_DEVICE_REQUEST.into()),
        }
        Ok(Done::new(Vec::new(), 0))
    }

    /// FILE_ZERO_DATA_INFORMATION: from and beyond, both 64 bits.
    fn zero_data(&self, open: &Arc<Open>, input: &[u8], now: i64) -> Result<(), Stop> {
        if open.kind != OpenKind::Stream {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let (from, to) = (offset(input, 0)?, offset(input, 8)?);
        if from > to {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        open.stream.bytes.zero(from, to)?;
        self.written(open, now);
        Ok(())
    }

    /// DUPLICATE_EXTENTS_DATA: handle, source offset, target offset, byte count.
    fn clone_blocks(&self, open: &Arc<Open>, control: &Control<'_>, now: i64) -> Result<(), Stop> {
        if !self.kind.block_clone() {
            return Err(STATUS_INVALID_DEVICE_REQUEST.into());
        }
        let at = if control.code == FSCTL_DUPLICATE_EXTENTS_TO_FILE {
            8
        } else {
            16
        };
        let from = offset(control.input, at)?;
        let to = offset(control.input, at + 8)?;
        let count = offset(control.input, at + 16)?;
        let source = control.source.as_ref().ok_or(STATUS_INVALID_HANDLE)?;
        let end = from.checked_add(count).ok_or(STATUS_INVALID_PARAMETER)?;
        let length = source.stream.bytes.length();
        let whole = |value: u64| value.is_multiple_of(CLUSTER_BYTES);
        let tail = end == length || end == length.next_multiple_of(CLUSTER_BYTES);
        if !whole(from)
            || !whole(to)
            || !(whole(count) || tail)
            || end > length.next_multiple_of(CLUSTER_BYTES)
        {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let count = usize::try_from(count).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let mut data = vec![0; count];
        let read = source.stream.bytes.read(from, &mut data)?;
        let room = open.stream.bytes.length().saturating_sub(to);
        if read as u64 > room {
            return Err(STATUS_NOT_SUPPORTED.into());
        }
        if self.needs_notice(&open.stream) {
            return Err(Stop::Conflict(Arc::clone(&open.stream)));
        }
        open.stream
            .bytes
            .write(to, data.get(..read).unwrap_or(&[]))?;
        self.written(open, now);
        Ok(())
    }

    fn written(&self, open: &Arc<Open>, now: i64) {
        open.state().modified = true;
        if let Ok(node) = self.space().node_mut(open.node) {
            node.times.write = now;
            node.times.change = now;
        }
    }

    /// REPARSE_DATA_BUFFER: tag, length, reserved, data.
    fn set_reparse(&self, open: &Arc<Open>, input: &[u8], now: i64) -> Result<(), NtStatus> {
        if !self.kind.reparse_points() {
            return Err(STATUS_INVALID_DEVICE_REQUEST);
        }
        let (tag, data) = split_reparse(input)?;
        let mut space = self.space();
        let node = space.node_mut(open.node)?;
        if node
            .entries
            .as_ref()
            .is_some_and(|entries| !entries.is_empty())
        {
            return Err(STATUS_DIRECTORY_NOT_EMPTY);
        }
        if node.reparse.as_ref().is_some_and(|old| old.tag != tag) {
            return Err(STATUS_IO_REPARSE_TAG_MISMATCH);
        }
        node.reparse = Some(Reparse { tag, data });
        node.times.change = now;
        Ok(())
    }

    fn delete_reparse(&self, open: &Arc<Open>, input: &[u8], now: i64) -> Result<(), NtStatus> {
        let tag = word(input, 0).map_err(|_| STATUS_IO_REPARSE_DATA_INVALID)?;
        let mut space = self.space();
        let node = space.node_mut(open.node)?;
        let old = node.reparse.as_ref().ok_or(STATUS_NOT_A_REPARSE_POINT)?;
        if old.tag != tag {
            return Err(STATUS_IO_REPARSE_TAG_MISMATCH);
        }
        node.reparse = None;
        node.times.change = now;
        Ok(())
    }

    fn get_reparse(&self, open: &Arc<Open>, room: usize) -> Outcome<Vec<u8>> {
        let space = self.space();
        let found = space
            .node(open.node)?
            .reparse
            .as_ref()
            .ok_or(STATUS_NOT_A_REPARSE_POINT)?;
        let mut reply = super::reply::Reply::default();
        let length = u32::try_from(found.data.len()).unwrap_or(0);
        reply.word(found.tag).word(length).bytes(&found.data);
        if room < 8 {
            return Err(STATUS_BUFFER_TOO_SMALL.into());
        }
        reply.finish(8, room)
    }
}

fn grant(open: &Arc<Open>, file: usize, kind: OplockKind) -> Result<(), NtStatus> {
    let mut scb = open.stream.scb();
    let alone = scb.handles <= 1 || kind == OplockKind::ReadHandle;
    if open.kind == OpenKind::Stream && alone && scb.oplock.grant(file, kind) {
        Ok(())
    } else {
        Err(STATUS_OPLOCK_NOT_GRANTED)
    }
}

fn split_reparse(input: &[u8]) -> Result<(u32, Vec<u8>), NtStatus> {
    let invalid = STATUS_IO_REPARSE_DATA_INVALID;
    let tag = word(input, 0).map_err(|_| invalid)?;
    let length =
        usize::from(u16::try_from(word(input, 4).map_err(|_| invalid)? & 0xffff).unwrap_or(0));
    let header = if tag & TAG_MICROSOFT == 0 { 24 } else { 8 };
    let data = input.get(header..).ok_or(invalid)?;
    if tag == 0 || data.len() != length || length > REPARSE_DATA_MAX {
        return Err(invalid);
    }
    Ok((tag, data.to_vec()))
}

fn offset(input: &[u8], at: usize) -> Result<u64, NtStatus> {
    let value = long(input, at).map_err(|_| STATUS_INVALID_PARAMETER)?;
    u64::try_from(value).map_err(|_| STATUS_INVALID_PARAMETER)
}
