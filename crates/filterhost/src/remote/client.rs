//! The client side of the bridge: what a program links to be a process of the simulated machine.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::channel::{Channel, ChannelError};
use super::frame::{Call, Frame};
use super::traces::{Traced, TracedEvent};

/// Why a call over the bridge failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The machine answered with this `NTSTATUS`.
    #[error("the call failed with status {0:#010x}")]
    Status(u32),
    /// The machine has ended, or has ended this process.
    #[error("the simulated machine is gone")]
    Gone,
    /// Nobody listens at that path, or it cannot be reached.
    #[error("cannot connect to {}: {cause}", path.display())]
    Connect {
        /// Path of the socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The bridge itself failed.
    #[error(transparent)]
    Channel(ChannelError),
}

impl From<ChannelError> for RemoteError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::Gone,
            other => Self::Channel(other),
        }
    }
}

/// A message that a driver sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Goes back with the reply.
    pub id: u64,
    /// `ReplyLength` of the message's header: 0 when the driver waits for no reply.
    pub reply_length: u32,
    /// The message without its header.
    pub body: Vec<u8>,
}

/// The bytes of a section object.
#[derive(Debug)]
pub struct Section {
    /// Readable only; reads beyond the end of a file that has shrunk come back short.
    pub file: File,
    /// Size of the section in bytes, as it was when the section was made.
    pub size: u64,
}

/// One process of the simulated machine. Dropping it ends the process; so does its death.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    process: u64,
    token: u64,
    /// Alive as long as the process is.
    control: Channel,
    /// Lanes that no call is using.
    idle: Mutex<Vec<Channel>>,
}

impl Client {
    /// Becomes a process called `program` of the machine that listens at `path`.
    ///
    /// # Errors
    /// [`RemoteError::Connect`] when nobody listens there, others as they are named.
    pub fn connect(path: &Path, program: &str) -> Result<Self, RemoteError> {
        let control = open_lane(path)?;
        let (answer, _) = exchange(
            &control,
            &Frame::request(Call::NEW_PROCESS, [0; 3], program.as_bytes()),
        )?;
        let [process, token, _] = answer.arguments;
        Ok(Self {
            path: path.to_owned(),
            process,
            token,
            control,
            idle: Mutex::default(),
        })
    }

    /// The process id that the machine gave.
    #[must_use]
    pub fn process_id(&self) -> u64 {
        self.process
    }

    /// Process id and token: what a further lane of this process shows.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (self.process, self.token)
    }

    /// Connects to a driver's port; `context` reaches its connect callback. Returns the handle.
    ///
    /// # Errors
    /// [`RemoteError::Status`] with what the port or its driver answered.
    pub fn connect_port(&self, name: &str, context: &[u8]) -> Result<u64, RemoteError> {
        let payload = [name.as_bytes(), context].concat();
        let answer = self.call(Call::CONNECT_PORT, [name.len() as u64, 0, 0], &payload)?;
        Ok(answer.0.arguments[0])
    }

    /// Waits for a message of at most `length` bytes, without header, for at most `timeout`.
    ///
    /// # Errors
    /// [`RemoteError::Status`] with `STATUS_TIMEOUT` (0x102) when none came in time.
    pub fn get_message(
        &self,
        port: u64,
        length: usize,
        timeout: Duration,
    ) -> Result<Message, RemoteError> {
        let ticks = u64::try_from(timeout.as_nanos() / 100).unwrap_or(u64::MAX);
        let (answer, _) = self.call(Call::GET_MESSAGE, [port, length as u64, ticks], &[])?;
        Ok(Message {
            id: answer.arguments[0],
            reply_length: answer.arguments[1] as u32,
            body: answer.payload,
        })
    }

    /// Replies to the message `id` with `status` and `body`.
    ///
    /// # Errors
    /// [`RemoteError::Status`], for example when nobody waits for that reply any more.
    pub fn reply_message(
        &self,
        port: u64,
        id: u64,
        status: i32,
        body: &[u8],
    ) -> Result<(), RemoteError> {
        let arguments = [port, id, u64::from(status.cast_unsigned())];
        self.call(Call::REPLY_MESSAGE, arguments, body).map(drop)
    }

    /// Sends `input` to the driver's message callback and returns at most `output` bytes of answer.
    ///
    /// # Errors
    /// [`RemoteError::Status`] with what the callback returned.
    pub fn send_message(
        &self,
        port: u64,
        input: &[u8],
        output: usize,
    ) -> Result<Vec<u8>, RemoteError> {
        Ok(self
            .call(Call::SEND_MESSAGE, [port, output as u64, 0], input)?
            .0
            .payload)
    }

    /// Opens the bytes behind a section handle of this process. The handle stays open.
    ///
    /// # Errors
    /// [`RemoteError::Status`] when it is no handle of a section.
    pub fn open_section(&self, handle: u64) -> Result<Section, RemoteError> {
        let (answer, descriptor) = self.call(Call::OPEN_SECTION, [handle, 0, 0], &[])?;
        let Some(descriptor) = descriptor else {
            return Err(RemoteError::Channel(ChannelError::Io(io::Error::other(
                "the machine sent a section without its descriptor",
            ))));
        };
        Ok(Section {
            file: File::from(descriptor),
            size: answer.arguments[0],
        })
    }

    /// Opens a file by the GUID of its volume and its id, both as they lie in memory, with exactly
    /// this access. Returns the handle.
    ///
    /// # Errors
    /// [`RemoteError::Status`] with what filters and file system answer.
    pub fn open_file(
        &self,
        (volume, id): ([u8; 16], [u8; 16]),
        access: u32,
        share: u32,
    ) -> Result<u64, RemoteError> {
        let arguments = [u64::from(access), u64::from(share), 0];
        let answer = self.call(Call::OPEN_FILE, arguments, &[volume, id].concat())?;
        Ok(answer.0.arguments[0])
    }

    /// Reads at most `length` bytes of an open file; fewer at its end.
    ///
    /// # Errors
    /// [`RemoteError::Status`] with what filters and file system answer.
    pub fn read_file(
        &self,
        handle: u64,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, RemoteError> {
        let arguments = [handle, offset, length as u64];
        Ok(self.call(Call::READ_FILE, arguments, &[])?.0.payload)
    }

    /// Marks an open file for deletion: it goes with its last handle.
    ///
    /// # Errors
    /// [`RemoteError::Status`] with what filters and file system answer.
    pub fn delete_file(&self, handle: u64) -> Result<(), RemoteError> {
        self.call(Call::DELETE_FILE, [handle, 0, 0], &[]).map(drop)
    }

    /// Begins to listen to a provider: what is at most as verbose as `level` and has any of these
    /// keywords; 0 is for all. `provider` is its GUID as it lies in memory. Returns the handle;
    /// closing it ends the session.
    ///
    /// # Errors
    /// [`RemoteError::Status`] where there are too many sessions.
    pub fn begin_trace(
        &self,
        provider: [u8; 16],
        level: u8,
        keywords: u64,
    ) -> Result<u64, RemoteError> {
        let arguments = [u64::from(level), keywords, 0];
        let answer = self.call(Call::BEGIN_TRACE, arguments, &provider)?;
        Ok(answer.0.arguments[0])
    }

    /// Waits for at most `timeout` until a session has events or has lost some; gives as many as
    /// one answer holds.
    ///
    /// # Errors
    /// [`RemoteError::Status`] with `STATUS_TIMEOUT` (0x102) when there were none in time.
    pub fn take_events(&self, handle: u64, timeout: Duration) -> Result<Traced, RemoteError> {
        let ticks = u64::try_from(timeout.as_nanos() / 100).unwrap_or(u64::MAX);
        let (answer, _) = self.call(Call::TAKE_EVENTS, [handle, ticks, 0], &[])?;
        let events = TracedEvent::read_all(&answer.payload).ok_or_else(|| {
            let cause = "the machine sent bytes that are no events";
            RemoteError::Channel(ChannelError::Io(io::Error::other(cause)))
        })?;
        let [lost, ..] = answer.arguments;
        Ok(Traced { events, lost })
    }

    /// Closes a handle of this process.
    ///
    /// # Errors
    /// [`RemoteError::Status`] when there is no such handle.
    pub fn close_handle(&self, handle: u64) -> Result<(), RemoteError> {
        self.call(Call::CLOSE_HANDLE, [handle, 0, 0], &[]).map(drop)
    }

    fn call(
        &self,
        call: Call,
        arguments: [u64; 3],
        payload: &[u8],
    ) -> Result<(Frame, Option<OwnedFd>), RemoteError> {
        let lane = match self.lanes().pop() {
            Some(lane) => lane,
            None => self.new_lane()?,
        };
        let outcome = exchange(&lane, &Frame::request(call, arguments, payload));
        if matches!(outcome, Ok(_) | Err(RemoteError::Status(_))) {
            self.lanes().push(lane);
        }
        outcome
    }

    fn new_lane(&self) -> Result<Channel, RemoteError> {
        let lane = open_lane(&self.path)?;
        exchange(
            &lane,
            &Frame::new(Call::JOIN_PROCESS.0, [self.process, self.token, 0]),
        )?;
        Ok(lane)
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        // The list is whole between any two statements, so a panic elsewhere cannot have torn it.
        self.idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.control.close();
    }
}

fn open_lane(path: &Path) -> Result<Channel, RemoteError> {
    Channel::connect(path).map_err(|cause| RemoteError::Connect {
        path: path.to_owned(),
        cause,
    })
}

/// Sends a request and waits for its answer. Every status but success is an error.
fn exchange(lane: &Channel, request: &Frame) -> Result<(Frame, Option<OwnedFd>), RemoteError> {
    lane.send(request, None)?;
    let (answer, descriptor) = lane.receive()?;
    match answer.code {
        0 => Ok((answer, descriptor)),
        status => Err(RemoteError::Status(status)),
    }
}
