//! Reads, writes and byte-range locks.

use std::sync::Arc;

use super::MemFs;
use super::open::{Open, OpenKind};
use super::outcome::{Done, Outcome, Stop};
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_END_OF_FILE, STATUS_FILE_LOCK_CONFLICT,
    STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER, STATUS_MEDIA_WRITE_PROTECTED,
};
use crate::volume::kind::SECTOR_BYTES;
use crate::volume::locks::{ByteLock, LockOwner};

/// How a read or write goes.
#[derive(Clone, Copy, Debug)]
pub struct IoMode {
    /// IRP_NOCACHE.
    pub noncached: bool,
    /// IRP_PAGING_IO.
    pub paging: bool,
    /// Whose byte-range locks do not count.
    pub owner: LockOwner,
}

impl MemFs {
    /// Reads up to the end of file.
    pub(super) fn read(
        &self,
        open: &Arc<Open>,
        mode: IoMode,
        offset: u64,
        length: usize,
    ) -> Outcome<Vec<u8>> {
        if open.kind == OpenKind::Directory {
            return Err(STATUS_INVALID_DEVICE_REQUEST.into());
        }
        if open.kind == OpenKind::Volume {
            // The host keeps no clusters: a raw read shows an empty disk.
            return Ok(Done::new(vec![0; length], length));
        }
        check_alignment(mode, offset, length)?;
        if length == 0 {
            return Ok(Done::new(Vec::new(), 0));
        }
        if !mode.paging {
            let scb = open.stream.scb();
            if !scb.locks.may_read(offset, length as u64, mode.owner) {
                return Err(STATUS_FILE_LOCK_CONFLICT.into());
            }
        }
        let mut data = vec![0; length];
        let count = open.stream.bytes.read_view(offset, &mut data)?;
        if count == 0 {
            return Err(STATUS_END_OF_FILE.into());
        }
        data.truncate(count);
        Ok(Done::new(data, count))
    }

    /// Writes. A paging write brings what the cache holds already, and never moves the end of file.
    pub(super) fn write(
        &self,
        open: &Arc<Open>,
        mode: IoMode,
        offset: u64,
        data: &[u8],
        now: i64,
    ) -> Outcome<()> {
        if open.kind == OpenKind::Directory {
            return Err(STATUS_INVALID_DEVICE_REQUEST.into());
        }
        if self.is_read_only() {
            return Err(STATUS_MEDIA_WRITE_PROTECTED.into());
        }
        if open.kind == OpenKind::Volume {
            return Err(STATUS_ACCESS_DENIED.into());
        }
        check_alignment(mode, offset, data.len())?;
        if mode.paging {
            return Self::write_paging(open, offset, data);
        }
        let end = offset
            .checked_add(data.len() as u64)
            .ok_or(STATUS_INVALID_PARAMETER)?;
        if !open
            .stream
            .scb()
            .locks
            .may_write(offset, data.len() as u64, mode.owner)
        {
            return Err(STATUS_FILE_LOCK_CONFLICT.into());
        }
        if data.is_empty() {
            return Ok(Done::new((), 0));
        }
        if mode.noncached && self.needs_notice(&open.stream) {
            // A noncached write purges the cache, and a scan's section keeps pages in it.
            return Err(Stop::Conflict(Arc::clone(&open.stream)));
        }
        open.stream.bytes.write(offset, data)?;
        if !mode.noncached {
            open.stream.mark_dirty(offset, end);
        }
        open.state().modified = true;
        self.touch_written(open, now);
        Ok(Done::new((), data.len()))
    }

    /// Ranges that were changed again since the lazy writer took its copy stay as they are: their
    /// newer bytes are written by its next round.
    fn write_paging(open: &Arc<Open>, offset: u64, data: &[u8]) -> Outcome<()> {
        let end_of_file = open.stream.bytes.length();
        let end = offset.saturating_add(data.len() as u64).min(end_of_file);
        if offset >= end {
            return Ok(Done::new((), data.len()));
        }
        let newer = open.stream.scb().dirty.clone();
        let mut at = offset;
        while at < end {
            let covering = newer.iter().find(|(from, to)| *from <= at && at < *to);
            if let Some((_, to)) = covering {
                at = *to;
                continue;
            }
            let next = newer
                .iter()
                .map(|(from, _)| *from)
                .filter(|from| *from > at)
                .min();
            let until = next.unwrap_or(end).min(end);
            let range = span(offset, at)..span(offset, until);
            open.stream
                .bytes
                .write(at, data.get(range).unwrap_or(&[]))?;
            at = until;
        }
        Ok(Done::new((), data.len()))
    }

    pub(super) fn touch_written(&self, open: &Arc<Open>, now: i64) {
        let mut space = self.space();
        if let Ok(node) = space.node_mut(open.node) {
            node.times.write = now;
            node.times.change = now;
            node.attributes |= crate::volume::node::ARCHIVE;
        }
    }

    /// Takes or lets go byte-range locks.
    pub(super) fn lock(
        &self,
        open: &Arc<Open>,
        minor: u8,
        (offset, length): (u64, u64),
        exclusive: bool,
        owner: LockOwner,
    ) -> Outcome<()> {
        if open.kind != OpenKind::Stream {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let mut scb = open.stream.scb();
        match minor {
            IRP_MN_LOCK => scb.locks.lock(ByteLock {
                offset,
                length,
                exclusive,
                owner,
            })?,
            IRP_MN_UNLOCK_SINGLE => scb.locks.unlock(offset, length, owner)?,
            IRP_MN_UNLOCK_ALL => scb.locks.unlock_file(owner.file),
            _ => return Err(STATUS_INVALID_DEVICE_REQUEST.into()),
        }
        Ok(Done::new((), 0))
    }
}

/// IRP_MN_LOCK.
pub const IRP_MN_LOCK: u8 = 1;
/// IRP_MN_UNLOCK_SINGLE.
pub const IRP_MN_UNLOCK_SINGLE: u8 = 2;
/// IRP_MN_UNLOCK_ALL.
pub const IRP_MN_UNLOCK_ALL: u8 = 3;

fn span(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

/// Noncached transfers start and end at sectors.
fn check_alignment(mode: IoMode, offset: u64, length: usize) -> Result<(), NtStatus> {
    let length = length as u64;
    let aligned = offset.is_multiple_of(SECTOR_BYTES) && length.is_multiple_of(SECTOR_BYTES);
    if mode.noncached && !mode.paging && !aligned {
        return Err(STATUS_INVALID_PARAMETER);
    }
    Ok(())
}
