//! Where a reparse point leads: mount points and symbolic links, the two that the I/O manager
//! follows by itself.

use crate::status::{NtStatus, STATUS_IO_REPARSE_DATA_INVALID, STATUS_IO_REPARSE_TAG_NOT_HANDLED};
use crate::volume::node::Reparse;
use crate::volume::request::to_units;

/// IO_REPARSE_TAG_MOUNT_POINT.
pub const TAG_MOUNT_POINT: u32 = 0xa000_0003;
/// IO_REPARSE_TAG_SYMLINK.
pub const TAG_SYMLINK: u32 = 0xa000_000c;
/// IO_REPARSE_TAG_WCI.
pub const TAG_WCI: u32 = 0x8000_0018;
/// IO_REPARSE_TAG_WCI_1.
pub const TAG_WCI_1: u32 = 0x9000_1018;
/// IO_REPARSE_TAG_WCI_TOMBSTONE.
pub const TAG_WCI_TOMBSTONE: u32 = 0xa000_001f;
/// SYMLINK_FLAG_RELATIVE.
const RELATIVE: u32 = 1;

/// The next name to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A name that begins with a device or volume.
    Absolute(Vec<u16>),
    /// A name below the same volume.
    SameVolume(Vec<u16>),
}

/// Where `reparse` leads, met in the name `whole` with `unparsed` units of it left over.
///
/// # Errors
/// `IO_REPARSE_TAG_NOT_HANDLED` for other tags, `IO_REPARSE_DATA_INVALID` for broken data.
pub fn target(reparse: &Reparse, whole: &[u16], unparsed: usize) -> Result<Next, NtStatus> {
    let header = match reparse.tag {
        TAG_MOUNT_POINT => 8,
        TAG_SYMLINK => 12,
        _ => return Err(STATUS_IO_REPARSE_TAG_NOT_HANDLED),
    };
    let short = |at: usize| -> Result<usize, NtStatus> {
        let bytes = reparse
            .data
            .get(at..)
            .and_then(|rest| rest.first_chunk::<2>());
        bytes
            .map(|bytes| usize::from(u16::from_le_bytes(*bytes)))
            .ok_or(STATUS_IO_REPARSE_DATA_INVALID)
    };
    let from = header + short(0)?;
    let name = reparse.data.get(from..from + short(2)?);
    let mut name = to_units(name.ok_or(STATUS_IO_REPARSE_DATA_INVALID)?);
    let cut = whole
        .len()
        .checked_sub(unparsed)
        .ok_or(STATUS_IO_REPARSE_DATA_INVALID)?;
    let (seen, rest) = whole.split_at(cut);
    let relative = reparse.tag == TAG_SYMLINK && short(8)? as u32 & RELATIVE != 0;
    if relative {
        let backslash = u16::from(b'\\');
        let end = seen
            .iter()
            .rposition(|unit| *unit == backslash)
            .map_or(0, |at| at + 1);
        let mut path = seen.get(..end).unwrap_or(&[]).to_vec();
        path.extend_from_slice(&name);
        path.extend_from_slice(rest);
        return Ok(Next::SameVolume(normalize(&path)));
    }
    if name.last() == Some(&u16::from(b'\\')) && !rest.is_empty() {
        name.pop();
    }
    name.extend_from_slice(rest);
    Ok(Next::Absolute(name))
}

/// Takes `.` and `..` out of a path.
fn normalize(path: &[u16]) -> Vec<u16> {
    let mut parts: Vec<&[u16]> = Vec::new();
    for part in path.split(|unit| *unit == u16::from(b'\\')) {
        let dots = part.iter().all(|unit| *unit == u16::from(b'.'));
        match (dots, part.len()) {
            (true, 0 | 1) => {}
            (true, 2) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let mut out = Vec::new();
    for part in parts {
        out.push(u16::from(b'\\'));
        out.extend_from_slice(part);
    }
    out
}

/// The data of a mount point or absolute symbolic link to `to`.
#[must_use]
pub fn link_data(tag: u32, to: &str, relative: bool) -> Reparse {
    let name: Vec<u8> = to.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    let mut data = Vec::new();
    for value in [0, length, length, 0] {
        data.extend_from_slice(&u16::to_le_bytes(value));
    }
    if tag == TAG_SYMLINK {
        data.extend_from_slice(&u32::from(relative).to_le_bytes());
    }
    data.extend_from_slice(&name);
    Reparse { tag, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::name::{text, units};

    fn lead(reparse: &Reparse, whole: &str, unparsed: usize) -> String {
        match target(reparse, &units(whole), unparsed).unwrap() {
            Next::Absolute(name) => text(&name),
            Next::SameVolume(name) => format!("same:{}", text(&name)),
        }
    }

    #[test]
    fn links_keep_what_follows_them() {
        let mount = link_data(TAG_MOUNT_POINT, "\\??\\Volume{1}\\", false);
        assert_eq!(lead(&mount, "\\mnt\\a\\b", 4), "\\??\\Volume{1}\\a\\b");
        let link = link_data(TAG_SYMLINK, "..\\other", true);
        assert_eq!(lead(&link, "\\x\\link\\f", 2), "same:\\other\\f");
    }

    #[test]
    fn strange_tags_and_broken_data_are_refused() {
        let wci = Reparse {
            tag: TAG_WCI,
            data: vec![],
        };
        assert_eq!(target(&wci, &[], 0), Err(STATUS_IO_REPARSE_TAG_NOT_HANDLED));
        let broken = Reparse {
            tag: TAG_SYMLINK,
            data: vec![0, 0, 9, 0],
        };
        assert_eq!(target(&broken, &[], 0), Err(STATUS_IO_REPARSE_DATA_INVALID));
    }
}
