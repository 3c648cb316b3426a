//! The verdict of one open: look it up, else join or start the flight of its bytes and wait. An
//! opener only waits; leaders (`scan/lead.rs`) do the work.
#![forbid(unsafe_code)]

pub mod chunks;
pub mod closed;
pub mod detached;
pub mod job;
pub mod lead;

use siloscan_core::flight::{Join, Left, Outcome, Request, Subject, WaiterId};
use siloscan_core::key::Key;
use siloscan_core::ledger::Lookup;
use siloscan_core::limits::{OnStale, Parameters};
use siloscan_core::reason::{AllowReason, DenyReason, Event, Failure};
use siloscan_core::stream::StreamId;
use siloscan_core::verdict::{self, Decision, End, Opener};

use crate::context::{InstanceContext, Owned, SectionContext, StreamContext};
use crate::kernel::clock::{self, Time};
use crate::kernel::event::{self, Waited};
use crate::kernel::file::{File, Held, Instance, Name};
use crate::kernel::process::Start;
use crate::kernel::section::ScanSection;
use crate::kernel::silo::Silo;
use crate::kernel::{Status, thread};
use crate::registration::view::Data;
use crate::state::{self, Flights, Signal};
use crate::{invalidate, port, trace};
use job::Job;

/// Pause between two tries of a file that could not be read, in milliseconds.
const RETRY_MS: u64 = 20;

/// How long a conflicting operation waits for a scan to let go, in milliseconds.
const GIVE_WAY_MS: u64 = 200;

/// Who wants a verdict.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// An open.
    Open(&'a Data<'a>),
    /// A process that is made of the file, and our instance on the file's volume.
    Start(&'a Start<'a>, Instance<'a>),
}

impl<'a> By<'a> {
    fn instance(&self) -> Instance<'a> {
        match self {
            Self::Open(data) => data.instance(),
            Self::Start(_, instance) => *instance,
        }
    }

    fn file(&self) -> File<'a> {
        match self {
            Self::Open(data) => data.file(),
            Self::Start(start, _) => start.file(),
        }
    }

    fn name(&self) -> Option<Name> {
        match self {
            Self::Open(data) => Name::opened(data).ok(),
            Self::Start(..) => None,
        }
    }

    fn process(&self) -> u64 {
        match self {
            Self::Open(data) => data.process_id(),
            Self::Start(start, _) => start.process(),
        }
    }

    fn in_transaction(&self) -> bool {
        match self {
            Self::Open(data) => data.in_transaction(),
            Self::Start(..) => false,
        }
    }

    /// Waits for an event. Only an open can be cancelled.
    fn wait(&self, event: &event::Event, deadline: Time) -> Waited {
        match self {
            Self::Open(data) => event.wait_cancellable(deadline, data),
            Self::Start(..) if event.wait(deadline) => Waited::Signalled,
            Self::Start(..) => Waited::TimedOut,
        }
    }
}

/// One open, or one process that starts, that wants a verdict.
pub struct Wanted<'a> {
    /// Who it is.
    pub by: By<'a>,
    /// The volume.
    pub instance: &'a Owned<InstanceContext>,
    /// The opened stream, where the file system gives contexts.
    pub stream: Option<&'a Owned<StreamContext>>,
    /// What the verdict is filed under; `None` for a scan that is not kept.
    pub key: Option<Key>,
    /// Whether the verdict may be kept.
    pub keeps: bool,
    /// The bytes come from a layer.
    pub layer: bool,
    /// Where the open comes from.
    pub silo: Option<Silo>,
    /// Until when the open may wait, in 100 ns since boot.
    pub deadline: Time,
}

/// What is known about a key, without waiting. `None` is a miss.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn look_up(key: &Key, parameters: &Parameters) -> Option<End> {
    let ledger = state::ledger()?;
    match ledger.lookup(key) {
        Lookup::Hit(verdict) => Some(End::Cached(verdict)),
        Lookup::StaleInfected => {
            want_warm();
            Some(End::StaleInfected)
        }
        Lookup::StaleClean => {
            want_warm();
            let age = clock::now().saturating_sub(ledger.signature_since());
            let passes =
                parameters.on_stale() == OnStale::AllowAndRescan && age < parameters.stale_window();
            passes.then_some(End::StaleClean)
        }
        Lookup::Untracked | Lookup::Miss => None,
    }
}

/// A stale verdict was met: the first time in an epoch the service is asked for a proactive scan,
/// now rather than at the next turn.
fn want_warm() {
    if state::ledger().is_some_and(siloscan_core::ledger::Ledger::want_warm) {
        trace::count(Event::WarmWanted);
        state::wake_poller();
    }
}

/// Waits for the verdict of a scan.
///
/// # IRQL
/// PASSIVE_LEVEL, in the opener's thread.
pub fn wait_for_verdict(wanted: &Wanted<'_>, parameters: &Parameters) -> End {
    if !port::is_connected() {
        return End::Failed(Failure::NoService);
    }
    if state::is_breaker_open() {
        return End::Failed(Failure::Breaker);
    }
    let Some(flights) = state::flights() else {
        return End::Failed(Failure::Unloading);
    };
    let job = match job_of(wanted) {
        Ok(job) => job,
        Err(failure) => return End::Failed(failure),
    };
    let subject = job.subject(state::next_stream);
    let (alone, file) = (job.alone, job.file);
    let cookie = match flights.jobs.insert(job) {
        Ok(cookie) => cookie,
        Err(job) => {
            drop(job);
            return End::Failed(Failure::QueueFull);
        }
    };
    let request = Request {
        subject,
        stream: wanted.stream.map(|stream| stream.state.id()),
        silo: wanted.silo.map_or(0, |silo| silo.account),
        owner: owner(wanted.by.instance()),
        cookie: cookie.to_raw(),
        deadline: wanted.deadline,
        detached: false,
        alone,
        file,
    };
    let end = fly(flights, wanted, &request, parameters);
    // Whoever waits has its job back by now: a leader's loan ends before the waiter's place does.
    drop(flights.jobs.remove(cookie));
    end
}

/// Decides an open or a start by what `end` says, which is asked again while the cause of a failure
/// may pass and time is left; `failed` is told of each failure. `opener.can_retry` says whether it
/// may wait at all. Whether it goes through, and how its look-up or scan ended.
///
/// # IRQL
/// PASSIVE_LEVEL, in the opener's thread.
pub fn decide(
    opener: &Opener,
    parameters: &Parameters,
    failed: impl Fn(Failure),
    end: impl Fn(Time) -> End,
) -> (Result<AllowReason, DenyReason>, End) {
    let deadline = clock::now().saturating_add(parameters.open_deadline());
    let policy = parameters.failure_policy();
    loop {
        let end = end(deadline);
        if let End::Failed(failure) = end {
            failed(failure);
        }
        let opener = Opener {
            can_retry: opener.can_retry && clock::after(clock::now(), RETRY_MS) < deadline,
            ..*opener
        };
        match verdict::decide(end, &opener, &policy) {
            Decision::Allow(reason) => return (Ok(reason), end),
            Decision::Deny(reason) => return (Err(reason), end),
            Decision::Retry(_) => {
                trace::count(Event::Retried);
                thread::sleep(RETRY_MS);
            }
        }
    }
}

/// A section of an open file, which lives on when the file object goes. One a stream.
///
/// # Errors
/// What the Filter Manager says: `STATUS_END_OF_FILE` of an empty file.
///
/// # IRQL
/// PASSIVE_LEVEL.
fn section_of(
    held: &Held,
    subject: Subject,
    stream: Option<&Owned<StreamContext>>,
) -> Result<ScanSection, Status> {
    let context = SectionContext::new(subject, stream.map(|stream| stream.state.id()));
    ScanSection::create(held.instance(), held.file(), Owned::new(context)?)
}

/// What a leader needs to read the file.
fn job_of(wanted: &Wanted<'_>) -> Result<Job, Failure> {
    let by = wanted.by;
    let held = Held::new(by.instance(), by.file()).map_err(|_| Failure::Unloading)?;
    Ok(Job {
        held,
        stream: wanted.stream.map(Owned::again),
        instance: wanted.instance.again(),
        name: by.name(),
        section: None,
        debt: None,
        key: wanted.key,
        keeps: wanted.keeps,
        layer: wanted.layer,
        alone: is_alone(wanted),
        file: own_key(wanted),
        closed: false,
        process: by.process(),
        container: wanted.silo.map_or([0; 16], |silo| silo.container),
    })
}

/// Whether a scan is for one opener alone. In a transaction nobody else sees the bytes; and where
/// they can change without our seeing when (in a transaction that is not committed yet, through a
/// mapping) a scan that began before the open may have seen older ones.
fn is_alone(wanted: &Wanted<'_>) -> bool {
    let stream = wanted.stream;
    let is_unseen =
        |key: &Key| state::ledger().is_some_and(|ledger| ledger.lookup(key) == Lookup::Untracked);
    // A stream without a key is followed by that of its file.
    let key = wanted.key.or_else(|| own_key(wanted));
    wanted.by.in_transaction()
        || stream.is_some_and(|stream| stream.state.writable_section())
        || key.map_or(wanted.instance.stable_ids, |key| is_unseen(&key))
}

fn own_key(wanted: &Wanted<'_>) -> Option<Key> {
    invalidate::own_key(wanted.stream?, wanted.instance)
}

/// Joins flights until one of them ends with something other than "the bytes changed".
fn fly(flights: &Flights, wanted: &Wanted<'_>, request: &Request, parameters: &Parameters) -> End {
    let mut changed = false;
    loop {
        let waiter = match join(flights, request) {
            Ok(waiter) => waiter,
            Err(failure) => return End::Failed(failure),
        };
        match await_outcome(flights, waiter, wanted) {
            // Its scans would have ended, had the bytes stayed as they were.
            Err(End::Failed(Failure::TooSlow)) if changed => {
                return End::Failed(Failure::Changing);
            }
            Err(end) => return end,
            Ok(Outcome::Verdict(verdict)) => return End::Scanned(verdict),
            Ok(Outcome::Empty) => return End::Empty,
            Ok(Outcome::Failed(failure)) => return End::Failed(failure),
            Ok(Outcome::Again) => {
                trace::count(Event::Retried);
                changed = true;
                if clock::now() >= wanted.deadline {
                    return End::Failed(Failure::Changing);
                }
                if let Some(end) = wanted.key.and_then(|key| look_up(&key, parameters)) {
                    return end;
                }
            }
        }
    }
}

/// Joins the flight of these bytes, or starts one.
fn join(flights: &Flights, request: &Request) -> Result<WaiterId, Failure> {
    let joined = {
        let mut table = flights.table.lock();
        let joined = table.join_or_start(request);
        if let Join::Joined(waiter) | Join::Started(waiter) = joined
            && let Some(event) = flights.wake.get(waiter.index())
        {
            // A wake-up of this place's last holder must not be taken for one of ours.
            event.clear();
        }
        joined
    };
    match joined {
        Join::Joined(waiter) => {
            trace::count(Event::FlightJoined);
            Ok(waiter)
        }
        Join::Started(waiter) => {
            trace::count(Event::FlightStarted);
            flights.raise(Signal::Work);
            Ok(waiter)
        }
        Join::Refused(failure) => Err(failure),
        // Said only to scans at close.
        Join::Needless => Err(Failure::QueueFull),
    }
}

/// Waits until the flight has an outcome, the deadline passes, or the opener is cancelled.
fn await_outcome(flights: &Flights, waiter: WaiterId, wanted: &Wanted<'_>) -> Result<Outcome, End> {
    let event = flights
        .wake
        .get(waiter.index())
        .ok_or(End::Failed(Failure::QueueFull))?;
    let why = loop {
        match wanted.by.wait(event, wanted.deadline) {
            Waited::Signalled => {
                let outcome = flights.table.lock().take_outcome(waiter);
                if let Some(outcome) = outcome {
                    return Ok(outcome);
                }
            }
            Waited::TimedOut => break End::Failed(Failure::TooSlow),
            Waited::Interrupted(_) => break End::Cancelled,
        }
    };
    loop {
        let left = flights.table.lock().leave(waiter);
        match left {
            Left::Gone => return Err(why),
            Left::GoneAndStop => {
                flights.raise(Signal::Stop);
                return Err(why);
            }
            Left::Done(outcome) => return Ok(outcome),
            // A leader is making the section with our file object; it wakes us when it has it.
            Left::Lent => {
                event.wait(clock::after(clock::now(), GIVE_WAY_MS));
            }
        }
    }
}

/// Tells instances apart for core's table.
fn owner(instance: Instance<'_>) -> u64 {
    instance.as_ptr().addr() as u64
}

/// The bytes of a key, or of a stream, change: scans of them are dead.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn kill(key: Option<&Key>, stream: StreamId) {
    if let Some(key) = key {
        kill_subject(&Subject::Key(*key));
    }
    kill_subject(&Subject::Stream(stream));
}

fn kill_subject(subject: &Subject) {
    if !state::FILTER.may_have(subject) {
        return;
    }
    let Some(flights) = state::flights() else {
        return;
    };
    let killed = flights
        .table
        .lock()
        .kill(subject, &mut |waiter| flights.wake_waiter(waiter));
    tell_killed(flights, killed);
}

/// What all streams of a file show changes, without an operation on any of them.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn kill_file(file: &Key) {
    let Some(flights) = state::flights() else {
        return;
    };
    let killed = flights
        .table
        .lock()
        .kill_file(file, &mut |waiter| flights.wake_waiter(waiter));
    tell_killed(flights, killed);
}

fn tell_killed(flights: &Flights, killed: u16) {
    for _ in 0..killed {
        trace::count(Event::FlightKilled);
    }
    if killed != 0 {
        flights.raise(Signal::Stop);
        flights.raise(Signal::Work);
    }
}

/// An instance goes away: nothing reads through it any more.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn abandon(instance: Instance<'_>) {
    let Some(flights) = state::flights() else {
        return;
    };
    let owner = owner(instance);
    flights
        .table
        .lock()
        .kill_owner(owner, &mut |waiter| flights.wake_waiter(waiter));
    flights.raise(Signal::Stop);
    flights.raise(Signal::Work);
}

/// An operation needs a scanned section gone: the scan ends, and the operation waits a bounded
/// time for the section to be closed.
///
/// # IRQL
/// PASSIVE_LEVEL, in the thread of the conflicting operation.
pub fn give_way(context: &SectionContext) {
    if !context.conflict() {
        return;
    }
    kill_subject(&context.subject);
    if let Some(stream) = context.stream {
        kill_subject(&Subject::Stream(stream));
    }
    context.wait_closed(clock::after(clock::now(), GIVE_WAY_MS));
}
