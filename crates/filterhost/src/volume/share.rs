//! Share modes: who may open a stream beside whom.
//!
//! The rules are those of IoCheckShareAccess: an open that neither reads, writes nor deletes takes
//! no part in the check.

use crate::status::{NtStatus, STATUS_SHARING_VIOLATION};

/// FILE_READ_DATA, or FILE_LIST_DIRECTORY on a directory.
pub const READ_DATA: u32 = 0x1;
/// FILE_WRITE_DATA, or FILE_ADD_FILE.
pub const WRITE_DATA: u32 = 0x2;
/// FILE_APPEND_DATA, or FILE_ADD_SUBDIRECTORY.
pub const APPEND_DATA: u32 = 0x4;
/// FILE_READ_EA.
pub const READ_EA: u32 = 0x8;
/// FILE_WRITE_EA.
pub const WRITE_EA: u32 = 0x10;
/// FILE_EXECUTE, or FILE_TRAVERSE.
pub const EXECUTE: u32 = 0x20;
/// FILE_DELETE_CHILD.
pub const DELETE_CHILD: u32 = 0x40;
/// FILE_READ_ATTRIBUTES.
pub const READ_ATTRIBUTES: u32 = 0x80;
/// FILE_WRITE_ATTRIBUTES.
pub const WRITE_ATTRIBUTES: u32 = 0x100;
/// DELETE.
pub const DELETE: u32 = 0x1_0000;
/// READ_CONTROL.
pub const READ_CONTROL: u32 = 0x2_0000;
/// SYNCHRONIZE.
pub const SYNCHRONIZE: u32 = 0x10_0000;
/// MAXIMUM_ALLOWED.
pub const MAXIMUM_ALLOWED: u32 = 0x200_0000;
/// FILE_ALL_ACCESS.
pub const ALL_ACCESS: u32 = 0x1f_01ff;

/// FILE_SHARE_READ.
pub const SHARE_READ: u16 = 1;
/// FILE_SHARE_WRITE.
pub const SHARE_WRITE: u16 = 2;
/// FILE_SHARE_DELETE.
pub const SHARE_DELETE: u16 = 4;
/// All three.
pub const SHARE_ALL: u16 = 7;

/// Turns generic rights into those of files and MAXIMUM_ALLOWED into all.
#[must_use]
pub fn map_generic(access: u32) -> u32 {
    let mut mapped = access & !0xf200_0000;
    if access & 0x8000_0000 != 0 {
        mapped |= READ_DATA | READ_EA | READ_ATTRIBUTES | READ_CONTROL | SYNCHRONIZE;
    }
    if access & 0x4000_0000 != 0 {
        mapped |= WRITE_DATA | APPEND_DATA | WRITE_EA | WRITE_ATTRIBUTES;
        mapped |= READ_CONTROL | SYNCHRONIZE;
    }
    if access & 0x2000_0000 != 0 {
        mapped |= EXECUTE | READ_ATTRIBUTES | READ_CONTROL | SYNCHRONIZE;
    }
    if access & 0x1000_0000 != 0 || access & MAXIMUM_ALLOWED != 0 {
        mapped |= ALL_ACCESS;
    }
    mapped
}

/// What one open does and lets others do, as far as sharing is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "six independent rights of SHARE_ACCESS"
)]
pub struct Sharing {
    /// Opened for data or execute.
    pub read: bool,
    /// Opened for write or append.
    pub write: bool,
    /// Opened for delete.
    pub delete: bool,
    /// Others may read.
    pub share_read: bool,
    /// Others may write.
    pub share_write: bool,
    /// Others may delete.
    pub share_delete: bool,
}

impl Sharing {
    /// What `access` (already mapped) and `share` mean.
    #[must_use]
    pub fn new(access: u32, share: u16) -> Self {
        Self {
            read: access & (READ_DATA | EXECUTE) != 0,
            write: access & (WRITE_DATA | APPEND_DATA) != 0,
            delete: access & DELETE != 0,
            share_read: share & SHARE_READ != 0,
            share_write: share & SHARE_WRITE != 0,
            share_delete: share & SHARE_DELETE != 0,
        }
    }

    fn takes_part(self) -> bool {
        self.read || self.write || self.delete
    }
}

/// The opens of one stream, counted as SHARE_ACCESS counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareAccess {
    opens: u32,
    readers: u32,
    writers: u32,
    deleters: u32,
    share_read: u32,
    share_write: u32,
    share_delete: u32,
}

impl ShareAccess {
    /// Would `new` be let in?
    ///
    /// # Errors
    /// `SHARING_VIOLATION`.
    pub fn check(&self, new: Sharing) -> Result<(), NtStatus> {
        if !new.takes_part() {
            return Ok(());
        }
        let refused = (new.read && self.share_read < self.opens)
            || (new.write && self.share_write < self.opens)
            || (new.delete && self.share_delete < self.opens)
            || (!new.share_read && self.readers > 0)
            || (!new.share_write && self.writers > 0)
            || (!new.share_delete && self.deleters > 0);
        if refused {
            Err(STATUS_SHARING_VIOLATION)
        } else {
            Ok(())
        }
    }

    /// Counts `new` in.
    pub fn add(&mut self, new: Sharing) {
        self.count(new, |count| *count = count.saturating_add(1));
    }

    /// Counts `old` out, at cleanup.
    pub fn remove(&mut self, old: Sharing) {
        self.count(old, |count| *count = count.saturating_sub(1));
    }

    /// True if some open may write.
    #[must_use]
    pub fn has_writers(&self) -> bool {
        self.writers > 0
    }

    fn count(&mut self, open: Sharing, change: impl Fn(&mut u32)) {
        if !open.takes_part() {
            return;
        }
        change(&mut self.opens);
        let all = [
            (open.read, &mut self.readers),
            (open.write, &mut self.writers),
            (open.delete, &mut self.deleters),
            (open.share_read, &mut self.share_read),
            (open.share_write, &mut self.share_write),
            (open.share_delete, &mut self.share_delete),
        ];
        for (on, counter) in all {
            if on {
                change(counter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_opens_is_judged_as_windows_does() {
        let accesses = [
            READ_DATA,
            WRITE_DATA,
            APPEND_DATA,
            DELETE,
            EXECUTE,
            READ_ATTRIBUTES,
        ];
        for first in accesses {
            for second in accesses {
                for shares in 0..64u16 {
                    let one = Sharing::new(first, shares & 7);
                    let two = Sharing::new(second, shares >> 3);
                    let mut table = ShareAccess::default();
                    table.add(one);
                    let passive = first == READ_ATTRIBUTES || second == READ_ATTRIBUTES;
                    let both = allows(shares & 7, second) && allows(shares >> 3, first);
                    assert_eq!(table.check(two).is_ok(), passive || both);
                    table.remove(one);
                    assert_eq!(table, ShareAccess::default());
                }
            }
        }
    }

    fn allows(share: u16, access: u32) -> bool {
        match access {
            READ_DATA | EXECUTE => share & SHARE_READ != 0,
            WRITE_DATA | APPEND_DATA => share & SHARE_WRITE != 0,
            _ => share & SHARE_DELETE != 0,
        }
    }

    #[test]
    fn generic_rights_are_mapped() {
        assert_eq!(map_generic(0x8000_0000) & WRITE_DATA, 0);
        assert_eq!(map_generic(MAXIMUM_ALLOWED), ALL_ACCESS);
        assert_eq!(map_generic(READ_DATA | DELETE), READ_DATA | DELETE);
    }
}
