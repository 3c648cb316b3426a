//! A folder in the OCI image layout. Links in it are not followed out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::limits::{ALL_JSON_BYTES, ARCHIVE_NAMES, FOLDER_DEPTH, JSON_BYTES};
use crate::meter::Refused;
use crate::report::{Kind, Place, Problem, ProblemKind};

use super::{Store, Visit};

/// A layout.
pub struct Layout {
    root: PathBuf,
    /// The files below the root whose names are no text.
    odd: BTreeMap<String, PathBuf>,
    /// Bytes of papers that may still be read.
    room: u64,
}

impl Layout {
    /// The layout in the folder `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            odd: BTreeMap::new(),
            room: ALL_JSON_BYTES,
        }
    }

    /// The path of a file. A name that leads elsewhere is refused before the system sees it: it may
    /// be that of another machine.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if let Some(path) = self.odd.get(name) {
            return Ok(path.clone());
        }
        let mut parts = Path::new(name).components();
        if name.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            let text = "the name leads out of the layout and is not followed";
            return Err(Refused::error(ProblemKind::Unsupported, text));
        }
        Ok(self.root.join(name))
    }

    /// Adds a file to `all`. Names that are no text can be alike as text.
    fn keep(&mut self, path: PathBuf, mut name: String, all: &mut BTreeSet<String>) {
        if path != self.root.join(&name) {
            while self.odd.contains_key(&name) || all.contains(&name) {
                name.push('_');
            }
            self.odd.insert(name.clone(), path);
        }
        all.insert(name);
    }

    /// Opens a file that lies below the root, also after all links on its way are followed.
    fn file(&self, name: &str) -> io::Result<(File, u64)> {
        let path = fs::canonicalize(self.path(name)?)?;
        if !path.starts_with(&self.root) {
            let text = "a link leads out of the layout and is not followed";
            return Err(Refused::error(ProblemKind::Unsupported, text));
        }
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }
}

/// The entries of a folder.
fn below(folder: &Path) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    let entries = fs::read_dir(folder)?.take(ARCHIVE_NAMES + 1);
    let about = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.path(), entry.file_type()?))
    };
    entries.map(about).collect()
}

impl Store for Layout {
    fn kind(&self) -> Kind {
        Kind::OciLayout
    }

    fn open(&mut self) -> Result<Vec<Problem>, io::Error> {
        self.root = fs::canonicalize(&self.root)?;
        Ok(Vec::new())
    }

    fn small(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let (file, _) = self.file(name)?;
        let mut bytes = Vec::new();
        file.take(JSON_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > JSON_BYTES {
            let text = format!("it has more than {JSON_BYTES} bytes");
            return Err(Refused::error(ProblemKind::Limit, text));
        }
        let Some(room) = self.room.checked_sub(bytes.len() as u64) else {
            let text = format!("the papers have more than {ALL_JSON_BYTES} bytes");
            return Err(Refused::error(ProblemKind::Limit, text));
        };
        self.room = room;
        Ok(bytes)
    }

    fn bytes(&mut self, name: &str) -> Option<u64> {
        let about = fs::symlink_metadata(self.path(name).ok()?).ok()?;
        Some(about.len())
    }

    fn all(&mut self) -> (BTreeSet<String>, Vec<Problem>) {
        let (mut all, mut problems) = (BTreeSet::new(), Vec::new());
        let mut waiting = vec![(self.root.clone(), String::new(), 0)];
        while let Some((folder, name, depth)) = waiting.pop() {
            let below = match below(&folder) {
                Ok(below) => below,
                Err(cause) => {
                    problems.push(Problem::io(Place::of(name), &cause));
                    continue;
                }
            };
            for (path, kind) in below {
                let last = path.file_name().unwrap_or_default();
                let name = match name.as_str() {
                    "" => last.to_string_lossy().into_owned(),
                    folder => format!("{folder}/{}", last.to_string_lossy()),
                };
                if all.len() >= ARCHIVE_NAMES || depth > FOLDER_DEPTH {
                    let text = "it has too many files, or folders nested too deep";
                    problems.push(Problem::new(ProblemKind::Limit, Place::of(name), text));
                    return (all, problems);
                }
                if kind.is_dir() {
                    waiting.push((path, name, depth + 1));
                } else if kind.is_file() {
                    self.keep(path, name, &mut all);
                }
            }
        }
        (all, problems)
    }

    fn visit(&mut self, wanted: &BTreeSet<String>, visit: &mut Visit<'_>) -> io::Result<()> {
        for name in wanted {
            match self.file(name) {
                Ok((mut file, _)) => visit(name, Ok(&mut file)),
                Err(cause) => visit(name, Err(cause)),
            }
        }
        Ok(())
    }
}
