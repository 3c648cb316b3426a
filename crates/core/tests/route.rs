//! The decision against an independent table, over its whole domain (I1, I5): also every flag word
//! that contradicts itself or that nobody knows.
//!
//! `route_table.txt` is read by a small interpreter that shares nothing with the code under test:
//! facts are bits of one word here, rules are masks. `route_counts.txt` holds how many cases there
//! were and how often each result came, so that neither the domain nor a row can shrink unseen.

use siloscan_core::ecp::{Redirection, RedirectionFlags, Taint};
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::reason::Counted;
use siloscan_core::route::{
    Facts, LayerPolicy, LayerVerdicts, LookUp, OpenFacts, RegisteredLayers, RemoteLayers, Route,
    Waiting, Which, route,
};
use std::collections::{BTreeMap, HashMap};

const TABLE: &str = include_str!("route_table.txt");
const COUNTS: &str = include_str!("route_counts.txt");

/// The names of the table's facts; the place in this list is the bit.
const FACTS: [&str; 43] = [
    "stack-file-object",
    "paging-file",
    "target-directory",
    "directory",
    "volume",
    "prefetch",
    "csv-down-level",
    "scanner",
    "nested",
    "draining",
    "failed",
    "reparse",
    "no-data-access",
    "not-opened",
    "oplock-break",
    "container",
    "redirecting",
    "unnamed",
    "own-id",
    "own-volume",
    "transaction",
    "writable-section",
    "dax",
    "csv",
    "can-write",
    "covered",
    "layer-volume",
    "foreign-silo",
    "excluded",
    "ecp-absent",
    "acknowledged",
    "tainted",
    "LAYER",
    "SCRATCH",
    "REGISTERED",
    "REMOTE",
    "USER_MODE",
    "other-bits",
    "zero-guid",
    "zero-id",
    "remote-skip",
    "registered-skip",
    "each-open",
];

/// The open's facts, bit by bit in the order of [`FACTS`].
const OPEN_FACTS: [OpenFacts; 29] = [
    OpenFacts::STACK_FILE_OBJECT,
    OpenFacts::PAGING_FILE,
    OpenFacts::TARGET_DIRECTORY,
    OpenFacts::DIRECTORY,
    OpenFacts::VOLUME,
    OpenFacts::PREFETCH,
    OpenFacts::CSV_DOWN_LEVEL,
    OpenFacts::SCANNER,
    OpenFacts::NESTED,
    OpenFacts::DRAINING,
    OpenFacts::FAILED,
    OpenFacts::REPARSE,
    OpenFacts::NO_DATA_ACCESS,
    OpenFacts::NOT_OPENED,
    OpenFacts::OPLOCK_BREAK,
    OpenFacts::CONTAINER,
    OpenFacts::REDIRECTING,
    OpenFacts::UNNAMED,
    OpenFacts::OWN_ID,
    OpenFacts::OWN_VOLUME,
    OpenFacts::TRANSACTION,
    OpenFacts::WRITABLE_SECTION,
    OpenFacts::DAX,
    OpenFacts::CSV,
    OpenFacts::CAN_WRITE,
    OpenFacts::COVERED,
    OpenFacts::LAYER_VOLUME,
    OpenFacts::FOREIGN_SILO,
    OpenFacts::EXCLUDED,
];

fn bit(name: &str) -> u64 {
    let place = FACTS.iter().position(|fact| *fact == name);
    1 << place.unwrap_or_else(|| panic!("no such fact: {name}"))
}

struct Rule {
    needs: u64,
    forbids: u64,
    result: usize,
    go: Option<(usize, usize)>,
}

/// The table, compiled: rules by section, and the names of all results.
struct Table {
    sections: Vec<Vec<Rule>>,
    names: HashMap<String, usize>,
    results: Vec<String>,
}

impl Table {
    fn parse(text: &str) -> Self {
        let lines = || {
            text.lines()
                .map(str::trim)
                .filter(|l| !l.is_empty() && !l.starts_with('#'))
        };
        let mut names = HashMap::new();
        for line in lines().filter(|line| line.starts_with('[')) {
            let name = line.trim_matches(['[', ']']).to_owned();
            names.insert(name, names.len());
        }
        let mut table = Self {
            sections: Vec::new(),
            names,
            results: vec!["none".into(), "REASON".into()],
        };
        for line in lines() {
            if line.starts_with('[') {
                table.sections.push(Vec::new());
                continue;
            }
            let (facts, result) = line.split_once("=>").expect("a rule");
            let rule = table.rule(facts, result.trim());
            table.sections.last_mut().expect("a section").push(rule);
        }
        table
    }

    fn rule(&mut self, facts: &str, result: &str) -> Rule {
        let (mut needs, mut forbids) = (0, 0);
        for fact in facts.split_whitespace() {
            match fact.strip_prefix('!') {
                Some(fact) => forbids |= bit(fact),
                None => needs |= bit(fact),
            }
        }
        let go = result.strip_prefix("go ").map(|rest| {
            let (section, reason) = rest.split_once(' ').expect("a reason");
            (self.names[section], self.result(reason))
        });
        Rule {
            needs,
            forbids,
            result: self.result(result),
            go,
        }
    }

    fn result(&mut self, name: &str) -> usize {
        if let Some(at) = self.results.iter().position(|result| result == name) {
            return at;
        }
        self.results.push(name.to_owned());
        self.results.len() - 1
    }

    /// The result's number, and the number of the reason that it was reached with.
    fn decide(&self, section: usize, facts: u64, reason: usize) -> (usize, usize) {
        for rule in &self.sections[section] {
            if facts & rule.needs == rule.needs && facts & rule.forbids == 0 {
                return match rule.go {
                    Some((next, given)) => {
                        self.decide(next, facts, if given == 1 { reason } else { given })
                    }
                    None => (rule.result, reason),
                };
            }
        }
        panic!("the table is not total: {facts:#x}");
    }

    fn name(&self, (result, reason): (usize, usize)) -> String {
        self.results[result].replace("REASON", &self.results[reason])
    }
}

/// One case: what the driver would see.
#[derive(Clone, Copy, Debug)]
struct Case {
    open: u32,
    ecp_absent: bool,
    acknowledged: bool,
    taint: u8,
    flags: u16,
    ids: u8,
    policy: u8,
}

impl Case {
    /// The facts for the table.
    fn word(&self) -> u64 {
        let mut word = u64::from(self.open);
        let mut set = |place: u32, holds: bool| word |= u64::from(holds) << place;
        set(29, self.ecp_absent);
        set(30, self.acknowledged);
        set(31, self.taint != 0);
        set(32, self.flags & 1 != 0);
        set(33, self.flags & 2 != 0);
        set(34, self.flags & 4 != 0);
        set(35, self.flags & 8 != 0);
        set(36, self.flags & 16 != 0);
        set(37, self.flags & 0xffe0 != 0);
        set(38, self.ids & 1 == 0);
        set(39, self.ids & 2 == 0);
        set(40, self.policy & 1 == 0);
        set(41, self.policy & 2 == 0);
        set(42, self.policy & 4 != 0);
        word
    }

    /// The facts for the code, by way of the bytes of an ECP.
    fn facts(&self) -> Facts {
        let mut open = OpenFacts::NONE;
        let mut left = self.open;
        while left != 0 {
            open = open.with(OPEN_FACTS[left.trailing_zeros() as usize]);
            left &= left - 1;
        }
        let mut bytes = [0_u8; 36];
        bytes[0] = 36;
        bytes[2..4].copy_from_slice(&self.flags.to_le_bytes());
        if self.ids & 2 != 0 {
            bytes[4..20].copy_from_slice(&FILE);
        }
        if self.ids & 1 != 0 {
            bytes[20..36].copy_from_slice(&GUID);
        }
        let taint = Taint {
            from_user_mode: self.taint == 1,
            answered_before: self.taint == 2,
            too_small: self.taint == 3,
        };
        let redirection = if self.ecp_absent {
            Redirection::Absent
        } else {
            Redirection::capture(&bytes, self.acknowledged, taint)
        };
        Facts { open, redirection }
    }

    fn policy(&self) -> LayerPolicy {
        LayerPolicy {
            remote: if self.policy & 1 == 0 {
                RemoteLayers::Skip
            } else {
                RemoteLayers::Scan
            },
            registered: if self.policy & 2 == 0 {
                RegisteredLayers::SkipWhenCovered
            } else {
                RegisteredLayers::LookUp
            },
            verdicts: if self.policy & 4 == 0 {
                LayerVerdicts::Shared
            } else {
                LayerVerdicts::EachOpen
            },
        }
    }
}

const FILE: [u8; 16] = [7; 16];
const GUID: [u8; 16] = [9; 16];

fn layer_key() -> Key {
    Key::new(
        VolumeGuid::from_bytes(GUID).unwrap(),
        FileId::from_bytes(FILE).unwrap(),
    )
}

/// What the code decided, in the table's words; and whether it keeps and waits, where it says.
fn told(route: Route) -> (&'static str, &'static str, Option<bool>, Option<bool>) {
    let may_wait = |waiting| Some(waiting == Waiting::Allowed);
    match route {
        Route::Ignore(reason) => ("ignore", reason.name(), None, None),
        Route::Skip(reason) => ("skip", reason.name(), None, None),
        Route::Scan(reason, waiting) => ("scan", reason.name(), None, may_wait(waiting)),
        Route::LookUpThenSkip(Which::Own, reason) => {
            ("look-up-own-then-skip", reason.name(), None, None)
        }
        Route::LookUpThenSkip(Which::Layer(key), reason) => {
            assert_eq!(key, layer_key());
            ("look-up-then-skip", reason.name(), None, None)
        }
        Route::LookUp(LookUp {
            of: Which::Own,
            reason,
            keeps,
            waiting,
        }) => ("look-up-own", reason.name(), Some(keeps), may_wait(waiting)),
        Route::LookUp(LookUp {
            of: Which::Layer(key),
            reason,
            keeps,
            waiting,
        }) => {
            assert_eq!(key, layer_key());
            (
                "look-up-layer",
                reason.name(),
                Some(keeps),
                may_wait(waiting),
            )
        }
    }
}

/// Compares cases and counts results.
struct Comparison {
    table: Table,
    /// By result and reason: the name, and how often it came.
    seen: Vec<Option<(String, u64)>>,
    total: u64,
}

impl Comparison {
    fn new() -> Self {
        let table = Table::parse(TABLE);
        let seen = vec![None; table.results.len() * table.results.len()];
        Self {
            table,
            seen,
            total: 0,
        }
    }

    fn check(&mut self, case: &Case) {
        let word = case.word();
        let expected = self.table.decide(0, word, 0);
        let (kind, reason, keeps, waits) = told(route(&case.facts(), &case.policy()));
        let table = &self.table;
        let place = expected.0 * table.results.len() + expected.1;
        let (name, count) = self.seen[place].get_or_insert_with(|| (table.name(expected), 0));
        *count += 1;
        let same = name
            .strip_prefix(kind)
            .is_some_and(|rest| rest.strip_prefix(' ') == Some(reason));
        assert!(
            same,
            "{case:?}: table says {name}, code says {kind} {reason}"
        );
        for (section, told) in [("keeps", keeps), ("waits", waits)] {
            if let Some(told) = told {
                let (result, _) = table.decide(table.names[section], word, 0);
                assert_eq!(table.results[result] == "yes", told, "{case:?} {section}");
            }
        }
        self.total += 1;
    }

    /// The counts under a heading, as they are committed.
    fn report(&self, heading: &str) -> String {
        let mut text = format!("[{heading}]\ncases {}\n", self.total);
        let mut counts = BTreeMap::new();
        for (name, count) in self.seen.iter().flatten() {
            *counts.entry(name.clone()).or_insert(0) += count;
        }
        for (name, count) in counts {
            text.push_str(&format!("{name} {count}\n"));
        }
        text
    }

    fn assert_counts(&self, heading: &str) {
        let report = self.report(heading);
        let committed = COUNTS.replace("\r\n", "\n");
        assert!(
            committed.contains(&report),
            "route_counts.txt does not hold:\n{report}"
        );
    }
}

/// An open of which everything is known, and nothing speaks against a key.
const PLAIN: u32 = 1 << 15 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 26;

#[test]
fn the_names_of_the_facts_are_the_bits_of_the_code() {
    for (place, fact) in OPEN_FACTS.iter().enumerate() {
        assert_eq!(fact.bits(), 1 << place, "{}", FACTS[place]);
    }
    assert_eq!(bit("ecp-absent"), 1 << 29);
    assert_eq!(bit("each-open"), 1 << 42);
}

#[test]
fn a_set_of_facts_holds_what_was_put_in_and_no_bit_without_a_meaning() {
    let all = OpenFacts::from_bits(u32::MAX);
    assert_eq!(all.bits(), (1 << OPEN_FACTS.len()) - 1);
    for fact in OPEN_FACTS {
        assert_eq!(OpenFacts::from_bits(fact.bits()), fact);
        let rest = all.without(fact);
        assert!(all.has(fact) && !rest.has(fact));
        assert_eq!((rest.with(fact), rest.without(fact)), (all, rest));
        assert_eq!(rest.with_if(fact, true), all);
        assert_eq!(rest.with_if(fact, false), rest);
        assert_eq!(all.with(fact), all);
    }
}

/// Every flag word × acknowledged × tainted × ids × policy × covered × redirecting × foreign.
#[test]
fn i5_every_flag_word_is_routed_as_the_table_says() {
    let mut comparison = Comparison::new();
    for flags in 0..=u16::MAX {
        for rest in 0..1024_u32 {
            let on = |shift: u32| rest >> shift & 1 != 0;
            let facts = u32::from(on(6)) << 25 | u32::from(on(7)) << 16;
            let case = Case {
                open: PLAIN | facts | u32::from(on(9)) << 27,
                ecp_absent: false,
                acknowledged: on(0),
                taint: u8::from(on(1)),
                flags,
                ids: (rest >> 2 & 3) as u8,
                policy: (rest >> 4 & 3 | rest >> 6 & 4) as u8,
            };
            comparison.check(&case);
        }
    }
    comparison.assert_counts("flags");
}

/// Every fact of an open that is not an ignore × every documented flag word × the rest.
#[test]
fn every_fact_is_routed_as_the_table_says() {
    let mut comparison = Comparison::new();
    for facts in 0..1_u32 << 15 {
        for flags in 0..64_u16 {
            for rest in 0..32_u32 {
                let case = Case {
                    open: facts << 14,
                    ecp_absent: rest & 1 != 0,
                    acknowledged: rest & 2 != 0,
                    taint: if rest & 4 != 0 {
                        (flags % 3 + 1) as u8
                    } else {
                        0
                    },
                    flags,
                    ids: if rest & 8 != 0 { 3 } else { (facts % 3) as u8 },
                    policy: if rest & 16 != 0 { (flags % 8) as u8 } else { 0 },
                };
                comparison.check(&case);
            }
        }
    }
    comparison.assert_counts("facts");
}

/// Every set of ignores, before whatever else the open shows.
#[test]
fn i1_every_set_of_ignores_is_routed_as_the_table_says() {
    let mut comparison = Comparison::new();
    for ignores in 0..1_u32 << 14 {
        for flags in [0, 1, 2, 5, 9, 13, 0x8001] {
            for others in [0, PLAIN, PLAIN | 1 << 25, 0x3fff << 14] {
                let case = Case {
                    open: ignores | others,
                    ecp_absent: false,
                    acknowledged: true,
                    taint: 0,
                    flags,
                    ids: 3,
                    policy: 0,
                };
                comparison.check(&case);
            }
        }
    }
    comparison.assert_counts("ignores");
}

/// I5 said by itself, without the table: a skip needs an acknowledged, untainted answer of a
/// container open, with LAYER, without SCRATCH, USER_MODE or any bit that is not documented.
#[test]
fn i5_no_skip_without_a_clear_answer() {
    let mut skips = 0;
    for flags in 0..=u16::MAX {
        for rest in 0..512_u32 {
            let on = |shift: u32| rest >> shift & 1 != 0;
            let silo = u32::from(on(0)) << 15 | u32::from(on(8)) << 27;
            let case = Case {
                open: PLAIN & !(1 << 15) | silo | 1 << 25,
                ecp_absent: on(1),
                acknowledged: on(2),
                taint: (rest >> 3 & 3) as u8,
                flags,
                ids: 3,
                policy: (rest >> 5 & 7) as u8,
            };
            let decided = route(&case.facts(), &case.policy());
            if let Route::Skip(_) | Route::LookUpThenSkip(..) = decided {
                skips += 1;
                assert!(on(0) && !on(1) && on(2) && case.taint == 0, "{case:?}");
                assert!(!on(8), "a silo that nobody knows: {case:?}");
                let clear = RedirectionFlags::LAYER;
                let wrong = RedirectionFlags::SCRATCH
                    | RedirectionFlags::USER_MODE
                    | !RedirectionFlags::KNOWN;
                assert!(flags & clear != 0 && flags & wrong == 0, "{case:?}");
            }
        }
    }
    assert_eq!(skips, 6);
}

/// The same for an excluded container, which any clear answer makes a skip.
#[test]
fn i5_an_exclusion_needs_a_clear_answer_too() {
    let mut skips = 0;
    for flags in 0..=u16::MAX {
        for rest in 0..128_u32 {
            let on = |shift: u32| rest >> shift & 1 != 0;
            let silo = u32::from(on(0)) << 15 | u32::from(on(5)) << 27;
            let case = Case {
                open: PLAIN & !(1 << 15) | silo | 1 << 28 | u32::from(on(6)) << 16,
                ecp_absent: on(1),
                acknowledged: on(2),
                taint: (rest >> 3 & 3) as u8,
                flags,
                ids: 3,
                policy: 0,
            };
            let decided = route(&case.facts(), &case.policy());
            if let Route::Skip(_) | Route::LookUpThenSkip(..) = decided {
                skips += 1;
                assert!(on(0) && !on(1) && on(2) && case.taint == 0, "{case:?}");
                assert!(!on(5), "a silo that nobody knows: {case:?}");
                let layer = flags & RedirectionFlags::LAYER != 0;
                assert_ne!(layer, flags & RedirectionFlags::SCRATCH != 0, "{case:?}");
                let wrong = RedirectionFlags::USER_MODE | !RedirectionFlags::KNOWN;
                assert_eq!(flags & wrong, 0, "{case:?}");
            }
        }
    }
    // Four kinds of layers and the scratch, each on a redirecting volume and on another.
    assert_eq!(skips, 10);
}
