//! `siloscan doctor`: what of driver, filters, service and configuration is well, what is not, and
//! what to do. A check that cannot be made is a row that says so, never the end.

mod explain;
pub mod filters;
mod service;

use std::fs;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;
use serde_json::json;
use siloscan_configuration::Configuration;
use siloscan_quarantine::printable;
use siloscan_service::metrics::Status;

use crate::ask::Whom;
use crate::place::{self, Config};
use crate::policy::Source;
use crate::tell::{say, say_json};
use explain::{Explanation, explain};

/// What to look at, and how to tell it.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(flatten)]
    pub place: Places,

    /// Prints JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the service, its configuration and the driver's values are.
#[derive(Args)]
pub struct Places {
    #[command(flatten)]
    pub whom: Whom,

    #[command(flatten)]
    pub config: Config,

    #[command(flatten)]
    pub values: Source,
}

#[derive(Subcommand)]
enum Command {
    /// Tells what an error of a container runtime most likely means here. Ends with 0, or 1 if it
    /// is not known
    Explain {
        /// A code, such as 0x20, 0xE1 or 5, or the whole line of the error
        #[arg(required = true, value_name = "CODE|TEXT")]
        text: Vec<String>,
    },
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Somebody should look at it.
    Warning,
    /// It does not work.
    Bad,
    /// It cannot be checked here.
    NotHere,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was found; may have a stranger's words.
    pub found: String,
    /// What to do about it.
    pub next: Option<&'static str>,
}

impl Row {
    fn new(check: &'static str, state: State, found: &str, next: Option<&'static str>) -> Self {
        Self {
            check,
            state,
            found: found.to_owned(),
            next,
        }
    }

    /// It is well.
    pub fn ok(check: &'static str, found: &str) -> Self {
        Self::new(check, State::Ok, found, None)
    }

    /// Somebody should look.
    pub fn warning(check: &'static str, found: &str, next: &'static str) -> Self {
        Self::new(check, State::Warning, found, Some(next))
    }

    /// It does not work.
    pub fn bad(check: &'static str, found: &str, next: &'static str) -> Self {
        Self::new(check, State::Bad, found, Some(next))
    }

    /// It cannot be checked.
    pub fn not_here(check: &'static str, found: &str) -> Self {
        Self::new(check, State::NotHere, found, None)
    }

    fn is_well(&self) -> bool {
        matches!(self.state, State::Ok | State::NotHere)
    }
}

/// All that was found, and what it was found from.
pub struct Findings {
    /// The checks.
    pub rows: Vec<Row>,
    /// What the service said.
    pub status: Result<Status, String>,
    /// What is configured; nothing without a file.
    pub configuration: Option<Result<Configuration, String>>,
}

/// Looks and tells: 0 if all is well, 1 if something needs attention.
pub fn run(options: &Options) -> ExitCode {
    if let Some(Command::Explain { text }) = &options.command {
        return explained(&explain(&text.join(" ")), options.json);
    }
    let Findings { rows, .. } = look(&options.place);
    let well = rows.iter().all(Row::is_well);
    if options.json {
        say_json(&json!({ "well": well, "checks": rows }));
    } else {
        say(&table(&rows));
        if well {
            say("all is well\n");
        }
    }
    ExitCode::from(u8::from(!well))
}

/// Makes every check.
pub fn look(places: &Places) -> Findings {
    let file = places.config.file();
    let configuration = file.as_deref().map(place::read);
    let configured = configuration.as_ref().and_then(|read| read.as_ref().ok());
    let status = places.whom.ask().map_err(|cause| cause.to_string());
    let mut rows = of_system();
    match &status {
        Ok(status) => {
            rows.extend(service::of_status(status));
            rows.push(service::coverage(status, configured));
        }
        Err(cause) => {
            let next = "start it; `listen` in [metrics] says where it answers";
            rows.push(Row::bad("service", cause, next));
        }
    }
    match (&file, &configuration) {
        (Some(file), Some(read)) => rows.extend(service::of_configuration(file, read)),
        _ => rows.push(Row::not_here(
            "configuration",
            "none is named; --config FILE",
        )),
    }
    rows.push(match places.values.read() {
        Ok(all) => service::of_policy(&all),
        Err(cause) => match places.values.values {
            Some(_) => Row::warning("policy", &cause, "name an export with --values"),
            None => Row::not_here("policy", &cause),
        },
    });
    let rules = configured.and_then(|all| all.rules.as_ref());
    let rules = rules.and_then(|rules| fs::metadata(rules).and_then(|it| it.modified()).ok());
    rows.push(service::clock(SystemTime::now(), rules));
    Findings {
        rows,
        status,
        configuration,
    }
}

/// The checks that only Windows has.
#[cfg(windows)]
fn of_system() -> Vec<Row> {
    let told = |cause: &dyn std::fmt::Display| format!("Windows does not tell: {cause}");
    let each = |answers: Vec<Vec<u8>>| {
        let parts = answers.iter().map(|bytes| filters::filters(bytes));
        parts.collect::<Result<Vec<_>, _>>().map(|all| all.concat())
    };
    let listed = match crate::windows::filters().map(each) {
        Ok(Ok(all)) => Ok(all),
        Ok(Err(cause)) => Err(told(&cause)),
        Err(cause) => Err(told(&cause)),
    };
    // Of a filter that is not there nobody asks for instances.
    let on = |all: &[filters::Filter], name: &str| -> Result<Vec<filters::Instance>, String> {
        if filters::named(all, name).is_none() {
            return Ok(Vec::new());
        }
        let answers = crate::windows::instances(name).map_err(|cause| told(&cause))?;
        let parts = answers.iter().map(|bytes| filters::instances(bytes));
        let parts = parts.collect::<Result<Vec<_>, _>>();
        parts.map(|all| all.concat()).map_err(|cause| told(&cause))
    };
    let mut rows = match &listed {
        Ok(all) => filters::rows(all),
        Err(cause) => vec![Row::not_here("filters", cause)],
    };
    let volumes = listed.and_then(|all| Ok((on(&all, filters::OURS)?, on(&all, filters::WCIFS)?)));
    rows.push(match volumes {
        Ok((ours, wcifs)) => filters::coverage(&ours, &wcifs),
        Err(cause) => Row::not_here("volumes", &cause),
    });
    for (check, name) in [
        ("driver service", "siloscan"),
        ("scan service", "siloscand"),
    ] {
        rows.push(match crate::windows::service(name) {
            Err(cause) => Row::not_here(check, &told(&cause)),
            Ok(None) => Row::bad(check, "it is not installed", "docs/windows.md, \"Install\""),
            Ok(Some(service)) => {
                let account = service.account.as_deref().unwrap_or("the kernel");
                let found = format!("{}, as {account}", service.state);
                match service.running {
                    true => Row::ok(check, &found),
                    false => Row::bad(check, &found, "sc start siloscan, then siloscand"),
                }
            }
        });
    }
    rows
}

/// The checks that only Windows has.
#[cfg(not(windows))]
fn of_system() -> Vec<Row> {
    let checks = [
        "driver",
        "other scanners",
        "container filter",
        "bind filter",
        "legacy filters",
        "volumes",
        "driver service",
        "scan service",
    ];
    let rows = checks.map(|check| Row::not_here(check, "this is no Windows"));
    rows.into()
}

/// The checks as a person reads them.
fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    for row in rows {
        let state = match row.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Bad => "bad",
            State::NotHere => "not here",
        };
        let found: Vec<String> = row.found.lines().map(printable).collect();
        let next = row.next.unwrap_or_default().to_owned();
        table.add_row([
            row.check.to_owned(),
            state.to_owned(),
            found.join("\n"),
            next,
        ]);
    }
    format!("{table}\n")
}

fn explained(told: &Explanation, json: bool) -> ExitCode {
    let code = ExitCode::from(u8::from(told.likely.is_none()));
    if json {
        say_json(told);
        return code;
    }
    let mut text = String::new();
    let mut line = |what: &str, said: &str| {
        text.push_str(&format!("{what:<9} {}\n", printable(said)));
    };
    if let Some((name, does)) = told.function.zip(told.does) {
        line("function", &format!("{name} {does}"));
    }
    if let Some(path) = &told.path {
        line("path", path);
    }
    if let Some(code) = told.code {
        let name = told.name.unwrap_or("not known to this command");
        line("code", &format!("0x{code:X} ({code}), {name}"));
    }
    line("likely", told.likely.unwrap_or("nothing is known of it"));
    for next in &told.next {
        line("next", next);
    }
    say(&text);
    code
}
