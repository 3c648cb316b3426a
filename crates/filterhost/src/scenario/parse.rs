//! From the text of a scenario file to what is to be played.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Section};
use super::plan::{
    ContainerPlan, DriverPlan, FilePlan, FilterKind, FilterPlan, MachinePlan, OwnFilter, Scenario,
    VolumePlan,
};
use super::read::{At, ScenarioError, Source, Table};
use super::steps;
use crate::registry::Value;
use crate::verifier;
use crate::volume::FsKind;

/// The names of file systems in a scenario.
pub(super) const KINDS: &[(&str, FsKind)] = &[
    ("ntfs", FsKind::Ntfs),
    ("refs", FsKind::Refs),
    ("fat", FsKind::Fat),
    ("exfat", FsKind::ExFat),
    ("udf", FsKind::Udf),
    ("cimfs", FsKind::CimFs),
    ("raw", FsKind::Raw),
    ("lanman", FsKind::Lanman),
    ("csvfs", FsKind::Csvfs),
];

impl Scenario {
    /// Reads a scenario from a file.
    ///
    /// # Errors
    /// What is wrong, with line and column; a file that cannot be read is wrong at line 1.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| {
            let source = Source {
                file: &file,
                text: "",
                made: &Cell::new(0),
            };
            source.error(0, format!("cannot be read: {cause}"))
        })?;
        let mut scenario = Self::parse(&file, &text)?;
        scenario.folder = path.parent().map(Path::to_owned);
        Ok(scenario)
    }

    /// Reads a scenario from text; `file` is how errors name it.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let made = &Cell::new(0);
        let source = Source { file, text, made };
        let root = DeTable::parse(text).map_err(|cause| {
            let at = cause.span().map_or(0, |span| span.start);
            source.error(at, cause.message())
        })?;
        let parts = Parts::new(source, root.get_ref())?;
        let mut scenario = Self {
            name: file.to_owned(),
            folder: None,
            machine: machine(&parts)?,
            driver: driver(&parts)?,
            volumes: parts.each(&keys::VOLUME, volume)?,
            files: Vec::new(),
            containers: Vec::new(),
            filters: parts.each(&keys::FILTER, filter)?,
            processes: Vec::new(),
            threads: Vec::new(),
            steps: Vec::new(),
        };
        if scenario.volumes.is_empty() {
            scenario.volumes.push(VolumePlan::new('C'));
        }
        for volume in parts.tables(&keys::VOLUME)? {
            let drive = volume.need("drive")?;
            let same = |other: &&VolumePlan| Some(other.drive) == letter(drive.value);
            if scenario.volumes.iter().filter(same).count() > 1 {
                return Err(source.error(drive.at, "two volumes have this letter"));
            }
        }
        parts.names_differ(&keys::CONTAINER, "two containers have this name")?;
        parts.names_differ(&keys::PROCESS, "two processes have this name")?;
        scenario.files = parts.each(&keys::FILE, |table| file_of(&scenario, table))?;
        scenario.containers = parts.each(&keys::CONTAINER, |table| container(&scenario, table))?;
        scenario.processes = parts.each(&keys::PROCESS, |table| process(&scenario, table))?;
        if scenario.processes.is_empty() {
            scenario.processes.push(("user".to_owned(), None));
        }
        steps::read(&mut scenario, source, parts.tables(&keys::STEP)?)?;
        Ok(scenario)
    }
}

/// The tables of a file.
struct Parts<'a> {
    source: Source<'a>,
    root: &'a DeTable<'a>,
}

impl<'a> Parts<'a> {
    fn new(source: Source<'a>, root: &'a DeTable<'a>) -> Result<Self, ScenarioError> {
        for (name, _) in root {
            let bare = |section: &&&Section| bare(section) == name.get_ref();
            if keys::SECTIONS.iter().find(bare).is_none() {
                let known: Vec<_> = keys::SECTIONS.iter().map(|s| s.header).collect();
                let said = format!(
                    "a scenario has no `{}`; it has {}",
                    name.get_ref(),
                    known.join(", ")
                );
                return Err(source.error(name.span().start, said));
            }
        }
        Ok(Self { source, root })
    }

    fn values(
        &self,
        section: &'static Section,
    ) -> Result<Vec<&'a Spanned<DeValue<'a>>>, ScenarioError> {
        let found = self
            .root
            .iter()
            .find(|(key, _)| key.get_ref() == bare(section));
        let Some((_, value)) = found else {
            return Ok(Vec::new());
        };
        let many = section.header.starts_with("[[");
        match value.get_ref() {
            DeValue::Array(items) if many => Ok(items.iter().collect()),
            DeValue::Table(_) if !many => Ok(vec![value]),
            _ => {
                let said = format!("this is written {}", section.header);
                Err(self.source.error(value.span().start, said))
            }
        }
    }

    fn tables(&self, section: &'static Section) -> Result<Vec<Table<'a>>, ScenarioError> {
        let values = self.values(section)?;
        let read = |value| Table::read(self.source, section, value);
        values.into_iter().map(read).collect()
    }

    fn names_differ(&self, section: &'static Section, said: &str) -> Result<(), ScenarioError> {
        let mut seen = BTreeSet::new();
        for table in self.tables(section)? {
            let name = table.need("name")?;
            if !seen.insert(name.value) {
                return Err(self.source.error(name.at, said));
            }
        }
        Ok(())
    }

    fn each<T>(
        &self,
        section: &'static Section,
        make: impl Fn(&Table<'a>) -> Result<T, ScenarioError>,
    ) -> Result<Vec<T>, ScenarioError> {
        self.tables(section)?.iter().map(make).collect()
    }
}

fn bare(section: &Section) -> &'static str {
    section.header.trim_matches(['[', ']'])
}

/// One value of a list of names, or an error that tells the list.
pub(super) fn choose<T: Copy>(
    source: Source<'_>,
    found: &At<&str>,
    of: &[(&str, T)],
) -> Result<T, ScenarioError> {
    let fits = of.iter().find(|(name, _)| *name == found.value);
    fits.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = of.iter().map(|(name, _)| *name).collect();
        let said = format!("`{}` is none of {}", found.value, names.join(", "));
        source.error(found.at, said)
    })
}

fn letter(text: &str) -> Option<char> {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_alphabetic() => Some(letter.to_ascii_uppercase()),
        _ => None,
    }
}

fn machine(parts: &Parts<'_>) -> Result<MachinePlan, ScenarioError> {
    let mut plan = MachinePlan::default();
    let Some(table) = parts.tables(&keys::MACHINE)?.pop() else {
        return Ok(plan);
    };
    plan.build = table.word("build")?.unwrap_or(plan.build);
    plan.seed = table.number("seed").map(|seed| seed.value);
    plan.special_pool = table.flag("special-pool").unwrap_or(false);
    for rule in table.texts("without-rules") {
        match verifier::find(rule.value) {
            Some(known) => plan.without_rules.push(known.name),
            None => {
                let said = format!("no rule is called `{}` (filterhost rules)", rule.value);
                return Err(parts.source.error(rule.at, said));
            }
        }
    }
    Ok(plan)
}

fn driver(parts: &Parts<'_>) -> Result<DriverPlan, ScenarioError> {
    let mut plan = DriverPlan::default();
    if let Some(table) = parts.tables(&keys::DRIVER)?.pop() {
        plan.service = table.text("service").map(|found| found.value.to_owned());
        plan.altitude = altitude(&table)?;
    }
    plan.values = parts.each(&keys::DRIVER_VALUE, |table| {
        let key = table.text("key").map_or("", |found| found.value);
        let name = table.need("name")?.value.to_owned();
        let value = match (table.word("dword")?, table.text("string")) {
            (Some(number), None) => Value::dword(number),
            (None, Some(text)) => Value::string(text.value),
            _ => return Err(parts.source.error(table.at, "one of `dword` and `string`")),
        };
        Ok((key.to_owned(), name, value))
    })?;
    Ok(plan)
}

/// The key `altitude`, looked at.
pub(super) fn altitude(table: &Table<'_>) -> Result<Option<String>, ScenarioError> {
    let Some(found) = table.text("altitude") else {
        return Ok(None);
    };
    match crate::fltmgr::altitude::Altitude::parse(found.value) {
        Some(_) => Ok(Some(found.value.to_owned())),
        None => {
            let said = "an altitude is a decimal number such as 320999.5";
            Err(table.source.error(found.at, said))
        }
    }
}

fn volume(table: &Table<'_>) -> Result<VolumePlan, ScenarioError> {
    let drive = table.need("drive")?;
    let Some(drive) = letter(drive.value) else {
        return Err(table.source.error(drive.at, "a drive is one letter"));
    };
    let mut plan = VolumePlan::new(drive);
    if let Some(kind) = table.text("kind") {
        plan.kind = choose(table.source, &kind, KINDS)?;
    }
    plan.read_only = table.flag("read-only").unwrap_or(false);
    plan.dax = table.flag("dax").unwrap_or(false);
    plan.late = table.flag("late").unwrap_or(false);
    plan.import = table.text("import").map(|found| PathBuf::from(found.value));
    Ok(plan)
}

/// The number of the volume that a path begins with, and the path below it.
fn place(
    scenario: &Scenario,
    table: &Table<'_>,
    path: &At<&str>,
) -> Result<(usize, String), ScenarioError> {
    let said = r"a path begins with a drive and a backslash, as `C:\name`";
    let wrong = || table.source.error(path.at, said);
    let (drive, below) = path.value.split_once(':').ok_or_else(wrong)?;
    if !below.starts_with('\\') {
        return Err(wrong());
    }
    let drive = letter(drive).ok_or_else(wrong)?;
    let number = scenario.volumes.iter().position(|v| v.drive == drive);
    let said = || format!("no [[volume]] has the drive `{drive}`");
    let number = number.ok_or_else(|| table.source.error(path.at, said()))?;
    Ok((number, below.to_owned()))
}

fn file_of(scenario: &Scenario, table: &Table<'_>) -> Result<FilePlan, ScenarioError> {
    let path = table.need("path")?;
    let (volume, below) = place(scenario, table, &path)?;
    if scenario
        .volumes
        .get(volume)
        .is_some_and(|v| v.kind == FsKind::Raw)
    {
        return Err(table.source.error(path.at, "a raw volume has no files"));
    }
    if below.trim_matches('\\').is_empty() || below.ends_with('\\') {
        return Err(table.source.error(path.at, "this names no file"));
    }
    let data = table.data()?.unwrap_or_default();
    Ok(FilePlan {
        volume,
        path: below,
        data,
    })
}

fn container(scenario: &Scenario, table: &Table<'_>) -> Result<ContainerPlan, ScenarioError> {
    let name = table.need("name")?.value.to_owned();
    let layers = table.texts("layers");
    let layers = layers.iter().map(|layer| place(scenario, table, layer));
    Ok(ContainerPlan {
        name,
        layers: layers.collect::<Result<_, _>>()?,
    })
}

fn filter(table: &Table<'_>) -> Result<FilterPlan, ScenarioError> {
    let altitude = altitude(table)?.ok_or_else(|| table.lacks("altitude"))?;
    let kind = match (table.text("image"), table.text("kind")) {
        (Some(image), None) => FilterKind::Image(PathBuf::from(image.value)),
        (None, Some(kind)) => {
            let of = [
                ("antivirus", OwnFilter::Antivirus),
                ("projected", OwnFilter::Projected),
                ("reissue", OwnFilter::Reissue),
            ];
            FilterKind::Own(choose(table.source, &kind, &of)?)
        }
        _ => return Err(table.source.error(table.at, "one of `image` and `kind`")),
    };
    let drive = table.text("drive");
    if let Some(drive) = &drive
        && letter(drive.value).is_none()
    {
        return Err(table.source.error(drive.at, "a drive is one letter"));
    }
    Ok(FilterPlan {
        kind,
        altitude,
        drive: drive.and_then(|drive| letter(drive.value)),
    })
}

fn process(
    scenario: &Scenario,
    table: &Table<'_>,
) -> Result<(String, Option<usize>), ScenarioError> {
    let name = table.need("name")?.value.to_owned();
    let Some(container) = table.text("container") else {
        return Ok((name, None));
    };
    let known = scenario
        .containers
        .iter()
        .position(|c| c.name == container.value);
    let said = || format!("no [[container]] is called `{}`", container.value);
    let known = known.ok_or_else(|| table.source.error(container.at, said()))?;
    Ok((name, Some(known)))
}

/// The number of the volume that `drive` names; the first where it is not said.
pub(super) fn drive(scenario: &Scenario, table: &Table<'_>) -> Result<usize, ScenarioError> {
    let Some(found) = table.text("drive") else {
        return Ok(0);
    };
    let number = scenario
        .volumes
        .iter()
        .position(|volume| Some(volume.drive) == letter(found.value));
    let said = || format!("no [[volume]] has the drive `{}`", found.value);
    number.ok_or_else(|| table.source.error(found.at, said()))
}
