//! The package files of an image's layers: real Windows binaries, or any folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where Debian's Wine package keeps its Windows binaries.
pub const WINE_BINARIES: &str = "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows";

/// Why a layer cannot be made.
#[derive(Debug, Error)]
pub enum LayerError {
    /// The folder is not there, or is no folder.
    #[error("layer folder {path:?}: {source}; give --layer a folder that exists and can be read")]
    Unreadable {
        /// The folder, or what in it could not be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no file in it.
    #[error("layer folder {0:?} holds no file; give --layer a folder with files in it")]
    Empty(PathBuf),
    /// A name that Windows could not hold.
    #[error("layer folder: the name {0:?} is not UTF-8, so no Windows file can have it; rename it")]
    NotUtf8(PathBuf),
    /// The default layer's package is missing.
    #[error("no Windows binaries in {WINE_BINARIES}; install them with: apt-get install libwine")]
    NoWine,
}

/// A folder that becomes a layer.
#[derive(Debug, Clone)]
pub struct LayerFolder {
    /// The folder on this machine.
    pub path: PathBuf,
    /// Its files, relative to it, in the order of their names.
    pub files: Vec<PathBuf>,
    /// Their bytes, together.
    pub bytes: u64,
}

impl LayerFolder {
    /// Looks through `path` and all below it.
    ///
    /// # Errors
    /// A folder that is missing, empty or unreadable, and names that are not UTF-8.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        let mut layer = Self {
            path: path.to_owned(),
            files: Vec::new(),
            bytes: 0,
        };
        layer.walk(path)?;
        if layer.files.is_empty() {
            return Err(LayerError::Empty(path.to_owned()));
        }
        layer.files.sort();
        Ok(layer)
    }

    fn walk(&mut self, folder: &Path) -> Result<(), LayerError> {
        let unreadable = |path: &Path, source| LayerError::Unreadable {
            path: path.into(),
            source,
        };
        for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, e))? {
            let entry = entry.map_err(|e| unreadable(folder, e))?;
            let path = entry.path();
            if path.to_str().is_none() {
                return Err(LayerError::NotUtf8(path));
            }
            let kind = entry.file_type().map_err(|e| unreadable(&path, e))?;
            if kind.is_dir() {
                self.walk(&path)?;
            } else if kind.is_file() {
                let length = entry.metadata().map_err(|e| unreadable(&path, e))?.len();
                // Unreadable files are named now rather than in the middle of a run.
                fs::File::open(&path).map_err(|e| unreadable(&path, e))?;
                let relative = path.strip_prefix(&self.path).unwrap_or(&path);
                self.files.push(relative.to_owned());
                self.bytes += length;
            }
        }
        Ok(())
    }
}

/// Copies a few hundred of Wine's binaries below `target`, laid out as Windows has them.
///
/// The choice is the same each time: names in order, files up to `largest` bytes, at most `count`.
/// What is there from an earlier run is kept.
///
/// # Errors
/// Wine's binaries are not installed, or a file cannot be copied.
pub fn wine_layer(target: &Path, count: usize, largest: u64) -> Result<LayerFolder, LayerError> {
    let wine = LayerFolder::open(Path::new(WINE_BINARIES)).map_err(|_| LayerError::NoWine)?;
    let system = target.join("Windows").join("System32");
    let failed = |path: &Path, source| LayerError::Unreadable {
        path: path.into(),
        source,
    };
    fs::create_dir_all(&system).map_err(|e| failed(&system, e))?;
    let mut taken = 0;
    for file in &wine.files {
        let from = wine.path.join(file);
        let small = fs::metadata(&from).is_ok_and(|m| m.len() <= largest);
        let code = file
            .extension()
            .is_some_and(|e| e == "dll" || e == "exe" || e == "drv");
        if !small || !code || file.components().count() != 1 {
            continue;
        }
        let to = system.join(file);
        if !to.exists() {
            fs::copy(&from, &to).map_err(|e| failed(&to, e))?;
        }
        taken += 1;
        if taken == count {
            break;
        }
    }
    LayerFolder::open(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_missing_an_empty_and_a_misnamed_folder_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = LayerFolder::open(&dir.path().join("nowhere"))
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("nowhere") && missing.contains("No such file"),
            "{missing}"
        );
        let empty = LayerFolder::open(dir.path()).unwrap_err().to_string();
        assert!(empty.contains("holds no file"), "{empty}");
        let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"a\xff"));
        fs::write(odd, b"x").unwrap();
        let odd = LayerFolder::open(dir.path()).unwrap_err().to_string();
        assert!(odd.contains("not UTF-8"), "{odd}");
    }

    #[test]
    fn files_below_the_folder_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("b/two"), b"22").unwrap();
        fs::write(dir.path().join("a"), b"1").unwrap();
        let layer = LayerFolder::open(dir.path()).unwrap();
        assert_eq!(layer.files, [Path::new("a"), Path::new("b/two")]);
        assert_eq!(layer.bytes, 3);
    }
}
