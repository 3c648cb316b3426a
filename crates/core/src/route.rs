//! What to do with one open: the decision table of the product, and nothing else.
//!
//! [`route`] is pure and total. Its rows are in the order in which they are tried; the first that
//! fits decides. What cannot be known is scanned: no row turns a missing fact into a skip. The
//! table in `tests/route_table.txt` says the same in other words and is compared over the whole
//! domain.

use crate::ecp::{Answer, Redirection, RedirectionFlags};
use crate::key::Key;
use crate::reason::{IgnoreReason, LookupReason, ScanReason, SkipReason};

/// A set of yes-or-no facts about one open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenFacts(u32);

macro_rules! open_facts {
    ($($(#[$doc:meta])* $NAME:ident = $bit:literal;)+) => {
        impl OpenFacts {
            $($(#[$doc])* pub const $NAME: Self = Self(1 << $bit);)+
        }
    };
}

open_facts! {
    /// The file object lies within the stack limits of the thread.
    STACK_FILE_OBJECT = 0;
    /// `SL_OPEN_PAGING_FILE`.
    PAGING_FILE = 1;
    /// `SL_OPEN_TARGET_DIRECTORY`.
    TARGET_DIRECTORY = 2;
    /// `FILE_DIRECTORY_FILE` before the open, `FltIsDirectory` after it.
    DIRECTORY = 3;
    /// The volume itself is opened.
    VOLUME = 4;
    /// The prefetcher's ECP is there and came from the kernel.
    PREFETCH = 5;
    /// The ECP of a cluster volume's hidden side is there and came from the kernel.
    CSV_DOWN_LEVEL = 6;
    /// The opener is the connected scan service's process.
    SCANNER = 7;
    /// A top-level IRP is set: the create is nested in file-system work.
    NESTED = 8;
    /// Post-create runs because the instance drains.
    DRAINING = 9;
    /// The status of the create is a failure.
    FAILED = 10;
    /// The status of the create is `STATUS_REPARSE`.
    REPARSE = 11;
    /// Neither data nor execute access was granted.
    NO_DATA_ACCESS = 12;
    /// `IoStatus.Information` is not `FILE_OPENED`.
    NOT_OPENED = 13;
    /// The status of the create is `STATUS_OPLOCK_BREAK_IN_PROGRESS`.
    OPLOCK_BREAK = 14;
    /// `IoGetSiloParameters` is not null.
    CONTAINER = 15;
    /// The instance is redirecting: own ids may show layer bytes.
    REDIRECTING = 16;
    /// The stream is proven to be the unnamed one.
    UNNAMED = 17;
    /// The opened file's own id is known, and its volume has stable ids.
    OWN_ID = 18;
    /// The opened volume has a GUID that no other live volume has.
    OWN_VOLUME = 19;
    /// The open is part of a transaction.
    TRANSACTION = 20;
    /// A writable section was seen on the stream.
    WRITABLE_SECTION = 21;
    /// The opened volume is a direct-access volume.
    DAX = 22;
    /// The opened volume is a cluster volume.
    CSV = 23;
    /// The open can write: data, append, or a writable mapping.
    CAN_WRITE = 24;
    /// The layer volume that the answer names is covered in this epoch. Need only be found out
    /// where the answer has the REGISTERED flag.
    COVERED = 25;
    /// The layer volume that the answer names has a live instance of ours, and a GUID that no
    /// other live volume has: changes to its files are seen.
    LAYER_VOLUME = 26;
    /// The silo of the open is none that the host compute service made. Only with
    /// [`Self::CONTAINER`].
    FOREIGN_SILO = 27;
    /// The container is one that the scan service was told to leave out.
    EXCLUDED = 28;
}

impl OpenFacts {
    /// No fact is true.
    pub const NONE: Self = Self(0);
    /// The facts that alone decide that the open is ignored.
    pub const IGNORES: Self = Self(0x3fff);

    /// Whether any fact of `other` is true.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `self`, and `other` where `condition` holds.
    #[must_use]
    pub const fn with_if(self, other: Self, condition: bool) -> Self {
        if condition { self.with(other) } else { self }
    }

    /// `self` without the facts of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The set that [`Self::bits`] gave; bits without a meaning are dropped.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL)
    }

    /// Every fact.
    const ALL: u32 = (Self::EXCLUDED.0 << 1).wrapping_sub(1);

    /// The set as bits, for tracing.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// All that [`route`] looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The yes-or-no facts.
    pub open: OpenFacts,
    /// The redirection answer. Not looked at unless [`OpenFacts::CONTAINER`] is there.
    pub redirection: Redirection,
}

/// What the administrator chose about layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LayerPolicy {
    /// `remote_layers`.
    pub remote: RemoteLayers,
    /// `registered_layers`.
    pub registered: RegisteredLayers,
    /// `layer_verdicts`.
    pub verdicts: LayerVerdicts,
}

/// The `remote_layers` setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RemoteLayers {
    /// The remote host scans them, as Microsoft's article says.
    #[default]
    Skip,
    /// They are scanned here at each open.
    Scan,
}

/// The `layer_verdicts` setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LayerVerdicts {
    /// The verdict of a package file serves all containers.
    #[default]
    Shared,
    /// Each open of a layer file is scanned: to compare with, and a way out should a build of
    /// Windows name the wrong package files.
    EachOpen,
}

/// The `registered_layers` setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RegisteredLayers {
    /// Skipped once a proactive scan of the layer has ended under these signatures.
    #[default]
    SkipWhenCovered,
    /// Treated as any other layer.
    LookUp,
}

/// What to do with an open, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// None of our business.
    Ignore(IgnoreReason),
    /// A layer file that others vouch for. Nothing is looked up.
    Skip(SkipReason),
    /// Look this key up; on a miss join or start its flight.
    LookUp(LookUp),
    /// Look this key up; "infected" denies, anything else is the skip.
    LookUpThenSkip(Which, SkipReason),
    /// Scan, whatever the cache says; the verdict is not kept.
    Scan(ScanReason, Waiting),
}

/// The look-up of an open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookUp {
    /// Which key.
    pub of: Which,
    /// Why that one.
    pub reason: LookupReason,
    /// Whether a scan that this open leads may be kept. False where the open can write.
    pub keeps: bool,
    /// Whether the open may wait for a scan.
    pub waiting: Waiting,
}

/// Which key is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The opened file's own, which the stream context holds.
    Own,
    /// The package file's, from the answer.
    Layer(Key),
}

/// Whether an open may wait for a scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// Within its deadline.
    Allowed,
    /// Not at all: an oplock break is in progress. A miss follows `on_evasion`, and the file is
    /// looked at when it is closed.
    Never,
}

/// What pre-create does with an open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PreRoute {
    /// Nothing, and post-create need not run: no stream context can or need exist.
    Leave(IgnoreReason),
    /// Ignored, but post-create runs, since the open may change a file.
    Watch(IgnoreReason),
    /// Post-create decides; no ECP is attached.
    Host,
    /// Post-create decides; the redirection ECP is attached or shared.
    Container,
}

/// The ignores that are told by one fact each, in the order in which they are tried.
const IGNORES: [(OpenFacts, IgnoreReason); 14] = [
    (OpenFacts::STACK_FILE_OBJECT, IgnoreReason::StackFileObject),
    (OpenFacts::PAGING_FILE, IgnoreReason::PagingFile),
    (OpenFacts::TARGET_DIRECTORY, IgnoreReason::TargetDirectory),
    (OpenFacts::DIRECTORY, IgnoreReason::Directory),
    (OpenFacts::VOLUME, IgnoreReason::Volume),
    (OpenFacts::PREFETCH, IgnoreReason::Prefetch),
    (OpenFacts::CSV_DOWN_LEVEL, IgnoreReason::CsvDownLevel),
    (OpenFacts::SCANNER, IgnoreReason::Scanner),
    (OpenFacts::NESTED, IgnoreReason::Nested),
    (OpenFacts::DRAINING, IgnoreReason::Draining),
    (OpenFacts::FAILED, IgnoreReason::Failed),
    (OpenFacts::REPARSE, IgnoreReason::Reparse),
    (OpenFacts::NO_DATA_ACCESS, IgnoreReason::NoDataAccess),
    (OpenFacts::NOT_OPENED, IgnoreReason::NotOpened),
];

/// The first ignore that fits, if any.
#[must_use]
pub fn ignored(open: OpenFacts) -> Option<IgnoreReason> {
    if !open.has(OpenFacts::IGNORES) {
        return None;
    }
    IGNORES
        .iter()
        .find(|(fact, _)| open.has(*fact))
        .map(|(_, reason)| *reason)
}

/// What to do before the file is open, from the facts known by then.
#[must_use]
pub fn pre_route(open: OpenFacts) -> PreRoute {
    match ignored(open) {
        Some(
            reason @ (IgnoreReason::StackFileObject
            | IgnoreReason::PagingFile
            | IgnoreReason::TargetDirectory
            | IgnoreReason::Directory
            | IgnoreReason::Volume),
        ) => PreRoute::Leave(reason),
        Some(reason) => PreRoute::Watch(reason),
        None if open.has(OpenFacts::CONTAINER) => PreRoute::Container,
        None => PreRoute::Host,
    }
}

/// What to do with an open, once it is open. Any IRQL; no lock, no wait, no side effect.
#[must_use]
pub fn route(facts: &Facts, policy: &LayerPolicy) -> Route {
    let open = facts.open;
    if let Some(reason) = ignored(open) {
        return Route::Ignore(reason);
    }
    if !open.has(OpenFacts::CONTAINER) {
        return unanswered(open, LookupReason::HostOwn);
    }
    match &facts.redirection {
        // Who made the silo made its layers, too, and what the container filter says of them.
        Redirection::Answer(_) if open.has(OpenFacts::FOREIGN_SILO) => {
            scan(open, ScanReason::ForeignSilo)
        }
        Redirection::Answer(answer) => answered(open, answer, policy),
        Redirection::Absent | Redirection::NotAcknowledged | Redirection::Tainted => {
            unanswered(open, LookupReason::ContainerOwn)
        }
    }
}

/// No answer, or none to be believed: the own key, except where own ids may show layer bytes.
fn unanswered(open: OpenFacts, reason: LookupReason) -> Route {
    if open.has(OpenFacts::REDIRECTING) {
        return scan(open, ScanReason::RedirectingVolume);
    }
    own(open, reason)
}

/// An acknowledged, untainted answer to a container open.
fn answered(open: OpenFacts, answer: &Answer, policy: &LayerPolicy) -> Route {
    let flags = answer.flags;
    if flags.has(!RedirectionFlags::KNOWN) {
        return scan(open, ScanReason::UnknownFlags);
    }
    let layer = flags.has(RedirectionFlags::LAYER);
    if layer == flags.has(RedirectionFlags::SCRATCH) {
        return scan(open, ScanReason::Contradiction);
    }
    if !layer && flags.has(RedirectionFlags::REGISTERED | RedirectionFlags::REMOTE) {
        return scan(open, ScanReason::Contradiction);
    }
    if flags.has(RedirectionFlags::USER_MODE) {
        return scan(open, ScanReason::UserMode);
    }
    if open.has(OpenFacts::EXCLUDED) {
        return excluded(open, answer, layer);
    }
    if !layer {
        return own(open, LookupReason::Scratch);
    }
    if matches!(policy.verdicts, LayerVerdicts::EachOpen) {
        return scan(open, ScanReason::SharingOff);
    }
    if flags.has(RedirectionFlags::REMOTE) {
        return match policy.remote {
            RemoteLayers::Skip => Route::Skip(SkipReason::RemoteLayer),
            RemoteLayers::Scan => scan(open, ScanReason::RemoteLayer),
        };
    }
    layer_file(open, answer, policy)
}

/// A clear answer about a container that is excluded: what is known to be infected stays denied,
/// and nothing is scanned.
fn excluded(open: OpenFacts, answer: &Answer, layer: bool) -> Route {
    let own = open.has(OpenFacts::OWN_VOLUME) && open.has(OpenFacts::OWN_ID);
    let of = if layer {
        answer.key().map(Which::Layer)
    } else {
        own.then_some(Which::Own)
    };
    match of.filter(|_| open.has(OpenFacts::UNNAMED)) {
        Some(of) => Route::LookUpThenSkip(of, SkipReason::Excluded),
        None => Route::Skip(SkipReason::Excluded),
    }
}

/// A file of a layer on this host.
fn layer_file(open: OpenFacts, answer: &Answer, policy: &LayerPolicy) -> Route {
    let Some(key) = answer.key() else {
        return scan(open, ScanReason::NoLayerId);
    };
    if let Some(reason) = shared_by_none(open) {
        return scan(open, reason);
    }
    if !open.has(OpenFacts::LAYER_VOLUME) {
        return scan(open, ScanReason::NoVolume);
    }
    if answer.flags.has(RedirectionFlags::REGISTERED)
        && matches!(policy.registered, RegisteredLayers::SkipWhenCovered)
        && open.has(OpenFacts::COVERED)
    {
        return Route::LookUpThenSkip(Which::Layer(key), SkipReason::CoveredLayer);
    }
    look_up(open, Which::Layer(key), LookupReason::Layer)
}

/// The own key, or the reason why there is none.
fn own(open: OpenFacts, reason: LookupReason) -> Route {
    if let Some(reason) = shared_by_none(open) {
        return scan(open, reason);
    }
    if !open.has(OpenFacts::OWN_ID) {
        return scan(open, ScanReason::NoFileId);
    }
    if !open.has(OpenFacts::OWN_VOLUME) {
        return scan(open, ScanReason::NoVolume);
    }
    look_up(open, Which::Own, reason)
}

/// Why no key, own or layer, may stand for the bytes that this open sees.
fn shared_by_none(open: OpenFacts) -> Option<ScanReason> {
    const ANY: OpenFacts = OpenFacts::TRANSACTION
        .with(OpenFacts::WRITABLE_SECTION)
        .with(OpenFacts::DAX)
        .with(OpenFacts::CSV);
    if !open.has(ANY) {
        return if open.has(OpenFacts::UNNAMED) {
            None
        } else {
            Some(ScanReason::NamedStream)
        };
    }
    Some(if open.has(OpenFacts::TRANSACTION) {
        ScanReason::Transaction
    } else if open.has(OpenFacts::WRITABLE_SECTION) {
        ScanReason::WritableSection
    } else if open.has(OpenFacts::DAX) {
        ScanReason::Dax
    } else {
        ScanReason::Csv
    })
}

const fn waiting(open: OpenFacts) -> Waiting {
    if open.has(OpenFacts::OPLOCK_BREAK) {
        Waiting::Never
    } else {
        Waiting::Allowed
    }
}

const fn scan(open: OpenFacts, reason: ScanReason) -> Route {
    Route::Scan(reason, waiting(open))
}

const fn look_up(open: OpenFacts, of: Which, reason: LookupReason) -> Route {
    let keeps = !open.has(OpenFacts::CAN_WRITE);
    Route::LookUp(LookUp {
        of,
        reason,
        keeps,
        waiting: waiting(open),
    })
}
