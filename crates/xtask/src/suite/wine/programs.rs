//! Service and command for Windows in Wine: `crates/service/tests/wine.rs`, which asks for the
//! prefix and the programs by two variables.

use super::Prefix;
use crate::command;
use crate::packages;
use crate::suite::cargo::{counted, host};
use crate::suite::{Bench, Found};
use crate::trouble::Outcome;

/// What Debian 12's Wine lacks of what Rust's library imports.
const RANDOM: &str = "tests/windows/bcryptprimitives.c";

/// Runs the tests, one after the other: they share the service controller.
pub fn run(bench: &mut Bench, prefix: &Prefix) -> Outcome<Found> {
    let programs = bench.programs()?;
    packages::need(
        &mut bench.say,
        "a library that Wine lacks",
        packages::SERVICE,
    )?;
    let library = prefix
        .folder
        .join("drive_c/windows/system32/bcryptprimitives.dll");
    if !library.exists() {
        let mut compile = command::clean("x86_64-w64-mingw32-gcc");
        compile.args(["-shared", "-Os", "-Wall", "-Wextra", "-Werror", "-o"]);
        compile.arg(&library).arg(bench.root.join(RANDOM));
        command::output(compile.arg("-ladvapi32"))?;
    }
    let mut test = host(bench, "test");
    test.args(["--workspace", "--locked", "--features", "filterhost/clang"]);
    test.args(["--test", "wine", "--", "--ignored", "--test-threads=1"]);
    test.env("SILOSCAN_WINE_PREFIX", &prefix.folder);
    test.env("SILOSCAN_WINDOWS_PROGRAMS", programs);
    let mut found = counted(bench, "wine-programs", &mut test)?;
    found.about = "service and command run".to_owned();
    Ok(found)
}
