//! From a request to a verdict: take memory, copy the file, let go of its section, and only then
//! have an engine look at the copy.

use std::time::Duration;

use siloscan_verdicts::{Key, Verdict};

use crate::engine::{EngineError, Finding, Scanner};
use crate::events::Event;
use crate::job::{Job, Outcome};
use crate::kept;
use crate::memory::{self, Copied, NoRoom};
use crate::platform::{Platform, Port, Section};
use crate::scans::Scans;
use crate::session::Session;
use crate::stats::Stats;
use crate::worker::{Ending, Held, Placed, Workers};

/// Bytes that are copied before looking whether the driver wants the section back.
const CHUNK_BYTES: usize = 256 << 10;
/// How often a scan that waits for memory looks for it.
const MEMORY_WAIT: Duration = Duration::from_millis(5);

/// What a thread scans with, for as long as the rule set is in use.
pub(crate) enum Hands<'s> {
    Workers(&'s Workers),
    Here(Box<dyn Scanner + 's>),
}

impl<'s> Hands<'s> {
    pub(crate) fn of(scans: &'s Scans) -> Self {
        match scans {
            Scans::InWorkers(workers) => Self::Workers(workers),
            Scans::Here(engine) => Self::Here(engine.scanner()),
        }
    }

    /// A worker for a file of `size` bytes, if one is idle: the copy is made in its memory.
    fn hold(&self, size: usize, stats: &Stats) -> Option<Held> {
        match self {
            Self::Workers(workers) => workers.hold(size, stats),
            Self::Here(_) => None,
        }
    }
}

/// Copies the file that `job` asks for. Its section and view are let go when this returns, and soon
/// after a stop.
pub(crate) fn copy<P: Platform>(
    session: &Session<P>,
    job: &Job,
    hands: &Hands<'_>,
) -> Result<Copied, Outcome> {
    let room = match room_for(session, job, hands) {
        Ok(room) => room,
        Err(outcome) => {
            session.let_go(job);
            return Err(outcome);
        }
    };
    let (copied, filled) = match room {
        Room::Filled(copied) => (copied, Ok(())),
        Room::Empty(mut copied) => {
            let filled = fill(session, job, &mut copied.bytes);
            (copied, filled)
        }
    };
    // The driver is told before memory is given back, which takes time.
    session.note_released(job);
    filled.map(|()| copied)
}

/// Memory for a copy.
enum Room {
    /// The bytes came before the request.
    Filled(Copied),
    Empty(Copied),
}

/// Waits for memory for the copy of a section.
fn room_for<P: Platform>(
    session: &Session<P>,
    job: &Job,
    hands: &Hands<'_>,
) -> Result<Room, Outcome> {
    let service = &session.service;
    if let Some(place) = service.excluding_layer(&job.request) {
        return Err(Outcome::Excluded(place));
    }
    if job.request.size > service.file_bytes_max() {
        return Err(Outcome::TooLarge);
    }
    if let Some(sent) = job.take_sent() {
        return Ok(Room::Filled(sent));
    }
    loop {
        if let Some(outcome) = over_before_it_began(session, job) {
            return Err(outcome);
        }
        let hold = |size| hands.hold(size, &service.stats);
        match service.memory.room_or(job.request.size, hold) {
            Ok(room) => return Ok(Room::Empty(room)),
            // The bounds may have been made narrower meanwhile.
            Err(NoRoom::Now) if job.request.size > service.file_bytes_max() => {
                return Err(Outcome::TooLarge);
            }
            Err(NoRoom::Now) => service.platform.sleep(MEMORY_WAIT),
            Err(NoRoom::AtAll(cause)) => return Err(no_memory(&cause)),
        }
    }
}

fn fill<P: Platform>(session: &Session<P>, job: &Job, copy: &mut Placed) -> Result<(), Outcome> {
    let section = session.port.open_section(job.request.section);
    let section = section.map_err(Outcome::Section)?;
    let (size, mut offset) = (copy.bytes().len(), 0);
    while offset < size {
        if job.is_stopped() {
            return Err(Outcome::Stopped);
        }
        let length = CHUNK_BYTES.min(size - offset);
        let part = copy
            .part(offset, length)
            .map_err(|cause| no_memory(&cause))?;
        section
            .read(offset as u64, part)
            .map_err(Outcome::Section)?;
        offset += length;
    }
    Ok(())
}

fn no_memory(cause: &std::io::Error) -> Outcome {
    Outcome::Engine(memory::no_memory(cause))
}

/// Has the engine look at a copy, if there is one. Its memory is given back when this returns,
/// unless something was found in it.
pub(crate) fn look<P: Platform>(
    session: &Session<P>,
    job: &Job,
    copied: Result<Copied, Outcome>,
    hands: &mut Hands<'_>,
) -> (Outcome, Option<Copied>) {
    let mut copied = match copied {
        Ok(copied) => copied,
        Err(outcome) => return (outcome, None),
    };
    let outcome = look_at(session, job, &mut copied, hands);
    if outcome.detection().is_none() {
        return (outcome, None);
    }
    // What follows a detection takes time. Without memory its worker waits for that.
    let _ = copied.bytes.let_worker_go();
    (outcome, Some(copied))
}

fn look_at<P: Platform>(
    session: &Session<P>,
    job: &Job,
    copied: &mut Copied,
    hands: &mut Hands<'_>,
) -> Outcome {
    if let Some(outcome) = over_before_it_began(session, job) {
        return outcome;
    }
    let platform = &session.service.platform;
    let said = match hands {
        Hands::Workers(workers) => return look_by(workers, session, job, copied),
        Hands::Here(scanner) => {
            let left = job.deadline().saturating_sub(platform.now());
            let limit = platform.engines_may_measure_time().then_some(left);
            scanner.scan(copied.bytes.bytes(), limit)
        }
    };
    said.map_or_else(Outcome::Engine, Outcome::Scanned)
}

/// The same, by a worker process.
fn look_by<P: Platform>(
    workers: &Workers,
    session: &Session<P>,
    job: &Job,
    copied: &mut Copied,
) -> Outcome {
    let service = &session.service;
    let stats = &service.stats;
    let bytes = copied.bytes.bytes();
    let verdicts = service.verdicts();
    let mut content = None;
    if verdicts.is_some() || workers.may_know(bytes.len() as u64) {
        content = kept::content_of(bytes, || job.is_stopped());
        match &content {
            None => return Outcome::Stopped,
            Some(content) if workers.is_killer(content) => {
                stats.killers_refused.one();
                return Outcome::Killer;
            }
            Some(_) => {}
        }
    }
    // A set that has taken the place of this one since has another digest.
    let key = content.map(|content| Key {
        rules: workers.digest().0,
        hash: content.hash,
        size: content.size,
    });
    let kept = verdicts.zip(key);
    let left = || job.deadline().saturating_sub(service.platform.now());
    if let Some((verdicts, key)) = &kept {
        if let Some(known) = verdicts.recall(key, left() / 8) {
            return Outcome::Known(known);
        }
        if let Some(outcome) = over_before_it_began(session, job) {
            return outcome;
        }
    }
    let left = left();
    // A file that had little time is not known to hang.
    let had_time = left >= job.time() / 2;
    session.begin_computing(job);
    // The last eighth is for what follows a worker's end: the driver is to hear of it in time.
    let error = match workers.scan(&mut copied.bytes, left * 7 / 8, stats) {
        Ending::Said(Ok(finding)) => {
            if let Some((verdicts, key)) = &kept {
                verdicts.remember(key, &verdict_of(&finding));
            }
            return Outcome::Scanned(finding);
        }
        Ending::Said(Err(error)) => return Outcome::Engine(error),
        Ending::NoWorker(cause) => return Outcome::NoWorker(cause),
        Ending::Hung if !had_time => return Outcome::Engine(EngineError::TimedOut),
        Ending::Hung => EngineError::TimedOut,
        Ending::Crashed(how) => EngineError::Failed(how),
    };
    if workers.remembers() {
        let content = content.or_else(|| kept::content_of(copied.bytes.bytes(), || false));
        if let Some(content) = content.filter(|content| workers.strike(*content)) {
            let sha256 = crate::engine::Digest(content.hash).to_string();
            let scan = job.record(service.platform.now());
            service.report(Event::Killer { sha256, scan });
        }
    }
    Outcome::Engine(error)
}

fn verdict_of(finding: &Finding) -> Verdict {
    match finding {
        Finding::Clean => Verdict::Clean,
        Finding::Infected { rule, .. } => Verdict::Infected { rule: rule.clone() },
    }
}

fn over_before_it_began<P: Platform>(session: &Session<P>, job: &Job) -> Option<Outcome> {
    if job.is_stopped() {
        Some(Outcome::Stopped)
    } else if job.deadline() <= session.service.platform.now() {
        Some(Outcome::Late)
    } else {
        None
    }
}
