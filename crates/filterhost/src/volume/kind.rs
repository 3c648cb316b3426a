//! What differs between kinds of file system: ids, streams, attributes, scan support.

/// A kind of file system that a volume can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FsKind {
    /// NTFS: 64-bit references of 48-bit record and 16-bit sequence.
    Ntfs,
    /// ReFS: full 128-bit ids, never used again.
    Refs,
    /// FAT: an id is a place in a directory and changes with it.
    Fat,
    /// exFAT: as FAT.
    ExFat,
    /// UDF, read-only.
    Udf,
    /// CimFS, read-only: images of container layers.
    CimFs,
    /// No file system: only the volume itself can be opened.
    Raw,
    /// The network redirector.
    Lanman,
    /// The cluster shared volume file system.
    Csvfs,
}

/// How ids are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdScheme {
    /// Record and sequence; a freed record comes back with the next sequence.
    Record,
    /// Directory object and number, 128 bits.
    Wide,
    /// Place in the directory.
    Place,
    /// A plain counter, 64 bits.
    Counter,
}

// FileFsAttributeInformation flags (ntifs.h).
const CASE_SENSITIVE_SEARCH: u32 = 0x1;
const CASE_PRESERVED_NAMES: u32 = 0x2;
const UNICODE_ON_DISK: u32 = 0x4;
const PERSISTENT_ACLS: u32 = 0x8;
const SPARSE_FILES: u32 = 0x40;
const REPARSE_POINTS: u32 = 0x80;
const POSIX_UNLINK_RENAME: u32 = 0x400;
const ENCRYPTION: u32 = 0x2_0000;
const OBJECT_IDS: u32 = 0x1_0000;
const NAMED_STREAMS: u32 = 0x4_0000;
const READ_ONLY_VOLUME: u32 = 0x8_0000;
const TRANSACTIONS: u32 = 0x20_0000;
const HARD_LINKS: u32 = 0x40_0000;
const OPEN_BY_FILE_ID: u32 = 0x100_0000;
const BLOCK_REFCOUNTING: u32 = 0x800_0000;
/// A volume whose mapped writes go past the I/O stack.
pub const FILE_DAX_VOLUME: u32 = 0x2000_0000;

/// FILE_DEVICE_DISK.
pub const DEVICE_DISK: u32 = 0x7;
/// FILE_DEVICE_CD_ROM.
pub const DEVICE_CD_ROM: u32 = 0x2;
/// FILE_DEVICE_NETWORK_FILE_SYSTEM.
pub const DEVICE_NETWORK: u32 = 0x14;

impl FsKind {
    /// The number of FLT_FILESYSTEM_TYPE.
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltuserstructures/ne-fltuserstructures-_flt_filesystem_type>
    #[must_use]
    pub fn filesystem_type(self) -> u32 {
        match self {
            Self::Raw => 1,
            Self::Ntfs => 2,
            Self::Fat => 3,
            Self::Udf => 5,
            Self::Lanman => 6,
            Self::ExFat => 0x16,
            Self::Csvfs => 0x1b,
            Self::Refs => 0x1c,
            Self::CimFs => 0x1e,
        }
    }

    /// The name in FileFsAttributeInformation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ntfs => "NTFS",
            Self::Refs => "ReFS",
            Self::Fat => "FAT32",
            Self::ExFat => "exFAT",
            Self::Udf => "UDF",
            Self::CimFs => "cimfs",
            Self::Raw => "RAW",
            Self::Lanman => "NTFS",
            Self::Csvfs => "CSVFS",
        }
    }

    /// The name of the file system's driver.
    #[must_use]
    pub fn driver_name(self) -> &'static str {
        match self {
            Self::Ntfs => "\\FileSystem\\Ntfs",
            Self::Refs => "\\FileSystem\\ReFS",
            Self::Fat => "\\FileSystem\\fastfat",
            Self::ExFat => "\\FileSystem\\exfat",
            Self::Udf => "\\FileSystem\\udfs",
            Self::CimFs => "\\FileSystem\\cimfs",
            Self::Raw => "\\FileSystem\\RAW",
            Self::Lanman => "\\FileSystem\\mrxsmb",
            Self::Csvfs => "\\FileSystem\\CsvFs",
        }
    }

    /// How ids are made.
    #[must_use]
    pub fn ids(self) -> IdScheme {
        match self {
            Self::Ntfs | Self::Lanman | Self::Csvfs => IdScheme::Record,
            Self::Refs => IdScheme::Wide,
            Self::Fat | Self::ExFat => IdScheme::Place,
            Self::Udf | Self::CimFs | Self::Raw => IdScheme::Counter,
        }
    }

    /// False if an id may name another file after a rename.
    #[must_use]
    pub fn stable_ids(self) -> bool {
        self.ids() != IdScheme::Place && self != Self::Raw
    }

    /// FileIdInformation is answered. FAT and exFAT refuse it.
    #[must_use]
    pub fn answers_file_id(self) -> bool {
        self.stable_ids()
    }

    /// Files may have named streams.
    #[must_use]
    pub fn named_streams(self) -> bool {
        matches!(
            self,
            Self::Ntfs | Self::Refs | Self::Lanman | Self::Csvfs | Self::Udf
        )
    }

    /// Files may have several names.
    #[must_use]
    pub fn hard_links(self) -> bool {
        matches!(self, Self::Ntfs | Self::Refs | Self::Lanman | Self::Csvfs)
    }

    /// Files have short names. NTFS makes them where the volume says so, which the one that
    /// Windows is installed on does; here all do.
    #[must_use]
    pub fn short_names(self) -> bool {
        matches!(self, Self::Ntfs | Self::Fat)
    }

    /// Files may be changed in a transaction (TxF).
    #[must_use]
    pub fn transactions(self) -> bool {
        self == Self::Ntfs
    }

    /// Files may be encrypted.
    #[must_use]
    pub fn encryption(self) -> bool {
        self == Self::Ntfs
    }

    /// Files may carry a reparse point.
    #[must_use]
    pub fn reparse_points(self) -> bool {
        matches!(self, Self::Ntfs | Self::Refs | Self::Csvfs)
    }

    /// Nothing can be written.
    #[must_use]
    pub fn read_only(self) -> bool {
        matches!(self, Self::Udf | Self::CimFs)
    }

    /// Delete and rename know POSIX semantics.
    #[must_use]
    pub fn posix(self) -> bool {
        matches!(self, Self::Ntfs | Self::Refs)
    }

    /// FSCTL_DUPLICATE_EXTENTS_TO_FILE works.
    #[must_use]
    pub fn block_clone(self) -> bool {
        self == Self::Refs
    }

    /// Sections for a data scan can be made. Not on network volumes, which the Filter Manager
    /// cannot keep coherent, nor where there are no files.
    #[must_use]
    pub fn data_scan(self) -> bool {
        !matches!(self, Self::Lanman | Self::Raw)
    }

    /// True for volumes that live on another machine.
    #[must_use]
    pub fn is_network(self) -> bool {
        self == Self::Lanman
    }

    /// The DeviceType of the volume.
    #[must_use]
    pub fn device_type(self) -> u32 {
        match self {
            Self::Lanman => DEVICE_NETWORK,
            Self::Udf => DEVICE_CD_ROM,
            _ => DEVICE_DISK,
        }
    }

    /// The flags of FileFsAttributeInformation.
    #[must_use]
    pub fn attributes(self) -> u32 {
        let mut flags = CASE_PRESERVED_NAMES | UNICODE_ON_DISK;
        let mut add = |on: bool, flag: u32| {
            if on {
                flags |= flag;
            }
        };
        add(
            matches!(self, Self::Ntfs | Self::Refs),
            CASE_SENSITIVE_SEARCH | PERSISTENT_ACLS,
        );
        add(matches!(self, Self::Ntfs | Self::Refs), SPARSE_FILES);
        add(self == Self::Ntfs, OBJECT_IDS);
        add(self.encryption(), ENCRYPTION);
        add(self.transactions(), TRANSACTIONS);
        add(self.reparse_points(), REPARSE_POINTS);
        add(self.posix(), POSIX_UNLINK_RENAME);
        add(self.named_streams(), NAMED_STREAMS);
        add(self.read_only(), READ_ONLY_VOLUME);
        add(self.hard_links(), HARD_LINKS);
        add(self.stable_ids(), OPEN_BY_FILE_ID);
        add(self.block_clone(), BLOCK_REFCOUNTING);
        flags
    }
}

/// Bytes of a sector.
pub const SECTOR_BYTES: u64 = 512;
/// Bytes of a cluster.
pub const CLUSTER_BYTES: u64 = 4096;
