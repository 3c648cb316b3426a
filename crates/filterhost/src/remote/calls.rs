//! Performs the calls of a process that lives outside, on simulated threads of that process.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::files::Files;
use super::frame::{Call, Frame, PAYLOAD_BYTES_MAX};
use super::traces::Traces;
use crate::fltmgr::port::Connection;
use crate::fltmgr::port::client::{self, HEADER_SIZE};
use crate::machine::Machine;
use crate::process::Process;
use crate::status::{
    NtStatus, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER,
    STATUS_SUCCESS,
};
use crate::user::section::SectionHost;

/// The longest wait that one call may ask for: a client that wants more asks again.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Handles of connections begin here, above those of the process's handle table.
const PORT_HANDLES: u64 = 1 << 40;

/// What a process that lives outside has open besides its handle table.
#[derive(Default)]
pub(super) struct Ports {
    open: Mutex<BTreeMap<u64, Arc<Connection>>>,
    pub(super) files: Files,
    pub(super) traces: Traces,
}

/// The process that calls, and what it has.
pub(super) struct Caller<'a> {
    pub(super) m: &'a Arc<Machine>,
    pub(super) process: &'a Arc<Process>,
    pub(super) ports: &'a Ports,
}

/// An answer, and the descriptor that goes with it.
pub(super) type Answer = (Frame, Option<OwnedFd>);

impl Ports {
    fn get(&self, handle: u64) -> Result<Arc<Connection>, NtStatus> {
        self.open
            .lock()
            .get(&handle)
            .cloned()
            .ok_or(STATUS_INVALID_HANDLE)
    }

    fn add(&self, connection: Arc<Connection>) -> u64 {
        let mut open = self.open.lock();
        let last = open.keys().next_back().copied().unwrap_or(PORT_HANDLES);
        let handle = last.saturating_add(4);
        open.insert(handle, connection);
        handle
    }
}

/// Ends every connection of a process: waits on them end, disconnect callbacks run. Its files are
/// closed, its tracing sessions end.
pub(super) fn close_ports(m: &Arc<Machine>, ports: &Ports) {
    ports.files.close_all();
    ports.traces.end_all(m);
    let open = std::mem::take(&mut *ports.open.lock());
    for connection in open.into_values() {
        client::close(m, &connection);
    }
}

impl Caller<'_> {
    /// Performs one call.
    pub(super) fn perform(&self, request: &Frame) -> Result<Answer, NtStatus> {
        match Call(request.code) {
            Call::CONNECT_PORT => self.connect(request),
            Call::GET_MESSAGE => self.get_message(request),
            Call::REPLY_MESSAGE => self.reply_message(request),
            Call::SEND_MESSAGE => self.send_message(request),
            Call::OPEN_SECTION => self.open_section(request),
            Call::CLOSE_HANDLE => self.close_handle(request),
            Call::OPEN_FILE => self.open_file(request),
            Call::READ_FILE => self.read_file(request),
            Call::DELETE_FILE => self.delete_file(request),
            Call::BEGIN_TRACE => self.begin_trace(request),
            Call::TAKE_EVENTS => self.take_events(request),
            _ => Err(STATUS_INVALID_DEVICE_REQUEST),
        }
    }

    fn connect(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let length = usize::try_from(request.arguments[0]).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let (name, context) = request
            .payload
            .split_at_checked(length)
            .ok_or(STATUS_INVALID_PARAMETER)?;
        let name = std::str::from_utf8(name).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let connection = client::connect(self.m, name, context)?;
        done([self.ports.add(connection), 0, 0], Vec::new())
    }

    fn get_message(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let [handle, length, ticks] = request.arguments;
        let connection = self.ports.get(handle)?;
        let length = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(PAYLOAD_BYTES_MAX);
        let wait = Duration::from_nanos(ticks.saturating_mul(100)).min(WAIT_MAX);
        let deadline = self.m.sched().now().after(wait);
        let mut buffer = vec![0; HEADER_SIZE + length];
        let bytes = client::get_message(self.m, &connection, &mut buffer, Some(deadline))?;
        buffer.truncate(bytes);
        let body = buffer.split_off(HEADER_SIZE.min(buffer.len()));
        let reply_length = word(&buffer, 0) & u64::from(u32::MAX);
        done([word(&buffer, 8), reply_length, 0], body)
    }

    fn reply_message(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let [handle, id, status] = request.arguments;
        let connection = self.ports.get(handle)?;
        let status = u32::try_from(status).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let header = [u64::from(status).to_le_bytes(), id.to_le_bytes()].concat();
        client::reply(
            self.m,
            &connection,
            &[header, request.payload.clone()].concat(),
        )?;
        done([0; 3], Vec::new())
    }

    fn send_message(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let [handle, length, _] = request.arguments;
        let connection = self.ports.get(handle)?;
        let length = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(PAYLOAD_BYTES_MAX);
        let mut output = vec![0; length];
        let returned = client::send(&connection, &request.payload, &mut output)?;
        output.truncate(returned);
        done([0; 3], output)
    }

    fn open_section(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let section = SectionHost::bytes_of_handle(self.m, self.process, handle_of(request)?)?;
        let descriptor = section.descriptor()?;
        let answer = Frame::new(STATUS_SUCCESS.0.cast_unsigned(), [section.size(), 0, 0]);
        Ok((answer, Some(descriptor)))
    }

    fn close_handle(&self, request: &Frame) -> Result<Answer, NtStatus> {
        if let Some(file) = self.ports.files.take(request.arguments[0]) {
            file.close()?;
            return done([0; 3], Vec::new());
        }
        if self.ports.traces.end(self.m, request.arguments[0]) {
            return done([0; 3], Vec::new());
        }
        let connection = self.ports.open.lock().remove(&request.arguments[0]);
        match connection {
            Some(connection) => client::close(self.m, &connection),
            None => {
                let handle = handle_of(request)?;
                self.m
                    .objects()
                    .close_handle(self.m, self.process, handle)?;
            }
        }
        done([0; 3], Vec::new())
    }
}

/// A handle of the process's own table. The kernel's handles are out of a process's reach.
fn handle_of(request: &Frame) -> Result<usize, NtStatus> {
    u32::try_from(request.arguments[0])
        .ok()
        .filter(|handle| handle.cast_signed() > 0)
        .map(|handle| handle as usize)
        .ok_or(STATUS_INVALID_HANDLE)
}

pub(super) fn done(arguments: [u64; 3], payload: Vec<u8>) -> Result<Answer, NtStatus> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(STATUS_INVALID_PARAMETER);
    }
    Ok((
        Frame {
            code: STATUS_SUCCESS.0.cast_unsigned(),
            arguments,
            payload,
        },
        None,
    ))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}
