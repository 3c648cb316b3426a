//! `cargo xtask bench open` and `cargo xtask bench fleet`: what the built driver costs in the
//! filter host. `cargo xtask bench service`: the service under load. Need nothing prepared.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::command;
use crate::demo;
use crate::packages;
use crate::say::Say;
use crate::trouble::{Outcome, Trouble};

/// What the small filters need, by module.
const IMPORTS: &[(&str, &[&str])] = &[
    (
        "fltmgr",
        &[
            "FltAllocateExtraCreateParameter",
            "FltAllocateExtraCreateParameterList",
            "FltFindExtraCreateParameter",
            "FltFreeExtraCreateParameter",
            "FltFreeExtraCreateParameterList",
            "FltGetEcpListFromCallbackData",
            "FltInsertExtraCreateParameter",
            "FltIsEcpAcknowledged",
            "FltRegisterFilter",
            "FltSetEcpListIntoCallbackData",
            "FltStartFiltering",
            "FltUnregisterFilter",
        ],
    ),
    ("ntoskrnl", &["IoGetSiloParameters"]),
];

/// Measures one open.
pub fn open(root: &Path, arguments: &[OsString]) -> Outcome<ExitCode> {
    let mut say = Say::new(false);
    packages::need(&mut say, "a filter to compare with", packages::CONFORMANCE)?;
    let (empty, parts) = small_filters(root)?;
    let variables = [
        ("SILOSCAN_EMPTY_FILTER", empty.as_path()),
        ("SILOSCAN_PARTS_FILTER", parts.as_path()),
    ];
    demo::on_driver(
        root,
        &mut say,
        "bench",
        &with("open", arguments),
        &variables,
    )
}

/// Measures container starts.
pub fn fleet(root: &Path, arguments: &[OsString]) -> Outcome<ExitCode> {
    let mut say = Say::new(false);
    if arguments
        .iter()
        .any(|word| word.to_string_lossy().starts_with("--hosts"))
    {
        packages::need(&mut say, "hosts that share verdicts", packages::REDIS)?;
    }
    demo::on_driver(root, &mut say, "bench", &with("fleet", arguments), &[])
}

/// Measures the service, and lets it run for a day's worth of requests.
pub fn service(root: &Path, arguments: &[OsString]) -> Outcome<ExitCode> {
    let mut say = Say::new(false);
    demo::on_driver(root, &mut say, "bench", &with("service", arguments), &[])
}

fn with(name: &str, arguments: &[OsString]) -> Vec<OsString> {
    let mut all = vec![OsString::from(name)];
    all.extend_from_slice(arguments);
    all
}

/// Builds `tests/drivers/empty.c` and `parts.c`: a filter that does nothing, and one that does
/// only what none can do without.
fn small_filters(root: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let folder = root.join("target/bench");
    std::fs::create_dir_all(&folder).map_err(|e| Trouble::file("make", &folder, &e))?;
    for (module, names) in IMPORTS {
        let definition = folder.join(format!("{module}.def"));
        let end = if *module == "ntoskrnl" { "exe" } else { "sys" };
        let text = format!(
            "LIBRARY \"{module}.{end}\"\nEXPORTS\n{}\n",
            names.join("\n")
        );
        std::fs::write(&definition, text).map_err(|e| Trouble::file("write", &definition, &e))?;
        let mut library = command::clean("lld-link-19");
        library
            .args(["/lib", "/machine:x64"])
            .arg(format!("/def:{}", definition.display()))
            .arg(format!(
                "/out:{}",
                folder.join(format!("{module}.lib")).display()
            ));
        command::output(&mut library)?;
    }
    Ok((small_filter(root, "empty")?, small_filter(root, "parts")?))
}

fn small_filter(root: &Path, name: &str) -> Outcome<PathBuf> {
    let file = |end: &str| root.join("target/bench").join(format!("{name}.{end}"));
    let mut compile = command::clean("clang-19");
    compile
        .args(["--target=x86_64-pc-windows-msvc", "-ffreestanding", "-O2"])
        .args(["-gcodeview", "-Wall", "-Wextra", "-Werror", "-c"])
        .arg(root.join(format!("tests/drivers/{name}.c")))
        .arg("-o")
        .arg(file("obj"));
    command::output(&mut compile)?;
    let mut link = command::clean("lld-link-19");
    link.args(["/driver", "/subsystem:native", "/entry:DriverEntry"])
        .args(["/nodefaultlib", "/debug", "/release"])
        .arg(format!("/out:{}", file("sys").display()))
        .arg(file("obj"));
    for (module, _) in IMPORTS {
        link.arg(root.join(format!("target/bench/{module}.lib")));
    }
    command::output(&mut link)?;
    Ok(file("sys"))
}
