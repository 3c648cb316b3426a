//! What a verdict is filed under: the volume and the 128-bit id of the file that holds the bytes.
//!
//! Zero and all-ones are how Windows says "no id", so neither can be made into a key: code that
//! holds a [`Key`] holds a real one.

/// The mount manager's GUID of a volume, as the 16 bytes of its `GUID` structure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeGuid(Id);

/// A file's 128-bit id (`FILE_ID_128`); NTFS fills the low 64 bits only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(Id);

/// Two words that are neither all zero nor all one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Id {
    low: u64,
    high: u64,
}

impl Id {
    const fn new(low: u64, high: u64) -> Option<Self> {
        if (low | high) == 0 || (low & high) == u64::MAX {
            return None;
        }
        Some(Self { low, high })
    }

    const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let value = u128::from_le_bytes(bytes);
        Self::new(value as u64, (value >> 64) as u64)
    }

    const fn to_bytes(self) -> [u8; 16] {
        (self.low as u128 | ((self.high as u128) << 64)).to_le_bytes()
    }
}

macro_rules! id_type {
    ($Type:ident) => {
        impl $Type {
            /// The id in these 16 bytes; `None` for zero and all-ones, which mean "no id".
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
                match Id::from_bytes(bytes) {
                    Some(id) => Some(Self(id)),
                    None => None,
                }
            }

            /// The id of two little-endian words; `None` for zero and all-ones.
            #[must_use]
            pub const fn from_words(low: u64, high: u64) -> Option<Self> {
                match Id::new(low, high) {
                    Some(id) => Some(Self(id)),
                    None => None,
                }
            }

            /// The 16 bytes, in the order in which Windows stores them.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }

            /// The low and the high 64 bits.
            #[must_use]
            pub const fn to_words(self) -> (u64, u64) {
                (self.0.low, self.0.high)
            }
        }
    };
}

id_type!(VolumeGuid);
id_type!(FileId);

impl core::fmt::Debug for VolumeGuid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VolumeGuid({:016x}{:016x})", self.0.high, self.0.low)
    }
}

impl core::fmt::Debug for FileId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FileId({:016x}{:016x})", self.0.high, self.0.low)
    }
}

/// The file that holds the bytes of an open: the package file for a placeholder, otherwise the
/// opened file itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The volume that holds the file.
    pub volume: VolumeGuid,
    /// The file on it.
    pub file: FileId,
}

impl Key {
    /// A key of two proven parts.
    #[must_use]
    pub const fn new(volume: VolumeGuid, file: FileId) -> Self {
        Self { volume, file }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_all_ones_are_no_ids() {
        assert_eq!(FileId::from_bytes([0; 16]), None);
        assert_eq!(FileId::from_bytes([0xff; 16]), None);
        assert_eq!(VolumeGuid::from_words(0, 0), None);
        assert_eq!(VolumeGuid::from_words(u64::MAX, u64::MAX), None);
        assert!(FileId::from_words(u64::MAX, 0).is_some());
        assert!(FileId::from_words(0, 1).is_some());
    }

    #[test]
    fn bytes_survive_a_round_trip() {
        let bytes: [u8; 16] = core::array::from_fn(|i| i as u8);
        let id = FileId::from_bytes(bytes);
        assert_eq!(id.map(FileId::to_bytes), Some(bytes));
        assert_eq!(id.map(|id| id.to_words().0), Some(0x0706_0504_0302_0100));
    }
}
