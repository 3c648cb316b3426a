//! The scan service inside a simulated machine: its threads, its clock and its port are the
//! machine's, so that one seed is one history.

use std::sync::Arc;
use std::time::Duration;

use filterhost::fltmgr::port::client::{self, Connection, HEADER_SIZE};
use filterhost::machine;
use filterhost::object::{Handle, Kind};
use filterhost::process::Process;
use filterhost::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_FLT_NO_WAITER_FOR_REPLY, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_PORT_DISCONNECTED, STATUS_THREAD_IS_TERMINATING, STATUS_TIMEOUT,
};
use filterhost::user::section_bytes;
use filterhost::volume::SectionBytes;
use filterhost::Machine;
use siloscan_core::limits::NAME_UNITS;
use siloscan_service::platform::{
    ConnectError, Delivery, PORT_NAME, Platform, Port, PortError, Section, SectionError, Work,
};

/// Room for any message of the protocol, its header included.
const MESSAGE_BYTES: usize = 1024 + NAME_UNITS * 2;

/// `SECTION_MAP_READ`.
const SECTION_MAP_READ: u32 = 4;

/// Threads, clock and port of a simulated machine, for one process.
pub struct SimPlatform {
    m: Arc<Machine>,
    process: Arc<Process>,
}

impl SimPlatform {
    /// For the service in `process`.
    #[must_use]
    pub fn new(m: &Arc<Machine>, process: &Arc<Process>) -> Self {
        Self { m: Arc::clone(m), process: Arc::clone(process) }
    }
}

impl Platform for SimPlatform {
    type Port = SimPort;

    fn connect(&self, hello: &[u8]) -> Result<SimPort, ConnectError> {
        match client::connect(&self.m, PORT_NAME, hello) {
            Ok(connection) => Ok(SimPort {
                m: Arc::clone(&self.m),
                process: Arc::clone(&self.process),
                connection,
            }),
            Err(STATUS_OBJECT_NAME_NOT_FOUND) => Err(ConnectError::NoDriver),
            Err(STATUS_ACCESS_DENIED) => Err(ConnectError::Denied),
            Err(status) => Err(ConnectError::Refused(status.0.cast_unsigned())),
        }
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.m.sched().now().0.saturating_mul(100))
    }

    fn sleep(&self, time: Duration) {
        self.m.sched().sleep(time);
    }

    fn together(&self, name: &str, threads: usize, work: Work) {
        let started: Vec<_> = (1..threads)
            .map(|number| {
                let work = Arc::clone(&work);
                self.m.sched().spawn(&self.process, name, move || work(number))
            })
            .collect();
        work(0);
        for thread in started {
            self.m.sched().join(&thread);
        }
    }

    fn engines_may_measure_time(&self) -> bool {
        !self.m.sched().is_seeded()
    }
}

/// A connection of a simulated process.
pub struct SimPort {
    m: Arc<Machine>,
    process: Arc<Process>,
    connection: Arc<Connection>,
}

fn port_error(status: NtStatus) -> PortError {
    match status {
        STATUS_TIMEOUT => PortError::TimedOut,
        STATUS_FLT_NO_WAITER_FOR_REPLY => PortError::NoWaiter,
        STATUS_PORT_DISCONNECTED | STATUS_THREAD_IS_TERMINATING => PortError::Disconnected,
        status => PortError::Failed(status.0.cast_unsigned()),
    }
}

impl SimPort {
    fn close(&self, handle: u64) {
        // A section that the driver never opened here has no handle: nothing is left to close.
        let _closed = self.m.objects().close_handle(&self.m, &self.process, handle as Handle);
    }
}

impl Port for SimPort {
    type Section = SimSection;

    fn get(&self, body: &mut Vec<u8>, timeout: Duration) -> Result<Delivery, PortError> {
        let deadline = self.m.sched().now().after(timeout);
        let mut buffer = vec![0; MESSAGE_BYTES];
        let length = client::get_message(&self.m, &self.connection, &mut buffer, Some(deadline))
            .map_err(port_error)?;
        buffer.truncate(length);
        let (header, rest) = buffer.split_at(HEADER_SIZE.min(length));
        body.clear();
        body.extend_from_slice(rest);
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap_or([0; 4]));
        let message = u64::from(word(8)) | u64::from(word(12)) << 32;
        let reply = word(0) as usize;
        let room = reply.saturating_sub(HEADER_SIZE) as u32;
        Ok(Delivery { message, reply_capacity: room })
    }

    fn reply(&self, message: u64, status: i32, body: &[u8]) -> Result<(), PortError> {
        let mut bytes = Vec::with_capacity(HEADER_SIZE + body.len());
        bytes.extend_from_slice(&status.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&message.to_le_bytes());
        bytes.extend_from_slice(body);
        client::reply(&self.m, &self.connection, &bytes).map_err(port_error)
    }

    fn open_section(&self, handle: u64) -> Result<SimSection, SectionError> {
        let found = self.m.objects().by_handle(
            &self.m,
            &self.process,
            handle as Handle,
            Some(Kind::Section),
            SECTION_MAP_READ,
        );
        let bytes = found.map(|object| section_bytes(&object));
        match bytes {
            Ok(Some(bytes)) => Ok(SimSection {
                m: Arc::clone(&self.m),
                process: Arc::clone(&self.process),
                handle: handle as Handle,
                bytes,
            }),
            Ok(None) => {
                self.close(handle);
                Err(SectionError::Disconnected)
            }
            Err(status) => {
                self.close(handle);
                Err(SectionError::Unusable(status.0.cast_unsigned()))
            }
        }
    }

    fn close_section(&self, handle: u64) {
        self.close(handle);
    }
}

impl Drop for SimPort {
    fn drop(&mut self) {
        if machine::try_current().is_some() {
            client::close(&self.m, &self.connection);
        }
    }
}

/// The bytes of a section, read as a view would be.
pub struct SimSection {
    m: Arc<Machine>,
    process: Arc<Process>,
    handle: Handle,
    bytes: Arc<SectionBytes>,
}

impl Section for SimSection {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SectionError> {
        match self.bytes.read_at(offset, buffer) {
            Ok(length) if length == buffer.len() => Ok(()),
            _ => Err(SectionError::Shrunk),
        }
    }
}

impl Drop for SimSection {
    fn drop(&mut self) {
        let _closed = self.m.objects().close_handle(&self.m, &self.process, self.handle);
    }
}
