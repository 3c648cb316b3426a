//! What a filter's service key says about its instances.
//!
//! Builds from 25952 on read `Parameters\\Instances` below the service key, earlier ones read
//! `Instances`.
//! <https://learn.microsoft.com/windows-hardware/drivers/ifs/creating-an-inf-file-for-a-minifilter-driver>

use std::sync::Arc;

use crate::driver::{Driver, Drivers};
use crate::fltmgr::altitude::Altitude;
use crate::fltmgr::filter::InstanceDefinition;
use crate::machine::Machine;
use crate::registry::Key;
use crate::status::{NtStatus, STATUS_OBJECT_NAME_NOT_FOUND};

/// First build that looks below `Parameters`.
const PARAMETERS_BUILD: u32 = 25_952;

/// The instances that a service key defines.
pub(super) struct ServiceInstances {
    /// The service's name.
    pub name: String,
    /// `DefaultInstance`.
    pub default: Option<String>,
    /// The subkeys with an altitude.
    pub definitions: Vec<InstanceDefinition>,
}

/// The loaded driver behind a driver object.
pub(super) fn driver_of(m: &Machine, object: usize) -> Option<Arc<Driver>> {
    m.state::<Drivers>()
        .loaded()
        .into_iter()
        .find(|driver| driver.object_address() == object)
}

/// The key of the instances, below the service's.
pub(super) fn instances_key(m: &Machine) -> &'static str {
    if m.build_number() >= PARAMETERS_BUILD {
        r"Parameters\Instances"
    } else {
        "Instances"
    }
}

/// The instances of a driver's service.
///
/// # Errors
/// `STATUS_OBJECT_NAME_NOT_FOUND` without a service key, an `Instances` key or an instance in it.
pub(super) fn instances(m: &Machine, driver: usize) -> Result<ServiceInstances, NtStatus> {
    let driver = driver_of(m, driver).ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
    let name = driver.service().to_owned();
    let key = m
        .registry()
        .service(&name)
        .find(instances_key(m))
        .ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
    let definitions: Vec<_> = key
        .subkeys()
        .iter()
        .filter_map(|name| definition(&key, name))
        .collect();
    if definitions.is_empty() {
        return Err(STATUS_OBJECT_NAME_NOT_FOUND);
    }
    let default = key.value("DefaultInstance").and_then(|value| value.text());
    Ok(ServiceInstances {
        name,
        default,
        definitions,
    })
}

/// One instance's subkey; `None` without an altitude that is a number.
fn definition(instances: &Arc<Key>, name: &str) -> Option<InstanceDefinition> {
    let key = instances.find(name)?;
    let altitude = Altitude::parse(&key.value("Altitude")?.text()?)?;
    let flags = key.value("Flags").and_then(|value| value.number());
    Some(InstanceDefinition {
        name: name.to_owned(),
        altitude,
        flags: flags.unwrap_or(0),
    })
}
