//! Files and folders that somebody else wrote: bounded, and no link below the root is followed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::StoreError;

/// The path of these parts below `root`, which are folders all.
pub(super) fn folder(root: &Path, parts: &[&str]) -> Result<PathBuf, StoreError> {
    path(root, parts, fs::FileType::is_dir)
}

/// The path of these parts below `root`: a file in folders.
pub(super) fn file(root: &Path, parts: &[&str]) -> Result<PathBuf, StoreError> {
    path(root, parts, fs::FileType::is_file)
}

/// The bytes of the file of these parts below `root`, with its path.
pub(super) fn bytes(
    root: &Path,
    parts: &[&str],
    bytes_max: u64,
) -> Result<(PathBuf, Vec<u8>), StoreError> {
    let path = file(root, parts)?;
    let mut bytes = Vec::new();
    let opened = File::open(&path).map_err(|cause| unreadable(&path, cause))?;
    let read = opened.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|cause| unreadable(&path, cause))?;
    if bytes.len() as u64 > bytes_max {
        return Err(StoreError::TooLarge { path, bytes_max });
    }
    Ok((path, bytes))
}

/// The path whose last part is as it must be, and what is above it are folders.
fn path(
    root: &Path,
    parts: &[&str],
    is_right: fn(&fs::FileType) -> bool,
) -> Result<PathBuf, StoreError> {
    let mut path = root.to_owned();
    for (number, part) in parts.iter().enumerate() {
        path.push(part);
        let unreadable = |cause| unreadable(&path, cause);
        let kind = fs::symlink_metadata(&path).map_err(unreadable)?.file_type();
        let last = number + 1 == parts.len();
        // A loop of links cannot be met where none is followed; a pipe is never opened.
        if (last && !is_right(&kind)) || (!last && !kind.is_dir()) {
            return Err(StoreError::NotPlain { path });
        }
    }
    Ok(path)
}

pub(super) fn unreadable(path: &Path, cause: io::Error) -> StoreError {
    StoreError::Unreadable {
        path: path.to_owned(),
        cause,
    }
}
