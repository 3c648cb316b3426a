//! The port: who may connect, and the threads that ask the service. The driver asks, the service
//! replies; no pointer of the service's ever reaches us, since there is no message callback and
//! the Filter Manager copies replies into our memory.
#![expect(
    unsafe_code,
    reason = "hands buffers to the Filter Manager and captures one context"
)]

pub mod service;

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use siloscan_core::ledger::Ledger;
use siloscan_core::reason::Event;
use siloscan_core::wire::{Digest, Hello, Message};

use crate::kernel::lock::SpinLock;
use crate::kernel::object::{self, Process};
use crate::kernel::routine::{self, unicode};
use crate::kernel::{Status, clock, irql, silo, thread};
use crate::registration::{self, view::Data};
use crate::sys::constants::{
    MM_COPY_MEMORY_VIRTUAL, OBJ_CASE_INSENSITIVE, STATUS_ACCESS_DENIED,
    STATUS_CONNECTION_COUNT_LIMIT, STATUS_FLT_DELETING_OBJECT, STATUS_INVALID_PARAMETER,
    STATUS_PORT_DISCONNECTED, STATUS_REVISION_MISMATCH, STATUS_SUCCESS, STATUS_TIMEOUT,
};
use crate::sys::{self, FltPort, NTSTATUS, P};
use crate::{state, trace};

/// The port that services connect to.
static SERVER: AtomicPtr<core::ffi::c_void> = AtomicPtr::new(ptr::null_mut());

/// Our end of the one connection. The Filter Manager synchronises sends and the close by the
/// address of this variable, so it is the only place where the pointer is kept.
static CLIENT: AtomicPtr<core::ffi::c_void> = AtomicPtr::new(ptr::null_mut());

/// The address of the connected process, for comparison without a lock; zero while there is none.
static SCANNER: AtomicUsize = AtomicUsize::new(0);

/// The one connection.
static CONNECTION: SpinLock<Connection> = SpinLock::new(Connection::None);

/// The number of the connection that lives, zero while there is none. Written with [`CONNECTION`]
/// locked, as is [`SCANNER`].
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Counts connections.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The state of the one connection.
enum Connection {
    /// Nobody is connected.
    None,
    /// A connection is being made or ended; nobody else gets in meanwhile.
    Busy,
    /// A service is connected; its process is referenced.
    Connected(Process),
}

/// A security descriptor in self-relative form that grants everything on the port to the
/// service's own identity, `NT SERVICE\siloscand`, and nothing to anybody else.
#[repr(C, align(8))]
struct Descriptor([u8; 68]);

/// `S-1-5-80-` and five words of the SHA-1 of `SILOSCAND` in UTF-16, as Windows makes the
/// identity of a service.
const SERVICE_SID: [u32; 6] = [
    80,
    0x4b01_8495,
    0x78ab_d6da,
    0xe7bd_f31c,
    0xba4f_467f,
    0xd1fe_15cc,
];

/// `FLT_PORT_ALL_ACCESS`.
const PORT_ALL_ACCESS: u32 = 0x001f_0001;

static DESCRIPTOR: Descriptor = Descriptor(descriptor());

/// Header of 20 bytes (revision, self-relative with a DACL at 20), ACL of 8, one ACE of 40.
const fn descriptor() -> [u8; 68] {
    let mut out = [0; 68];
    let mut at = put(
        &mut out,
        0,
        &[1, 0, 0x04, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    at = put(&mut out, at, &20_u32.to_le_bytes());
    at = put(&mut out, at, &[2, 0, 48, 0, 1, 0, 0, 0]);
    at = put(&mut out, at, &[0, 0, 40, 0]);
    at = put(&mut out, at, &PORT_ALL_ACCESS.to_le_bytes());
    at = put(
        &mut out,
        at,
        &[1, SERVICE_SID.len() as u8, 0, 0, 0, 0, 0, 5],
    );
    let mut words = SERVICE_SID.as_slice();
    while let [word, rest @ ..] = words {
        at = put(&mut out, at, &word.to_le_bytes());
        words = rest;
    }
    assert!(at == out.len());
    out
}

/// Copies `bytes` to `out` at `at` and gives the place after them; at compile time only.
const fn put(out: &mut [u8; 68], at: usize, bytes: &[u8]) -> usize {
    let (_, rest) = out.as_mut_slice().split_at_mut(at);
    let (place, _) = rest.split_at_mut(bytes.len());
    place.copy_from_slice(bytes);
    at.wrapping_add(bytes.len())
}

/// Opens the port.
///
/// # Errors
/// The name is taken, or there is no memory.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn open() -> Result<(), Status> {
    irql::passive();
    let mut name = unicode(routine::name!("\\SiloscanPort"));
    let mut attributes = thread::kernel_handle();
    attributes.Attributes |= OBJ_CASE_INSENSITIVE;
    attributes.ObjectName = &raw mut name;
    attributes.SecurityDescriptor = (&raw const DESCRIPTOR).cast_mut().cast();
    let mut port: FltPort = ptr::null_mut();
    // SAFETY: the filter is registered; name, descriptor and output outlive the call. There is
    // no message callback. Two connections, so that the second one reaches our own refusal.
    let status = unsafe {
        sys::FltCreateCommunicationPort(
            registration::filter(),
            &raw mut port,
            &raw mut attributes,
            ptr::null_mut(),
            Some(connect),
            Some(disconnect),
            ptr::null_mut(),
            2,
        )
    };
    core::hint::black_box(());
    Status::check(status)?;
    SERVER.store(port, Ordering::Release);
    Ok(())
}

/// Closes the port to new callers, and the connection that there is.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn close() {
    irql::passive();
    let server = SERVER.swap(ptr::null_mut(), Ordering::AcqRel);
    if !server.is_null() {
        // SAFETY: the swap makes this the only close of a port that was opened.
        unsafe { sys::FltCloseCommunicationPort(server) };
    }
    // One that is being made becomes a connection, in a moment; nobody does after that.
    while matches!(*CONNECTION.lock(), Connection::Busy) {
        thread::sleep(1);
    }
    hang_up(current(), Cause::Unloading);
    // One that ends elsewhere is waited for.
    while matches!(*CONNECTION.lock(), Connection::Busy) {
        thread::sleep(1);
    }
}

/// The number of the connection that lives; zero while there is none.
///
/// # IRQL
/// Any.
#[must_use]
pub fn current() -> u64 {
    NUMBER.load(Ordering::Acquire)
}

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The service closed its end, or ended.
    Closed,
    /// It kept a section that it was to let go of.
    SectionKept,
    /// It did not take a stop.
    StopNotRead,
    /// The driver unloads.
    Unloading,
}

impl Cause {
    /// As a trace has it.
    const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::SectionKept => "section-kept",
            Self::StopNotRead => "stop-not-read",
            Self::Unloading => "unloading",
        }
    }
}

/// Ends the connection of this number, if it still is the one that lives: whoever waits for its
/// answers is told at once, and a session that listens, why.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn hang_up(number: u64, cause: Cause) {
    irql::passive();
    let process = {
        let mut connection = CONNECTION.lock();
        if number == 0 || NUMBER.load(Ordering::Relaxed) != number {
            return;
        }
        match core::mem::replace(&mut *connection, Connection::Busy) {
            Connection::Connected(process) => {
                NUMBER.store(0, Ordering::Release);
                SCANNER.store(0, Ordering::Release);
                process
            }
            other => {
                *connection = other;
                return;
            }
        }
    };
    // SAFETY: the filter is registered, and this is the one variable that holds the port.
    unsafe { sys::FltCloseClientPort(registration::filter(), CLIENT.as_ptr()) };
    core::hint::black_box(());
    drop(process);
    // Before anybody else can connect, who would miss the count and whose scans these would be.
    if cause == Cause::SectionKept {
        trace::count(Event::SectionKept);
    }
    trace::disconnected(cause.name());
    state::service_gone();
    *CONNECTION.lock() = Connection::None;
}

/// Whether a service is connected.
///
/// # IRQL
/// Any.
#[must_use]
pub fn is_connected() -> bool {
    SCANNER.load(Ordering::Acquire) != 0
}

/// Whether an operation comes from the connected service itself.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn is_scanner(data: &Data<'_>) -> bool {
    let scanner = SCANNER.load(Ordering::Acquire);
    scanner != 0 && data.processes() == (scanner, scanner)
}

/// Whether the calling thread is the connected service's.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn is_called_by_scanner() -> bool {
    let scanner = SCANNER.load(Ordering::Acquire);
    scanner != 0 && Process::current().is_some_and(|process| process.address() == scanner)
}

/// The connected service's process, referenced, to be given a section.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn scanner() -> Option<Process> {
    match &*CONNECTION.lock() {
        Connection::Connected(process) => Some(process.again()),
        Connection::None | Connection::Busy => None,
    }
}

/// How a question to the service ended without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unanswered {
    /// Nobody is connected, or the connection ended meanwhile.
    NoService,
    /// No answer before the deadline.
    TimedOut,
    /// An answer of another length than the one that was asked for, or no memory.
    Failed,
}

/// Asks the service and waits for its answer, in a driver thread.
///
/// # Errors
/// No service, no answer in time, or one of another length.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn ask<Q: Message, R: Message>(
    question: &Q,
    reply: &mut R,
    deadline: clock::Time,
) -> Result<(), Unanswered> {
    let expected = size_of::<R>() as u32;
    let mut length = expected;
    let to: P = ptr::from_mut(reply).cast();
    match send(question, to, Some(&mut length), deadline) {
        STATUS_SUCCESS if length == expected => Ok(()),
        STATUS_TIMEOUT => Err(Unanswered::TimedOut),
        STATUS_PORT_DISCONNECTED => Err(Unanswered::NoService),
        _ if !is_connected() => Err(Unanswered::NoService),
        _ => Err(Unanswered::Failed),
    }
}

/// Tells the service something that has no answer.
///
/// # Errors
/// No service, or it did not take the message in time.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn tell<Q: Message>(message: &Q, deadline: clock::Time) -> Result<(), Unanswered> {
    match send(message, ptr::null_mut(), None, deadline) {
        STATUS_SUCCESS => Ok(()),
        STATUS_TIMEOUT => Err(Unanswered::TimedOut),
        _ => Err(Unanswered::NoService),
    }
}

/// The one call of `FltSendMessage`; its time-out is never null and never zero.
fn send<Q: Message>(
    question: &Q,
    reply: P,
    reply_length: Option<&mut u32>,
    deadline: clock::Time,
) -> NTSTATUS {
    irql::passive();
    if !is_connected() {
        return STATUS_PORT_DISCONNECTED;
    }
    let mut timeout = clock::until(deadline);
    // SAFETY: question and reply are live memory of the lengths given; the port variable is the
    // one that the close names; the time-out outlives the call.
    let status = unsafe {
        sys::FltSendMessage(
            registration::filter(),
            CLIENT.as_ptr(),
            ptr::from_ref(question).cast_mut().cast(),
            size_of::<Q>() as u32,
            reply,
            reply_length.map_or(ptr::null_mut(), ptr::from_mut),
            &raw mut timeout,
        )
    };
    core::hint::black_box(());
    status
}

/// A caller wants to connect.
///
/// # Safety
/// Called by the Filter Manager only, in the caller's thread and process.
///
/// # IRQL
/// PASSIVE_LEVEL.
unsafe extern "system" fn connect(
    client: FltPort,
    _cookie: P,
    context: P,
    size: u32,
    connection: *mut P,
) -> NTSTATUS {
    irql::passive();
    // SAFETY: the Filter Manager gives a place for one pointer.
    unsafe { connection.write(ptr::null_mut()) };
    match accept(client, context, size) {
        Ok(number) => {
            let cookie = ptr::without_provenance_mut(number as usize);
            // SAFETY: as above. What is written is no address: it is given back at the end.
            unsafe { connection.write(cookie) };
            let epoch = state::ledger().map_or(0, Ledger::signature_epoch);
            trace::connected(object::current_process_id(), epoch);
            STATUS_SUCCESS
        }
        Err(status) => {
            trace::connect_refused(object::current_process_id(), status);
            status.code()
        }
    }
}

/// Looks at a caller, and makes it the connected service. The number of its connection.
fn accept(client: FltPort, context: P, size: u32) -> Result<u64, Status> {
    if silo::caller_is_contained() {
        return Err(Status::failure(STATUS_ACCESS_DENIED));
    }
    let digest = hello(context, size)?;
    let process = Process::current().ok_or(Status::failure(STATUS_ACCESS_DENIED))?;
    claim()?;
    // From here to the end nothing fails, and nobody but this thread leaves `Busy`.
    state::service_came(digest);
    CLIENT.store(client, Ordering::Release);
    let number = COUNT.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    {
        let mut connection = CONNECTION.lock();
        NUMBER.store(number, Ordering::Release);
        SCANNER.store(process.address(), Ordering::Release);
        *connection = Connection::Connected(process);
    }
    state::wake_poller();
    Ok(number)
}

/// Claims the one connection for the caller. One that is just being made or ended is waited for:
/// a service that was hung up on may come back at once.
fn claim() -> Result<(), Status> {
    loop {
        {
            let mut connection = CONNECTION.lock();
            // Asked under the lock: after `close` has looked nobody gets in.
            if state::is_stopping() {
                return Err(Status::failure(STATUS_FLT_DELETING_OBJECT));
            }
            match *connection {
                Connection::None => {
                    *connection = Connection::Busy;
                    return Ok(());
                }
                Connection::Connected(_) => {
                    return Err(Status::failure(STATUS_CONNECTION_COUNT_LIMIT));
                }
                Connection::Busy => {}
            }
        }
        thread::sleep(1);
    }
}

/// Copies the caller's context once and checks the copy. The address may be a user's: the copy is
/// made by a routine that returns an error where the memory is not there.
fn hello(context: P, size: u32) -> Result<Digest, Status> {
    const LENGTH: usize = size_of::<Hello>();
    let refused = Status::failure(STATUS_INVALID_PARAMETER);
    if context.is_null() || size as usize != LENGTH {
        return Err(refused);
    }
    let mut image = [0_u8; LENGTH];
    let mut copied = 0;
    // SAFETY: the target is ours, of the length given; the source need not be valid.
    let status = unsafe {
        sys::MmCopyMemory(
            image.as_mut_ptr().cast(),
            context,
            LENGTH,
            MM_COPY_MEMORY_VIRTUAL,
            &raw mut copied,
        )
    };
    Status::check(status)?;
    if copied != LENGTH {
        return Err(refused);
    }
    Hello::decode(&image).map_err(|_| Status::failure(STATUS_REVISION_MISMATCH))
}

/// The service closed its end, or ended.
///
/// # Safety
/// Called by the Filter Manager only.
///
/// # IRQL
/// PASSIVE_LEVEL.
unsafe extern "system" fn disconnect(cookie: P) {
    irql::passive();
    // An old connection's last handle may be closed when the next one lives already.
    hang_up(cookie.addr() as u64, Cause::Closed);
}
