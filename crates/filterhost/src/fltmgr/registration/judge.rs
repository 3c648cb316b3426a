//! Judges the service key of a filter that registers.

use std::sync::Arc;

use super::service::instances_key;
use crate::fltmgr::FilterManager;
use crate::fltmgr::altitude::Altitude;
use crate::machine::Machine;
use crate::registry::{Key, Value};
use crate::verifier::registry::{
    ALTITUDE, DEFAULT, DEPENDENCY, FLAGS, GROUP, KIND, NO_INSTANCE, RANGE, TAKEN,
};
use crate::verifier::violation;

/// `SERVICE_FILE_SYSTEM_DRIVER`.
const FILE_SYSTEM_DRIVER: u32 = 2;
/// The bits of an instance's flags that mean something.
const FLAGS_KNOWN: u32 = 0b11;

/// Load order groups: name, lowest altitude, and the first integer that is too high.
/// <https://learn.microsoft.com/windows-hardware/drivers/ifs/load-order-groups-and-altitudes-for-minifilter-drivers>
const GROUPS: &[(&str, u32, u32)] = &[
    ("Filter", 420_000, 430_000),
    ("FSFilter Top", 400_000, 410_000),
    ("FSFilter Activity Monitor", 360_000, 390_000),
    ("FSFilter Undelete", 340_000, 350_000),
    ("FSFilter Anti-Virus", 320_000, 330_000),
    ("FSFilter Replication", 300_000, 310_000),
    ("FSFilter Continuous Backup", 280_000, 290_000),
    ("FSFilter Content Screener", 260_000, 270_000),
    ("FSFilter Quota Management", 240_000, 250_000),
    ("FSFilter System Recovery", 220_000, 230_000),
    ("FSFilter Cluster File System", 200_000, 210_000),
    ("FSFilter HSM", 180_000, 190_000),
    ("FSFilter Imaging", 170_000, 175_001),
    ("FSFilter Compression", 160_000, 170_000),
    ("FSFilter Encryption", 140_000, 150_000),
    ("FSFilter Virtualization", 130_000, 140_000),
    ("FSFilter Physical Quota Management", 120_000, 130_000),
    ("FSFilter Open File", 100_000, 110_000),
    ("FSFilter Security Enhancer", 80_000, 90_000),
    ("FSFilter Copy Protection", 60_000, 70_000),
    ("FSFilter Bottom", 40_000, 50_000),
    ("FSFilter System", 20_000, 30_000),
    ("FSFilter Infrastructure", 0, 20_000),
];

/// Judges what the service key of this name says.
pub(super) fn service(m: &Machine, name: &str) {
    let key = m.registry().service(name);
    properties(name, &key);
    let path = instances_key(m);
    let Some(instances) = key.find(path).filter(|key| !key.subkeys().is_empty()) else {
        let detail = format!("the key of {name} has no {path} with an instance in it");
        return violation(&NO_INSTANCE, detail);
    };
    let default = instances
        .value("DefaultInstance")
        .and_then(|value| value.text());
    match default {
        Some(default) if instances.subkey(&default).is_some() => {}
        Some(default) => violation(
            &DEFAULT,
            format!("{path} of {name} has no instance {default}, which it calls the default"),
        ),
        None => violation(
            &DEFAULT,
            format!("{path} of {name} has no string DefaultInstance"),
        ),
    }
    let range = range(name, &key);
    let mut taken = others(m);
    for instance in instances.subkeys() {
        let Some(own) = instances.subkey(&instance) else {
            continue;
        };
        flags(&instance, &own);
        let Some(altitude) = altitude(&instance, &own) else {
            continue;
        };
        if let Some((group, low, high)) = &range
            && !(*low <= altitude && altitude < *high)
        {
            let detail =
                format!("{instance} is at {altitude}; {group} is from {low} to below {high}");
            violation(&RANGE, detail);
        }
        if let Some((other, _)) = taken.iter().find(|(_, at)| *at == altitude) {
            let detail = format!("{instance} and {other} are both at {altitude}");
            violation(&TAKEN, detail);
        }
        taken.push((instance, altitude));
    }
}

/// What the service manager reads: the type and the dependencies.
fn properties(name: &str, key: &Arc<Key>) {
    if let Some(value) = key.value("Type")
        && value.number() != Some(FILE_SYSTEM_DRIVER)
    {
        let detail = format!("the Type of {name} is {:?}, not 2", value.data);
        violation(&KIND, detail);
    }
    if let Some(value) = key.value("DependOnService") {
        let on = value.texts();
        if !on.iter().any(|on| on.eq_ignore_ascii_case("FltMgr")) {
            violation(
                &DEPENDENCY,
                format!("{name} depends on {on:?}, not on FltMgr"),
            );
        }
    }
}

/// The service's group with its lowest altitude and the first that is too high; `None` where the
/// service has no group, or none that is documented.
fn range(name: &str, key: &Arc<Key>) -> Option<(&'static str, Altitude, Altitude)> {
    let value = key.value("Group")?;
    let text = value.text().unwrap_or_default();
    let found = GROUPS
        .iter()
        .find(|(group, ..)| group.eq_ignore_ascii_case(&text));
    let Some((group, low, high)) = found else {
        violation(&GROUP, format!("the Group of {name} is \"{text}\""));
        return None;
    };
    let altitude = |number: &u32| Altitude::parse(&number.to_string());
    Some((group, altitude(low)?, altitude(high)?))
}

/// The instances of the filters that are registered already, and where they are.
fn others(m: &Machine) -> Vec<(String, Altitude)> {
    let filters = FilterManager::of(m).filters();
    let all = filters.iter().flat_map(|filter| filter.definitions());
    all.map(|known| (known.name.clone(), known.altitude.clone()))
        .collect()
}

fn altitude(instance: &str, key: &Key) -> Option<Altitude> {
    let value = key.value("Altitude");
    let text = value.as_ref().and_then(Value::text);
    let altitude = text.as_deref().and_then(Altitude::parse);
    if altitude.is_none() {
        let is = value.map_or_else(|| "missing".to_owned(), |value| format!("{value:?}"));
        violation(&ALTITUDE, format!("the Altitude of {instance} is {is}"));
    }
    altitude
}

fn flags(instance: &str, key: &Key) {
    match key.value("Flags").map(|value| value.number()) {
        Some(Some(flags)) if flags & !FLAGS_KNOWN == 0 => {}
        Some(Some(flags)) => violation(&FLAGS, format!("the Flags of {instance} are {flags:#x}")),
        Some(None) => violation(&FLAGS, format!("the Flags of {instance} are no REG_DWORD")),
        None => violation(&FLAGS, format!("{instance} has no Flags")),
    }
}
