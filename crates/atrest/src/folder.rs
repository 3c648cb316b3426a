//! A folder and everything below it, or one file. Links are not followed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::limits::FOLDER_DEPTH;
use crate::report::{Kind, Place, Problem, ProblemKind};
use crate::source::{Found, Sink, Source};

/// A folder or a file.
pub struct Folder {
    path: PathBuf,
    is_folder: bool,
}

impl Folder {
    /// The folder or file at `path`. A link is followed here, and only here: it is what was asked
    /// for.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            is_folder: path.is_dir(),
        }
    }
}

impl Source for Folder {
    fn kind(&self) -> Kind {
        if self.is_folder {
            Kind::Folder
        } else {
            Kind::File
        }
    }

    fn walk(&mut self, sink: &mut dyn Sink) {
        if !self.is_folder {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            return file(&self.path, &name, sink);
        }
        // Folders yet to be listed, with their names below the given one.
        let mut waiting = vec![(self.path.clone(), String::new(), 0)];
        while let Some((folder, name, depth)) = waiting.pop() {
            if depth > FOLDER_DEPTH {
                let text = format!("folders are nested more than {FOLDER_DEPTH} deep");
                sink.problem(Problem::new(ProblemKind::Limit, Place::of(name), text));
                continue;
            }
            let mut below = Vec::new();
            match sorted(&folder, &mut |cause| {
                sink.problem(Problem::io(Place::of(&name), &cause));
            }) {
                Ok(entries) => {
                    for (path, kind) in entries {
                        let last = path.file_name().unwrap_or_default().to_string_lossy();
                        let name = join(&name, &last);
                        if kind.is_dir() {
                            below.push((path, name, depth + 1));
                        } else if kind.is_file() {
                            file(&path, &name, sink);
                        }
                    }
                }
                Err(cause) => sink.problem(Problem::io(Place::of(&name), &cause)),
            }
            waiting.extend(below.into_iter().rev());
        }
    }
}

/// The entries of a folder in the order of their names, so that two scans report alike.
fn sorted(
    folder: &Path,
    failed: &mut dyn FnMut(io::Error),
) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
            Ok(entry) => entries.push(entry),
            Err(cause) => failed(cause),
        }
    }
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(entries)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

fn file(path: &Path, name: &str, sink: &mut dyn Sink) {
    sink.total(1);
    let place = Place::of(name);
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    match opened {
        Ok((bytes, mut opened)) => sink.file(&Found { place, bytes }, &mut opened),
        Err(cause) => sink.problem(Problem {
            kind: ProblemKind::Unreadable,
            ..Problem::io(place, &cause)
        }),
    }
    sink.moved(1);
}
