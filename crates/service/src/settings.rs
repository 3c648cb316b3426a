//! The numbers that the service runs by, each with its unit, its default and its bounds.

use std::time::Duration;

/// How the service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Threads that scan; one more listens to the driver at any time. 1 to 256.
    pub threads: usize,
    /// Processors: so many scans run beside each other where the engine computes and does not wait
    /// ([`crate::engine::Packed::computes`]), and those that take much longer than others beside
    /// them. Nothing is changed by as many as there are threads.
    pub processors: usize,
    /// Files larger than this are answered "unscannable", in bytes.
    pub file_bytes_max: u64,
    /// Copies of files that are in memory at one time, in bytes. A scan waits for its share. At
    /// least [`Settings::file_bytes_max`]. The service holds this, its rules and about a megabyte a
    /// thread.
    pub memory_bytes_max: u64,
    /// Requests that wait for a free thread; one more is answered "busy".
    pub backlog_max: usize,
    /// How long a poll of the driver is held when there is no news. Shorter than the shortest
    /// heartbeat that the driver can be configured to (500 ms).
    pub poll_hold: Duration,
    /// How often a listening thread looks up from the port, to see a stop or new rules.
    pub idle: Duration,
    /// Whether detections are only reported: the driver is answered "clean".
    pub audit: bool,
    /// Whether a [`crate::remedy::RemedyKeeper`] with a quarantine takes what was found in
    /// containers' own files. Copies wait for it in at most a quarter of
    /// [`Settings::memory_bytes_max`].
    pub quarantine: bool,
    /// Whether a [`crate::remedy::RemedyKeeper`] tells of what was found in layers.
    pub tell_layers: bool,
    /// Whether to connect anew when there is no connection.
    pub reconnect: bool,
    /// Wait before the first new attempt to connect; doubles up to [`Settings::retry_max`].
    pub retry_min: Duration,
    /// Longest wait between attempts to connect.
    pub retry_max: Duration,
}

/// Most threads that can be asked for.
pub const THREADS_MAX: usize = 256;

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 4,
            processors: std::thread::available_parallelism().map_or(usize::MAX, usize::from),
            file_bytes_max: 256 << 20,
            memory_bytes_max: 1 << 30,
            backlog_max: 1024,
            poll_hold: Duration::from_millis(250),
            idle: Duration::from_millis(500),
            audit: false,
            quarantine: false,
            tell_layers: false,
            reconnect: true,
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(10),
        }
    }
}

/// A setting outside of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No thread, or too many.
    #[error("{0} scanning threads are not possible; choose 1 to {THREADS_MAX}")]
    Threads(usize),
    /// The largest file would never fit.
    #[error(
        "files of up to {file} bytes do not fit into {memory} bytes of memory; allow more memory \
         or smaller files"
    )]
    Memory {
        /// Largest file, in bytes.
        file: u64,
        /// Memory for copies, in bytes.
        memory: u64,
    },
    /// A time of zero would make the service spin.
    #[error("{0} must be longer than zero")]
    Zero(&'static str),
}

impl Settings {
    /// Says what is wrong with these settings, if anything is.
    ///
    /// # Errors
    /// The first setting that is outside of its bounds.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.threads == 0 || self.threads > THREADS_MAX {
            return Err(SettingsError::Threads(self.threads));
        }
        if self.file_bytes_max > self.memory_bytes_max {
            return Err(SettingsError::Memory {
                file: self.file_bytes_max,
                memory: self.memory_bytes_max,
            });
        }
        for (name, value) in [
            ("poll_hold", self.poll_hold),
            ("idle", self.idle),
            ("retry_min", self.retry_min),
            ("retry_max", self.retry_max),
        ] {
            if value.is_zero() {
                return Err(SettingsError::Zero(name));
            }
        }
        Ok(())
    }
}
