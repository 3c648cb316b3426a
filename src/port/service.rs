//! The two threads that talk to the service beside the leaders. One asks "anything for me?", takes
//! the absence of an answer for a missed heartbeat, and follows the registry; one tells it to stop
//! scans that a change has made worthless.
#![forbid(unsafe_code)]

use siloscan_core::ledger::Ledger;
use siloscan_core::limits::ParameterId;
use siloscan_core::reason::Event;
use siloscan_core::wire::{
    ContainerCounts, Counts, ExclusionHits, ExclusionsAsk, ExclusionsReply, Message, News, Poll,
    PollFlags, PollReply, Stop, StopReply,
};
use zerocopy::{FromZeros, IntoBytes};

use super::{Cause, Unanswered};
use crate::exclusions::{self, Listed};
use crate::kernel::lock::Raise;
use crate::kernel::pool::{PoolSlice, Tag};
use crate::kernel::{clock, thread};
use crate::port;
use crate::scan::desk::Desk;
use crate::settings::Follower;
use crate::state::{self, Flights, Signal};
use crate::trace;

/// How long the service may take to take a message that has no answer, in milliseconds.
pub const TELL_MS: u64 = 1_000;
/// Polls per heartbeat.
const POLLS: u64 = 5;
/// How long the thread that sends stops sleeps where nobody wakes it, in milliseconds.
const IDLE_MS: u64 = 1_000;

/// Asks the service at regular times.
pub struct Poller;

impl thread::Body for Poller {
    fn run(_: usize) {
        let Some(flights) = state::flights() else {
            return;
        };
        let mut sequence = 0_u64;
        let mut counts = PoolSlice::new(1, Tag::MESSAGE, |_| Counts::new_zeroed()).ok();
        let containers = || PoolSlice::new(1, Tag::MESSAGE, |_| ContainerCounts::new_zeroed());
        let mut containers = containers().ok();
        let hits = || PoolSlice::new(1, Tag::MESSAGE, |_| ExclusionHits::new_zeroed());
        let mut hits = hits().ok();
        let mut follower = Follower::new();
        while !state::is_stopping() {
            follower.look_if_due();
            let heartbeat = u64::from(state::parameters().get(ParameterId::HeartbeatMs));
            if port::is_connected() {
                sequence = sequence.wrapping_add(1);
                poll(sequence, heartbeat);
                tell_containers(containers.as_mut());
                tell_counts(counts.as_mut());
                tell_hits(hits.as_mut());
            }
            flights.wait(Signal::Poll, heartbeat / POLLS);
        }
    }
}

/// Tells the counters, where any of them moved. Without memory for the message nobody is told.
fn tell_counts(message: Option<&mut PoolSlice<Counts>>) {
    let Some(counts) = message.and_then(|slice| slice.as_mut().first_mut()) else {
        return;
    };
    if counts.fill(trace::counters()) {
        tell(counts);
    }
}

/// Tells the numbers of each container, where any of them moved.
fn tell_containers(message: Option<&mut PoolSlice<ContainerCounts>>) {
    let Some(counts) = message.and_then(|slice| slice.as_mut().first_mut()) else {
        return;
    };
    if counts.fill(&mut trace::tallies().lock()) {
        tell(counts);
    }
}

/// Tells how often each exclusion was hit, where that moved.
fn tell_hits(message: Option<&mut PoolSlice<ExclusionHits>>) {
    let Some(hits) = message.and_then(|slice| slice.as_mut().first_mut()) else {
        return;
    };
    if hits.fill(exclusions::containers(), exclusions::layers()) {
        tell(hits);
    }
}

fn tell<M: Message>(message: &M) {
    let deadline = clock::after(clock::now(), TELL_MS);
    if port::tell(message, deadline).is_err() {
        trace::count(Event::HeartbeatMissed);
    }
}

/// One question and its answer.
fn poll(sequence: u64, heartbeat: u64) {
    let Some(ledger) = state::ledger() else {
        return;
    };
    let flags = if ledger.warm_wanted() {
        PollFlags::WARM_WANTED
    } else {
        0
    };
    let listed = exclusions::listed();
    let question = Poll::new(sequence, ledger.signature_epoch(), PollFlags(flags));
    let mut reply = PollReply::new_zeroed();
    let deadline = clock::after(clock::now(), heartbeat);
    match port::ask(&question, &mut reply, deadline) {
        Ok(()) => {}
        Err(Unanswered::NoService) => return,
        Err(Unanswered::TimedOut | Unanswered::Failed) => return missed(heartbeat),
    }
    let Ok(answer) = PollReply::decode(reply.as_bytes(), sequence) else {
        return missed(heartbeat);
    };
    state::close_breaker();
    let now = clock::now();
    if Raise::with(|token| ledger.announced(&answer.digest, now, token)) {
        trace::count(Event::SignatureEpoch);
    }
    heed(answer.news, ledger);
    if answer.exclusions != listed.list {
        exclude(answer.exclusions, listed, heartbeat);
    }
}

/// Takes over another list of exclusions. Where that fails the next poll tries again.
fn exclude(list: u32, listed: Listed, heartbeat: u64) {
    if list == 0 {
        return exclusions::clear(listed);
    }
    let reply = PoolSlice::new(1, Tag::MESSAGE, |_| ExclusionsReply::new_zeroed());
    let Ok(mut reply) = reply else { return };
    let Some(reply) = reply.as_mut().first_mut() else {
        return;
    };
    let deadline = clock::after(clock::now(), heartbeat);
    if port::ask(&ExclusionsAsk::new(list), reply, deadline).is_err() {
        return trace::count(Event::HeartbeatMissed);
    }
    match ExclusionsReply::decode(reply.as_bytes()) {
        Ok(list) => exclusions::replace(listed, &list),
        Err(_) => trace::count(Event::HeartbeatMissed),
    }
}

/// What the service says of a volume's layers.
fn heed(news: News, ledger: &Ledger<'_>) {
    let event = match news {
        News::Nothing => return,
        News::Covering(volume, epoch) => {
            let begun = Raise::with(|token| ledger.begin_cover(volume, epoch, token));
            if begun {
                Event::CoverageBegun
            } else {
                Event::CoverageRefused
            }
        }
        News::Covered(volume, epoch) => {
            let covered = Raise::with(|token| ledger.cover(volume, epoch, token));
            if covered {
                Event::CoverageReported
            } else {
                Event::CoverageRefused
            }
        }
        News::Uncovered(volume) => {
            if !Raise::with(|token| ledger.uncover(volume, token)) {
                return;
            }
            Event::CoverageWithdrawn
        }
    };
    trace::count(event);
}

/// The service did not answer: until it does, nobody waits for it.
fn missed(heartbeat: u64) {
    if port::is_connected() {
        trace::count(Event::HeartbeatMissed);
        state::open_breaker(heartbeat);
    }
}

/// Tells the service to end a request whose leader still waits for the answer, or to drop the
/// pieces of a file.
///
/// # Errors
/// No service, or it did not take the message in time.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn stop(request: u64) -> Result<(), Unanswered> {
    port::tell(&Stop::new(request, 0), clock::after(clock::now(), TELL_MS))
}

/// Wants a section back whose request nobody waits for any more: it is closed even if the request
/// was never read. Waits until the service says that it has let go of it.
///
/// # Errors
/// No service, or not its word in time.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn take_back(request: u64, section: u64) -> Result<(), Unanswered> {
    let grace = u64::from(state::parameters().get(ParameterId::SectionGraceMs));
    let deadline = clock::after(clock::now(), TELL_MS.saturating_add(grace));
    let mut reply = StopReply::new_zeroed();
    port::ask(&Stop::new(request, section), &mut reply, deadline)?;
    StopReply::decode(reply.as_bytes(), request).map_err(|_| Unanswered::Failed)
}

/// Sends stops, and hangs up on a service that does not obey.
pub struct Stopper;

impl thread::Body for Stopper {
    fn run(_: usize) {
        let Some(flights) = state::flights() else {
            return;
        };
        while !state::is_stopping() {
            send_stops(flights);
            let connection = port::current();
            let now = clock::now();
            let due = next_due(flights, now).unwrap_or(clock::after(now, IDLE_MS));
            if due <= now {
                // What was told is told to a connection that ends here.
                flights.desks.iter().for_each(Desk::forget);
                port::hang_up(connection, Cause::SectionKept);
            } else {
                flights.wait_until(Signal::Stop, due);
            }
        }
    }
}

/// Tells the service of every scan that has died. The time that it has to let go begins when it
/// has read that.
fn send_stops(flights: &Flights) {
    loop {
        let request = flights.table.lock().take_stop();
        let Some(request) = request else { return };
        let connection = port::current();
        let told = stop(request);
        if told == Err(Unanswered::TimedOut) {
            port::hang_up(connection, Cause::StopNotRead);
        }
        let now = clock::now();
        for desk in flights.desks.iter() {
            desk.note_told(request, now);
        }
    }
}

/// When the service must have let go of the section that it was told to let go of first.
fn next_due(flights: &Flights, now: clock::Time) -> Option<clock::Time> {
    let grace = u64::from(state::parameters().get(ParameterId::SectionGraceMs));
    let told = flights.desks.iter().filter_map(|desk| desk.told_since(now));
    told.min().map(|first| clock::after(first, grace))
}
