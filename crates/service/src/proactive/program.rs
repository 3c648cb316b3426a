//! Proactive scans in the program `siloscand`: a thread of their own, and settings that follow the
//! configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use parking_lot::Mutex;
use siloscan_configuration::Configuration;

use super::Settings;
use super::helper::{Process, Processes};
use super::host::LoadMeter;
use super::keeper::Keeper;
use crate::platform::Platform;
use crate::service::Service;

/// Pause between two steps.
const STEP: Duration = Duration::from_millis(100);

/// The settings that the thread looks at before each step.
pub(crate) type Shared = Arc<Mutex<Settings>>;

/// Settings of a configuration, to be shared.
pub(crate) fn shared(all: &Configuration) -> Shared {
    Arc::new(Mutex::new(Settings::of(all)))
}

/// The program that opens the files of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperProgram(pub PathBuf);

impl HelperProgram {
    /// The configured one, or the one beside this program.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let beside = || {
            let this = std::env::current_exe().unwrap_or_default();
            this.with_file_name(format!("siloscan{}", std::env::consts::EXE_SUFFIX))
        };
        Self(settings.helper.clone().unwrap_or_else(beside))
    }
}

/// What the thread does until `ended` is closed.
pub(crate) fn follow<P: Platform>(service: &Service<P>, settings: &Shared, ended: &Receiver<()>) {
    let mut keeper = Keeper::<Process>::default();
    let mut meter = LoadMeter::default();
    while ended.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
        let settings = settings.lock().clone();
        let load = match settings.enabled {
            true => meter.percent(service.platform().now()),
            false => None,
        };
        let runner = Processes {
            program: HelperProgram::of(&settings).0,
        };
        keeper.step(service, &runner, &settings, load);
    }
}
