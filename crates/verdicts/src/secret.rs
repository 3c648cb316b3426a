//! The keys that verdicts are sealed with: files of 64 hexadecimal digits.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// 32 bytes that nobody else knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("cannot read the key {0}: {1}; make one with `openssl rand -hex 32`")]
    Read(PathBuf, io::Error),
    /// It is no key.
    #[error("the key {0} is not 64 hexadecimal digits; make one with `openssl rand -hex 32`")]
    Content(PathBuf),
    /// Others may read or change it.
    #[error("the key {0} is open to other users; run `chmod 600` on it, or make a new one")]
    Open(PathBuf),
    /// It cannot be made.
    #[error("cannot make the key {0}: {1}; name a file in a folder of the service's own")]
    Make(PathBuf, io::Error),
}

impl Secret {
    /// A key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key in `file`, which on Unix must be its owner's alone.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(file: &Path) -> Result<Self, SecretError> {
        let failed = |cause| SecretError::Read(file.to_owned(), cause);
        let opened = File::open(file).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = opened.metadata().map_err(failed)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(SecretError::Open(file.to_owned()));
            }
        }
        let mut text = String::new();
        // Longer is none.
        opened
            .take(128)
            .read_to_string(&mut text)
            .map_err(|cause| match cause.kind() {
                io::ErrorKind::InvalidData => SecretError::Content(file.to_owned()),
                _ => failed(cause),
            })?;
        from_hex(text.trim_end()).ok_or_else(|| SecretError::Content(file.to_owned()))
    }

    /// The key in `file`, which is made at the first start. True if it is new, because there was
    /// none or what was there is no key and was set aside: nothing sealed before can be read.
    pub(crate) fn read_or_make(file: &Path) -> Result<(Self, bool), SecretError> {
        match Self::read(file) {
            Ok(secret) => return Ok((secret, false)),
            Err(SecretError::Read(_, cause)) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(SecretError::Content(_)) => {}
            Err(other) => return Err(other),
        }
        Self::make(file)
            .map(|secret| (secret, true))
            .map_err(|cause| SecretError::Make(file.to_owned(), cause))
    }

    fn make(file: &Path) -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let secret = Self(bytes);
        // Whole or not at all: a crash in between leaves no half of a key.
        let draft = with_suffix(file, ".new");
        match fs::remove_file(&draft) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        own(&mut options);
        let mut out = options.open(&draft)?;
        out.write_all(secret.hex().as_bytes())?;
        out.sync_all()?;
        drop(out);
        fs::rename(&draft, file)?;
        Ok(secret)
    }

    fn hex(&self) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        digits + "\n"
    }
}

/// Files that are made are their owner's alone. On Windows the folder says whose they are.
pub(crate) fn own(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = options;
}

/// `file` with something appended to its name.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn from_hex(text: &str) -> Option<Secret> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    let digit = |byte: u8| (byte as char).to_digit(16);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(Secret(bytes))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let (first, new) = Secret::read_or_make(&file).expect("made");
        assert!(new);
        let (again, new) = Secret::read_or_make(&file).expect("read");
        assert!(!new && first == again);
        let (other, _) = Secret::read_or_make(&folder.path().join("other")).expect("made");
        assert!(first != other, "it is random");
        assert_eq!(format!("{first:?}"), "Secret");
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let (key, _) = Secret::read_or_make(&file).expect("made");
        let good = fs::read_to_string(&file).expect("read");
        let bad = [
            String::new(),
            good[1..].to_owned(),
            format!("0{good}"),
            good.replace(char::is_alphanumeric, "g"),
            good.trim_end().repeat(3),
        ];
        for text in bad {
            fs::write(&file, &text).expect("written");
            let read = Secret::read(&file);
            assert!(matches!(read, Err(SecretError::Content(_))), "{text}");
        }
        fs::write(&file, b"\xff\xfe").expect("written");
        let (new, made) = Secret::read_or_make(&file).expect("made anew");
        assert!(made && new != key);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        Secret::read_or_make(&file).expect("made");
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o620, 0o602] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            let read = Secret::read_or_make(&file);
            assert!(matches!(read, Err(SecretError::Open(_))), "{mode:o}");
        }
    }
}
