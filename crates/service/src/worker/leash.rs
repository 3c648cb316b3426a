//! The end of a worker that must end: by the clock, or because it talks nonsense.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::held::Kept;
use super::os::{self, Link};

/// One worker process and the way to it.
pub(super) struct Leash {
    pub(super) link: Link,
    /// Memory that it keeps, while nobody holds it.
    pub(super) kept: Mutex<Option<Kept>>,
    child: Mutex<Child>,
    /// It was ended because its time was over.
    late: AtomicBool,
}

/// How a worker ended.
pub(super) struct End {
    /// Its time was over.
    pub(super) late: bool,
    /// What the system says.
    pub(super) how: String,
}

impl Leash {
    pub(super) fn new(link: Link, child: Child) -> Self {
        Self {
            link,
            kept: Mutex::new(None),
            child: Mutex::new(child),
            late: AtomicBool::new(false),
        }
    }

    /// Ends the process, those that it started, and the way: one that got away could hold the
    /// other end, and whoever waits for an answer would wait for that.
    fn kill(&self) {
        os::kill(&mut self.child.lock());
        self.link.cut();
    }

    /// Ends the process if it still runs, and waits until nothing is left of it.
    pub(super) fn bury(&self) -> End {
        // One that has closed its way and runs on would be waited for without end.
        self.kill();
        let status = self.child.lock().wait();
        End {
            late: self.late.load(Ordering::SeqCst),
            how: status.map_or_else(|cause| cause.to_string(), os::ending),
        }
    }
}

/// Ends workers in time. One thread watches over all of them, so that nobody who waits for an
/// answer needs a clock.
#[derive(Default)]
pub(super) struct Warden {
    watched: Mutex<Watched>,
    changed: Condvar,
}

#[derive(Default)]
struct Watched {
    /// Those that work at an order, and until when they may.
    leashes: Vec<(Arc<Leash>, Instant)>,
    /// When the warden looks next, if it has a time for that.
    look: Option<Instant>,
    over: bool,
}

impl Warden {
    /// Ends the worker of `leash`, which is about to get an order, at `end` unless
    /// [`Warden::release`] comes before.
    pub(super) fn watch(&self, leash: &Arc<Leash>, end: Instant) {
        let mut watched = self.watched.lock();
        if watched.over {
            leash.kill();
            return;
        }
        watched.leashes.push((Arc::clone(leash), end));
        // Waking the warden for each order would cost more than a small file's scan.
        let in_time = watched.look.is_some_and(|look| look <= end);
        drop(watched);
        if !in_time {
            self.changed.notify_one();
        }
    }

    /// The worker has answered, or has ended. True if it was not ended meanwhile.
    pub(super) fn release(&self, leash: &Arc<Leash>) -> bool {
        let mut watched = self.watched.lock();
        let before = watched.leashes.len();
        watched
            .leashes
            .retain(|(other, _)| !Arc::ptr_eq(other, leash));
        watched.leashes.len() < before
    }

    /// Ends the workers that are watched, and [`Warden::work`].
    pub(super) fn close(&self) {
        let mut watched = self.watched.lock();
        watched.over = true;
        for (leash, _) in watched.leashes.drain(..) {
            leash.kill();
        }
        drop(watched);
        self.changed.notify_one();
    }

    /// What the warden's thread does.
    pub(super) fn work(&self) {
        let mut watched = self.watched.lock();
        while !watched.over {
            let now = Instant::now();
            for (leash, _) in watched.leashes.extract_if(.., |(_, end)| *end <= now) {
                leash.late.store(true, Ordering::SeqCst);
                leash.kill();
            }
            watched.look = watched.leashes.iter().map(|(_, end)| *end).min();
            match watched.look {
                Some(end) => drop(self.changed.wait_until(&mut watched, end)),
                None => self.changed.wait(&mut watched),
            }
        }
    }
}
