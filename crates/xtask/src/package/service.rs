//! The scan service and the operator's command for Windows: cross-compiled and linked with mingw.

use std::path::{Path, PathBuf};

use crate::compiling;
use crate::packages;
use crate::say::Say;
use crate::toolchain::{self, Wish};
use crate::trouble::{Outcome, Trouble};

const TARGET: &str = "x86_64-pc-windows-gnu";

/// The programs that are built, in the folder that [`build`] gives.
pub const PROGRAMS: [&str; 2] = ["siloscand.exe", "siloscan.exe"];

/// For whom [`build`] builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For the tests: as little optimised as these are, since that takes a third of the time.
    Tests,
    /// To be used.
    Package,
}

impl Purpose {
    /// Cargo's profile, and the folder that it builds into.
    fn profile(self) -> (&'static str, &'static str) {
        match self {
            Self::Tests => ("dev", "debug"),
            Self::Package => ("service", "service"),
        }
    }
}

/// Builds [`PROGRAMS`]; the first time that takes as long as the rule engine needs.
pub fn build(root: &Path, purpose: Purpose, say: &mut Say) -> Outcome<PathBuf> {
    packages::need(say, "building the service for Windows", packages::SERVICE)?;
    let toolchain = toolchain::find(say, Wish::Debian)?;
    let mut cargo = toolchain.cargo();
    cargo.current_dir(root).args(["build", "--locked"]);
    cargo.args(["--package", "siloscan-service", "--bins"]);
    let (profile, folder) = purpose.profile();
    cargo.args(["--target", TARGET, "--profile", profile]);
    // The service catches a panic of the engine, so its library must unwind.
    cargo.args(["-Zbuild-std=std,panic_unwind", "--target-dir", "target"]);
    say.moving("service", "compiling, for several minutes the first time");
    if !compiling::build(&mut cargo, say, "service")? {
        return Err(Trouble::new("the service does not build for Windows")
            .next("see what the compiler says above, or leave --with-service out"));
    }
    Ok(root.join("target").join(TARGET).join(folder))
}
