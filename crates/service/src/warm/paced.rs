//! Warming at somebody else's pace: one file for each line that comes, one answer for each file.
//!
//! This is the half of a proactive scan that opens files. It ends when nothing more comes, so it
//! does not outlive whoever started it.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{HostTree, Tally, Tree, Trouble, all_files};

/// What the opening process says, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Word {
    /// All files are known, and none was opened yet.
    Begun {
        /// How many there are.
        files: u64,
    },
    /// A file's open succeeded.
    Opened {
        /// The file, where its name is text: to go on behind it.
        at: Option<String>,
        /// Its size.
        bytes: u64,
    },
    /// It was refused because something was found in it.
    Infected {
        /// As above.
        at: Option<String>,
        /// The file, for people.
        file: String,
    },
    /// A file or folder went away first, or somebody wanted it.
    Gone {
        /// As above.
        at: Option<String>,
    },
    /// A file or folder could not be opened.
    Failed {
        /// As above.
        at: Option<String>,
        /// Which, for people.
        file: String,
        /// Why.
        cause: String,
    },
    /// No file is left.
    Ended {
        /// Files whose open succeeded.
        opened: u64,
        /// Files that were refused.
        infected: u64,
        /// Files and folders that went away first.
        gone: u64,
        /// Files and folders that could not be opened.
        failed: u64,
    },
}

impl Word {
    /// What came of an open.
    #[must_use]
    pub fn of(opened: Result<u64, Trouble>, at: Option<String>, file: String) -> Self {
        match opened {
            Ok(bytes) => Self::Opened { at, bytes },
            Err(Trouble::Infected) => Self::Infected { at, file },
            Err(Trouble::Gone) => Self::Gone { at },
            Err(Trouble::Failed(cause)) => Self::Failed { at, file, cause },
        }
    }
}

/// Where to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Files up to this one were opened before.
    pub after: Option<PathBuf>,
    /// So many files behind that one are answered "failed" without an open: they ended whoever
    /// opened them.
    pub pass_over: u32,
}

/// Whoever asked is not there any more.
#[derive(Debug, thiserror::Error)]
#[error("whoever asked does not listen any more: {0}")]
pub struct Unheard(#[from] io::Error);

/// Opens the files below `folder` in the order of their names, one for each line of `input`.
///
/// # Errors
/// Nobody listens.
pub fn paced(
    folder: &Path,
    start: &Start,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<Tally, Unheard> {
    let mut tally = Tally::default();
    let files = files(folder, start, &mut tally, output)?;
    say(
        output,
        &Word::Begun {
            files: files.len() as u64,
        },
    )?;
    let mut line = Vec::new();
    for (number, file) in files.iter().enumerate() {
        line.clear();
        // More than a few bytes are no line of ours; the next look takes the rest.
        if io::Read::take(&mut *input, 64).read_until(b'\n', &mut line)? == 0 {
            return Ok(tally);
        }
        let opened = if number < start.pass_over as usize {
            let cause = "whoever opened it ended badly, twice".to_owned();
            Err(Trouble::Failed(cause))
        } else {
            HostTree.open(file).map(|()| bytes(file))
        };
        match &opened {
            Ok(_) => tally.warm += 1,
            Err(trouble) => tally.note(&HostTree, file, trouble.clone()),
        }
        let at = file.to_str().map(str::to_owned);
        say(output, &Word::of(opened, at, HostTree.show(file)))?;
    }
    let (opened, gone) = (tally.warm, tally.gone);
    let (infected, failed) = (tally.infected.len() as u64, tally.failed.len() as u64);
    let ended = Word::Ended {
        opened,
        infected,
        gone,
        failed,
    };
    say(output, &ended)?;
    Ok(tally)
}

/// The files behind the start, in the order in which paths compare, which is that of a walk.
fn files(
    folder: &Path,
    start: &Start,
    tally: &mut Tally,
    output: &mut dyn Write,
) -> Result<Vec<PathBuf>, Unheard> {
    let before = tally.clone();
    let there = std::fs::symlink_metadata(folder);
    let mut files = match there {
        // A layer may be removed at any time.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            tally.gone += 1;
            Vec::new()
        }
        _ => all_files(&HostTree, &folder.to_owned(), tally).unwrap_or_else(|cause| {
            tally
                .failed
                .push((folder.display().to_string(), cause.to_string()));
            Vec::new()
        }),
    };
    // Folders that could not be read are told before the first file.
    for (file, cause) in tally.failed.iter().skip(before.failed.len()) {
        let (file, cause, at) = (file.clone(), cause.clone(), None);
        say(output, &Word::Failed { at, file, cause })?;
    }
    for _ in before.gone..tally.gone {
        say(output, &Word::Gone { at: None })?;
    }
    if let Some(after) = &start.after {
        files.retain(|file| file > after);
    }
    Ok(files)
}

fn bytes(file: &Path) -> u64 {
    // One that went meanwhile costs nobody anything.
    std::fs::symlink_metadata(file).map_or(0, |there| there.len())
}

fn say(output: &mut dyn Write, word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word).map_err(io::Error::other)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
