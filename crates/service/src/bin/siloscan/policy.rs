//! `siloscan policy`: what happens in each case, and the driver's values that make it so.

mod cases;
mod export;
mod values;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Value, json};
use siloscan_core::limits::Parameter;
use siloscan_quarantine::printable;

use crate::ask::Whom;
use crate::tell::{failed, say, say_json};
use cases::{Case, Outcome, cases};
use values::{exported, meant, named};

pub use values::{InForce, KEY, Values};

/// Whose policy, and how to tell it.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    whom: Whom,

    /// Prints JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the driver's values are read.
#[derive(Args, Clone)]
pub struct Source {
    /// The driver's values as `reg export` wrote them on a host, instead of this machine's registry
    #[arg(long, value_name = "FILE")]
    pub values: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Writes one of the driver's values to this machine's registry (Windows)
    Set {
        /// Its name, such as OnFailure
        name: String,
        /// A number, or a choice by its name, such as deny
        value: String,
    },
    /// Takes one of the driver's values out of this machine's registry, so that its default holds
    /// (Windows)
    Reset {
        /// Its name, such as OnFailure
        name: String,
    },
}

impl Source {
    /// The values in force.
    pub fn read(&self) -> Result<InForce, String> {
        let values: Box<dyn Values> = match &self.values {
            Some(file) => Box::new(exported(file)?),
            None => own()?,
        };
        InForce::of(&*values)
            .map_err(|cause| format!(r"cannot read the driver's values in HKLM\{KEY}: {cause}"))
    }
}

/// This machine's values.
#[cfg(windows)]
fn own() -> Result<Box<dyn Values>, String> {
    Ok(Box::new(crate::windows::Registry))
}

/// This machine's values.
#[cfg(not(windows))]
fn own() -> Result<Box<dyn Values>, String> {
    Err(format!(
        "the driver's values are in the registry of a Windows host, and this is none; there: reg \
         export HKLM\\{KEY} policy.reg, and here: --values policy.reg"
    ))
}

/// Tells: 0, 1 where a value is nonsense, 2 on an error.
pub fn run(options: &Options) -> ExitCode {
    let done = match &options.command {
        None => shown(options),
        Some(Command::Set { name, value }) => {
            let parameter = named(name);
            let value = parameter.and_then(|it| meant(it, value).map(|value| (it, value)));
            value.and_then(|(it, value)| change(it, Some(value), options.json))
        }
        Some(Command::Reset { name }) => {
            named(name).and_then(|parameter| change(parameter, None, options.json))
        }
    };
    done.unwrap_or_else(|cause| failed(&cause))
}

fn change(parameter: &Parameter, value: Option<u32>, json: bool) -> Result<ExitCode, String> {
    write(parameter.name, value)?;
    let when = when(parameter);
    if json {
        say_json(&json!({ "name": parameter.name, "value": value, "takes_effect": when }));
        return Ok(ExitCode::SUCCESS);
    }
    let name = parameter.name;
    say(&match value {
        Some(value) => format!("{name} is {value} in the registry; it takes effect {when}\n"),
        None => {
            let default = parameter.default;
            format!("{name} is out of the registry; its default {default} takes effect {when}\n")
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn when(parameter: &Parameter) -> &'static str {
    match parameter.live {
        true => "at once",
        false => "at the driver's next load",
    }
}

#[cfg(windows)]
fn write(name: &str, value: Option<u32>) -> Result<(), String> {
    let done = match value {
        Some(value) => crate::windows::Registry.set(name, value),
        None => crate::windows::Registry.reset(name),
    };
    done.map_err(|cause| {
        format!(
            "cannot write {name} in HKLM\\{KEY}: {cause}; install the driver first, and call this \
             as an administrator"
        )
    })
}

#[cfg(not(windows))]
fn write(name: &str, value: Option<u32>) -> Result<(), String> {
    let there = match value {
        Some(value) => format!("reg add HKLM\\{KEY} /v {name} /t REG_DWORD /d {value} /f"),
        None => format!("reg delete HKLM\\{KEY} /v {name} /f"),
    };
    Err(format!(
        "the registry is the Windows host's, and this is none; call this there, or: {there}"
    ))
}

/// The policy as JSON.
pub fn as_json(all: &InForce) -> Value {
    let parameters = all.taken.iter().map(|taken| {
        let Parameter {
            name,
            unit,
            min,
            max,
            default,
            doc,
            ..
        } = taken.parameter;
        json!({
            "name": name, "value": taken.value, "source": taken.source(),
            "nonsense": taken.nonsense.map(|it| it.name()), "unit": unit, "from": min, "to": max,
            "default": default, "takes_effect": when(taken.parameter), "doc": doc,
        })
    });
    json!({
        "parameters": parameters.collect::<Vec<_>>(),
        "unknown": all.unknown,
        "cases": cases(&all.parameters.failure_policy()),
    })
}

fn shown(options: &Options) -> Result<ExitCode, String> {
    let all = options.source.read()?;
    let asked = options.whom.ask();
    let wrong = all.taken.iter().any(|taken| taken.nonsense.is_some());
    let code = ExitCode::from(u8::from(wrong || !all.unknown.is_empty()));
    if options.json {
        let mut value = as_json(&all);
        value["service"] = match &asked {
            Ok(status) => json!({
                "audit": status.audit, "quarantined": status.counts.quarantined,
                "not_quarantined": status.counts.not_quarantined,
            }),
            Err(cause) => json!({ "error": cause.to_string() }),
        };
        say_json(&value);
        return Ok(code);
    }
    let mut text = tables(&all);
    // Writing to a text does not fail.
    let _ = match &asked {
        Ok(status) => writeln!(
            text,
            "the service: {}; {} files were moved to its quarantine since the start",
            match status.audit {
                true => "detections.audit is set, so what it finds is reported and not denied",
                false => "what it finds is denied",
            },
            status.counts.quarantined
        ),
        Err(cause) => writeln!(text, "the service: {}", printable(&cause.to_string())),
    };
    say(&text);
    Ok(code)
}

fn tables(all: &InForce) -> String {
    let mut values = Table::new();
    values.load_preset(UTF8_FULL_CONDENSED);
    values.set_header(["value", "in force", "from", "a change takes effect"]);
    for taken in &all.taken {
        let when = when(taken.parameter).to_owned();
        values.add_row([
            taken.parameter.name.to_owned(),
            taken.text(),
            taken.source(),
            when,
        ]);
    }
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header([
        "an open whose scan ends with",
        "on the host",
        "in a container",
    ]);
    for Case {
        end,
        whose,
        again,
        host,
        container,
    } in cases(&all.parameters.failure_policy())
    {
        let whose = whose.map(|whose| format!(" ({whose})")).unwrap_or_default();
        let again = if again { ", after other tries" } else { "" };
        let shown = |of: Outcome| {
            let word = if of.allowed { "allow" } else { "deny" };
            format!("{word}: {}{again}", of.reason)
        };
        table.add_row([format!("{end}{whose}"), shown(host), shown(container)]);
    }
    let mut text = format!("{values}\n{table}\n");
    text.push_str(
        "an open that emptied its file, or that has a handle already, is allowed in every case\n",
    );
    for taken in all.taken.iter().filter(|taken| taken.nonsense.is_some()) {
        let (name, source) = (taken.parameter.name, taken.source());
        let _ = writeln!(
            text,
            "needs attention: {name}: {source}; siloscan policy set {name}"
        );
    }
    for name in &all.unknown {
        let name = printable(name);
        let _ = writeln!(
            text,
            "needs attention: the driver knows no value \"{name}\""
        );
    }
    text
}
