//! A scan engine that a scenario can hold: scans wait at a gate until it is opened, and the engine
//! keeps its own account of what ran beside what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use filterhost::machine;
use parking_lot::Mutex;
use siloscan_service::engine::{Digest, Engine, EngineError, Finding, Scanner, eicar_test_file};

/// The digest of the gate's rule set.
pub const DIGEST: Digest = Digest([0x5a; 32]);

/// The engine. It finds EICAR at the start of a file, and nothing else.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    /// How long each scan takes, apart from its wait at the gate.
    takes: Duration,
}

#[derive(Default)]
struct State {
    open: bool,
    /// Scans that run now, by the bytes that they look at.
    running: BTreeMap<Vec<u8>, usize>,
    /// The most that ever ran at once over the same bytes.
    most: usize,
    /// Scans that began, by the bytes that they look at.
    begun: BTreeMap<Vec<u8>, usize>,
}

impl Gate {
    /// A gate that is closed: scans begin and do not end.
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Arc::default()
    }

    /// A gate that is open: scans end as they do anywhere.
    #[must_use]
    pub fn opened() -> Arc<Self> {
        Self::taking(Duration::ZERO)
    }

    /// A gate that is open, behind which each scan takes this long.
    #[must_use]
    pub fn taking(takes: Duration) -> Arc<Self> {
        let gate = Self {
            takes,
            ..Self::default()
        };
        gate.state.lock().open = true;
        Arc::new(gate)
    }

    /// Lets every scan go on, those that wait and those that come. On a simulated thread.
    pub fn open(&self) {
        self.state.lock().open = true;
        machine::current().sched().notify();
    }

    /// From now on scans that begin wait again.
    pub fn close(&self) {
        self.state.lock().open = false;
    }

    /// Waits until `count` scans are at the gate.
    ///
    /// # Panics
    /// When they do not come within a minute of the machine's time.
    pub fn await_running(&self, count: usize) {
        let m = machine::current();
        let there = || (self.running() >= count).then_some(());
        let deadline = m.sched().now().after(Duration::from_secs(60));
        let waited = m
            .sched()
            .wait_until("scans at the gate", Some(deadline), there);
        assert!(waited.is_ok(), "{} of {count} scans began", self.running());
    }

    /// Scans that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.state.lock().running.values().sum()
    }

    /// Scans of exactly these bytes that ever began.
    #[must_use]
    pub fn begun(&self, bytes: &[u8]) -> usize {
        self.state.lock().begun.get(bytes).copied().unwrap_or(0)
    }

    /// All scans that ever began.
    #[must_use]
    pub fn all_begun(&self) -> usize {
        self.state.lock().begun.values().sum()
    }

    /// The most scans that ever ran at once over the same bytes.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.state.lock().most
    }

    fn enter(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        *state.begun.entry(bytes.to_vec()).or_default() += 1;
        let running = {
            let running = state.running.entry(bytes.to_vec()).or_default();
            *running += 1;
            *running
        };
        state.most = state.most.max(running);
    }

    fn leave(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if let Some(running) = state.running.get_mut(bytes) {
            *running -= 1;
        }
    }
}

impl Engine for Gate {
    fn digest(&self) -> Digest {
        DIGEST
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        Box::new(AtTheGate(self))
    }
}

struct AtTheGate<'a>(&'a Gate);

impl Scanner for AtTheGate<'_> {
    fn scan(&mut self, bytes: &[u8], _limit: Option<Duration>) -> Result<Finding, EngineError> {
        let Self(gate) = self;
        let m = machine::current();
        gate.enter(bytes);
        m.sched().notify();
        let opened = || gate.state.lock().open.then_some(());
        // Without a deadline the wait cannot time out.
        let _opened = m.sched().wait_until("an engine at the gate", None, opened);
        if !gate.takes.is_zero() {
            m.sched().sleep(gate.takes);
        }
        gate.leave(bytes);
        if !bytes.starts_with(&eicar_test_file()) {
            return Ok(Finding::Clean);
        }
        Ok(Finding::Infected {
            rule: "EICAR".to_owned(),
            origin: "gate".to_owned(),
        })
    }
}
