//! Byte-range locks of one stream, mandatory as on Windows.

use crate::status::{NtStatus, STATUS_LOCK_NOT_GRANTED, STATUS_RANGE_NOT_LOCKED};

/// Who holds a lock: the file object, the process and the key that the caller gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockOwner {
    /// Address of the file object.
    pub file: usize,
    /// Process id.
    pub process: usize,
    /// Caller's key.
    pub key: u32,
}

/// One lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLock {
    /// First byte.
    pub offset: u64,
    /// Bytes locked; zero locks nothing but is kept.
    pub length: u64,
    /// Nobody else may read either.
    pub exclusive: bool,
    /// Who holds it.
    pub owner: LockOwner,
}

impl ByteLock {
    fn overlaps(&self, offset: u64, length: u64) -> bool {
        let end = |at: u64, len: u64| at.saturating_add(len);
        length > 0
            && self.length > 0
            && self.offset < end(offset, length)
            && offset < end(self.offset, self.length)
    }
}

/// The locks of one stream.
#[derive(Clone, Debug, Default)]
pub struct LockTable {
    locks: Vec<ByteLock>,
}

impl LockTable {
    /// Takes a lock.
    ///
    /// # Errors
    /// `LOCK_NOT_GRANTED` where it conflicts with one that is held.
    pub fn lock(&mut self, new: ByteLock) -> Result<(), NtStatus> {
        let conflict = |held: &&ByteLock| {
            held.overlaps(new.offset, new.length) && (held.exclusive || new.exclusive)
        };
        if self.locks.iter().any(|held| conflict(&held)) {
            return Err(STATUS_LOCK_NOT_GRANTED);
        }
        self.locks.push(new);
        Ok(())
    }

    /// Lets one lock go.
    ///
    /// # Errors
    /// `RANGE_NOT_LOCKED` if this owner has no lock of exactly this range.
    pub fn unlock(&mut self, offset: u64, length: u64, owner: LockOwner) -> Result<(), NtStatus> {
        let same =
            |held: &ByteLock| held.offset == offset && held.length == length && held.owner == owner;
        let at = self
            .locks
            .iter()
            .position(same)
            .ok_or(STATUS_RANGE_NOT_LOCKED)?;
        self.locks.remove(at);
        Ok(())
    }

    /// Lets all locks of a file object go, at cleanup.
    pub fn unlock_file(&mut self, file: usize) {
        self.locks.retain(|held| held.owner.file != file);
    }

    /// True if `owner` may read the range.
    #[must_use]
    pub fn may_read(&self, offset: u64, length: u64, owner: LockOwner) -> bool {
        let blocks = |held: &ByteLock| {
            held.exclusive && held.owner != owner && held.overlaps(offset, length)
        };
        !self.locks.iter().any(blocks)
    }

    /// True if `owner` may write the range: a shared lock stops even its own holder.
    #[must_use]
    pub fn may_write(&self, offset: u64, length: u64, owner: LockOwner) -> bool {
        let blocks = |held: &ByteLock| {
            held.overlaps(offset, length) && !(held.exclusive && held.owner == owner)
        };
        !self.locks.iter().any(blocks)
    }

    /// True if anybody holds a lock: a section cannot be made for a data scan then.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.locks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(file: usize) -> LockOwner {
        LockOwner {
            file,
            process: 1,
            key: 0,
        }
    }

    fn lock(offset: u64, length: u64, exclusive: bool, file: usize) -> ByteLock {
        ByteLock {
            offset,
            length,
            exclusive,
            owner: owner(file),
        }
    }

    #[test]
    fn exclusive_locks_keep_others_out() {
        let mut table = LockTable::default();
        table.lock(lock(10, 10, true, 1)).unwrap();
        assert_eq!(
            table.lock(lock(19, 1, false, 2)),
            Err(STATUS_LOCK_NOT_GRANTED)
        );
        assert!(table.lock(lock(20, 5, true, 2)).is_ok());
        assert!(table.may_read(10, 10, owner(1)) && table.may_write(10, 10, owner(1)));
        assert!(!table.may_read(0, 11, owner(2)) && table.may_read(0, 10, owner(2)));
        assert_eq!(table.unlock(10, 9, owner(1)), Err(STATUS_RANGE_NOT_LOCKED));
        table.unlock_file(1);
        assert!(table.may_read(10, 10, owner(2)) && table.any());
    }

    #[test]
    fn shared_locks_stop_every_writer() {
        let mut table = LockTable::default();
        table.lock(lock(0, 4, false, 1)).unwrap();
        table.lock(lock(0, 4, false, 2)).unwrap();
        assert!(!table.may_write(0, 1, owner(1)) && table.may_read(0, 1, owner(3)));
        table.lock(lock(0, 0, true, 3)).unwrap();
        assert!(
            table.may_read(0, 1, owner(1)),
            "an empty lock covers nothing"
        );
    }
}
