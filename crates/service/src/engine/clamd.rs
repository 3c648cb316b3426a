//! ClamAV beside another engine: its daemon `clamd` is asked for what the other one does not find.
//!
//! The bytes go over clamd's socket (`INSTREAM`), so that it needs no right to any file, and may
//! run on another machine.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::{Digest, EngineError, EngineKind, Finding, Packed, Scanner};

/// Origin of what clamd finds.
pub const CLAMD_ORIGIN: &str = "clamd";
/// Bytes of one piece of a stream.
const PIECE_BYTES: usize = 64 << 10;
/// The longest reply that is read.
const REPLY_BYTES_MAX: usize = 4096;
/// How often to look whether the time is over.
const LOOK_UP: Duration = Duration::from_millis(5);
/// How long it may take to reach clamd.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long clamd may take to tell its version.
const VERSION_TIME: Duration = Duration::from_secs(5);

/// Where clamd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    #[cfg(unix)]
    Path(std::path::PathBuf),
    Tcp(String),
}

/// Another engine, and clamd for what that does not find.
pub struct WithClamd {
    first: Arc<dyn EngineKind>,
    address: Address,
}

impl WithClamd {
    /// Asks `first`, then the clamd at `address`: the path of its socket (`LocalSocket` in
    /// `clamd.conf`), or host and port (`TCPAddr`, `TCPSocket`).
    #[must_use]
    pub fn new(first: Arc<dyn EngineKind>, address: &str) -> Self {
        #[cfg(unix)]
        if address.contains('/') {
            let address = Address::Path(address.into());
            return Self { first, address };
        }
        let address = Address::Tcp(address.to_owned());
        Self { first, address }
    }
}

impl EngineKind for WithClamd {
    fn pack(&self, folder: Option<&Path>) -> Packed {
        let mut packed = self.first.pack(folder);
        let version = self.address.version().unwrap_or_else(|error| {
            packed.problems.push(error.to_string());
            unknown()
        });
        let hash = Sha256::new_with_prefix(b"siloscan with clamd 1")
            .chain_update(packed.digest.0)
            .chain_update(version.as_bytes());
        packed.computes = false;
        packed.digest = Digest(hash.finalize().into());
        packed
    }

    fn unpack(&self, packed: &[u8]) -> Result<Box<dyn Scanner>, String> {
        Ok(Box::new(Both {
            first: self.first.unpack(packed)?,
            address: self.address.clone(),
        }))
    }

    /// With clamd's version, which changes when it has loaded another of ClamAV's databases.
    fn look(&self, folder: Option<&Path>) -> String {
        let version = self.address.version();
        let version = version.unwrap_or_else(|error| error.to_string());
        format!("{version}\n{}", self.first.look(folder))
    }
}

struct Both {
    first: Box<dyn Scanner>,
    address: Address,
}

impl Scanner for Both {
    fn scan(&mut self, bytes: &[u8], limit: Option<Duration>) -> Result<Finding, EngineError> {
        let end = limit.map(|limit| Instant::now() + limit);
        let first = self.first.scan(bytes, limit)?;
        if first != Finding::Clean || bytes.is_empty() {
            return Ok(first);
        }
        let over = || end.is_some_and(|end| Instant::now() >= end);
        let way = self.address.connect();
        let mut way = way.map_err(|cause| self.address.complain(&cause))?;
        match ask(&mut *way, bytes, &over) {
            Ok(Some(reply)) => read_reply(&reply),
            Ok(None) => Err(EngineError::TimedOut),
            // It was there a moment ago, so this may be the file's doing.
            Err(cause) => Err(EngineError::Failed(format!(
                "clamd ended the connection in mid-scan: {cause}"
            ))),
        }
    }
}

/// Stands for a version that is not known: another one each time, as what clamd knows then may be
/// anything. Verdicts that are kept under it are no other set's.
fn unknown() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    format!(
        "unknown {} {} {}",
        now.unwrap_or_default().as_nanos(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

const ALL_IS_WELL: &str = "stream: OK";

/// What clamd says of a stream: `stream: OK`, `stream: NAME FOUND`, or anything else for an error.
fn read_reply(reply: &str) -> Result<Finding, EngineError> {
    if reply == ALL_IS_WELL {
        return Ok(Finding::Clean);
    }
    let said = reply.strip_prefix("stream: ").unwrap_or(reply);
    match said.strip_suffix(" FOUND") {
        Some(name) if reply != said && !name.is_empty() => Ok(Finding::Infected {
            rule: name.to_owned(),
            origin: CLAMD_ORIGIN.to_owned(),
        }),
        _ => Err(EngineError::Failed(format!("clamd says: {reply}"))),
    }
}

/// A connection to clamd.
trait Way: Read + Write {}
impl<W: Read + Write> Way for W {}

impl Address {
    fn connect(&self) -> io::Result<Box<dyn Way>> {
        Ok(match self {
            #[cfg(unix)]
            Self::Path(path) => {
                let way = connect_path(path)?;
                way.set_read_timeout(Some(LOOK_UP))?;
                way.set_write_timeout(Some(LOOK_UP))?;
                Box::new(way)
            }
            Self::Tcp(address) => {
                let way = connect_tcp(address)?;
                way.set_nodelay(true)?;
                way.set_read_timeout(Some(LOOK_UP))?;
                way.set_write_timeout(Some(LOOK_UP))?;
                Box::new(way)
            }
        })
    }

    fn complain(&self, cause: &io::Error) -> EngineError {
        let at = match self {
            #[cfg(unix)]
            Self::Path(path) => path.display().to_string(),
            Self::Tcp(address) => address.clone(),
        };
        EngineError::Unavailable(format!(
            "clamd at {at} does not answer: {cause}; start it, or name its socket with --clamd"
        ))
    }

    /// The version of clamd and of its databases, in its own words.
    fn version(&self) -> Result<String, EngineError> {
        let end = Instant::now() + VERSION_TIME;
        let over = || Instant::now() >= end;
        let asked = self.connect().and_then(|mut way| {
            let sent = send(&mut *way, b"zVERSION\0", &over)?;
            let reply = if sent {
                receive(&mut *way, &over)?
            } else {
                None
            };
            reply.ok_or_else(|| io::Error::from(ErrorKind::TimedOut))
        });
        asked.map_err(|cause| self.complain(&cause))
    }
}

/// Connects within [`CONNECT_TIME`] to one of the addresses of a name.
fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Ok(way) => return Ok(way),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

/// Connects within [`CONNECT_TIME`]: a plain connect waits for a clamd that takes nobody in.
#[cfg(unix)]
fn connect_path(path: &Path) -> io::Result<UnixStream> {
    use rustix::io::Errno;
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let way = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let end = Instant::now() + CONNECT_TIME;
    loop {
        match connect(&way, &address) {
            Ok(()) => break,
            Err(Errno::AGAIN) if Instant::now() < end => std::thread::sleep(LOOK_UP),
            Err(Errno::AGAIN) => return Err(ErrorKind::TimedOut.into()),
            Err(cause) => return Err(cause.into()),
        }
    }
    let way = UnixStream::from(way);
    way.set_nonblocking(false)?;
    Ok(way)
}

/// Has clamd scan these bytes; nothing if it was over before it answered.
fn ask(way: &mut dyn Way, bytes: &[u8], over: &dyn Fn() -> bool) -> io::Result<Option<String>> {
    match stream(way, bytes, over) {
        Ok(true) => receive(way, over),
        Ok(false) => Ok(None),
        // It has had enough of a stream that is too long, and says so before it hangs up. That what
        // it got is clean says nothing of the rest.
        Err(cause) => match receive(way, over) {
            Ok(Some(reply)) if reply != ALL_IS_WELL => Ok(Some(reply)),
            _ => Err(cause),
        },
    }
}

/// Sends bytes in pieces, each behind its length; a length of zero ends them.
fn stream(way: &mut dyn Way, bytes: &[u8], over: &dyn Fn() -> bool) -> io::Result<bool> {
    if !send(way, b"zINSTREAM\0", over)? {
        return Ok(false);
    }
    for piece in bytes.chunks(PIECE_BYTES) {
        let length = (piece.len() as u32).to_be_bytes();
        if !send(way, &length, over)? || !send(way, piece, over)? {
            return Ok(false);
        }
    }
    send(way, &[0; 4], over)
}

fn is_no_news(cause: &io::Error) -> bool {
    let kind = cause.kind();
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Sends all of this; false if it was over before.
fn send(way: &mut dyn Way, mut bytes: &[u8], over: &dyn Fn() -> bool) -> io::Result<bool> {
    while !bytes.is_empty() {
        if over() {
            return Ok(false);
        }
        match way.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(cause) if is_no_news(&cause) => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(true)
}

/// Waits for a reply, which ends in a zero; nothing if it was over before.
fn receive(way: &mut dyn Way, over: &dyn Fn() -> bool) -> io::Result<Option<String>> {
    let mut reply = Vec::new();
    let mut buffer = [0; 512];
    while reply.last() != Some(&0) {
        if over() {
            return Ok(None);
        }
        match way.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(got) => reply.extend_from_slice(buffer.get(..got).unwrap_or_default()),
            Err(cause) if is_no_news(&cause) => {}
            Err(cause) => return Err(cause),
        }
        if reply.len() > REPLY_BYTES_MAX {
            return Err(io::Error::other("its reply does not end"));
        }
    }
    reply.pop();
    Ok(Some(String::from_utf8_lossy(&reply).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ok_is_clean() {
        assert_eq!(read_reply("stream: OK"), Ok(Finding::Clean));
        let found = Finding::Infected {
            rule: "Eicar.Test".into(),
            origin: CLAMD_ORIGIN.into(),
        };
        assert_eq!(read_reply("stream: Eicar.Test FOUND"), Ok(found));
        for other in [
            "",
            "OK",
            "stream: ",
            "stream: ok",
            "stream:  FOUND",
            "FOUND",
            "X FOUND",
            "INSTREAM size limit exceeded. ERROR",
            "stream: Can't allocate memory ERROR",
            "UNKNOWN COMMAND",
        ] {
            assert!(read_reply(other).is_err(), "{other}");
        }
    }
}
