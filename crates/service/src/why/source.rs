//! Where the driver's events come from: a tracing session, of Windows or of a filter host.

use std::time::Duration;

use siloscan_core::trace::PROVIDER_GUID;

/// What a session asks the driver for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The most verbose level.
    pub level: u8,
    /// Keywords of which an event has one; 0 is for all.
    pub keywords: u64,
}

/// An event as the session gave it: not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// When it was written: the system time in 100 ns since 1601.
    pub time: u64,
    /// Its level.
    pub level: u8,
    /// Its keyword bits.
    pub keyword: u64,
    /// TraceLogging's metadata; empty for an event that has none.
    pub metadata: Vec<u8>,
    /// The bytes of its fields.
    pub values: Vec<u8>,
}

/// What came at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Events, oldest first.
    pub events: Vec<Raw>,
    /// How many were lost since the batch before.
    pub lost: u64,
}

/// A session that listens to the driver, until it is dropped.
pub trait Source {
    /// Waits for events, for at most so long; an empty batch where none came.
    ///
    /// # Errors
    /// [`SourceError`]: nothing more comes.
    fn take(&mut self, wait: Duration) -> Result<Batch, SourceError>;
}

/// Why nothing can be heard of the driver.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No filter host, or none that answers.
    #[error("{0}; start the filter host first, or name its socket with --socket")]
    NoHost(String),
    /// It went away.
    #[error("the session has ended: {0}")]
    Ended(String),
    /// Windows lets only some users listen.
    #[error(
        "Windows does not let this user listen to a driver (error 5): run it in an administrator's \
         shell, or as a member of Performance Log Users"
    )]
    NotAllowed,
    /// Windows has no room for another session.
    #[error(
        "Windows runs as many tracing sessions as it can (error 1450): `logman query -ets` lists \
         them, `logman stop NAME -ets` ends one"
    )]
    Crowded,
    /// A call of the system failed.
    #[error("{call} failed with error {code}; `net helpmsg {code}` says what that means")]
    System {
        /// The function.
        call: &'static str,
        /// Windows' error code.
        code: u32,
    },
}

/// The driver's provider, as its GUID lies in memory.
#[must_use]
pub fn provider() -> [u8; 16] {
    let [a3, a2, a1, a0, b1, b0, c1, c0, rest @ ..] = PROVIDER_GUID.to_be_bytes();
    let [d0, d1, d2, d3, d4, d5, d6, d7] = rest;
    [
        a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7,
    ]
}
