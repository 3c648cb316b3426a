//! What the service needs from the world it runs in: time, threads, and the driver's port.
//!
//! There are three worlds: Windows, with the real port functions; Linux, where the port is that of
//! a filter host behind a Unix socket; and a simulated machine, where the service's threads are
//! simulated threads and one seed is one history. The service keeps its half of the bargain for the
//! third: no clock, no thread and no wait but through these traits, no order that depends on a hash
//! map, and no lock held over a call of them.

#[cfg(unix)]
mod bridge;
mod host;
mod remove;
#[cfg(unix)]
mod simulated;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
mod windows_files;

use std::sync::Arc;
use std::time::Duration;

use siloscan_core::key::{Key, VolumeGuid};

#[cfg(unix)]
pub use bridge::BridgePlatform;
pub use remove::RemoveError;
#[cfg(unix)]
pub use simulated::SimulatedPlatform;
#[cfg(windows)]
pub use windows::WindowsPlatform;

/// Name of the driver's communication port.
pub const PORT_NAME: &str = r"\SiloscanPort";

/// The longest message, without header, that the service takes: one that is longer would stay at
/// the head of the driver's queue.
const MESSAGE_BYTES_MAX: usize = 48 << 10;
const _: () = assert!(size_of::<siloscan_core::wire::Chunk>() <= MESSAGE_BYTES_MAX);

/// The work that several threads do together; the argument is the thread's number, from 0.
pub type Work = Arc<dyn Fn(usize) + Send + Sync>;

/// Time, threads, and the way to the driver.
pub trait Platform: Send + Sync + 'static {
    /// A connection to the driver.
    type Port: Port;

    /// Connects to the driver's port. `hello` reaches its connect callback.
    ///
    /// # Errors
    /// [`ConnectError`]; trying again later may succeed.
    fn connect(&self, hello: &[u8]) -> Result<Self::Port, ConnectError>;

    /// Time since some moment in the past; never goes back.
    fn now(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration);

    /// Runs `work` on `threads` threads at once and returns when the last one has ended.
    fn together(&self, name: &str, threads: usize, work: Work);

    /// The name by which the system knows a folder, to be compared with
    /// [`Platform::name_of_file`].
    ///
    /// # Errors
    /// It is not there, or is no folder, or this platform has no files: in the system's words.
    fn name_of_folder(&self, folder: &str) -> Result<String, String> {
        Err(format!(
            "the files of this machine are not seen here ({folder})"
        ))
    }

    /// The volume that a folder lies on, as the keys of its files name it.
    ///
    /// # Errors
    /// As of [`Platform::name_of_folder`], or the volume has no GUID.
    fn volume_of_folder(&self, folder: &str) -> Result<VolumeGuid, String> {
        let name = self.name_of_folder(folder)?;
        volume_in(&name).ok_or_else(|| format!("the volume of {name} has no GUID"))
    }

    /// The name that the file of a key has now, from the volume on. Opens it for its attributes
    /// alone. Of a file with several names it is one of them. Nothing where it cannot be told.
    fn name_of_file(&self, _key: &Key) -> Option<String> {
        None
    }

    /// Deletes the file of a key, if it still has exactly these bytes: opened by its id, compared
    /// and deleted through one handle that shares reading and deleting, and lets nobody write
    /// meanwhile. Never on a thread that answers scans.
    ///
    /// # Errors
    /// [`RemoveError`]; the file is as it was then.
    fn remove_file(&self, _key: &Key, _content: &[u8]) -> Result<(), RemoveError> {
        Err(RemoveError::NotHere)
    }

    /// True where an engine may measure its own time. False in a simulated world, where time that
    /// the machine does not know of would make one seed two histories.
    fn engines_may_measure_time(&self) -> bool;
}

/// The volume in a name that begins with its GUID: `\\?\Volume{…}\`.
fn volume_in(name: &str) -> Option<VolumeGuid> {
    let (_, rest) = name.split_once("Volume{")?;
    let (guid, _) = rest.split_once('}')?;
    VolumeGuid::from_bytes(crate::job::guid_of(guid)?)
}

/// A connection to the driver. Dropping it disconnects.
pub trait Port: Send + Sync + 'static {
    /// The bytes of a section of this connection.
    type Section: Section;

    /// Waits for a message and puts it, without its header, into `body`.
    ///
    /// # Errors
    /// [`PortError::TimedOut`] when none came in time.
    fn get(&self, body: &mut Vec<u8>, timeout: Duration) -> Result<Delivery, PortError>;

    /// Replies to a message. Any thread may reply, in any order.
    ///
    /// # Errors
    /// [`PortError::NoWaiter`] when the driver waits no more; nothing is wrong then.
    fn reply(&self, message: u64, status: i32, body: &[u8]) -> Result<(), PortError>;

    /// Opens the bytes behind a section handle that a message carried. Consumes the handle: it is
    /// closed when the section is dropped, or at once when this fails.
    ///
    /// # Errors
    /// [`SectionError`] when there are no bytes to be had.
    fn open_section(&self, handle: u64) -> Result<Self::Section, SectionError>;

    /// Closes a section handle that a message carried and that is not going to be opened.
    fn close_section(&self, handle: u64);
}

/// A file's bytes, as the driver handed them over. Dropping it lets go of view and handle.
pub trait Section {
    /// Fills `buffer` with the bytes at `offset`, all or nothing.
    ///
    /// # Errors
    /// [`SectionError::Shrunk`] when the file no longer has them. Never a fault.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SectionError>;
}

/// A message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Goes back with the reply.
    pub message: u64,
    /// Bytes of reply that the driver is ready to take; 0 when it waits for none.
    pub reply_capacity: u32,
}

/// Why the driver's port could not be connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody made the port.
    #[error("the driver's port {PORT_NAME} does not exist; load the driver (fltmc load siloscan)")]
    NoDriver,
    /// The port's descriptor does not admit this process.
    #[error(
        "this process may not connect to the driver's port; run siloscand as the service that its \
         installer registers (NT SERVICE\\siloscand)"
    )]
    Denied,
    /// The driver refused: wrong version, or a service is connected already.
    #[error(
        "the driver refused the connection with {0:#010x}; another siloscand may be connected, or \
         its version differs from the driver's"
    )]
    Refused(u32),
    /// The way to the driver is broken.
    #[error("{0}")]
    Failed(String),
}

/// Why a message could not be had or answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// No message came in time.
    #[error("no message came in time")]
    TimedOut,
    /// The driver, or the machine, has closed the connection.
    #[error("the driver has closed the connection")]
    Disconnected,
    /// Nobody waits for this reply any more.
    #[error("nobody waits for this reply any more")]
    NoWaiter,
    /// Anything else that the system says.
    #[error("the port failed with {0:#010x}")]
    Failed(u32),
}

/// Why a section's bytes could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// The file has fewer bytes than when the section was made, or they cannot be read.
    #[error("the file shrank or became unreadable while it was read")]
    Shrunk,
    /// The handle is no section's, or it cannot be mapped.
    #[error("the section cannot be opened ({0:#010x})")]
    Unusable(u32),
    /// The connection is gone and its sections with it.
    #[error("the driver has closed the connection")]
    Disconnected,
}
