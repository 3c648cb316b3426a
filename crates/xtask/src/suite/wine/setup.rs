//! Wine's own `setupapi` installs the stamped INF: an independent reader of it copies the file,
//! makes the service and writes the registry. Wine takes the section for any build of x64; the one
//! for build 25952 on is asked for by its name. What is written is compared with the INF.

use std::collections::BTreeMap;

use inf::{Inf, Install, Row, Value};

use super::{KEY, Prefix};
use crate::command::Ended;
use crate::files;
use crate::package;
use crate::suite::{Bench, Found};
use crate::trouble::{Outcome, Trouble};

/// `key\name` to what is there, all in lower case.
type Registry = BTreeMap<String, String>;

/// Installs by each section, compares, uninstalls.
pub fn install(bench: &mut Bench, prefix: &Prefix) -> Outcome<Found> {
    let built = bench.built()?;
    let into = bench.root.join("target/wine");
    let package = package::make(&bench.root, &into, &built, None, &mut bench.say)?;
    let text = files::read(&package.inf)?;
    let inf = Inf::parse(&text).map_err(|fault| Trouble::new(fault.to_string()))?;
    let mut found = Found::default();
    let path = format!("Z:{}", package.inf.display().to_string().replace('/', "\\"));
    for build in [14393, 26100] {
        let install = inf
            .install_for(build)
            .ok_or_else(|| Trouble::new(format!("the INF has nothing for build {build}")))?;
        let section = match install.build {
            0 => "DefaultInstall",
            _ => &install.section.name,
        };
        bench.say.moving("wine", section);
        forget(bench, prefix)?;
        setup(bench, prefix, section, &path)?;
        let there = query(bench, prefix)?;
        let before = found.failed.len();
        compare(&install, &there, &mut found);
        for line in &mut found.failed[before..] {
            *line = format!("Wine, [{}]: {line}", install.section.name);
        }
        if install.build == 0 {
            uninstall(bench, prefix, &path, &mut found)?;
        }
    }
    bench.say.clear();
    found.about = "both sections of the INF install, the older one uninstalls".to_owned();
    Ok(found)
}

fn setup(bench: &Bench, prefix: &Prefix, section: &str, path: &str) -> Outcome<()> {
    let log = bench.log("wine-setup");
    let arguments = [
        "rundll32",
        "setupapi,InstallHinfSection",
        section,
        "132",
        path,
    ];
    match prefix.run(&log, "-all", &arguments)? {
        Ended::Late => Err(Trouble::new(format!(
            "Wine's setup of [{section}] did not end"
        ))),
        _ => Ok(()),
    }
}

/// Takes the service's key away; it is not there the first time.
fn forget(bench: &Bench, prefix: &Prefix) -> Outcome<()> {
    let log = bench.log("wine-forget");
    prefix
        .run(&log, "-all", &["reg", "delete", KEY, "/f"])
        .map(drop)
}

fn query(bench: &Bench, prefix: &Prefix) -> Outcome<Registry> {
    let log = bench.log("wine-installed");
    prefix.run(&log, "-all", &["reg", "query", KEY, "/s"])?;
    let text = files::bytes(&log)?;
    Ok(listed(&String::from_utf8_lossy(&text)))
}

/// The section for old systems removes what it installed, service and file.
fn uninstall(bench: &Bench, prefix: &Prefix, path: &str, found: &mut Found) -> Outcome<()> {
    let file = prefix
        .folder
        .join("drive_c/windows/system32/drivers/siloscan.sys");
    found.check(file.is_file(), || "Wine's setup copied no file".to_owned());
    setup(bench, prefix, "DefaultUninstall", path)?;
    found.check(!file.exists(), || "uninstalling left the file".to_owned());
    let left = query(bench, prefix)?;
    found.check(left.is_empty(), || format!("uninstalling left {left:?}"));
    Ok(())
}

/// What the INF says must be there, and no instances but its own.
fn compare(install: &Install<'_>, there: &Registry, found: &mut Found) {
    for service in install.services() {
        let rows = service.rows();
        for row in &rows {
            let (name, wanted) = (name_of(row), written(&row.value));
            let is = there.get(&name);
            found.check(is == wanted.as_ref(), || {
                format!("{name} is {is:?}, it should be {wanted:?}")
            });
        }
        for (directive, value) in [
            ("ServiceType", "type"),
            ("StartType", "start"),
            ("ErrorControl", "errorcontrol"),
        ] {
            let wanted = service
                .number(directive)
                .map(|number| format!("{number:#x}"));
            found.check(there.get(value) == wanted.as_ref(), || {
                format!("{value} is {:?}, it should be {wanted:?}", there.get(value))
            });
        }
        let group = service
            .directive("LoadOrderGroup")
            .map(|text| text.to_lowercase());
        found.check(there.get("group") == group.as_ref(), || {
            format!("the group is {:?}", there.get("group"))
        });
        let ours: Vec<String> = rows.iter().map(name_of).collect();
        let more = there
            .keys()
            .find(|name| name.contains('\\') && !ours.contains(name));
        found.check(more.is_none(), || format!("{more:?} is there unasked"));
    }
}

fn name_of(row: &Row) -> String {
    let name = match row.key.is_empty() {
        true => row.name.clone(),
        false => format!("{}\\{}", row.key, row.name),
    };
    name.to_lowercase()
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_lowercase()),
        Value::Number(number) => Some(format!("{number:#x}")),
        Value::Other(_) => None,
    }
}

/// Reads what `reg query /s` prints: a line for each key, then its values, four spaces before
/// name, type and content.
fn listed(text: &str) -> Registry {
    let mut found = Registry::new();
    let mut key = String::new();
    let top = KEY.replace("HKLM", "HKEY_LOCAL_MACHINE").to_lowercase();
    for line in text.lines().map(str::to_lowercase) {
        if let Some(below) = line.trim_end().strip_prefix(&top) {
            key = below.trim_start_matches('\\').to_owned();
            continue;
        }
        let mut parts = line.trim().splitn(3, "    ");
        let (Some(name), Some(_), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let name = match key.is_empty() {
            true => name.to_owned(),
            false => format!("{key}\\{name}"),
        };
        found.insert(name, value.trim().to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: &str = r#"
[DefaultInstall.NTamd64.Services]
AddService=siloscan,,S
[DefaultInstall.NTamd64]
[S]
ServiceType=2
StartType=3
ErrorControl=1
LoadOrderGroup="G H"
AddReg=R
[R]
HKR,,"A",0x00010001,10
HKR,"Instances\"%I%,"Altitude",,"1.5"
[Strings]
I="x I"
"#;
    const PRINTED: &str = r"
HKEY_LOCAL_MACHINE\System\CurrentControlSet\Services\siloscan
    A    REG_DWORD    0xa
    ErrorControl    REG_DWORD    0x1
    Group    REG_SZ    G H
    Start    REG_DWORD    0x3
    Type    REG_DWORD    0x2

HKEY_LOCAL_MACHINE\System\CurrentControlSet\Services\siloscan\Instances\x I
    Altitude    REG_SZ    1.5
";

    fn failures(printed: &str) -> usize {
        let inf = Inf::parse(INF).unwrap();
        let mut found = Found::default();
        compare(&inf.install_for(1).unwrap(), &listed(printed), &mut found);
        found.failed.len()
    }

    #[test]
    fn what_was_written_is_compared_value_by_value() {
        assert_eq!(failures(PRINTED), 0);
        assert_eq!(failures(&PRINTED.replace("0xa", "0xb")), 1);
        assert_eq!(failures(&PRINTED.replace("G H", "G")), 1);
        assert_eq!(failures(&PRINTED.replace("1.5", "1.6")), 1);
        assert_eq!(failures(&PRINTED.replace("Start ", "Stop ")), 1);
        let elsewhere = PRINTED.replace(r"siloscan\Instances", r"siloscan\Parameters\Instances");
        assert_eq!(failures(&elsewhere), 2, "one is missing, one is too many");
        assert_eq!(failures(""), 6);
    }
}
