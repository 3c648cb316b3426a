//! The folder's key: made once, readable for the owner alone.

use std::fs::{self, File};
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use crate::error::QuarantineError;
use crate::folder::{self, Folder};
use crate::metadata::hex;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a key's name.
pub(crate) const KEY_NAME_BYTES: usize = 8;
/// What a key file begins with.
const FIRST_LINE: &str = "siloscan-quarantine-key-1\n";
/// What a key file has: the line above, the digits, and their line's end.
const FILE_BYTES: usize = FIRST_LINE.len() + KEY_BYTES * 2 + 1;

/// A key.
#[derive(Clone)]
pub(crate) struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Names the key without telling it.
    pub(crate) fn name(&self) -> [u8; KEY_NAME_BYTES] {
        let mut hash = Sha256::new();
        hash.update(b"siloscan quarantine key");
        hash.update(self.0);
        let digest: [u8; 32] = hash.finalize().into();
        let mut name = [0; KEY_NAME_BYTES];
        name.iter_mut()
            .zip(digest)
            .for_each(|(to, from)| *to = from);
        name
    }

    /// The folder's key; nothing where there is none.
    pub(crate) fn read(folder: &Folder) -> Result<Option<Self>, QuarantineError> {
        let path = folder.key_path();
        let cannot = |cause| QuarantineError::io("read", &path, cause);
        let about = match fs::symlink_metadata(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            about => about.map_err(cannot)?,
        };
        if !about.is_file() {
            return Err(QuarantineError::NotPlain(path));
        }
        folder::check_owner(&path, &about, folder::FILE_MODE)?;
        let mut text = String::new();
        let mut file = File::open(&path)
            .map_err(cannot)?
            .take(FILE_BYTES as u64 + 1);
        match file.read_to_string(&mut text) {
            Err(cause) if cause.kind() != io::ErrorKind::InvalidData => return Err(cannot(cause)),
            _ => {}
        }
        Self::parse(&text)
            .map(Some)
            .ok_or(QuarantineError::KeyDamaged(path))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(FIRST_LINE)?.strip_suffix('\n')?;
        if digits.len() != KEY_BYTES * 2 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut key = [0; KEY_BYTES];
        for (byte, at) in key.iter_mut().zip((0..digits.len()).step_by(2)) {
            *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(key))
    }

    /// Makes the folder's key. It is durable before anything is sealed with it.
    pub(crate) fn make(folder: &Folder) -> Result<Self, QuarantineError> {
        let path = folder.key_path();
        let cannot = |cause| QuarantineError::io("make", &path, cause);
        let key = folder::random::<KEY_BYTES>().map_err(cannot)?;
        let temporary = folder.temporary_path(None)?;
        let write = || {
            let mut file = folder::create_new(&temporary)?;
            file.write_all(format!("{FIRST_LINE}{}\n", hex(&key)).as_bytes())?;
            file.sync_all()?;
            drop(file);
            folder.name(&temporary, &path)
        };
        write().map_err(cannot)?;
        Ok(Self(key))
    }
}
