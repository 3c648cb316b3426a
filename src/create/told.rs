//! What is counted and told of an open that was decided.
#![forbid(unsafe_code)]

use siloscan_core::ecp::{Redirection, RedirectionFlags};
use siloscan_core::reason::{Counted, DenyReason, Event};
use siloscan_core::route::OpenFacts;
use siloscan_core::verdict::End;

use super::Opening;
use crate::exclusions;
use crate::kernel::file::Name;
use crate::kernel::{Status, clock};
use crate::sys::constants::{STATUS_ACCESS_DENIED, STATUS_CANCELLED, STATUS_VIRUS_INFECTED};
use crate::trace::{self, Detection, ForeignSilo, Who};

impl Opening<'_> {
    /// A skip may be an exclusion's.
    pub(super) fn count_exclusion(&self) {
        if let Some(excluded) = self.excluded {
            exclusions::containers().hit(excluded);
        }
    }

    /// An open out of a silo that the host compute service did not make.
    pub(super) fn tell_foreign(&self, redirection: &Redirection) {
        trace::count(Event::ForeignSilo);
        let container = self.container();
        trace::tally(&container, |tally| {
            tally.foreign = tally.foreign.saturating_add(1);
        });
        trace::foreign_silo(&ForeignSilo {
            container,
            process: self.data.process_id(),
            answer: match redirection {
                Redirection::Answer(answer) if answer.flags.has(RedirectionFlags::LAYER) => "layer",
                Redirection::Answer(_) => "scratch",
                _ => "none",
            },
        });
    }

    /// Counts an open of a container that was no hit.
    pub(super) fn tally(&self, end: End, denied: bool, since: clock::Time) {
        if !self.open.has(OpenFacts::CONTAINER) {
            return;
        }
        let now = clock::now();
        trace::tally(&self.container(), |tally| {
            tally.open(since, now);
            tally.denied = tally.denied.saturating_add(u64::from(denied));
            let failed = matches!(end, End::Failed(_));
            tally.failed = tally.failed.saturating_add(u64::from(failed));
        });
    }

    /// Tells of what the policy decided: where there is no verdict, and where an infected file
    /// goes through.
    pub(super) fn tell_policy(
        &self,
        end: End,
        decision: impl Counted,
        overrules: bool,
        since: clock::Time,
    ) {
        let failure = match end {
            End::Failed(failure) => Some(failure),
            _ if overrules => None,
            _ => return,
        };
        let waited = clock::now().saturating_sub(since);
        trace::policy(failure, decision.name(), waited, || Who {
            file: self.name(),
            container: self.container(),
            process: self.data.process_id(),
        });
    }

    /// Refuses the open, and tells of what was found.
    pub(super) fn refuse(&self, reason: DenyReason) {
        let status = match reason {
            DenyReason::Cancelled => STATUS_CANCELLED,
            DenyReason::CachedInfected
            | DenyReason::StaleInfected
            | DenyReason::CoveredInfected
            | DenyReason::ScannedInfected => STATUS_VIRUS_INFECTED,
            _ => STATUS_ACCESS_DENIED,
        };
        self.tale.name(|| self.name());
        if status == STATUS_VIRUS_INFECTED && reason != DenyReason::ScannedInfected {
            self.tell(reason);
        }
        self.data.refuse(Status::failure(status));
    }

    /// The name under which the file was opened, where it can be had.
    pub(super) fn name(&self) -> Option<Name> {
        Name::opened(self.data).ok()
    }

    fn tell(&self, reason: DenyReason) {
        if !trace::wants_detection() {
            return;
        }
        let name = self.name();
        trace::detection(&Detection {
            file: name.as_ref().map_or(&[][..], Name::bytes),
            rule: &[],
            container: self.container(),
            process: self.data.process_id(),
            reason: reason.name(),
        });
    }
}
