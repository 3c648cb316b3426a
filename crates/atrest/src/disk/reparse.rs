//! Reparse points of NTFS, as far as they say where a file's bytes are.
//!
//! Microsoft documents the tags ([MS-FSCC] 2.1.2.1), and says of the data behind those of `wcifs`
//! that only the filter itself understands it. Others have published what it is
//! (docs/decisions/0104-placeholders-are-attributed.md), all for its version 1. So whatever does
//! not have exactly that form is told and not guessed at.

use uuid::Uuid;

use super::partition::number;
use crate::placeholder::{Target, Unread};

/// IO_REPARSE_TAG_WCI.
const WCI: u32 = 0x8000_0018;
/// IO_REPARSE_TAG_WCI_1.
const WCI_1: u32 = 0x9000_1018;
/// IO_REPARSE_TAG_WCI_LINK.
const WCI_LINK: u32 = 0xa000_0027;
/// IO_REPARSE_TAG_WCI_LINK_1.
const WCI_LINK_1: u32 = 0xa000_1027;
/// IO_REPARSE_TAG_WCI_TOMBSTONE: the container deleted what a layer has there.
const WCI_TOMBSTONE: u32 = 0xa000_001f;
/// IO_REPARSE_TAG_WOF: the bytes are packed, in another stream.
const WOF: u32 = 0x8000_0017;
/// IO_REPARSE_TAG_DEDUP: the bytes are elsewhere on the volume.
const DEDUP: u32 = 0x8000_0013;
/// IO_REPARSE_TAG_CLOUD and its fifteen variants: the bytes are not on this machine.
const CLOUD: u32 = 0x9000_001a;
const CLOUD_VARIANTS: u32 = 0x0000_f000;

/// Reparse points are no larger, in bytes.
pub const BYTES: u64 = 16 << 10;
/// The tag, the length of what follows, and two bytes reserved.
const HEAD_BYTES: usize = 8;
/// The version of the data of `wcifs` that is known.
const VERSION: u64 = 1;
/// Where in the data the layer's GUID begins, in bytes.
const GUID_AT: usize = 8;
/// Where the length of the name in bytes stands, in two.
const LENGTH_AT: usize = 24;
/// Where the name begins.
const NAME_AT: usize = 26;

/// What a reparse point says of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// They lie in a layer: the tag, and the file in the layer.
    InLayer(u32, Result<Target, Unread>),
    /// They are deleted.
    Deleted,
    /// They are not to be had here.
    Elsewhere(&'static str),
    /// Nothing: what the file has is what there is.
    Here,
}

/// What the reparse point `point` means.
pub fn meaning(point: &[u8]) -> Meaning {
    // Four bytes are no more than a tag has.
    let tag = number::<4>(point, 0) as u32;
    match tag {
        WCI | WCI_1 | WCI_LINK | WCI_LINK_1 => Meaning::InLayer(tag, target(point)),
        WCI_TOMBSTONE => Meaning::Deleted,
        WOF => Meaning::Elsewhere("it is packed as Windows packs its own files (WOF)"),
        DEDUP => Meaning::Elsewhere("its bytes are shared with other files (deduplication)"),
        tag if tag & !CLOUD_VARIANTS == CLOUD => {
            Meaning::Elsewhere("its bytes are kept in a cloud")
        }
        _ => Meaning::Here,
    }
}

/// The file of a layer that the point of a placeholder names.
fn target(point: &[u8]) -> Result<Target, Unread> {
    let data = exactly(point, HEAD_BYTES, number::<2>(point, 4))?;
    if data.len() >= 4 && number::<4>(data, 0) != VERSION {
        return Err(Unread::OtherVersion);
    }
    let guid = data
        .get(GUID_AT..)
        .and_then(|rest| rest.first_chunk::<16>());
    let guid = guid.ok_or(Unread::Truncated)?;
    let name = exactly(data, NAME_AT, number::<2>(data, LENGTH_AT))?;
    Ok(Target {
        layer: Uuid::from_bytes_le(*guid),
        parts: parts(name)?,
    })
}

/// What of `bytes` follows at `at`, which must be as long as it says.
fn exactly(bytes: &[u8], at: usize, says: u64) -> Result<&[u8], Unread> {
    let rest = bytes.get(at..).ok_or(Unread::Truncated)?;
    match (rest.len() as u64).cmp(&says) {
        std::cmp::Ordering::Less => Err(Unread::Truncated),
        std::cmp::Ordering::Equal => Ok(rest),
        std::cmp::Ordering::Greater => Err(Unread::TooLong),
    }
}

/// The parts of a name in UTF-16. No part leads out of the layer, on whatever system it is used.
fn parts(name: &[u8]) -> Result<Vec<String>, Unread> {
    let (letters, rest) = name.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Unread::OddLength);
    }
    if letters.is_empty() {
        return Err(Unread::NoName);
    }
    let letters = letters.iter().map(|letter| u16::from_le_bytes(*letter));
    let name: Result<String, _> = char::decode_utf16(letters).collect();
    let name = name.map_err(|_| Unread::NotUtf16)?;
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['/', ':', '\0']);
    if !name.split('\\').all(is_part) {
        return Err(Unread::NoPath);
    }
    Ok(name.split('\\').map(str::to_owned).collect())
}
