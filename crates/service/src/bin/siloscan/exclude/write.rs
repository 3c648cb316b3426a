//! A file that is written as a whole, so that its readers see what was there or what is there now.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("cannot write {}: {cause}; the file is as it was", place.display())]
    Beside {
        place: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} was changed by somebody else meanwhile; call the command again", .0.display())]
    Changed(PathBuf),
    #[error(
        "cannot put {} in the place of {}: {cause}; what was to be written is in the former",
        from.display(), to.display()
    )]
    Replace {
        from: PathBuf,
        to: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Puts `next` in the place of `before`, which is nothing where the file is not there yet. Links
/// are followed: the file behind them is replaced.
pub fn replace(file: &Path, before: Option<&[u8]>, next: &[u8]) -> Result<(), WriteError> {
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let beside = target.with_file_name(name);
    let wrong = |cause| WriteError::Beside {
        place: beside.clone(),
        cause,
    };
    let written = write(&beside, &target, before.is_some(), next);
    let checked = written.map_err(wrong).and_then(|()| {
        let now = fs::read(&target).ok();
        let same = now.as_deref() == before;
        same.then_some(())
            .ok_or(WriteError::Changed(target.clone()))
    });
    if let Err(cause) = checked {
        // One that another process left under this name is not ours to delete.
        let others = matches!(&cause, WriteError::Beside { cause, .. } if is_taken(cause));
        if !others {
            let _ = fs::remove_file(&beside);
        }
        return Err(cause);
    }
    put(&beside, &target, before.is_some()).map_err(|cause| WriteError::Replace {
        from: beside.clone(),
        to: target.clone(),
        cause,
    })
}

fn is_taken(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::AlreadyExists
}

fn write(beside: &Path, target: &Path, is_there: bool, next: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(beside)?;
    if is_there {
        rights(&file, target)?;
    }
    file.write_all(next)?;
    file.sync_all()
}

/// The new file gets owner and mode of the old one. The owner only as far as this user may.
#[cfg(unix)]
fn rights(file: &File, target: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let old = fs::metadata(target)?;
    let new = file.metadata()?;
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        // The mode below would give the rights of one owner to another.
        std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())
}

/// On Windows the call that replaces gives the new file the old one's list of rights.
#[cfg(windows)]
fn rights(_: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn put(from: &Path, to: &Path, _is_there: bool) -> io::Result<()> {
    fs::rename(from, to)
}

#[cfg(windows)]
fn put(from: &Path, to: &Path, is_there: bool) -> io::Result<()> {
    match is_there {
        true => crate::windows::replace_file(from, to),
        false => fs::rename(from, to),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_keeps_its_mode_and_links_stay_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&file, "a").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        replace(&link, Some(b"a"), b"b").expect("replaced");
        assert_eq!(fs::read(&file).expect("there"), b"b");
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn what_somebody_else_wrote_is_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "theirs").expect("written");
        for before in [Some(&b"ours"[..]), None] {
            let said = replace(&file, before, b"new").expect_err("changed");
            assert!(matches!(said, WriteError::Changed(_)), "{said}");
        }
        assert_eq!(fs::read(&file).expect("there"), b"theirs");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let nowhere = folder.path().join("a/b");
        let said = replace(&nowhere, None, b"new").expect_err("no folder");
        assert!(said.to_string().contains("as it was"), "{said}");
    }
}
