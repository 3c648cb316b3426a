//! `cargo xtask demo` and `cargo xtask sim`: build the driver, then run a program of
//! `crates/worlds` with it. `bench.rs` does the same. Need nothing prepared.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::command;
use crate::compiling;
use crate::driver::Request;
use crate::packages;
use crate::say::Say;
use crate::trouble::{Outcome, Trouble};

/// Runs `demo` of `crates/worlds` with `arguments`; its exit code becomes ours.
pub fn run(root: &Path, arguments: &[OsString]) -> Outcome<ExitCode> {
    let mut say = Say::new(false);
    // The base layer is made of Wine's Windows binaries, unless the user names folders.
    let has_layer = arguments
        .iter()
        .any(|a| a.to_string_lossy().starts_with("--layer"));
    let asks = arguments.iter().any(|a| a == "--help" || a == "-h");
    if !has_layer && !asks {
        packages::need(&mut say, "the demo's base layer", packages::LAYER)?;
    }
    on_driver(root, &mut say, "demo", arguments, &[])
}

/// Runs `sim` of `crates/worlds` with `arguments`; its exit code becomes ours.
pub fn simulate(root: &Path, arguments: &[OsString]) -> Outcome<ExitCode> {
    on_driver(root, &mut Say::new(false), "sim", arguments, &[])
}

/// Builds the driver and the programs of this machine, and runs one of them on the driver, with
/// more variables in its environment.
pub fn on_driver(
    root: &Path,
    say: &mut Say,
    program: &str,
    arguments: &[OsString],
    variables: &[(&str, &Path)],
) -> Outcome<ExitCode> {
    let built = Request::of(root).prepare(say)?.build(say)?;
    say.step("driver", &built.image.display().to_string());
    let own = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = command::clean(own);
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--workspace", "--bins"]);
    if !compiling::build(&mut cargo, say, "programs")? {
        return Err(
            Trouble::new(format!("{program} does not compile")).next("see the compiler above")
        );
    }
    let path = root.join("target/debug").join(program);
    let status = command::clean(&path)
        .args(arguments)
        .env("SILOSCAN_IMAGE", &built.image)
        .envs(variables.iter().copied())
        .status()
        .map_err(|e| Trouble::file("run", &path, &e))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
