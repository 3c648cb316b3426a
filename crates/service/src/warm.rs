//! Warming: every file of a folder, or of several, is opened once, so that the driver scans it and
//! the first container that starts from it hits the verdict.
//!
//! It runs in a process of its own, which the driver does not exempt: what earns the verdict is
//! an ordinary open. Everything is shared and nothing is held: whoever wants to rename or delete
//! what is being warmed goes first.

use std::time::Duration;

mod host;
mod lowly;
pub mod paced;
#[cfg(unix)]
mod simulated;
#[cfg(windows)]
mod windows;

pub use host::HostTree;
pub use lowly::step_back;
#[cfg(unix)]
pub use simulated::SimulatedTree;

/// Pause after an open that gave way: whoever wanted the file may want its neighbours, too.
const GIVE_WAY: Duration = Duration::from_millis(250);

/// A tree of files that can be warmed.
pub trait Tree {
    /// Names a file or folder in it.
    type Place: Clone;

    /// What is in a folder, in the order of names. Links that lead elsewhere are left out.
    ///
    /// # Errors
    /// [`Trouble::Gone`] when it is not there any more, [`Trouble::Failed`] with the cause.
    fn list(&self, folder: &Self::Place) -> Result<Vec<Entry<Self::Place>>, Trouble>;

    /// Opens a file for reading and closes it. Gives way to whoever wants it meanwhile.
    ///
    /// # Errors
    /// Why the open did not succeed.
    fn open(&self, file: &Self::Place) -> Result<(), Trouble>;

    /// The place as an operator knows it.
    fn show(&self, place: &Self::Place) -> String;
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files whose open succeeded.
    pub warm: u64,
    /// Files and folders that went away first.
    pub gone: u64,
    /// Files that were refused because something was found in them.
    pub infected: Vec<String>,
    /// Files and folders that could not be opened, each with the cause.
    pub failed: Vec<(String, String)>,
}

impl Tally {
    /// The exit code: 1 when something was found, else 2 when something failed, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.infected.is_empty(), self.failed.is_empty()) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 0,
        }
    }

    /// What came of this is in that, too.
    pub fn add(&mut self, more: Self) {
        self.warm += more.warm;
        self.gone += more.gone;
        self.infected.extend(more.infected);
        self.failed.extend(more.failed);
    }

    fn note<T: Tree>(&mut self, tree: &T, place: &T::Place, trouble: Trouble) {
        match trouble {
            Trouble::Infected => self.infected.push(tree.show(place)),
            Trouble::Gone => self.gone += 1,
            Trouble::Failed(cause) => self.failed.push((tree.show(place), cause)),
        }
    }
}

/// One thing in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<P> {
    /// Where it is.
    pub place: P,
    /// It is a folder.
    pub is_folder: bool,
}

/// Why something could not be listed or opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It was refused because something was found in it.
    Infected,
    /// It was renamed or deleted meanwhile, or somebody wanted to.
    Gone,
    /// Anything else, in the system's words.
    Failed(String),
}

/// Why a folder cannot be warmed at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WarmError {
    /// It is not there, or is no folder, or cannot be read.
    #[error("cannot read the folder {folder}: {cause}; name a folder that this user may list")]
    Unreadable {
        /// The folder.
        folder: String,
        /// What the system said.
        cause: String,
    },
    /// There is no file in it.
    #[error("the folder {0} holds no file; name the folder of a layer")]
    Empty(String),
}

/// What came of one folder of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warmed {
    /// The files that were found in it.
    pub files: u64,
    /// What came of them.
    pub tally: Tally,
}

/// Warms `folder` and all below it. `progress` is told how many of how many files are done, once
/// before the first.
///
/// # Errors
/// The folder cannot be read, or there is no file in it.
pub fn warm<T: Tree>(
    tree: &T,
    folder: &T::Place,
    progress: impl FnMut(usize, usize),
) -> Result<Tally, WarmError> {
    let warmed = warm_all(tree, std::slice::from_ref(folder), progress)?;
    let mut whole = Tally::default();
    let files: u64 = warmed.iter().map(|it| it.files).sum();
    warmed.into_iter().for_each(|it| whole.add(it.tally));
    if files == 0 && whole.failed.is_empty() {
        return Err(WarmError::Empty(tree.show(folder)));
    }
    Ok(whole)
}

/// Warms folders one after the other, each with all below it. No file is opened before all are
/// known. `progress` is told of the files of all folders together.
///
/// # Errors
/// One of the folders cannot be read.
pub fn warm_all<T: Tree>(
    tree: &T,
    folders: &[T::Place],
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Warmed>, WarmError> {
    let mut found = Vec::with_capacity(folders.len());
    for folder in folders {
        let mut tally = Tally::default();
        let files = all_files(tree, folder, &mut tally)?;
        found.push((files, tally));
    }
    let all = found.iter().map(|(files, _)| files.len()).sum();
    let mut done = 0;
    progress(done, all);
    let warmed = found.into_iter().map(|(files, mut tally)| {
        for file in &files {
            match tree.open(file) {
                Ok(()) => tally.warm += 1,
                Err(trouble) => tally.note(tree, file, trouble),
            }
            done += 1;
            progress(done, all);
        }
        let files = files.len() as u64;
        Warmed { files, tally }
    });
    Ok(warmed.collect())
}

/// All files below a folder. There may be none: a layer can consist of folders alone.
///
/// # Errors
/// The folder cannot be read.
pub fn all_files<T: Tree>(
    tree: &T,
    root: &T::Place,
    tally: &mut Tally,
) -> Result<Vec<T::Place>, WarmError> {
    let unreadable = |trouble| WarmError::Unreadable {
        folder: tree.show(root),
        cause: match trouble {
            Trouble::Gone => "there is no such folder".to_owned(),
            Trouble::Infected => "it was refused".to_owned(),
            Trouble::Failed(cause) => cause,
        },
    };
    let mut open = tree.list(root).map_err(unreadable)?;
    open.reverse();
    let mut files = Vec::new();
    while let Some(entry) = open.pop() {
        if !entry.is_folder {
            files.push(entry.place);
            continue;
        }
        match tree.list(&entry.place) {
            Ok(inside) => open.extend(inside.into_iter().rev()),
            Err(trouble) => tally.note(tree, &entry.place, trouble),
        }
    }
    Ok(files)
}
