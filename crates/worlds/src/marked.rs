//! An engine that scenarios steer: it finds files by a marker at their beginning, takes as long as
//! it is told, and may fail on everything.

use std::sync::Arc;
use std::time::Duration;

use filterhost::machine;
use siloscan_service::engine::{Digest, Engine, EngineError, Finding, Scanner};

/// Bytes with which a file begins that the engines of scenarios may find.
pub const MARKER: &[u8] = b"MARKED";

/// One rule set of a scenario.
#[derive(Clone, Debug)]
pub struct Marked {
    digest: Digest,
    finds: bool,
    fails: bool,
    takes: Duration,
}

impl Marked {
    /// A rule set that finds nothing. Equal numbers are equal rule sets.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self {
            digest: Digest([number; 32]),
            finds: false,
            fails: false,
            takes: Duration::ZERO,
        }
    }

    /// It finds files that begin with [`MARKER`].
    #[must_use]
    pub const fn finding(mut self) -> Self {
        self.finds = true;
        self
    }

    /// It cannot look into any file.
    #[must_use]
    pub const fn failing(mut self) -> Self {
        self.fails = true;
        self
    }

    /// Each scan takes this long.
    #[must_use]
    pub const fn taking(mut self, time: Duration) -> Self {
        self.takes = time;
        self
    }

    /// To be given to the service.
    #[must_use]
    pub fn engine(self) -> Arc<dyn Engine> {
        Arc::new(self)
    }
}

impl Engine for Marked {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        Box::new(Eyes(self))
    }
}

struct Eyes<'a>(&'a Marked);

impl Scanner for Eyes<'_> {
    fn scan(&mut self, bytes: &[u8], _limit: Option<Duration>) -> Result<Finding, EngineError> {
        if !self.0.takes.is_zero() {
            machine::current().sched().sleep(self.0.takes);
        }
        if self.0.fails {
            return Err(EngineError::Failed("told to fail".to_owned()));
        }
        if self.0.finds && bytes.starts_with(MARKER) {
            return Ok(Finding::Infected {
                rule: "Marker".to_owned(),
                origin: "scenario".to_owned(),
            });
        }
        Ok(Finding::Clean)
    }
}
