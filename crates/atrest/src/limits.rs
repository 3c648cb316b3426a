//! How far a scan goes. Every number is a promise to whoever scans what a stranger made.

/// What one scan may use. The defaults are those of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A larger file is reported as too large and not scanned, in bytes. One file at a time is in
    /// memory.
    pub file_bytes: u64,
    /// What one layer may unpack to, in bytes.
    pub layer_bytes: u64,
    /// Up to here a layer may unpack to any multiple of its packed size, in bytes.
    pub layer_bytes_free: u64,
    /// Beyond that, to so many times its packed size.
    pub layer_ratio: u64,
    /// Entries of one layer.
    pub layer_entries: u64,
    /// Records of one NTFS volume's master file table.
    pub volume_records: u64,
    /// Bytes of all streams of one NTFS volume: clusters can be shared without end.
    pub volume_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 256 << 20,
            layer_bytes: 64 << 30,
            layer_bytes_free: 1 << 30,
            layer_ratio: 200,
            layer_entries: 4 << 20,
            volume_records: 16 << 20,
            volume_bytes: 1 << 40,
        }
    }
}

/// Folders within folders.
pub const FOLDER_DEPTH: usize = 256;
/// Indexes within indexes of an image layout.
pub const INDEX_DEPTH: usize = 4;
/// Images of one layout or archive.
pub const IMAGES: usize = 10_000;
/// Layers of one image; Windows and Linux both stop well before.
pub const IMAGE_LAYERS: usize = 1_000;
/// An index, a manifest or a configuration, in bytes.
pub const JSON_BYTES: u64 = 4 << 20;
/// Those of one archive together, in bytes.
pub const ALL_JSON_BYTES: u64 = 64 << 20;
/// Names of images that a finding has, each.
pub const IMAGE_NAMES: usize = 100;
/// Names of one archive or layout.
pub const ARCHIVE_NAMES: usize = 1 << 20;
/// The long name of a tar entry, in bytes.
pub const NAME_BYTES: u64 = 64 << 10;
/// The PAX records of a tar entry, in bytes.
pub const PAX_BYTES: u64 = 1 << 20;
/// Folders above a file on NTFS.
pub const NTFS_DEPTH: usize = 256;
/// Attributes of one file on NTFS.
pub const NTFS_ATTRIBUTES: usize = 4096;
/// A table of a VHDX: its log, its block table, its metadata, in bytes.
pub const DISK_TABLE_BYTES: usize = 64 << 20;
/// Names of NTFS folders that are remembered; more are read again.
pub const NTFS_FOLDERS_KEPT: usize = 1 << 18;
/// Partitions of one disk.
pub const PARTITIONS: usize = 128;
/// Findings, problems and placeholders that a report holds, each; more are only counted.
pub const REPORT_ROWS: usize = 100_000;
/// Bytes of the texts in them, each kind for itself: names are a stranger's, and may be long.
pub const REPORT_BYTES: usize = 64 << 20;
