//! `siloscan report`: what a colleague or a vendor needs to see of a host, in one file of JSON.

mod names;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use siloscan_configuration::{Configuration, KEYS};
use siloscan_quarantine::printable;
use siloscan_service::exclusions::read_file;

use crate::doctor::{Findings, Places, look};
use crate::exclude;
use crate::policy;
use crate::tell::{failed, json_text, say};
use names::Names;

/// The end of the file of events that is looked at, in bytes.
const EVENTS_BYTES_MAX: u64 = 4 << 20;
/// Keys whose values may be secrets, or tell where one is.
const SECRETS: [(&str, &str); 2] = [("verdicts", "fleet"), ("verdicts", "fleet_key")];

/// What to look at, and where to put it.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    place: Places,

    /// The file to make; without it the report is printed. On Windows it has the rights of its
    /// folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replaces a file that is there
    #[arg(long, requires = "out")]
    force: bool,

    /// So many of the last events
    #[arg(long, value_name = "N", default_value_t = 200)]
    events: usize,

    /// Paths, ids of containers and the host's name are replaced by hashes that are the same
    /// within one report and different in the next
    #[arg(long)]
    without_names: bool,

    /// Prints JSON; the report always is
    #[arg(long)]
    json: bool,
}

/// Makes the report: 0, or 2 if it cannot be written.
pub fn run(options: &Options) -> ExitCode {
    let mut value = made(options);
    if options.without_names {
        let names = match Names::new(host()) {
            Ok(names) => names,
            Err(cause) => return failed(&cause),
        };
        names.hide(&mut value);
    }
    let text = json_text(&value);
    let Some(out) = &options.out else {
        say(&text);
        return ExitCode::SUCCESS;
    };
    match write(out, options.force, &text) {
        Ok(()) => {
            let place = printable(&out.display().to_string());
            if options.json {
                crate::tell::say_json(&json!({ "out": out.display().to_string() }));
            } else {
                say(&format!(
                    "{place} is made; look through it before you give it away\n"
                ));
            }
            ExitCode::SUCCESS
        }
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => failed(&format!(
            "{} is there already; name another file, or replace it with --force",
            out.display()
        )),
        Err(cause) => failed(&format!("cannot write {}: {cause}", out.display())),
    }
}

/// A file for its owner alone. One that is replaced goes first, so that nobody who has it open, or
/// put a link there, gets the new one.
fn write(out: &Path, force: bool, text: &str) -> io::Result<()> {
    if force {
        match std::fs::remove_file(out) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
    }
    let mut open = OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let mut file = open.open(out)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn host() -> Option<String> {
    let name = std::env::var("COMPUTERNAME").ok();
    name.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map(|name| name.trim().to_owned())
}

fn made(options: &Options) -> Value {
    let Findings {
        rows,
        status,
        configuration,
    } = look(&options.place);
    let contains = match options.without_names {
        true => {
            "paths, ids of containers and the host's name were replaced by hashes; rules, \
                 numbers and times are as they are"
        }
        false => {
            "it has paths, ids of containers and the host's name; --without-names leaves \
                  them out. Passwords and keys are not in it"
        }
    };
    let configured = configuration.as_ref().and_then(|read| read.as_ref().ok());
    json!({
        "contains": contains,
        "siloscan": env!("CARGO_PKG_VERSION"),
        "system": {
            "host": host(), "os": std::env::consts::OS, "architecture": std::env::consts::ARCH,
            "processors": std::thread::available_parallelism().map(usize::from).ok(),
        },
        "checks": rows,
        "status": either(status),
        "policy": either(options.place.values.read().map(|all| policy::as_json(&all))),
        "configuration": configuration.as_ref().map(|read| match read {
            Ok(all) => settings(all),
            Err(cause) => json!({ "error": cause }),
        }),
        "exclusions": configured.and_then(|all| all.exclusions.as_deref()).map(exclusions),
        "events": configured.and_then(|all| all.events.as_deref())
            .map(|file| either(events(file, options.events))),
    })
}

fn either<T: serde::Serialize>(read: Result<T, String>) -> Value {
    match read {
        Ok(value) => json!(value),
        Err(cause) => json!({ "error": cause }),
    }
}

/// Every key as it is set, but the secret ones: of those only whether.
fn settings(all: &Configuration) -> Value {
    let mut sections: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for key in KEYS {
        let setting = key.setting(all);
        let text = match &setting {
            Some(_) if SECRETS.contains(&(key.section, key.name)) => "left out".to_owned(),
            Some(setting) => format!("{setting:?}"),
            None => continue,
        };
        sections
            .entry(key.section)
            .or_default()
            .insert(key.name, text);
    }
    json!(sections)
}

fn exclusions(file: &Path) -> Value {
    let name = file.display().to_string();
    let read = read_file(file).map_err(|cause| cause.to_string());
    either(read.and_then(|bytes| {
        let listing = exclude::list(&name, &bytes).map_err(|cause| cause.to_string())?;
        Ok(exclude::listing_json(&listing, None))
    }))
}

/// The last events, and every report of broken rules among what was looked at.
fn events(file: &Path, number: usize) -> Result<Value, String> {
    let wrong = |cause: io::Error| format!("cannot read {}: {cause}", file.display());
    let mut opened = File::open(file).map_err(wrong)?;
    let length = opened.metadata().map_err(wrong)?.len();
    let begin = length.saturating_sub(EVENTS_BYTES_MAX);
    opened.seek(SeekFrom::Start(begin)).map_err(wrong)?;
    let mut bytes = Vec::new();
    let mut some = opened.take(EVENTS_BYTES_MAX);
    some.read_to_end(&mut bytes).map_err(wrong)?;
    let text = String::from_utf8_lossy(&bytes);
    // A line that was cut at its begin, or is just being written, is no JSON and falls out.
    let all: Vec<Value> = { text.lines() }
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let broken = all.iter().filter(|event| event["event"] == "broken_rules");
    let broken: Vec<&Value> = broken.collect();
    let last = all
        .get(all.len().saturating_sub(number)..)
        .unwrap_or_default();
    Ok(json!({ "last": last, "broken_rules": broken }))
}
