//! Scans that nobody waits for: of a changed file at its close, and of one that was opened on the
//! word of older signatures. Their sections are made in the thread that has the file open, and
//! core gives them fewer places and leaders than those that somebody waits for.
#![forbid(unsafe_code)]

use siloscan_core::flight::{Join, Request, Subject};
use siloscan_core::reason::{Event, Failure};

use super::closed::Debt;
use super::job::Job;
use super::kill::owner;
use super::section_of;
use super::wanted::{Wanted, job_of};
use crate::context::{InstanceContext, Owned, StreamContext};
use crate::kernel::clock;
use crate::kernel::file::{self, Held, Name};
use crate::kernel::silo::{self, Silo};
use crate::registration::view::Data;
use crate::state::{self, Flights, Signal};
use crate::sys::constants::STATUS_END_OF_FILE;
use crate::{exclusions, instance, invalidate, port, trace};

/// A changed file is closed: its bytes are kept reachable by a section, made while the file is
/// still open, and scanned by a leader. The closing writer does not wait for that.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn at_close(data: &Data<'_>, stream: Owned<StreamContext>) {
    let Ok(instance) = Owned::<InstanceContext>::of(data.instance()) else {
        return;
    };
    // Wherever this ends without a clean verdict that is kept, the drop of the debt says so.
    let debt = Debt::of(&stream, &instance);
    if !port::is_connected() || state::is_breaker_open() || state::is_stopping() {
        return;
    }
    if file::is_nested() || !file::may_query() || port::is_scanner(data) || data.in_transaction() {
        return;
    }
    if exclusions::of(data.file()).is_some() {
        trace::count(Event::CloseExcluded);
        return;
    }
    let Some(flights) = state::flights() else {
        return;
    };
    let silo = silo::of(data.file());
    match closed_job(data, stream, instance, silo) {
        Ok(job) => queue(flights, silo, Job { debt, ..job }),
        Err(Closing::Empty) => debt.into_iter().for_each(|mut debt| debt.pay()),
        Err(Closing::Left) => trace::count(Event::CloseLeft),
        Err(Closing::Failed) => trace::count(Event::CloseFailed),
    }
}

/// Why there is no scan at close.
enum Closing {
    /// There is nothing to scan.
    Empty,
    /// No section can keep the bytes: the next open scans them.
    Left,
    /// The bytes cannot be had.
    Failed,
}

/// The job of a file that is being closed, its section made.
fn closed_job(
    data: &Data<'_>,
    stream: Owned<StreamContext>,
    instance: Owned<InstanceContext>,
    silo: Option<Silo>,
) -> Result<Job, Closing> {
    let failed = |_| Closing::Failed;
    if !instance.data_scan {
        return Err(Closing::Left);
    }
    let held = Held::new(data.instance(), data.file()).map_err(failed)?;
    let cacheable = !instance.dax && !instance.csv && !stream.state.writable_section();
    let unnamed = stream.state.name() == siloscan_core::stream::StreamName::Unnamed;
    let key = invalidate::own_key(&stream, &instance)
        .filter(|_| cacheable && unnamed && !instance::is_redirecting(&instance, data.volume()));
    let subject = key.map_or(Subject::Stream(stream.state.id()), Subject::Key);
    let file = invalidate::own_key(&stream, &instance);
    let section =
        section_of(&held, subject, Some(&stream)).map_err(|status| match status.code() {
            STATUS_END_OF_FILE => Closing::Empty,
            _ => Closing::Failed,
        })?;
    Ok(Job {
        held,
        stream: Some(stream),
        instance,
        name: Name::opened(data).ok(),
        section: Some(section),
        debt: None,
        key,
        keeps: true,
        layer: false,
        scratch: false,
        alone: false,
        file,
        closed: true,
        process: data.process_id(),
        container: silo.map_or([0; 16], |silo| silo.container),
    })
}

/// Queues a scan that has its section, on the account of this silo.
fn queue(flights: &Flights, silo: Option<Silo>, job: Job) {
    let deadline = clock::now().saturating_add(state::parameters().open_deadline());
    let stream = job.stream.as_ref().map(|stream| stream.state.id());
    let subject = job.subject(state::next_stream);
    let (closed, owner) = (job.closed, owner(job.held.instance()));
    let file = job.file;
    let cookie = match flights.jobs.insert(job) {
        Ok(cookie) => cookie,
        Err(job) => {
            drop(job);
            return count_refused(closed, Failure::QueueFull);
        }
    };
    let request = Request {
        subject,
        stream,
        silo: silo.map_or(0, |silo| silo.account),
        owner,
        cookie: cookie.to_raw(),
        deadline,
        detached: true,
        alone: false,
        file,
    };
    let joined = flights.table.lock().join_or_start(&request);
    match joined {
        Join::Started(_) => {
            trace::count(if closed {
                Event::CloseScan
            } else {
                Event::StaleRescan
            });
            flights.raise(Signal::Work);
        }
        Join::Needless => drop(flights.jobs.remove(cookie)),
        // A scan that nobody waits for joins none: it is needless then.
        Join::Joined(_) => {}
        Join::Refused(why) => {
            count_refused(closed, why);
            drop(flights.jobs.remove(cookie));
        }
    }
}

/// A file with a stale verdict is not counted: its next open tries again.
fn count_refused(closed: bool, why: Failure) {
    if closed {
        trace::count(match why {
            Failure::ShareUsed => Event::CloseCrowded,
            _ => Event::CloseFailed,
        });
    }
}

/// An open went through with a "clean" of the signatures before: the file is scanned under the
/// new ones, and nobody waits for it. What is opened most is so scanned first. Where the section
/// cannot be made the open's verdict stays stale, and the next open tries again.
///
/// # IRQL
/// PASSIVE_LEVEL, in the opener's thread.
pub fn rescan(wanted: &Wanted<'_>) {
    let (Some(key), Some(stream)) = (wanted.key.filter(|_| wanted.keeps), wanted.stream) else {
        return;
    };
    if !port::is_connected() || state::is_breaker_open() || !wanted.instance.data_scan {
        return;
    }
    let Some(flights) = state::flights() else {
        return;
    };
    let subject = Subject::Key(key);
    if state::FILTER.may_have(&subject) && flights.table.lock().has(&subject) {
        return;
    }
    let Ok(job) = job_of(wanted) else { return };
    if let Ok(section) = section_of(&job.held, subject, Some(stream)) {
        let section = Some(section);
        queue(flights, wanted.silo, Job { section, ..job });
    }
}
