//! Somebody below the filter who holds creates up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use filterhost::Machine;
use filterhost::fltmgr::{NativeFilter, Pre};
use filterhost::layout::{FLT_CALLBACK_DATA, IRP_MJ_CREATE};
use filterhost::volume::Request;

/// Lets creates in, and out only when it is opened.
#[derive(Default)]
pub struct Gate {
    inside: AtomicU32,
    open: AtomicU32,
}

impl Gate {
    /// Waits until somebody is held up.
    pub fn wait(&self, m: &Machine) {
        let inside = || (self.inside.load(Ordering::SeqCst) > 0).then_some(());
        let waited = m.sched().wait_until("somebody at the gate", None, inside);
        waited.expect("no deadline");
    }

    /// Lets everybody go on.
    pub fn open(&self, m: &Machine) {
        self.open.store(1, Ordering::SeqCst);
        m.sched().notify();
    }
}

impl NativeFilter for Gate {
    fn altitude(&self) -> &str {
        "1000"
    }

    fn name(&self) -> &str {
        "gate"
    }

    fn pre(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        if Request::new(data).major() == IRP_MJ_CREATE {
            self.inside.fetch_add(1, Ordering::SeqCst);
            m.sched().notify();
            let open = || (self.open.load(Ordering::SeqCst) > 0).then_some(());
            let waited = m.sched().wait_until("the gate", None, open);
            waited.expect("no deadline");
        }
        Pre::NoCallback
    }
}
