//! What will run on Windows, built and read here: the service and its command, the PowerShell
//! scripts by two grammars and the rules of `tests/windows/lint.py`, the workflow by actionlint. No
//! PowerShell is among the packages that can be had here, so no script is executed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Bench, Found};
use crate::command::{self, Ended};
use crate::files;
use crate::package::service;
use crate::packages;
use crate::trouble::{Outcome, Trouble};

/// Debian's own Python: the packages are built for it.
const PYTHON: &str = "/usr/bin/python3";
const WORKFLOW: &str = ".github/workflows/windows.yml";
const REQUIREMENTS: &str = "tests/windows/requirements.txt";
const LIMIT: Duration = Duration::from_secs(300);

/// Faults that actionlint must see in the workflow.
const PLANTED: &[(&str, &str)] = &[
    ("needs: package", "needs: pakage"),
    ("matrix.system", "matrix.sistem"),
    ("runs-on: ubuntu-24.04", "runs-onn: ubuntu-24.04"),
    ("windows-2025]", "windows-2052]"),
];

/// Reads scripts and workflow, and plants faults to see that they are noticed.
pub fn lint(bench: &mut Bench) -> Outcome<Found> {
    packages::need(
        &mut bench.say,
        "reading the scripts for Windows",
        packages::PYTHON,
    )?;
    let tools = tools(bench)?;
    let mut found = Found::default();
    for arguments in [&["--planted"][..], &[]] {
        let mut lint = Command::new(tools.join("python"));
        lint.args(["-B", "tests/windows/lint.py"]).args(arguments);
        let told = run(bench, "windows-scripts", &mut lint, &mut found)?;
        if !found.about.is_empty() {
            found.about += "; ";
        }
        found.about += told.lines().last().unwrap_or_default();
    }
    let actionlint = tools.join("actionlint");
    let workflow = bench.root.join(WORKFLOW);
    let mut good = command::clean(&actionlint);
    run(
        bench,
        "windows-workflow",
        good.args(["-no-color"]).arg(&workflow),
        &mut found,
    )?;
    let text = files::read(&workflow)?;
    for (right, wrong) in PLANTED {
        let bad = bench.root.join("target/windows/planted.yml");
        if !text.contains(right) {
            return Err(
                Trouble::new(format!("{WORKFLOW} has no `{right}` any more"))
                    .next("choose other faults in crates/xtask/src/suite/windows.rs"),
            );
        }
        files::write(&bad, text.replace(right, wrong))?;
        let mut lint = command::clean(&actionlint);
        let log = bench.log("windows-planted");
        let ended = command::limited(lint.arg(&bad), &log, LIMIT, |_| {})?;
        found.check(ended == Ended::Failed, || {
            format!("actionlint does not see `{wrong}`")
        });
    }
    found.about += "; actionlint is content, and not with planted faults";
    Ok(found)
}

/// Builds the service and its command for Windows; what they need to be there is in them.
pub fn programs(bench: &mut Bench) -> Outcome<Found> {
    let folder = bench.programs()?;
    let mut found = Found::default();
    for name in service::PROGRAMS {
        let mut dump = command::clean("x86_64-w64-mingw32-objdump");
        let told = command::output(dump.arg("-p").arg(folder.join(name)))?;
        found.check(told.contains("file format pei-x86-64"), || {
            format!("{name} is no program of 64-bit Windows")
        });
        // What the viewer of the Event Log asks the service for; 11 is RT_MESSAGETABLE.
        let has_messages = told.contains("Entry: ID: 0x00000b,");
        found.check(has_messages == (name == "siloscand.exe"), || {
            format!("{name}: the table of messages is in the wrong program")
        });
    }
    found.about = "service and command are built for x86_64-pc-windows-gnu".to_owned();
    Ok(found)
}

/// One check; what it printed.
fn run(bench: &Bench, name: &str, command: &mut Command, found: &mut Found) -> Outcome<String> {
    let log = bench.log(name);
    let ended = command::limited(command.current_dir(&bench.root), &log, LIMIT, |_| {})?;
    let told = files::read(&log)?;
    found.check(ended == Ended::Well, || told.trim_end().to_owned());
    Ok(told)
}

/// The folder with the linters, installed as `requirements.txt` pins them.
fn tools(bench: &mut Bench) -> Outcome<PathBuf> {
    let folder = bench.root.join("target/windows/tools");
    let wanted = files::read(&bench.root.join(REQUIREMENTS))?;
    let stamp = folder.join("requirements.txt");
    let bin = folder.join("bin");
    if files::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(bin);
    }
    bench.say.moving("windows", "installing the linters");
    files::remove_folder(&folder)?;
    let mut make = command::clean(PYTHON);
    command::output(make.args(["-m", "venv"]).arg(&folder))?;
    install(&bin, &bench.root).map_err(|error| {
        Trouble::new(format!("the linters could not be installed: {error}"))
            .next("they come from PyPI, as Debian 12's Python takes them")
    })?;
    files::write(&stamp, wanted)?;
    bench.say.clear();
    Ok(bin)
}

fn install(bin: &Path, root: &Path) -> Outcome<()> {
    let mut pip = command::clean(bin.join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    pip.args([
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--requirement",
    ]);
    command::output(pip.arg(root.join(REQUIREMENTS))).map(drop)
}
