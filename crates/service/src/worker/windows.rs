//! Workers on Windows: the way between is a pair of pipes, the copy of a file comes as a handle of
//! a section of the page file, a job holds the process to its limits and ends it with the service.
#![expect(
    unsafe_code,
    reason = "jobs, duplicated handles and views are system calls on raw handles"
)]

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::ptr;

use parking_lot::Mutex;
use windows_sys::Win32::Foundation::{DuplicateHandle, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SetErrorMode,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_ACTIVE_PROCESS,
    JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOB_OBJECT_LIMIT_PROCESS_MEMORY, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_BASIC_INFORMATION,
    MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery,
};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{DETACHED_PROCESS, GetCurrentProcess};
use zerocopy::IntoBytes;

use super::wire::{KEEP, ORDER_BYTES, Order, SCAN};

/// A copy as it reaches the worker.
pub(super) type Owned = OwnedHandle;

/// The service's end of the way to one worker.
pub(super) struct Link {
    orders: Mutex<ChildStdin>,
    answers: Mutex<ChildStdout>,
    process: OwnedHandle,
    /// Ends the process when it is closed, so also when the service ends.
    _job: OwnedHandle,
}

fn checked(done: i32) -> io::Result<()> {
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes a handle that the system has just made.
fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has just made it for the caller, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Starts a worker that may use so many bytes of memory, and no process of its own.
pub(super) fn spawn(mut command: Command, memory: u64) -> io::Result<(Link, Child)> {
    let job = job(memory)?;
    let mut child = command
        // No console: its host would be a second process of the job, which may have one.
        .creation_flags(DETACHED_PROCESS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // It has seen nothing that is not ours until the first order.
    // SAFETY: job and process are open, and both handles are this process's own.
    let assigned = unsafe { AssignProcessToJobObject(job.as_raw_handle(), child.as_raw_handle()) };
    let ways = checked(assigned).and_then(|()| {
        let ways = child.stdin.take().zip(child.stdout.take());
        ways.ok_or_else(|| io::Error::other("the worker has no pipes"))
    });
    let (orders, answers) = match ways {
        Ok(ways) => ways,
        Err(cause) => {
            // It fails only where the process has ended already.
            let _ = child.kill();
            return Err(cause);
        }
    };
    let link = Link {
        orders: Mutex::new(orders),
        answers: Mutex::new(answers),
        process: child.as_handle().try_clone_to_owned()?,
        _job: job,
    };
    Ok((link, child))
}

fn job(memory: u64) -> io::Result<OwnedHandle> {
    // SAFETY: neither attributes nor a name are passed; the job is a new one.
    let job = owned(unsafe { CreateJobObjectW(ptr::null(), ptr::null()) })?;
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        | JOB_OBJECT_LIMIT_PROCESS_MEMORY
        | JOB_OBJECT_LIMIT_ACTIVE_PROCESS
        | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION;
    limits.BasicLimitInformation.ActiveProcessLimit = 1;
    limits.ProcessMemoryLimit = usize::try_from(memory).unwrap_or(usize::MAX);
    // SAFETY: the structure is the one that the class names, and its size is given.
    let done = unsafe {
        SetInformationJobObject(
            job.as_raw_handle(),
            JobObjectExtendedLimitInformation,
            (&raw const limits).cast(),
            size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32,
        )
    };
    checked(done)?;
    Ok(job)
}

/// Ends a worker; the job lets it start no other process.
pub(super) fn kill(child: &mut Child) {
    // It fails only where the process has ended already.
    let _ = child.kill();
}

impl Link {
    /// The pipes end with the process, which alone has their other ends.
    pub(super) fn cut(&self) {}

    /// A handle of the copy in the worker, to be read by alone; its number there.
    fn give(&self, copy: &FileCopy) -> io::Result<u64> {
        let mut theirs: HANDLE = ptr::null_mut();
        // SAFETY: a constant that names this process; there is nothing to get wrong.
        let own = unsafe { GetCurrentProcess() };
        // SAFETY: all three handles are open, and the place for the new one is ours.
        let done = unsafe {
            DuplicateHandle(
                own,
                copy.section.as_raw_handle(),
                self.process.as_raw_handle(),
                &raw mut theirs,
                FILE_MAP_READ,
                0,
                0,
            )
        };
        checked(done)?;
        Ok(theirs as usize as u64)
    }

    /// Sends the first order and the signatures.
    pub(super) fn load(&self, order: &Order, packed: &[u8]) -> io::Result<()> {
        let mut orders = self.orders.lock();
        orders.write_all(order.as_bytes())?;
        orders.write_all(packed)?;
        orders.flush()
    }

    /// Sends an order to scan, and the copy where the worker does not have it. What a worker that
    /// ends has not taken goes with it.
    pub(super) fn send(&self, order: &Order, copy: Option<&FileCopy>) -> io::Result<()> {
        let mut order = *order;
        if let Some(copy) = copy {
            order.handle.set(self.give(copy)?);
        }
        let mut orders = self.orders.lock();
        orders.write_all(order.as_bytes())?;
        orders.flush()
    }

    /// Waits for an answer. Ends when the worker does.
    pub(super) fn receive(&self, answer: &mut [u8]) -> io::Result<()> {
        self.answers.lock().read_exact(answer)
    }

    /// Whether the worker lives and has said nothing that it was not asked.
    pub(super) fn is_quiet(&self) -> bool {
        let answers = self.answers.lock();
        let mut waiting = 0;
        // SAFETY: the pipe is ours and open; no bytes are asked for but their number, whose place
        // is ours.
        let looked = unsafe {
            PeekNamedPipe(
                answers.as_raw_handle(),
                ptr::null_mut(),
                0,
                ptr::null_mut(),
                &raw mut waiting,
                ptr::null_mut(),
            )
        };
        // It fails where the worker has ended.
        looked != 0 && waiting == 0
    }
}

/// How a worker ended, in words.
pub(super) fn ending(status: ExitStatus) -> String {
    status.to_string()
}

/// A view of a section.
#[derive(Debug)]
struct Mapped(*mut c_void);

// SAFETY: a view belongs to the process and not to a thread; it moves as a whole.
unsafe impl Send for Mapped {}

impl Mapped {
    fn new(section: &OwnedHandle, access: u32) -> io::Result<Self> {
        // SAFETY: the system checks the handle; a view of the whole section is asked for.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), access, 0, 0, 0) };
        if view.Value.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(view.Value))
    }

    /// Bytes that the view has.
    fn size(&self) -> io::Result<usize> {
        let mut about = MEMORY_BASIC_INFORMATION::default();
        let size = size_of::<MEMORY_BASIC_INFORMATION>();
        // SAFETY: the view is mapped; the structure is ours to fill and its size is given.
        let told = unsafe { VirtualQuery(self.0, &raw mut about, size) };
        if told == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(about.RegionSize)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let view = MEMORY_MAPPED_VIEW_ADDRESS { Value: self.0 };
        // SAFETY: this value owns the view and is about to go, so nobody reads it afterwards.
        unsafe { UnmapViewOfFile(view) };
    }
}

/// The copy of one file, in a section of the page file that can be handed to a worker, which gets
/// a handle that it can only read by.
///
/// # Invariants
/// `view` has at least `size` bytes, and nobody else writes to them.
#[derive(Debug)]
pub(crate) struct FileCopy {
    /// Goes before its section does.
    view: Mapped,
    section: OwnedHandle,
    size: usize,
    /// Bytes that the section has.
    room: usize,
}

impl FileCopy {
    /// Room for `size` bytes. All of it is promised by the system at once, so that filling it
    /// cannot fault: the caller takes `size` from the memory budget before.
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        // A section of nothing cannot be made.
        let bytes = size.max(1) as u64;
        // SAFETY: no file, no attributes and no name are passed; the section is a new one.
        let section = owned(unsafe {
            CreateFileMappingW(
                INVALID_HANDLE_VALUE,
                ptr::null(),
                PAGE_READWRITE,
                (bytes >> 32) as u32,
                bytes as u32,
                ptr::null(),
            )
        })?;
        let view = Mapped::new(&section, FILE_MAP_READ | FILE_MAP_WRITE)?;
        // INVARIANT: the whole section was mapped, and workers get handles that only read.
        Ok(Self {
            view,
            section,
            size,
            room: size,
        })
    }

    /// Room for `room` bytes, to be used again and again by [`FileCopy::begin`] for the files of
    /// one worker alone: of an older file it shows what the newer one does not cover.
    pub(super) fn kept(room: usize) -> io::Result<Self> {
        Self::new(room)
    }

    /// Makes this the copy of a file of `size` bytes, which is to be filled. False where it has no
    /// room for that.
    pub(super) fn begin(&mut self, size: usize) -> bool {
        let fits = size <= self.room;
        if fits {
            // INVARIANT: so many bytes are mapped.
            self.size = size;
        }
        fits
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: by the type's invariant so many bytes are mapped and nobody else writes to them;
        // this value keeps the view for as long as they are borrowed.
        unsafe { std::slice::from_raw_parts(self.view.0.cast(), self.size) }
    }

    /// A part of the bytes, to be filled.
    pub(crate) fn part(&mut self, offset: usize, length: usize) -> io::Result<&mut [u8]> {
        // SAFETY: as above; the view can be written to and this value is borrowed alone.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.view.0.cast::<u8>(), self.size) };
        let part = bytes.get_mut(offset..offset.saturating_add(length));
        part.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// The worker's end.
pub(super) struct Inside {
    orders: File,
    answers: File,
}

impl Inside {
    /// The way to the service that started this process.
    pub(super) fn open() -> io::Result<Self> {
        // A crash is to end this process at once, and not to wait for somebody's click.
        // SAFETY: takes a number and touches no memory.
        unsafe { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX) };
        Ok(Self {
            orders: File::from(io::stdin().as_handle().try_clone_to_owned()?),
            answers: File::from(io::stdout().as_handle().try_clone_to_owned()?),
        })
    }

    /// The limits are the job's.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "elsewhere a worker limits itself, and may fail"
    )]
    pub(super) fn limit(_order: &Order) -> io::Result<()> {
        Ok(())
    }

    /// Waits for an order, and the copy that came with it. Nothing when the service is gone.
    pub(super) fn next(&self) -> io::Result<Option<(Order, Option<Owned>)>> {
        let mut bytes = [0_u8; ORDER_BYTES];
        match (&self.orders).read_exact(&mut bytes) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            Err(cause) => return Err(cause),
        }
        let order = Order::decode(bytes).ok_or_else(super::inside::not_of_this_version)?;
        let copy = match order.kind.get() {
            SCAN | KEEP => Some(owned(order.handle.get() as usize as HANDLE)?),
            _ => None,
        };
        Ok(Some((order, copy)))
    }

    /// Reads what follows an order.
    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<()> {
        (&self.orders).read_exact(bytes)
    }

    /// Answers.
    pub(super) fn answer(&self, answer: &[u8]) -> io::Result<()> {
        (&self.answers).write_all(answer)
    }
}

/// A copy in the worker, read-only. Dropping it lets go of it.
///
/// # Invariants
/// `view` has at least `size` bytes.
pub(super) struct View {
    view: Mapped,
    size: usize,
}

impl View {
    /// Maps a copy, up to the end of its last page.
    pub(super) fn map(section: &Owned) -> io::Result<Self> {
        let view = Mapped::new(section, FILE_MAP_READ)?;
        let size = view.size()?;
        // INVARIANT: the view was just seen to have so many bytes, and a section does not shrink.
        Ok(Self { view, size })
    }

    /// The bytes, as they are between an order and its answer.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: by the type's invariant so many bytes are mapped; the service wrote them before
        // it sent the order, and writes none until it has the answer.
        unsafe { std::slice::from_raw_parts(self.view.0.cast(), self.size) }
    }
}
