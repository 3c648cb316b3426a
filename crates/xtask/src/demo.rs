//! `cargo xtask demo`: builds the driver, then runs the demo with it. Needs nothing prepared.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::command;
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
    let built = Request::of(root).prepare(&mut say)?.build(&mut say)?;
    say.step("driver", &built.image.display().to_string());
    let own = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = command::clean(own);
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--workspace", "--bins"]);
    let done = cargo
        .status()
        .map_err(|e| Trouble::new(format!("cannot run cargo: {e}")))?;
    if !done.success() {
        return Err(Trouble::new("the demo does not compile").next("see the compiler above"));
    }
    let demo = root.join("target/debug/demo");
    let status = command::clean(&demo)
        .args(arguments)
        .env("SILOSCAN_IMAGE", &built.image)
        .status()
        .map_err(|e| Trouble::file("run", &demo, &e))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
