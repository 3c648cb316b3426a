//! Fills a volume from a host folder, copy-on-write: the folder is read and never written.
//!
//! Entries are taken in the order of their folded names, so neither the host's directory order nor
//! its inode numbers can be seen inside.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::bytes::{Bytes, STREAM_BYTES_MAX};
use super::name::{Folded, fold, is_legal_component, units};
use super::namespace::Namespace;
use super::node::{ARCHIVE, NodeId};

/// Why a folder could not be imported. Each names the path.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The folder is not there.
    #[error("the folder {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The path is not a folder.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// The folder holds nothing.
    #[error("the folder {} is empty", .0.display())]
    Empty(PathBuf),
    /// The host refused.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A host name is not text.
    #[error("the name of {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// A host name cannot be a Windows name.
    #[error("{} cannot be a file name on Windows", .0.display())]
    IllegalName(PathBuf),
    /// Two host names are one name on Windows.
    #[error("{} and {} differ only in case", .0.display(), .1.display())]
    SameName(PathBuf, PathBuf),
    /// A host file is neither a file, nor a folder, nor a link to one.
    #[error("{} is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// A host file is larger than a stream can be.
    #[error("{} is larger than {STREAM_BYTES_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// The target cannot take the entries.
    #[error("cannot place {}: status {status:#010x}", path.display())]
    Refused {
        /// What was to be placed.
        path: PathBuf,
        /// The volume's answer.
        status: u32,
    },
}

/// What an import brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Files.
    pub files: u64,
    /// Folders below the one given.
    pub folders: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Deepest nesting of folders that is followed; also ends loops of symbolic links.
const DEPTH_MAX: u32 = 64;

/// Imports `folder` into the directory `target`.
///
/// # Errors
/// See [`ImportError`]; the tree may then hold a part of the folder.
pub fn import_folder(
    space: &mut Namespace,
    target: NodeId,
    folder: &Path,
    now: i64,
) -> Result<Imported, ImportError> {
    let kind = fs::metadata(folder).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ImportError::Missing(folder.to_path_buf()),
        _ => unreadable(folder, source),
    })?;
    if !kind.is_dir() {
        return Err(ImportError::NotAFolder(folder.to_path_buf()));
    }
    let mut done = Imported::default();
    import_level(space, target, folder, now, 0, &mut done)?;
    if done.files == 0 && done.folders == 0 {
        return Err(ImportError::Empty(folder.to_path_buf()));
    }
    Ok(done)
}

fn import_level(
    space: &mut Namespace,
    target: NodeId,
    folder: &Path,
    now: i64,
    depth: u32,
    done: &mut Imported,
) -> Result<(), ImportError> {
    if depth > DEPTH_MAX {
        return Err(ImportError::Special(folder.to_path_buf()));
    }
    for (name, path) in entries(folder)?.into_values() {
        let data = fs::metadata(&path).map_err(|source| unreadable(&path, source))?;
        if data.is_dir() {
            let (node, _) = space
                .create(target, &name, true, Bytes::default(), now)
                .map_err(|status| refused(&path, status))?;
            done.folders += 1;
            import_level(space, node, &path, now, depth + 1, done)?;
        } else if data.is_file() {
            import_file(space, target, &name, &path, data.len(), now)?;
            done.files += 1;
            done.bytes += data.len();
        } else {
            return Err(ImportError::Special(path));
        }
    }
    Ok(())
}

fn import_file(
    space: &mut Namespace,
    target: NodeId,
    name: &[u16],
    path: &Path,
    length: u64,
    now: i64,
) -> Result<(), ImportError> {
    if length > STREAM_BYTES_MAX {
        return Err(ImportError::TooLarge(path.to_path_buf()));
    }
    fs::File::open(path).map_err(|source| unreadable(path, source))?;
    let bytes = Bytes::imported(path.to_path_buf(), length);
    let place = |status| refused(path, status);
    let (node, _) = space
        .create(target, name, false, bytes, now)
        .map_err(place)?;
    space.node_mut(node).map_err(place)?.attributes = ARCHIVE;
    Ok(())
}

/// The entries of one folder by folded name.
fn entries(folder: &Path) -> Result<BTreeMap<Folded, (Vec<u16>, PathBuf)>, ImportError> {
    let listing = fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let mut found: BTreeMap<Folded, (Vec<u16>, PathBuf)> = BTreeMap::new();
    for entry in listing {
        let path = entry.map_err(|source| unreadable(folder, source))?.path();
        let Some(text) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(ImportError::NotUtf8(path));
        };
        let name = units(text);
        if !is_legal_component(&name) {
            return Err(ImportError::IllegalName(path));
        }
        if let Some((_, other)) = found.insert(fold(&name), (name, path.clone())) {
            let (first, second) = if other < path {
                (other, path)
            } else {
                (path, other)
            };
            return Err(ImportError::SameName(first, second));
        }
    }
    Ok(found)
}

fn unreadable(path: &Path, source: io::Error) -> ImportError {
    ImportError::Unreadable {
        path: path.to_path_buf(),
        source,
    }
}

fn refused(path: &Path, status: crate::status::NtStatus) -> ImportError {
    ImportError::Refused {
        path: path.to_path_buf(),
        status: status.0.cast_unsigned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::kind::FsKind;
    use crate::volume::name::parse;
    use crate::volume::namespace::Resolved;
    use std::os::unix::ffi::OsStrExt;

    fn space() -> Namespace {
        Namespace::new(FsKind::Ntfs, 1)
    }

    fn import(folder: &Path) -> Result<(Namespace, Imported), ImportError> {
        let mut space = space();
        let root = space.root();
        let done = import_folder(&mut space, root, folder, 1)?;
        Ok((space, done))
    }

    #[test]
    fn a_folder_becomes_a_tree_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("Sub")).unwrap();
        fs::write(dir.path().join("Sub/b.txt"), b"bee").unwrap();
        fs::write(dir.path().join("a.txt"), b"aye").unwrap();
        let (space, done) = import(dir.path()).unwrap();
        assert_eq!(
            done,
            Imported {
                files: 2,
                folders: 1,
                bytes: 6
            }
        );
        let path = parse(&units("\\sub\\B.TXT")).unwrap();
        let Ok(Resolved::Found { node, .. }) = space.resolve(space.root(), &path) else {
            panic!("not found");
        };
        let data = &space.node(node).unwrap().data;
        assert_eq!(data.bytes.snapshot().unwrap(), b"bee");
        data.bytes.write(0, b"changed").unwrap();
        assert_eq!(fs::read(dir.path().join("Sub/b.txt")).unwrap(), b"bee");
    }

    #[test]
    fn ids_do_not_depend_on_the_host() {
        let ids = |names: [&str; 3]| {
            let dir = tempfile::tempdir().unwrap();
            for name in names {
                fs::write(dir.path().join(name), name).unwrap();
            }
            let (space, _) = import(dir.path()).unwrap();
            let root = space.node(space.root()).unwrap();
            let list = root.entries.as_ref().unwrap().values();
            list.map(|(node, _)| space.node(*node).unwrap().id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(["a", "b", "C"]), ids(["C", "b", "a"]));
    }

    #[test]
    fn bad_folders_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let message = |path: &Path| import(path).err().unwrap().to_string();
        assert!(message(&at("none")).ends_with("none does not exist"));
        assert!(message(dir.path()).ends_with("is empty"));
        fs::write(at("file"), b"").unwrap();
        assert!(message(&at("file")).ends_with("is not a folder"));
        fs::write(at("FILE"), b"").unwrap();
        assert!(message(dir.path()).contains("differ only in case"));
        fs::remove_file(at("FILE")).unwrap();
        fs::write(at("a:b"), b"").unwrap();
        assert!(message(dir.path()).contains("cannot be a file name"));
        fs::remove_file(at("a:b")).unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
        fs::write(dir.path().join(odd), b"").unwrap();
        assert!(message(dir.path()).contains("is not UTF-8"));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        assert!(import(dir.path()).is_err());
    }
}
