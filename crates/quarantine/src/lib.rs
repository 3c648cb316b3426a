//! A folder in which infected files are kept: encrypted, so that nothing runs them and no other
//! scanner stumbles over them, with what is known of each, until an operator restores or deletes
//! them.
//!
//! Each item is one file ([`Metadata`] first, then the content, both sealed by the folder's key),
//! written beside its place, made durable, and then renamed: it is there whole or not at all. The
//! folder and its key belong to one user, and nobody else may look into it; whoever can read the
//! key can read the items.
//!
//! [`Quarantine::keep`] is for the service, which puts items in; [`Quarantine::open`] for the
//! operator's command. Both may be used at one time.

mod error;
mod folder;
mod id;
mod key;
mod metadata;
mod seal;
mod shown;
#[cfg(windows)]
mod windows;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use error::{Damage, QuarantineError};
pub use id::ItemId;
pub use metadata::{Metadata, Origin};
pub use shown::{printable, printable_json};

use folder::{Folder, TEMPORARY};
use key::Key;
use seal::{Opener, Sealer};

/// The quarantine's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all items together, as they lie in the folder.
    pub bytes_max: u64,
    /// Items.
    pub items_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes_max: 4 << 30,
            items_max: 10_000,
        }
    }
}

/// The folder of a quarantine.
#[derive(Debug)]
pub struct Quarantine {
    folder: Folder,
    key: Key,
    bounds: Bounds,
    /// What an interrupted [`Quarantine::put`] left that could not be dealt with.
    left: Vec<QuarantineError>,
    /// Held by the one that may put items in.
    _lock: Option<File>,
}

/// An item of a list.
#[derive(Debug)]
pub struct Listed {
    /// Which one.
    pub id: ItemId,
    /// What is known of it, or why that cannot be read.
    pub metadata: Result<Metadata, QuarantineError>,
}

/// Where an item that was put in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    New(ItemId),
    /// The same content from the same place was there already, and is whole.
    Already(ItemId),
}

impl Kept {
    /// The item.
    #[must_use]
    pub fn id(self) -> ItemId {
        match self {
            Self::New(id) | Self::Already(id) => id,
        }
    }
}

impl Quarantine {
    /// Opens the folder to put items in; it and its key are made if they are not there. What an
    /// interrupted [`Quarantine::put`] left becomes its item if it is whole, and is deleted if not.
    ///
    /// # Errors
    /// The folder or the key is not to be trusted or cannot be made, or another service has it.
    pub fn keep(path: &Path, bounds: Bounds) -> Result<Self, QuarantineError> {
        let folder = Folder::make(path)?;
        let lock = folder.lock()?;
        let (key, is_new) = match Key::read(&folder)? {
            Some(key) => (key, false),
            None if folder.items()?.is_empty() => (Key::make(&folder)?, true),
            None => return Err(QuarantineError::KeyGone(folder.key_path())),
        };
        let mut quarantine = Self {
            folder,
            key,
            bounds,
            left: Vec::new(),
            _lock: Some(lock),
        };
        if !is_new {
            quarantine.left = quarantine.recover()?;
        }
        Ok(quarantine)
    }

    /// What an interrupted [`Quarantine::put`] left and [`Quarantine::keep`] could not deal with:
    /// it stays where it is, and the next start tries again.
    #[must_use]
    pub fn left(&self) -> &[QuarantineError] {
        &self.left
    }

    /// Ends what interrupted [`Quarantine::put`]s began, as far as it can: what it cannot is given.
    fn recover(&self) -> Result<Vec<QuarantineError>, QuarantineError> {
        let leftovers = self.folder.leftovers()?;
        let ended = leftovers.iter().map(|(path, id)| self.end(path, *id));
        Ok(ended.filter_map(Result::err).collect())
    }

    /// An item that is whole gets its name; what is half of one goes.
    fn end(&self, path: &Path, id: Option<ItemId>) -> Result<(), QuarantineError> {
        if let Some(id) = id {
            match self.unseal(id, path, &mut io::sink(), path) {
                Ok(_) if self.folder.has(id)? && self.verify(id).is_ok() => {}
                Ok(_) => {
                    let item = self.folder.item_path(id);
                    let named = self.folder.name(path, &item);
                    return named
                        .and_then(|()| self.folder.settle(id))
                        .map_err(|cause| QuarantineError::io("write", &item, cause));
                }
                // It may be whole for whoever has the key, or can read it another time.
                Err(error @ QuarantineError::Io { .. }) => return Err(error),
                Err(QuarantineError::Damaged {
                    damage: Damage::Key,
                    ..
                }) => return Err(QuarantineError::OtherKey(path.to_owned())),
                Err(_half) => {}
            }
        }
        fs::remove_file(path).map_err(|cause| QuarantineError::io("delete", path, cause))
    }

    /// Opens a folder that is there, to list, restore and delete.
    ///
    /// # Errors
    /// The folder or its key is not there, or is not to be trusted.
    pub fn open(path: &Path) -> Result<Self, QuarantineError> {
        let folder = Folder::find(path)?;
        let key = Key::read(&folder)?.ok_or_else(|| QuarantineError::KeyGone(folder.key_path()))?;
        Ok(Self {
            folder,
            key,
            bounds: Bounds::default(),
            left: Vec::new(),
            _lock: None,
        })
    }

    /// Puts a file in, and returns when it is durable. The same content from the same place is kept
    /// once; an item that was damaged since is replaced.
    ///
    /// # Errors
    /// [`QuarantineError::Full`], or what the system said; nothing is left behind then.
    pub fn put(&self, content: &[u8], origin: &Origin) -> Result<Kept, QuarantineError> {
        let metadata = Metadata::of(content, origin);
        let id = ItemId::of(&self.key, &metadata);
        let path = self.folder.item_path(id);
        if self.folder.has(id)? {
            match self.verify(id) {
                Ok(()) => {
                    // Whoever wrote it may have failed to make it durable.
                    let settled = self.folder.settle(id);
                    settled.map_err(|cause| QuarantineError::io("write", &path, cause))?;
                    return Ok(Kept::Already(id));
                }
                // What cannot be read now is not replaced: it may be whole.
                Err(error @ QuarantineError::Io { .. }) => return Err(error),
                Err(_damaged) => {}
            }
        }
        let sealer = Sealer::new(&self.key, id, &metadata)?;
        self.make_room(id, sealer.sealed_bytes(content.len() as u64))?;
        let temporary = self.folder.temporary_path(Some(id))?;
        let written = write_item(sealer, content, &temporary)
            .and_then(|()| self.folder.name(&temporary, &path));
        if let Err(cause) = written {
            // Already renamed or never made: then there is nothing to take away.
            let _ = fs::remove_file(&temporary);
            return Err(QuarantineError::io("write", &temporary, cause));
        }
        Ok(Kept::New(id))
    }

    /// Whether an item of so many bytes fits beside the others.
    fn make_room(&self, id: ItemId, bytes: u64) -> Result<(), QuarantineError> {
        let items = self.folder.items()?;
        let others = items.iter().filter(|(other, _)| *other != id);
        let (count, used) = others.fold((0_u64, 0_u64), |(count, used), (_, bytes)| {
            (count + 1, used.saturating_add(*bytes))
        });
        if count >= self.bounds.items_max || used.saturating_add(bytes) > self.bounds.bytes_max {
            return Err(QuarantineError::Full {
                items: count,
                bytes: used,
                wanted: bytes,
                items_max: self.bounds.items_max,
                bytes_max: self.bounds.bytes_max,
            });
        }
        Ok(())
    }

    /// Every item, the oldest first; damaged ones are named and stand at the end.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, QuarantineError> {
        let items = self.folder.items()?;
        let mut listed: Vec<Listed> = items
            .into_iter()
            .map(|(id, _)| {
                let opener = self.opener(id, &self.folder.item_path(id));
                Listed {
                    id,
                    metadata: opener.map(|opener| opener.metadata),
                }
            })
            .collect();
        listed.sort_by_key(|item| {
            let time = item.metadata.as_ref().map(|it| it.origin.time_ms);
            (time.unwrap_or(u64::MAX), item.id)
        });
        Ok(listed)
    }

    /// The one item whose id begins with these digits, at least four.
    ///
    /// # Errors
    /// There is none, or more than one, or these are no digits of an id.
    pub fn find(&self, prefix: &str) -> Result<ItemId, QuarantineError> {
        let prefix = id::Prefix::parse(prefix)?;
        let items = self.folder.items()?;
        let mut matching = items.iter().filter(|(id, _)| prefix.begins(*id));
        match (matching.next(), matching.count()) {
            (None, _) => Err(QuarantineError::NoItem(prefix.to_string())),
            (Some((id, _)), 0) => Ok(*id),
            (Some(_), more) => Err(QuarantineError::Ambiguous {
                prefix: prefix.to_string(),
                items: more + 1,
            }),
        }
    }

    /// Reads all of an item and checks it.
    ///
    /// # Errors
    /// [`QuarantineError::Damaged`], or the item cannot be read.
    pub fn verify(&self, id: ItemId) -> Result<(), QuarantineError> {
        let path = self.folder.item_path(id);
        self.unseal(id, &path, &mut io::sink(), &path).map(drop)
    }

    /// Writes an item's content to `to`, which must not be there. Nothing appears under that name
    /// before all of it was checked. The item stays in the quarantine.
    ///
    /// # Errors
    /// [`QuarantineError::Exists`], [`QuarantineError::Damaged`], or what the system said; then
    /// nothing is left beside `to`.
    pub fn restore(&self, id: ItemId, to: &Path) -> Result<Metadata, QuarantineError> {
        if fs::symlink_metadata(to).is_ok() {
            return Err(QuarantineError::Exists(to.to_owned()));
        }
        let temporary = beside(to)?;
        let outcome = self.restore_by(id, &temporary, to);
        // The name `to` is a second one of the same file by now, or there is nothing to keep.
        let _ = fs::remove_file(&temporary);
        outcome
    }

    fn restore_by(
        &self,
        id: ItemId,
        temporary: &Path,
        to: &Path,
    ) -> Result<Metadata, QuarantineError> {
        let failed = |cause| QuarantineError::io("write", temporary, cause);
        let mut file = folder::create_new(temporary).map_err(failed)?;
        let item = self.folder.item_path(id);
        let metadata = self.unseal(id, &item, &mut file, temporary)?;
        file.sync_all().map_err(failed)?;
        drop(file);
        // A link, and not a rename: that would replace what has come there meanwhile.
        fs::hard_link(temporary, to)
            .and_then(|()| folder::sync_above(to))
            .map_err(|cause| match cause.kind() {
                io::ErrorKind::AlreadyExists => QuarantineError::Exists(to.to_owned()),
                _ => QuarantineError::io("make", to, cause),
            })?;
        Ok(metadata)
    }

    /// Takes an item away for good.
    ///
    /// # Errors
    /// What the system said.
    pub fn delete(&self, id: ItemId) -> Result<(), QuarantineError> {
        let path = self.folder.item_path(id);
        fs::remove_file(&path)
            .and_then(|()| self.folder.sync())
            .map_err(|cause| QuarantineError::io("delete", &path, cause))
    }

    /// The item `id`, which lies in `path`.
    fn opener(&self, id: ItemId, path: &Path) -> Result<Opener<File>, QuarantineError> {
        let cannot = |cause| QuarantineError::io("read", path, cause);
        let file = File::open(path).map_err(cannot)?;
        let bytes = file.metadata().map_err(cannot)?.len();
        Opener::new(&self.key, id, file, bytes).map_err(|error| error.of_item(id, path))
    }

    /// Writes the content of the item in `path` to `target`, and checks it to its last byte.
    fn unseal(
        &self,
        id: ItemId,
        path: &Path,
        target: &mut dyn Write,
        target_path: &Path,
    ) -> Result<Metadata, QuarantineError> {
        let mut opener = self.opener(id, path)?;
        let mut hash = Sha256::new();
        while let Some(part) = opener.next().map_err(|error| error.of_item(id, path))? {
            hash.update(&part);
            target
                .write_all(&part)
                .map_err(|cause| QuarantineError::io("write", target_path, cause))?;
        }
        let metadata = opener.metadata;
        let found: [u8; 32] = hash.finalize().into();
        if metadata::hex(&found) != metadata.sha256 {
            return Err(QuarantineError::Damaged {
                id,
                damage: Damage::Hash,
            });
        }
        Ok(metadata)
    }
}

fn write_item(mut sealer: Sealer, mut content: &[u8], path: &Path) -> io::Result<()> {
    let mut file = folder::create_new(path)?;
    file.write_all(&sealer.head()?)?;
    while content.len() > seal::PART_BYTES {
        let (part, rest) = content.split_at(seal::PART_BYTES);
        file.write_all(&sealer.part(part)?)?;
        content = rest;
    }
    file.write_all(&sealer.last(content)?)?;
    file.sync_all()
}

/// A temporary name in the folder of `to`.
fn beside(to: &Path) -> Result<PathBuf, QuarantineError> {
    let cannot = |cause| QuarantineError::io("make", to, cause);
    if to.file_name().is_none() {
        return Err(cannot(io::Error::other("it names no file")));
    }
    let digits = folder::random_digits().map_err(cannot)?;
    Ok(to.with_file_name(format!(".siloscan-restore-{digits}{TEMPORARY}")))
}

/// Fills `buffer` as far as `source` has bytes; gives how many came.
fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(filled)
}
