//! One frame of `siloscan top`, from two documents of the service.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use siloscan_atrest::shown;
use siloscan_service::latency::OUTCOMES;
use siloscan_service::metrics::{ContainerStatus, Status};

use crate::figures::{Between, Quantile, percent, rate_text, ratio, size, span, time};

/// Containers that are shown: those that opened most since the last look.
const CONTAINERS_SHOWN: usize = 12;

/// The text, each line with a newline.
pub fn frame(before: &Status, now: &Status) -> String {
    let never = Status::default();
    let between = Between::new(before, now, &never);
    let mut text = head(&between);
    for table in [routes(&between), scans(&between), containers(&between)] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{table}");
    }
    text
}

fn head(between: &Between) -> String {
    let now = between.now;
    let connection = if now.connected {
        "connected"
    } else {
        "NOT CONNECTED"
    };
    let since_start = ratio(now.hits(), now.look_ups());
    let (load, memory) = (&now.load, &now.memory);
    let workers = now.workers.as_ref().map_or_else(String::new, |workers| {
        format!("workers {}/{}   ", workers.alive, workers.wanted)
    });
    let mut text = format!(
        "siloscan {}   up {}   {connection}   hit rate {} ({} since the start)\n",
        shown(&now.service),
        span(now.uptime_ms),
        percent(between.hit_ratio()),
        percent(since_start),
    );
    let _ = writeln!(
        text,
        "threads {}/{} busy   {} wait   {workers}memory {} of {}   crashed {}   hung {}",
        load.scanning,
        load.threads,
        load.waiting,
        size(memory.used_bytes),
        size(memory.limit_bytes),
        now.counts.workers_crashed,
        now.counts.workers_hung,
    );
    text
}

/// A table whose columns, but for the first, hold numbers.
fn fresh(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(head);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn routes(between: &Between) -> Table {
    let mut table = fresh(&["opens", "a second", "all"]);
    for (name, kind) in [
        ("look-up", "look-up"),
        ("scan", "scan"),
        ("skip", "skip"),
        ("ignore", "ignore"),
        ("denied", "deny"),
        ("failed", "failure"),
    ] {
        let count = |status: &Status| status.driver_kind(kind);
        table.add_row([
            name.to_owned(),
            rate_text(between.rate(count)),
            count(between.now).to_string(),
        ]);
    }
    table
}

fn scans(between: &Between) -> Table {
    let mut table = fresh(&["scans", "a second", "all", "half within", "99 % within"]);
    for outcome in OUTCOMES {
        let count = |status: &Status| {
            let mut times = status.times.iter();
            let times = times.find(|times| times.outcome == outcome);
            let buckets = times.map_or(&[][..], |times| &times.buckets);
            buckets
                .iter()
                .fold(0_u64, |sum, more| sum.saturating_add(*more))
        };
        table.add_row([
            outcome.to_owned(),
            rate_text(between.rate(count)),
            count(between.now).to_string(),
            Quantile::text(between.quantile(outcome, 0.5)),
            Quantile::text(between.quantile(outcome, 0.99)),
        ]);
    }
    table
}

fn containers(between: &Between) -> Table {
    let mut table = fresh(&[
        "container",
        "opens a second",
        "opens",
        "denied",
        "failed",
        "waited",
        "start tax",
    ]);
    let opens = |status: &Status, name: &str| {
        let mut all = status.containers.iter();
        let found = all.find(|of| of.container == name);
        found.map_or(0, |of| of.opens)
    };
    let mut busiest: Vec<(&ContainerStatus, u64)> = between
        .now
        .containers
        .iter()
        .map(|of| (of, between.more(|status| opens(status, &of.container))))
        .collect();
    busiest.sort_by_key(|(of, more)| std::cmp::Reverse((*more, of.opens)));
    for (of, _) in busiest.into_iter().take(CONTAINERS_SHOWN) {
        table.add_row([
            shown(&of.container),
            rate_text(between.rate(|status| opens(status, &of.container))),
            of.opens.to_string(),
            of.denied.to_string(),
            of.failed.to_string(),
            time(of.waited_us as f64),
            format!("{:.1} ms", of.start_waited_us as f64 / 1000.0),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use siloscan_service::metrics::OutcomeTimes;

    fn container(name: &str, opens: u64) -> ContainerStatus {
        ContainerStatus {
            container: name.to_owned(),
            opens,
            start_waited_us: opens * 500,
            ..ContainerStatus::default()
        }
    }

    fn status(uptime_ms: u64, look_ups: u64, clean: u64, hits: u64) -> Status {
        let mut status = Status {
            uptime_ms,
            connected: true,
            bounds_us: vec![1_000, 2_000],
            times: vec![OutcomeTimes {
                outcome: "clean".to_owned(),
                buckets: vec![0, clean, 0],
                sum_us: 0,
            }],
            ..Status::default()
        };
        for (name, count) in [("look-up/layer", look_ups), ("allow/cached-clean", hits)] {
            status.driver.counts.insert(name.to_owned(), count);
        }
        status
    }

    /// The words of the line that begins so.
    fn words(frame: &str, first: &str) -> Vec<String> {
        let lines = frame.lines().map(|line| {
            let line = line.trim_matches(|c: char| c == '│' || c.is_whitespace());
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let mut found = lines.filter(|words| words.first().is_some_and(|word| word == first));
        found.next().unwrap_or_default()
    }

    #[test]
    fn rates_are_of_the_time_between_the_two_documents() {
        let before = status(10_000, 100, 10, 90);
        let now = status(14_000, 300, 30, 190);
        let frame = frame(&before, &now);
        assert_eq!(words(&frame, "look-up"), ["look-up", "50.0", "300"]);
        assert_eq!(
            words(&frame, "clean"),
            ["clean", "5.0", "30", "1.5", "ms", "2.0", "ms"]
        );
        assert!(
            frame.contains("hit rate 50.0 % (63.3 % since the start)"),
            "{frame}"
        );
    }

    #[test]
    fn the_busiest_container_is_first_and_no_name_steers_the_terminal() {
        let mut before = status(10_000, 0, 0, 0);
        before.containers = vec![container("old", 1_000)];
        let mut now = status(12_000, 0, 0, 0);
        now.containers = vec![
            container("old", 1_001),
            container("new\u{1b}[2J\u{202e}", 40),
        ];
        let frame = frame(&before, &now);
        assert!(
            !frame
                .chars()
                .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{frame:?}"
        );
        let new = words(&frame, r"new\u{1b}[2J\u{202e}");
        assert_eq!(new[1..3], ["20.0", "40"]);
        assert_eq!(new[new.len() - 2..], ["20.0", "ms"]);
        assert_eq!(words(&frame, "old")[1..3], ["0.5", "1001"]);
        let place = |name: &str| frame.find(name).expect("it is there");
        assert!(place("new") < place("old"), "{frame}");
    }
}
