//! `siloscan status`: how the scan service is, as a table or as JSON.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;
use siloscan_atrest::shown;
use siloscan_service::metrics::Status;

use crate::ask::Whom;
use crate::figures::{Between, Quantile, percent, size, span};

/// Causes of failures that the table shows; the JSON has them all.
const FAILURES_SHOWN: usize = 8;

/// Whom to ask, and how to tell it.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    whom: Whom,

    /// Prints all facts as one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks and tells.
pub fn run(options: &Options) -> ExitCode {
    let status = match options.whom.ask() {
        Ok(status) => status,
        Err(cause) => {
            eprintln!("siloscan: {cause}");
            return ExitCode::from(2);
        }
    };
    let verdict = Verdict::of(&status);
    let text = if options.json {
        json(&status, &verdict)
    } else {
        table(&status, &verdict)
    };
    // Whoever reads this may have gone; the exit code still tells.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(!verdict.attention.is_empty()))
}

/// What a person should know of the facts, each with the next step.
#[derive(Debug, Default, Serialize)]
struct Verdict {
    /// What is wrong now.
    attention: Vec<String>,
    /// What is good to know.
    hints: Vec<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    status: &'a Status,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

impl Verdict {
    fn of(status: &Status) -> Self {
        let mut verdict = Self::default();
        verdict.wrong(status);
        verdict.good_to_know(status);
        verdict
    }

    fn wrong(&mut self, status: &Status) {
        let attention = &mut self.attention;
        if !status.connected {
            attention.push(
                "there is no connection to the driver, so nothing is scanned; load the driver, \
                 then see the service's log for why it is refused"
                    .to_owned(),
            );
        }
        if let Some(workers) = &status.workers {
            if let Some(trouble) = &workers.trouble {
                attention.push(format!(
                    "a worker process cannot be started: {}; the service tries again",
                    shown(trouble)
                ));
            } else if workers.alive == 0 {
                let text = "no worker process is alive; see the service's log";
                attention.push(text.to_owned());
            }
        }
        let load = &status.load;
        if load.waiting >= load.threads.max(1) {
            attention.push(format!(
                "{} requests wait for {} threads; give the service more with --threads",
                load.waiting, load.threads
            ));
        }
        let memory = &status.memory;
        if memory.used_bytes > memory.limit_bytes / 10 * 9 {
            attention.push(format!(
                "copies of files take {} of {}; give them more with --memory-mib",
                size(memory.used_bytes),
                size(memory.limit_bytes)
            ));
        }
    }

    fn good_to_know(&mut self, status: &Status) {
        let counts = &status.counts;
        let hints = &mut self.hints;
        if status.driver.warm_wanted {
            hints.push(
                "verdicts of older signatures are met; `siloscan warm DIR` scans a layer before \
                 its next container starts"
                    .to_owned(),
            );
        }
        if status.rules.count.is_some_and(|count| count <= 1) {
            hints.push(
                "only the built-in rule is in use; name a folder of rules with --rules".to_owned(),
            );
        }
        if status.audit {
            let text = "nothing is denied, only reported: detections.audit (--audit)";
            hints.push(text.to_owned());
        }
        if counts.not_quarantined > 0 {
            hints.push(format!(
                "{} infected files could not be moved to the quarantine since the start and are \
                 denied where they are; the events \"not_quarantined\" say why",
                counts.not_quarantined
            ));
        }
        if counts.bad_messages > 0 {
            hints.push(format!(
                "{} messages of the driver made no sense since the start; install driver and \
                 service of one release",
                counts.bad_messages
            ));
        }
        if counts.refused > 0 {
            hints.push(format!(
                "{} requests found no thread or no worker in time since the start; --threads \
                 gives more of both",
                counts.refused
            ));
        }
        if counts.workers_crashed + counts.workers_hung > 0 {
            hints.push(format!(
                "{} workers crashed and {} hung since the start; the events \"unscannable\" and \
                 \"killer\" name their files",
                counts.workers_crashed, counts.workers_hung
            ));
        }
    }
}

fn json(status: &Status, verdict: &Verdict) -> String {
    match serde_json::to_string_pretty(&Document { status, verdict }) {
        Ok(text) => text + "\n",
        Err(cause) => format!("{{\"error\": \"{cause}\"}}\n"),
    }
}

/// Writes what the service is and did, then what to do about it.
fn table(status: &Status, verdict: &Verdict) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    for (what, value) in service_rows(status).into_iter().chain(work_rows(status)) {
        table.add_row([what, shown(&value)]);
    }
    // Writing to a string does not fail.
    let mut text = format!("{table}\n");
    for line in &verdict.attention {
        let _ = writeln!(text, "needs attention: {line}");
    }
    for line in &verdict.hints {
        let _ = writeln!(text, "good to know: {line}");
    }
    if verdict.attention.is_empty() {
        text.push_str("all is well\n");
    }
    text
}

fn service_rows(status: &Status) -> Vec<(String, String)> {
    let connection = if status.connected {
        "connected"
    } else {
        "not connected"
    };
    let rules = match status.rules.count {
        Some(count) => format!("{count} of digest {}", status.rules.digest),
        None => format!("digest {}", status.rules.digest),
    };
    let epoch = status.driver.epoch;
    let epoch = epoch.map_or_else(|| "not told yet".to_owned(), |epoch| epoch.to_string());
    let workers = status.workers.as_ref().map_or_else(
        || "none: the engine runs in the service".to_owned(),
        |workers| {
            let counts = &status.counts;
            format!(
                "{} of {} alive, {} idle; {} crashed, {} hung, {} contents refused",
                workers.alive,
                workers.wanted,
                workers.idle,
                counts.workers_crashed,
                counts.workers_hung,
                counts.killers_refused
            )
        },
    );
    let (load, memory) = (&status.load, &status.memory);
    let rows = [
        (
            "service",
            format!("{}, up {}", status.service, span(status.uptime_ms)),
        ),
        (
            "driver",
            format!(
                "{connection}; {} connections since the start",
                status.counts.connections
            ),
        ),
        ("rules", rules),
        ("signature epoch", epoch),
        (
            "threads",
            format!(
                "{} of {} busy, {} requests wait",
                load.scanning, load.threads, load.waiting
            ),
        ),
        ("workers", workers),
        (
            "memory",
            format!(
                "{} of {} for copies of files",
                size(memory.used_bytes),
                size(memory.limit_bytes)
            ),
        ),
    ];
    rows.map(|(what, value)| (what.to_owned(), value)).into()
}

fn work_rows(status: &Status) -> Vec<(String, String)> {
    let never = Status::default();
    let since_start = Between::new(&never, status, &never);
    let mut rows = Vec::new();
    let mut row = |what: &str, value: String| rows.push((what.to_owned(), value));
    let routes = ["look-up", "scan", "skip", "ignore"];
    let routes = routes.map(|route| format!("{} {route}", status.driver_kind(route)));
    row("opens by route", routes.join(", "));
    row(
        "hit rate",
        format!("{} of the look-ups", percent(since_start.hit_ratio())),
    );
    row("denied", status.driver_kind("deny").to_string());
    let counts = &status.counts;
    row(
        "scans",
        format!(
            "{} clean, {} infected, {} unscannable, {} stopped, {} refused, {} excluded; {}",
            counts.clean,
            counts.infected,
            counts.unscannable,
            counts.stopped,
            counts.refused,
            counts.excluded,
            size(counts.bytes)
        ),
    );
    let within = |share| Quantile::text(since_start.quantile("clean", share));
    row(
        "clean scans took",
        format!(
            "half within {}, 99 of 100 within {}",
            within(0.5),
            within(0.99)
        ),
    );
    row("failures by cause", failures(status));
    row("containers", status.containers.len().to_string());
    let hits = status.exclusions.iter().map(|of| of.hits);
    row(
        "exclusions",
        format!(
            "{}, which let {} opens through",
            status.exclusions.len(),
            hits.fold(0, u64::saturating_add)
        ),
    );
    rows
}

/// The most frequent first.
fn failures(status: &Status) -> String {
    let counts = status.driver.counts.iter();
    let of_kind = counts.filter_map(|(name, count)| Some((name.strip_prefix("failure/")?, *count)));
    let mut failures: Vec<(&str, u64)> = of_kind.collect();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if failures.is_empty() {
        return "none".to_owned();
    }
    let shown = failures.iter().take(FAILURES_SHOWN);
    let shown: Vec<String> = shown
        .map(|(cause, count)| format!("{count} {cause}"))
        .collect();
    let more = failures.len().saturating_sub(FAILURES_SHOWN);
    match more {
        0 => shown.join(", "),
        more => format!("{}, and {more} causes more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siloscan_service::metrics::{LoadStatus, MemoryStatus, WorkersStatus};

    fn well() -> Status {
        Status {
            connected: true,
            load: LoadStatus {
                threads: 2,
                ..LoadStatus::default()
            },
            memory: MemoryStatus {
                limit_bytes: 1 << 30,
                used_bytes: 0,
            },
            workers: Some(WorkersStatus {
                wanted: 3,
                alive: 3,
                idle: 3,
                kept_bytes: 0,
                trouble: None,
            }),
            ..Status::default()
        }
    }

    fn attention(change: impl FnOnce(&mut Status)) -> Vec<String> {
        let mut status = well();
        change(&mut status);
        Verdict::of(&status).attention
    }

    #[test]
    fn what_is_wrong_is_told_with_the_next_step() {
        assert_eq!(attention(|_| {}), Vec::<String>::new());
        for (told, word) in [
            (attention(|s| s.connected = false), "load the driver"),
            (attention(|s| s.load.waiting = 2), "--threads"),
            (attention(|s| s.memory.used_bytes = 1 << 30), "--memory-mib"),
            (
                attention(|s| s.workers = Some(WorkersStatus::default())),
                "no worker",
            ),
            (
                attention(|s| {
                    if let Some(workers) = &mut s.workers {
                        workers.trouble = Some("no such \u{1b}[2Jprogram".to_owned());
                    }
                }),
                r"no such \u{1b}[2Jprogram",
            ),
        ] {
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(word), "{word} is not in {told:?}");
        }
    }

    #[test]
    fn an_audit_and_a_quarantine_that_fails_are_told() {
        let mut status = well();
        status.audit = true;
        status.counts.not_quarantined = 3;
        let hints = Verdict::of(&status).hints.join("\n");
        assert!(hints.contains("--audit"), "{hints}");
        assert!(hints.contains("3 infected files"), "{hints}");
    }

    #[test]
    fn the_table_has_the_facts_and_no_control_characters() {
        let mut status = well();
        status.rules.digest = "ab\u{1b}]0;x\u{7}".to_owned();
        status.uptime_ms = 3_600_000;
        for (name, count) in [
            ("look-up/layer", 8),
            ("allow/cached-clean", 6),
            ("failure/breaker", 3),
            ("failure/locked", 5),
            ("deny/scanned-infected", 2),
        ] {
            status.driver.counts.insert(name.to_owned(), count);
        }
        let text = table(&status, &Verdict::of(&status));
        for part in [
            "75.0 % of the look-ups",
            "5 locked, 3 breaker",
            "8 look-up, 0 scan, 0 skip, 0 ignore",
            "up 1 h 0 min",
            "3 of 3 alive",
            "all is well",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
}
