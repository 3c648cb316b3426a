//! Scans at rest with the service's own engine, rules and limits. What is read and how is in
//! `siloscan_atrest`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use siloscan_atrest::{Layers, Limits, Match, Order, Place, Problem, ProblemKind, Report, Watch};

use crate::engine::{Engine, Finding, Scanner};
use crate::rules::load;
use crate::settings::Settings;

/// What one file may cost the engine: nobody waits for it, but a scan must end.
const FILE_TIME_MAX: Duration = Duration::from_secs(300);

/// What to scan and how.
pub struct Request {
    /// A folder, an image or a disk.
    pub path: PathBuf,
    /// The parents of a differencing disk, the nearest first.
    pub parents: Vec<PathBuf>,
    /// Where the bytes of placeholders lie.
    pub layers: Layers,
    /// The folder with rules. The built-in ones are always used.
    pub rules: Option<PathBuf>,
    /// Larger files are not scanned, in bytes. None is what the service has.
    pub file_bytes_max: Option<u64>,
}

/// Scans what `request` names.
pub fn scan(request: &Request, watch: &mut dyn Watch) -> Report {
    let rules: Option<&Path> = request.rules.as_deref();
    let loaded = load(rules);
    let order = Order {
        path: request.path.clone(),
        parents: request.parents.clone(),
        layers: request.layers.clone(),
        limits: Limits {
            file_bytes: request
                .file_bytes_max
                .unwrap_or(Settings::default().file_bytes_max),
            ..Limits::default()
        },
    };
    let mut eye = Eye(loaded.engine.scanner());
    let mut report = siloscan_atrest::scan(&order, &mut eye, watch);
    let folder = rules.map(|folder| folder.display().to_string());
    for text in loaded.problems {
        let place = Place::of(folder.clone().unwrap_or_default());
        report.problem(Problem::new(ProblemKind::Rules, place, text));
    }
    report
}

/// The service's scanner as the one of a scan at rest.
struct Eye<'a>(Box<dyn Scanner + 'a>);

impl siloscan_atrest::Engine for Eye<'_> {
    fn look(&mut self, bytes: &[u8]) -> Result<Option<Match>, String> {
        match self.0.scan(bytes, Some(FILE_TIME_MAX)) {
            Ok(Finding::Clean) => Ok(None),
            Ok(Finding::Infected { rule, origin }) => Ok(Some(Match { rule, origin })),
            Err(cause) => Err(cause.to_string()),
        }
    }
}
