//! `docs/parameters.md` is made from the table in `limits.rs`; each value is range-checked.
//!
//! `SILOSCAN_WRITE_DOCS=1` writes the page instead of comparing it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use siloscan_core::limits::{Found, PARAMETERS, ParameterId, Parameters};
use siloscan_core::reason::{Counted, Failure, Origin};

fn page() -> String {
    let mut page = String::from(
        "# The driver's parameters\n\n\
         `REG_DWORD` values below \
         `HKLM\\SYSTEM\\CurrentControlSet\\Services\\siloscan\\Parameters`, read when\n\
         the driver is loaded, and again about once a second (at the latest every fifth of \
         `HeartbeatMs`).\nA value that is absent, of another type or out of range counts as its \
         default; it never keeps the driver\nfrom loading. A session that listens is told of \
         nonsense, of each change that takes effect, and of\neach that waits for the next load \
         ([events.md](events.md)). A value or key that cannot be read just now\nchanges nothing. \
         Made from `crates/core/src/limits.rs`\n\
         (`SILOSCAN_WRITE_DOCS=1 cargo test -p siloscan-core --test parameters`).\n\n\
         | name | unit or choices | from | to | default | a change takes effect | what it does |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for parameter in &PARAMETERS {
        let doc: Vec<_> = parameter.doc.split_whitespace().collect();
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            parameter.name,
            parameter.unit,
            parameter.min,
            parameter.max,
            parameter.default,
            if parameter.live {
                "at once"
            } else {
                "at the next load"
            },
            doc.join(" ")
        )
        .expect("a string takes everything");
    }
    page
}

#[test]
fn the_page_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/parameters.md");
    if std::env::var_os("SILOSCAN_WRITE_DOCS").is_some() {
        fs::write(&path, page()).expect("the page can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(there, page(), "run with SILOSCAN_WRITE_DOCS=1");
}

#[test]
fn nonsense_gives_the_default_and_every_value_in_range_counts() {
    for parameter in &PARAMETERS {
        let mut all = Parameters::DEFAULT;
        let mut set = |value: Option<u32>| {
            let found = value.map_or(Found::Absent, Found::Dword);
            let sensible = all.set(parameter, found).is_ok();
            let in_range = |value| (parameter.min..=parameter.max).contains(&value);
            assert_eq!(sensible, value.is_none_or(in_range), "{parameter:?}");
            all.get(parameter.id)
        };
        assert_eq!(set(Some(parameter.min)), parameter.min, "{parameter:?}");
        assert_eq!(set(Some(parameter.max)), parameter.max, "{parameter:?}");
        assert_eq!(set(None), parameter.default, "{parameter:?}");
        if let Some(below) = parameter.min.checked_sub(1) {
            assert_eq!(set(Some(below)), parameter.default, "{parameter:?}");
        }
        if let Some(above) = parameter.max.checked_add(1) {
            assert_eq!(set(Some(above)), parameter.default, "{parameter:?}");
        }
    }
}

#[test]
fn each_failure_is_named_by_the_one_value_that_decides_it() {
    let text = |id: ParameterId| {
        let found = PARAMETERS.iter().find(|parameter| parameter.id == id);
        found.expect("each has a row").doc
    };
    for failure in Failure::ALL {
        let (decides, other) = match failure.origin() {
            Origin::Ours => (ParameterId::OnFailure, ParameterId::OnEvasion),
            Origin::File => (ParameterId::OnEvasion, ParameterId::OnFailure),
        };
        let name = format!("`{}`", failure.name());
        assert!(
            text(decides).contains(&name),
            "{decides:?} leaves out {name}"
        );
        assert!(!text(other).contains(&name), "{other:?} has {name}, too");
    }
}
