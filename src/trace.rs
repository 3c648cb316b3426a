//! What is counted and told: a counter per reason, and events for detections and for changes of
//! the service. On a hit there is one counter and nothing else.
#![forbid(unsafe_code)]

use core::cell::Cell;

use siloscan_core::reason::{Counted, CounterIndex, Counters};
use siloscan_core::tally::{Tallies, Tally};

use crate::kernel::clock::{self, MILLISECOND};
use crate::kernel::etw::{self, Level, Piece, Shape, keyword, kind};
use crate::kernel::lock::SpinLock;

use core::sync::atomic::{AtomicU64, Ordering};

/// All counters of the driver. They start at zero with the load.
static COUNTERS: Counters = Counters::new();

/// Counts one.
///
/// # IRQL
/// Any.
pub fn count(reason: impl Counted) {
    COUNTERS.count(reason);
}

/// The counters, to be read.
#[must_use]
pub fn counters() -> &'static Counters {
    &COUNTERS
}

/// What is counted of each container.
static TALLIES: SpinLock<Tallies> = SpinLock::new(Tallies::new());

/// Changes what is counted of a container. Never on a hit.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn tally(container: &[u8; 16], change: impl FnOnce(&mut Tally)) {
    TALLIES.lock().note(container, change);
}

/// What is counted of each container, to be told.
#[must_use]
pub fn tallies() -> &'static SpinLock<Tallies> {
    &TALLIES
}

/// At most this many detection events per second: a container must not flood the trace.
const DETECTIONS_PER_SECOND: u64 = 100;

/// One second of 100 ns units.
const SECOND: u64 = MILLISECOND * 1000;

/// How many events of a kind may still be written in the current second.
struct Rate {
    /// The second in the high bits, the count in the low 16.
    window: AtomicU64,
}

impl Rate {
    const fn new() -> Self {
        Self {
            window: AtomicU64::new(0),
        }
    }

    /// Whether one more may be written now.
    fn admits(&self, limit: u64) -> bool {
        let second = (clock::now() / SECOND) << 16;
        let old = self.window.load(Ordering::Relaxed);
        let (start, used) = (old & !0xffff, old & 0xffff);
        let used = if start == second { used } else { 0 };
        if used >= limit.min(0xffff) {
            return false;
        }
        self.window
            .store(second | used.saturating_add(1), Ordering::Relaxed);
        true
    }
}

static DETECTIONS: Rate = Rate::new();

/// The detection event.
static DETECTION: Shape = Shape {
    level: Level::Warning,
    keyword: keyword::DETECTIONS,
    metadata: &DETECTION_METADATA,
};

const DETECTION_METADATA: [u8; 55] = metadata(
    b"Detection",
    &[
        (b"File", kind::COUNTED_UTF16),
        (b"Rule", kind::COUNTED_ANSI),
        (b"Container", kind::GUID),
        (b"ProcessId", kind::U64),
        (b"Reason", kind::COUNTED_ANSI),
    ],
);

/// Encodes an event's metadata at compile time. `N` must be the exact length.
const fn metadata<const N: usize>(name: &[u8], fields: &[(&[u8], u8)]) -> [u8; N] {
    let mut out = [0; N];
    let [low, high, _tag, rest @ ..] = out.as_mut_slice() else {
        return out;
    };
    *low = N as u8;
    *high = 0;
    let mut rest = put(rest, name, None);
    let mut fields = fields;
    while let [(name, kind), more @ ..] = fields {
        rest = put(rest, name, Some(*kind));
        fields = more;
    }
    assert!(
        rest.is_empty(),
        "the length given is not that of the metadata"
    );
    out
}

/// Puts a name with its end, and a type, at the start of `out`; gives what is left.
const fn put<'a>(out: &'a mut [u8], name: &[u8], kind: Option<u8>) -> &'a mut [u8] {
    let (place, rest) = out.split_at_mut(name.len());
    place.copy_from_slice(name);
    let [_end, more @ ..] = rest else {
        return &mut [];
    };
    match kind {
        None => more,
        Some(kind) => {
            let [place, more @ ..] = more else {
                return &mut [];
            };
            *place = kind;
            more
        }
    }
}

/// What was found, where, and for whom.
pub struct Detection<'a> {
    /// The file's name, UTF-16 as bytes.
    pub file: &'a [u8],
    /// The rule that matched.
    pub rule: &'a [u8],
    /// The container, or zero.
    pub container: [u8; 16],
    /// The process that opened or wrote the file.
    pub process: u64,
    /// The reason's name.
    pub reason: &'static str,
}

/// Tells of a detection.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn detection(found: &Detection<'_>) {
    if !DETECTIONS.admits(DETECTIONS_PER_SECOND) {
        return;
    }
    let file = length(found.file);
    let rule = length(found.rule);
    let reason = length(found.reason.as_bytes());
    etw::write(
        &DETECTION,
        &[
            Piece(&file),
            Piece(found.file),
            Piece(&rule),
            Piece(found.rule),
            Piece(&found.container),
            Piece(&found.process.to_le_bytes()),
            Piece(&reason),
            Piece(found.reason.as_bytes()),
        ],
    );
}

/// At most this many events per second about silos whose container filter answers, and as many
/// about others: the second kind is common where applications are packaged in silos, and must not
/// drown the first.
const FOREIGN_PER_SECOND: u64 = 10;

static FOREIGN_ANSWERED: Rate = Rate::new();
static FOREIGN_OTHERS: Rate = Rate::new();

/// The event of an open out of a silo that the host compute service did not make.
static FOREIGN: Shape = Shape {
    level: Level::Warning,
    keyword: keyword::SILOS,
    metadata: &FOREIGN_METADATA,
};

const FOREIGN_METADATA: [u8; 45] = metadata(
    b"ForeignSilo",
    &[
        (b"Answer", kind::COUNTED_ANSI),
        (b"Container", kind::GUID),
        (b"ProcessId", kind::U64),
    ],
);

/// An open out of a silo that the host compute service did not make.
pub struct ForeignSilo {
    /// What the container filter says of the file: `layer`, `scratch` or `none`.
    pub answer: &'static str,
    /// The container that the silo lies in, or zero.
    pub container: [u8; 16],
    /// The opening process.
    pub process: u64,
}

/// Tells of an open out of a silo that the host compute service did not make.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn foreign_silo(told: &ForeignSilo) {
    let rate = if told.answer == "none" {
        &FOREIGN_OTHERS
    } else {
        &FOREIGN_ANSWERED
    };
    if !rate.admits(FOREIGN_PER_SECOND) {
        return;
    }
    let answer = told.answer.as_bytes();
    etw::write(
        &FOREIGN,
        &[
            Piece(&length(answer)),
            Piece(answer),
            Piece(&told.container),
            Piece(&told.process.to_le_bytes()),
        ],
    );
}

/// The event of one open.
static OPEN: Shape = Shape {
    level: Level::Verbose,
    keyword: keyword::OPENS,
    metadata: &OPEN_METADATA,
};

const OPEN_METADATA: [u8; 79] = metadata(
    b"Open",
    &[
        (b"Route", kind::COUNTED_ANSI),
        (b"Reason", kind::COUNTED_ANSI),
        (b"Decision", kind::COUNTED_ANSI),
        (b"Failure", kind::COUNTED_ANSI),
        (b"Duration100ns", kind::U64),
        (b"Container", kind::GUID),
        (b"ProcessId", kind::U64),
    ],
);

/// What happens to one open, for its event; nothing where nobody listens.
#[derive(Default)]
pub struct Tale {
    /// When it began, in 100 ns; `None` where nobody listens.
    since: Option<u64>,
    route: Cell<Option<CounterIndex>>,
    decision: Cell<Option<CounterIndex>>,
    failure: Cell<Option<CounterIndex>>,
}

impl Tale {
    /// Begins, if a session listens for opens.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            since: etw::opens_wanted().then(clock::precise),
            ..Self::default()
        }
    }

    /// Counts the reason of the route that was taken, and notes it.
    pub fn route(&self, reason: impl Counted) {
        count(reason);
        self.route.set(Some(reason.counter()));
    }

    /// Counts the decision, and notes it.
    pub fn decision(&self, reason: impl Counted) {
        count(reason);
        self.decision.set(Some(reason.counter()));
    }

    /// Counts why it could not be scanned, and notes it; the last one is told.
    pub fn failure(&self, reason: impl Counted) {
        count(reason);
        self.failure.set(Some(reason.counter()));
    }

    /// Writes the event, if it was begun. `who`, container and process, is asked only then.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn end(&self, who: impl FnOnce() -> ([u8; 16], u64)) {
        let (Some(since), Some(route)) = (self.since, self.route.get()) else {
            return;
        };
        let took = clock::precise().saturating_sub(since);
        let (container, process) = who();
        let route = route.entry();
        let name = |index: &Cell<Option<CounterIndex>>| index.get().map_or("", |i| i.entry().name);
        let texts = [
            route.kind,
            route.name,
            name(&self.decision),
            name(&self.failure),
        ];
        let [l0, l1, l2, l3] = texts.map(|text| length(text.as_bytes()));
        let [t0, t1, t2, t3] = texts.map(str::as_bytes);
        etw::write(
            &OPEN,
            &[
                Piece(&l0),
                Piece(t0),
                Piece(&l1),
                Piece(t1),
                Piece(&l2),
                Piece(t2),
                Piece(&l3),
                Piece(t3),
                Piece(&took.to_le_bytes()),
                Piece(&container),
                Piece(&process.to_le_bytes()),
            ],
        );
    }
}

/// A counted string's length in bytes.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes()
}
