//! A scan engine that a scenario can hold: scans wait at a gate until it is opened, and the engine
//! keeps its own account of what ran beside what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use filterhost::machine;
use parking_lot::Mutex;
use siloscan_service::engine::{Digest, Engine, EngineError, Finding, Scanner};
use siloscan_service::rules;

/// What bytes begin with that a gate of [`Gate::choosing`] holds.
pub const HOLD: &[u8] = b"hold";

/// The gate, in front of the built-in rules.
pub struct Gate {
    rules: Arc<dyn Engine>,
    /// What the bytes begin with that are held.
    holds: &'static [u8],
    /// How long each scan takes, apart from its wait at the gate.
    takes: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: bool,
    failing: bool,
    /// Scans that wait at the gate now.
    waiting: usize,
    /// Scans that run now, by the bytes that they look at.
    running: BTreeMap<Vec<u8>, usize>,
    /// The most that ever ran at once over the same bytes.
    most: usize,
    /// Scans that began, by the bytes that they look at.
    begun: BTreeMap<Vec<u8>, usize>,
}

impl Gate {
    fn new(open: bool, holds: &'static [u8], takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            rules: rules::load(None).engine,
            holds,
            takes,
            state: Mutex::new(State {
                open,
                ..State::default()
            }),
        })
    }

    /// A gate that is closed: scans begin and do not end.
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Self::new(false, b"", Duration::ZERO)
    }

    /// A gate that is open: scans end as they do anywhere.
    #[must_use]
    pub fn opened() -> Arc<Self> {
        Self::taking(Duration::ZERO)
    }

    /// A gate that is open, behind which each scan takes this long.
    #[must_use]
    pub fn taking(takes: Duration) -> Arc<Self> {
        Self::new(true, b"", takes)
    }

    /// A gate that is open, and when it is closed holds nothing but bytes that begin with
    /// [`HOLD`].
    #[must_use]
    pub fn choosing() -> Arc<Self> {
        Self::new(true, HOLD, Duration::ZERO)
    }

    /// Lets every scan go on, those that wait and those that come. On a simulated thread.
    pub fn open(&self) {
        self.state.lock().open = true;
        machine::current().sched().notify();
    }

    /// The same, and waits until those that waited have gone.
    pub fn empty(&self) {
        self.open();
        let gone = || (self.state.lock().waiting == 0).then_some(());
        // Without a deadline the wait ends when the last one has gone.
        let _gone = machine::current()
            .sched()
            .wait_until("an empty gate", None, gone);
    }

    /// From now on scans that begin wait again.
    pub fn close(&self) {
        self.state.lock().open = false;
    }

    /// From now on every scan fails, or none any more.
    pub fn fail(&self, failing: bool) {
        self.state.lock().failing = failing;
    }

    /// Waits until `count` scans are at the gate; false when they do not come within a minute of
    /// the machine's time.
    #[must_use]
    pub fn holds(&self, count: usize) -> bool {
        let m = machine::current();
        let there = || (self.state.lock().waiting >= count).then_some(());
        let deadline = m.sched().now().after(Duration::from_secs(60));
        m.sched()
            .wait_until("scans at the gate", Some(deadline), there)
            .is_ok()
    }

    /// Waits until `count` scans are at the gate.
    ///
    /// # Panics
    /// When they do not come.
    pub fn await_held(&self, count: usize) {
        assert!(self.holds(count), "{count} scans come to the gate");
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

    /// Waits while the gate is closed.
    fn wait(&self) {
        let m = machine::current();
        self.state.lock().waiting += 1;
        m.sched().notify();
        let opened = || self.state.lock().open.then_some(());
        // Without a deadline the wait cannot time out.
        let _opened = m.sched().wait_until("an engine at the gate", None, opened);
        self.state.lock().waiting -= 1;
        m.sched().notify();
    }
}

impl Engine for Gate {
    fn digest(&self) -> Digest {
        self.rules.digest()
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        Box::new(AtTheGate(self, self.rules.scanner()))
    }
}

struct AtTheGate<'a>(&'a Gate, Box<dyn Scanner + 'a>);

impl Scanner for AtTheGate<'_> {
    fn scan(&mut self, bytes: &[u8], limit: Option<Duration>) -> Result<Finding, EngineError> {
        let Self(gate, rules) = self;
        if gate.state.lock().failing {
            return Err(EngineError::Failed("told to".to_owned()));
        }
        gate.enter(bytes);
        if bytes.starts_with(gate.holds) {
            gate.wait();
        }
        if !gate.takes.is_zero() {
            machine::current().sched().sleep(gate.takes);
        }
        gate.leave(bytes);
        rules.scan(bytes, limit)
    }
}
