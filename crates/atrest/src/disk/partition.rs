//! Where volumes lie on a disk: its partition table of either kind, or the whole disk. Sums of the
//! tables are not checked: a volume that a damaged table shows is better scanned than not.

use std::io::{self, Read, Seek, SeekFrom};

use crate::limits::PARTITIONS;

/// A volume's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What reports call it.
    pub name: String,
    /// Its first byte on the disk.
    pub begin: u64,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// The type of a partition that Windows keeps for itself and that has no file system.
const RESERVED: [u8; 16] = [
    0x16, 0xe3, 0xc9, 0xe3, 0x5c, 0x0b, 0xb8, 0x4d, 0x81, 0x7d, 0xf9, 0x2d, 0xf0, 0x02, 0x15, 0xae,
];
/// The type of the one partition of an MBR that stands before a GPT.
const PROTECTIVE: u8 = 0xee;
const SECTOR: usize = 512;

/// The volumes of a disk.
#[derive(Debug, Default)]
pub struct Parts {
    /// Each range once.
    pub found: Vec<Part>,
    /// Whether a table has more entries than are read.
    pub more: bool,
}

/// How an NTFS volume is known.
const NTFS: Option<&[u8]> = Some(b"NTFS    ");

/// The volumes of a disk of `size` bytes, with sectors of `sector` bytes.
///
/// # Errors
/// When the first sector cannot be read.
pub fn parts<D: Read + Seek>(disk: &mut D, size: u64, sector: u64) -> io::Result<Parts> {
    let first = at(disk, 0)?;
    let mut parts = Parts::default();
    let is_volume = first.get(3..11) == NTFS;
    if is_volume {
        // What looks like a volume can have a table all the same.
        parts.push(0, size.div_ceil(sector.max(1)), sector, size);
    }
    let entries = || {
        (446..510)
            .step_by(16)
            .filter_map(|at| first.get(at..at + 16))
    };
    let protective = entries().any(|entry| entry.get(4) == Some(&PROTECTIVE));
    if protective {
        // There is a second table at the end. Which one is believed differs.
        let last = (size / sector.max(1)).saturating_sub(1);
        for place in [1, last] {
            // A table that cannot be read is one that is not there.
            let _ = gpt(disk, place, size, sector, &mut parts);
        }
    }
    for entry in entries().filter(|entry| entry.get(4) != Some(&0)) {
        let (begin, count) = (number::<4>(entry, 8), number::<4>(entry, 12));
        // Code stands where the table would, or what stands there is for programs without GPT.
        let is_sure = !is_volume && !protective;
        if is_sure || (begin != 0 && is_ntfs(disk, begin.saturating_mul(sector))) {
            parts.push(begin, count, sector, size);
        }
    }
    Ok(parts)
}

/// The sector's worth of bytes at `begin`.
fn at<D: Read + Seek>(disk: &mut D, begin: u64) -> io::Result<[u8; SECTOR]> {
    let mut bytes = [0; SECTOR];
    disk.seek(SeekFrom::Start(begin))?;
    disk.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn is_ntfs<D: Read + Seek>(disk: &mut D, begin: u64) -> bool {
    at(disk, begin).is_ok_and(|first| first.get(3..11) == NTFS)
}

/// Adds what the table at sector `place` tells.
fn gpt<D: Read + Seek>(
    disk: &mut D,
    place: u64,
    size: u64,
    sector: u64,
    parts: &mut Parts,
) -> io::Result<()> {
    let head = at(disk, place.saturating_mul(sector))?;
    let bytes = number::<4>(&head, 84);
    if head.get(..8) != Some(b"EFI PART") || !(128..=4096).contains(&bytes) {
        return Ok(());
    }
    let begin = number::<8>(&head, 72).saturating_mul(sector);
    let count = number::<4>(&head, 80);
    parts.more |= count > PARTITIONS as u64;
    let mut entry = [0; 128];
    for at in 0..count.min(PARTITIONS as u64) {
        disk.seek(SeekFrom::Start(begin.saturating_add(at * bytes)))?;
        disk.read_exact(&mut entry)?;
        let kind = entry.get(..16).unwrap_or(&[]);
        if kind.iter().all(|byte| *byte == 0) || kind == RESERVED {
            continue;
        }
        let (first, last) = (number::<8>(&entry, 32), number::<8>(&entry, 40));
        let count = last.saturating_sub(first).saturating_add(1);
        parts.push(first, count, sector, size);
    }
    Ok(())
}

impl Parts {
    fn push(&mut self, begin: u64, count: u64, sector: u64, size: u64) {
        let begin = begin.saturating_mul(sector);
        let bytes = count.saturating_mul(sector);
        // One that reaches past the end is cut; one that begins there is none.
        let bytes = bytes.min(size.saturating_sub(begin));
        let same = |part: &Part| part.begin == begin && part.bytes == bytes;
        if bytes > 0 && !self.found.iter().any(same) {
            self.found.push(Part {
                name: format!("volume {}", self.found.len() + 1),
                begin,
                bytes,
            });
        }
    }
}

/// The number of `N` bytes at `at`, the lowest first. 0 beyond the end.
pub fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    bytes.map_or(0, |bytes| {
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    })
}
