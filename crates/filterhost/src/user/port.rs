//! What a service in user mode does: its end of a communication port, and the sections that a
//! driver hands it.

use std::sync::Arc;
use std::time::Duration;

use super::process::Process;
use super::section::SectionHost;
use crate::fltmgr::port::client::{self, Connection, HEADER_SIZE};
use crate::layout::SECTION_MAP_READ;
use crate::object::{Handle, Kind};
use crate::status::{NtStatus, STATUS_INVALID_HANDLE};
use crate::volume::SectionBytes;

/// A message from a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMessage {
    /// What a reply has to name.
    pub id: u64,
    /// Bytes that the reply may have, its header included; 0 if the driver waits for none.
    pub reply_length: u32,
    /// The driver's bytes.
    pub bytes: Vec<u8>,
}

/// A process's end of a communication port. It ends with the process.
#[derive(Clone)]
pub struct PortHandle {
    process: Process,
    connection: Arc<Connection>,
}

impl Process {
    /// Connects to a filter's port, on a thread of this process.
    ///
    /// # Errors
    /// As [`client::connect`].
    pub fn connect_port(&self, name: &str, context: &[u8]) -> Result<PortHandle, NtStatus> {
        let connection = client::connect(self.machine(), name, context)?;
        self.keep_connection(&connection);
        let process = self.clone();
        Ok(PortHandle {
            process,
            connection,
        })
    }

    /// The bytes behind a section handle of this process that allows reading.
    ///
    /// # Errors
    /// `INVALID_HANDLE`, `OBJECT_TYPE_MISMATCH`, `ACCESS_DENIED`.
    pub fn section_bytes(&self, handle: Handle) -> Result<Arc<SectionBytes>, NtStatus> {
        let (m, kernel) = (self.machine(), self.kernel());
        let kind = Some(Kind::Section);
        let object = m
            .objects()
            .by_handle(m, kernel, handle, kind, SECTION_MAP_READ)?;
        let host = object.host::<SectionHost>();
        host.and_then(|host| host.bytes())
            .ok_or(STATUS_INVALID_HANDLE)
    }

    /// Closes any handle of this process.
    ///
    /// # Errors
    /// `INVALID_HANDLE`.
    pub fn close_handle(&self, handle: Handle) -> Result<(), NtStatus> {
        let m = self.machine();
        m.objects().close_handle(m, self.kernel(), handle)
    }

    /// Open handles of this process.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.kernel().handles.lock().len()
    }
}

impl PortHandle {
    /// The connection itself.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Waits for the next message of at most `room` bytes, without limit if no time is given.
    ///
    /// # Errors
    /// As [`client::get_message`].
    pub fn get_message(
        &self,
        room: usize,
        timeout: Option<Duration>,
    ) -> Result<PortMessage, NtStatus> {
        let m = self.process.machine();
        let deadline = timeout.map(|time| m.sched().now().after(time));
        let mut buffer = vec![0; room.saturating_add(HEADER_SIZE)];
        let count = client::get_message(m, &self.connection, &mut buffer, deadline)?;
        buffer.truncate(count);
        let word = buffer.first_chunk::<4>().copied().unwrap_or_default();
        let id = buffer.get(8..).and_then(|rest| rest.first_chunk::<8>());
        Ok(PortMessage {
            id: id.map_or(0, |id| u64::from_le_bytes(*id)),
            reply_length: u32::from_le_bytes(word),
            bytes: buffer.split_off(HEADER_SIZE.min(count)),
        })
    }

    /// Replies to a message.
    ///
    /// # Errors
    /// As [`client::reply`].
    pub fn reply(&self, id: u64, status: NtStatus, bytes: &[u8]) -> Result<(), NtStatus> {
        let mut reply = status.0.to_le_bytes().to_vec();
        reply.extend_from_slice(&[0; 4]);
        reply.extend_from_slice(&id.to_le_bytes());
        reply.extend_from_slice(bytes);
        client::reply(self.process.machine(), &self.connection, &reply)
    }

    /// Sends bytes to the driver's message callback.
    ///
    /// # Errors
    /// As [`client::send`].
    pub fn send(&self, input: &[u8], output: &mut [u8]) -> Result<usize, NtStatus> {
        client::send(&self.connection, input, output)
    }

    /// Closes the connection.
    pub fn close(&self) {
        client::close(self.process.machine(), &self.connection);
    }
}
