//! File ids: made, freed and used again as each kind of file system does it.

use std::collections::BTreeSet;

use super::kind::IdScheme;

/// A 128-bit file id. In memory and in every structure it is little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u128);

impl FileId {
    /// The bytes of FILE_ID_128.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// The 64-bit form of FileInternalInformation; all ones where the id does not fit.
    #[must_use]
    pub fn short(self) -> u64 {
        u64::try_from(self.0).unwrap_or(u64::MAX)
    }
}

/// First record that a new file may get on NTFS; those before belong to the system.
const FIRST_RECORD: u64 = 24;
/// Record of the root directory on NTFS.
const ROOT_RECORD: u64 = 5;
/// Object id of the root directory on ReFS; new directories count on from there.
const ROOT_OBJECT: u64 = 0x600;
const RECORD_BITS: u32 = 48;

/// Hands out file ids.
#[derive(Debug)]
pub struct IdAllocator {
    scheme: IdScheme,
    /// Records (or places) freed, with the sequence that the next owner gets.
    freed: BTreeSet<(u64, u16)>,
    next: u64,
    next_directory: u64,
    wrapping: bool,
}

impl IdAllocator {
    /// A fresh allocator.
    #[must_use]
    pub fn new(scheme: IdScheme) -> Self {
        let next = if scheme == IdScheme::Record {
            FIRST_RECORD
        } else {
            1
        };
        Self {
            scheme,
            freed: BTreeSet::new(),
            next,
            next_directory: ROOT_OBJECT + 1,
            wrapping: false,
        }
    }

    /// The id of the root directory.
    #[must_use]
    pub fn root(&self) -> FileId {
        match self.scheme {
            IdScheme::Record => FileId(u128::from(record_id(ROOT_RECORD, 5))),
            IdScheme::Wide => FileId(u128::from(ROOT_OBJECT) << 64),
            IdScheme::Place | IdScheme::Counter => FileId(u128::from(u64::MAX - 1)),
        }
    }

    /// An id for a new file or directory in the directory `parent`.
    pub fn allocate(&mut self, parent: FileId, directory: bool) -> FileId {
        match self.scheme {
            IdScheme::Record => FileId(u128::from(self.record())),
            IdScheme::Wide if directory => {
                let object = self.next_directory;
                self.next_directory += 1;
                FileId(u128::from(object) << 64)
            }
            IdScheme::Wide => FileId((parent.0 >> 64) << 64 | u128::from(self.count())),
            IdScheme::Place => FileId(u128::from(self.place())),
            IdScheme::Counter => FileId(u128::from(self.count())),
        }
    }

    /// The first free place: the very id of the file that was there before.
    fn place(&mut self) -> u64 {
        match self.freed.pop_first() {
            Some((place, _)) => place,
            None => self.count(),
        }
    }

    /// The lowest freed record, with its next sequence, before any new one: the reuse that an id
    /// cache has to survive comes as early as it can.
    fn record(&mut self) -> u64 {
        match self.freed.pop_first() {
            Some((record, sequence)) => record_id(record, sequence),
            None => record_id(self.count(), 1),
        }
    }

    fn count(&mut self) -> u64 {
        let value = self.next;
        self.next += 1;
        value
    }

    /// From now on a freed record comes back with the very sequence that it had, as it does after
    /// it was used 65,535 times in between: the next file gets the id of the last one that went.
    pub fn wrap(&mut self) {
        self.wrapping = true;
    }

    /// Takes an id back when its file is gone.
    pub fn free(&mut self, id: FileId) {
        let short = id.short();
        match self.scheme {
            IdScheme::Record => {}
            IdScheme::Place => {
                self.freed.insert((short, 0));
                return;
            }
            IdScheme::Wide | IdScheme::Counter => return,
        }
        let record = short & ((1 << RECORD_BITS) - 1);
        let sequence = u16::try_from(short >> RECORD_BITS).unwrap_or(0);
        // Zero is no sequence: it is skipped when the count wraps.
        let next = sequence.checked_add(1).unwrap_or(1);
        let next = if self.wrapping { sequence } else { next };
        self.freed.insert((record, next));
    }

    /// True if moving a file to another place gives it another id.
    #[must_use]
    pub fn moves_with_place(&self) -> bool {
        self.scheme == IdScheme::Place
    }
}

fn record_id(record: u64, sequence: u16) -> u64 {
    u64::from(sequence) << RECORD_BITS | record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_record_comes_back_with_another_sequence() {
        let mut ids = IdAllocator::new(IdScheme::Record);
        let root = ids.root();
        let first = ids.allocate(root, false);
        let second = ids.allocate(root, false);
        assert_eq!(first.0, 1 << 48 | 24);
        assert_eq!(first.0 >> 64, 0, "the high half is zero on NTFS");
        ids.free(first);
        let again = ids.allocate(root, false);
        assert_eq!(again.0, 2 << 48 | 24);
        assert_ne!(again, second);
    }

    #[test]
    fn the_sequence_skips_zero() {
        let mut ids = IdAllocator::new(IdScheme::Record);
        ids.free(FileId(u128::from(record_id(30, u16::MAX))));
        assert_eq!(ids.allocate(ids.root(), false).0, 1 << 48 | 30);
    }

    #[test]
    fn a_record_that_was_used_often_comes_back_with_its_sequence() {
        let mut ids = IdAllocator::new(IdScheme::Record);
        ids.wrap();
        let first = ids.allocate(ids.root(), false);
        ids.free(first);
        assert_eq!(ids.allocate(ids.root(), false), first);
    }

    #[test]
    fn a_freed_place_is_the_same_id_again() {
        let mut ids = IdAllocator::new(IdScheme::Place);
        let first = ids.allocate(ids.root(), false);
        ids.free(first);
        assert_eq!(ids.allocate(ids.root(), false), first);
    }

    #[test]
    fn wide_ids_use_both_halves_and_never_return() {
        let mut ids = IdAllocator::new(IdScheme::Wide);
        let dir = ids.allocate(ids.root(), true);
        let file = ids.allocate(dir, false);
        assert_ne!(file.0 >> 64, 0);
        assert_eq!(file.short(), u64::MAX);
        ids.free(file);
        assert_ne!(ids.allocate(dir, false), file);
    }
}
