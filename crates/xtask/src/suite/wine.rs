//! The driver in Wine's own driver host: an independent loader maps and relocates the image, binds
//! its imports and calls `DriverEntry`, which must reach `FltRegisterFilter`. Wine's Filter
//! Manager is made of stubs, so nothing more is asked of it. Then its INF, and the programs.

mod programs;
mod setup;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Bench, Found};
use crate::command::{self, Ended};
use crate::files;
use crate::packages;
use crate::trouble::{Outcome, Trouble};

/// What Wine lacks of the driver's imports, `module!name` a line.
const LIST: &str = "tests/wine-missing.txt";
const KEY: &str = r"HKLM\System\CurrentControlSet\Services\siloscan";
const PATH: &str = r"\??\C:\windows\system32\drivers\siloscan.sys";
const LIMIT: Duration = Duration::from_secs(180);

/// A Wine of its own, in a folder of its own.
struct Prefix {
    folder: PathBuf,
}

impl Prefix {
    fn command(&self, program: &str, trace: &str) -> Command {
        let mut command = command::clean(program);
        command
            .env("WINEPREFIX", &self.folder)
            .env("WINEDEBUG", trace);
        // No window, no .NET, no browser engine: nothing here asks a person anything.
        command
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .env_remove("DISPLAY");
        command
    }

    /// Runs to the end of this Wine's last process.
    fn run(&self, log: &Path, trace: &str, arguments: &[&str]) -> Outcome<Ended> {
        let ended = command::limited(
            self.command("wine", trace).args(arguments),
            log,
            LIMIT,
            |_| {},
        )?;
        self.stop();
        Ok(ended)
    }

    /// Ends this Wine's processes, and waits until they are gone.
    fn stop(&self) {
        for argument in ["-k", "-w"] {
            let mut server = self.command("wineserver", "-all");
            let log = self.folder.with_extension("server.log");
            command::limited(server.arg(argument), &log, Duration::from_secs(20), |_| {}).ok();
        }
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Loads the driver, installs its INF, and runs the programs.
pub fn run(bench: &mut Bench) -> Outcome<Found> {
    packages::need(&mut bench.say, "the Wine smoke test", packages::WINE)?;
    let prefix = prefix(bench)?;
    let mut found = smoke(bench, &prefix)?;
    let installed = setup::install(bench, &prefix)?;
    found.passed += installed.passed;
    found.failed.extend(installed.failed);
    found.about += &format!("; {}", installed.about);
    let ran = programs::run(bench, &prefix)?;
    found.passed += ran.passed;
    found.made_up += ran.passed;
    found.failed.extend(ran.failed);
    found.about += &format!("; {}", ran.about);
    Ok(found)
}

/// A Wine that was never used before.
fn prefix(bench: &mut Bench) -> Outcome<Prefix> {
    let folder = bench.root.join("target/wine");
    files::remove_folder(&folder)?;
    files::make_folder(&folder)?;
    let prefix = Prefix {
        folder: folder.join("prefix"),
    };
    bench.say.moving("wine", "making a prefix");
    let log = bench.log("wine-boot");
    if prefix.run(&log, "-all", &["wineboot", "--init"])? != Ended::Well {
        return Err(Trouble::new(format!(
            "Wine does not start: {}",
            log.display()
        )));
    }
    Ok(prefix)
}

/// Loads the driver and reads the trace.
fn smoke(bench: &mut Bench, prefix: &Prefix) -> Outcome<Found> {
    let built = bench.built()?;
    let drivers = prefix.folder.join("drive_c/windows/system32/drivers");
    files::copy(&built.image, &drivers.join("siloscan.sys"))?;
    let log = bench.log("wine-registry");
    let rows = prefix.folder.with_extension("reg");
    files::write(&rows, registry())?;
    let rows = rows.display().to_string();
    if prefix.run(&log, "-all", &["regedit", "/S", &rows])? != Ended::Well {
        return Err(Trouble::new(format!("Wine's registry does not take {KEY}")));
    }
    bench.say.moving("wine", "loading the driver");
    let log = bench.log("wine");
    let ended = prefix.run(
        &log,
        "+ntoskrnl,+fltmgr,+module",
        &["net", "start", "siloscan"],
    )?;
    bench.say.clear();
    let trace = files::bytes(&log)?;
    let list = files::read(&bench.root.join(LIST))?;
    let base = preferred_base(&files::bytes(&built.image)?).unwrap_or(0);
    let mut found = judge(&String::from_utf8_lossy(&trace), &list, base);
    found.check(ended != Ended::Late, || {
        format!("Wine did not end: {}", log.display())
    });
    Ok(found)
}

/// The service's rows in the registry, as `regedit` reads them.
fn registry() -> String {
    // REGEDIT4 holds strings of one byte a character.
    let path: Vec<String> = PATH
        .bytes()
        .chain([0])
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let key = KEY.replace("HKLM", "HKEY_LOCAL_MACHINE");
    format!(
        "REGEDIT4\r\n\r\n[{key}]\r\n\"Type\"=dword:00000002\r\n\"Start\"=dword:00000003\r\n\
         \"ErrorControl\"=dword:00000001\r\n\"ImagePath\"=hex(2):{}\r\n",
        path.join(",")
    )
}

/// Where the image would like to be loaded.
fn preferred_base(image: &[u8]) -> Option<u64> {
    let pe = u32::from_le_bytes(image.get(60..64)?.try_into().ok()?) as usize;
    Some(u64::from_le_bytes(
        image.get(pe + 48..pe + 56)?.try_into().ok()?,
    ))
}

/// What the trace shows.
fn judge(trace: &str, list: &str, base: u64) -> Found {
    let lines: Vec<&str> = trace.lines().collect();
    let place = |part: &[&str]| {
        lines
            .iter()
            .position(|line| part.iter().all(|part| line.contains(part)))
    };
    let mut found = Found::default();
    let load = place(&["ZwLoadDriver", "siloscan"]);
    found.check(load.is_some(), || {
        "Wine was not asked to load the driver".to_owned()
    });
    let mapped = place(&["Loaded module", "siloscan.sys"]).map(|at| lines[at]);
    let address = mapped.and_then(|line| u64::from_str_radix(line.rsplit(' ').next()?, 16).ok());
    found.check(address.is_some(), || {
        "Wine did not load the image".to_owned()
    });
    found.check(address.is_some_and(|at| at != base), || {
        format!("the image was not relocated: it is at its preferred base {base:#x}")
    });
    let thread = |at: usize| lines.get(at).and_then(|line| line.split(':').next());
    let registered = place(&[":fltmgr:FltRegisterFilter"]);
    found.check(registered.is_some(), || {
        "FltRegisterFilter was not called".to_owned()
    });
    let same = load
        .zip(registered)
        .is_some_and(|(l, r)| l < r && thread(l) == thread(r));
    found.check(same, || {
        "FltRegisterFilter was not called by the thread that loads".to_owned()
    });
    let aborted = place(&["unimplemented function"]);
    let early = aborted.is_some_and(|at| registered.is_none_or(|r| at < r));
    found.check(!early, || {
        let line = aborted.map_or("", |at| lines[at]);
        format!("called before FltRegisterFilter though Wine lacks it: {line}")
    });
    let missing: BTreeSet<String> = lines.iter().filter_map(|line| lacks(line)).collect();
    let wanted: BTreeSet<String> = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    for name in missing.symmetric_difference(&wanted) {
        let side = if missing.contains(name) {
            "is not on"
        } else {
            "is wrongly on"
        };
        found.failed.push(format!("{name} {side} {LIST}"));
    }
    found.check(missing == wanted, || {
        format!("{LIST} is not what Wine lacks")
    });
    found.about = format!(
        "loaded, relocated, registered; Wine lacks {} imports",
        missing.len()
    );
    found
}

/// `module!name` of a line such as `0118:warn:module:import_dll No implementation for
/// ntoskrnl.exe.X imported from L"…siloscan.sys"`.
fn lacks(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("No implementation for ")?;
    let (name, from) = rest.split_once(" imported from ")?;
    if !from.contains("siloscan.sys") {
        return None;
    }
    let (module, name) = name.rsplit_once('.')?;
    Some(format!("{module}!{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
0118:trace:ntoskrnl:ZwLoadDriver (L\"\\\\Services\\\\siloscan\")
0118:warn:module:import_dll No implementation for fltmgr.sys.X imported from L\"siloscan.sys\"
0118:trace:module:load_dll Loaded module L\"siloscan.sys\" at 00000000021A0000
0118:fixme:fltmgr:FltRegisterFilter (1,2,3): stub
";

    fn fails(trace: &str, list: &str, part: &str) {
        let found = judge(trace, list, 0x1_4000_0000);
        assert!(
            found.failed.iter().any(|text| text.contains(part)),
            "{:?}",
            found.failed
        );
    }

    #[test]
    fn a_good_trace_passes() {
        let found = judge(GOOD, "# list\nfltmgr.sys!X\n", 0x1_4000_0000);
        assert_eq!(found.failed, Vec::<String>::new());
    }

    #[test]
    fn each_shortcoming_is_seen() {
        let list = "fltmgr.sys!X\n";
        fails("", list, "not asked to load");
        fails(&GOOD.replace("21A0000", "140000000"), list, "not relocated");
        fails(
            &GOOD.replace("FltRegisterFilter", "FltOther"),
            list,
            "was not called",
        );
        fails(
            &GOOD.replace("0118:fixme", "0120:fixme"),
            list,
            "by the thread that loads",
        );
        fails(GOOD, "", "X is not on");
        fails(GOOD, "fltmgr.sys!X\nfltmgr.sys!Y\n", "Y is wrongly on");
        let abort = "0118:err:x wine: Call to unimplemented function a.b, aborting";
        let early = format!("{abort}\n{GOOD}");
        fails(&early, list, "called before FltRegisterFilter");
    }
}
