//! The one loop that all files go through: it bounds memory, asks the engine and keeps the report.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits::{ARCHIVE_NAMES, Limits};
use crate::package::{Hit, Miss, Packages};
use crate::placeholder::Seen;
use crate::report::{Finding, Place, Problem, ProblemKind, Report, Unseen};
use crate::source::{Found, Sink};

/// The buffer is given back to the system after a file larger than this, in bytes.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Its name.
    pub rule: String,
    /// The file that it came from.
    pub origin: String,
}

/// What looks at bytes.
pub trait Engine {
    /// What `bytes` are.
    ///
    /// # Errors
    /// A sentence on why there is no verdict.
    fn look(&mut self, bytes: &[u8]) -> Result<Option<Match>, String>;
}

/// Who wants to know how far a scan is.
pub trait Watch {
    /// So much more is there to do than was known.
    fn total(&mut self, steps: u64);
    /// So much more is done.
    fn moved(&mut self, steps: u64);
    /// This file is looked at now.
    fn at(&mut self, path: &str);
}

/// Takes files from a source.
pub struct Scanner<'a> {
    engine: &'a mut dyn Engine,
    watch: &'a mut dyn Watch,
    limits: Limits,
    report: &'a mut Report,
    bytes: Vec<u8>,
    packages: Packages,
    /// Files of layers that were scanned. None if they are not to be.
    of_layers: Option<HashSet<PathBuf>>,
}

impl<'a> Scanner<'a> {
    /// A scanner that writes into `report`.
    pub fn new(
        engine: &'a mut dyn Engine,
        watch: &'a mut dyn Watch,
        limits: Limits,
        report: &'a mut Report,
    ) -> Self {
        Self {
            engine,
            watch,
            limits,
            report,
            bytes: Vec::new(),
            packages: Packages::default(),
            of_layers: None,
        }
    }

    /// Looks for the bytes of placeholders in `packages`, and scans them there if `scan` says so.
    pub fn with(mut self, packages: Packages, scan: bool) -> Self {
        self.packages = packages;
        self.of_layers = scan.then(HashSet::new);
        self
    }

    /// Scans the file that a placeholder stands for, if it was not yet.
    fn of_layer(&mut self, seen: &Seen, found: &Result<Hit, Miss>) {
        let Some(done) = &mut self.of_layers else {
            return;
        };
        let place = seen.place.clone();
        let text = match (&seen.target, found) {
            (Ok(_), Ok(hit)) if done.contains(&hit.file) => return,
            (Ok(_), Ok(_)) if done.len() >= ARCHIVE_NAMES => {
                let text = format!("more than {ARCHIVE_NAMES} files of layers were scanned");
                return self.problem(Problem::new(ProblemKind::Limit, place, text));
            }
            (Ok(_), Ok(hit)) => {
                done.insert(hit.file.clone());
                let layer = match hit.layer {
                    Some(layer) => format!("layer {layer}"),
                    None => hit.folder.display().to_string(),
                };
                return self.package_file(&layer, &hit.file);
            }
            (Err(unread), _) => {
                format!("its layer could not be read from it ({})", unread.name())
            }
            (Ok(target), Err(Miss::NotThere)) => {
                let name = target.parts.join("\\");
                format!(
                    "its bytes are {name} of layer {}, and not there",
                    target.layer
                )
            }
            (Ok(_), Err(Miss::Unreadable(cause))) => {
                return self.problem(Problem::new(ProblemKind::Unreadable, place, cause));
            }
            (Ok(target), Err(Miss::FolderUnknown)) => {
                format!(
                    "its bytes are in layer {}: give its folder with --layer",
                    target.layer
                )
            }
        };
        self.problem(Problem::new(ProblemKind::Missing, place, text));
    }

    fn package_file(&mut self, layer: &str, path: &Path) {
        let place = Place::within(layer, path.display().to_string());
        match File::open(path).and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((bytes, mut file)) => self.file(&Found { place, bytes }, &mut file),
            Err(cause) => self.problem(Problem {
                kind: ProblemKind::Unreadable,
                ..Problem::io(place, &cause)
            }),
        }
    }

    fn too_large(&mut self, found: &Found) {
        let text = format!(
            "it is larger than {} bytes and was not scanned",
            self.limits.file_bytes
        );
        let place = found.place.clone();
        self.problem(Problem::new(ProblemKind::TooLarge, place, text));
    }
}

impl Sink for Scanner<'_> {
    fn file(&mut self, found: &Found, reader: &mut dyn Read) {
        self.watch.at(&found.place.path);
        if found.bytes > self.limits.file_bytes {
            return self.too_large(found);
        }
        self.bytes.clear();
        // The size that a container tells is believed for no more than the limit, and the buffer
        // grows with what is really there.
        let read = reader
            .take(self.limits.file_bytes.saturating_add(1))
            .read_to_end(&mut self.bytes);
        if self.bytes.len() as u64 > self.limits.file_bytes {
            return self.too_large(found);
        }
        let count = self.bytes.len() as u64;
        if let Err(cause) = read {
            self.problem(Problem::io(found.place.clone(), &cause));
        } else if count < found.bytes {
            let text = format!("only {count} of its {} bytes are there", found.bytes);
            let place = found.place.clone();
            self.problem(Problem::new(ProblemKind::Truncated, place, text));
        }
        self.report.files += 1;
        self.report.bytes += self.bytes.len() as u64;
        match self.engine.look(&self.bytes) {
            Ok(None) => {}
            Ok(Some(matched)) => self.report.finding(Finding {
                place: found.place.clone(),
                rule: matched.rule,
                origin: matched.origin,
                hidden: false,
                images: Vec::new(),
                hidden_in: Vec::new(),
                more_images: 0,
            }),
            Err(text) => {
                let place = found.place.clone();
                self.problem(Problem::new(ProblemKind::Engine, place, text));
            }
        }
        if self.bytes.capacity() > BUFFER_BYTES_KEPT {
            self.bytes = Vec::new();
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.report.problem(problem);
    }

    fn placeholder(&mut self, seen: Seen) {
        let found = match &seen.target {
            Ok(target) => self.packages.find(target),
            Err(_) => Err(Miss::FolderUnknown),
        };
        self.of_layer(&seen, &found);
        self.report.placeholder(seen, &found);
    }

    fn deletion(&mut self) {
        self.report.deletions += 1;
    }

    fn total(&mut self, steps: u64) {
        self.watch.total(steps);
    }

    fn moved(&mut self, steps: u64) {
        self.watch.moved(steps);
    }

    fn judge(&mut self, layer: &str, unseen: &mut dyn FnMut(&str) -> Unseen) {
        let of_layer = |finding: &&mut Finding| finding.place.within.as_deref() == Some(layer);
        for finding in self.report.findings.iter_mut().filter(of_layer) {
            let told = unseen(&finding.place.path);
            finding.hidden = told.hidden;
            finding.more_images = told.more_images;
            finding.images = told.images;
            finding.hidden_in = told.hidden_in;
        }
    }
}
