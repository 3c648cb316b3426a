//! Readers that count, hash and refuse.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::limits::Limits;
use crate::report::ProblemKind;

/// A reason of our own for not reading on, carried in an [`io::Error`].
#[derive(Debug)]
pub struct Refused {
    /// The problem's name.
    pub kind: ProblemKind,
    text: String,
}

impl Refused {
    /// The error that carries this.
    pub fn error(kind: ProblemKind, text: impl Into<String>) -> io::Error {
        let text = text.into();
        io::Error::other(Self { kind, text })
    }

    /// What `error` carries, if it is one of ours. Decoders hand on errors of what they read from
    /// as their own cause.
    pub fn of(error: &io::Error) -> Option<&Self> {
        let mut cause: &(dyn std::error::Error + 'static) = error.get_ref()?;
        loop {
            if let Some(refused) = cause.downcast_ref::<Self>() {
                return Some(refused);
            }
            if let Some(inner) = cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
            {
                cause = inner;
                continue;
            }
            cause = cause.source()?;
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {}

/// Hashes and counts what is read.
pub struct Hashed<R> {
    from: R,
    hash: Option<Sha256>,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Hashed<R> {
    /// Reads from `from`, and hashes only if somebody wants the digest.
    pub fn new(from: R, wanted: bool) -> Self {
        Self {
            from,
            hash: wanted.then(Sha256::new),
            count: Rc::default(),
        }
    }

    /// Bytes read so far, for as long as anybody wants to know.
    pub fn count(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.count)
    }

    /// Reads what is left, and tells the digest of all in hexadecimal.
    ///
    /// # Errors
    /// When the rest cannot be read.
    pub fn finish(mut self) -> io::Result<Option<String>> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hash.take().map(|hash| hex(&hash.finalize())))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if let (Some(hash), Some(read)) = (&mut self.hash, buffer.get(..count)) {
            hash.update(read);
        }
        self.count
            .set(self.count.get().saturating_add(count as u64));
        Ok(count)
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Ends with an error where a layer unpacks to more than it may.
pub struct Metered<R> {
    from: R,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
    limits: Limits,
}

impl<R: Read> Metered<R> {
    /// Reads from a decoder that has read `packed` bytes for it.
    pub fn new(from: R, packed: Rc<Cell<u64>>, limits: Limits) -> Self {
        Self {
            from,
            packed,
            unpacked: 0,
            limits,
        }
    }

    fn check(&self) -> io::Result<()> {
        let Limits {
            layer_bytes,
            layer_bytes_free,
            layer_ratio,
            ..
        } = self.limits;
        let text = if self.unpacked > layer_bytes {
            format!("it unpacks to more than {layer_bytes} bytes")
        } else if self.unpacked > layer_bytes_free
            && self.unpacked > self.packed.get().saturating_mul(layer_ratio)
        {
            format!("it unpacks to more than {layer_ratio} times its size")
        } else {
            return Ok(());
        };
        Err(Refused::error(ProblemKind::Limit, text))
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let count = self.from.read(buffer)?;
        self.unpacked = self.unpacked.saturating_add(count as u64);
        Ok(count)
    }
}
