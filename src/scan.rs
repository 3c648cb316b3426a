//! The verdict of one open: look it up, else join or start the flight of its bytes and wait. An
//! opener only waits; leaders (`scan/lead.rs`) do the work.
#![forbid(unsafe_code)]

pub mod chunks;
pub mod closed;
pub mod desk;
pub mod detached;
pub mod job;
mod kill;
pub mod lead;
mod wait;
mod wanted;

pub use kill::{abandon, await_let_go, give_way, kill, kill_file};
pub use wait::wait_for_verdict;
pub use wanted::{By, Wanted};

use siloscan_core::flight::Subject;
use siloscan_core::key::{Key, VolumeGuid};
use siloscan_core::ledger::{Ledger, Lookup, VolumeRef};
use siloscan_core::limits::{OnStale, Parameters};
use siloscan_core::reason::{AllowReason, DenyReason, Event, Failure};
use siloscan_core::verdict::{self, Decision, End, Opener};

use crate::context::{Owned, SectionContext, StreamContext};
use crate::kernel::clock::{self, Time};
use crate::kernel::file::Held;
use crate::kernel::section::ScanSection;
use crate::kernel::{Status, thread};
use crate::{exclusions, state, trace};

/// Pause between two tries of a file that could not be read, in milliseconds.
const RETRY_MS: u64 = 20;

/// A volume that was looked for, as it was found.
#[derive(Clone, Copy)]
pub struct OnVolume(pub VolumeGuid, pub VolumeRef);

/// What is known about a key, without waiting. `None` is a miss. That the file lies in an excluded
/// layer is for a `layer` open only: one that an acknowledged answer told that a layer holds its
/// bytes. `on` is the key's volume, if that was found already; another one is of no use.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn look_up(
    key: &Key,
    on: Option<&OnVolume>,
    layer: bool,
    parameters: &Parameters,
) -> Option<End> {
    let ledger = state::ledger()?;
    let known = match on {
        Some(OnVolume(guid, volume)) if *guid == key.volume => ledger.lookup_on(*volume, key.file),
        _ => None,
    };
    match known.unwrap_or_else(|| found_by_guid(ledger, key)) {
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
        Lookup::Old => {
            want_warm();
            None
        }
        Lookup::Excluded(said) if layer => exclusions::of_layer(&said).map(End::CachedExcluded),
        Lookup::Excluded(_) | Lookup::Untracked | Lookup::Miss => None,
    }
}

/// The look-up of a key whose volume was not found before, or has a new epoch since.
#[cold]
#[inline(never)]
fn found_by_guid(ledger: &Ledger<'_>, key: &Key) -> Lookup {
    ledger.lookup_layer(key)
}

/// A stale verdict was met: the first time in an epoch the service is asked for a proactive scan,
/// now rather than at the next turn.
fn want_warm() {
    if state::ledger().is_some_and(Ledger::want_warm) {
        trace::count(Event::WarmWanted);
        state::wake_poller();
    }
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
