//! Deleting a file only if it has the bytes that were scanned: what the platforms share.

/// Why a file was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// There is no such file any more.
    #[error("the file is not there any more")]
    Gone,
    /// It has other bytes than those that were scanned.
    #[error("the file was changed since it was scanned")]
    Changed,
    /// Somebody writes to it, or does not share it, or runs it.
    #[error("the file is in use; it goes when its container does, or is deleted by hand")]
    InUse,
    /// This platform reaches no files, or not without a connection to the driver.
    #[error("the files of this machine cannot be reached without a connection to the driver")]
    NotHere,
    /// Anything else that the system says.
    #[error("the system does not delete the file: {0}")]
    Failed(String),
}

/// Bytes that are compared at a time.
const COMPARED_BYTES: usize = 32 << 10;

/// Compares a file with `content`. `read` gives at most so many bytes from an offset, and none at
/// the file's end.
pub(super) fn compare(
    content: &[u8],
    mut read: impl FnMut(u64, usize) -> Result<Vec<u8>, RemoveError>,
) -> Result<(), RemoveError> {
    let mut rest = content;
    loop {
        let offset = (content.len() - rest.len()) as u64;
        let part = read(offset, COMPARED_BYTES)?;
        if part.is_empty() {
            break;
        }
        rest = rest
            .strip_prefix(part.as_slice())
            .ok_or(RemoveError::Changed)?;
    }
    rest.is_empty().then_some(()).ok_or(RemoveError::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with a file of these bytes, which gives at most `most` of them at a time.
    fn same(content: &[u8], file: &[u8], most: usize) -> Result<(), RemoveError> {
        compare(content, |offset, length| {
            let rest = file.get(offset as usize..).unwrap_or_default();
            Ok(rest[..rest.len().min(length).min(most)].to_vec())
        })
    }

    #[test]
    fn only_the_very_bytes_are_the_same() {
        let content: Vec<u8> = (0..3 * COMPARED_BYTES + 5).map(|at| at as u8).collect();
        for most in [1_000, COMPARED_BYTES, usize::MAX] {
            assert_eq!(same(&content, &content, most), Ok(()));
            assert_eq!(same(&[], &[], most), Ok(()));
            let shorter = &content[..content.len() - 1];
            assert_eq!(same(&content, shorter, most), Err(RemoveError::Changed));
            assert_eq!(same(shorter, &content, most), Err(RemoveError::Changed));
            assert_eq!(same(&[], &content, most), Err(RemoveError::Changed));
            for at in [0, COMPARED_BYTES, content.len() - 1] {
                let mut other = content.clone();
                other[at] ^= 1;
                assert_eq!(same(&content, &other, most), Err(RemoveError::Changed));
            }
        }
    }
}
