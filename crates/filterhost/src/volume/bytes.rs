//! The bytes of one stream: in memory, or still in the imported host file.
//!
//! Three readers see them. The file system reads the stream's own bytes. A section and whoever
//! reads through it see the *view*: the own bytes, or, while a stream is a placeholder, those of
//! the layer's stream behind it. Another process reads a *mirror*, an anonymous file that is kept
//! equal to the view for as long as somebody holds it, truncation included.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::memfd;
use crate::status::{
    NtStatus, STATUS_DISK_FULL, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    STATUS_UNEXPECTED_IO_ERROR,
};

/// Largest stream that the host keeps, in bytes.
pub const STREAM_BYTES_MAX: u64 = 1 << 32;

/// Where a stream's own bytes are.
#[derive(Debug)]
enum Backing {
    Memory(Vec<u8>),
    /// The host file, opened only to read and only while reading.
    Imported(PathBuf),
    /// Nothing was ever written: zeros, without memory for them.
    Hole,
}

/// A copy of a view that another process may read.
#[derive(Debug)]
pub struct Mirror {
    file: File,
}

impl Mirror {
    fn write(&self, offset: u64, data: &[u8]) {
        // A mirror that cannot follow is cut off, so that nobody reads old bytes as new ones.
        if self.file.write_all_at(data, offset).is_err() {
            let _cut = self.file.set_len(0);
        }
    }

    fn set_len(&self, length: u64) {
        if self.file.set_len(length).is_err() {
            let _cut = self.file.set_len(0);
        }
    }

    /// A descriptor for the other process.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES` if there is no descriptor left.
    pub fn descriptor(&self) -> Result<OwnedFd, NtStatus> {
        memfd::reopen_read_only(&self.file).map_err(|_| STATUS_INSUFFICIENT_RESOURCES)
    }
}

#[derive(Debug)]
struct Inner {
    backing: Backing,
    length: u64,
    valid: u64,
    allocation: u64,
    source: Option<Arc<Bytes>>,
    mirrors: Vec<Weak<Mirror>>,
}

/// The bytes of one stream. Its lock is a leaf, except that a placeholder's is taken before that of
/// the layer stream behind it.
#[derive(Debug)]
pub struct Bytes {
    inner: Mutex<Inner>,
}

impl Default for Bytes {
    fn default() -> Self {
        Self::new(Backing::Memory(Vec::new()), 0)
    }
}

impl Bytes {
    fn new(backing: Backing, length: u64) -> Self {
        let inner = Inner {
            backing,
            length,
            valid: length,
            allocation: round_up(length),
            source: None,
            mirrors: Vec::new(),
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Bytes that are `length` bytes of a host file, which stays as it is.
    #[must_use]
    pub fn imported(path: PathBuf, length: u64) -> Self {
        Self::new(Backing::Imported(path), length)
    }

    /// A stream of zeros that takes no memory until it is written: a placeholder's own bytes.
    #[must_use]
    pub fn hole(length: u64) -> Self {
        Self::new(Backing::Hole, length)
    }

    /// End of file of the own bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.inner.lock().length
    }

    /// End of file of the view.
    #[must_use]
    pub fn view_length(&self) -> u64 {
        let inner = self.inner.lock();
        inner
            .source
            .as_ref()
            .map_or(inner.length, |source| source.length())
    }

    /// Bytes set aside on the volume.
    #[must_use]
    pub fn allocation(&self) -> u64 {
        self.inner.lock().allocation
    }

    /// Bytes up to which data was ever written.
    #[must_use]
    pub fn valid(&self) -> u64 {
        self.inner.lock().valid
    }

    /// Reads the stream's own bytes; short at the end of file.
    ///
    /// # Errors
    /// `UNEXPECTED_IO_ERROR` if the imported host file cannot be read any more.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, NtStatus> {
        self.inner.lock().read(offset, buffer)
    }

    /// Reads what a section shows; short at the end of the view.
    ///
    /// # Errors
    /// As [`Bytes::read`].
    pub fn read_view(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, NtStatus> {
        let inner = self.inner.lock();
        match &inner.source {
            Some(source) => source.read(offset, buffer),
            None => inner.read(offset, buffer),
        }
    }

    /// Writes, and moves the end of file if the data ends behind it.
    ///
    /// # Errors
    /// `DISK_FULL` beyond [`STREAM_BYTES_MAX`]; as [`Bytes::read`] for the first write to an
    /// import.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), NtStatus> {
        let end = offset
            .checked_add(data.len() as u64)
            .ok_or(STATUS_INVALID_PARAMETER)?;
        let mut inner = self.inner.lock();
        let memory = inner.memory(end)?;
        let (from, to) = (index(offset)?, index(end)?);
        if memory.len() < to {
            memory.resize(to, 0);
        }
        if let Some(target) = memory.get_mut(from..to) {
            target.copy_from_slice(data);
        }
        if end > inner.length {
            inner.set_length(end);
        }
        inner.valid = inner.valid.max(end);
        inner.each_mirror(|mirror| mirror.write(offset, data));
        Ok(())
    }

    /// Moves the end of file; new bytes read as zeros.
    ///
    /// # Errors
    /// As [`Bytes::write`].
    pub fn set_length(&self, length: u64) -> Result<(), NtStatus> {
        let mut inner = self.inner.lock();
        let memory = inner.memory(length)?;
        memory.resize(index(length)?, 0);
        inner.set_length(length);
        inner.valid = inner.valid.min(length);
        inner.each_mirror(|mirror| mirror.set_len(length));
        Ok(())
    }

    /// Sets space aside; less than the end of file moves that too.
    ///
    /// # Errors
    /// As [`Bytes::set_length`].
    pub fn set_allocation(&self, allocation: u64) -> Result<(), NtStatus> {
        let rounded = round_up(allocation.min(STREAM_BYTES_MAX));
        if allocation < self.length() {
            self.set_length(allocation)?;
        }
        self.inner.lock().allocation = rounded;
        Ok(())
    }

    /// Declares `valid` bytes as written: what the disk held there before shows through.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` if it moves back or beyond the end of file.
    pub fn set_valid(&self, valid: u64, old_disk: &[u8]) -> Result<(), NtStatus> {
        let from = {
            let inner = self.inner.lock();
            if valid < inner.valid || valid > inner.length {
                return Err(STATUS_INVALID_PARAMETER);
            }
            inner.valid
        };
        let gap = index(valid - from)?;
        let shown: Vec<u8> = old_disk.iter().copied().cycle().take(gap).collect();
        self.write(from, &shown)
    }

    /// Zeroes a range inside the end of file.
    ///
    /// # Errors
    /// As [`Bytes::write`].
    pub fn zero(&self, from: u64, to: u64) -> Result<(), NtStatus> {
        let to = to.min(self.length());
        if from >= to {
            return Ok(());
        }
        self.write(from, &vec![0; index(to - from)?])
    }

    /// Shows the bytes of `source` in the view from now on.
    pub fn set_source(&self, source: &Arc<Bytes>) {
        let mut inner = self.inner.lock();
        inner.source = Some(Arc::clone(source));
    }

    /// The stream whose bytes the view shows, if it is not this one.
    #[must_use]
    pub fn source(&self) -> Option<Arc<Bytes>> {
        self.inner.lock().source.clone()
    }

    /// Copies the source's bytes here and lets it go: copy-on-write. No reader of the view sees a
    /// difference. Nothing happens without a source.
    ///
    /// # Errors
    /// As [`Bytes::read`] and [`Bytes::write`].
    pub fn adopt_source(&self) -> Result<(), NtStatus> {
        let mut inner = self.inner.lock();
        let Some(source) = inner.source.clone() else {
            return Ok(());
        };
        let copy = source.snapshot()?;
        let length = copy.len() as u64;
        inner.backing = Backing::Memory(copy);
        inner.set_length(length);
        inner.valid = length;
        inner.allocation = round_up(length);
        source.forget(&inner.mirrors);
        inner.source = None;
        Ok(())
    }

    /// Lets the source go without its bytes: the stream is about to be emptied.
    pub fn drop_source(&self) {
        let mut inner = self.inner.lock();
        let Some(source) = inner.source.take() else {
            return;
        };
        source.forget(&inner.mirrors);
        let length = inner.length;
        inner.each_mirror(|mirror| mirror.set_len(0));
        inner.each_mirror(|mirror| mirror.set_len(length));
    }

    /// All own bytes.
    ///
    /// # Errors
    /// As [`Bytes::read`].
    pub fn snapshot(&self) -> Result<Vec<u8>, NtStatus> {
        self.inner.lock().snapshot()
    }

    /// All bytes of the view.
    ///
    /// # Errors
    /// As [`Bytes::read`].
    pub fn view_snapshot(&self) -> Result<Vec<u8>, NtStatus> {
        let inner = self.inner.lock();
        match &inner.source {
            Some(source) => source.snapshot(),
            None => inner.snapshot(),
        }
    }

    /// A mirror of the view. It follows every change until the last holder drops it.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES` without a free descriptor or memory; as [`Bytes::read`].
    pub fn mirror(&self) -> Result<Arc<Mirror>, NtStatus> {
        let mut inner = self.inner.lock();
        inner.mirrors.retain(|mirror| mirror.strong_count() > 0);
        if let Some(mirror) = inner.mirrors.iter().find_map(Weak::upgrade) {
            return Ok(mirror);
        }
        let file = memfd::create().map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
        let mirror = Arc::new(Mirror { file });
        let copy = match &inner.source {
            Some(source) => source.snapshot_for(&mirror)?,
            None => inner.snapshot()?,
        };
        let written = mirror.file.write_all_at(&copy, 0);
        written.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
        inner.mirrors.push(Arc::downgrade(&mirror));
        Ok(mirror)
    }

    /// A snapshot, after which the mirror also follows this stream. The caller fills the mirror
    /// while it still holds the placeholder's lock, and this one's writers may overtake it: so the
    /// copy is written here, under this lock.
    fn snapshot_for(&self, mirror: &Arc<Mirror>) -> Result<Vec<u8>, NtStatus> {
        let mut inner = self.inner.lock();
        let copy = inner.snapshot()?;
        let written = mirror.file.write_all_at(&copy, 0);
        written.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
        inner.mirrors.push(Arc::downgrade(mirror));
        Ok(Vec::new())
    }

    fn forget(&self, gone: &[Weak<Mirror>]) {
        let keep = |mirror: &Weak<Mirror>| !gone.iter().any(|other| mirror.ptr_eq(other));
        self.inner.lock().mirrors.retain(keep);
    }
}

impl Inner {
    fn set_length(&mut self, length: u64) {
        self.length = length;
        self.allocation = self.allocation.max(round_up(length));
        if length == 0 {
            self.allocation = 0;
        }
    }

    /// The bytes in memory, copied from the import if this is the first change.
    fn memory(&mut self, end: u64) -> Result<&mut Vec<u8>, NtStatus> {
        if end > STREAM_BYTES_MAX {
            return Err(STATUS_DISK_FULL);
        }
        if !matches!(self.backing, Backing::Memory(_)) {
            self.backing = Backing::Memory(self.snapshot()?);
        }
        match &mut self.backing {
            Backing::Memory(memory) => Ok(memory),
            _ => Err(STATUS_UNEXPECTED_IO_ERROR),
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, NtStatus> {
        let left = self.length.saturating_sub(offset);
        let count = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(buffer) = buffer.get_mut(..count) else {
            return Ok(0);
        };
        if buffer.is_empty() {
            return Ok(0);
        }
        match &self.backing {
            Backing::Memory(memory) => {
                let from = index(offset)?;
                let data = memory
                    .get(from..from + count)
                    .ok_or(STATUS_UNEXPECTED_IO_ERROR)?;
                buffer.copy_from_slice(data);
            }
            Backing::Imported(path) => read_import(path, offset, buffer)?,
            Backing::Hole => buffer.fill(0),
        }
        Ok(count)
    }

    fn snapshot(&self) -> Result<Vec<u8>, NtStatus> {
        let mut copy = vec![0; index(self.length)?];
        self.read(0, &mut copy)?;
        Ok(copy)
    }

    fn each_mirror(&mut self, act: impl Fn(&Mirror)) {
        self.mirrors.retain(|mirror| {
            mirror.upgrade().is_some_and(|live| {
                act(&live);
                true
            })
        });
    }
}

fn read_import(path: &PathBuf, offset: u64, buffer: &mut [u8]) -> Result<(), NtStatus> {
    let read = File::open(path).and_then(|file| file.read_exact_at(buffer, offset));
    read.map_err(|_| STATUS_UNEXPECTED_IO_ERROR)
}

fn index(value: u64) -> Result<usize, NtStatus> {
    usize::try_from(value).map_err(|_| STATUS_INVALID_PARAMETER)
}

/// Rounds up to whole clusters of 4096 bytes.
#[must_use]
pub fn round_up(length: u64) -> u64 {
    length.div_ceil(4096).saturating_mul(4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_all(bytes: &Bytes) -> Vec<u8> {
        bytes.view_snapshot().unwrap()
    }

    fn through(fd: OwnedFd) -> Vec<u8> {
        let file = File::from(fd);
        let mut data = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut data, 0).unwrap();
        data
    }

    #[test]
    fn writing_beyond_the_end_fills_with_zeros() {
        let bytes = Bytes::default();
        bytes.write(3, b"abc").unwrap();
        assert_eq!(read_all(&bytes), b"\0\0\0abc");
        bytes.set_length(4).unwrap();
        bytes.set_length(6).unwrap();
        assert_eq!(read_all(&bytes), b"\0\0\0a\0\0");
        let mut short = [9; 8];
        assert_eq!(bytes.read(4, &mut short).unwrap(), 2);
        assert_eq!(bytes.write(STREAM_BYTES_MAX, b"x"), Err(STATUS_DISK_FULL));
    }

    #[test]
    fn the_host_file_is_never_written() {
        let mut host = tempfile::NamedTempFile::new().unwrap();
        host.write_all(b"original").unwrap();
        let bytes = Bytes::imported(host.path().to_path_buf(), 8);
        let mirror = bytes.mirror().unwrap();
        bytes.write(0, b"CHANGED!!").unwrap();
        assert_eq!(read_all(&bytes), b"CHANGED!!");
        assert_eq!(std::fs::read(host.path()).unwrap(), b"original");
        assert_eq!(through(mirror.descriptor().unwrap()), b"CHANGED!!");
    }

    #[test]
    fn an_import_that_vanished_is_an_io_error() {
        let bytes = Bytes::imported(PathBuf::from("/nonexistent/file"), 4);
        assert_eq!(bytes.snapshot(), Err(STATUS_UNEXPECTED_IO_ERROR));
        assert_eq!(bytes.write(0, b"x"), Err(STATUS_UNEXPECTED_IO_ERROR));
    }

    #[test]
    fn a_mirror_follows_truncation_and_is_read_only() {
        let bytes = Bytes::default();
        bytes.write(0, b"0123456789").unwrap();
        let mirror = bytes.mirror().unwrap();
        bytes.set_length(3).unwrap();
        assert_eq!(through(mirror.descriptor().unwrap()), b"012");
        let file = File::from(mirror.descriptor().unwrap());
        assert!(file.write_all_at(b"x", 0).is_err());
    }

    #[test]
    fn a_placeholder_shows_its_source_until_it_is_copied() {
        let layer = Arc::new(Bytes::default());
        layer.write(0, b"layer").unwrap();
        let own = Bytes::default();
        own.set_length(5).unwrap();
        own.set_source(&layer);
        let mirror = own.mirror().unwrap();
        assert_eq!(read_all(&own), b"layer");
        assert_eq!(own.snapshot().unwrap(), [0; 5]);
        layer.write(0, b"LAYER").unwrap();
        assert_eq!(through(mirror.descriptor().unwrap()), b"LAYER");
        own.adopt_source().unwrap();
        layer.write(0, b"other").unwrap();
        own.write(0, b"m").unwrap();
        assert_eq!(read_all(&own), b"mAYER");
        assert_eq!(through(mirror.descriptor().unwrap()), b"mAYER");
    }

    #[test]
    fn valid_data_length_shows_old_disk() {
        let bytes = Bytes::default();
        bytes.write(0, b"ab").unwrap();
        bytes.set_length(6).unwrap();
        assert_eq!(bytes.set_valid(7, b"xy"), Err(STATUS_INVALID_PARAMETER));
        assert_eq!(bytes.set_valid(1, b"xy"), Err(STATUS_INVALID_PARAMETER));
        bytes.set_valid(5, b"xy").unwrap();
        assert_eq!(read_all(&bytes), b"abxyx\0");
    }

    #[test]
    fn allocation_shrinks_the_file() {
        let bytes = Bytes::default();
        bytes.write(0, &[7; 5000]).unwrap();
        assert_eq!(bytes.allocation(), 8192);
        bytes.set_allocation(100).unwrap();
        assert_eq!((bytes.length(), bytes.allocation()), (100, 4096));
        bytes.set_allocation(1 << 20).unwrap();
        assert_eq!((bytes.length(), bytes.allocation()), (100, 1 << 20));
    }
}
