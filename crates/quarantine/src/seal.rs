//! The file of an item: a head, what is known of the file, and its content, sealed piece by piece.
//!
//! Head: magic (8 bytes), the key's name (8), a random nonce (20), and how long the sealed metadata
//! are (4, little-endian). Then the metadata as JSON, and the content in pieces of [`PART_BYTES`];
//! the last piece may be shorter, and is the only one where the content is empty. Each piece is
//! sealed by XChaCha20-Poly1305 in its place of the STREAM construction, so that none can be
//! changed, moved, left out or added; the head and the item's id are authenticated with each.

use std::io::{self, Read};

use aead_stream::{DecryptorLE31, EncryptorLE31, Nonce, StreamLE31};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::Payload;

use crate::error::{Damage, QuarantineError};
use crate::folder;
use crate::id::ItemId;
use crate::key::{KEY_NAME_BYTES, Key};
use crate::metadata::Metadata;
use crate::read_full;

/// Bytes of the content in a piece.
pub(crate) const PART_BYTES: usize = 64 << 10;
/// What sealing adds to a piece.
const TAG_BYTES: usize = 16;
/// Sealed metadata may have at most so many bytes; a name has at most 32,767 units, and a request
/// to scan carries 511 of them.
const METADATA_BYTES_MAX: usize = 256 << 10;

const MAGIC: &[u8; 8] = b"SSQITEM1";
const NONCE_BYTES: usize = 20;
const HEAD_BYTES: usize = MAGIC.len() + KEY_NAME_BYTES + NONCE_BYTES + 4;

type StreamNonce = Nonce<XChaCha20Poly1305, StreamLE31<XChaCha20Poly1305>>;

/// Seals an item.
pub(crate) struct Sealer {
    stream: EncryptorLE31<XChaCha20Poly1305>,
    head: Vec<u8>,
    authenticated: Vec<u8>,
    metadata: Vec<u8>,
}

/// What is authenticated with each piece.
fn authenticated(head: &[u8], id: ItemId) -> Vec<u8> {
    [head, id.bytes()].concat()
}

fn payload<'a>(part: &'a [u8], authenticated: &'a [u8]) -> Payload<'a, 'a> {
    Payload {
        msg: part,
        aad: authenticated,
    }
}

fn refused(_: chacha20poly1305::aead::Error) -> io::Error {
    io::Error::other("the file has more pieces than can be sealed")
}

impl Sealer {
    pub(crate) fn new(key: &Key, id: ItemId, metadata: &Metadata) -> Result<Self, QuarantineError> {
        let cannot = |cause| QuarantineError::io("seal", id.to_string().as_ref(), cause);
        let nonce = folder::random::<NONCE_BYTES>().map_err(cannot)?;
        let metadata = serde_json::to_vec(metadata).map_err(|cause| cannot(cause.into()))?;
        let sealed = metadata.len() + TAG_BYTES;
        let length = u32::try_from(sealed)
            .ok()
            .filter(|_| sealed <= METADATA_BYTES_MAX)
            .ok_or(QuarantineError::TooMuchKnown(metadata.len()))?;
        let head = [&MAGIC[..], &key.name(), &nonce, &length.to_le_bytes()].concat();
        Ok(Self {
            stream: EncryptorLE31::new(key.bytes().into(), &StreamNonce::from(nonce)),
            authenticated: authenticated(&head, id),
            head,
            metadata,
        })
    }

    /// Bytes of the item's file with a content of so many.
    pub(crate) fn sealed_bytes(&self, content: u64) -> u64 {
        file_bytes(self.metadata.len() + TAG_BYTES, content)
    }

    /// The head and the sealed metadata: what the file begins with.
    pub(crate) fn head(&mut self) -> io::Result<Vec<u8>> {
        let part = payload(&self.metadata, &self.authenticated);
        let sealed = self.stream.encrypt_next(part).map_err(refused)?;
        Ok([self.head.as_slice(), &sealed].concat())
    }

    /// The next piece, which is not the last.
    pub(crate) fn part(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        let part = payload(part, &self.authenticated);
        self.stream.encrypt_next(part).map_err(refused)
    }

    /// The last piece.
    pub(crate) fn last(self, part: &[u8]) -> io::Result<Vec<u8>> {
        let part = payload(part, &self.authenticated);
        self.stream.encrypt_last(part).map_err(refused)
    }
}

/// Bytes of an item's file.
fn file_bytes(metadata: usize, content: u64) -> u64 {
    let part = PART_BYTES as u64;
    let parts = content.div_ceil(part).max(1);
    let sealed = content.saturating_add(parts.saturating_mul(TAG_BYTES as u64));
    sealed.saturating_add((HEAD_BYTES + metadata) as u64)
}

/// Opens an item.
pub(crate) struct Opener<R> {
    source: R,
    /// None after the last piece.
    stream: Option<DecryptorLE31<XChaCha20Poly1305>>,
    authenticated: Vec<u8>,
    /// Bytes of the content that are still to come.
    left: u64,
    pub(crate) metadata: Metadata,
}

/// Why an item could not be opened.
pub(crate) enum OpenError {
    Damaged(Damage),
    Io(io::Error),
}

impl OpenError {
    pub(crate) fn of_item(self, id: ItemId, path: &std::path::Path) -> QuarantineError {
        match self {
            Self::Damaged(damage) => QuarantineError::Damaged { id, damage },
            Self::Io(cause) => QuarantineError::io("read", path, cause),
        }
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl<R: Read> Opener<R> {
    /// Reads head and metadata of the item `id`, whose file has `bytes` bytes.
    pub(crate) fn new(key: &Key, id: ItemId, mut source: R, bytes: u64) -> Result<Self, OpenError> {
        let head = exactly(&mut source, HEAD_BYTES)?;
        let (magic, rest) = head.split_at_checked(MAGIC.len()).ok_or(Damage::Head)?;
        let (name, rest) = rest.split_at_checked(KEY_NAME_BYTES).ok_or(Damage::Head)?;
        let (nonce, length) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(Damage::Head)?;
        let length = length.first_chunk::<4>().ok_or(Damage::Head)?;
        let length = u32::from_le_bytes(*length) as usize;
        if magic != MAGIC || !(TAG_BYTES..=METADATA_BYTES_MAX).contains(&length) {
            return Err(Damage::Head.into());
        }
        if name != key.name() {
            return Err(Damage::Key.into());
        }
        let mut stream = DecryptorLE31::new(key.bytes().into(), &StreamNonce::from(*nonce));
        let authenticated = authenticated(&head, id);
        let sealed = exactly(&mut source, length)?;
        let plain = stream
            .decrypt_next(payload(&sealed, &authenticated))
            .map_err(|_| Damage::Changed)?;
        let metadata: Metadata = serde_json::from_slice(&plain).map_err(|_| Damage::Metadata)?;
        if file_bytes(length, metadata.size) != bytes {
            return Err(Damage::Length.into());
        }
        Ok(Self {
            source,
            stream: Some(stream),
            authenticated,
            left: metadata.size,
            metadata,
        })
    }

    /// The next piece of the content; nothing after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, OpenError> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(None);
        };
        let length = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(PART_BYTES);
        let sealed = exactly(&mut self.source, length + TAG_BYTES)?;
        let part = payload(&sealed, &self.authenticated);
        self.left -= length as u64;
        let plain = if self.left == 0 {
            stream.decrypt_last(part)
        } else {
            let plain = stream.decrypt_next(part);
            self.stream = Some(stream);
            plain
        };
        Ok(Some(plain.map_err(|_| Damage::Changed)?))
    }
}

/// So many bytes, or the item is too short.
fn exactly(source: &mut dyn Read, bytes: usize) -> Result<Vec<u8>, OpenError> {
    let mut buffer = vec![0; bytes];
    let read = read_full(source, &mut buffer).map_err(OpenError::Io)?;
    if read == bytes {
        Ok(buffer)
    } else {
        Err(Damage::Length.into())
    }
}
