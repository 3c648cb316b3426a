//! Time and threads of the operating system, for the platforms that use them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::Work;

/// The clock of the system, counted from the moment this was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostClock {
    start: Instant,
}

impl HostClock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Runs `work` on threads of the system. Where the system gives fewer threads than asked for, those
/// it gave do the work; the calling thread is one of them, so there is always one.
pub(super) fn together(name: &str, threads: usize, work: &Work) {
    let handles: Vec<_> = (1..threads)
        .filter_map(|number| {
            let work = Arc::clone(work);
            thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || work(number))
                .inspect_err(|cause| tracing::warn!(%cause, "one thread fewer than configured"))
                .ok()
        })
        .collect();
    work(0);
    for handle in handles {
        if handle.join().is_err() {
            tracing::error!("a thread of the service panicked");
        }
    }
}
