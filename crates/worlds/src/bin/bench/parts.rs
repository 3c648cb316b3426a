//! Which step of an open an instruction belongs to, told by the functions that it is part of.

use std::collections::BTreeMap;
use std::sync::Arc;

use filterhost::record::Profile;

/// The steps, each with parts of the names of its functions. The innermost function that is
/// somebody's decides.
const STEPS: &[(&str, &[&str])] = &[
    (
        "counters",
        &[
            "trace::count",
            "trace::impl$0::route",
            "Tale::route",
            "Tale::decision",
        ],
    ),
    (CACHE, &["scan::look_up", "Ledger::lookup", "ledger::impl$"]),
    ("ECP attach", &["List::attach", "create::attach"]),
    (
        "ECP look-up and acknowledgement",
        &["List::answer", "Redirection::capture"],
    ),
    ("ECP list", &["List::of", "List::origins"]),
    ("silo", &["silo::"]),
    (
        "stream",
        &[
            "stream_of",
            "learn_id",
            "own_key",
            "is_untouched",
            "StreamContext",
            "note_open",
        ],
    ),
    (
        "instance",
        &[
            "InstanceContext",
            "ask_for_guid",
            "redirects",
            "is_redirecting",
        ],
    ),
    (
        "route",
        &["route::", "known", "facts_before", "facts_after"],
    ),
    ("decision", &["finish", "decide", "tell_policy"]),
];

/// The step that the sum of the parts takes from siloscan's own open.
pub const CACHE: &str = "cache read";
/// What no step claims.
const REST: &str = "views and the rest";

/// The names of all steps, in the order of the table.
pub fn names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|(name, _)| *name).chain([REST])
}

/// The step of an instruction in these functions, outermost first.
fn step(functions: &[Arc<str>]) -> &'static str {
    let own = |function: &Arc<str>| {
        let is_its = |(_, parts): &&(_, &[&str])| parts.iter().any(|part| function.contains(part));
        STEPS.iter().find(is_its).map(|(name, _)| *name)
    };
    functions.iter().rev().find_map(own).unwrap_or(REST)
}

/// What one open costs.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Instructions of the driver, by step.
    pub instructions: BTreeMap<&'static str, u64>,
    /// Calls into the kernel, by step.
    pub calls: BTreeMap<&'static str, u64>,
    /// Instructions by their functions, for `--functions`.
    pub functions: BTreeMap<String, u64>,
}

impl Cost {
    /// Adds a profile up.
    pub fn of(profile: &Profile) -> Self {
        let mut cost = Self::default();
        for functions in profile.stacks() {
            *cost.instructions.entry(step(functions)).or_default() += 1;
            let tail = functions.len().saturating_sub(4);
            let shown = functions.get(tail..).unwrap_or_default().join(" > ");
            *cost.functions.entry(shown).or_default() += 1;
        }
        for (_, functions) in profile.calls() {
            *cost.calls.entry(step(functions)).or_default() += 1;
        }
        cost
    }

    /// All instructions.
    pub fn total(&self) -> u64 {
        self.instructions.values().sum()
    }

    /// All calls into the kernel.
    pub fn all_calls(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Those of one step.
    pub fn step(&self, name: &str) -> u64 {
        self.instructions.get(name).copied().unwrap_or(0)
    }
}
