//! The service as simulated threads of a machine in this process: time, order and port are the
//! machine's, so one seed is one history.

use std::sync::Arc;
use std::time::Duration;

use filterhost::fltmgr::port::Connection;
use filterhost::fltmgr::port::client::{self, HEADER_SIZE};
use filterhost::layout::{FileNameInformation, GUID};
use filterhost::process::Process;
use filterhost::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_CANNOT_DELETE, STATUS_DELETE_PENDING,
    STATUS_END_OF_FILE, STATUS_FLT_NO_WAITER_FOR_REPLY, STATUS_INVALID_PARAMETER,
    STATUS_OBJECT_NAME_NOT_FOUND, STATUS_PORT_DISCONNECTED, STATUS_SHARING_VIOLATION,
    STATUS_THREAD_IS_TERMINATING, STATUS_TIMEOUT,
};
use filterhost::user::section::SectionHost;
use filterhost::user::{OpenOptions, Process as User};
use filterhost::volume::share::{DELETE, READ_DATA, SHARE_DELETE, SHARE_READ, SYNCHRONIZE};
use filterhost::volume::{SectionBytes, Volume, Volumes};
use filterhost::{Machine, ThreadRef};
use siloscan_core::key::{Key, VolumeGuid};

use super::remove::compare;
use super::{
    ConnectError, Delivery, MESSAGE_BYTES_MAX, PORT_NAME, Platform, Port, PortError, RemoveError,
    Section, SectionError, Work,
};
use crate::service::Service;

/// Bytes of the longest name.
const NAME_BYTES: usize = 1 << 16;

/// A simulated machine, and the process in it that the service is.
pub struct SimulatedPlatform {
    m: Arc<Machine>,
    process: Arc<Process>,
    files: Option<User>,
}

impl SimulatedPlatform {
    /// The service will be `process` of `m`. Run it by [`SimulatedPlatform::start`].
    #[must_use]
    pub fn new(m: &Arc<Machine>, process: &Arc<Process>) -> Self {
        Self {
            m: Arc::clone(m),
            process: Arc::clone(process),
            files: None,
        }
    }

    /// The same, seeing the machine's files as `process` does.
    #[must_use]
    pub fn with_files(mut self, process: &User) -> Self {
        self.files = Some(process.clone());
        self
    }

    /// Runs the service on threads of its process. Call on a simulated thread. To end it, call
    /// [`Service::stop`] and join the thread that this returns.
    pub fn start(service: &Arc<Service<Self>>) -> ThreadRef {
        let own = Arc::clone(service);
        let platform = service.platform();
        platform
            .m
            .sched()
            .spawn(&platform.process, "siloscand", move || {
                if let Err(cause) = own.run() {
                    tracing::warn!(%cause, "the simulated service ended");
                }
            })
    }
}

impl Platform for SimulatedPlatform {
    type Port = SimulatedPort;

    fn connect(&self, hello: &[u8]) -> Result<SimulatedPort, ConnectError> {
        match client::connect(&self.m, PORT_NAME, hello) {
            Ok(connection) => Ok(SimulatedPort {
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
        let sched = self.m.sched();
        let others: Vec<ThreadRef> = (1..threads)
            .map(|number| {
                let work = Arc::clone(&work);
                sched.spawn(&self.process, name, move || work(number))
            })
            .collect();
        work(0);
        for thread in others {
            sched.join(&thread);
        }
    }

    fn name_of_folder(&self, folder: &str) -> Result<String, String> {
        let files = self.files.as_ref().ok_or("no files are seen here")?;
        let opened = OpenOptions::new(folder).directory();
        name_of(files, &opened).map_err(|status| status.to_string())
    }

    fn volume_of_folder(&self, folder: &str) -> Result<VolumeGuid, String> {
        let files = self.files.as_ref().ok_or("no files are seen here")?;
        let opened = files.open(&OpenOptions::new(folder).directory());
        let opened = opened.map_err(|status| status.to_string())?;
        let guid = opened.volume().guid().map(|guid| guid_bytes(&guid));
        opened.close().map_err(|status| status.to_string())?;
        let guid = guid.and_then(VolumeGuid::from_bytes);
        guid.ok_or_else(|| format!("the volume of {folder} has no GUID"))
    }

    fn name_of_file(&self, key: &Key) -> Option<String> {
        let volume = self.volume_of(key)?;
        let opened = OpenOptions::by_id(&volume, &key.file.to_bytes()).open_reparse_point();
        name_of(self.files.as_ref()?, &opened).ok()
    }

    fn remove_file(&self, key: &Key, content: &[u8]) -> Result<(), RemoveError> {
        let files = self.files.as_ref().ok_or(RemoveError::NotHere)?;
        let volume = self.volume_of(key).ok_or(RemoveError::Gone)?;
        let opened = OpenOptions::by_id(&volume, &key.file.to_bytes())
            .exact_access(READ_DATA | DELETE | SYNCHRONIZE)
            .share(SHARE_READ | SHARE_DELETE)
            .file()
            .open_reparse_point();
        let file = files.open(&opened).map_err(remove_error)?;
        let read = |offset, length| match file.read_at(offset, length) {
            Err(STATUS_END_OF_FILE) => Ok(Vec::new()),
            read => read.map_err(remove_error),
        };
        let outcome = compare(content, read).and_then(|()| file.delete().map_err(remove_error));
        let closed = file.close().map_err(remove_error);
        outcome.and(closed)
    }

    fn engines_may_measure_time(&self) -> bool {
        !self.m.sched().is_seeded()
    }
}

impl SimulatedPlatform {
    fn volume_of(&self, key: &Key) -> Option<Arc<Volume>> {
        let volumes = self.m.state::<Volumes>().all();
        let same = |volume: &Arc<Volume>| {
            let guid = volume.guid().map(|guid| guid_bytes(&guid));
            guid == Some(key.volume.to_bytes())
        };
        volumes.into_iter().find(same)
    }
}

fn remove_error(status: NtStatus) -> RemoveError {
    match status {
        STATUS_INVALID_PARAMETER | STATUS_OBJECT_NAME_NOT_FOUND | STATUS_DELETE_PENDING => {
            RemoveError::Gone
        }
        STATUS_SHARING_VIOLATION | STATUS_CANNOT_DELETE => RemoveError::InUse,
        other => RemoveError::Failed(other.to_string()),
    }
}

/// A GUID as it lies in memory.
fn guid_bytes(guid: &GUID) -> [u8; 16] {
    let [d0, d1, d2, d3] = guid.data1.to_le_bytes();
    let ([e0, e1], [f0, f1]) = (guid.data2.to_le_bytes(), guid.data3.to_le_bytes());
    let [g0, g1, g2, g3, g4, g5, g6, g7] = guid.data4;
    [
        d0, d1, d2, d3, e0, e1, f0, f1, g0, g1, g2, g3, g4, g5, g6, g7,
    ]
}

/// Opens something for its attributes and asks for its name.
fn name_of(process: &User, opened: &OpenOptions) -> Result<String, NtStatus> {
    let file = process.open(opened)?;
    let volume = file.volume().device_name().to_owned();
    let reply = file.query(FileNameInformation, 4 + NAME_BYTES);
    file.close()?;
    let units = reply?;
    let (pairs, _) = units.get(4..).unwrap_or(&[]).as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    Ok(format!("{volume}{}", String::from_utf16_lossy(&units)))
}

/// A connection within the machine.
pub struct SimulatedPort {
    m: Arc<Machine>,
    process: Arc<Process>,
    connection: Arc<Connection>,
}

fn port_error(status: NtStatus) -> PortError {
    match status {
        STATUS_TIMEOUT => PortError::TimedOut,
        STATUS_FLT_NO_WAITER_FOR_REPLY => PortError::NoWaiter,
        STATUS_PORT_DISCONNECTED | STATUS_THREAD_IS_TERMINATING => PortError::Disconnected,
        other => PortError::Failed(other.0.cast_unsigned()),
    }
}

impl Port for SimulatedPort {
    type Section = SimulatedSection;

    fn get(&self, body: &mut Vec<u8>, timeout: Duration) -> Result<Delivery, PortError> {
        let deadline = self.m.sched().now().after(timeout);
        body.clear();
        body.resize(HEADER_SIZE + MESSAGE_BYTES_MAX, 0);
        let bytes = client::get_message(&self.m, &self.connection, body, Some(deadline))
            .map_err(port_error)?;
        body.truncate(bytes);
        let header: [u8; HEADER_SIZE] = body.first_chunk().copied().ok_or(PortError::Failed(0))?;
        body.drain(..HEADER_SIZE);
        let [r0, r1, r2, r3, _, _, _, _, message @ ..] = header;
        Ok(Delivery {
            message: u64::from_le_bytes(message),
            reply_capacity: u32::from_le_bytes([r0, r1, r2, r3]),
        })
    }

    fn reply(&self, message: u64, status: i32, body: &[u8]) -> Result<(), PortError> {
        let status = u64::from(status.cast_unsigned());
        let reply = [&status.to_le_bytes()[..], &message.to_le_bytes(), body].concat();
        client::reply(&self.m, &self.connection, &reply).map_err(port_error)
    }

    fn open_section(&self, handle: u64) -> Result<SimulatedSection, SectionError> {
        let handle = usize::try_from(handle).unwrap_or(0);
        match SectionHost::bytes_of_handle(&self.m, &self.process, handle) {
            Ok(bytes) => Ok(SimulatedSection {
                m: Arc::clone(&self.m),
                process: Arc::clone(&self.process),
                handle,
                bytes: Some(bytes),
            }),
            Err(status) => {
                close(&self.m, &self.process, handle);
                Err(SectionError::Unusable(status.0.cast_unsigned()))
            }
        }
    }

    fn close_section(&self, handle: u64) {
        let handle = usize::try_from(handle).unwrap_or(0);
        close(&self.m, &self.process, handle);
    }
}

impl Drop for SimulatedPort {
    fn drop(&mut self) {
        client::close(&self.m, &self.connection);
    }
}

/// The bytes of one section, as a view of them shows them.
pub struct SimulatedSection {
    m: Arc<Machine>,
    process: Arc<Process>,
    handle: usize,
    bytes: Option<Arc<SectionBytes>>,
}

impl Section for SimulatedSection {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SectionError> {
        self.m.sched().yield_point("ReadProcessMemory");
        let bytes = self.bytes.as_ref().ok_or(SectionError::Unusable(0))?;
        match bytes.read_at(offset, buffer) {
            Ok(read) if read == buffer.len() => Ok(()),
            Ok(_) | Err(_) => Err(SectionError::Shrunk),
        }
    }
}

impl Drop for SimulatedSection {
    fn drop(&mut self) {
        // The view goes first, then the handle.
        self.bytes = None;
        close(&self.m, &self.process, self.handle);
    }
}

fn close(m: &Arc<Machine>, process: &Arc<Process>, handle: usize) {
    m.sched().yield_point("CloseHandle");
    // It fails only where the handle went with the connection.
    let _ = m.objects().close_handle(m, process, handle);
}
