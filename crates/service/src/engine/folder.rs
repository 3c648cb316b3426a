//! Reads a folder of rules, bounded and in an order that depends on the names alone.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// At most so many rule files are read from one folder.
pub const RULE_FILES_MAX: usize = 20_000;
/// A rule file may have at most so many bytes.
pub const RULE_FILE_BYTES_MAX: u64 = 32 << 20;
/// Folders below folders are followed to this depth.
pub const RULE_FOLDER_DEPTH_MAX: usize = 16;

/// The text of one rule file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleSource {
    /// Name below the rules folder, with `/` between the parts.
    pub name: String,
    /// The bytes of the file. The compiler complains if they are not UTF-8.
    pub text: Vec<u8>,
}

/// Why a rules folder or a file in it could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder itself cannot be read.
    #[error(
        "cannot read the rules folder {}: {cause}. Create it, or name another one with --rules",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// One file cannot be read; the others can.
    #[error("cannot read the rule file {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There are more files than the service is willing to read.
    #[error(
        "the rules folder {} holds more than {RULE_FILES_MAX} rule files; join some of them",
        path.display()
    )]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

/// What was found in a rules folder.
#[derive(Debug, Default)]
pub struct RuleFolder {
    /// All files that could be read, sorted by name.
    pub sources: Vec<RuleSource>,
    /// Files and subfolders that could not be read.
    pub unreadable: Vec<FolderError>,
}

impl RuleFolder {
    /// Reads every `.yar` and `.yara` file in `folder` and below it. Links to folders are not
    /// followed.
    ///
    /// # Errors
    /// When the folder itself cannot be listed or holds too many files. A single file that cannot
    /// be read is reported in [`RuleFolder::unreadable`] and the others are still returned.
    pub fn read(folder: &Path) -> Result<Self, FolderError> {
        let mut found = Self::default();
        let mut files = Vec::new();
        list(folder, "", 0, &mut files, &mut found.unreadable).map_err(|cause| {
            FolderError::Folder {
                path: folder.to_owned(),
                cause,
            }
        })?;
        if files.len() > RULE_FILES_MAX {
            return Err(FolderError::TooMany {
                path: folder.to_owned(),
            });
        }
        files.sort();
        for (name, path) in files {
            match read_bounded(&path) {
                Ok(text) => found.sources.push(RuleSource { name, text }),
                Err(cause) => found.unreadable.push(FolderError::File { path, cause }),
            }
        }
        Ok(found)
    }
}

/// What a folder looks like: names, sizes and change times of its files, a line each.
pub(super) fn look(folder: &Path) -> String {
    let mut lines = Vec::new();
    // What cannot be listed looks empty; reading it then says why.
    let _ = look_below(folder, 0, &mut lines);
    lines.sort();
    lines.concat()
}

fn look_below(folder: &Path, depth: usize, lines: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if depth < RULE_FOLDER_DEPTH_MAX {
                let _ = look_below(&path, depth + 1, lines);
            }
        } else if lines.len() <= RULE_FILES_MAX {
            // A link whose target is gone has neither size nor time, which is a look as well.
            let about = fs::metadata(&path).ok();
            let size = about.as_ref().map_or(0, fs::Metadata::len);
            let changed = about.and_then(|about| about.modified().ok());
            let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let mut line = String::new();
            let nanos = changed.unwrap_or_default().as_nanos();
            // Writing to a string cannot fail.
            let _ = writeln!(line, "{} {size} {nanos}", path.display());
            lines.push(line);
        }
    }
    Ok(())
}

fn list(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<(String, PathBuf)>,
    unreadable: &mut Vec<FolderError>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let below = if depth >= RULE_FOLDER_DEPTH_MAX {
                Err(io::Error::other("folders are nested too deeply"))
            } else {
                list(&path, &format!("{name}/"), depth + 1, files, unreadable)
            };
            if let Err(cause) = below {
                unreadable.push(FolderError::Folder { path, cause });
            }
        } else if is_rule_file(&path) {
            files.push((name, path));
            if files.len() > RULE_FILES_MAX {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn is_rule_file(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ext| ext.eq_ignore_ascii_case("yar") || ext.eq_ignore_ascii_case("yara"))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(RULE_FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > RULE_FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is larger than {RULE_FILE_BYTES_MAX} bytes; split it"
        )));
    }
    Ok(text)
}
