//! `docs/events.md` is made from the table in `trace.rs`.
//!
//! `SILOSCAN_WRITE_DOCS=1` writes the page instead of comparing it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use siloscan_core::trace::{
    PROVIDER_GUID, PROVIDER_NAME, TRACE_COUNT, TRACE_EVENTS, TraceEvent, TraceId,
};

/// The test that sees each event, in the order of the table: file and function.
const SEEN_BY: [(TraceId, &str); TRACE_COUNT] = [
    (
        TraceId::Detection,
        "trace w16_a_detection_says_what_was_found_where_and_for_whom",
    ),
    (
        TraceId::Open,
        "trace each_open_is_told_once_with_its_route_reason_decision_and_time",
    ),
    (
        TraceId::ForeignSilo,
        "silos an_application_silo_without_an_overlay_is_told_and_served_from_the_cache",
    ),
    (
        TraceId::ProcessStart,
        "process_start i1_a_ghost_does_not_start_in_a_container",
    ),
    (
        TraceId::Policy,
        "trace what_the_policy_decided_is_told_with_its_cause",
    ),
    (
        TraceId::TimedOut,
        "trace an_open_that_waited_in_vain_is_told",
    ),
    (
        TraceId::Connected,
        "trace services_that_come_go_and_are_refused_are_told",
    ),
    (
        TraceId::ConnectRefused,
        "trace services_that_come_go_and_are_refused_are_told",
    ),
    (
        TraceId::Disconnected,
        "trace services_that_come_go_and_are_refused_are_told",
    ),
    (
        TraceId::BreakerOpened,
        "trace a_service_that_falls_silent_is_told_and_that_it_is_back",
    ),
    (
        TraceId::BreakerClosed,
        "trace a_service_that_falls_silent_is_told_and_that_it_is_back",
    ),
    (
        TraceId::Redirecting,
        "trace a_volume_that_becomes_redirecting_is_told_once",
    ),
    (
        TraceId::ParameterRefused,
        "configuration nonsense_is_the_default_and_is_told_and_the_driver_loads",
    ),
    (
        TraceId::ParameterChanged,
        "configuration each_live_value_is_taken_while_the_driver_runs_and_the_others_wait",
    ),
    (
        TraceId::ParameterWaits,
        "configuration each_live_value_is_taken_while_the_driver_runs_and_the_others_wait",
    ),
    (
        TraceId::ExclusionsChanged,
        "exclusions an_excluded_container_is_not_scanned_and_its_hits_are_counted",
    ),
];

const HEAD: &str = "\
# Events

The driver is a TraceLogging provider: `NAME`, GUID. Events
carry their own names and types, so no manifest has to be installed. With nobody listening an open
costs one relaxed load, and nothing is collected. What is more than an event's number a second is
left out and counted (`event/trace-dropped`); a text is cut at 1,024 UTF-16 units, since an event of
64 KiB is not written at all. Made from `crates/core/src/trace.rs`
(`SILOSCAN_WRITE_DOCS=1 cargo test -p siloscan-core --test events`). `siloscan why` shows them live.

| event | keyword | level | when | a second | test |
| --- | --- | --- | --- | --- | --- |
";

const TAIL: &str = "
`Open` is written only for a session that asks for level 5 and this keyword (or for all): the
tracer tells the driver by the enable callback, and each open looks at one flag. Opens that are
ignored before they reach the file system are told, too; only an open whose instance drains is not.
The demo makes its table of times from it.

What is counted of each container (its opens that were no hits, the refused and the failed ones,
what they waited, opens of foreign silos within it) is told to the service with the counters, for
the 64 containers that were busy last.
";

/// The provider's GUID as Windows writes it.
fn provider() -> String {
    let hex = format!("{PROVIDER_GUID:032x}");
    let (data1, rest) = hex.split_at(8);
    let (data2, rest) = rest.split_at(4);
    let (data3, rest) = rest.split_at(4);
    let (data4, rest) = rest.split_at(4);
    format!("{{{data1}-{data2}-{data3}-{data4}-{rest}}}")
}

/// Words of a text on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn page() -> String {
    let mut page = HEAD
        .replace("NAME", PROVIDER_NAME)
        .replace("GUID", &provider());
    for (event, (_, test)) in TRACE_EVENTS.iter().zip(SEEN_BY) {
        let (file, function) = test.split_once(' ').expect("file and function");
        writeln!(
            page,
            "| `{}` | {:#x} | {} {} | {} | {} | `tests/{file}.rs` `{function}` |",
            event.name,
            event.keyword,
            event.level as u8,
            event.level.name(),
            line(event.when),
            event.per_second,
        )
        .expect("a string takes everything");
    }
    page.push_str(TAIL);
    for event in &TRACE_EVENTS {
        page.push_str(&fields(event));
    }
    page
}

fn fields(event: &TraceEvent) -> String {
    let mut table = format!(
        "\n| field of `{}` | type | what |\n| --- | --- | --- |\n",
        event.name
    );
    for field in event.fields {
        let (kind, doc) = (field.kind.name(), line(field.doc));
        writeln!(table, "| `{}` | {kind} | {doc} |", field.name)
            .expect("a string takes everything");
    }
    table
}

#[test]
fn every_event_is_seen_by_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    for (event, (id, test)) in TRACE_EVENTS.iter().zip(SEEN_BY) {
        assert_eq!(event.id, id, "in the order of the table");
        let (file, function) = test.split_once(' ').expect("file and function");
        let text = fs::read_to_string(tests.join(file).with_extension("rs"));
        let text = text.unwrap_or_else(|error| panic!("{test}: {error}"));
        let declared = format!("#[test]\nfn {function}()");
        assert!(text.contains(&declared), "{test}");
    }
}

#[test]
fn whoever_names_the_provider_names_this_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for file in ["docs/windows.md", "tests/windows/common.ps1"] {
        let text = fs::read_to_string(root.join(file)).expect("a text file");
        assert!(text.contains(&provider()), "{file}: {}", provider());
    }
}

#[test]
fn the_page_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md");
    if std::env::var_os("SILOSCAN_WRITE_DOCS").is_some() {
        fs::write(&path, page()).expect("the page can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(there, page(), "run with SILOSCAN_WRITE_DOCS=1");
}
