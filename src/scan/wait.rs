//! An opener joins or starts the flight of its bytes, and waits for what comes of it.
#![forbid(unsafe_code)]

use siloscan_core::flight::{Join, Left, Outcome, Request, WaiterId};
use siloscan_core::key::Key;
use siloscan_core::limits::Parameters;
use siloscan_core::reason::{Event, Failure};
use siloscan_core::verdict::End;

use super::kill::{GIVE_WAY_MS, owner};
use super::look_up;
use super::wanted::{Wanted, job_of};
use crate::kernel::clock;
use crate::kernel::event::Waited;
use crate::state::{self, Flights, Signal};
use crate::{port, trace};

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
            Ok(Outcome::Excluded(by)) => return End::Excluded(by),
            Ok(Outcome::Failed(failure)) => return End::Failed(failure),
            Ok(Outcome::Again) => {
                trace::count(Event::Retried);
                changed = true;
                if clock::now() >= wanted.deadline {
                    return End::Failed(Failure::Changing);
                }
                let known = |key: Key| look_up(&key, None, wanted.layer, parameters);
                if let Some(end) = wanted.key.and_then(known) {
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
