//! The story of one open: what is looked at before it, what is decided after it.
//!
//! Before: named ignores, the silo test, the redirection ECP. After: the answer is read once,
//! core's `route` decides, the key is looked up or a scan is waited for, and the open goes
//! through or is refused.
#![forbid(unsafe_code)]

mod carried;
mod facts;
mod known;
mod told;
mod unknown;

pub use carried::Carried;
use facts::{can_change, facts_after, facts_before, stream_of};

use known::Keyed;

use siloscan_core::exclusion::Excluded;
use siloscan_core::key::Key;
use siloscan_core::limits::Parameters;
use siloscan_core::reason::{AllowReason, Failure, IgnoreReason, LookupReason, SkipReason};
use siloscan_core::route::{self, Facts, LookUp, OpenFacts, PreRoute, Route, Waiting, Which};
use siloscan_core::verdict::{self, End, Opener};

use crate::context::{InstanceContext, Owned, StreamContext};
use crate::ecp::Attached;
use crate::kernel::clock;
use crate::registration::view::Data;
use crate::scan::{self, OnVolume};
use crate::sys::constants::STATUS_INSUFFICIENT_RESOURCES;
use crate::trace::{self, Tale};
use crate::{ecp, exclusions, instance, invalidate, state, transacted};

/// Before the open. `None` where nothing has to happen after it.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn before(data: &Data<'_>) -> Option<Carried> {
    let tale = Tale::begin();
    let (open, list) = facts_before(data);
    let attached = match route::pre_route(open) {
        PreRoute::Leave(reason) => {
            tell_ignored(data, &tale, reason);
            return None;
        }
        PreRoute::Watch(reason) => {
            if !can_change(data) {
                tell_ignored(data, &tale, reason);
                return None;
            }
            Attached::Nothing
        }
        PreRoute::Host => Attached::Nothing,
        PreRoute::Container => ecp::attach(list.as_ref()),
    };
    Some(Carried { open, attached })
}

/// An open that is none of our business.
fn tell_ignored(data: &Data<'_>, tale: &Tale, reason: IgnoreReason) {
    tale.route(reason);
    // No name: before the open it may be too early to ask, and after a failed one there is none.
    tale.end(|| ([0; 16], data.process_id()), || None);
}

/// The instance drains: there is no open file, and nothing of the create may be touched.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn drained(carried: Carried) {
    if let Some(reason) = route::ignored(carried.open.with(OpenFacts::DRAINING)) {
        trace::count(reason);
    }
}

/// After the open.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn after(data: &Data<'_>, carried: Carried) {
    let tale = Tale::begin();
    let open = facts_after(data, carried.open);
    if open.has(OpenFacts::FAILED.with(OpenFacts::REPARSE)) {
        if let Some(reason) = route::ignored(open) {
            tell_ignored(data, &tale, reason);
        }
        return;
    }
    let instance = match instance::known_or_bare(data.instance()) {
        Ok(instance) => instance,
        Err(status) if status.code() == STATUS_INSUFFICIENT_RESOURCES => {
            return unknown::decide(data, open, &tale);
        }
        Err(_) => {
            // Torn down while we were here: nothing can be known of the volume.
            trace::count(IgnoreReason::Draining);
            return;
        }
    };
    instance::ask_for_guid(&instance, data);
    let opening = Opening {
        data,
        open,
        stream: stream_of(data, open, &instance),
        instance,
        excluded: exclusions::of(data.file()),
        parameters: state::parameters(),
        tale,
    };
    opening.run(carried.attached);
}

/// One open that succeeded.
struct Opening<'a> {
    data: &'a Data<'a>,
    open: OpenFacts,
    stream: Option<Owned<StreamContext>>,
    instance: Owned<InstanceContext>,
    /// The exclusion of its container, if there is one.
    excluded: Option<Excluded>,
    parameters: Parameters,
    tale: Tale,
}

impl Opening<'_> {
    fn run(self, attached: Attached) {
        if self.open.has(OpenFacts::NOT_OPENED) && !self.open.has(OpenFacts::DIRECTORY) {
            invalidate::emptied(self.stream.as_ref(), &self.instance);
        }
        let in_sight = !self
            .open
            .has(OpenFacts::DIRECTORY.with(OpenFacts::STACK_FILE_OBJECT));
        if self.open.has(OpenFacts::TRANSACTION) && in_sight && can_change(self.data) {
            transacted::joins(self.data, self.stream.as_ref(), &self.instance);
        }
        let redirection = self.redirection(attached);
        let (open, on) = self.known(&redirection);
        let facts = Facts { open, redirection };
        if self.open.has(OpenFacts::FOREIGN_SILO) {
            self.tell_foreign(&facts.redirection);
        }
        let route = route::route(&facts, &self.parameters.layer_policy());
        if !matches!(route, Route::Ignore(_))
            && let Some(stream) = &self.stream
        {
            stream.state.note_decided();
        }
        match route {
            Route::Ignore(reason) => self.tale.route(reason),
            Route::Skip(reason) => {
                self.tale.route(reason);
                self.count_exclusion();
            }
            Route::LookUp(look_up) => self.look_up(&look_up, on.as_ref()),
            Route::LookUpThenSkip(of, reason) => self.skip_unless_infected(of, reason, on.as_ref()),
            Route::Scan(reason, waiting) => {
                self.tale.route(reason);
                self.finish(
                    |deadline| self.scan(None, false, waiting, deadline),
                    waiting,
                );
            }
        }
        if let Some(stream) = &self.stream {
            stream.state.note_open();
        }
        self.tale.end(
            || (self.container(), self.data.process_id()),
            || self.name(),
        );
    }

    /// A skip, unless the bytes are known to be infected, or are a layer's no more: then the open
    /// is one of a layer file that cannot be looked up.
    fn skip_unless_infected(&self, of: Which, reason: SkipReason, on: Option<&OnVolume>) {
        if reason != SkipReason::Excluded && !self.is_untouched() {
            let look_up = LookUp {
                of,
                reason: LookupReason::CoveredLayer,
                keeps: false,
                waiting: match self.open.has(OpenFacts::OPLOCK_BREAK) {
                    true => Waiting::Never,
                    false => Waiting::Allowed,
                },
            };
            return self.look_up(&look_up, on);
        }
        self.tale.route(match reason {
            SkipReason::Excluded => LookupReason::Excluded,
            SkipReason::CoveredLayer | SkipReason::RemoteLayer => LookupReason::CoveredLayer,
        });
        let key = match of {
            Which::Layer(key) => Some(key),
            Which::Own => self.own_key(),
        };
        match key.and_then(|key| scan::look_up(&key, on, false, &self.parameters)) {
            Some(End::Cached(verdict::Verdict::Infected) | End::StaleInfected) => {
                self.finish(|_| End::CoveredInfected, Waiting::Never);
            }
            _ => {
                self.tale.decision(reason);
                self.count_exclusion();
            }
        }
    }

    /// Looks the key up; a miss is scanned.
    fn look_up(&self, look_up: &LookUp, on: Option<&OnVolume>) {
        self.tale.route(look_up.reason);
        let (key, layer) = match look_up.of {
            Which::Layer(key) => (self.is_untouched().then_some(key), true),
            Which::Own => (self.own_key(), false),
        };
        let known = key.and_then(|key| scan::look_up(&key, on, layer, &self.parameters));
        if known == Some(End::Cached(verdict::Verdict::Clean)) {
            // What `finish` would come to, without asking for the time.
            return self.tale.decision(AllowReason::CachedClean);
        }
        // An acknowledged answer told whose bytes these are. Without one they may be a layer's.
        let answered = layer || look_up.reason == LookupReason::Scratch;
        let keyed = || {
            let own = answered || !instance::is_redirecting(&self.instance, self.data.volume());
            let key = key.filter(|_| own && (!layer || self.is_untouched()))?;
            Some(Keyed {
                key,
                keeps: look_up.keeps,
                scratch: look_up.reason == LookupReason::Scratch,
            })
        };
        let scan = |deadline| self.scan(keyed(), layer, look_up.waiting, deadline);
        self.finish(
            |deadline| match known {
                Some(End::StaleInfected) => self.instead_of_stale(scan(deadline), key, layer),
                Some(known) => known,
                None => scan(deadline),
            },
            look_up.waiting,
        );
        if known == Some(End::StaleClean) && look_up.waiting == Waiting::Allowed {
            scan::detached::rescan(&self.wanted(keyed(), layer, clock::now()));
        }
    }

    /// "Infected" of older signatures stands until a scan replaces it: what is believed after one
    /// is what the cache then holds. A scan that failed, or that was not kept, replaces nothing.
    fn instead_of_stale(&self, scanned: End, key: Option<Key>, layer: bool) -> End {
        match scanned {
            End::Cancelled | End::Scanned(verdict::Verdict::Infected) => scanned,
            _ => key
                .and_then(|key| scan::look_up(&key, None, layer, &self.parameters))
                .unwrap_or(scanned),
        }
    }

    /// Waits for a scan, if the open may wait.
    fn scan(
        &self,
        keyed: Option<Keyed>,
        layer: bool,
        waiting: Waiting,
        deadline: clock::Time,
    ) -> End {
        if waiting == Waiting::Never {
            return End::Failed(Failure::Oplock);
        }
        scan::wait_for_verdict(&self.wanted(keyed, layer, deadline), &self.parameters)
    }

    /// Decides, and tries again while a cause may pass and time is left.
    fn finish(&self, end: impl Fn(clock::Time) -> End, waiting: Waiting) {
        let since = clock::now();
        let opener = Opener {
            in_silo: self.open.has(OpenFacts::CONTAINER),
            emptied: self.open.has(OpenFacts::NOT_OPENED),
            handle_exists: self.data.handle_exists(),
            can_retry: waiting == Waiting::Allowed,
        };
        let failed = |failure| self.tale.failure(failure);
        match scan::decide(&opener, &self.parameters, failed, end) {
            (Ok(reason), end) => {
                self.tale.decision(reason);
                if let End::CachedExcluded(by) | End::Excluded(by) = end {
                    exclusions::layers().hit(by);
                }
                if !matches!(end, End::Cached(_) | End::CachedExcluded(_)) {
                    self.tally(end, false, since);
                }
                self.tell_policy(end, reason, reason.overrules(), since);
                // One that nothing could take back may have met an older verdict, that told nobody
                // by which rule.
                let looked_at = reason == AllowReason::HandleExists;
                if (matches!(end, End::Failed(_)) || looked_at)
                    && let Some(stream) = &self.stream
                {
                    stream.state.note_unscanned();
                }
            }
            (Err(reason), end) => {
                self.tale.decision(reason);
                self.tally(end, true, since);
                self.tell_policy(end, reason, false, since);
                self.refuse(reason);
            }
        }
    }
}
