//! Sections: views of a stream's bytes that last longer than a read, and get in the way of
//! truncation and deletion.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use super::bytes::Mirror;
use super::stream::Stream;
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_END_OF_FILE, STATUS_FILE_IS_A_DIRECTORY, STATUS_FILE_LOCK_CONFLICT,
};

/// What a section is for; each kind stands in the way of other things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionUse {
    /// A user's read-only data section.
    Data,
    /// A user's writable data section.
    Writable,
    /// An image section.
    Image,
    /// A section for a data scan: told of conflicts, and gives way.
    Scan,
}

/// A section over one stream. It counts as a section until it is dropped.
pub struct SectionBytes {
    m: Arc<Machine>,
    stream: Arc<Stream>,
    /// The stream that it counts on, where that is not the one that it shows.
    behind: Option<Arc<Stream>>,
    purpose: SectionUse,
    size: u64,
    mirror: OnceLock<Arc<Mirror>>,
}

impl SectionBytes {
    /// Makes a section over all bytes of a stream.
    ///
    /// # Errors
    /// `END_OF_FILE` for an empty stream (callers that promise another status turn it around),
    /// `FILE_LOCK_CONFLICT` for a scan while byte ranges are locked.
    pub fn create(
        m: &Arc<Machine>,
        stream: &Arc<Stream>,
        purpose: SectionUse,
    ) -> Result<Arc<Self>, NtStatus> {
        let size = stream.bytes.view_length();
        if size == 0 {
            return Err(STATUS_END_OF_FILE);
        }
        let behind = stream.behind().filter(|_| purpose == SectionUse::Scan);
        if behind.is_some() && stream.scb().locks.any() {
            return Err(STATUS_FILE_LOCK_CONFLICT);
        }
        let mut scb = behind.as_ref().unwrap_or(stream).scb();
        if purpose == SectionUse::Scan && scb.locks.any() {
            return Err(STATUS_FILE_LOCK_CONFLICT);
        }
        if behind.is_some() {
            scb.sections.through = scb.sections.through.saturating_add(1);
        }
        let count = count_of(&mut scb.sections, purpose);
        *count = count.saturating_add(1);
        show(&scb);
        drop(scb);
        let stream = Arc::clone(stream);
        let mirror = OnceLock::new();
        Ok(Arc::new(Self {
            m: Arc::clone(m),
            stream,
            behind,
            purpose,
            size,
            mirror,
        }))
    }

    /// Bytes of the stream when the section was made.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the section is for.
    #[must_use]
    pub fn purpose(&self) -> SectionUse {
        self.purpose
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Reads what a view of the section shows now. Short where the file has shrunk: a real view
    /// raises an in-page error there.
    ///
    /// # Errors
    /// `UNEXPECTED_IO_ERROR` if an imported host file cannot be read any more.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, NtStatus> {
        let left = self.size.saturating_sub(offset);
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let part = buffer.get_mut(..room).unwrap_or_default();
        self.stream.bytes.read_view(offset, part)
    }

    /// Writes through a writable view: no operation goes down the stack now; the lazy writer
    /// brings the bytes to the file later.
    pub(crate) fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), NtStatus> {
        let end = offset.saturating_add(data.len() as u64);
        if self.purpose != SectionUse::Writable || end > self.size {
            return Err(crate::status::STATUS_ACCESS_VIOLATION);
        }
        self.stream.bytes.write(offset, data)?;
        self.stream.mark_dirty(offset, end);
        Ok(())
    }

    /// A read-only descriptor for another process. It shows every later change, truncation
    /// included, for as long as this section lives.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`, or `UNEXPECTED_IO_ERROR` for a vanished import.
    pub fn descriptor(&self) -> Result<OwnedFd, NtStatus> {
        if let Some(mirror) = self.mirror.get() {
            return mirror.descriptor();
        }
        let made = self.stream.bytes.mirror()?;
        self.mirror.get_or_init(|| made).descriptor()
    }
}

impl Drop for SectionBytes {
    fn drop(&mut self) {
        let mut scb = self.behind.as_ref().unwrap_or(&self.stream).scb();
        if self.behind.is_some() {
            scb.sections.through = scb.sections.through.saturating_sub(1);
        }
        let count = count_of(&mut scb.sections, self.purpose);
        *count = count.saturating_sub(1);
        show(&scb);
        drop(scb);
        self.m.sched().notify();
    }
}

impl std::fmt::Debug for SectionBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Section({:?}, {} bytes)", self.purpose, self.size)
    }
}

/// Refuses what has no bytes to map.
///
/// # Errors
/// `FILE_IS_A_DIRECTORY`.
pub fn check_mappable(is_directory: bool) -> Result<(), NtStatus> {
    if is_directory {
        Err(STATUS_FILE_IS_A_DIRECTORY)
    } else {
        Ok(())
    }
}

fn count_of(sections: &mut super::stream::Sections, purpose: SectionUse) -> &mut u32 {
    match purpose {
        SectionUse::Data => &mut sections.user,
        SectionUse::Writable => &mut sections.writable,
        SectionUse::Image => &mut sections.image,
        SectionUse::Scan => &mut sections.scan,
    }
}

fn show(scb: &super::stream::Scb) {
    if let Some(block) = &scb.block {
        let data = scb.sections.user + scb.sections.writable + scb.sections.scan > 0;
        block.show_sections(data, scb.sections.image > 0);
    }
}
