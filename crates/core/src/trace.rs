//! Every event that the driver can tell a tracing session: one table with name, keyword, level,
//! rate and fields. The driver writes by it, consumers read by it, and `docs/events.md` is made
//! from it.
//!
//! An event travels as TraceLogging has it: its metadata (name, and each field's name and type) is
//! encoded here by the compiler, so no manifest has to be installed.

mod told;

pub use told::{Told, ToldError, Value, read};

use crate::sync::plain::{AtomicU64, Ordering};

/// The provider's name.
pub const PROVIDER_NAME: &str = "Siloscan";

/// The provider's GUID, written as one number: what TraceLogging makes of [`PROVIDER_NAME`]. It is
/// the SHA-1 of the name space 482C2DB2-C390-47C8-87F8-1A15BFC130FB and the name in upper case as
/// big-endian UTF-16; the first 16 bytes are the GUID as it lies in memory, with 5 as its version.
pub const PROVIDER_GUID: u128 = 0x953e_d540_b28f_5209_0562_c352_addc_c502;

/// How bad it is. A session chooses a level and gets what is at most that verbose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Level {
    /// Something was found, or protection is not as it should be.
    Warning = 3,
    /// What an operator may want to know.
    Information = 4,
    /// Each single open.
    Verbose = 5,
}

impl Level {
    /// Its name in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Information => "information",
            Self::Verbose => "verbose",
        }
    }
}

/// The kinds of events that a session can choose: bits.
pub mod keyword {
    /// What was found.
    pub const DETECTIONS: u64 = 0x1;
    /// Each open with its route, reason and time.
    pub const OPENS: u64 = 0x2;
    /// Silos that the host compute service did not make.
    pub const SILOS: u64 = 0x40;
    /// Processes whose image was not found clean.
    pub const STARTS: u64 = 0x80;
    /// What the policy decided where no verdict did.
    pub const POLICY: u64 = 0x4;
    /// The connection to the scan service.
    pub const SERVICE: u64 = 0x8;
    /// Volumes.
    pub const VOLUMES: u64 = 0x10;
    /// The registry's values.
    pub const CONFIGURATION: u64 = 0x20;
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldKind {
    /// A `u64`.
    Number,
    /// A GUID.
    Guid,
    /// UTF-16 with its length in bytes, of 16 bits, before it.
    Wide,
    /// One-byte units with their number, of 16 bits, before them.
    Text,
}

impl FieldKind {
    /// TraceLogging's type byte.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Number => 10,
            Self::Guid => 15,
            Self::Wide => 22,
            Self::Text => 23,
        }
    }

    /// Its name in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "UINT64",
            Self::Guid => "GUID",
            Self::Wide => "UTF-16 text",
            Self::Text => "text",
        }
    }
}

/// One field of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// What it says, in plain words.
    pub doc: &'static str,
}

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceEvent {
    /// Which one.
    pub id: TraceId,
    /// Its name.
    pub name: &'static str,
    /// One bit of [`keyword`].
    pub keyword: u64,
    /// How bad.
    pub level: Level,
    /// How many are written in one second at most; further ones are counted
    /// (`event/trace-dropped`) and left out.
    pub per_second: u16,
    /// When it is written, in plain words.
    pub when: &'static str,
    /// Its fields, in order.
    pub fields: &'static [Field],
    /// Name and fields as TraceLogging encodes them: size, a zero tag, the name with its end, then
    /// each field's name with its end and its type byte.
    pub metadata: &'static [u8],
}

/// Most fields of one event.
pub const FIELDS_MAX: usize = 8;

macro_rules! events {
    ($($Name:ident $KEYWORD:ident $Level:ident $per_second:literal $when:literal {
        $($Field:ident $Kind:ident $doc:literal,)+
    })+) => {
        /// The names of [`TRACE_EVENTS`], in its order.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum TraceId {
            $(#[doc = $when] $Name,)+
        }

        /// How many events there are.
        pub const TRACE_COUNT: usize = [$(TraceId::$Name),+].len();

        /// The table.
        pub static TRACE_EVENTS: [TraceEvent; TRACE_COUNT] = [$({
            const NAME: &str = stringify!($Name);
            const FIELDS: &[Field] = &[$(Field {
                name: stringify!($Field),
                kind: FieldKind::$Kind,
                doc: $doc,
            },)+];
            const METADATA: [u8; metadata_length(NAME, FIELDS)] = metadata(NAME, FIELDS);
            const { assert!(FIELDS.len() <= FIELDS_MAX) };
            TraceEvent {
                id: TraceId::$Name,
                name: NAME,
                keyword: keyword::$KEYWORD,
                level: Level::$Level,
                per_second: $per_second,
                when: $when,
                fields: FIELDS,
                metadata: &METADATA,
            }
        },)+];
    };
}

events! {
    Detection DETECTIONS Warning 100 "something was found, or an open met \"infected\"" {
        File Wide "the name under which the file was opened",
        Rule Text "the rule that matched; empty for a verdict that was remembered",
        Container Guid "the container's id, where the system has one",
        ProcessId Number "who opened or wrote the file",
        Reason Text "the counter's name",
    }
    Open OPENS Verbose 20000 "each open, on demand" {
        File Wide "the name under which the file was opened; empty where the open is ignored \
            before it reaches the file system or failed there, and where nobody can say",
        Route Text "`ignore`, `skip`, `look-up` or `scan`",
        Reason Text "why that route: the counter's name",
        Decision Text "why it was allowed or denied: the counter's name; for a skip that was \
            looked up first, why it was skipped; empty where nothing was decided",
        Failure Text "why it could not be scanned, the last cause; empty where it could",
        Duration100ns Number "what the driver added: before the open where it is ignored there, \
            else after it, waits included",
        Container Guid "the container's id, where the system has one",
        ProcessId Number "who opened",
    }
    ForeignSilo SILOS Warning 20
    "an open out of a silo that the host compute service did not make \
     ([0060](decisions/0060-silos-that-nobody-knows.md)): 10 with an answer of the container \
     filter, and 10 without" {
        Answer Text "what the container filter says of the file: `layer`, `scratch`, or `none`. \
            With `layer` somebody has laid an overlay of their own",
        Container Guid "the container that the silo lies in; zero on the host",
        ProcessId Number "who opened",
    }
    ProcessStart STARTS Warning 100
    "a process is made of an image that is not found clean: refused, or let through by policy \
     ([0061](decisions/0061-a-process-that-starts.md))" {
        Image Wide "the image's name, as far as Windows tells it",
        Decision Text "why it was let start or refused: the counter's name",
        Failure Text "why its image could not be scanned, `deleted` and `overwritten` among them; \
            empty where it could",
        Container Guid "the container's id, where the system has one",
        ProcessId Number "the new process",
    }
    Policy POLICY Information 100
    "an open could not be scanned, or was infected and went through all the same: what the policy \
     decided" {
        File Wide "the name under which the file was opened",
        Failure Text "why it could not be scanned: the counter's name; empty where it could",
        Decision Text "why it was allowed or denied: the counter's name",
        Container Guid "the container's id, where the system has one",
        ProcessId Number "who opened",
        Waited100ns Number "for how long the open was looked at, waits included",
    }
    TimedOut POLICY Warning 100 "an open's deadline passed before its scan had ended" {
        File Wide "the name under which the file was opened",
        Container Guid "the container's id, where the system has one",
        ProcessId Number "who opened",
        Waited100ns Number "for how long the open waited",
    }
    Connected SERVICE Information 10 "a scan service connected" {
        ProcessId Number "the service's process",
        Epoch Number "the signature epoch that began with it",
    }
    ConnectRefused SERVICE Warning 10 "a connection to the port was refused" {
        ProcessId Number "who wanted to connect",
        Status Number "the `NTSTATUS` that it got",
    }
    Disconnected SERVICE Warning 10 "the connection to the scan service ended" {
        Cause Text "`closed` by the service or with its process; `section-kept`: kept for too \
            long after a stop, or no word that it was not; `stop-not-read`; `unloading`",
    }
    BreakerOpened SERVICE Warning 10
    "the service missed its heartbeat: no open waits for it until it answers again" {
        HeartbeatMs Number "how long its answer was waited for",
    }
    BreakerClosed SERVICE Information 10 "the service answered again, or another one connected" {
        Open100ns Number "for how long no open waited",
    }
    Redirecting VOLUMES Information 100
    "an instance became redirecting: own ids of its volume may show a layer's bytes" {
        Volume Guid "the volume's GUID, where it has one",
    }
    ParameterRefused CONFIGURATION Warning 100
    "a registry value is nonsense; the default took its place" {
        Name Text "the value's name",
        Why Text "`range`, or `type` where it is no `REG_DWORD`",
        Found Number "what the registry holds; 0 where it is no `REG_DWORD`",
        InForce Number "what is in force",
    }
    ParameterChanged CONFIGURATION Information 100
    "a registry value was changed and is in force from now on" {
        Name Text "the value's name",
        Before Number "what was in force",
        InForce Number "what is in force",
    }
    ParameterWaits CONFIGURATION Warning 100
    "a registry value was changed that takes effect at the next load only" {
        Name Text "the value's name",
        Found Number "what the next load will take, as things are",
        InForce Number "what is in force",
    }
    ExclusionsChanged CONFIGURATION Information 10
    "another list of excluded containers and layers is in force, or none any more" {
        List Number "the service's number of the list; 0 for none",
        Containers Number "how many containers it names",
        Layers Number "how many layers it names",
    }
}

impl TraceId {
    /// Its row of the table.
    #[must_use]
    pub fn event(self) -> Option<&'static TraceEvent> {
        TRACE_EVENTS.get(self as usize)
    }
}

/// Bytes of the size and the tag before an event's name.
const HEAD: usize = 3;

/// How long the metadata of such an event is.
const fn metadata_length(name: &str, fields: &[Field]) -> usize {
    let mut length = HEAD.wrapping_add(name.len()).wrapping_add(1);
    let mut fields = fields;
    while let [field, more @ ..] = fields {
        length = length.wrapping_add(field.name.len()).wrapping_add(2);
        fields = more;
    }
    length
}

/// Encodes an event's metadata, at compile time. `N` is [`metadata_length`].
const fn metadata<const N: usize>(name: &str, fields: &[Field]) -> [u8; N] {
    assert!(N <= u16::MAX as usize, "the length has 16 bits");
    let mut out = [0; N];
    let [low, high, _tag, rest @ ..] = out.as_mut_slice() else {
        return out;
    };
    [*low, *high] = (N as u16).to_le_bytes();
    let mut rest = put(rest, name.as_bytes(), None);
    let mut fields = fields;
    while let [field, more @ ..] = fields {
        rest = put(rest, field.name.as_bytes(), Some(field.kind.code()));
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

/// How many events of a kind were written in the current second.
pub struct Rate {
    /// The second in the high 48 bits, the number in the low 16.
    window: AtomicU64,
}

/// One second in units of 100 ns.
const SECOND: u64 = 10_000_000;

impl Rate {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            window: AtomicU64::new(0),
        }
    }

    /// Whether one more may be written at `now`, in units of 100 ns, of at most `limit` in one
    /// second. Any IRQL; no lock.
    pub fn admits(&self, now: u64, limit: u16) -> bool {
        let second = now.wrapping_div(SECOND).wrapping_shl(16);
        let admitted = |old: u64| {
            let used = if old & !0xffff == second {
                old & 0xffff
            } else {
                0
            };
            (used < u64::from(limit)).then_some(second | used.wrapping_add(1))
        };
        self.window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, admitted)
            .is_ok()
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_is_in_the_order_of_its_names_which_are_distinct() {
        let mut names = HashSet::new();
        for (place, event) in TRACE_EVENTS.iter().enumerate() {
            assert_eq!(event.id as usize, place);
            assert_eq!(event.id.event().map(|event| event.name), Some(event.name));
            assert!(names.insert(event.name));
            assert!(event.keyword.is_power_of_two() && event.per_second > 0);
            let fields: HashSet<_> = event.fields.iter().map(|field| field.name).collect();
            assert_eq!(fields.len(), event.fields.len(), "{}", event.name);
        }
    }

    #[test]
    fn metadata_is_size_tag_name_and_each_field_with_its_type() {
        let metadata = TraceId::Disconnected.event().map(|event| event.metadata);
        let expected: &[u8] = b"\x17\0\0Disconnected\0Cause\0\x17";
        assert_eq!(metadata, Some(expected));
        for event in &TRACE_EVENTS {
            let size = u16::from_le_bytes([event.metadata[0], event.metadata[1]]);
            assert_eq!(usize::from(size), event.metadata.len());
        }
    }

    #[test]
    fn a_rate_admits_so_many_in_each_second() {
        let rate = Rate::new();
        for second in [0, 1, 7, 1 << 40] {
            for _ in 0..3 {
                assert!(rate.admits(second * SECOND + 5, 3));
            }
            assert!(!rate.admits(second * SECOND + 6, 3));
        }
        assert!(!rate.admits(8 * SECOND, 0));
    }
}
