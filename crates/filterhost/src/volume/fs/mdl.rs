//! MDL writes: the cache's pages of a range are handed out, written to, and come back.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-fsrtlpreparemdlwritedev>
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-fsrtlmdlwritecompletedev>

use std::sync::Arc;

use super::MemFs;
use super::open::{Open, OpenKind, lock_owner};
use super::outcome::{Done, Outcome};
use crate::layout::{FltMdl, FltMdlWriteComplete, MDL, PVOID};
use crate::memory::{self, Block};
use crate::status::{
    NtStatus, STATUS_FILE_LOCK_CONFLICT, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
    STATUS_MEDIA_WRITE_PROTECTED,
};

/// Pages that somebody writes to.
pub(super) struct Lent {
    mdl: Block,
    pages: Block,
    offset: u64,
    length: usize,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lent({} bytes at {})", self.length, self.offset)
    }
}

impl MemFs {
    /// Hands the pages of a range out, described by a new MDL. The file grows to hold them.
    pub(super) fn prepare_mdl_write(
        &self,
        open: &Arc<Open>,
        asked: FltMdl,
        file: usize,
    ) -> Outcome<()> {
        if open.kind != OpenKind::Stream {
            return Err(STATUS_INVALID_DEVICE_REQUEST.into());
        }
        if self.is_read_only() {
            return Err(STATUS_MEDIA_WRITE_PROTECTED.into());
        }
        let offset = u64::try_from(asked.file_offset).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let end = offset.checked_add(u64::from(asked.length));
        let end = end.ok_or(STATUS_INVALID_PARAMETER)?;
        if asked.mdl_chain.is_null() || asked.length == 0 {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let owner = lock_owner(file, 0, asked.key);
        let free = open
            .stream
            .scb()
            .locks
            .may_write(offset, u64::from(asked.length), owner);
        if !free {
            return Err(STATUS_FILE_LOCK_CONFLICT.into());
        }
        if end > open.stream.bytes.length() {
            open.stream.bytes.set_length(end)?;
        }
        let lent = Lent::new(open, offset, asked.length)?;
        let mdl = lent.mdl.pointer::<MDL>();
        memory::write(asked.mdl_chain, mdl);
        let length = lent.length;
        self.lent.lock().insert(mdl.addr(), lent);
        Ok(Done::new((), length))
    }

    /// Takes the pages back: what they hold is the file's.
    pub(super) fn complete_mdl_write(
        &self,
        open: &Arc<Open>,
        asked: FltMdlWriteComplete,
        now: i64,
    ) -> Outcome<()> {
        let lent = self.lent.lock().remove(&asked.mdl_chain.addr());
        let lent = lent.ok_or(STATUS_INVALID_PARAMETER)?;
        if u64::try_from(asked.file_offset) != Ok(lent.offset) {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let data = memory::read_bytes(lent.pages.pointer(), lent.length);
        open.stream.bytes.write(lent.offset, &data)?;
        let end = lent.offset.saturating_add(lent.length as u64);
        open.stream.mark_dirty(lent.offset, end);
        open.state().modified = true;
        self.touch_written(open, now);
        Ok(Done::new((), lent.length))
    }

    /// Writes to pages that are handed out. They are the cache's: everybody sees it at once.
    pub(crate) fn store_to_lent(
        &self,
        open: &Arc<Open>,
        mdl: *mut MDL,
        data: &[u8],
    ) -> Result<(), NtStatus> {
        let lent = self.lent.lock();
        let lent = lent.get(&mdl.addr()).ok_or(STATUS_INVALID_PARAMETER)?;
        let data = data
            .get(..lent.length.min(data.len()))
            .ok_or(STATUS_INVALID_PARAMETER)?;
        memory::write_bytes(lent.pages.pointer(), data);
        open.stream.bytes.write(lent.offset, data)
    }
}

impl Lent {
    fn new(open: &Arc<Open>, offset: u64, count: u32) -> Result<Self, NtStatus> {
        let length = usize::try_from(count).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let mut data = vec![0; length];
        let read = open.stream.bytes.read(offset, &mut data)?;
        let pages = Block::zeroed(length);
        memory::write_bytes(pages.pointer(), data.get(..read).unwrap_or(&[]));
        let mdl = Block::zeroed(size_of::<MDL>());
        memory::write(
            mdl.pointer(),
            MDL {
                next: core::ptr::null_mut(),
                size: i16::try_from(size_of::<MDL>()).unwrap_or(0),
                mdl_flags: 0,
                process: core::ptr::null_mut(),
                mapped_system_va: pages.pointer::<u8>() as PVOID,
                start_va: pages.pointer::<u8>() as PVOID,
                byte_count: count,
                byte_offset: 0,
            },
        );
        Ok(Self {
            mdl,
            pages,
            offset,
            length,
        })
    }
}
