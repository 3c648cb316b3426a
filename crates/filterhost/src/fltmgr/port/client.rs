//! The process's end of a connection: what `FilterConnectCommunicationPort`, `FilterGetMessage`,
//! `FilterReplyMessage`, `FilterSendMessage` and closing the handle do.
//!
//! Each function is called on a simulated thread of the process, since the driver's callbacks
//! run there. <https://learn.microsoft.com/windows/win32/api/fltuser/>

use std::sync::Arc;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::{Message, Pipe, Ports, Server, disconnect, new_id, pointer};
use crate::fltmgr::call;
use crate::fltmgr::filter::Phase;
use crate::kernel::user::UserMemory;
use crate::layout::{FLT_PORT_CONNECT, PVOID};
use crate::machine::{self, Machine};
use crate::sched::Time;
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_BUFFER_TOO_SMALL, STATUS_CONNECTION_COUNT_LIMIT,
    STATUS_FLT_NO_WAITER_FOR_REPLY, STATUS_INVALID_PARAMETER, STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_NOT_FOUND, STATUS_PORT_DISCONNECTED, STATUS_THREAD_IS_TERMINATING,
    STATUS_TIMEOUT,
};
use crate::verifier;

/// Bytes of `FILTER_MESSAGE_HEADER` and of `FILTER_REPLY_HEADER`.
pub const HEADER_SIZE: usize = 16;

/// A connection of a process to a filter.
pub struct Connection {
    id: usize,
    server: Arc<Server>,
    process: u32,
    cookie: OnceLock<usize>,
    pub(super) pipe: Mutex<Pipe>,
}

impl Connection {
    pub(super) fn id(&self) -> usize {
        self.id
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn cookie(&self) -> usize {
        self.cookie.get().copied().unwrap_or(0)
    }

    /// Id of the process that connected.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process
    }

    /// True once the driver has closed its end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.pipe.lock().closed
    }

    /// True where the driver accepted the connection and has not closed its end: one that was
    /// refused never had that.
    pub(super) fn owes_close(&self) -> bool {
        let pipe = self.pipe.lock();
        !pipe.closed && !pipe.refused
    }

    /// True once the disconnect callback has returned, or is never called.
    pub(super) fn has_returned(&self) -> bool {
        self.pipe.lock().returned
    }

    /// True while both ends are open.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let pipe = self.pipe.lock();
        !pipe.closed && !pipe.disconnected
    }

    /// The connect callback refused: there is no disconnect callback.
    fn refused(&self, m: &Arc<Machine>) {
        let mut pipe = self.pipe.lock();
        pipe.connecting = false;
        pipe.refused = true;
        pipe.disconnected = true;
        pipe.told = true;
        pipe.returned = true;
        drop(pipe);
        self.server.state.lock().connections -= 1;
        // An end of the filter's connections may wait for this one.
        m.sched().notify();
    }

    /// The connect callback accepted. Where the filter ended its connections meanwhile, this one
    /// ends now.
    fn accepted(&self, m: &Arc<Machine>) {
        let ended_meanwhile = {
            let mut pipe = self.pipe.lock();
            pipe.connecting = false;
            pipe.disconnected
        };
        if ended_meanwhile {
            self.end(m);
        }
    }

    /// Ends the connection: waiting senders and receivers return, and the driver's disconnect
    /// callback runs, once.
    pub(super) fn end(&self, m: &Arc<Machine>) {
        let tell = {
            let mut pipe = self.pipe.lock();
            pipe.disconnected = true;
            !pipe.connecting && !std::mem::replace(&mut pipe.told, true)
        };
        m.sched().notify();
        if tell {
            self.server.state.lock().connections -= 1;
            disconnect(self);
            self.pipe.lock().returned = true;
            m.sched().notify();
        }
    }
}

/// Connects to the port `name` (`\SomePort`) with a context for the driver's connect callback.
///
/// # Errors
/// `STATUS_OBJECT_NAME_NOT_FOUND`, `STATUS_ACCESS_DENIED` by the port's descriptor,
/// `STATUS_CONNECTION_COUNT_LIMIT`, or what the callback refused with.
pub fn connect(m: &Arc<Machine>, name: &str, context: &[u8]) -> Result<Arc<Connection>, NtStatus> {
    let server = Ports::find(m, name).ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
    let process = machine::current_thread().process();
    let sids = super::security::sids_of(&process);
    let allowed = server
        .descriptor
        .as_ref()
        .is_none_or(|descriptor| descriptor.allows(&sids, FLT_PORT_CONNECT));
    if !allowed {
        return Err(STATUS_ACCESS_DENIED);
    }
    if server.filter.phase() == Phase::Unloading {
        return Err(STATUS_OBJECT_NAME_NOT_FOUND);
    }
    {
        let mut state = server.state.lock();
        if state.closed {
            return Err(STATUS_OBJECT_NAME_NOT_FOUND);
        }
        if state.connections >= server.max_connections {
            return Err(STATUS_CONNECTION_COUNT_LIMIT);
        }
        state.connections += 1;
    }
    let connection = Arc::new(Connection {
        id: new_id(m),
        server: server.clone(),
        process: process.id(),
        cookie: OnceLock::new(),
        pipe: Mutex::new(Pipe {
            connecting: true,
            ..Pipe::default()
        }),
    });
    let ports = m.state::<Ports>();
    ports
        .clients
        .lock()
        .insert(connection.id, connection.clone());
    let mut context = context.to_vec();
    let mut cookie: PVOID = core::ptr::null_mut();
    let server_cookie = core::ptr::with_exposed_provenance_mut(server.cookie);
    let port = pointer(connection.id);
    let status = call::connect(
        server.connect,
        port,
        server_cookie,
        &mut context,
        &mut cookie,
    );
    if !status.is_success() {
        connection.refused(m);
        ports.clients.lock().remove(&connection.id);
        return Err(status);
    }
    connection.cookie.get_or_init(|| cookie.expose_provenance());
    connection.accepted(m);
    Ok(connection)
}

/// Takes the next message: a `FILTER_MESSAGE_HEADER` and the driver's bytes. Gives the number of
/// bytes. A message that does not fit stays.
///
/// # Errors
/// `STATUS_INVALID_PARAMETER` for a buffer below the header, `STATUS_BUFFER_TOO_SMALL`,
/// `STATUS_TIMEOUT` at the deadline, `STATUS_PORT_DISCONNECTED`, `STATUS_THREAD_IS_TERMINATING`.
pub fn get_message(
    m: &Arc<Machine>,
    connection: &Connection,
    buffer: &mut [u8],
    deadline: Option<Time>,
) -> Result<usize, NtStatus> {
    if buffer.len() < HEADER_SIZE {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let thread = machine::current_thread();
    let next = || {
        let mut pipe = connection.pipe.lock();
        if pipe.closed || pipe.disconnected {
            return Some(Err(STATUS_PORT_DISCONNECTED));
        }
        if thread.is_terminating() {
            return Some(Err(STATUS_THREAD_IS_TERMINATING));
        }
        let message = pipe.queue.front()?.clone();
        if message.bytes.len() + HEADER_SIZE > buffer.len() {
            return Some(Err(STATUS_BUFFER_TOO_SMALL));
        }
        pipe.queue.pop_front();
        message.state.lock().delivered = true;
        if message.room.is_some() {
            pipe.waiting.insert(message.id, message.clone());
        }
        Some(Ok(message))
    };
    let message = m
        .sched()
        .wait_until("FilterGetMessage", deadline, next)
        .unwrap_or(Err(STATUS_TIMEOUT))?;
    m.sched().notify();
    Ok(write_message(&message, buffer))
}

fn write_message(message: &Message, buffer: &mut [u8]) -> usize {
    let header = u32::try_from(HEADER_SIZE).unwrap_or(0);
    let reply = message.room.map_or(0, |room| room.saturating_add(header));
    let mut bytes = Vec::with_capacity(HEADER_SIZE + message.bytes.len());
    bytes.extend_from_slice(&reply.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&message.id.to_le_bytes());
    bytes.extend_from_slice(&message.bytes);
    for (to, from) in buffer.iter_mut().zip(&bytes) {
        *to = *from;
    }
    bytes.len()
}

/// Replies to a message: a `FILTER_REPLY_HEADER` and the bytes for the driver.
///
/// # Errors
/// `STATUS_INVALID_PARAMETER` below the header's size, `STATUS_PORT_DISCONNECTED`,
/// `STATUS_FLT_NO_WAITER_FOR_REPLY` when nobody waits for that message's reply (any more).
pub fn reply(m: &Arc<Machine>, connection: &Connection, bytes: &[u8]) -> Result<(), NtStatus> {
    let (status, id, rest) = split_reply(bytes).ok_or(STATUS_INVALID_PARAMETER)?;
    let message = {
        let mut pipe = connection.pipe.lock();
        if pipe.closed || pipe.disconnected {
            return Err(STATUS_PORT_DISCONNECTED);
        }
        pipe.waiting
            .remove(&id)
            .ok_or(STATUS_FLT_NO_WAITER_FOR_REPLY)?
    };
    let mut state = message.state.lock();
    if state.abandoned {
        return Err(STATUS_FLT_NO_WAITER_FOR_REPLY);
    }
    state.reply = Some((status, rest.to_vec()));
    drop(state);
    m.sched().notify();
    Ok(())
}

fn split_reply(bytes: &[u8]) -> Option<(NtStatus, u64, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_SIZE>()?;
    let (status, tail) = header.split_first_chunk::<4>()?;
    let (_, id) = tail.split_last_chunk::<8>()?;
    Some((
        NtStatus(i32::from_le_bytes(*status)),
        u64::from_le_bytes(*id),
        rest,
    ))
}

/// Sends bytes to the driver's message callback and gives the length of its answer. The callback
/// gets addresses of user memory, which the driver's own code cannot touch
/// ([`crate::verifier::port::USER_ADDRESS`]).
///
/// # Errors
/// `STATUS_PORT_DISCONNECTED`, `STATUS_NOT_SUPPORTED` when the driver takes no messages, or what
/// the callback returned.
pub fn send(connection: &Connection, input: &[u8], output: &mut [u8]) -> Result<usize, NtStatus> {
    if !connection.is_alive() {
        return Err(STATUS_PORT_DISCONNECTED);
    }
    let callback = connection.server.message.ok_or(STATUS_NOT_SUPPORTED)?;
    let cookie = core::ptr::with_exposed_provenance_mut(connection.cookie());
    let mut returned = 0;
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let m = machine::current();
    let (given, room) = (UserMemory::of(&m, input), UserMemory::of(&m, output));
    let buffers = call::UserBuffers {
        input: given.pointer(),
        input_length: length(input.len()),
        output: room.pointer(),
        output_length: length(output.len()),
    };
    let status = call::message(callback, cookie, &buffers, &mut returned);
    room.read(output);
    status.ok()?;
    if returned as usize > output.len() {
        let detail = format!(
            "{returned} bytes for a client with room for {}",
            output.len()
        );
        verifier::violation(&verifier::port::OUTPUT_LENGTH, detail);
    }
    Ok(output.len().min(returned as usize))
}

/// Closes the process's handle: the driver's disconnect callback runs on this thread.
pub fn close(m: &Arc<Machine>, connection: &Connection) {
    connection.end(m);
}
