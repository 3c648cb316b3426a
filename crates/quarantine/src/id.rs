//! The names of items.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::QuarantineError;
use crate::key::Key;
use crate::metadata::Metadata;

/// Bytes of an id.
const ID_BYTES: usize = 8;
/// Digits of an id that must be given at least.
pub(crate) const PREFIX_MIN: usize = 4;

/// Names an item: 16 hexadecimal digits. It follows from content, place and the folder's key, so
/// the same file is kept once, and nobody without the key can tell a content by it or make two
/// items have one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId([u8; ID_BYTES]);

impl ItemId {
    pub(crate) fn of(key: &Key, metadata: &Metadata) -> Self {
        let origin = &metadata.origin;
        let mut hash = Sha256::new();
        hash.update(b"siloscan quarantine item");
        hash.update(key.bytes());
        let parts = [
            Some(metadata.sha256.as_str()),
            origin.container.as_deref(),
            origin.volume.as_deref(),
            origin.file_id.as_deref(),
            origin.path.as_deref(),
        ];
        for part in parts {
            // Length first, and one that no text has where there is none: no two lists are one.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hash.update(length.to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// The id that exactly these digits are.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != ID_BYTES * 2 || !text.bytes().all(is_digit) {
            return None;
        }
        let value = u64::from_str_radix(text, 16).ok()?;
        Some(Self(value.to_be_bytes()))
    }

    pub(crate) fn bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first digits of an id.
pub(crate) struct Prefix(String);

impl Prefix {
    pub(crate) fn parse(text: &str) -> Result<Self, QuarantineError> {
        let lower = text.to_ascii_lowercase();
        let length = PREFIX_MIN..=ID_BYTES * 2;
        if length.contains(&lower.len()) && lower.bytes().all(is_digit) {
            Ok(Self(lower))
        } else {
            Err(QuarantineError::BadId(crate::printable(text)))
        }
    }

    pub(crate) fn begins(&self, id: ItemId) -> bool {
        id.to_string().starts_with(&self.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
