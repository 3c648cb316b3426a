//! As much of Redis's protocol as is needed: a few commands, and replies of a few hundred bytes.
//!
//! The server is not trusted. Whatever it sends, a reply takes [`REPLY_BYTES_MAX`] bytes at most
//! and a call ends at its time; what goes beyond either ends the connection.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::record::RECORD_BYTES_MAX;
use crate::url::FleetUrl;

/// A line with a length, the longest record and one more byte, and the line's end; also the longest
/// error text.
const REPLY_BYTES_MAX: usize = 512;
const _: () = assert!(RECORD_BYTES_MAX + 1 + 16 <= REPLY_BYTES_MAX);

/// Why a call failed. Texts of the server are not repeated: they may hold what was sent, and that
/// may be a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    Late,
    #[error("it closed the connection")]
    Closed,
    #[error("it sent what is no answer")]
    Nonsense,
    /// The first word of its error.
    #[error("it refuses: {0}")]
    Refused(String),
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    Nothing,
    Word(String),
    /// The first word of an error.
    Error(String),
}

/// A connection to a Redis. After an error it is of no use any more.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects and is let in, within `limit`, name look-up not counted: that is the system's.
    pub(crate) fn open(url: &FleetUrl, limit: Duration) -> Result<Self, CallError> {
        let mut last = CallError::Io(io::ErrorKind::NotFound.into());
        let places = (url.host.as_str(), url.port).to_socket_addrs()?;
        let end = Instant::now() + limit;
        for place in places {
            match TcpStream::connect_timeout(&place, left(end)?) {
                Ok(stream) => return Self::greet(stream, url, end),
                Err(cause) => last = cause.into(),
            }
        }
        Err(last)
    }

    fn greet(stream: TcpStream, url: &FleetUrl, end: Instant) -> Result<Self, CallError> {
        stream.set_nodelay(true)?;
        let mut connection = Self { stream };
        if !url.password.is_empty() {
            let (user, password) = (url.user.as_bytes(), url.password.as_bytes());
            let said = match url.user.is_empty() {
                true => connection.call(&[b"AUTH", password], end),
                false => connection.call(&[b"AUTH", user, password], end),
            };
            fine(said?)?;
        }
        if url.database != 0 {
            let number = url.database.to_string();
            fine(connection.call(&[b"SELECT", number.as_bytes()], end)?)?;
        }
        Ok(connection)
    }

    /// The record under `key`, cut one byte after the longest: a larger value stays there.
    pub(crate) fn get(&mut self, key: &[u8], end: Instant) -> Result<Reply, CallError> {
        let last = RECORD_BYTES_MAX.to_string();
        self.call(&[b"GETRANGE", key, b"0", last.as_bytes()], end)
    }

    /// Puts `record` under `key`, for so long.
    pub(crate) fn set(
        &mut self,
        key: &[u8],
        record: &[u8],
        ttl: Duration,
        end: Instant,
    ) -> Result<(), CallError> {
        let seconds = ttl.as_secs().max(1).to_string();
        fine(self.call(&[b"SET", key, record, b"EX", seconds.as_bytes()], end)?)
    }

    fn call(&mut self, words: &[&[u8]], end: Instant) -> Result<Reply, CallError> {
        self.stream.set_write_timeout(Some(left(end)?))?;
        self.stream.write_all(&packed(words)).map_err(late)?;
        let mut buffer = [0; REPLY_BYTES_MAX];
        let mut filled = 0;
        loop {
            let free = buffer.get_mut(filled..).unwrap_or_default();
            if free.is_empty() {
                return Err(CallError::Nonsense);
            }
            self.stream.set_read_timeout(Some(left(end)?))?;
            match self.stream.read(free) {
                Ok(0) => return Err(CallError::Closed),
                Ok(more) => filled += more,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(late(cause)),
            }
            if let Some(reply) = parsed(buffer.get(..filled).unwrap_or_default())? {
                return Ok(reply);
            }
        }
    }
}

/// The time until `end`.
fn left(end: Instant) -> Result<Duration, CallError> {
    let left = end.saturating_duration_since(Instant::now());
    // Less is no time at all to some systems, and zero means for ever.
    (left >= Duration::from_millis(1))
        .then_some(left)
        .ok_or(CallError::Late)
}

fn late(cause: io::Error) -> CallError {
    match cause.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CallError::Late,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => CallError::Closed,
        _ => CallError::Io(cause),
    }
}

fn fine(reply: Reply) -> Result<(), CallError> {
    match reply {
        Reply::Word(word) if word == "OK" => Ok(()),
        Reply::Error(word) => Err(CallError::Refused(word)),
        _ => Err(CallError::Nonsense),
    }
}

fn packed(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The reply that `bytes` are, or nothing while it is not whole. One question is open at a time, so
/// anything after a reply is nonsense.
fn parsed(bytes: &[u8]) -> Result<Option<Reply>, CallError> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return Ok(None);
    };
    let (line, rest) = bytes.split_at(end);
    let rest = rest.get(2..).unwrap_or_default();
    let (kind, line) = line.split_first().ok_or(CallError::Nonsense)?;
    let line = std::str::from_utf8(line).map_err(|_| CallError::Nonsense)?;
    let reply = match kind {
        b'+' => Reply::Word(line.to_owned()),
        b'-' => Reply::Error(first_word(line)),
        b'$' if line == "-1" => Reply::Nothing,
        b'$' => return bulk(line, rest),
        _ => return Err(CallError::Nonsense),
    };
    match rest {
        [] => Ok(Some(reply)),
        _ => Err(CallError::Nonsense),
    }
}

fn bulk(length: &str, rest: &[u8]) -> Result<Option<Reply>, CallError> {
    let length: usize = length.parse().map_err(|_| CallError::Nonsense)?;
    // Not asked for: the rest of it would have to be read and thrown away.
    if length > RECORD_BYTES_MAX + 1 {
        return Err(CallError::Nonsense);
    }
    match rest.split_at_checked(length) {
        Some((bytes, b"\r\n")) => Ok(Some(Reply::Bytes(bytes.to_vec()))),
        Some((_, b"" | b"\r")) | None => Ok(None),
        Some(_) => Err(CallError::Nonsense),
    }
}

/// Redis's errors begin with a word in capital letters. That much of them is passed on.
fn first_word(line: &str) -> String {
    let word: String = line
        .chars()
        .take(24)
        .take_while(|c| c.is_ascii_uppercase())
        .collect();
    if word.is_empty() {
        "an error".to_owned()
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Reply> {
        parsed(bytes).expect("sense")
    }

    #[test]
    fn replies_are_read_when_they_are_whole() {
        let cases: [(&[u8], Reply); 6] = [
            (b"+OK\r\n", Reply::Word("OK".to_owned())),
            (
                b"-WRONGTYPE of a key\r\n",
                Reply::Error("WRONGTYPE".to_owned()),
            ),
            (b"-oh: secret\r\n", Reply::Error("an error".to_owned())),
            (b"$-1\r\n", Reply::Nothing),
            (b"$0\r\n\r\n", Reply::Bytes(Vec::new())),
            (b"$4\r\n\r\n\r\n\r\n", Reply::Bytes(b"\r\n\r\n".to_vec())),
        ];
        for (bytes, expected) in cases {
            for length in 0..bytes.len() {
                assert_eq!(read(&bytes[..length]), None, "{length} of {expected:?}");
            }
            assert_eq!(read(bytes), Some(expected));
        }
    }

    #[test]
    fn what_is_no_reply_ends_the_connection() {
        let bad: [&[u8]; 12] = [
            b"\r\n",
            b":1\r\n",
            b"*1\r\n",
            b"%1\r\n",
            b"$-2\r\n",
            b"$x\r\n",
            b"$165\r\n",
            b"$536870912\r\n",
            b"$18446744073709551616\r\n",
            b"$1\r\nabc",
            b"+OK\r\n+OK\r\n",
            b"+\xff\r\n",
        ];
        for bytes in bad {
            let shown = String::from_utf8_lossy(bytes);
            assert!(matches!(parsed(bytes), Err(CallError::Nonsense)), "{shown}");
        }
    }

    #[test]
    fn words_go_with_their_length() {
        let bytes = packed(&[b"GET", b"a\r\nb"]);
        assert_eq!(bytes, b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n");
    }
}
