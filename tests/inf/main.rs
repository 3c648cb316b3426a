//! The driver's INF: it breaks no documented rule, each rule is shown to notice a defect, and what
//! it writes into the registry is what the driver reads from there.

use std::collections::BTreeSet;

use inf::{Inf, Install, Row, Value, check};
use serde::Deserialize;
use siloscan_core::limits::PARAMETERS;

/// The build from which packages are isolated here; see the INF's head.
const ISOLATED: u32 = 25952;

/// One defect: a text of the INF and what it becomes.
#[derive(Deserialize)]
struct Defect {
    /// Its rule, and the only one that may be broken then.
    rule: String,
    from: String,
    to: String,
    /// Wherever the text is, not only the first time.
    #[serde(default)]
    everywhere: bool,
}

#[derive(Deserialize)]
struct Defects {
    defect: Vec<Defect>,
}

fn text() -> String {
    include_str!("../../inf/siloscan.inx").replace("$ARCH$", "amd64")
}

fn read(text: &str) -> Inf {
    Inf::parse(text).unwrap_or_else(|fault| panic!("inf/siloscan.inx, {fault}"))
}

fn rules(text: &str) -> BTreeSet<String> {
    let found = check(&read(text), ISOLATED);
    found
        .iter()
        .map(|finding| finding.rule.to_string())
        .collect()
}

#[test]
fn the_inf_breaks_no_documented_rule() {
    let found = check(&read(&text()), ISOLATED);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "inf/siloscan.inx:\n{}", lines.join("\n"));
}

#[test]
fn each_rule_notices_its_defect_and_no_other() {
    let list: Defects = toml::from_str(include_str!("broken.toml")).unwrap();
    for defect in &list.defect {
        let good = text();
        assert!(
            good.contains(&defect.from),
            "broken.toml, rule {}: {:?} is not in the INF any more",
            defect.rule,
            defect.from
        );
        let times = if defect.everywhere { usize::MAX } else { 1 };
        let broken = rules(&good.replacen(&defect.from, &defect.to, times));
        assert_eq!(
            broken,
            BTreeSet::from([defect.rule.clone()]),
            "{:?} became {:?}",
            defect.from,
            defect.to
        );
    }
    let seen: BTreeSet<&str> = list.defect.iter().map(|defect| &*defect.rule).collect();
    assert_eq!(seen.len(), RULES, "each rule has a defect: {seen:?}");
}

/// How many rules crates/inf checks.
const RULES: usize = 26;

/// The systems that the product supports: name, build, where its Filter Manager reads instances,
/// where the image is run from.
const SYSTEMS: &[(&str, u32, &str, u32)] = &[
    ("Server 2016, Windows 10 1607", 14393, "Instances", 12),
    ("Server 2019", 17763, "Instances", 12),
    ("Server 2022", 20348, "Instances", 12),
    ("Windows 11 23H2", 22631, "Instances", 12),
    (
        "Server 2025, Windows 11 24H2",
        26100,
        "Parameters\\Instances",
        13,
    ),
];

fn rows(install: &Install<'_>) -> Vec<Row> {
    let services = install.services();
    let [service] = services.as_slice() else {
        panic!(
            "[{}] adds {} services",
            install.section.name,
            services.len()
        );
    };
    assert_eq!(service.name, "siloscan");
    service.rows()
}

#[test]
fn each_system_takes_the_section_that_its_filter_manager_can_read() {
    let text = text();
    let inf = read(&text);
    for (name, build, instances, folder) in SYSTEMS {
        let install = inf
            .install_for(*build)
            .unwrap_or_else(|| panic!("nothing for {name}"));
        let files = install.files();
        assert_eq!(files.len(), 1);
        assert_eq!(
            (&*files[0].name, files[0].folder),
            ("siloscan.sys", *folder),
            "{name}"
        );
        let rows = rows(&install);
        let has = |key: &str, value: &str, wanted: Value| {
            let row = rows.iter().find(|row| row.key == key && row.name == value);
            assert_eq!(
                row.map(|row| &row.value),
                Some(&wanted),
                "{name}: {key}\\{value}"
            );
        };
        let own = format!("{instances}\\siloscan Instance");
        has(
            instances,
            "DefaultInstance",
            Value::Text("siloscan Instance".into()),
        );
        has(&own, "Altitude", Value::Text("320999.5".into()));
        has(&own, "Flags", Value::Number(0));
        let other = if *instances == "Instances" {
            "Parameters\\Instances"
        } else {
            "Instances"
        };
        assert!(
            !rows.iter().any(|row| row.key.starts_with(other)),
            "{name}: also {other}"
        );
    }
}

#[test]
fn the_parameters_are_those_of_the_table() {
    let text = text();
    let inf = read(&text);
    for (name, build, ..) in SYSTEMS {
        let rows = rows(&inf.install_for(*build).unwrap());
        let written = rows.iter().filter(|row| row.key == "Parameters");
        let mut left: BTreeSet<&str> = written.map(|row| &*row.name).collect();
        left.remove("SupportedFeatures");
        for parameter in &PARAMETERS {
            let row = rows
                .iter()
                .find(|row| row.key == "Parameters" && row.name == parameter.name);
            let line = format!(
                "HKR,\"Parameters\",\"{}\",0x00010003,{}",
                parameter.name, parameter.default
            );
            let row = row.unwrap_or_else(|| panic!("{name}: [Registry.Common] lacks {line}"));
            assert_eq!(
                row.value,
                Value::Number(parameter.default),
                "{name}: it should be {line}"
            );
            assert!(
                row.keeps,
                "{name}: an update must not undo a setting: {line}"
            );
            left.remove(parameter.name);
        }
        assert!(
            left.is_empty(),
            "{name}: limits.rs knows nothing of {left:?}"
        );
    }
}
