//! The rules. Those with a number are InfVerif's, as its documentation tells them; the named ones
//! are what the documentation asks of minifilters.
//! <https://learn.microsoft.com/en-us/windows-hardware/drivers/devtest/inf-validation-errors-and-warnings>
//! <https://learn.microsoft.com/en-us/windows-hardware/drivers/ifs/creating-an-inf-file-for-a-minifilter-driver>

use std::fmt;

use crate::install::{Install, Row, Service, Value};
use crate::parse::Inf;

/// From this build the Filter Manager reads instances below `Parameters`.
const PARAMETERS_BUILD: u32 = 25952;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One of InfVerif's, by its code.
    Code(u16),
    /// One for minifilters, by a name of ours.
    Minifilter(&'static str),
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(out, "{code}"),
            Self::Minifilter(name) => out.write_str(name),
        }
    }
}

/// A rule that is broken, where and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// The line, or 0 for the whole file.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.rule, self.text),
            line => write!(out, "line {line}: {}: {}", self.rule, self.text),
        }
    }
}

/// Everything that is wrong. The rules of isolated packages (1322, 1323) hold for sections that
/// build `isolated` or a later one takes, as InfVerif's `/wbuild` has it.
#[must_use]
pub fn check(inf: &Inf, isolated: u32) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    version(inf, &mut found);
    sections(inf, &mut found);
    references(inf, &mut found);
    registry(inf, &mut found);
    for install in inf.installs() {
        if install.build >= isolated || taken(inf, isolated, &install) {
            isolation(&install, &mut found);
        }
        for service in install.services() {
            minifilter(inf, &install, &service, &mut found);
        }
    }
    found.0.sort_by_key(|finding| (finding.line, finding.rule));
    found.0.dedup();
    found.0
}

fn taken(inf: &Inf, build: u32, install: &Install<'_>) -> bool {
    let chosen = inf.install_for(build);
    chosen.is_some_and(|chosen| chosen.section.name == install.section.name)
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: Rule, line: usize, text: impl Into<String>) {
        let text = text.into();
        self.0.push(Finding { rule, line, text });
    }

    fn code(&mut self, code: u16, line: usize, text: impl Into<String>) {
        self.add(Rule::Code(code), line, text);
    }
}

fn version(inf: &Inf, found: &mut Findings) {
    let line = inf.section("Version").map_or(0, |section| section.line);
    let value = |key| inf.value("Version", key);
    let lacks = |key| value(key).is_none_or(|text| text.is_empty());
    if !value("Signature").is_some_and(|text| text.eq_ignore_ascii_case("$Windows NT$")) {
        found.code(1001, line, "[Version] needs Signature = \"$Windows NT$\"");
    }
    if value("Provider").is_some_and(|name| name.eq_ignore_ascii_case("Microsoft")) {
        found.code(1204, line, "Provider cannot be Microsoft");
    }
    for key in ["CatalogFile", "DriverVer"]
        .into_iter()
        .filter(|key| lacks(key))
    {
        found.code(
            1233,
            line,
            format!("[Version] has no {key}, which a signature needs"),
        );
    }
    if value("PnpLockdown").as_deref() != Some("1") {
        found.code(1324, line, "[Version] needs PnpLockdown = 1");
    }
    for key in ["Provider", "Class", "ClassGuid"]
        .into_iter()
        .filter(|key| lacks(key))
    {
        found.code(
            1420,
            line,
            format!("a primitive driver needs {key} in [Version]"),
        );
    }
}

fn sections(inf: &Inf, found: &mut Findings) {
    let installs = inf.installs();
    if let Some(section) = inf.section("Manufacturer").filter(|_| !installs.is_empty()) {
        found.code(
            1212,
            section.line,
            "both [Manufacturer] and [DefaultInstall]",
        );
    }
    if installs.is_empty() {
        found.code(
            1420,
            0,
            "a primitive driver needs a [DefaultInstall] section",
        );
    } else if installs
        .iter()
        .all(|install| install.architecture.is_none())
    {
        let line = installs.first().map_or(0, |install| install.section.line);
        let text =
            "no [DefaultInstall] section names an architecture, as in DefaultInstall.NTamd64";
        found.code(1423, line, text);
    }
    for install in &installs {
        if !install.section.name.contains('.') {
            let text = "[DefaultInstall] needs a decoration, such as .NTamd64";
            found.code(1421, install.section.line, text);
        }
    }
    for section in inf.decorated("DefaultUninstall") {
        let legacy = section.section.entry("LegacyUninstall");
        if legacy.is_none_or(|entry| entry.field(0) != "1") {
            let text = format!("[{}] needs LegacyUninstall = 1", section.section.name);
            found.code(1422, section.section.line, text);
        }
    }
}

/// What refers to a section, a file or a string must find it, and what is there must be used.
fn references(inf: &Inf, found: &mut Findings) {
    const LISTS: &[&str] = &["CopyFiles", "DelFiles", "RenFiles", "AddReg", "DelReg"];
    let mut used: Vec<(String, String)> = Vec::new();
    for section in inf.sections() {
        for entry in &section.entries {
            for token in entry
                .fields
                .iter()
                .flat_map(|field| inf.unknown_tokens(field))
            {
                found.code(1235, entry.line, format!("%{token}% is not in [Strings]"));
            }
            let key = entry.key.as_deref().unwrap_or_default();
            let list = LISTS.iter().find(|list| list.eq_ignore_ascii_case(key));
            let names = match list {
                Some(_) => entry.fields.clone(),
                None if key.eq_ignore_ascii_case("AddService") => vec![entry.field(2).to_owned()],
                None => continue,
            };
            for name in names
                .iter()
                .filter(|name| !name.starts_with('@') && !name.is_empty())
            {
                if inf.section(name).is_none() {
                    let text = format!("{key} names [{name}], which is not there");
                    found.code(1203, entry.line, text);
                }
                let name = name.to_ascii_lowercase();
                let other = used.iter().find(|(old, by)| *old == name && by != key);
                if let Some((_, by)) = other {
                    let text = format!("[{name}] is used by both {by} and {key}");
                    found.code(1205, entry.line, text);
                }
                used.push((name, key.to_owned()));
            }
        }
    }
    for install in inf.installs() {
        for file in install.files() {
            if inf.value("SourceDisksFiles", &file.name).is_none() {
                let text = format!("{} is not in [SourceDisksFiles]", file.name);
                found.code(1230, install.section.line, text);
            }
        }
    }
    unused(inf, &used, found);
}

fn unused(inf: &Inf, used: &[(String, String)], found: &mut Findings) {
    const KNOWN: &[&str] = &[
        "version",
        "strings",
        "manufacturer",
        "destinationdirs",
        "sourcedisksnames",
        "sourcedisksfiles",
        "defaultinstall",
        "defaultuninstall",
    ];
    for section in inf.sections() {
        let name = section.name.to_ascii_lowercase();
        let first = name.split('.').next().unwrap_or_default();
        if !KNOWN.contains(&first) && !used.iter().any(|(by, _)| *by == name) {
            let text = format!("[{}] is not used", section.name);
            found.code(2083, section.line, text);
        }
    }
}

fn registry(inf: &Inf, found: &mut Findings) {
    let lists = inf
        .sections()
        .iter()
        .flat_map(|section| section.entries("AddReg"));
    let names: Vec<&String> = lists.flat_map(|entry| entry.fields.iter()).collect();
    for section in names.iter().filter_map(|name| inf.section(name)) {
        for entry in &section.entries {
            let root = entry.field(0);
            if root.eq_ignore_ascii_case("HKR") {
                continue;
            }
            let key = inf.expand(entry.field(1)).to_ascii_lowercase();
            if key.contains("currentcontrolset\\services") {
                let text = "a service's key is written through HKR alone";
                found.code(1221, entry.line, text);
            } else {
                let text = format!("{root} is no relative root; use HKR");
                found.code(1304, entry.line, text);
            }
        }
    }
}

/// Of a package that runs from where it lies and writes nowhere else.
fn isolation(install: &Install<'_>, found: &mut Findings) {
    for file in install.files().iter().filter(|file| file.folder != 13) {
        let text = format!("{} goes to folder {}, not to 13", file.name, file.folder);
        found.code(1322, install.section.line, text);
    }
    for service in install.services() {
        for row in service.rows() {
            if !below(&row.key, "Parameters") {
                let text = format!("`{}` is not below Parameters", row.name);
                found.code(1323, row.line, text);
            }
        }
    }
}

fn below(key: &str, top: &str) -> bool {
    key.split('\\')
        .next()
        .is_some_and(|first| first.eq_ignore_ascii_case(top))
}

fn minifilter(inf: &Inf, install: &Install<'_>, service: &Service<'_>, found: &mut Findings) {
    let line = service.section.line;
    let mut say = |rule, text: String| found.add(Rule::Minifilter(rule), line, text);
    if service.number("ServiceType") != Some(2) {
        say("service-type", "a minifilter's ServiceType is 2".to_owned());
    }
    if !service
        .directive("Dependencies")
        .is_some_and(|on| on.eq_ignore_ascii_case("FltMgr"))
    {
        say("dependency", "a minifilter depends on FltMgr".to_owned());
    }
    let group = service.directive("LoadOrderGroup").unwrap_or_default();
    let class = inf.value("Version", "Class").unwrap_or_default();
    let of_class = GROUPS
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(&class));
    let Some((_, guid, wanted, altitudes)) = of_class else {
        say(
            "class",
            format!("`{class}` is no class of filters that is known"),
        );
        return;
    };
    if inf
        .value("Version", "ClassGuid")
        .is_none_or(|own| !own.eq_ignore_ascii_case(guid))
    {
        say("class", format!("the ClassGuid of {class} is {guid}"));
    }
    if group != *wanted {
        say(
            "group",
            format!("the LoadOrderGroup of {class} is \"{wanted}\", not \"{group}\""),
        );
    }
    let folders: Vec<u32> = install.files().iter().map(|file| file.folder).collect();
    let binary = service.directive("ServiceBinary").unwrap_or_default();
    if !folders
        .iter()
        .any(|folder| binary.starts_with(&format!("%{folder}%\\")))
    {
        say(
            "binary",
            format!("{binary} is not where the file is copied to"),
        );
    }
    if service
        .directive("Security")
        .is_none_or(|text| !text.starts_with("D:"))
    {
        say(
            "security",
            "the service has no security descriptor of its own".to_owned(),
        );
    }
    instances(install, service, altitudes, found);
}

/// A default instance, with an altitude of its group, where this build's Filter Manager reads it.
fn instances(
    install: &Install<'_>,
    service: &Service<'_>,
    altitudes: &std::ops::Range<f64>,
    found: &mut Findings,
) {
    let line = service.section.line;
    let mut say = |rule, text: String| found.add(Rule::Minifilter(rule), line, text);
    let top = if install.build >= PARAMETERS_BUILD {
        "Parameters\\Instances"
    } else {
        "Instances"
    };
    let rows = service.rows();
    let find = |key: &str, name: &str| {
        let here = |row: &&Row| row.key.eq_ignore_ascii_case(key) && row.name == name;
        rows.iter().find(here).map(|row| row.value.clone())
    };
    let Some(Value::Text(default)) = find(top, "DefaultInstance") else {
        say(
            "instances",
            format!("[{}] has no {top}\\DefaultInstance", install.section.name),
        );
        return;
    };
    let own = format!("{top}\\{default}");
    match find(&own, "Altitude") {
        Some(Value::Text(text)) if text.parse().is_ok_and(|a| altitudes.contains(&a)) => {}
        other => {
            let text = format!("{own}\\Altitude is {other:?}, it should be in {altitudes:?}");
            say("altitude", text);
        }
    }
    if !matches!(find(&own, "Flags"), Some(Value::Number(_))) {
        say("instances", format!("{own} has no Flags"));
    }
}

/// Class, its GUID, load order group, altitudes.
/// <https://learn.microsoft.com/en-us/windows-hardware/drivers/ifs/load-order-groups-and-altitudes-for-minifilter-drivers>
const GROUPS: &[(&str, &str, &str, std::ops::Range<f64>)] = &[
    (
        "ActivityMonitor",
        "{b86dff51-a31e-4bac-b3cf-e8cfe75c9fc2}",
        "FSFilter Activity Monitor",
        360_000.0..390_000.0,
    ),
    (
        "AntiVirus",
        "{b1d1a169-c54f-4379-81db-bee7d88d7454}",
        "FSFilter Anti-Virus",
        320_000.0..330_000.0,
    ),
];
