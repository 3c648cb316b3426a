//! The folder: whose it is, what lies in it, and files that appear there whole.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::QuarantineError;
use crate::id::ItemId;
use crate::metadata::hex;

/// Ends the name of an item.
const ITEM: &str = ".item";
/// Ends the name of a file that is being written.
pub(crate) const TEMPORARY: &str = ".tmp";
const KEY: &str = "key";
const LOCK: &str = "lock";
/// Rights of a file here, and of the folder.
pub(crate) const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// A folder that was looked at.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder, made if it is not there.
    pub(crate) fn make(path: &Path) -> Result<Self, QuarantineError> {
        match make_folder(path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                Err(QuarantineError::io("make", path, cause))
            }
            Ok(()) => {
                sync_above(path).map_err(|cause| QuarantineError::io("make", path, cause))?;
                Self::find(path)
            }
            Err(_) => Self::find(path),
        }
    }

    /// The folder, which must be there and be to be trusted.
    pub(crate) fn find(path: &Path) -> Result<Self, QuarantineError> {
        let about = fs::symlink_metadata(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => QuarantineError::NoFolder(path.to_owned()),
            _ => QuarantineError::io("look at", path, cause),
        })?;
        if !about.is_dir() {
            return Err(QuarantineError::NotPlain(path.to_owned()));
        }
        check_owner(path, &about, FOLDER_MODE)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Takes the place of the one that puts items in.
    pub(crate) fn lock(&self) -> Result<File, QuarantineError> {
        let path = self.path.join(LOCK);
        let cannot = |cause| QuarantineError::io("lock", &path, cause);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = owners_only(&mut options).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(QuarantineError::InUse(self.path.clone())),
            Err(TryLockError::Error(cause)) => Err(cannot(cause)),
        }
    }

    /// What a writer left that was interrupted, and which item it was to be; the key is none. Only
    /// whoever holds the lock may touch it: else it would be what another one is writing. Only in a
    /// folder that has a key: another one may be anybody's, with such names of his own.
    pub(crate) fn leftovers(&self) -> Result<Vec<(PathBuf, Option<ItemId>)>, QuarantineError> {
        let mut leftovers = Vec::new();
        for name in self.names()? {
            let path = self.path.join(&name);
            let Some(id) = name.strip_suffix(TEMPORARY).and_then(temporary_of) else {
                continue;
            };
            if fs::symlink_metadata(&path).is_ok_and(|about| about.is_file()) {
                leftovers.push((path, id));
            }
        }
        Ok(leftovers)
    }

    /// Gives a file that was written beside its place its name, durably.
    #[cfg(unix)]
    pub(crate) fn name(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        fs::rename(temporary, path)?;
        self.sync()
    }

    #[cfg(windows)]
    pub(crate) fn name(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        crate::windows::rename_through(temporary, path)
    }

    /// Makes an item durable whose writer may have been interrupted after it had its name.
    pub(crate) fn settle(&self, id: ItemId) -> io::Result<()> {
        let item = OpenOptions::new().write(true).open(self.item_path(id))?;
        item.sync_all()?;
        self.sync()
    }

    fn names(&self) -> Result<Vec<String>, QuarantineError> {
        let cannot = |cause| QuarantineError::io("read", &self.path, cause);
        let entries = fs::read_dir(&self.path).map_err(cannot)?;
        // A name that is no text is none of ours.
        entries
            .filter_map(|entry| match entry {
                Ok(entry) => entry.file_name().into_string().ok().map(Ok),
                Err(cause) => Some(Err(cannot(cause))),
            })
            .collect()
    }

    /// Every item with the bytes of its file. One that vanishes meanwhile is left out.
    pub(crate) fn items(&self) -> Result<Vec<(ItemId, u64)>, QuarantineError> {
        let mut items = Vec::new();
        for name in self.names()? {
            let Some(id) = name.strip_suffix(ITEM).and_then(ItemId::parse) else {
                continue;
            };
            if let Some(about) = self.about(id)? {
                items.push((id, about.len()));
            }
        }
        Ok(items)
    }

    fn about(&self, id: ItemId) -> Result<Option<Metadata>, QuarantineError> {
        let path = self.item_path(id);
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() => Ok(Some(about)),
            Ok(_) => Err(QuarantineError::NotPlain(path)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(QuarantineError::io("look at", &path, cause)),
        }
    }

    pub(crate) fn has(&self, id: ItemId) -> Result<bool, QuarantineError> {
        Ok(self.about(id)?.is_some())
    }

    pub(crate) fn item_path(&self, id: ItemId) -> PathBuf {
        self.path.join(format!("{id}{ITEM}"))
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.path.join(KEY)
    }

    /// A name for a file that is being written: an item, or the key.
    pub(crate) fn temporary_path(&self, id: Option<ItemId>) -> Result<PathBuf, QuarantineError> {
        let digits = random_digits()
            .map_err(|cause| QuarantineError::io("name a file in", &self.path, cause))?;
        let name = match id {
            Some(id) => format!("{digits}-{id}{TEMPORARY}"),
            None => format!("{digits}{TEMPORARY}"),
        };
        Ok(self.path.join(name))
    }

    /// Makes renames and deletions durable.
    #[cfg(unix)]
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// A folder of NTFS has no contents of its own that could be flushed: names are made durable as
    /// they are given ([`Folder::name`]).
    #[cfg(not(unix))]
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes what lies in the folder above `path` durable under its name.
#[cfg(unix)]
pub(crate) fn sync_above(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| *above != Path::new(""));
    File::open(above.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_above(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Which item a file of such a temporary name was to be. None of a name that is not ours.
fn temporary_of(name: &str) -> Option<Option<ItemId>> {
    match name.split_once('-') {
        None => is_random(name).then_some(None),
        Some((digits, id)) if is_random(digits) => ItemId::parse(id).map(Some),
        Some(_) => None,
    }
}

/// Whether these are digits as [`random_digits`] makes them.
fn is_random(digits: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits.len() == 16 && digits.bytes().all(digit)
}

/// Digits that nobody can foresee.
pub(crate) fn random_digits() -> io::Result<String> {
    Ok(hex(&random::<8>()?))
}

/// Bytes that nobody can foresee.
pub(crate) fn random<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|cause| io::Error::other(format!("the system has no random numbers: {cause}")))?;
    Ok(bytes)
}

/// Makes a file that was not there, for the owner alone.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    owners_only(&mut options).open(path)
}

#[cfg(unix)]
fn owners_only(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(FILE_MODE)
}

/// Files in the quarantine's folder have its rights there.
#[cfg(not(unix))]
fn owners_only(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(FOLDER_MODE).create(path)
}

#[cfg(windows)]
fn make_folder(path: &Path) -> io::Result<()> {
    crate::windows::make_folder(path)
}

/// Whether a folder or a file is its user's alone. Root may work with anybody's.
#[cfg(unix)]
pub(crate) fn check_owner(
    path: &Path,
    about: &Metadata,
    wanted: u32,
) -> Result<(), QuarantineError> {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid();
    if about.uid() != user.as_raw() && !user.is_root() {
        return Err(QuarantineError::Owner {
            path: path.to_owned(),
            owner: about.uid(),
        });
    }
    let mode = about.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(QuarantineError::Open {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
}

/// On Windows the folder is made with rights for the system, administrators and its owner; one
/// that an administrator made is believed to be as he wants it.
#[cfg(not(unix))]
pub(crate) fn check_owner(
    _path: &Path,
    _about: &Metadata,
    _wanted: u32,
) -> Result<(), QuarantineError> {
    Ok(())
}
