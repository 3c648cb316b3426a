//! Proactive scans: package layers are opened by a helper process before a container starts from
//! them, and the driver is told when all layers of a volume were scanned and clean.
//!
//! [`layers`] finds them, [`plan`] says what is due, how fast and when to pause, [`helper`] is the
//! process that opens files, and [`keeper`] brings the three together and talks to the driver.

pub mod helper;
mod host;
pub mod keeper;
pub mod layers;
mod pass;
pub mod plan;
mod program;

pub use program::HelperProgram;
pub(crate) use program::{Shared, follow, shared};

use std::path::PathBuf;

use siloscan_configuration::Configuration;

/// What proactive scans are configured to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Nothing is scanned without it.
    pub enabled: bool,
    /// Where layers are looked for.
    pub sources: layers::Sources,
    /// The program that opens the files; beside this one without it.
    pub helper: Option<PathBuf>,
    /// How fast.
    pub rates: plan::Rates,
    /// Within so many minutes hosts begin after new signatures.
    pub spread_minutes: u64,
}

impl Settings {
    /// Of a configuration.
    #[must_use]
    pub fn of(all: &Configuration) -> Self {
        Self {
            enabled: all.proactive,
            sources: layers::Sources {
                docker: all.runtime_store.clone(),
                containerd: all.containerd.clone(),
                folders: all.layer_folders.clone(),
            },
            helper: all.helper.clone(),
            rates: plan::Rates {
                files_per_second: all.files_per_second,
                bytes_per_second: all.mib_per_second.saturating_mul(1 << 20),
                concurrency: all.concurrency,
                load_percent_max: all.load_percent_max,
            },
            spread_minutes: all.spread_minutes,
        }
    }
}
