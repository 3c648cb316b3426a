//! One event as a line, for a person or as JSON.

use crossterm::style::Stylize;
use serde_json::{Map, Value as Json, json};
use siloscan_core::trace::TraceId;
use siloscan_quarantine::{printable, printable_json};

use super::{Told, Value, reasons};
use crate::job::guid_text;

/// Columns of what was decided and why: most of them fit.
const WHY_COLUMNS: usize = 40;
/// Digits of a container's id that are shown.
const SHORT_ID: usize = 8;
const DAY_MS: u64 = 86_400_000;

/// For a person, with its line end. What strangers named cannot steer the terminal.
pub(super) fn plain(told: &Told, colours: bool, explain: bool) -> String {
    let text = match told.id {
        TraceId::Open => open(told, colours),
        _ => other(told, colours),
    };
    let mut text = format!("{}  {text}\n", clock(told.time_ms));
    if explain {
        for sentence in explained(told) {
            text.push_str(&format!("{:14}{sentence}\n", ""));
        }
    }
    text
}

fn open(told: &Told, colours: bool) -> String {
    let mut container = told.container().unwrap_or_else(|| "-".to_owned());
    container.truncate(SHORT_ID);
    let process = told.number("ProcessId").unwrap_or(0);
    let (route, reason) = (told.text("Route"), told.text("Reason"));
    let (decision, failure) = (told.text("Decision"), told.text("Failure"));
    let mut why = format!("{route}/{reason}");
    if !decision.is_empty() {
        why = format!("{why} → {decision}");
    }
    if !failure.is_empty() {
        why = format!("{why} ({failure})");
    }
    let why = format!("{:<WHY_COLUMNS$}", printable(&why));
    let why = match colours {
        false => why,
        true if told.is_finding() => why.red().to_string(),
        true if !failure.is_empty() => why.yellow().to_string(),
        true if route == "ignore" => why.dark_grey().to_string(),
        true => why.green().to_string(),
    };
    let waited = told.waited().unwrap_or_default().as_micros();
    let waited = match waited {
        0..10_000 => format!("{waited} µs"),
        _ => format!("{} ms", waited / 1_000),
    };
    let path = match told.path() {
        "" => "-".to_owned(),
        path => printable(path),
    };
    format!("{container:<SHORT_ID$}  {process:>6}  {why}  {waited:>8}  {path}")
}

fn other(told: &Told, colours: bool) -> String {
    let mut text = match colours {
        true if told.is_finding() => told.name.red().to_string(),
        true => told.name.cyan().to_string(),
        false => told.name.to_owned(),
    };
    for (name, value) in &told.fields {
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::Guid(id) => guid_text(id).unwrap_or_else(|| "-".to_owned()),
            Value::Text(text) => format!("\"{}\"", printable(text)),
        };
        text.push_str(&format!("  {name} {value}"));
    }
    text
}

/// As JSON: the event's fields under their names in lower case, words parted by `_`.
pub(super) fn json(told: &Told, explain: bool) -> String {
    let mut object = Map::new();
    object.insert("time_ms".to_owned(), told.time_ms.into());
    object.insert("event".to_owned(), told.name.into());
    for (name, value) in &told.fields {
        let value = match value {
            Value::Number(number) => Json::from(*number),
            Value::Guid(id) => json!(guid_text(id)),
            Value::Text(text) => Json::from(text.as_str()),
        };
        object.insert(key(name), value);
    }
    if explain {
        object.insert("explain".to_owned(), json!(explained(told)));
    }
    printable_json(&Json::Object(object).to_string()) + "\n"
}

/// `ProcessId` as `process_id`.
fn key(name: &str) -> String {
    let mut key = String::new();
    let mut inside = false;
    for letter in name.chars() {
        let begins = letter.is_ascii_uppercase() || letter.is_ascii_digit();
        if begins && inside {
            key.push('_');
        }
        inside = !begins;
        key.push(letter.to_ascii_lowercase());
    }
    key
}

fn explained(told: &Told) -> Vec<&'static str> {
    let route = (told.text("Route"), told.text("Reason"));
    reasons::sentences(route, told.text("Decision"), told.text("Failure"))
}

/// Hours, minutes, seconds and milliseconds of a day in UTC.
fn clock(time_ms: u64) -> String {
    let ms = time_ms % DAY_MS;
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}.{:03}",
        ms / 1_000 % 60,
        ms % 1_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infected() -> Told {
        let text = |text: &str| Value::Text(text.to_owned());
        Told {
            id: TraceId::Open,
            name: "Open",
            time_ms: 45_296_789 + 5 * DAY_MS,
            fields: vec![
                ("File", text("\\Device\\x\\evil\u{1b}[2J.com")),
                ("Route", text("look-up")),
                ("Reason", text("layer")),
                ("Decision", text("failure-denied")),
                ("Failure", text("no-service")),
                ("Duration100ns", Value::Number(12_345_000)),
                ("Container", Value::Guid([1; 16])),
                ("ProcessId", Value::Number(1234)),
            ],
        }
    }

    #[test]
    fn a_line_has_everything_and_steers_no_terminal() {
        let line = plain(&infected(), false, false);
        assert_eq!(
            line,
            "12:34:56.789  01010101    1234  look-up/layer → failure-denied (no-service)   \
             1234 ms  \\Device\\x\\evil\\u{1b}[2J.com\n"
        );
        let coloured = plain(&infected(), true, false);
        assert!(coloured.contains("\u{1b}[38;5;9m"), "{coloured:?}");
        assert!(!coloured.contains("\u{1b}[2J"), "{coloured:?}");
        let explained = plain(&infected(), false, true);
        let sentences: Vec<&str> = explained.lines().skip(1).map(str::trim).collect();
        assert_eq!(sentences.len(), 3, "{explained}");
        assert!(sentences[1].contains("on_failure says deny"), "{explained}");
    }

    #[test]
    fn json_has_the_fields_of_the_table() {
        let line = json(&infected(), true);
        assert!(line.ends_with("}\n") && !line.trim_end().contains('\n'));
        assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
        let read: Json = serde_json::from_str(&line).unwrap();
        assert_eq!(read["event"], "Open");
        assert_eq!(read["file"], "\\Device\\x\\evil\u{1b}[2J.com");
        assert_eq!(read["duration_100ns"], 12_345_000);
        assert_eq!(read["process_id"], 1234);
        assert_eq!(read["container"], "01010101-0101-0101-0101-010101010101");
        assert_eq!(read["explain"].as_array().unwrap().len(), 3);
    }
}
