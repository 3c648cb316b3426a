//! Files of JSON that somebody else wrote.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::{StoreError, plain};

/// No file that is read here is longer. Docker's are of a few KiB; the listing grows with the
/// containers.
pub(super) const BYTES_MAX: u64 = 8 << 20;

/// Reads the file of these parts below `root`. `None` for JSON's own nothing.
pub(super) fn read<T: DeserializeOwned>(
    root: &Path,
    parts: &[&str],
) -> Result<Option<T>, StoreError> {
    let (path, bytes) = plain::bytes(root, parts, BYTES_MAX)?;
    parse(&path, &bytes)
}

/// Reads JSON that came from `path`. The parser itself refuses what is nested too deeply.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|cause| StoreError::Damaged {
        path: path.to_path_buf(),
        cause: cause.to_string(),
    })
}
