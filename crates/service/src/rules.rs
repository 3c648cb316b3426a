//! From a rules folder to a rule set in use, and how the set follows the folder.
//!
//! At start the good files are used and the broken ones named: some protection is better than none.
//! Later a set with anything broken in it replaces nothing: the set that runs is whole and stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{EngineKind, RuleFolder, YaraEngine, compile};
use crate::events::Event;
use crate::platform::Platform;
use crate::service::Service;
use crate::worker::{WorkerSettings, Workers};

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

/// Follows the signatures of an engine. Call [`RuleKeeper::check`] every second or two.
pub struct RuleKeeper {
    kind: Arc<dyn EngineKind>,
    folder: Option<PathBuf>,
    workers: WorkerSettings,
    /// What the signatures looked like when they were last packed; nothing where they are to be
    /// packed anew.
    packed: Option<String>,
    /// Workers are to be started anew even for the signatures in use.
    anew: bool,
    /// What they looked like at the last check: a change is acted on when it has come to rest.
    seen: String,
    retry: Retry,
}

/// What a check led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The signatures are as they were, or are being changed just now.
    Unchanged,
    /// A new rule set is in use.
    Replaced,
    /// Something changed, but the rules that run stay.
    Kept,
}

impl RuleKeeper {
    /// Follows the signatures of `kind` in `folder`, of which the present state is taken to be
    /// loaded. New sets get workers by `workers`.
    #[must_use]
    pub fn new(kind: Arc<dyn EngineKind>, folder: Option<&Path>, workers: WorkerSettings) -> Self {
        let look = kind.look(folder);
        Self {
            kind,
            folder: folder.map(Path::to_owned),
            workers,
            packed: Some(look.clone()),
            anew: false,
            seen: look,
            retry: Retry::default(),
        }
    }

    /// What new sets get workers by.
    pub(crate) fn workers(&self) -> &WorkerSettings {
        &self.workers
    }

    /// Follows `folder` from now on, with workers by `workers`. What runs stays until a check has
    /// put the new set in its place.
    pub fn follow(&mut self, folder: Option<&Path>, workers: WorkerSettings) {
        self.folder = folder.map(Path::to_owned);
        self.anew |= self.workers != workers;
        self.workers = workers;
        self.packed = None;
        self.retry = Retry::default();
    }

    /// Reads the signatures if they have changed since, and takes them into use if all of them are
    /// good. Workers of the new set are started beside those of the old one, which end when their
    /// last scan has: no scan is lost, and none is done by a mixture.
    pub fn check<P: Platform>(&mut self, service: &Service<P>) -> Checked {
        let folder = self.folder.as_deref();
        let look = self.kind.look(folder);
        let at_rest = look == self.seen;
        self.seen = look;
        let packed = self.packed.as_ref() == Some(&self.seen);
        if !at_rest || (packed && !self.retry.is_due()) {
            return Checked::Unchanged;
        }
        let mut packed = self.kind.pack(folder);
        if self.kind.look(folder) != self.seen {
            // It changed while it was read: half of it may be of yesterday.
            return Checked::Unchanged;
        }
        if self.packed.replace(self.seen.clone()).as_ref() != Some(&self.seen) {
            // What was to be tried again is not there any more.
            self.retry = Retry::default();
        }
        let is_same = packed.digest == service.scans().digest();
        // New workers for what runs: what is left out of it was left out before.
        let told_before = is_same && self.anew;
        if !packed.problems.is_empty() && !told_before {
            return kept(service, std::mem::take(&mut packed.problems));
        }
        if is_same && !self.anew {
            return Checked::Unchanged;
        }
        let (digest, rules) = (packed.digest.to_string(), packed.rules);
        match Workers::start(packed, self.workers.clone()) {
            Ok(workers) => {
                self.retry = Retry::default();
                self.anew = false;
                service.use_engine(workers);
                service.events.report(Event::Rules { digest, rules });
                Checked::Replaced
            }
            Err(error) => {
                // The signatures are good; what was missing, such as memory, may come back.
                self.retry.put_off();
                kept(service, vec![error.to_string()])
            }
        }
    }
}

/// When workers that could not be started are tried again.
#[derive(Debug, Default)]
struct Retry {
    at: Option<Instant>,
    wait: Duration,
}

impl Retry {
    const FIRST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(600);

    fn is_due(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// Each time later than the last.
    fn put_off(&mut self) {
        self.wait = (self.wait * 2).clamp(Self::FIRST, Self::LONGEST);
        self.at = Some(Instant::now() + self.wait);
    }
}

fn kept<P: Platform>(service: &Service<P>, problems: Vec<String>) -> Checked {
    for cause in problems {
        service.events.report(Event::BrokenRules {
            cause: format!("{cause}. The rules that were in use stay in use"),
        });
    }
    Checked::Kept
}
