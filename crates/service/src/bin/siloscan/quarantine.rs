//! What is in the quarantine, and getting it out.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use siloscan_quarantine::{Listed, Quarantine, QuarantineError, printable, printable_json};

/// Works with the quarantine of siloscand.
#[derive(Args)]
pub struct Options {
    /// The folder that siloscand was given with --quarantine
    #[arg(long, value_name = "DIR", global = true, default_value = DEFAULT)]
    folder: PathBuf,

    /// Prints JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[cfg(windows)]
const DEFAULT: &str = r"C:\ProgramData\siloscan\quarantine";
#[cfg(not(windows))]
const DEFAULT: &str = "/var/lib/siloscan/quarantine";

#[derive(Subcommand)]
enum Command {
    /// Shows every item. Ends with 2 if any is damaged
    List,
    /// Writes an item's content to a file, which must not be there. The item stays
    Restore {
        /// The item's id, or its first digits
        id: String,
        /// The file to make
        #[arg(long, value_name = "PATH")]
        to: PathBuf,
    },
    /// Deletes items for good
    Delete {
        /// The items' ids, or their first digits
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Does what was asked: 0, or 2 where anything went wrong.
pub fn run(options: &Options) -> ExitCode {
    let done = Quarantine::open(&options.folder).and_then(|quarantine| match &options.command {
        Command::List => list(&quarantine, options.json),
        Command::Restore { id, to } => restore(&quarantine, id, to, options.json),
        Command::Delete { ids } => delete(&quarantine, ids, options.json),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(cause) => {
            complain(&cause);
            ExitCode::from(2)
        }
    }
}

fn complain(cause: &QuarantineError) {
    eprintln!("siloscan: {}", printable(&cause.to_string()));
}

/// Prints JSON in which nothing can steer a terminal.
fn print_json(value: &Value) {
    say(&printable_json(&format!("{value:#}\n")));
}

fn say(text: &str) {
    // Whoever reads this may have gone; the exit code still tells.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn list(quarantine: &Quarantine, json: bool) -> Result<bool, QuarantineError> {
    let items = quarantine.list()?;
    let whole = items.iter().all(|item| item.metadata.is_ok());
    if json {
        print_json(&Value::Array(items.iter().map(as_json).collect()));
        return Ok(whole);
    }
    for Listed { id, metadata } in &items {
        match metadata {
            Ok(known) => {
                let origin = &known.origin;
                let container = origin.container.as_deref().unwrap_or("-");
                let path = origin.path.as_deref().unwrap_or("-");
                let (rule, path) = (printable(&origin.rule), printable(path));
                let (time, container) = (time(origin.time_ms), printable(container));
                let cut = if origin.path_is_cut { "…" } else { "" };
                say(&format!(
                    "{id}  {time}  {:>10} bytes  {rule}  {container}  {path}{cut}\n",
                    known.size
                ));
            }
            Err(cause) => {
                say(&format!("{id}  {}\n", printable(&cause.to_string())));
            }
        }
    }
    if items.is_empty() {
        say("the quarantine is empty\n");
    }
    Ok(whole)
}

fn as_json(item: &Listed) -> Value {
    let mut value = match &item.metadata {
        Ok(known) => serde_json::to_value(known).unwrap_or_else(|cause| {
            json!({
                "error": cause.to_string()
            })
        }),
        Err(cause) => json!({ "error": cause.to_string() }),
    };
    value["id"] = json!(item.id.to_string());
    value
}

fn restore(
    quarantine: &Quarantine,
    id: &str,
    to: &std::path::Path,
    json: bool,
) -> Result<bool, QuarantineError> {
    let id = quarantine.find(id)?;
    let known = quarantine.restore(id, to)?;
    let place = to.display().to_string();
    if json {
        print_json(&json!({
            "id": id.to_string(), "to": place, "sha256": known.sha256, "size": known.size
        }));
    } else {
        let place = printable(&place);
        say(&format!(
            "{id} is in {place}, and still in the quarantine\n"
        ));
    }
    Ok(true)
}

/// One that cannot be deleted keeps the others from nothing.
fn delete(quarantine: &Quarantine, ids: &[String], json: bool) -> Result<bool, QuarantineError> {
    let mut deleted = Vec::new();
    let mut all = true;
    for id in ids {
        match quarantine
            .find(id)
            .and_then(|id| quarantine.delete(id).map(|()| id))
        {
            Ok(id) => deleted.push(id.to_string()),
            Err(cause) => {
                complain(&cause);
                all = false;
            }
        }
    }
    if json {
        print_json(&json!({ "deleted": deleted }));
    } else {
        for id in deleted {
            say(&format!("{id} is deleted\n"));
        }
    }
    Ok(all)
}

/// A moment as `2026-11-23 01:02:03`, in UTC.
fn time(milliseconds: u64) -> String {
    let moment = UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds));
    let moment = moment.unwrap_or(SystemTime::UNIX_EPOCH);
    let seconds = moment
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}",
        second % 60
    )
}

/// The date of a day since 1970: years begin in March, so that the leap day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days.saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_827_696, "2000-02-29 12:34:56"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_709_251_200, "2024-03-01 00:00:00"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(time(seconds * 1_000 + 999), text);
        }
    }
}
