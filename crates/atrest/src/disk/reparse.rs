//! Reparse points of NTFS, as far as they say where a file's bytes are.
//!
//! Microsoft documents the tags ([MS-FSCC] 2.1.2.1), and says of the data behind those of `wcifs`
//! that only the filter itself understands it. So the tag makes a placeholder, and which layer has
//! its bytes is not read from it.

use super::partition::number;

/// IO_REPARSE_TAG_WCI.
const WCI: u64 = 0x8000_0018;
/// IO_REPARSE_TAG_WCI_1.
const WCI_1: u64 = 0x9000_1018;
/// IO_REPARSE_TAG_WOF: the bytes are packed, in another stream.
const WOF: u64 = 0x8000_0017;
/// IO_REPARSE_TAG_DEDUP: the bytes are elsewhere on the volume.
const DEDUP: u64 = 0x8000_0013;
/// IO_REPARSE_TAG_CLOUD and its fifteen variants: the bytes are not on this machine.
const CLOUD: u64 = 0x9000_001a;
const CLOUD_VARIANTS: u64 = 0x0000_f000;

/// Reparse points are no larger, in bytes.
pub const BYTES: u64 = 16 << 10;

/// What a reparse point says of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// They lie in a layer.
    InLayer,
    /// They are not to be had here.
    Elsewhere(&'static str),
    /// Nothing: what the file has is what there is.
    Here,
}

/// What the reparse point `data` means.
pub fn meaning(data: &[u8]) -> Meaning {
    match number::<4>(data, 0) {
        WCI | WCI_1 => Meaning::InLayer,
        WOF => Meaning::Elsewhere("it is packed as Windows packs its own files (WOF)"),
        DEDUP => Meaning::Elsewhere("its bytes are shared with other files (deduplication)"),
        tag if tag & !CLOUD_VARIANTS == CLOUD => {
            Meaning::Elsewhere("its bytes are kept in a cloud")
        }
        _ => Meaning::Here,
    }
}
