//! The scan service and the operator's command for Windows: cross-compiled and linked with mingw.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::command;
use crate::driver::artifact;
use crate::packages;
use crate::say::{self, Say};
use crate::toolchain::{self, Wish};
use crate::trouble::{Outcome, Trouble};

const TARGET: &str = "x86_64-pc-windows-gnu";

/// The programs that are built, in the folder that [`build`] gives.
pub const PROGRAMS: [&str; 2] = ["siloscand.exe", "siloscan.exe"];

/// Builds [`PROGRAMS`]; the first time that takes as long as the rule engine needs.
pub fn build(root: &Path, say: &mut Say) -> Outcome<PathBuf> {
    packages::need(say, "building the service for Windows", packages::SERVICE)?;
    let start = Instant::now();
    let toolchain = toolchain::find(say, Wish::Debian)?;
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--quiet"]);
    cargo.args(["--package", "siloscan-service", "--bins"]);
    cargo.args(["--target", TARGET, "--profile", "service"]);
    // The service catches a panic of the engine, so its library must unwind.
    cargo.args(["-Zbuild-std=std,panic_unwind", "--target-dir", "target"]);
    cargo.arg("--message-format=json-render-diagnostics");
    let mut compiled = 0;
    say.moving("service", "compiling, for several minutes the first time");
    let done = command::lines(&mut cargo, |line| {
        if let Some((name, false)) = artifact(line) {
            compiled += 1;
            let text = format!("{compiled} crates, {name} ({})", say::time(start.elapsed()));
            say.moving("service", &text);
        }
    })?;
    say.clear();
    if !done {
        return Err(Trouble::new("the service does not build for Windows")
            .next("see what the compiler says above, or leave --with-service out"));
    }
    let text = match compiled {
        0 => "nothing to do".to_owned(),
        n => format!("{n} crates ({})", say::time(start.elapsed())),
    };
    say.step("service", &text);
    Ok(root.join("target").join(TARGET).join("service"))
}
