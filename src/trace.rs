//! What is counted and told: a counter per reason, and the events of core's table, each only where
//! somebody listens and not too often. A hit moves the counter of each of its steps and nothing
//! else.
#![forbid(unsafe_code)]

use core::cell::{Cell, OnceCell};

use siloscan_core::limits::{self, Nonsense};
use siloscan_core::reason::{Counted, CounterIndex, Counters, Event, Failure};
use siloscan_core::tally::{Tallies, Tally};
use siloscan_core::trace::{FieldKind, Rate, TRACE_COUNT, TraceId};

use crate::kernel::Status;
use crate::kernel::clock;
use crate::kernel::etw::{self, Piece};
use crate::kernel::file::Name;
use crate::kernel::lock::SpinLock;

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
    let now = clock::now();
    TALLIES.lock().note(container, now, change);
}

/// What is counted of each container, to be told.
#[must_use]
pub fn tallies() -> &'static SpinLock<Tallies> {
    &TALLIES
}

/// How many events of each kind were written in the current second.
static RATES: [Rate; TRACE_COUNT] = [const { Rate::new() }; TRACE_COUNT];

/// The value of one field.
enum Value<'a> {
    Number(u64),
    Guid([u8; 16]),
    /// UTF-16, as bytes; what is longer than [`limits::TRACE_UNITS`] is cut.
    Wide(&'a [u8]),
    Text(&'a [u8]),
}

impl Value<'_> {
    const fn kind(&self) -> FieldKind {
        match self {
            Self::Number(_) => FieldKind::Number,
            Self::Guid(_) => FieldKind::Guid,
            Self::Wide(_) => FieldKind::Wide,
            Self::Text(_) => FieldKind::Text,
        }
    }

    /// The value itself where it is short, else its length; and the bytes that follow.
    fn parts(&self) -> ([u8; 16], usize, &[u8]) {
        let short = |bytes: &[u8]| {
            let mut head = [0; 16];
            for (to, from) in head.iter_mut().zip(bytes) {
                *to = *from;
            }
            (head, bytes.len().min(16))
        };
        let ((head, used), rest): (_, &[u8]) = match self {
            Self::Number(number) => (short(&number.to_le_bytes()), &[]),
            Self::Guid(guid) => (short(guid), &[]),
            Self::Wide(bytes) | Self::Text(bytes) => {
                let bytes = bytes.get(..TRACE_BYTES).unwrap_or(bytes);
                let length = u16::try_from(bytes.len()).unwrap_or(0);
                (short(&length.to_le_bytes()), bytes)
            }
        };
        (head, used, rest)
    }
}

/// Bytes of the longest text in an event: an event of 64 KiB or more is not written at all, so a
/// long name could keep its own detection out of the trace.
const TRACE_BYTES: usize = 2 * limits::TRACE_UNITS;

/// Whether an event of this kind is to be written now: somebody listens, and there were not too
/// many in this second. To be asked before anything is collected for it.
///
/// # IRQL
/// Any.
fn admits(id: TraceId) -> bool {
    let (Some(event), Some(rate)) = (id.event(), RATES.get(id as usize)) else {
        return false;
    };
    if !etw::is_wanted(event) {
        return false;
    }
    let admitted = rate.admits(clock::now(), event.per_second);
    if !admitted {
        count(Event::TraceDropped);
    }
    admitted
}

/// Writes an event that [`admits`] let pass. Values that are not those of its row are a defect,
/// and are not written.
///
/// # IRQL
/// At most APC_LEVEL.
fn write<const N: usize>(id: TraceId, values: [Value<'_>; N]) {
    let Some(event) = id.event() else { return };
    let kinds = event.fields.iter().map(|field| field.kind);
    if !kinds.eq(values.iter().map(Value::kind)) {
        return;
    }
    let parts = values.each_ref().map(Value::parts);
    let pieces = parts.iter().flat_map(|(head, used, rest)| {
        let head = head.get(..*used).unwrap_or(&[]);
        [Piece(head), Piece(rest)]
            .into_iter()
            .filter(|piece| !piece.0.is_empty())
    });
    etw::write(event, pieces);
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

/// Whether somebody listens for a detection: its name need not be asked for where nobody does.
/// What comes in excess is counted. Call once for each [`detection`].
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn wants_detection() -> bool {
    admits(TraceId::Detection)
}

/// Tells of a detection, after [`wants_detection`].
///
/// # IRQL
/// At most APC_LEVEL.
pub fn detection(found: &Detection<'_>) {
    write(
        TraceId::Detection,
        [
            Value::Wide(found.file),
            Value::Text(found.rule),
            Value::Guid(found.container),
            Value::Number(found.process),
            Value::Text(found.reason.as_bytes()),
        ],
    );
}

/// At most this many events per second about silos whose container filter answers, and as many
/// about others: the second kind is common where applications are packaged in silos, and must not
/// drown the first.
const FOREIGN_PER_SECOND: u16 = 10;

static FOREIGN_ANSWERED: Rate = Rate::new();
static FOREIGN_OTHERS: Rate = Rate::new();

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
    if !rate.admits(clock::now(), FOREIGN_PER_SECOND) {
        return count(Event::TraceDropped);
    }
    if admits(TraceId::ForeignSilo) {
        write(
            TraceId::ForeignSilo,
            [
                Value::Text(told.answer.as_bytes()),
                Value::Guid(told.container),
                Value::Number(told.process),
            ],
        );
    }
}

/// A process whose image was looked at and not found clean.
pub struct ProcessStart<'a> {
    /// The image's name as far as it is known, UTF-16 as bytes.
    pub image: &'a [u8],
    /// Why the process was let start or refused.
    pub decision: &'static str,
    /// Why its image could not be scanned; empty where it could.
    pub failure: &'static str,
    /// The container, or zero.
    pub container: [u8; 16],
    /// The new process.
    pub process: u64,
}

/// Tells of a process whose image was not found clean.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn process_start(told: &ProcessStart<'_>) {
    if !admits(TraceId::ProcessStart) {
        return;
    }
    write(
        TraceId::ProcessStart,
        [
            Value::Wide(told.image),
            Value::Text(told.decision.as_bytes()),
            Value::Text(told.failure.as_bytes()),
            Value::Guid(told.container),
            Value::Number(told.process),
        ],
    );
}

/// Who opened what.
pub struct Who {
    /// The file's name, where it could be had.
    pub file: Option<Name>,
    /// The container, or zero.
    pub container: [u8; 16],
    /// The process.
    pub process: u64,
}

impl Who {
    fn file(&self) -> Value<'_> {
        Value::Wide(self.file.as_ref().map_or(&[][..], Name::bytes))
    }
}

/// Tells what the policy decided about an open without a verdict, or against one. `who` is asked
/// only where that is told.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn policy(
    failure: Option<Failure>,
    decision: &'static str,
    waited: u64,
    who: impl Fn() -> Who,
) {
    if failure == Some(Failure::TooSlow) && admits(TraceId::TimedOut) {
        let who = who();
        let Who {
            container, process, ..
        } = who;
        let numbers = (Value::Number(process), Value::Number(waited));
        write(
            TraceId::TimedOut,
            [who.file(), Value::Guid(container), numbers.0, numbers.1],
        );
    }
    if admits(TraceId::Policy) {
        let who = who();
        write(
            TraceId::Policy,
            [
                who.file(),
                Value::Text(failure.map_or("", Counted::name).as_bytes()),
                Value::Text(decision.as_bytes()),
                Value::Guid(who.container),
                Value::Number(who.process),
                Value::Number(waited),
            ],
        );
    }
}

/// A service connected, and its epoch began.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn connected(process: u64, epoch: u64) {
    count(Event::Connected);
    if admits(TraceId::Connected) {
        let values = [Value::Number(process), Value::Number(epoch)];
        write(TraceId::Connected, values);
    }
}

/// A caller was refused.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn connect_refused(process: u64, status: Status) {
    count(Event::ConnectRefused);
    if admits(TraceId::ConnectRefused) {
        let status = u64::from(status.code().cast_unsigned());
        let values = [Value::Number(process), Value::Number(status)];
        write(TraceId::ConnectRefused, values);
    }
}

/// The connection ended.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn disconnected(cause: &'static str) {
    count(Event::Disconnected);
    if admits(TraceId::Disconnected) {
        write(TraceId::Disconnected, [Value::Text(cause.as_bytes())]);
    }
}

/// From now on nobody waits for the service.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn breaker_opened(heartbeat_ms: u64) {
    if admits(TraceId::BreakerOpened) {
        write(TraceId::BreakerOpened, [Value::Number(heartbeat_ms)]);
    }
}

/// The service is waited for again.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn breaker_closed(open: u64) {
    if admits(TraceId::BreakerClosed) {
        write(TraceId::BreakerClosed, [Value::Number(open)]);
    }
}

/// A registry value is nonsense.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn parameter_refused(name: &'static str, why: Nonsense, found: u32, in_force: u32) {
    count(Event::ParameterRefused);
    if admits(TraceId::ParameterRefused) {
        let [found, in_force] = [found, in_force].map(|value| Value::Number(u64::from(value)));
        let [name, why] = [name, why.name()].map(|text| Value::Text(text.as_bytes()));
        write(TraceId::ParameterRefused, [name, why, found, in_force]);
    }
}

/// A registry value was changed and is in force.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn parameter_changed(name: &'static str, before: u32, in_force: u32) {
    count(Event::ParameterChanged);
    parameter(TraceId::ParameterChanged, name, before, in_force);
}

/// A registry value was changed that the next load takes.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn parameter_waits(name: &'static str, found: u32, in_force: u32) {
    parameter(TraceId::ParameterWaits, name, found, in_force);
}

fn parameter(id: TraceId, name: &'static str, other: u32, in_force: u32) {
    if admits(id) {
        let name = Value::Text(name.as_bytes());
        let [other, in_force] = [other, in_force].map(|value| Value::Number(u64::from(value)));
        write(id, [name, other, in_force]);
    }
}

/// Another list of excluded containers and layers is in force.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn exclusions(list: u32, containers: usize, layers: usize) {
    if admits(TraceId::ExclusionsChanged) {
        let values = [u64::from(list), containers as u64, layers as u64].map(Value::Number);
        write(TraceId::ExclusionsChanged, values);
    }
}

/// An instance became redirecting.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn redirecting(volume: [u8; 16]) {
    count(Event::Redirecting);
    if admits(TraceId::Redirecting) {
        write(TraceId::Redirecting, [Value::Guid(volume)]);
    }
}

/// What happens to one open, for its event; nothing where nobody listens.
#[derive(Default)]
pub struct Tale {
    /// When it began, in 100 ns; `None` where nobody listens.
    since: Option<u64>,
    /// The file's name, once it was asked for.
    file: OnceCell<Option<Name>>,
    /// How long that took, in 100 ns: telling adds it to the open, not what is told about.
    naming: Cell<u64>,
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

    /// Asks for the file's name, if the tale was begun and nobody asked before: a refusal takes
    /// the file away, so it has to ask first.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn name(&self, ask: impl FnOnce() -> Option<Name>) {
        if self.since.is_none() || self.file.get().is_some() {
            return;
        }
        let before = clock::precise();
        // Nobody asked before, so it takes the name.
        let _set = self.file.set(ask());
        let took = clock::precise().saturating_sub(before);
        self.naming.set(took);
    }

    /// Writes the event, if it was begun. `who`, container and process, is asked only then, and so
    /// is `file`, if nobody asked before.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn end(&self, who: impl FnOnce() -> ([u8; 16], u64), file: impl FnOnce() -> Option<Name>) {
        let (Some(since), Some(route)) = (self.since, self.route.get()) else {
            return;
        };
        let took = clock::precise()
            .saturating_sub(since)
            .saturating_sub(self.naming.get());
        if !admits(TraceId::Open) {
            return;
        }
        self.name(file);
        let file = self.file.get().and_then(Option::as_ref);
        let (container, process) = who();
        let route = route.entry();
        let name = |index: &Cell<Option<CounterIndex>>| index.get().map_or("", |i| i.entry().name);
        let (decision, failure) = (name(&self.decision), name(&self.failure));
        write(
            TraceId::Open,
            [
                Value::Wide(file.map_or(&[][..], Name::bytes)),
                Value::Text(route.kind.as_bytes()),
                Value::Text(route.name.as_bytes()),
                Value::Text(decision.as_bytes()),
                Value::Text(failure.as_bytes()),
                Value::Number(took),
                Value::Guid(container),
                Value::Number(process),
            ],
        );
    }
}
