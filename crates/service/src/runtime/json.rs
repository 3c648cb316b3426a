//! Files of JSON that somebody else wrote: bounded, and no link below the root is followed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::StoreError;

/// No file that is read here is longer. Docker's are of a few KiB; the listing grows with the
/// containers.
const BYTES_MAX: u64 = 8 << 20;

/// Reads the file of these parts below `root`. `None` for JSON's own nothing.
pub(super) fn read<T: DeserializeOwned>(
    root: &Path,
    parts: &[&str],
) -> Result<Option<T>, StoreError> {
    let mut path = root.to_owned();
    for (number, part) in parts.iter().enumerate() {
        path.push(part);
        let unreadable = |cause| unreadable(&path, cause);
        let kind = fs::symlink_metadata(&path).map_err(unreadable)?.file_type();
        let last = number + 1 == parts.len();
        // A loop of links cannot be met where none is followed; a pipe is never opened.
        if (last && !kind.is_file()) || (!last && !kind.is_dir()) {
            return Err(StoreError::NotPlain { path });
        }
    }
    let mut bytes = Vec::new();
    let opened = File::open(&path).map_err(|cause| unreadable(&path, cause))?;
    let read = opened.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|cause| unreadable(&path, cause))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(StoreError::TooLarge {
            path,
            bytes_max: BYTES_MAX,
        });
    }
    parse(&path, &bytes)
}

pub(super) fn unreadable(path: &Path, cause: io::Error) -> StoreError {
    StoreError::Unreadable {
        path: path.to_owned(),
        cause,
    }
}

/// Reads JSON that came from `path`. The parser itself refuses what is nested too deeply.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|cause| StoreError::Damaged {
        path: path.to_path_buf(),
        cause: cause.to_string(),
    })
}
