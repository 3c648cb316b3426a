//! One connection to the driver: its threads take turns at listening.
//!
//! Of `threads + 1` threads at most `threads` scan, so one always listens: a stop, a poll or one
//! request too many never waits behind a scan. Whoever receives a request scans it; when all
//! scanning threads are busy, or all processors are, it goes to the backlog, and the next one that
//! is done takes it from there (`turns.rs`). Nobody waits for another thread, so there is nothing
//! to wake.

mod answer;
mod outside;
mod seats;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use siloscan_core::tally::Tally;
use siloscan_core::wire::{
    Chunk, ChunkReply, ContainerCounts, Counts, ExclusionHits, ExclusionsAsk, ExclusionsReply,
    HitRow, Kind, Message, News, Poll, PollFlags, PollReply, Scan, ScanFlags, Stop, StopReply,
    WireError,
};
use zerocopy::IntoBytes;

use crate::engine::Digest;
use crate::events::Event;
use crate::job::{Job, Outcome, name_text};
use crate::pieces::Pieces;
use crate::platform::{Delivery, Platform, Port, PortError};
use crate::scan::{self, Hands};
use crate::service::Service;
use seats::Seats;
use turns::{Admission, Turn};

/// What a refused message is answered with.
const STATUS_INVALID_PARAMETER: i32 = 0xC000_000D_u32.cast_signed();
/// Request numbers that are remembered after their end, or before their beginning: more than the
/// driver can have under way at once.
const REMEMBERED: usize = 1024;

/// One connection.
pub(crate) struct Session<P: Platform> {
    pub(crate) service: Arc<Service<P>>,
    pub(crate) port: P::Port,
    board: Mutex<Board>,
    /// Files whose bytes come before the request. Never locked over a call of the platform.
    pieces: Mutex<Pieces>,
    closed: AtomicBool,
}

/// What the threads of a connection share. Never locked over a call of the platform.
struct Board {
    /// Requests that are not answered yet, by their number.
    jobs: BTreeMap<u64, Arc<Job>>,
    /// Those of them that no thread has begun.
    backlog: VecDeque<Arc<Job>>,
    /// Requests that have come, newest last.
    seen: VecDeque<u64>,
    /// Requests that were to be stopped and have not come, newest last.
    early: VecDeque<EarlyStop>,
    /// The scans that have begun.
    seats: Seats,
    /// Threads that sleep until one more may begin.
    pausing: usize,
    /// The poll that is held until there is news.
    poll: Option<HeldPoll>,
    /// The digest that the driver was told last.
    told: Digest,
    /// The list of exclusions that it was told last.
    told_exclusions: u32,
    news: VecDeque<News>,
}

/// A stop that overtook its request.
#[derive(Clone, Copy)]
struct EarlyStop {
    request: u64,
    /// The section went with the stop.
    closed: bool,
}

struct HeldPoll {
    delivery: Delivery,
    sequence: u64,
    due: Duration,
}

/// What a thread does next.
enum Next {
    Scan(Arc<Job>),
    /// Nothing to scan, but look whether the rules are new.
    Listen,
    Leave,
}

impl<P: Platform> Session<P> {
    pub(crate) fn new(service: Arc<Service<P>>, port: P::Port, told: Digest) -> Self {
        Self {
            service,
            port,
            board: Mutex::new(Board {
                jobs: BTreeMap::new(),
                backlog: VecDeque::new(),
                seen: VecDeque::new(),
                early: VecDeque::new(),
                seats: Seats::default(),
                pausing: 0,
                poll: None,
                told,
                told_exclusions: 0,
                news: VecDeque::new(),
            }),
            pieces: Mutex::new(Pieces::default()),
            closed: AtomicBool::new(false),
        }
    }

    /// What each thread of the connection does until the connection or the service ends.
    ///
    /// A file is copied before anybody looks whether the rules are new: no section is held while a
    /// scanner is made.
    pub(crate) fn work(&self) {
        let mut message = Vec::new();
        let mut begun = None;
        loop {
            let scans = self.service.scans();
            let mut hands = Hands::of(&scans);
            loop {
                if begun.is_none() {
                    begun = match self.next(&mut message) {
                        Next::Scan(job) => Some((scan::copy(self, &job, &hands), job)),
                        Next::Listen => None,
                        Next::Leave => return,
                    };
                }
                if !self.service.is_current(&scans) {
                    break;
                }
                if let Some((copied, job)) = begun.take() {
                    let (outcome, found) = scan::look(self, &job, copied, &mut hands);
                    self.leave_scan(&job);
                    match found {
                        Some(copied) => self.answer_found(&job, outcome, scans.digest(), copied),
                        None => self.answer(&job, &outcome, self.told_of(scans.digest())),
                    }
                }
            }
        }
    }

    /// Takes a request from the backlog, else listens once.
    fn next(&self, message: &mut Vec<u8>) -> Next {
        if self.closed.load(Ordering::SeqCst) {
            return Next::Leave;
        }
        match self.turn() {
            Turn::Scan(job) => return Next::Scan(job),
            Turn::Pause(time) => {
                self.pause(time);
                return Next::Listen;
            }
            Turn::Listen => {}
        }
        if self.service.is_stopping() {
            return Next::Leave;
        }
        self.answer_poll_if_due();
        let now = self.service.platform.now();
        self.pieces.lock().forget_late(now);
        match self.port.get(message, self.listen_time()) {
            Ok(delivery) => self.receive(delivery, message),
            Err(PortError::TimedOut) => Next::Listen,
            Err(PortError::Disconnected) => {
                self.closed.store(true, Ordering::SeqCst);
                Next::Leave
            }
            Err(_) => {
                self.service.stats.port_failures.one();
                self.service.platform.sleep(self.service.settings.idle);
                Next::Listen
            }
        }
    }

    /// Whether the driver is still there, as far as any thread has noticed.
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::SeqCst)
    }

    /// Threads that scan, and requests that wait for one.
    pub(crate) fn load(&self) -> (usize, usize) {
        let board = self.board.lock();
        (board.seats.len(), board.backlog.len())
    }

    /// How long to listen before looking up.
    fn listen_time(&self) -> Duration {
        let due = self.board.lock().poll.as_ref().map(|poll| poll.due);
        let idle = self.service.settings.idle;
        match due {
            Some(due) => due
                .saturating_sub(self.service.platform.now())
                .clamp(Duration::from_millis(1), idle),
            None => idle,
        }
    }

    fn receive(&self, delivery: Delivery, message: &[u8]) -> Next {
        self.service.stats.messages.one();
        let handled = match Kind::of(message) {
            Ok(Kind::SCAN) => return self.receive_scan(delivery, message),
            Ok(Kind::CHUNK) => {
                self.receive_chunk(delivery, message);
                Ok(())
            }
            Ok(Kind::POLL) => Poll::view(message).map(|poll| self.receive_poll(delivery, poll)),
            Ok(Kind::STOP) => Stop::view(message)
                .map(|stop| self.receive_stop(delivery, stop.request.get(), stop.section.get())),
            Ok(Kind::EXCLUSIONS) => {
                ExclusionsAsk::view(message).map(|_| self.receive_exclusions_ask(delivery))
            }
            Ok(Kind::EXCLUSION_HITS) => {
                ExclusionHits::decode(message).map(|(rows, layers)| self.receive_hits(rows, layers))
            }
            Ok(Kind::COUNTS) => Counts::decode(message)
                .map(|values| self.service.stats.driver.set(values.collect())),
            Ok(Kind::CONTAINER_COUNTS) => ContainerCounts::decode(message)
                .map(|tallies| self.receive_tallies(tallies.collect())),
            Ok(_) => Err(WireError::Kind),
            Err(error) => Err(error),
        };
        if let Err(error) = handled {
            self.refuse(delivery, message, &format!("{error:?}"));
        }
        Next::Listen
    }

    /// Answers a message that makes no sense, if an answer is waited for.
    fn refuse(&self, delivery: Delivery, message: &[u8], cause: &str) {
        self.service.stats.bad_messages.one();
        self.service.events.report(Event::BadMessage {
            cause: cause.to_owned(),
            bytes: message.len(),
        });
        self.reply(delivery, STATUS_INVALID_PARAMETER, &[]);
    }

    /// Keeps a piece of a file until the request to scan it comes.
    fn receive_chunk(&self, delivery: Delivery, message: &[u8]) {
        self.service.stats.pieces.one();
        let (piece, bytes) = match Chunk::decode(message) {
            Ok(decoded) => decoded,
            Err(error) => {
                let cause = format!("piece of a file: {error:?}");
                return self.refuse(delivery, message, &cause);
            }
        };
        let now = self.service.platform.now();
        let largest = self.service.file_bytes_max();
        let taken = self
            .pieces
            .lock()
            .take((&piece, bytes), now, &self.service.memory, largest);
        match taken {
            Ok((state, held)) => {
                let reply = ChunkReply::new(piece.request, held, state);
                self.reply(delivery, 0, reply.as_bytes());
            }
            Err(error) => self.refuse(delivery, message, &error.to_string()),
        }
    }

    fn receive_scan(&self, delivery: Delivery, message: &[u8]) -> Next {
        let (request, name) = match Scan::decode(message) {
            Ok((request, scan)) => (request, name_text(scan)),
            Err(error) => {
                self.refuse(delivery, message, &format!("scan request: {error:?}"));
                return Next::Listen;
            }
        };
        let sent = if request.flags.has(ScanFlags::SENT) {
            let sent = self.pieces.lock().whole(request.request, request.size);
            if sent.is_none() {
                self.refuse(delivery, message, "scan request: its bytes were not sent");
                return Next::Listen;
            }
            sent
        } else {
            None
        };
        self.service.stats.scan_requests.one();
        self.service.meet(std::iter::once(request.container));
        let job = Arc::new(Job::new(
            delivery,
            request,
            name,
            sent,
            self.service.platform.now(),
        ));
        match self.admit(&job) {
            Admission::Scan => return Next::Scan(job),
            Admission::Wait => {}
            Admission::Busy => self.turn_away(&job, &Outcome::Busy),
            Admission::Stopped { closed: false } => self.turn_away(&job, &Outcome::Stopped),
            Admission::Stopped { closed: true } => {
                self.answer(&job, &Outcome::Stopped, self.service.digest());
            }
            // The number is in use, so the section may be too: it is left alone.
            Admission::Twice => {
                self.refuse(delivery, message, "scan request: its number is in use")
            }
        }
        Next::Listen
    }

    fn receive_hits(&self, containers: &[HitRow], layers: &[HitRow]) {
        let told = |rows: &[HitRow]| rows.iter().map(|row| (row.id, row.hits.get())).collect();
        self.service.stats.exclusions.set(told(containers));
        self.service.stats.excluded_layers.set(told(layers));
    }

    fn receive_tallies(&self, tallies: Vec<Tally>) {
        self.service
            .meet(tallies.iter().map(|tally| tally.container));
        self.service.stats.containers.set(tallies);
    }

    /// Lets go of a request's section. `section` is not zero where the driver's question ended
    /// without an answer: if it was never read, nobody else knows of the handle. Where the driver
    /// waits for it, it is told when the section is let go.
    fn receive_stop(&self, delivery: Delivery, request: u64, section: u64) {
        self.service.stats.stop_requests.one();
        let (job, was_waiting) = {
            let mut board = self.board.lock();
            let waiting = board
                .backlog
                .iter()
                .position(|job| job.request.request == request);
            if let Some(at) = waiting {
                board.backlog.remove(at);
            }
            (board.jobs.get(&request).cloned(), waiting.is_some())
        };
        let Some(job) = job else {
            if !self.pieces.lock().forget(request) {
                self.service.stats.stop_misses.one();
            }
            self.stop_unknown(request, section);
            return self.reply_to_stop(delivery, request);
        };
        let released = job.stop(delivery);
        if was_waiting {
            self.turn_away(&job, &Outcome::Stopped);
        } else if released {
            self.note_released(&job);
            self.answer(&job, &Outcome::Stopped, self.service.digest());
        }
    }

    /// Ends a request that no thread has begun. It stays known until its section is let go: a stop
    /// that another thread hears meanwhile is answered then, and no sooner.
    fn turn_away(&self, job: &Job, outcome: &Outcome) {
        self.let_go(job);
        self.board.lock().jobs.remove(&job.request.request);
        self.answer(job, outcome, self.service.digest());
    }

    /// Section and view of a job are let go: whoever wanted them back is told.
    pub(crate) fn note_released(&self, job: &Job) {
        if let Some(delivery) = job.note_released() {
            self.reply_to_stop(delivery, job.request.request);
        }
    }

    fn reply_to_stop(&self, delivery: Delivery, request: u64) {
        self.reply(delivery, 0, StopReply::new(request).as_bytes());
    }

    /// Lets go of bytes that no engine is going to look at: closes the section, or frees what was
    /// sent.
    pub(crate) fn let_go(&self, job: &Job) {
        if job.request.flags.has(ScanFlags::SENT) {
            drop(job.take_sent());
        } else {
            self.port.close_section(job.request.section);
        }
        self.note_released(job);
    }

    /// A stop of a request that is over, or has not come yet, or never will.
    fn stop_unknown(&self, request: u64, section: u64) {
        let close = {
            let mut board = self.board.lock();
            if board.seen.contains(&request) {
                return;
            }
            let known = board.early.iter_mut().find(|stop| stop.request == request);
            let close = section != 0 && known.as_ref().is_none_or(|stop| !stop.closed);
            match known {
                Some(stop) => stop.closed |= close,
                None => remember(
                    &mut board.early,
                    EarlyStop {
                        request,
                        closed: close,
                    },
                ),
            }
            close
        };
        if close {
            self.port.close_section(section);
        }
    }

    fn receive_poll(&self, delivery: Delivery, poll: &Poll) {
        self.service
            .note_poll(poll.epoch.get(), PollFlags(poll.flags.get()));
        let held = HeldPoll {
            delivery,
            sequence: poll.sequence.get(),
            due: self.service.platform.now() + self.service.settings.poll_hold,
        };
        let older = self.board.lock().poll.replace(held);
        if let Some(older) = older {
            // The driver asked again: it waits no more for the older one, but a reply does no harm.
            self.reply_to_poll(&older, News::Nothing);
        }
        self.answer_poll_if_due();
    }

    /// Answers the poll that is held, if there is news or it has been held long enough.
    pub(crate) fn answer_poll_if_due(&self) {
        let digest = self.service.digest();
        let exclusions = self.service.excluded().number;
        let now = self.service.platform.now();
        let due = {
            let mut board = self.board.lock();
            let news = board.told != digest
                || board.told_exclusions != exclusions
                || !board.news.is_empty();
            match board.poll.take_if(|poll| news || poll.due <= now) {
                Some(poll) => {
                    board.told = digest;
                    board.told_exclusions = exclusions;
                    let news = board.news.pop_front().unwrap_or(News::Nothing);
                    Some((poll, news))
                }
                None => None,
            }
        };
        if let Some((poll, news)) = due {
            self.reply_to_poll(&poll, news);
        }
    }

    fn reply_to_poll(&self, poll: &HeldPoll, news: News) {
        let digest = self.service.digest();
        let exclusions = self.service.excluded().number;
        let reply = PollReply::new(poll.sequence, digest.0, news).excluding(exclusions);
        self.service.stats.polls.one();
        self.reply(poll.delivery, 0, reply.as_bytes());
    }

    /// Tells the driver what it is to leave out.
    fn receive_exclusions_ask(&self, delivery: Delivery) {
        let list = self.service.excluded();
        // Without one, any more, the driver is told by the next poll.
        let reply = ExclusionsReply::new(list.number.max(1), &list.containers, &list.layer_ids());
        self.reply(delivery, 0, reply.as_bytes());
    }

    fn reply(&self, delivery: Delivery, status: i32, body: &[u8]) {
        if delivery.reply_capacity == 0 {
            return;
        }
        match self.port.reply(delivery.message, status, body) {
            Ok(()) => {}
            Err(PortError::NoWaiter | PortError::TimedOut) => self.service.stats.late_replies.one(),
            Err(PortError::Disconnected) => self.closed.store(true, Ordering::SeqCst),
            Err(_) => self.service.stats.port_failures.one(),
        }
    }

    /// Lets go of what no thread has begun. The connection's threads have ended.
    pub(crate) fn abandon(&self) {
        let (jobs, poll) = {
            let mut board = self.board.lock();
            board.jobs.clear();
            (std::mem::take(&mut board.backlog), board.poll.take())
        };
        self.pieces.lock().clear();
        for job in jobs {
            self.let_go(&job);
            self.answer(&job, &Outcome::Stopped, self.service.digest());
        }
        if let Some(poll) = poll {
            self.reply_to_poll(&poll, News::Nothing);
        }
    }
}

/// Adds to a list that forgets its oldest entry when it is full.
fn remember<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() >= REMEMBERED {
        list.pop_front();
    }
    list.push_back(entry);
}
