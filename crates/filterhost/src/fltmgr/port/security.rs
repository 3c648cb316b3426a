//! Security descriptors of ports, and whether a process passes them.
//!
//! Reads absolute and self-relative descriptors as a driver builds them.
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_security_descriptor>

use crate::fltmgr::guest;
use crate::layout::{GENERIC_ALL, GENERIC_EXECUTE, GENERIC_READ, GENERIC_WRITE, PVOID};
use crate::process::Process;

/// `SE_DACL_PRESENT`.
const DACL_PRESENT: u16 = 0x0004;
/// `SE_SELF_RELATIVE`.
const SELF_RELATIVE: u16 = 0x8000;
/// `ACCESS_ALLOWED_ACE_TYPE` and `ACCESS_DENIED_ACE_TYPE`.
const ALLOWED: u8 = 0;
const DENIED: u8 = 1;
/// Bytes of an `ACL` and of the fixed part of an ACE.
const ACL_HEADER: usize = 8;
const ACE_HEADER: usize = 8;

/// The binary SID of the authority, followed by these sub-authorities.
#[must_use]
pub fn sid(authority: u8, parts: &[u32]) -> Vec<u8> {
    let count = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![1, count, 0, 0, 0, 0, 0, authority];
    bytes.extend(parts.iter().flat_map(|part| part.to_le_bytes()));
    bytes
}

/// S-1-5-18: the local system.
#[must_use]
pub fn local_system() -> Vec<u8> {
    sid(5, &[18])
}

/// S-1-5-32-544: the administrators.
#[must_use]
pub fn administrators() -> Vec<u8> {
    sid(5, &[32, 544])
}

/// S-1-1-0: everyone.
#[must_use]
pub fn everyone() -> Vec<u8> {
    sid(1, &[0])
}

/// The SIDs in a process's token: its user's and everyone's; the System process has those of the
/// local system and the administrators.
#[must_use]
pub fn sids_of(process: &Process) -> Vec<Vec<u8>> {
    let mut sids = vec![everyone()];
    sids.extend(process.user_sid());
    if process.is_system() || process.user_sid() == Some(local_system()) {
        sids.push(local_system());
        sids.push(administrators());
    }
    sids
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    allows: bool,
    mask: u32,
    sid: Vec<u8>,
}

/// A port's access control list. Without a list everybody passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    list: Option<Vec<Entry>>,
}

impl Descriptor {
    /// Reads a descriptor in a driver's memory; `None` when it is no descriptor.
    #[must_use]
    pub fn read(from: PVOID) -> Option<Self> {
        let start = from.cast::<u8>().cast_const();
        if guest::read(start)? != 1 {
            return None;
        }
        let control = guest::read(start.wrapping_add(2).cast::<u16>())?;
        if control & DACL_PRESENT == 0 {
            return Some(Self { list: None });
        }
        let list = if control & SELF_RELATIVE != 0 {
            let offset = guest::read(start.wrapping_add(0x10).cast::<u32>())?;
            if offset == 0 {
                core::ptr::null()
            } else {
                start.wrapping_add(offset as usize)
            }
        } else {
            guest::read(start.wrapping_add(0x20).cast::<PVOID>())?
                .cast::<u8>()
                .cast_const()
        };
        if list.is_null() {
            return Some(Self { list: None });
        }
        Self::read_list(list)
    }

    fn read_list(list: *const u8) -> Option<Self> {
        let size = usize::from(guest::read(list.wrapping_add(2).cast::<u16>())?);
        let count = guest::read(list.wrapping_add(4).cast::<u16>())?;
        let bytes = guest::bytes(list, size);
        let mut at = ACL_HEADER;
        let mut entries = Vec::new();
        for _ in 0..count {
            let entry = bytes.get(at..)?;
            let header = entry.get(..ACE_HEADER)?;
            let kind = *header.first()?;
            let length = usize::from(u16::from_le_bytes([*header.get(2)?, *header.get(3)?]));
            let mask = u32::from_le_bytes(header.get(4..8)?.try_into().ok()?);
            let sid = entry.get(ACE_HEADER..length.max(ACE_HEADER))?;
            if matches!(kind, ALLOWED | DENIED) {
                let sid = trim_sid(sid)?.to_vec();
                entries.push(Entry {
                    allows: kind == ALLOWED,
                    mask,
                    sid,
                });
            }
            at = at.checked_add(length.max(ACE_HEADER))?;
        }
        Some(Self {
            list: Some(entries),
        })
    }

    /// Whether a token with these SIDs gets all of `wanted`, by the order of the entries.
    #[must_use]
    pub fn allows(&self, sids: &[Vec<u8>], wanted: u32) -> bool {
        let Some(list) = &self.list else { return true };
        let mut missing = wanted;
        for entry in list.iter().filter(|entry| sids.contains(&entry.sid)) {
            let mask = map_generic(entry.mask);
            if !entry.allows && mask & missing != 0 {
                return false;
            }
            if entry.allows {
                missing &= !mask;
            }
            if missing == 0 {
                return true;
            }
        }
        missing == 0
    }
}

/// Any generic right of a port stands for all of its rights.
fn map_generic(mask: u32) -> u32 {
    let generic = GENERIC_ALL | GENERIC_READ | GENERIC_WRITE | GENERIC_EXECUTE;
    if mask & generic != 0 {
        mask | crate::layout::FLT_PORT_ALL_ACCESS
    } else {
        mask
    }
}

/// A SID without what follows it in its entry.
fn trim_sid(bytes: &[u8]) -> Option<&[u8]> {
    let count = usize::from(*bytes.get(1)?);
    bytes.get(..8 + count * 4)
}

/// A self-relative descriptor that gives `mask` to the local system and the administrators.
#[must_use]
pub fn default_descriptor(mask: u32) -> Vec<u8> {
    let sids = [local_system(), administrators()];
    let list_size = ACL_HEADER + sids.iter().map(|sid| ACE_HEADER + sid.len()).sum::<usize>();
    let word = |value: usize| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
    let mut bytes = vec![1, 0];
    bytes.extend((DACL_PRESENT | SELF_RELATIVE).to_le_bytes());
    bytes.extend([0; 12]);
    bytes.extend(20_u32.to_le_bytes());
    bytes.extend([2, 0]);
    bytes.extend(word(list_size));
    bytes.extend(word(sids.len()));
    bytes.extend([0; 2]);
    for sid in sids {
        bytes.extend([ALLOWED, 0]);
        bytes.extend(word(ACE_HEADER + sid.len()));
        bytes.extend(mask.to_le_bytes());
        bytes.extend(sid);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Descriptor, administrators, default_descriptor, everyone, local_system, sid};

    fn parsed(bytes: &mut [u8]) -> Descriptor {
        Descriptor::read(bytes.as_mut_ptr().cast()).expect("a descriptor")
    }

    #[test]
    fn the_default_descriptor_lets_system_and_administrators_in() {
        let descriptor = parsed(&mut default_descriptor(0x1f_0001));
        assert!(descriptor.allows(&[everyone(), local_system()], 1));
        assert!(descriptor.allows(&[administrators()], 0x1f_0001));
        assert!(!descriptor.allows(&[everyone()], 1));
        assert!(!descriptor.allows(&[sid(5, &[80, 1, 2, 3])], 1));
        assert!(!descriptor.allows(&[], 1));
    }

    #[test]
    fn what_is_no_descriptor_is_refused() {
        assert!(Descriptor::read(core::ptr::null_mut()).is_none());
        let mut bytes = default_descriptor(1);
        if let Some(first) = bytes.first_mut() {
            *first = 9;
        }
        assert!(Descriptor::read(bytes.as_mut_ptr().cast()).is_none());
    }
}
