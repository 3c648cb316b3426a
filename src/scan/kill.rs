//! Scans that end because their bytes change, their volume goes, or somebody needs their section
//! gone.
#![forbid(unsafe_code)]

use siloscan_core::flight::Subject;
use siloscan_core::key::Key;
use siloscan_core::reason::Event;
use siloscan_core::stream::StreamId;

use crate::context::SectionContext;
use crate::kernel::clock;
use crate::kernel::file::Instance;
use crate::state::{self, Flights, Signal};
use crate::trace;

/// How long a conflicting operation waits for a scan to let go, in milliseconds.
pub(super) const GIVE_WAY_MS: u64 = 200;

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

pub(super) fn kill_subject(subject: &Subject) {
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

pub(super) fn tell_killed(flights: &Flights, killed: u16) {
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

/// Tells instances apart for core's table.
pub(super) fn owner(instance: Instance<'_>) -> u64 {
    instance.as_ptr().addr() as u64
}
