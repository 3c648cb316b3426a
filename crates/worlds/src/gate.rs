//! An engine that can be held in mid-scan, so that a test can do something meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use filterhost::Machine;
use siloscan_service::engine::{Digest, Engine, EngineError, Finding, Scanner};

/// An engine in front of another one. While it is shut, every scan of bytes that begin with
/// `hold` waits; others pass.
pub struct Gate {
    m: Arc<Machine>,
    inner: Arc<dyn Engine>,
    shut: AtomicBool,
    failing: AtomicBool,
    held: AtomicU32,
}

/// What bytes begin with that the gate holds.
pub const HOLD: &[u8] = b"hold";

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new(m: &Arc<Machine>, inner: Arc<dyn Engine>) -> Arc<Self> {
        Arc::new(Self {
            m: Arc::clone(m),
            inner,
            shut: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            held: AtomicU32::new(0),
        })
    }

    /// From now on scans are held.
    pub fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// Lets all scans go, and waits until they have gone.
    pub fn open(&self) {
        self.shut.store(false, Ordering::SeqCst);
        self.m.sched().notify();
        let gone = || (self.held.load(Ordering::SeqCst) == 0).then_some(());
        // Without a deadline the wait ends when the last one has gone.
        let _gone = self.m.sched().wait_until("an open gate", None, gone);
    }

    /// From now on every scan fails, or none any more.
    pub fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Waits until this many scans are held.
    ///
    /// # Panics
    /// When they are not after a minute of the machine's time.
    pub fn wait_for(&self, scans: u32) {
        assert!(self.holds(scans), "{scans} scans are held");
    }

    /// Waits until this many scans are held; false when they are not after a minute of the
    /// machine's time.
    #[must_use]
    pub fn holds(&self, scans: u32) -> bool {
        let enough = || (self.held.load(Ordering::SeqCst) >= scans).then_some(());
        let deadline = self.m.sched().now().after(Duration::from_secs(60));
        self.m
            .sched()
            .wait_until("a held scan", Some(deadline), enough)
            .is_ok()
    }
}

impl Engine for Gate {
    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        Box::new(Held {
            gate: self,
            inner: self.inner.scanner(),
        })
    }
}

struct Held<'a> {
    gate: &'a Gate,
    inner: Box<dyn Scanner + 'a>,
}

impl Scanner for Held<'_> {
    fn scan(&mut self, bytes: &[u8], limit: Option<Duration>) -> Result<Finding, EngineError> {
        let gate = self.gate;
        if gate.failing.load(Ordering::SeqCst) {
            return Err(EngineError::Failed("told to".to_owned()));
        }
        if gate.shut.load(Ordering::SeqCst) && bytes.starts_with(HOLD) {
            gate.held.fetch_add(1, Ordering::SeqCst);
            gate.m.sched().notify();
            let open = || (!gate.shut.load(Ordering::SeqCst)).then_some(());
            // Without a deadline the wait ends when the gate opens.
            let _open = gate.m.sched().wait_until("a gate", None, open);
            gate.held.fetch_sub(1, Ordering::SeqCst);
            gate.m.sched().notify();
        }
        self.inner.scan(bytes, limit)
    }
}
