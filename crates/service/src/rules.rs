//! From a rules folder to a rule set in use, and how the set follows the folder.
//!
//! At start the good files are used and the broken ones named: some protection is better than none.
//! Later a set with anything broken in it replaces nothing: the set that runs is whole and stays.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::engine::{Engine, RuleFolder, YaraEngine, compile};
use crate::events::Event;
use crate::platform::Platform;
use crate::service::Service;

/// A rule set made from a folder, and what could not be used of it.
pub struct Loaded {
    /// The built-in rules and those of every good file.
    pub engine: Arc<YaraEngine>,
    /// What is wrong, one sentence each, with file and line where there is one.
    pub problems: Vec<String>,
}

/// Makes a rule set from the built-in rules and the files in `folder`. This never fails: without a
/// single good file the built-in rules remain.
#[must_use]
pub fn load(folder: Option<&Path>) -> Loaded {
    let mut problems = Vec::new();
    let read = folder.map(RuleFolder::read).transpose();
    let sources = match read {
        Ok(found) => {
            let found = found.unwrap_or_default();
            problems.extend(found.unreadable.iter().map(ToString::to_string));
            found.sources
        }
        Err(error) => {
            problems.push(error.to_string());
            Vec::new()
        }
    };
    let compiled = compile(&sources);
    problems.extend(compiled.broken.iter().map(|broken| match folder {
        Some(folder) => format!("{}{}{broken}", folder.display(), std::path::MAIN_SEPARATOR),
        None => broken.to_string(),
    }));
    Loaded {
        engine: Arc::new(compiled.engine),
        problems,
    }
}

/// What a folder looked like: names, sizes and change times, sorted.
type Look = Vec<(PathBuf, u64, u128)>;

/// Follows a rules folder. Call [`RuleKeeper::check`] every second or two.
pub struct RuleKeeper {
    folder: PathBuf,
    /// The folder as it was when it was last compiled.
    compiled: Look,
    /// The folder as it was at the last check: a change is acted on when it has come to rest.
    seen: Look,
}

/// What a check led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The folder is as it was, or is being changed just now.
    Unchanged,
    /// A new rule set is in use.
    Replaced,
    /// The folder changed, but the rules that run stay.
    Kept,
}

impl RuleKeeper {
    /// Follows `folder`, of which the present state is taken to be loaded.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let look = look_at(folder);
        Self {
            folder: folder.to_owned(),
            compiled: look.clone(),
            seen: look,
        }
    }

    /// Compiles the folder if it has changed since, and takes the set into use if all of it is
    /// good.
    pub fn check<P: Platform>(&mut self, service: &Service<P>) -> Checked {
        let look = look_at(&self.folder);
        let at_rest = look == self.seen;
        self.seen = look;
        if !at_rest || self.seen == self.compiled {
            return Checked::Unchanged;
        }
        self.compiled.clone_from(&self.seen);
        let loaded = load(Some(&self.folder));
        if !loaded.problems.is_empty() {
            for cause in loaded.problems {
                service.events.report(Event::BrokenRules {
                    cause: format!("{cause}. The rules that were in use stay in use"),
                });
            }
            return Checked::Kept;
        }
        let rules = loaded.engine.rule_count();
        let digest = loaded.engine.digest().to_string();
        service.use_engine(loaded.engine);
        service.events.report(Event::Rules { digest, rules });
        Checked::Replaced
    }
}

fn look_at(folder: &Path) -> Look {
    let mut look = Vec::new();
    // What cannot be listed looks empty; compiling it then says why.
    let _ = collect(folder, 0, &mut look);
    look.sort();
    look
}

fn collect(folder: &Path, depth: usize, look: &mut Look) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let about = fs::metadata(&path)?;
        if entry.file_type()?.is_dir() {
            if depth < crate::engine::RULE_FOLDER_DEPTH_MAX {
                let _ = collect(&path, depth + 1, look);
            }
        } else if look.len() <= crate::engine::RULE_FILES_MAX {
            let changed = about
                .modified()
                .ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .unwrap_or_default();
            look.push((path, about.len(), changed.as_nanos()));
        }
    }
    Ok(())
}
