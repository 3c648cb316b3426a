//! Where the service's configuration is, and what it says.

use std::path::{Path, PathBuf};

use clap::Args;
use siloscan_configuration::Configuration;
use siloscan_service::program;

/// Where docs/administrators.md has an administrator put it.
#[cfg(windows)]
const USUAL: Option<&str> = Some(r"C:\ProgramData\siloscan\siloscand.toml");
#[cfg(not(windows))]
const USUAL: Option<&str> = None;

/// Which configuration.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// The service's configuration. On Windows, without it,
    /// C:\ProgramData\siloscan\siloscand.toml
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

impl Config {
    /// The file: the one that was named, or the usual one of this system.
    pub fn file(&self) -> Option<PathBuf> {
        let usual = || USUAL.map(PathBuf::from);
        self.config.clone().or_else(usual)
    }
}

/// What a configuration says, checked as `siloscand --check` does.
pub fn read(file: &Path) -> Result<Configuration, String> {
    program::checked_configuration(file)
}
