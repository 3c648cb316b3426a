//! File operations whose errors name the file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::trouble::{Outcome, Trouble};

/// Reads a text file.
pub fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|e| Trouble::file("read", path, &e))
}

/// Reads a file's bytes.
pub fn bytes(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|e| Trouble::file("read", path, &e))
}

/// Writes a file, its folder made first. A file that already holds these bytes is left alone, so
/// that nothing which depends on its time is made again.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Outcome<()> {
    if fs::read(path).is_ok_and(|old| old == text.as_ref()) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    fs::write(path, text).map_err(|e| Trouble::file("write", path, &e))
}

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Outcome<()> {
    fs::create_dir_all(path).map_err(|e| Trouble::file("make the folder", path, &e))
}

/// Removes a folder with all that is in it; one that is not there is as good.
pub fn remove_folder(path: &Path) -> Outcome<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Trouble::file("remove the folder", path, &e))
        }
        _ => Ok(()),
    }
}

/// Copies one file.
pub fn copy(from: &Path, to: &Path) -> Outcome<()> {
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    fs::copy(from, to)
        .map(drop)
        .map_err(|e| Trouble::file("copy", from, &e))
}

/// Makes `link` point to `to`, whatever it pointed to before.
pub fn link(to: &Path, link: &Path) -> Outcome<()> {
    if fs::read_link(link).is_ok_and(|old| old == to) {
        return Ok(());
    }
    if let Some(folder) = link.parent() {
        make_folder(folder)?;
    }
    fs::remove_file(link).ok();
    std::os::unix::fs::symlink(to, link).map_err(|e| Trouble::file("link", link, &e))
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|e| Trouble::file("list", folder, &e))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Copies a folder with all that is in it, except entries of the names in `without`.
pub fn copy_folder(from: &Path, to: &Path, without: &[&str]) -> Outcome<()> {
    make_folder(to)?;
    for name in names(from)? {
        let source = from.join(&name);
        if without.contains(&name.as_str()) {
            continue;
        }
        if source.is_dir() {
            copy_folder(&source, &to.join(&name), without)?;
        } else {
            copy(&source, &to.join(&name))?;
        }
    }
    Ok(())
}

/// Time of the last change and length, as a text to compare.
pub fn print_of(path: &Path) -> Outcome<String> {
    let meta = fs::metadata(path).map_err(|e| Trouble::file("look at", path, &e))?;
    let time = meta
        .modified()
        .map_err(|e| Trouble::file("look at", path, &e))?;
    let since = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(format!(
        "{} {} {}",
        path.display(),
        meta.len(),
        since.as_nanos()
    ))
}

/// The newest entry that looks like a kit version (`10.…`) in a folder of a WDK.
pub fn newest_version(folder: &Path) -> Option<PathBuf> {
    let names = names(folder).ok()?;
    let newest = names
        .into_iter()
        .filter(|n| n.starts_with("10.") && folder.join(n).is_dir());
    newest.max().map(|n| folder.join(n))
}
