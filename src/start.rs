//! The story of one process that starts: nobody opens its image again, so what was decided at the
//! image's open may be about other bytes. A file that was written and deleted through one handle,
//! or overwritten after it was mapped, is met here and nowhere else.
#![forbid(unsafe_code)]

use siloscan_core::reason::{AllowReason, Counted, DenyReason, Event, Failure};
use siloscan_core::start::{self, StartFacts, StartRoute};
use siloscan_core::verdict::{End, Opener, Verdict};

use crate::context::{InstanceContext, Owned, StreamContext};
use crate::kernel::file::{self, Instance};
use crate::kernel::image::OurInstance;
use crate::kernel::process::Start;
use crate::kernel::silo::{self, Silo};
use crate::kernel::{Status, clock};
use crate::scan::{self, By, Wanted};
use crate::sys::constants::{FO_CLEANUP_COMPLETE, STATUS_ACCESS_DENIED, STATUS_VIRUS_INFECTED};
use crate::trace::{self, ProcessStart};
use crate::{instance, port, state};

/// Looks at a process's image before the process is there.
///
/// # IRQL
/// PASSIVE_LEVEL, in the thread that makes the process.
pub fn check(start: &Start<'_>) {
    if port::is_called_by_scanner() {
        // It would wait for itself.
        return;
    }
    let ours = OurInstance::of(start.file());
    let instance = ours.as_ref().and_then(OurInstance::borrow);
    let context = instance.and_then(|instance| instance::known_or_bare(instance).ok());
    let (Some(instance), Some(context)) = (instance, context) else {
        trace::count(Event::StartUnwatched);
        return;
    };
    let stream = Owned::<StreamContext>::of(instance, start.file()).ok();
    let facts = facts(start, instance, stream.as_ref());
    let starting = Starting {
        start,
        instance,
        context,
        stream,
        silo: silo::of(start.file()),
    };
    match start::route(facts) {
        StartRoute::Known => trace::count(Event::StartKnown),
        StartRoute::Infected => starting.finish(|_| End::Cached(Verdict::Infected)),
        StartRoute::Unknowable(failure) => {
            trace::count(Event::StartUnknowable);
            starting.finish(|_| End::Failed(failure));
        }
        StartRoute::Scan => {
            trace::count(Event::StartScanned);
            starting.finish(|deadline| starting.scan(deadline));
        }
    }
}

/// What is known of the image's stream.
fn facts(
    start: &Start<'_>,
    instance: Instance<'_>,
    stream: Option<&Owned<StreamContext>>,
) -> StartFacts {
    let file = start.file();
    let is = |fact: fn(&StreamContext) -> bool| stream.is_some_and(|stream| fact(stream));
    StartFacts {
        seen: is(|stream| stream.state.is_decided()),
        deleted: file.delete_pending()
            || is(|stream| stream.state.is_deleted())
            || file::is_deleted(instance, file),
        overwritten: is(|stream| stream.state.image_overwritten()),
        unsettled: is(|stream| stream.state.wants_close_scan()),
        infected: is(|stream| stream.state.is_infected()),
    }
}

/// A process whose image is looked at.
struct Starting<'a> {
    start: &'a Start<'a>,
    instance: Instance<'a>,
    context: Owned<InstanceContext>,
    stream: Option<Owned<StreamContext>>,
    silo: Option<Silo>,
}

impl Starting<'_> {
    /// Waits for a scan of what the file shows now.
    fn scan(&self, deadline: clock::Time) -> End {
        let wanted = Wanted {
            by: By::Start(self.start, self.instance),
            instance: &self.context,
            stream: self.stream.as_ref(),
            key: None,
            keeps: false,
            layer: false,
            scratch: false,
            silo: self.silo,
            deadline,
        };
        scan::wait_for_verdict(&wanted, &state::parameters())
    }

    /// Decides by what `end` says.
    fn finish(&self, end: impl Fn(clock::Time) -> End) {
        let opener = Opener {
            in_silo: self.silo.is_some() || silo::caller_is_contained(),
            emptied: false,
            handle_exists: false,
            // Through a file object whose handles are closed the file may never be read again.
            can_retry: self.start.file().flags() & FO_CLEANUP_COMPLETE == 0,
        };
        let count = |failure: Failure| trace::count(failure);
        let (decided, end) = scan::decide(&opener, &state::parameters(), count, end);
        let failure = match end {
            End::Failed(failure) => Some(failure),
            _ => None,
        };
        match decided {
            Ok(reason) => self.allow(reason, failure),
            Err(reason) => self.refuse(reason, failure),
        }
    }

    fn allow(&self, reason: AllowReason, failure: Option<Failure>) {
        trace::count(reason);
        if !matches!(reason, AllowReason::ScannedClean | AllowReason::Empty) {
            self.tell(reason.name(), failure);
        }
    }

    fn refuse(&self, reason: DenyReason, failure: Option<Failure>) {
        trace::count(reason);
        trace::count(Event::StartRefused);
        self.tell(reason.name(), failure);
        self.start.refuse(Status::failure(match reason {
            DenyReason::CachedInfected | DenyReason::ScannedInfected => STATUS_VIRUS_INFECTED,
            _ => STATUS_ACCESS_DENIED,
        }));
    }

    fn tell(&self, decision: &'static str, failure: Option<Failure>) {
        trace::process_start(&ProcessStart {
            image: self.start.name(),
            decision,
            failure: failure.map_or("", Counted::name),
            container: self.silo.map_or([0; 16], |silo| silo.container),
            process: self.start.process(),
        });
    }
}
