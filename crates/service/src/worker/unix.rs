//! Workers on Linux: the way between is a socket pair, the copy of a file comes as a sealed memfd.
#![expect(
    unsafe_code,
    reason = "memory that is shared with another process has no safe wrapper"
)]

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use zerocopy::IntoBytes;

use super::wire::{ORDER_BYTES, Order};

/// A copy as it reaches the worker.
pub(super) type Owned = OwnedFd;

/// Of smaller parts the pages are mapped as they are touched: that costs less than a call.
const POPULATE_BYTES_MIN: usize = 16 << 10;

/// Memory that is mapped into this process.
#[derive(Debug)]
struct Mapping {
    start: *mut std::ffi::c_void,
    room: usize,
}

// SAFETY: a mapping belongs to the process and not to a thread; it moves as a whole.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(memory: &OwnedFd, room: usize, access: ProtFlags) -> io::Result<Self> {
        let anywhere = ptr::null_mut();
        // Who only reads wants all of it now: one call costs less than a fault for each few pages.
        let flags = match access {
            ProtFlags::READ => MapFlags::SHARED | MapFlags::POPULATE,
            _ => MapFlags::SHARED,
        };
        // SAFETY: a new mapping at a place of the system's choice replaces no other.
        let start = unsafe { mmap(anywhere, room, access, flags, memory, 0) }?;
        Ok(Self { start, room })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // It fails only for what was never mapped.
        // SAFETY: this value owns the mapping and is about to go, so nobody reads it afterwards.
        let _ = unsafe { munmap(self.start, self.room) };
    }
}

/// The copy of one file, in memory that can be handed to a worker. A worker can neither change nor
/// resize it: it is sealed against everybody but the mapping that this value has.
///
/// # Invariants
/// `mapping` has at least `size` bytes, and nobody else writes to them.
#[derive(Debug)]
pub(crate) struct FileCopy {
    memory: OwnedFd,
    mapping: Mapping,
    size: usize,
    /// So many bytes from the first on have memory.
    given: usize,
}

impl FileCopy {
    /// Room for `size` bytes; [`FileCopy::part`] gives it memory. The caller takes `size` from the
    /// memory budget before: nothing else bounds it, and the system ends processes where it has no
    /// more.
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        Self::named("siloscan-copy", size)
    }

    /// Room for `room` bytes, to be used again and again by [`FileCopy::begin`] for the files of
    /// one worker alone: of an older file it shows what the newer one does not cover.
    pub(super) fn kept(room: usize) -> io::Result<Self> {
        Self::named("siloscan-kept", room)
    }

    /// Makes this the copy of a file of `size` bytes, which is to be filled. False where it has no
    /// room for that.
    pub(super) fn begin(&mut self, size: usize) -> bool {
        let fits = size <= self.mapping.room;
        if fits {
            // INVARIANT: so many bytes are mapped.
            self.size = size;
        }
        fits
    }

    fn named(name: &str, size: usize) -> io::Result<Self> {
        // Nothing cannot be mapped.
        let room = size.max(1);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create(name, flags)?;
        rustix::fs::ftruncate(&memory, room as u64)?;
        let mapping = Mapping::new(&memory, room, ProtFlags::READ | ProtFlags::WRITE)?;
        rustix::fs::fcntl_add_seals(
            &memory,
            SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        // INVARIANT: the seals keep the size, and writing to the mapping above.
        Ok(Self {
            memory,
            mapping,
            size,
            given: 0,
        })
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: by the type's invariant so many bytes are mapped and nobody else writes to them;
        // this value keeps the mapping for as long as they are borrowed.
        unsafe { std::slice::from_raw_parts(self.mapping.start.cast(), self.size) }
    }

    /// A part of the bytes, to be filled. Its memory is there when this returns, so that filling
    /// it cannot fault; a part at a time, since a large file's takes longer than a stop may wait.
    pub(crate) fn part(&mut self, offset: usize, length: usize) -> io::Result<&mut [u8]> {
        let end = offset.saturating_add(length);
        if end > self.given {
            self.give(offset, length)?;
        }
        // SAFETY: as above; the mapping can be written to and this value is borrowed alone.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(self.mapping.start.cast::<u8>(), self.size) };
        let part = bytes.get_mut(offset..end);
        part.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Gives a part its memory.
    fn give(&mut self, offset: usize, length: usize) -> io::Result<()> {
        let end = offset.saturating_add(length);
        if end > self.size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (flags, at) = (FallocateFlags::empty(), offset as u64);
        let give = || rustix::fs::fallocate(&self.memory, flags, at, length as u64);
        rustix::io::retry_on_intr(give)?;
        if length >= POPULATE_BYTES_MIN {
            let start = self.mapping.start.wrapping_byte_add(offset);
            // Only spares faults: the memory is there, and an older kernel refuses.
            // SAFETY: this advice changes no byte, and the range lies in this value's mapping.
            let _ = unsafe { madvise(start, length, Advice::LinuxPopulateWrite) };
        }
        if offset <= self.given {
            self.given = end;
        }
        Ok(())
    }
}

/// The service's end of the way to one worker.
pub(super) struct Link {
    stream: UnixStream,
}

/// Starts a worker. It limits its own memory, before it has seen anything that is not ours.
pub(super) fn spawn(mut command: Command, _memory: u64) -> io::Result<(Link, Child)> {
    let (stream, theirs) = UnixStream::pair()?;
    let child = command
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()?;
    Ok((Link { stream }, child))
}

/// Ends a worker and what it started.
pub(super) fn kill(child: &mut Child) {
    // Both fail only where nothing is left; a group of its own that it made is not ended.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
}

impl Link {
    /// Ends the way: what was sent can still be read, and nothing comes any more.
    pub(super) fn cut(&self) {
        // It fails only where it has ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sends the first order and the signatures.
    pub(super) fn load(&self, order: &Order, packed: &[u8]) -> io::Result<()> {
        let mut stream = &self.stream;
        stream.write_all(order.as_bytes())?;
        stream.write_all(packed)
    }

    /// Sends an order to scan, and the copy where the worker does not have it.
    pub(super) fn send(&self, order: &Order, copy: Option<&FileCopy>) -> io::Result<()> {
        let files = copy.map(|copy| [copy.memory.as_fd()]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if let Some(files) = &files {
            ancillary.push(SendAncillaryMessage::ScmRights(files));
        }
        let parts = [IoSlice::new(order.as_bytes())];
        let sent = sendmsg(&self.stream, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
        // The descriptor went with the first byte; more than a part remains only where the worker
        // does not read.
        (&self.stream).write_all(order.as_bytes().get(sent..).unwrap_or_default())
    }

    /// Waits for an answer. Ends when the worker does.
    pub(super) fn receive(&self, answer: &mut [u8]) -> io::Result<()> {
        (&self.stream).read_exact(answer)
    }

    /// Whether the worker lives and has said nothing that it was not asked.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0_u8; 1];
        let looked = recv(
            &self.stream,
            &mut byte,
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        // What can be read is a word too many, or the end.
        matches!(looked, Err(rustix::io::Errno::AGAIN))
    }
}

/// How a worker ended, in words.
pub(super) fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    }
}

/// The worker's end.
pub(super) struct Inside {
    stream: UnixStream,
}

impl Inside {
    /// The way to the service that started this process.
    pub(super) fn open() -> io::Result<Self> {
        // A worker whose service is killed ends too, even in the midst of a scan.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let stream = UnixStream::from(stdin);
        // It fails where the standard input is anything else.
        stream.peer_addr()?;
        Ok(Self { stream })
    }

    /// Limits what this process may take: no more memory than this, no picture of it on a disk.
    pub(super) fn limit(order: &Order) -> io::Result<()> {
        let most = |most| Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        rustix::process::setrlimit(Resource::Data, most(order.memory.get()))?;
        rustix::process::setrlimit(Resource::Core, most(0))?;
        Ok(())
    }

    /// Waits for an order, and the copy that came with it. Nothing when the service is gone.
    pub(super) fn next(&self) -> io::Result<Option<(Order, Option<Owned>)>> {
        let mut bytes = [0_u8; ORDER_BYTES];
        let (mut have, mut file) = (0, None);
        while have < ORDER_BYTES {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(bytes.get_mut(have..).unwrap_or_default())];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let got = match recvmsg(&self.stream, &mut parts, &mut ancillary, flags) {
                Ok(message) => message.bytes,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            file = file.or(ancillary.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut files) => files.next(),
                _ => None,
            }));
            if got == 0 {
                return Ok(None);
            }
            have += got;
        }
        let order = Order::decode(bytes).ok_or_else(super::inside::not_of_this_version)?;
        Ok(Some((order, file)))
    }

    /// Reads what follows an order.
    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<()> {
        (&self.stream).read_exact(bytes)
    }

    /// Answers.
    pub(super) fn answer(&self, answer: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(answer)
    }
}

/// A copy in the worker, read-only. Dropping it lets go of it.
pub(super) struct View {
    mapping: Mapping,
}

impl View {
    /// Maps a copy, which is sealed.
    pub(super) fn map(memory: &Owned) -> io::Result<Self> {
        let size = usize::try_from(rustix::fs::fstat(memory)?.st_size);
        let size = size.map_err(io::Error::other)?;
        let mapping = Mapping::new(memory, size, ProtFlags::READ)?;
        Ok(Self { mapping })
    }

    /// The bytes, as they are between an order and its answer.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped; the service wrote them before it sent the order, and
        // writes none until it has the answer.
        unsafe { std::slice::from_raw_parts(self.mapping.start.cast(), self.mapping.room) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn whoever_is_handed_a_copy_can_read_it_and_no_more() {
        let mut copy = FileCopy::new(5).expect("memory");
        copy.part(0, 5).expect("memory").copy_from_slice(b"bytes");
        assert!(copy.part(1, 5).is_err(), "so many are not there");
        let theirs = copy.memory.try_clone().expect("a descriptor");
        assert_eq!(View::map(&theirs).expect("a view").bytes(), b"bytes");
        assert_eq!(rustix::io::pwrite(&theirs, b"other", 0), Err(Errno::PERM));
        for size in [0, 4, 8192] {
            assert_eq!(rustix::fs::ftruncate(&theirs, size), Err(Errno::PERM));
        }
        let writable = Mapping::new(&theirs, 5, ProtFlags::READ | ProtFlags::WRITE);
        assert!(writable.is_err(), "nor by a mapping");
        let unseal = rustix::fs::fcntl_add_seals(&theirs, SealFlags::WRITE);
        assert_eq!(unseal, Err(Errno::PERM));
        // Nor by opening it anew.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&theirs));
        let again = std::fs::File::options().write(true).open(path);
        let written = again.and_then(|mut file| file.write_all(b"other"));
        assert!(written.is_err());
        assert_eq!(copy.bytes(), b"bytes");
    }

    #[test]
    fn what_is_kept_takes_one_file_after_another_up_to_its_room() {
        let mut kept = FileCopy::kept(1 << 16).expect("memory");
        for size in [10, 0, 1 << 16, 3] {
            assert!(kept.begin(size));
            assert_eq!(kept.bytes().len(), size);
            kept.part(0, size).expect("memory").fill(size as u8);
            assert!(kept.part(0, size + 1).is_err(), "beyond its file");
            assert!(kept.part(size, 1).is_err(), "beyond its file");
        }
        assert!(!kept.begin((1 << 16) + 1));
        assert_eq!(kept.bytes(), [3; 3], "nothing has changed");
    }

    #[test]
    fn a_file_without_bytes_has_a_copy() {
        let nothing = FileCopy::new(0).expect("memory");
        assert_eq!(nothing.bytes(), b"");
        let theirs = nothing.memory.try_clone().expect("a descriptor");
        assert!(View::map(&theirs).is_ok());
    }
}
