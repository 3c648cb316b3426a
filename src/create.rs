//! The story of one open: what is looked at before it, what is decided after it.
//!
//! Before: named ignores, the silo test, the redirection ECP. After: the answer is read once,
//! core's `route` decides, the key is looked up or a scan is waited for, and the open goes
//! through or is refused.
#![forbid(unsafe_code)]

mod carried;
mod unknown;

pub use carried::Carried;

use core::sync::atomic::Ordering;

use siloscan_core::ecp::{Redirection, RedirectionFlags};
use siloscan_core::exclusion::Excluded;
use siloscan_core::key::Key;
use siloscan_core::limits::Parameters;
use siloscan_core::reason::{
    Counted, DenyReason, Event, Failure, IgnoreReason, LookupReason, SkipReason,
};
use siloscan_core::route::{self, Facts, LookUp, OpenFacts, PreRoute, Route, Waiting, Which};
use siloscan_core::stream::{OwnId, StreamName};
use siloscan_core::verdict::{self, End, Opener};

use crate::context::{InstanceContext, Owned, StreamContext};
use crate::ecp::{Attached, List};
use crate::kernel::file::{self, Name};
use crate::kernel::silo::{self, Place};
use crate::kernel::{Status, clock};
use crate::registration::view::{Data, NameHint};
use crate::scan::{self, By, Wanted};
use crate::sys::constants::*;
use crate::trace::{self, Detection, ForeignSilo, Tale, Who};
use crate::{exclusions, instance, invalidate, port, state, transacted};

/// Access that reads, runs or changes data. What is not yet resolved counts as all of it.
const DATA_ACCESS: u32 =
    FILE_READ_DATA | FILE_EXECUTE | WRITE_ACCESS | GENERIC_READ | GENERIC_EXECUTE;
/// Access that writes data.
const WRITE_ACCESS: u32 =
    FILE_WRITE_DATA | FILE_APPEND_DATA | GENERIC_WRITE | GENERIC_ALL | MAXIMUM_ALLOWED;
/// Access that changes a file in any way.
const CHANGE_ACCESS: u32 = WRITE_ACCESS | DELETE | FILE_WRITE_ATTRIBUTES | FILE_WRITE_EA;

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
        PreRoute::Container => attach(list.as_ref()),
    };
    Some(Carried { open, attached })
}

/// An open that is none of our business.
fn tell_ignored(data: &Data<'_>, tale: &Tale, reason: IgnoreReason) {
    tale.route(reason);
    tale.end(|| ([0; 16], data.process_id()));
}

/// What is known before the file is open, and the list of ECPs where one was looked for.
fn facts_before<'a>(data: &'a Data<'a>) -> (OpenFacts, Option<List<'a>>) {
    let flags = data.operation_flags();
    let create = data.create();
    let early = OpenFacts::NONE
        .with_if(OpenFacts::STACK_FILE_OBJECT, data.has_stack_file_object())
        .with_if(OpenFacts::PAGING_FILE, flags & SL_OPEN_PAGING_FILE != 0)
        .with_if(
            OpenFacts::TARGET_DIRECTORY,
            flags & SL_OPEN_TARGET_DIRECTORY != 0,
        )
        .with_if(
            OpenFacts::DIRECTORY,
            create.options & FILE_DIRECTORY_FILE != 0,
        )
        .with_if(OpenFacts::VOLUME, data.opens_volume());
    if route::ignored(early).is_some() {
        return (early, None);
    }
    let list = List::of(data);
    let origins = list.origins();
    let open = early
        .with_if(OpenFacts::PREFETCH, origins.prefetch)
        .with_if(OpenFacts::CSV_DOWN_LEVEL, origins.csv_down_level)
        .with_if(OpenFacts::SCANNER, port::is_scanner(data))
        .with_if(OpenFacts::NESTED, file::is_nested())
        .with(place(data))
        .with_if(OpenFacts::UNNAMED, data.name_hint() == NameHint::Unnamed);
    (open, Some(list))
}

/// Where the file is opened, as facts.
fn place(data: &Data<'_>) -> OpenFacts {
    match silo::place(data.file()) {
        Place::Host => OpenFacts::NONE,
        Place::Container => OpenFacts::CONTAINER,
        Place::Foreign => OpenFacts::CONTAINER.with(OpenFacts::FOREIGN_SILO),
    }
}

/// Whether the open may change a file, so that its stream has to be known.
fn can_change(data: &Data<'_>) -> bool {
    let options = data.create().options;
    let disposition = options >> 24;
    data.desired_access() & CHANGE_ACCESS != 0
        || options & FILE_DELETE_ON_CLOSE != 0
        || disposition != FILE_DISPOSITION_OPEN
}

/// Attaches or shares the redirection ECP, and counts which.
fn attach(list: Option<&List<'_>>) -> Attached {
    let attached = list.map_or(Attached::Nothing, List::attach);
    trace::count(match attached {
        Attached::Nothing => Event::EcpFailed,
        Attached::Fresh => Event::EcpAttached,
        Attached::Reused => Event::EcpReused,
        Attached::Shared => Event::EcpShared,
        Attached::Tainted => Event::EcpTainted,
    });
    attached
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

/// What is known once the file is open.
fn facts_after(data: &Data<'_>, before: OpenFacts) -> OpenFacts {
    let status = data.status();
    let open = before
        .with_if(OpenFacts::FAILED, status < 0)
        .with_if(OpenFacts::REPARSE, status == STATUS_REPARSE);
    if open.has(OpenFacts::FAILED.with(OpenFacts::REPARSE)) {
        return open;
    }
    let access = data.desired_access();
    open.with_if(
        OpenFacts::OPLOCK_BREAK,
        status == STATUS_OPLOCK_BREAK_IN_PROGRESS,
    )
    .with_if(
        OpenFacts::DIRECTORY,
        file::is_directory(data.instance(), data.file()),
    )
    .with_if(OpenFacts::NO_DATA_ACCESS, access & DATA_ACCESS == 0)
    .with_if(OpenFacts::NOT_OPENED, data.information() != FILE_OPENED)
    .with_if(OpenFacts::TRANSACTION, data.in_transaction())
    .with_if(OpenFacts::CAN_WRITE, access & WRITE_ACCESS != 0)
}

/// The context of the opened stream: for every open that may change a file, and for every one
/// that is looked at.
fn stream_of(
    data: &Data<'_>,
    open: OpenFacts,
    instance: &InstanceContext,
) -> Option<Owned<StreamContext>> {
    if open.has(OpenFacts::DIRECTORY.with(OpenFacts::STACK_FILE_OBJECT)) {
        return None;
    }
    if route::ignored(open).is_some() && !can_change(data) {
        return None;
    }
    let Ok(stream) = Owned::<StreamContext>::of_or_new(data.instance(), data.file()) else {
        // What is mapped through this open is not seen.
        instance.unseen.store(true, Ordering::Release);
        return None;
    };
    let may_ask = !open.has(OpenFacts::NESTED) && file::may_query();
    if may_ask {
        invalidate::learn_id(data, &stream, instance);
    }
    invalidate::first_seen(data, &stream, instance);
    if stream.state.name() == StreamName::Unknown {
        if open.has(OpenFacts::UNNAMED) {
            stream.state.set_name(true);
        } else if may_ask
            && let Some(unnamed) = Name::opened(data).ok().and_then(|n| n.is_unnamed())
        {
            stream.state.set_name(unnamed);
        }
    }
    Some(stream)
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
        let facts = Facts {
            open: self.known(&redirection),
            redirection,
        };
        if self.open.has(OpenFacts::FOREIGN_SILO) {
            self.tell_foreign(&facts.redirection);
        }
        match route::route(&facts, &self.parameters.layer_policy()) {
            Route::Ignore(reason) => self.tale.route(reason),
            Route::Skip(reason) => {
                self.tale.route(reason);
                self.count_exclusion();
            }
            Route::LookUp(look_up) => self.look_up(&look_up),
            Route::LookUpThenSkip(of, reason) => self.skip_unless_infected(of, reason),
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
        self.tale.end(|| (self.container(), self.data.process_id()));
    }

    /// A skip, unless the bytes are known to be infected.
    fn skip_unless_infected(&self, of: Which, reason: SkipReason) {
        self.tale.route(match reason {
            SkipReason::Excluded => LookupReason::Excluded,
            SkipReason::CoveredLayer | SkipReason::RemoteLayer => LookupReason::CoveredLayer,
        });
        let key = match of {
            Which::Layer(key) => Some(key),
            Which::Own => self.own_key(),
        };
        match key.and_then(|key| scan::look_up(&key, &self.parameters)) {
            Some(End::Cached(verdict::Verdict::Infected) | End::StaleInfected) => {
                self.finish(|_| End::CoveredInfected, Waiting::Never);
            }
            _ => {
                self.tale.decision(reason);
                self.count_exclusion();
            }
        }
    }

    /// A skip may be an exclusion's.
    fn count_exclusion(&self) {
        if let Some(excluded) = self.excluded {
            exclusions::table().hit(excluded);
        }
    }

    fn own_key(&self) -> Option<Key> {
        let stream = self.stream.as_ref()?;
        invalidate::own_key(stream, &self.instance)
    }

    /// The container's id, or zero.
    fn container(&self) -> [u8; 16] {
        silo::of(self.data.file()).map_or([0; 16], |silo| silo.container)
    }

    /// The answer to the redirection question. The first one that is worth something makes the
    /// instance redirecting.
    fn redirection(&self, attached: Attached) -> Redirection {
        if !self.open.has(OpenFacts::CONTAINER) {
            return Redirection::Absent;
        }
        let redirection = List::of(self.data).answer(attached);
        if matches!(redirection, Redirection::Answer(_)) && instance::redirects(&self.instance) {
            // Its start begins.
            trace::tally(&self.container(), |_| {});
        }
        redirection
    }

    /// The facts about stream and volume.
    fn known(&self, redirection: &Redirection) -> OpenFacts {
        let instance = &self.instance;
        let ledger = state::ledger();
        let tracked = |guid| ledger.is_some_and(|ledger| ledger.tracks(guid));
        let layer = match redirection {
            Redirection::Answer(answer) => answer.volume,
            _ => None,
        };
        let open = self
            .open
            .without(OpenFacts::UNNAMED)
            .with_if(OpenFacts::REDIRECTING, self.is_redirecting())
            .with_if(OpenFacts::OWN_VOLUME, instance.guid().is_some_and(tracked))
            .with_if(OpenFacts::DAX, instance.dax)
            .with_if(OpenFacts::CSV, instance.csv)
            .with_if(OpenFacts::EXCLUDED, self.excluded.is_some())
            .with_if(OpenFacts::COVERED, self.is_covered(redirection))
            .with_if(OpenFacts::LAYER_VOLUME, layer.is_some_and(tracked));
        let Some(stream) = &self.stream else {
            return open;
        };
        open.with_if(
            OpenFacts::UNNAMED,
            stream.state.name() == StreamName::Unnamed,
        )
        .with_if(
            OpenFacts::OWN_ID,
            matches!(stream.state.own_id(), OwnId::Known(_)),
        )
        .with_if(OpenFacts::WRITABLE_SECTION, stream.state.writable_section())
    }

    /// Whether own ids may show layer bytes. In a silo that the host compute service did not make
    /// that is so wherever the container filter is, whether it has answered anybody or not.
    fn is_redirecting(&self) -> bool {
        if self.open.has(OpenFacts::FOREIGN_SILO) {
            return instance::is_redirecting(&self.instance, self.data.volume());
        }
        self.instance.state.redirecting()
    }

    /// An open out of a silo that the host compute service did not make.
    fn tell_foreign(&self, redirection: &Redirection) {
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

    fn is_covered(&self, redirection: &Redirection) -> bool {
        let Redirection::Answer(answer) = redirection else {
            return false;
        };
        answer.flags.has(RedirectionFlags::REGISTERED)
            && answer
                .volume
                .is_some_and(|guid| state::ledger().is_some_and(|l| l.covered(guid)))
    }

    /// Looks the key up; a miss is scanned.
    fn look_up(&self, look_up: &LookUp) {
        self.tale.route(look_up.reason);
        let (key, layer) = match look_up.of {
            Which::Layer(key) => (self.is_untouched().then_some(key), true),
            Which::Own => (self.own_key(), false),
        };
        let known = key.and_then(|key| scan::look_up(&key, &self.parameters));
        // An acknowledged answer told whose bytes these are. Without one they may be a layer's.
        let answered = layer || look_up.reason == LookupReason::Scratch;
        let keyed = || {
            let own = answered || !instance::is_redirecting(&self.instance, self.data.volume());
            let key = key.filter(|_| own && (!layer || self.is_untouched()))?;
            Some(Keyed {
                key,
                keeps: look_up.keeps,
            })
        };
        let scan = |deadline| self.scan(keyed(), layer, look_up.waiting, deadline);
        self.finish(
            |deadline| match known {
                Some(End::StaleInfected) => self.instead_of_stale(scan(deadline), key),
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
    fn instead_of_stale(&self, scanned: End, key: Option<Key>) -> End {
        match scanned {
            End::Cancelled | End::Scanned(verdict::Verdict::Infected) => scanned,
            _ => key
                .and_then(|key| scan::look_up(&key, &self.parameters))
                .unwrap_or(scanned),
        }
    }

    /// Whether the opened stream still is what its open was told that it is: one that was ever
    /// changed may hold a container's own bytes, and not those of a package file.
    fn is_untouched(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.state.is_untouched())
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

    fn wanted(&self, keyed: Option<Keyed>, layer: bool, deadline: clock::Time) -> Wanted<'_> {
        Wanted {
            by: By::Open(self.data),
            instance: &self.instance,
            stream: self.stream.as_ref(),
            key: keyed.map(|keyed| keyed.key),
            keeps: keyed.is_some_and(|keyed| keyed.keeps),
            layer,
            silo: silo::of(self.data.file()),
            deadline,
        }
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
                if !matches!(end, End::Cached(_)) {
                    self.tally(end, false, since);
                }
                self.tell_policy(end, reason, reason.overrules(), since);
                if matches!(end, End::Failed(_))
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

    /// Counts an open of a container that was no hit.
    fn tally(&self, end: End, denied: bool, since: clock::Time) {
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
    fn tell_policy(&self, end: End, decision: impl Counted, overrules: bool, since: clock::Time) {
        let failure = match end {
            End::Failed(failure) => Some(failure),
            _ if overrules => None,
            _ => return,
        };
        let waited = clock::now().saturating_sub(since);
        trace::policy(failure, decision.name(), waited, || Who {
            file: Name::opened(self.data).ok(),
            container: self.container(),
            process: self.data.process_id(),
        });
    }

    /// Refuses the open, and tells of what was found.
    fn refuse(&self, reason: DenyReason) {
        let status = match reason {
            DenyReason::Cancelled => STATUS_CANCELLED,
            DenyReason::CachedInfected
            | DenyReason::StaleInfected
            | DenyReason::CoveredInfected
            | DenyReason::ScannedInfected => STATUS_VIRUS_INFECTED,
            _ => STATUS_ACCESS_DENIED,
        };
        if status == STATUS_VIRUS_INFECTED && reason != DenyReason::ScannedInfected {
            self.tell(reason);
        }
        self.data.refuse(Status::failure(status));
    }

    fn tell(&self, reason: DenyReason) {
        let name = Name::opened(self.data).ok();
        trace::detection(&Detection {
            file: name.as_ref().map_or(&[][..], Name::bytes),
            rule: &[],
            container: self.container(),
            process: self.data.process_id(),
            reason: reason.name(),
        });
    }
}

/// A key, and whether a verdict of this open's scan may be kept under it.
#[derive(Clone, Copy)]
struct Keyed {
    key: Key,
    keeps: bool,
}
