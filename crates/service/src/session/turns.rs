//! Which request is scanned next, and which waits.
//!
//! A request waits in the backlog while all scanning threads are busy, and while engines compute on
//! all processors (`seats.rs`). The thread whose scan ends takes the next one from there, in a
//! worker whose memory the caches still have, and nobody is woken. A thread that finds that the
//! next one may not begin sleeps until it may in any case; meanwhile it does not listen.

use std::sync::Arc;
use std::time::Duration;

use super::seats::Look;
use super::{Session, remember};
use crate::job::Job;
use crate::platform::Platform;

/// What is done about a request that came.
pub(super) enum Admission {
    Scan,
    Wait,
    Busy,
    /// The driver wanted it stopped before it came.
    Stopped {
        /// Its section is closed already.
        closed: bool,
    },
    Twice,
}

/// What a thread does about the requests that wait.
pub(super) enum Turn {
    Scan(Arc<Job>),
    /// None may begin yet: look again after this, by [`Session::pause`].
    Pause(Duration),
    /// There is none, or others see to them.
    Listen,
}

impl<P: Platform> Session<P> {
    /// What is to be looked at before one more scan begins. Nothing where that waits for a thread
    /// alone; a simulated world is not asked for its time then.
    fn look(&self) -> Option<Look> {
        let processors = self.service.computing_max()?;
        let now = self.service.platform.now();
        Some(Look { processors, now })
    }

    pub(super) fn admit(&self, job: &Arc<Job>) -> Admission {
        let look = self.look();
        let settings = &self.service.settings;
        let mut board = self.board.lock();
        if board.jobs.contains_key(&job.request.request) {
            return Admission::Twice;
        }
        remember(&mut board.seen, job.request.request);
        let early = |stop: &super::EarlyStop| stop.request == job.request.request;
        if let Some(at) = board.early.iter().position(early) {
            let closed = board.early.remove(at).is_some_and(|stop| stop.closed);
            if !closed {
                board.jobs.insert(job.request.request, Arc::clone(job));
            }
            return Admission::Stopped { closed };
        }
        board.jobs.insert(job.request.request, Arc::clone(job));
        let free = board.free(settings.threads);
        let wait = look.and_then(|look| board.seats.wait(look));
        if free > board.pausing && wait.is_none() && board.backlog.is_empty() {
            board.sit(job, look);
            return Admission::Scan;
        }
        // Those for which there would be a thread take nobody's place.
        if board.backlog.len() >= settings.backlog_max.saturating_add(free) {
            return Admission::Busy;
        }
        board.backlog.push_back(Arc::clone(job));
        Admission::Wait
    }

    /// The next request that waits, if it may begin.
    pub(super) fn turn(&self) -> Turn {
        let look = self.look();
        let mut board = self.board.lock();
        // One thread always listens: those that pause look again themselves.
        if board.free(self.service.settings.threads) <= board.pausing {
            return Turn::Listen;
        }
        let Some(job) = board.backlog.pop_front() else {
            return Turn::Listen;
        };
        if let Some(time) = look.and_then(|look| board.seats.wait(look)) {
            board.backlog.push_front(job);
            board.pausing += 1;
            return Turn::Pause(time);
        }
        board.sit(&job, look);
        Turn::Scan(job)
    }

    /// Waits until the next request may begin.
    pub(super) fn pause(&self, time: Duration) {
        self.service.platform.sleep(time);
        let mut board = self.board.lock();
        board.pausing = board.pausing.saturating_sub(1);
    }

    /// The engine begins with this one.
    pub(crate) fn begin_computing(&self, job: &Job) {
        if let Some(look) = self.look() {
            let mut board = self.board.lock();
            board.seats.compute(job.request.request, look.now);
        }
    }

    pub(super) fn leave_scan(&self, job: &Job) {
        let now = self.look().map(|look| look.now);
        let mut board = self.board.lock();
        board.seats.leave(job.request.request, now);
        board.jobs.remove(&job.request.request);
    }
}

impl super::Board {
    /// Threads that do not scan, of those that may.
    fn free(&self, threads: usize) -> usize {
        threads.saturating_sub(self.seats.len())
    }

    /// The scan of this one begins.
    fn sit(&mut self, job: &Job, look: Option<Look>) {
        let now = look.map_or(job.received, |look| look.now);
        self.seats.take(job.request.request, job.request.size, now);
    }
}
