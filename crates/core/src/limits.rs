//! Every number that bounds siloscan: the registry values and the fixed capacities.
//!
//! [`PARAMETERS`] is the one table; the driver reads the registry by it and the documentation is
//! made from it. Nonsense in the registry gives the default, never a failure to load. What a change
//! does while the driver runs is [`crate::watch`]'s.

use crate::route::{LayerPolicy, LayerVerdicts, RegisteredLayers, RemoteLayers};
use crate::verdict::{FailurePolicy, OnEvasion, OnFailure};

/// One registry value below `Services\siloscan\Parameters`. All are `REG_DWORD`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Which one.
    pub id: ParameterId,
    /// The name of the value.
    pub name: &'static str,
    /// What one of it is: `ms`, `entries`, `threads`, `percent`, or the meaning of each choice.
    pub unit: &'static str,
    /// The smallest value that is accepted.
    pub min: u32,
    /// The largest value that is accepted.
    pub max: u32,
    /// What holds where the value is absent, of another type, or out of range.
    pub default: u32,
    /// Whether a change takes effect while the driver runs ([`crate::watch`]); else at the next
    /// load.
    pub live: bool,
    /// What it does, in plain words.
    pub doc: &'static str,
}

/// The names of [`PARAMETERS`], in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ParameterId {
    /// See the table.
    OpenDeadlineMs,
    /// See the table.
    HeartbeatMs,
    /// See the table.
    CacheEntries,
    /// See the table.
    ScanThreads,
    /// See the table.
    SiloSharePercent,
    /// See the table.
    RemoteLayers,
    /// See the table.
    RegisteredLayers,
    /// See the table.
    OnFailure,
    /// See the table.
    OnEvasion,
    /// See the table.
    OnStale,
    /// See the table.
    StaleWindowMs,
    /// See the table.
    AuditOnly,
    /// See the table.
    LayerVerdicts,
    /// See the table.
    SectionGraceMs,
}

/// How many parameters there are.
pub const PARAMETER_COUNT: usize = 14;

/// The table.
pub const PARAMETERS: [Parameter; PARAMETER_COUNT] = [
    Parameter {
        id: ParameterId::OpenDeadlineMs,
        name: "OpenDeadlineMs",
        unit: "ms",
        min: 100,
        max: 600_000,
        default: 30_000,
        live: true,
        doc: "How long one open may wait in all, whatever happens to its scans.",
    },
    Parameter {
        id: ParameterId::HeartbeatMs,
        name: "HeartbeatMs",
        unit: "ms",
        min: 500,
        max: 60_000,
        default: 5_000,
        live: true,
        doc: "How long the service may take to answer a poll before nobody waits for it.",
    },
    Parameter {
        id: ParameterId::CacheEntries,
        name: "CacheEntries",
        unit: "entries",
        min: 1_024,
        max: 16_777_216,
        default: 65_536,
        live: false,
        doc: "How many verdicts are remembered; the memory is taken once, at load.",
    },
    Parameter {
        id: ParameterId::ScanThreads,
        name: "ScanThreads",
        unit: "threads",
        min: 2,
        max: 64,
        default: 8,
        live: false,
        doc: "How many driver threads lead scans, so how many scans run at once.",
    },
    Parameter {
        id: ParameterId::SiloSharePercent,
        name: "SiloSharePercent",
        unit: "percent",
        min: 1,
        max: 100,
        default: 25,
        live: true,
        doc: "Which part of the scan queue and of the scan threads one silo may hold.",
    },
    Parameter {
        id: ParameterId::RemoteLayers,
        name: "RemoteLayers",
        unit: "0 = skip, 1 = scan",
        min: 0,
        max: 1,
        default: 0,
        live: true,
        doc: "What is done with files of layers on a remote host, which has its own scanner.",
    },
    Parameter {
        id: ParameterId::RegisteredLayers,
        name: "RegisteredLayers",
        unit: "0 = skip when covered, 1 = look up",
        min: 0,
        max: 1,
        default: 0,
        live: true,
        doc: "What is done with files of registered layers: skipped once a proactive scan of the \
              layer has ended under these signatures, or treated as any other layer. Without \
              proactive scans (`proactive.enabled`) 0 skips nothing.",
    },
    Parameter {
        id: ParameterId::OnFailure,
        name: "OnFailure",
        unit: "0 = allow, 1 = deny",
        min: 0,
        max: 1,
        default: 0,
        live: true,
        doc: "What an open does when a scan fails for a cause of ours: `no-service`, `no-memory`, \
              `queue-full`, `unloading`, `bad-reply`, `service-error`, `breaker`.",
    },
    Parameter {
        id: ParameterId::OnEvasion,
        name: "OnEvasion",
        unit: "0 = deny in a silo, 1 = allow, 2 = deny",
        min: 0,
        max: 2,
        default: 0,
        live: true,
        doc: "What an open does when a scan fails for a cause of the file or its users: \
              `share-used`, `unreadable`, `locked`, `changing`, `conflict`, `too-slow`, `oplock`, \
              `not-recalled`, `too-large`, `deleted`, `overwritten`, `unscannable`.",
    },
    Parameter {
        id: ParameterId::OnStale,
        name: "OnStale",
        unit: "0 = rescan, 1 = allow and rescan",
        min: 0,
        max: 1,
        default: 0,
        live: true,
        doc: "What an open does with a 'clean' of the signatures before.",
    },
    Parameter {
        id: ParameterId::StaleWindowMs,
        name: "StaleWindowMs",
        unit: "ms",
        min: 1_000,
        max: 86_400_000,
        default: 600_000,
        live: true,
        doc: "For how long after new signatures 'allow and rescan' allows.",
    },
    Parameter {
        id: ParameterId::AuditOnly,
        name: "AuditOnly",
        unit: "0 = deny, 1 = report only",
        min: 0,
        max: 1,
        default: 0,
        live: true,
        doc: "Nothing is denied; what would have been is counted and reported.",
    },
    Parameter {
        id: ParameterId::LayerVerdicts,
        name: "LayerVerdicts",
        unit: "0 = shared, 1 = scan each open",
        min: 0,
        max: 1,
        default: 0,
        live: true,
        doc: "Whether the verdict of a package file serves all containers. 1 switches the \
              optimisation off: to compare with, and a way out should Windows misreport.",
    },
    Parameter {
        id: ParameterId::SectionGraceMs,
        name: "SectionGraceMs",
        unit: "ms",
        min: 50,
        max: 10_000,
        default: 100,
        live: true,
        doc: "How long the service may keep the section of a scan after it has read that it must \
              stop, or a second more where the scan is over; it is disconnected when it keeps one \
              longer.",
    },
];

/// What the registry holds under a parameter's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// There is no such value, or no such key.
    Absent,
    /// A `REG_DWORD`.
    Dword(u32),
    /// A value of another type or length.
    OtherType,
}

/// Why a value is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nonsense {
    /// Out of the parameter's range.
    Range,
    /// No `REG_DWORD`.
    Type,
}

impl Nonsense {
    /// Its name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Type => "type",
        }
    }
}

impl Parameter {
    /// The value that holds where the registry holds `found`, and what is wrong with that. Absence
    /// is no nonsense.
    #[must_use]
    pub fn read(&self, found: Found) -> (u32, Option<Nonsense>) {
        match found {
            Found::Dword(value) if (self.min..=self.max).contains(&value) => (value, None),
            Found::Dword(_) => (self.default, Some(Nonsense::Range)),
            Found::OtherType => (self.default, Some(Nonsense::Type)),
            Found::Absent => (self.default, None),
        }
    }
}

/// The `OnStale` setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnStale {
    /// A stale "clean" is a miss.
    #[default]
    Rescan,
    /// A stale "clean" lets the open pass for `StaleWindowMs`, and a scan is asked for.
    AllowAndRescan,
}

/// The values in force: each within its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    values: [u32; PARAMETER_COUNT],
}

impl Default for Parameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Parameters {
    /// Every default.
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, not at run time"
    )]
    pub const DEFAULT: Self = {
        let mut values = [0; PARAMETER_COUNT];
        let mut i = 0;
        while i < PARAMETER_COUNT {
            values[i] = PARAMETERS[i].default;
            i += 1;
        }
        Self { values }
    };

    /// Takes what the registry holds.
    ///
    /// # Errors
    /// The default took the place of nonsense.
    pub fn set(&mut self, parameter: &Parameter, found: Found) -> Result<(), Nonsense> {
        let (value, nonsense) = parameter.read(found);
        if let Some(slot) = self.values.get_mut(parameter.id as usize) {
            *slot = value;
        }
        nonsense.map_or(Ok(()), Err)
    }

    /// The value in force.
    #[must_use]
    pub fn get(&self, id: ParameterId) -> u32 {
        self.values.get(id as usize).copied().unwrap_or(0)
    }

    /// What was chosen about layers.
    #[must_use]
    pub fn layer_policy(&self) -> LayerPolicy {
        LayerPolicy {
            remote: match self.get(ParameterId::RemoteLayers) {
                1 => RemoteLayers::Scan,
                _ => RemoteLayers::Skip,
            },
            verdicts: match self.get(ParameterId::LayerVerdicts) {
                1 => LayerVerdicts::EachOpen,
                _ => LayerVerdicts::Shared,
            },
            registered: match self.get(ParameterId::RegisteredLayers) {
                1 => RegisteredLayers::LookUp,
                _ => RegisteredLayers::SkipWhenCovered,
            },
        }
    }

    /// What was chosen about failures.
    #[must_use]
    pub fn failure_policy(&self) -> FailurePolicy {
        FailurePolicy {
            on_failure: match self.get(ParameterId::OnFailure) {
                1 => OnFailure::Deny,
                _ => OnFailure::Allow,
            },
            on_evasion: match self.get(ParameterId::OnEvasion) {
                1 => OnEvasion::Allow,
                2 => OnEvasion::Deny,
                _ => OnEvasion::DenyInSilo,
            },
            audit_only: self.get(ParameterId::AuditOnly) == 1,
        }
    }

    /// What was chosen about stale verdicts.
    #[must_use]
    pub fn on_stale(&self) -> OnStale {
        match self.get(ParameterId::OnStale) {
            1 => OnStale::AllowAndRescan,
            _ => OnStale::Rescan,
        }
    }

    /// The deadline of one open, in units of 100 ns.
    #[must_use]
    pub fn open_deadline(&self) -> u64 {
        ms_to_ticks(self.get(ParameterId::OpenDeadlineMs))
    }

    /// The heartbeat, in units of 100 ns.
    #[must_use]
    pub fn heartbeat(&self) -> u64 {
        ms_to_ticks(self.get(ParameterId::HeartbeatMs))
    }

    /// The time for which a stale "clean" may pass, in units of 100 ns.
    #[must_use]
    pub fn stale_window(&self) -> u64 {
        ms_to_ticks(self.get(ParameterId::StaleWindowMs))
    }
}

/// Milliseconds in the kernel's unit of 100 ns.
#[must_use]
pub const fn ms_to_ticks(ms: u32) -> u64 {
    (ms as u64).wrapping_mul(10_000)
}

/// How many scans can be wanted or running at once.
pub const FLIGHTS: usize = 512;
/// How many opens can wait for scans at once.
pub const WAITERS: usize = 2_048;
/// How many silos are accounted for at once.
pub const SILO_ACCOUNTS: usize = 4_096;
/// So many scans that held a leader to their deadline make the silo that wanted them a slow one.
pub const SLOW_TIMEOUTS: u32 = 2;
/// For how many deadlines of an open such a scan is held against its silo.
pub const SLOW_DEADLINES: u64 = 10;
/// How many volumes can be alive at once and have their verdicts kept.
pub const VOLUMES: usize = 4_096;
/// How many keys can be changing at once before a whole volume counts as changing.
pub const CHANGING: usize = 4_096;
/// How many layer volumes can be covered at once.
pub const COVERED: usize = 256;
/// UTF-16 units of a file name that a request carries; longer names are cut and marked.
pub const NAME_UNITS: usize = 512;
/// UTF-16 units of a file name that an event carries; longer names are cut.
pub const TRACE_UNITS: usize = 1_024;
/// Bytes of a rule's name that a reply carries.
pub const RULE_BYTES: usize = 64;
/// Bytes of one piece of a file that is sent because its volume has no data-scan sections. A
/// multiple of every sector size, and small enough for one message.
pub const CHUNK_BYTES: usize = 32 << 10;
/// Bytes of the largest file that is sent in pieces; a larger one cannot be scanned there.
pub const SENT_BYTES_MAX: u64 = 64 << 20;

const _: () = assert!(
    CHUNK_BYTES.is_multiple_of(4096) && CHUNK_BYTES <= 48 << 10,
    "a piece is whole sectors and fits into one frame of every transport"
);
const _: () = assert!(
    FLIGHTS <= WAITERS,
    "every flight has a waiter or is a close scan"
);
const _: () = assert!(
    SILO_ACCOUNTS >= 2 * WAITERS,
    "accounts are found in few steps"
);
const _: () = assert!(
    WAITERS < u16::MAX as usize,
    "lists are made of 16-bit indices"
);
const _: () = assert!(
    VOLUMES <= 1 << 16,
    "a cache entry names its volume in 16 bits"
);
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, not at run time"
)]
const _: () = {
    let mut i = 0;
    while i < PARAMETER_COUNT {
        let parameter = &PARAMETERS[i];
        assert!(
            parameter.id as usize == i,
            "the table is in the order of its names"
        );
        assert!(parameter.min <= parameter.default && parameter.default <= parameter.max);
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_gives_the_default_and_is_told() {
        let names = [Nonsense::Range, Nonsense::Type].map(Nonsense::name);
        assert_eq!(names, ["range", "type"]);
        for parameter in &PARAMETERS {
            let mut all = Parameters::DEFAULT;
            assert_eq!(all.set(parameter, Found::Dword(parameter.max)), Ok(()));
            assert_eq!(all.get(parameter.id), parameter.max);
            assert_eq!(all.set(parameter, Found::Dword(parameter.min)), Ok(()));
            assert_eq!(all.get(parameter.id), parameter.min);
            for wrong in [
                parameter.max.wrapping_add(1),
                u32::MAX,
                parameter.min.wrapping_sub(1),
            ] {
                if !(parameter.min..=parameter.max).contains(&wrong) {
                    let told = all.set(parameter, Found::Dword(wrong));
                    assert_eq!(told, Err(Nonsense::Range));
                    assert_eq!(all.get(parameter.id), parameter.default);
                }
            }
            let told = all.set(parameter, Found::OtherType);
            assert_eq!(told, Err(Nonsense::Type));
            assert_eq!(all.set(parameter, Found::Absent), Ok(()));
            assert_eq!(all, Parameters::DEFAULT);
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let all = Parameters::DEFAULT;
        assert_eq!(all.open_deadline(), 300_000_000);
        assert_eq!(all.heartbeat(), 50_000_000);
        assert_eq!(all.get(ParameterId::CacheEntries), 65_536);
        assert_eq!(all.get(ParameterId::SiloSharePercent), 25);
        assert_eq!(all.layer_policy(), LayerPolicy::default());
        assert_eq!(all.failure_policy(), FailurePolicy::default());
        assert_eq!(all.on_stale(), OnStale::Rescan);
    }

    #[test]
    fn every_choice_reaches_its_policy() {
        let mut all = Parameters::DEFAULT;
        for parameter in &PARAMETERS {
            if parameter.max <= 2 {
                assert_eq!(all.set(parameter, Found::Dword(parameter.max)), Ok(()));
            }
        }
        assert_eq!(all.layer_policy().remote, RemoteLayers::Scan);
        assert_eq!(all.layer_policy().registered, RegisteredLayers::LookUp);
        assert_eq!(all.layer_policy().verdicts, LayerVerdicts::EachOpen);
        assert_eq!(all.failure_policy().on_failure, OnFailure::Deny);
        assert_eq!(all.failure_policy().on_evasion, OnEvasion::Deny);
        assert!(all.failure_policy().audit_only);
        assert_eq!(all.on_stale(), OnStale::AllowAndRescan);
    }

    #[test]
    fn every_number_is_a_choice_of_its_own() {
        let set = |id: ParameterId, value| {
            let mut all = Parameters::DEFAULT;
            for parameter in PARAMETERS.iter().filter(|parameter| parameter.id == id) {
                assert_eq!(all.set(parameter, Found::Dword(value)), Ok(()));
            }
            all
        };
        let choices = [OnEvasion::DenyInSilo, OnEvasion::Allow, OnEvasion::Deny];
        for (value, choice) in (0..).zip(choices) {
            let all = set(ParameterId::OnEvasion, value);
            assert_eq!(all.failure_policy().on_evasion, choice);
        }
        let all = set(ParameterId::StaleWindowMs, 61_000);
        assert_eq!(all.stale_window(), 610_000_000);
    }

    #[test]
    fn names_are_distinct() {
        for (i, a) in PARAMETERS.iter().enumerate() {
            for b in PARAMETERS.iter().skip(i + 1) {
                assert_ne!(a.name, b.name);
            }
        }
    }
}
