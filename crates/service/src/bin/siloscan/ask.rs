//! Asks the scan service how it is, at the address that `siloscand --metrics` was given.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;
use siloscan_service::metrics::{PATH_STATUS, STATUS_VERSION, Status};

/// Longest wait for a connection and all of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A longer answer is not the service's, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Whom to ask.
#[derive(Args)]
pub struct Whom {
    /// Where the service answers: what `siloscand --metrics` was given
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9753")]
    pub address: SocketAddr,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers.
    #[error(
        "nobody answers at {0}: {1}; start the service with `siloscand --metrics {0}`, or name \
         its address with --address"
    )]
    Nobody(SocketAddr, #[source] io::Error),
    /// Somebody else does.
    #[error("what answers at {0} is not siloscand: {1}; name the service's address with --address")]
    NotOurs(SocketAddr, String),
    /// The service is of another release.
    #[error(
        "the service at {0} tells its status in version {1}, and this command reads version \
         {STATUS_VERSION}; use the command of the service's own release"
    )]
    Version(SocketAddr, u32),
}

/// The part of the document that says how to read the rest.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Whom {
    /// The service's facts at this moment.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask(&self) -> Result<Status, AskError> {
        let address = self.address;
        let answer = get(address).map_err(|cause| AskError::Nobody(address, cause))?;
        let not_ours = |cause: String| AskError::NotOurs(address, cause);
        let body = body(&answer).map_err(|cause| not_ours(cause.to_owned()))?;
        let read = |cause: serde_json::Error| not_ours(cause.to_string());
        let Versioned { version } = serde_json::from_slice(body).map_err(read)?;
        if version != STATUS_VERSION {
            return Err(AskError::Version(address, version));
        }
        serde_json::from_slice(body).map_err(read)
    }
}

/// All that the other side says until it hangs up.
fn get(address: SocketAddr) -> io::Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request =
        format!("GET {PATH_STATUS} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 16 << 10]);
    while answer.len() < ANSWER_BYTES_MAX {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => break,
            more => answer.extend_from_slice(part.get(..more).unwrap_or_default()),
        }
    }
    Ok(answer)
}

/// What follows the head of a good answer.
fn body(answer: &[u8]) -> Result<&[u8], &'static str> {
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err("it does not know /status");
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = end.and_then(|end| answer.get(end + 4..));
    body.ok_or("its answer has no end of its head")
}
