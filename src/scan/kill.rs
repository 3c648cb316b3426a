//! Scans that end because their bytes change, their volume goes, or somebody needs their section
//! gone.
#![forbid(unsafe_code)]

use siloscan_core::flight::Subject;
use siloscan_core::key::Key;
use siloscan_core::reason::Event;
use siloscan_core::stream::StreamId;

use crate::context::SectionContext;
use crate::kernel::file::Instance;
use crate::kernel::{clock, thread};
use crate::state::{self, Flights, Signal};
use crate::trace;

/// How long a conflicting operation waits for a scan to let go, in milliseconds.
pub(super) const GIVE_WAY_MS: u64 = 200;

/// How often it looks whether they have, where nothing tells it, in milliseconds.
const LET_GO_MS: u64 = 2;

/// The bytes of a key, or of a stream, change: scans of them are dead. Whether there were any of
/// the key.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn kill(key: Option<&Key>, stream: StreamId) -> bool {
    let by_key = key.is_some_and(|key| kill_subject(&Subject::Key(*key)));
    kill_subject(&Subject::Stream(stream));
    by_key
}

/// Scans of a key were killed by an operation on `stream` that a section may stand in the way of.
/// One of a container's placeholder may count on the package file itself, and the Filter Manager
/// knows of no scan of that file: the operation waits a bounded time for the sections to be closed.
///
/// # IRQL
/// PASSIVE_LEVEL, in the thread of the operation.
pub fn await_let_go(key: &Key, stream: StreamId) {
    let Some(flights) = state::flights() else {
        return;
    };
    let subject = Subject::Key(*key);
    let deadline = clock::after(clock::now(), GIVE_WAY_MS);
    while flights
        .table
        .lock()
        .is_read_through_another(&subject, stream)
        && clock::now() < deadline
    {
        thread::sleep(LET_GO_MS);
    }
}

/// Ends the scans of a subject. Whether there were any.
fn kill_subject(subject: &Subject) -> bool {
    if !state::FILTER.may_have(subject) {
        return false;
    }
    let Some(flights) = state::flights() else {
        return false;
    };
    let killed = flights
        .table
        .lock()
        .kill(subject, &mut |waiter| flights.wake_waiter(waiter));
    tell_killed(flights, killed);
    killed != 0
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

/// Tells instances apart for core's table.
pub(super) fn owner(instance: Instance<'_>) -> u64 {
    instance.as_ptr().addr() as u64
}
