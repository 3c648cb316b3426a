//! What of the service's records goes into Windows' Event Log, where an administrator looks first,
//! and how it reads there. All of them, whatever they are, go to ETW ([`etw`]).
//!
//! The numbers stay what they are: people filter by them.

#[cfg(windows)]
mod etw;
#[cfg(windows)]
mod lines;
#[cfg(windows)]
mod windows;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use siloscan_quarantine::printable;

use crate::events::Event;

#[cfg(windows)]
pub use etw::Etw;
#[cfg(windows)]
pub use lines::Lines;
#[cfg(windows)]
pub use windows::EventLog;

/// The source's name in the log "Application".
pub const SOURCE: &str = "siloscand";
/// The program could not do its work.
pub const ID_PROGRAM: u16 = 1;
/// A warning of the program that is no record.
pub const ID_WARNING: u16 = 2;
/// An error of the program that is no record.
pub const ID_ERROR: u16 = 3;
/// More came of one number than the log takes.
pub const ID_LEFT_OUT: u16 = 4;
/// The message table in the program has the numbers from 1 to this (`build.rs`).
pub const ID_MAX: u16 = 63;
/// Entries of one number that are written in a minute.
pub const A_MINUTE: u32 = 60;
/// Letters of one text at most: the system takes 31,839 UTF-16 units.
const LETTERS_MAX: usize = 15_000;

/// How bad it is, as the Event Log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody has to do something.
    Error,
    /// Somebody should look.
    Warning,
    /// All is well.
    Information,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: u16,
    /// How bad it is.
    pub severity: Severity,
    /// For people: a sentence, and a line for each fact.
    pub text: String,
    /// For programs: the record as in the file of events; empty if there is none.
    pub json: String,
}

/// Number, severity and sentence of a record; nothing for what the log need not have.
#[must_use]
pub fn row(event: &Event) -> Option<(u16, Severity, &'static str)> {
    use Severity::{Error, Information, Warning};
    Some(match event {
        Event::Connected => (10, Information, "Connected to the driver."),
        Event::Disconnected { .. } => (11, Warning, "Not connected to the driver."),
        Event::BadMessage { .. } => (12, Warning, "A message of the driver made no sense."),
        Event::Detection { .. } => (20, Warning, "A rule matched."),
        Event::Allowed { .. } => (21, Information, "A rule matched in an allowed content."),
        Event::Quarantined { .. } => (22, Warning, "A file was moved to the quarantine."),
        Event::NotQuarantined { .. } => (23, Error, "A file could not be moved to the quarantine."),
        Event::LayerDetection { .. } => {
            (24, Error, "A rule matched in a layer: rebuild the image.")
        }
        Event::Unscannable { .. } => (25, Warning, "A file could not be scanned."),
        Event::Killer { .. } => (26, Error, "A content ended several workers."),
        Event::Rules { .. } => (30, Information, "A rule set is in use."),
        Event::BrokenRules { .. } => (31, Error, "Rules were left out."),
        Event::BrokenVerdicts { .. } => (32, Error, "Verdicts cannot be kept."),
        Event::Exclusions { .. } => (33, Information, "The exclusions were read."),
        Event::BrokenExclusions { .. } => (34, Error, "An exclusion was left out."),
        Event::Configuration { .. } => (35, Information, "The configuration has changed."),
        Event::BrokenConfiguration { .. } => {
            (36, Error, "A changed configuration was not taken up.")
        }
        Event::BrokenLayers { .. } => (37, Error, "Layers may be missing."),
        Event::ProactiveDone { .. } => (38, Information, "A proactive scan has ended."),
        Event::ContainerImage { .. }
        | Event::ExclusionHits { .. }
        | Event::WarmWanted { .. }
        | Event::ProactiveBegun { .. }
        | Event::ProactiveLayer { .. }
        | Event::ProactivePaused { .. }
        | Event::Summary(_)
        | Event::Verdicts(_)
        | Event::DriverCounts { .. }
        | Event::Container { .. } => return None,
    })
}

/// The entry for a record, which `json` is the object of.
#[must_use]
pub fn entry(event: &Event, json: &str) -> Option<Entry> {
    let (id, severity, says) = row(event)?;
    let facts: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let mut text = says.to_owned();
    for (name, value) in &facts {
        if name == "time_ms" || name == "event" || value.is_null() {
            continue;
        }
        let value = match value {
            Value::String(value) => printable(value),
            other => printable(&other.to_string()),
        };
        text += &format!("\r\n{name}: {value}");
    }
    Some(Entry {
        id,
        severity,
        text: cut(&text),
        json: cut(json),
    })
}

/// The beginning of what the log would refuse as a whole.
#[must_use]
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text.to_owned(),
    }
}

/// A text for people in which the viewer finds nothing to put in: it reads `%1`, `%%1` and `%{` in
/// inserted texts, too, and a container's file may be called so
/// (<https://learn.microsoft.com/openspecs/windows_protocols/ms-even>, section 3.2.4.1.5).
#[must_use]
pub fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_code = |next: &char| next.is_ascii_digit() || matches!(next, '%' | '{' | '!');
        if letter == '%' && letters.peek().is_some_and(is_code) {
            out.push_str("\\u{25}");
        } else {
            out.push(letter);
        }
    }
    out
}

/// The same for an object of JSON, which stays one.
#[must_use]
pub fn inert_json(json: &str) -> String {
    json.replace('%', "\\u0025")
}

/// Keeps a flood out of the log, which everybody shares: [`A_MINUTE`] entries of a number.
#[derive(Debug, Default)]
pub struct Brake {
    minute: u64,
    counts: BTreeMap<u16, u32>,
}

impl Brake {
    /// Whether an entry may be written at `now`, a time since any moment; before it what was left
    /// out in the last minute, as numbers and how many of each.
    pub fn admit(&mut self, now: Duration, id: u16) -> (Vec<(u16, u32)>, bool) {
        let minute = now.as_secs() / 60;
        let mut left_out = Vec::new();
        if minute != self.minute {
            self.minute = minute;
            left_out = self.left_out();
        }
        let count = self.counts.entry(id).or_default();
        *count = count.saturating_add(1);
        (left_out, *count <= A_MINUTE)
    }

    /// What was left out and not told yet, likewise: for the end, after which no entry comes.
    pub fn left_out(&mut self) -> Vec<(u16, u32)> {
        let counts = std::mem::take(&mut self.counts).into_iter();
        let too_many = counts.filter(|(_, count)| *count > A_MINUTE);
        too_many.map(|(id, count)| (id, count - A_MINUTE)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_flood_is_left_out_and_told_in_the_next_minute() {
        let mut brake = Brake::default();
        for _ in 0..A_MINUTE {
            assert_eq!(brake.admit(at(61), 20), (vec![], true));
        }
        assert_eq!(brake.admit(at(62), 20), (vec![], false));
        assert_eq!(brake.admit(at(119), 20), (vec![], false));
        assert_eq!(brake.admit(at(119), 21), (vec![], true), "another number");
        assert_eq!(brake.admit(at(120), 21), (vec![(20, 2)], true));
        assert_eq!(brake.admit(at(121), 20), (vec![], true));
        for _ in 0..A_MINUTE + 2 {
            brake.admit(at(122), 20);
        }
        assert_eq!(brake.left_out(), [(20, 3)], "the last ones");
        assert_eq!(brake.left_out(), [], "once");
    }

    #[test]
    fn an_entry_reads_as_a_sentence_and_lines_and_steers_nothing() {
        let event = Event::BrokenRules {
            cause: "a\u{1b}[2J\nb.yar:3".to_owned(),
        };
        let json = r#"{"time_ms":1,"event":"broken_rules","cause":"a\u001b[2J\nb.yar:3"}"#;
        let entry = entry(&event, json).expect("an administrator wants to know");
        assert_eq!((entry.id, entry.severity), (31, Severity::Error));
        assert_eq!(
            entry.text,
            "Rules were left out.\r\ncause: a\\u{1b}[2J\\u{a}b.yar:3"
        );
        assert_eq!(entry.json, json);
    }

    #[test]
    fn the_viewer_finds_nothing_to_put_in() {
        let name = "100 % of a%1%%2%{S-1-5-18}%n.exe";
        assert_eq!(
            inert(name),
            "100 % of a\\u{25}1\\u{25}\\u{25}2\\u{25}{S-1-5-18}%n.exe"
        );
        let json = serde_json::to_string(name).expect("JSON");
        let told = inert_json(&json);
        assert!(!told.contains('%'));
        let back: String = serde_json::from_str(&told).expect("still JSON");
        assert_eq!(back, name);
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let long = "é".repeat(LETTERS_MAX + 1);
        assert_eq!(cut(&long).chars().count(), LETTERS_MAX + 1);
        assert!(cut(&long).ends_with('…'));
        let whole = "é".repeat(LETTERS_MAX);
        assert_eq!(cut(&whole), whole);
    }

    #[test]
    fn every_number_is_told_in_the_docs_and_has_a_message() {
        let docs = include_str!("../../../../docs/service.md");
        let source = include_str!("mod.rs");
        let (_, table) = source.split_once("Some(match event {").expect("the table");
        let (table, _) = table.split_once("=> return None").expect("its end");
        let text: String = table.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut told = 0;
        for part in text.split("=> ").skip(1) {
            let part = part.trim_start_matches("{ ");
            let Some((id, rest)) = part.strip_prefix('(').and_then(|it| it.split_once(", ")) else {
                continue;
            };
            let (severity, _) = rest.split_once(',').expect("a severity");
            let severity = severity.to_lowercase();
            assert!(
                docs.contains(&format!("| {id} | {severity} |")),
                "{id} {severity}"
            );
            assert!(id.parse::<u16>().is_ok_and(|id| id <= ID_MAX), "{id}");
            told += 1;
        }
        assert_eq!(told, 19);
        let build = include_str!("../../build.rs");
        assert!(build.contains(&format!("const LAST: u32 = {ID_MAX};")));
        for id in [ID_PROGRAM, ID_WARNING, ID_ERROR, ID_LEFT_OUT] {
            assert!(docs.contains(&format!("\n| {id} | ")), "{id}");
        }
    }
}
