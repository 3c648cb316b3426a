//! The driver's own threads that lead scans: take a flight, make the section, ask the service,
//! publish. Openers only wait.
#![forbid(unsafe_code)]

use siloscan_core::flight::{Attempt, Lead, Published};
use siloscan_core::key::Key;
use siloscan_core::ledger::{Binding, Lookup, NotKept, Settled, Ticket};
use siloscan_core::reason::{Counted, DenyReason, Event, Failure};
use siloscan_core::verdict::Verdict;
use siloscan_core::wire::{Scan, ScanFlags, ScanReply, ScanRequest, WireVerdict};
use zerocopy::{FromZeros, IntoBytes};

use super::chunks::{self, Buffer};
use super::closed::Debt;
use super::desk::Desk;
use super::job::{Cookie, Job};
use crate::context::{InstanceContext, Owned, StreamContext};
use crate::exclusions::{self, Asked, Unsaid};
use crate::kernel::file::{self, Held};
use crate::kernel::lock::Raise;
use crate::kernel::pool::{PoolSlice, Tag};
use crate::kernel::section::ScanSection;
use crate::kernel::{Status, clock, thread};
use crate::port::service;
use crate::port::{self, Cause, Unanswered};
use crate::state::{self, Flights, Signal};
use crate::sys::constants::{
    STATUS_END_OF_FILE, STATUS_FILE_LOCK_CONFLICT, STATUS_FLT_CONTEXT_ALREADY_DEFINED,
    STATUS_FLT_DELETING_OBJECT, STATUS_INSUFFICIENT_RESOURCES,
};
use crate::trace::{self, Detection};

/// How long a leader sleeps where nobody wakes it, in milliseconds.
const IDLE_MS: u64 = 1_000;

/// A leader.
pub struct Leader;

impl thread::Body for Leader {
    fn run(index: usize) {
        let Some(flights) = state::flights() else {
            return;
        };
        let Some(messages) = Messages::new() else {
            return;
        };
        let Some(desk) = flights.desks.get(index) else {
            return;
        };
        Worker {
            flights,
            messages,
            desk,
            closed: false,
        }
        .run();
    }
}

/// The messages of one leader, too large for a stack.
struct Messages {
    scan: PoolSlice<Scan>,
    reply: PoolSlice<ScanReply>,
    chunks: Buffer,
}

impl Messages {
    /// Waits for memory: a leader that gave up would be missed for good.
    fn new() -> Option<Self> {
        loop {
            let scan = PoolSlice::new(1, Tag::MESSAGE, |_| Scan::new_zeroed());
            let reply = PoolSlice::new(1, Tag::MESSAGE, |_| ScanReply::new_zeroed());
            if let (Ok(scan), Ok(reply)) = (scan, reply) {
                return Some(Self {
                    scan,
                    reply,
                    chunks: Buffer::default(),
                });
            }
            if state::is_stopping() {
                return None;
            }
            thread::sleep(100);
        }
    }
}

struct Worker {
    flights: &'static Flights,
    messages: Messages,
    desk: &'static Desk,
    /// What it scans is a changed file that was closed.
    closed: bool,
}

/// One attempt to read a file: what is kept of the job while the opener may already be gone.
struct Reading {
    source: Source,
    stream: Option<Owned<StreamContext>>,
    instance: Owned<InstanceContext>,
    key: Option<Key>,
    keeps: bool,
    ticket: Ticket,
    /// The list whose excluded layers count for this file.
    asked: Option<Asked>,
    debt: Option<Debt>,
    /// Dropped last: the section belongs to the instance.
    _held: Held,
}

/// Where the service has the bytes from.
enum Source {
    /// A section, to be handed over with the request.
    Section(ScanSection),
    /// So many bytes were sent already.
    Sent(u64),
}

impl Source {
    /// The file's size in bytes.
    fn size(&self) -> u64 {
        match self {
            Self::Section(section) => section.size(),
            Self::Sent(size) => *size,
        }
    }

    /// Whether an operation needs the section gone. Bytes that were sent are in nobody's way.
    fn in_conflict(&self) -> bool {
        match self {
            Self::Section(section) => section.in_conflict(),
            Self::Sent(_) => false,
        }
    }
}

impl Reading {
    fn binding(&self) -> Binding<'_> {
        binding(self.key, self.stream.as_ref(), &self.instance, self.keeps)
    }

    /// A clean verdict of the bytes as they are pays what the file owes its volume's coverage.
    fn pay(&mut self, verdict: Verdict) {
        if verdict == Verdict::Clean
            && let Some(debt) = &mut self.debt
        {
            debt.pay();
        }
    }
}

/// What a ticket is bound to. Where there is no stream context the instance's counter stands in.
fn binding<'a>(
    key: Option<Key>,
    stream: Option<&'a Owned<StreamContext>>,
    instance: &'a InstanceContext,
    keeps: bool,
) -> Binding<'a> {
    let changes = instance.state.changes();
    Binding {
        key,
        stream: stream.map_or(changes, |stream| stream.state.changes()),
        instance: changes,
        keeps,
    }
}

impl Worker {
    /// Leads flight after flight; ends when the driver stops and nothing is left to let go of.
    fn run(mut self) {
        loop {
            let lead = self.flights.table.lock().take_next(clock::now());
            match lead {
                Some(lead) => {
                    // Others may be there for the next leader.
                    self.flights.raise(Signal::Work);
                    self.lead(lead);
                }
                None if state::is_stopping() => break,
                None => self.flights.wait(Signal::Work, IDLE_MS),
            }
        }
        // The next leader ends, too.
        self.flights.raise(Signal::Work);
    }

    /// Leads one flight to its end, attempt by attempt.
    fn lead(&mut self, first: Lead) {
        let mut lead = first;
        loop {
            let attempt = self.attempt(&lead);
            if self.closed {
                self.count_close(attempt);
            }
            let flights = self.flights;
            let (published, slowed) = {
                let mut table = flights.table.lock();
                let published = table.publish(lead.flight, attempt, clock::now(), &mut |waiter| {
                    flights.wake_waiter(waiter)
                });
                (published, table.take_slowed())
            };
            for _ in 0..slowed {
                trace::count(Event::SiloSlowed);
            }
            match published {
                Published::Next(next) => {
                    trace::count(Event::FlightRetried);
                    lead = next;
                }
                Published::Over(_) | Published::Dead => return,
            }
        }
    }

    fn count_close(&self, attempt: Attempt) {
        match attempt {
            Attempt::Verdict(Verdict::Infected) => trace::count(Event::CloseInfected),
            Attempt::Verdict(Verdict::Clean) | Attempt::Empty | Attempt::Excluded(_) => {}
            Attempt::Failed(_) | Attempt::FailedForAll(_) | Attempt::Changed => {
                trace::count(Event::CloseFailed);
            }
        }
    }

    /// One attempt with one file object.
    fn attempt(&mut self, lead: &Lead) -> Attempt {
        self.closed = false;
        let mut reading = match self.read(lead) {
            Ok(reading) => reading,
            Err(attempt) => return attempt,
        };
        let attempt = self.ask(lead, &mut reading);
        self.desk.end();
        attempt
    }

    /// Takes the ticket, then the bytes; gives the file object back as soon as they are there.
    fn read(&mut self, lead: &Lead) -> Result<Reading, Attempt> {
        let lost = Attempt::Failed(Failure::Unreadable);
        let cookie = Cookie::from_raw(lead.cookie).ok_or(lost)?;
        let flights = self.flights;
        let job = if lead.detached {
            flights.jobs.remove(cookie)
        } else {
            flights.jobs.borrow(cookie)
        };
        let mut job = job.ok_or(lost)?;
        self.closed = job.closed;
        if !lead.live {
            return Err(Attempt::Changed);
        }
        let reading = self.bytes_of(lead, &mut job);
        if let Ok(reading) = &reading {
            self.describe(lead, &job, reading);
        }
        if lead.detached {
            drop(job);
        } else {
            flights.jobs.give_back(cookie, job);
            flights
                .table
                .lock()
                .give_back(lead.flight, &mut |waiter| flights.wake_waiter(waiter));
        }
        reading
    }

    /// The ticket, then the section; where there are none, all bytes.
    fn bytes_of(&mut self, lead: &Lead, job: &mut Job) -> Result<Reading, Attempt> {
        let failed = |status: Status| Attempt::Failed(failure_of(status));
        let held = Held::new(job.held.instance(), job.held.file()).map_err(failed)?;
        let ledger = state::ledger().ok_or(Attempt::FailedForAll(Failure::Unloading))?;
        // Between an opener's miss and its flight another flight may have ended.
        let known = match &job.key {
            Some(key) if job.layer => ledger.lookup_layer(key),
            Some(key) => ledger.lookup(key),
            None => Lookup::Untracked,
        };
        match known {
            Lookup::Hit(verdict) if !lead.detached => return Err(Attempt::Verdict(verdict)),
            Lookup::Excluded(said) if !lead.detached => {
                if let Some(by) = exclusions::of_layer(&said) {
                    return Err(Attempt::Excluded(by));
                }
            }
            _ => {}
        }
        // What is known to be infected is scanned, so that it stays denied until it is not.
        let may_be_left_out = job.layer && known != Lookup::StaleInfected && job.key.is_some();
        let asked = may_be_left_out.then(exclusions::asked).flatten();
        let ticket = Raise::with(|token| {
            let binding = binding(job.key, job.stream.as_ref(), &job.instance, job.keeps);
            ledger.ticket(&binding, token)
        });
        let ticket = ticket.ok_or(Attempt::Failed(Failure::Changing))?;
        if job.layer && job.key.is_some() && ticket.stream_mark() != 0 {
            // The opened stream was changed since its open was told whose bytes it shows.
            return Err(Attempt::Failed(Failure::Changing));
        }
        if file::must_not_recall(held.instance(), held.file()) {
            return Err(Attempt::Failed(Failure::NotRecalled));
        }
        let source = if job.instance.data_scan {
            Source::Section(section_for(lead, job, &held)?)
        } else {
            let buffer = &mut self.messages.chunks;
            Source::Sent(chunks::send(self.flights, lead, &held, buffer)?)
        };
        Ok(Reading {
            source,
            stream: job.stream.as_ref().map(Owned::again),
            instance: job.instance.again(),
            key: job.key,
            keeps: job.keeps,
            ticket,
            asked,
            debt: job.debt.take(),
            _held: held,
        })
    }

    /// Fills the message, but for the section.
    fn describe(&mut self, lead: &Lead, job: &Job, reading: &Reading) {
        let Some(scan) = self.messages.scan.as_mut().first_mut() else {
            return;
        };
        let mut flags = if job.closed {
            ScanFlags::CLOSE
        } else {
            ScanFlags::OPEN
        };
        if job.layer {
            flags |= ScanFlags::LAYER;
        }
        if job.scratch {
            flags |= ScanFlags::SCRATCH;
        }
        if matches!(reading.source, Source::Sent(_)) {
            flags |= ScanFlags::SENT;
        }
        let request = ScanRequest {
            request: lead.request,
            section: 0,
            size: 0,
            key: job.key,
            container: job.container,
            process: job.process,
            flags: ScanFlags(flags),
            deadline_ms: clock::milliseconds_left(lead.deadline),
            list: reading.asked.map_or(0, |asked| asked.list),
        };
        let name = job.name.as_ref().map_or(&[][..], |name| name.text());
        scan.fill(&request, name.iter().copied());
    }

    /// Hands the section, if there is one, to the service and waits for its answer.
    fn ask(&mut self, lead: &Lead, reading: &mut Reading) -> Attempt {
        let no_service = Attempt::FailedForAll(Failure::NoService);
        self.desk.begin(lead.request, lead.deadline);
        let connection = port::current();
        if !self.flights.table.lock().sending(lead.flight) || reading.source.in_conflict() {
            return Attempt::Failed(Failure::Conflict);
        }
        let Some(given) = give(&reading.source) else {
            return no_service;
        };
        let answer = {
            let (Some(scan), Some(reply)) = (
                self.messages.scan.as_mut().first_mut(),
                self.messages.reply.as_mut().first_mut(),
            ) else {
                return no_service;
            };
            scan.section.set(given);
            scan.size.set(reading.source.size());
            port::ask(scan, reply, lead.deadline)
        };
        match answer {
            Ok(()) => self.settle(lead, reading),
            Err(Unanswered::NoService) => no_service,
            // The service may or may not have read the request: it is told to let go.
            Err(Unanswered::TimedOut) => {
                forget(connection, lead.request, given);
                Attempt::Failed(Failure::TooSlow)
            }
            Err(Unanswered::Failed) => {
                forget(connection, lead.request, given);
                Attempt::Failed(Failure::BadReply)
            }
        }
    }

    /// Checks the answer, and keeps the verdict where its ticket still holds.
    fn settle(&self, lead: &Lead, reading: &mut Reading) -> Attempt {
        let Some(reply) = self.messages.reply.first() else {
            return Attempt::Failed(Failure::BadReply);
        };
        let answer = match ScanReply::decode(reply.as_bytes(), lead.request) {
            Ok(answer) => answer,
            Err(_) => return Attempt::Failed(Failure::BadReply),
        };
        if answer.verdict == WireVerdict::EXCLUDED {
            return leave_out(reading, answer.detail);
        }
        let verdict = match answer.verdict.outcome() {
            Ok(verdict) => verdict,
            Err(failure) => return Attempt::Failed(failure),
        };
        if reading.source.in_conflict() {
            return Attempt::Failed(Failure::Conflict);
        }
        let Some(ledger) = state::ledger() else {
            return Attempt::FailedForAll(Failure::Unloading);
        };
        let settled = Raise::with(|token| {
            ledger.settle(
                &reading.ticket,
                &reading.binding(),
                verdict,
                &answer.digest,
                token,
            )
        });
        match settled {
            Settled::Stored => {
                trace::count(Event::VerdictStored);
                reading.pay(verdict);
            }
            // As good as stored: the ticket held under the lock of the cache's set.
            Settled::Shared(NotKept::Crowded) => reading.pay(verdict),
            Settled::Shared(_) => {}
            Settled::Dead => {
                trace::count(Event::VerdictDropped);
                return Attempt::Changed;
            }
        }
        if let Some(stream) = &reading.stream {
            let mark = reading.ticket.stream_mark();
            stream.state.note_verdict(mark);
            if verdict == Verdict::Infected {
                stream.state.note_infected(mark);
            }
        }
        if verdict == Verdict::Infected {
            self.tell_of(answer.rule_name().as_bytes());
        }
        Attempt::Verdict(verdict)
    }

    /// Tells of a detection, once per scan.
    fn tell_of(&self, rule: &[u8]) {
        if !trace::wants_detection() {
            return;
        }
        let Some(scan) = self.messages.scan.first() else {
            return;
        };
        trace::detection(&Detection {
            file: scan
                .name
                .get(..usize::from(scan.name_units.get()).saturating_mul(2))
                .unwrap_or(&[]),
            rule,
            container: scan.container,
            process: scan.process.get(),
            reason: DenyReason::ScannedInfected.name(),
        });
    }
}

/// The service says that the file lies in the excluded layer of this place. Believed only of what
/// was asked so, under the list that was named, and never of what is known to be infected.
fn leave_out(reading: &Reading, place: u32) -> Attempt {
    let nonsense = Attempt::Failed(Failure::BadReply);
    let (Some(asked), Some(ledger)) = (reading.asked, state::ledger()) else {
        return nonsense;
    };
    let said = match exclusions::said(asked, place) {
        Ok(said) => said,
        Err(Unsaid::Nonsense) => return nonsense,
        Err(Unsaid::Over) => return Attempt::Changed,
    };
    let settled = Raise::with(|token| {
        ledger.settle_excluded(&reading.ticket, &reading.binding(), said, token)
    });
    match settled {
        Settled::Stored | Settled::Shared(_) => Attempt::Excluded(said.place),
        Settled::Dead => {
            trace::count(Event::VerdictDropped);
            Attempt::Changed
        }
    }
}

/// The section of a file that is lent, or the one that was made when it was closed.
fn section_for(lead: &Lead, job: &mut Job, held: &Held) -> Result<ScanSection, Attempt> {
    if let Some(section) = job.section.take() {
        return Ok(section);
    }
    super::section_of(held, lead.subject, job.stream.as_ref()).map_err(|status| {
        match status.code() {
            STATUS_END_OF_FILE => Attempt::Empty,
            _ => Attempt::Failed(failure_of(status)),
        }
    })
}

/// A handle of the section in the service's process; zero where the bytes were sent. `None` where
/// there is no service.
fn give(source: &Source) -> Option<u64> {
    match source {
        Source::Section(section) => port::scanner()?.give_section(section.handle()?).ok(),
        Source::Sent(_) => Some(0),
    }
}

/// The bytes of a request that ended without an answer: the service lets go of the section that it
/// was given, and says so, or of pieces where that is zero. One that does neither is hung up on.
///
/// The section's handle is that of the process which `connection` was made by: another one that
/// has connected since is told nothing, since the number may be something else there.
pub fn forget(connection: u64, request: u64, section: u64) {
    if port::current() != connection {
        return;
    }
    if section == 0 {
        if service::stop(request).is_err() {
            port::hang_up(connection, Cause::StopNotRead);
        }
    } else if service::take_back(request, section).is_err() {
        port::hang_up(connection, Cause::SectionKept);
    }
}

/// What a status of the section's making, or of a read, says about the file.
#[must_use]
pub fn failure_of(status: Status) -> Failure {
    match status.code() {
        STATUS_FILE_LOCK_CONFLICT => Failure::Locked,
        // A dead scan of this stream has not let go of its section yet.
        STATUS_FLT_CONTEXT_ALREADY_DEFINED => Failure::Changing,
        STATUS_INSUFFICIENT_RESOURCES => Failure::NoMemory,
        STATUS_FLT_DELETING_OBJECT => Failure::Unloading,
        _ => Failure::Unreadable,
    }
}
