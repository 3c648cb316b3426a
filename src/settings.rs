//! The registry's values: read at load, and followed while the driver runs.
//!
//! A thread that the driver has anyway looks again once a second. Nothing is registered with the
//! registry: a notification's page promises neither how a pending one ends nor when its memory is
//! free, which an unload needs to know, and a key that is not there cannot be watched.
#![forbid(unsafe_code)]

use siloscan_core::limits::{Found, PARAMETERS, Parameter, Parameters};
use siloscan_core::watch::{Change, Looked, Watch};

use crate::kernel::clock::{self, Time};
use crate::kernel::registry::{Key, ServiceKey};
use crate::kernel::routine;
use crate::{state, trace};

/// Time between two looks at the registry, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// No parameter's name is longer.
const NAME_MAX: usize = 32;

/// The values at load. What is nonsense, or cannot be read, is the default.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn read(service: &ServiceKey) -> Parameters {
    let mut parameters = Parameters::DEFAULT;
    if let Ok(Some(key)) = service.parameters() {
        for parameter in &PARAMETERS {
            if let Some(found) = value(&key, parameter) {
                // Nonsense is told by the first look that follows.
                let _told_later = parameters.set(parameter, found);
            }
        }
    }
    parameters
}

/// What the registry holds for a parameter; nothing where that cannot be known now.
fn value(key: &Key, parameter: &Parameter) -> Option<Found> {
    let name = routine::utf16::<NAME_MAX>(parameter.name.as_bytes());
    key.dword(name.get(..parameter.name.len())?).ok()
}

/// Follows the registry while the driver runs.
pub struct Follower {
    watch: Watch,
    due: Time,
}

impl Follower {
    /// Looks at the first chance.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            watch: Watch::new(),
            due: 0,
        }
    }

    /// Looks at the registry, if it is time to.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn look_if_due(&mut self) {
        let now = clock::now();
        if now < self.due {
            return;
        }
        self.due = clock::after(now, LOOK_MS);
        if let Some(service) = state::service_key() {
            self.look(service);
        }
    }

    fn look(&mut self, service: &ServiceKey) {
        // A key that cannot be opened for want of memory says nothing; one that is not there says
        // that every value is absent.
        let Ok(key) = service.parameters() else {
            return;
        };
        let mut changed = false;
        for parameter in &PARAMETERS {
            let found = match &key {
                Some(key) => value(key, parameter),
                None => Some(Found::Absent),
            };
            let looked =
                found.and_then(|found| self.watch.look(parameter, found, &state::PARAMETERS));
            if let (Some(found), Some(looked)) = (found, looked) {
                changed |= matches!(looked.change, Change::Taken(_));
                tell(parameter, found, looked);
            }
        }
        if changed {
            state::use_shares();
        }
    }
}

/// Tells a session that listens.
fn tell(parameter: &Parameter, found: Found, looked: Looked) {
    let in_force = looked.in_force;
    if let Some(nonsense) = looked.refused {
        let found = match found {
            Found::Dword(value) => value,
            Found::Absent | Found::OtherType => 0,
        };
        trace::parameter_refused(parameter.name, nonsense, found, in_force);
    }
    match looked.change {
        Change::None => {}
        Change::Taken(before) => trace::parameter_changed(parameter.name, before, in_force),
        Change::Waits(wanted) => trace::parameter_waits(parameter.name, wanted, in_force),
    }
}
