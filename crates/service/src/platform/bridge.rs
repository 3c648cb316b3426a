//! The service as a process of a simulated machine: its port lies behind the filter host's bridge.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use filterhost::remote::{Client, PAYLOAD_BYTES_MAX, RemoteError};
use filterhost::volume::share::{DELETE, READ_DATA, SHARE_DELETE, SHARE_READ, SYNCHRONIZE};
use parking_lot::Mutex;
use siloscan_core::key::Key;

use super::host::{HostClock, together};
use super::remove::compare;
use super::{
    ConnectError, Delivery, PORT_NAME, Platform, Port, PortError, RemoveError, Section,
    SectionError, Work,
};

const STATUS_TIMEOUT: u32 = 0x0000_0102;
const STATUS_INVALID_PARAMETER: u32 = 0xC000_000D;
const STATUS_SHARING_VIOLATION: u32 = 0xC000_0043;
const STATUS_DELETE_PENDING: u32 = 0xC000_0056;
const STATUS_CANNOT_DELETE: u32 = 0xC000_0121;
const STATUS_FILE_DELETED: u32 = 0xC000_0123;
const STATUS_ACCESS_DENIED: u32 = 0xC000_0022;
const STATUS_OBJECT_NAME_NOT_FOUND: u32 = 0xC000_0034;
const STATUS_FLT_NO_WAITER_FOR_REPLY: u32 = 0xC01C_0020;
const STATUS_PORT_DISCONNECTED: u32 = 0xC000_0037;
const STATUS_INVALID_HANDLE: u32 = 0xC000_0008;

/// Linux: threads and time of the system, the port of a filter host.
pub struct BridgePlatform {
    clock: HostClock,
    socket: std::path::PathBuf,
    /// The process that is connected. Never locked over a call of the bridge.
    client: Mutex<Weak<Client>>,
}

impl BridgePlatform {
    /// Uses the filter host that listens at `socket`. Connects when the service does.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            clock: HostClock::new(),
            socket: socket.to_owned(),
            client: Mutex::new(Weak::new()),
        }
    }
}

impl Platform for BridgePlatform {
    type Port = BridgePort;

    fn connect(&self, hello: &[u8]) -> Result<BridgePort, ConnectError> {
        let connect = || {
            // A new process for each connection: the old one ended with its connection.
            let client = Arc::new(Client::connect(&self.socket, "siloscand")?);
            let port = client.connect_port(PORT_NAME, hello)?;
            *self.client.lock() = Arc::downgrade(&client);
            Ok(BridgePort { client, port })
        };
        connect().map_err(|error: RemoteError| match error {
            RemoteError::Status(STATUS_OBJECT_NAME_NOT_FOUND) => ConnectError::NoDriver,
            RemoteError::Status(STATUS_ACCESS_DENIED) => ConnectError::Denied,
            RemoteError::Status(status) => ConnectError::Refused(status),
            other => ConnectError::Failed(format!(
                "{other}; start the filter host first, or name its socket with --socket"
            )),
        })
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn together(&self, name: &str, threads: usize, work: Work) {
        together(name, threads, &work);
    }

    /// As the connected process, which the driver lets read what it denies to others.
    fn remove_file(&self, key: &Key, content: &[u8]) -> Result<(), RemoveError> {
        let client = self.client.lock().upgrade().ok_or(RemoveError::NotHere)?;
        let file = (key.volume.to_bytes(), key.file.to_bytes());
        let share = u32::from(SHARE_READ | SHARE_DELETE);
        let handle = client
            .open_file(file, READ_DATA | DELETE | SYNCHRONIZE, share)
            .map_err(remove_error)?;
        let read = |offset, length| {
            client
                .read_file(handle, offset, length)
                .map_err(remove_error)
        };
        let outcome =
            compare(content, read).and_then(|()| client.delete_file(handle).map_err(remove_error));
        // It fails only where the handle went with the connection.
        let _ = client.close_handle(handle);
        outcome
    }

    fn engines_may_measure_time(&self) -> bool {
        true
    }
}

fn remove_error(error: RemoteError) -> RemoveError {
    match error {
        // By an id that no file has NTFS opens nothing, with this status.
        RemoteError::Status(
            STATUS_INVALID_PARAMETER
            | STATUS_OBJECT_NAME_NOT_FOUND
            | STATUS_DELETE_PENDING
            | STATUS_FILE_DELETED,
        ) => RemoveError::Gone,
        RemoteError::Status(STATUS_SHARING_VIOLATION | STATUS_CANNOT_DELETE) => RemoveError::InUse,
        RemoteError::Gone => RemoveError::NotHere,
        other => RemoveError::Failed(other.to_string()),
    }
}

/// A connection through the bridge.
pub struct BridgePort {
    client: Arc<Client>,
    port: u64,
}

fn port_error(error: RemoteError) -> PortError {
    match error {
        RemoteError::Status(STATUS_TIMEOUT) => PortError::TimedOut,
        RemoteError::Status(STATUS_FLT_NO_WAITER_FOR_REPLY) => PortError::NoWaiter,
        RemoteError::Status(STATUS_PORT_DISCONNECTED | STATUS_INVALID_HANDLE) => {
            PortError::Disconnected
        }
        RemoteError::Status(status) => PortError::Failed(status),
        RemoteError::Gone | RemoteError::Connect { .. } | RemoteError::Channel(_) => {
            PortError::Disconnected
        }
    }
}

impl Port for BridgePort {
    type Section = BridgeSection;

    fn get(&self, body: &mut Vec<u8>, timeout: Duration) -> Result<Delivery, PortError> {
        let message = self
            .client
            .get_message(self.port, PAYLOAD_BYTES_MAX, timeout)
            .map_err(port_error)?;
        *body = message.body;
        Ok(Delivery {
            message: message.id,
            reply_capacity: message.reply_length,
        })
    }

    fn reply(&self, message: u64, status: i32, body: &[u8]) -> Result<(), PortError> {
        self.client
            .reply_message(self.port, message, status, body)
            .map_err(port_error)
    }

    fn open_section(&self, handle: u64) -> Result<BridgeSection, SectionError> {
        match self.client.open_section(handle) {
            Ok(section) => Ok(BridgeSection {
                client: Arc::clone(&self.client),
                handle,
                file: section.file,
            }),
            Err(RemoteError::Status(status)) => {
                self.close_section(handle);
                Err(SectionError::Unusable(status))
            }
            Err(_) => Err(SectionError::Disconnected),
        }
    }

    fn close_section(&self, handle: u64) {
        // It fails only where the handle went with the connection.
        let _ = self.client.close_handle(handle);
    }
}

/// The bytes of one section, as a descriptor of the file that lies behind it.
pub struct BridgeSection {
    client: Arc<Client>,
    handle: u64,
    file: std::fs::File,
}

impl Section for BridgeSection {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SectionError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|_| SectionError::Shrunk)
    }
}

impl Drop for BridgeSection {
    fn drop(&mut self) {
        // As above.
        let _ = self.client.close_handle(self.handle);
    }
}
