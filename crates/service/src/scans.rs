//! Where the engine of a service runs: in worker processes, or in its own threads.

use std::sync::Arc;

use crate::engine::{Digest, Engine};
use crate::worker::Workers;

/// One rule set and how files are scanned by it.
#[derive(Clone)]
pub enum Scans {
    /// By worker processes: what a product does. An engine that crashes, hangs or is taken over
    /// costs the scan of one file.
    InWorkers(Arc<Workers>),
    /// By the threads of the service: for simulated worlds, which have no processes of their own,
    /// and for engines that are known to be harmless.
    Here(Arc<dyn Engine>),
}

impl Scans {
    /// Names the rule set.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::InWorkers(workers) => workers.digest(),
            Self::Here(engine) => engine.digest(),
        }
    }

    /// How many rules the set has, where that is known.
    #[must_use]
    pub fn rule_count(&self) -> Option<usize> {
        match self {
            Self::InWorkers(workers) => Some(workers.rule_count()),
            Self::Here(_) => None,
        }
    }

    /// Whether its engine takes a processor for as long as it scans, in a worker.
    #[must_use]
    pub fn computes(&self) -> bool {
        match self {
            Self::InWorkers(workers) => workers.computes(),
            Self::Here(_) => false,
        }
    }

    /// Whether both are one and the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::InWorkers(one), Self::InWorkers(other)) => Arc::ptr_eq(one, other),
            (Self::Here(one), Self::Here(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl From<Arc<Workers>> for Scans {
    fn from(workers: Arc<Workers>) -> Self {
        Self::InWorkers(workers)
    }
}

impl From<Arc<dyn Engine>> for Scans {
    fn from(engine: Arc<dyn Engine>) -> Self {
        Self::Here(engine)
    }
}

impl<E: Engine + 'static> From<Arc<E>> for Scans {
    fn from(engine: Arc<E>) -> Self {
        Self::Here(engine)
    }
}
