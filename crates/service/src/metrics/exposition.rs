//! The facts as Prometheus reads them: its text format, version 0.0.4.
//!
//! Written here and not by a library: the facts are one document already, and the maintained
//! library writes OpenMetrics, whose counters `promtool check metrics` takes for badly named ones.

use std::fmt::{Display, Write};

use siloscan_core::reason::ENTRIES;

use super::status::{ContainerStatus, Status};

/// Kinds of the driver's counters that are ways of an open; each open has one.
const ROUTES: [&str; 4] = ["ignore", "skip", "look-up", "scan"];

/// The text of all metrics.
#[must_use]
pub fn exposition(status: &Status) -> String {
    let mut text = Text(String::new());
    service(&mut text, status);
    rules(&mut text, status);
    requests(&mut text, status);
    detections(&mut text, status);
    durations(&mut text, status);
    resources(&mut text, status);
    workers(&mut text, status);
    driver(&mut text, status);
    containers(&mut text, status);
    exclusions(&mut text, status);
    text.0
}

struct Text(String);

impl Text {
    /// Begins a metric. A unit is the last word of its name, before `_total`.
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        let stem = name.strip_suffix("_total").unwrap_or(name);
        if let Some(unit) = ["seconds", "bytes"]
            .iter()
            .find(|unit| stem.ends_with(*unit))
        {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", Escaped(text));
        }
        let _ = writeln!(
            self.0,
            "{} {value}",
            if labels.is_empty() { "" } else { "}" }
        );
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.begin(name, kind, help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "counter", help, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "gauge", help, value);
    }
}

/// A label's value.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            letter => f.write_char(letter),
        })
    }
}

/// Microseconds as seconds, without a rounding.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

fn service(text: &mut Text, status: &Status) {
    text.begin("siloscan_build_info", "gauge", "The service's version.");
    text.sample("siloscan_build_info", &[("version", &status.service)], 1);
    text.one(
        "siloscan_uptime_seconds",
        "gauge",
        "How long the service has run.",
        Seconds(status.uptime_ms.saturating_mul(1000)),
    );
    text.gauge(
        "siloscan_connected",
        "1 while there is a connection to the driver.",
        u64::from(status.connected),
    );
    text.gauge(
        "siloscan_audit",
        "1 while detections are reported and not denied.",
        u64::from(status.audit),
    );
    let counts = &status.counts;
    for (name, help, value) in [
        (
            "siloscan_connections_total",
            "Connections that the driver accepted.",
            counts.connections,
        ),
        (
            "siloscan_messages_total",
            "Messages of the driver, of every kind.",
            counts.messages,
        ),
        (
            "siloscan_bad_messages_total",
            "Messages that made no sense.",
            counts.bad_messages,
        ),
        (
            "siloscan_late_replies_total",
            "Replies that the driver no longer waited for.",
            counts.late_replies,
        ),
        (
            "siloscan_port_failures_total",
            "Calls of the port that failed otherwise.",
            counts.port_failures,
        ),
        (
            "siloscan_polls_total",
            "Heartbeats of the driver that were answered.",
            counts.polls,
        ),
    ] {
        text.counter(name, help, value);
    }
}

fn rules(text: &mut Text, status: &Status) {
    text.begin(
        "siloscan_rule_set_info",
        "gauge",
        "The rule set in use, by its digest.",
    );
    let digest = [("digest", status.rules.digest.as_str())];
    text.sample("siloscan_rule_set_info", &digest, 1);
    if let Some(count) = status.rules.count {
        text.gauge("siloscan_rules", "Rules of the set in use.", count);
    }
    text.counter(
        "siloscan_rule_sets_total",
        "Rule sets that took the place of another.",
        status.counts.rule_sets,
    );
    if let Some(epoch) = status.driver.epoch {
        text.gauge(
            "siloscan_driver_epoch",
            "The driver's signature epoch.",
            epoch,
        );
    }
    text.gauge(
        "siloscan_warm_wanted",
        "1 when an open met a verdict of signatures before those in use.",
        u64::from(status.driver.warm_wanted),
    );
}

fn requests(text: &mut Text, status: &Status) {
    let counts = &status.counts;
    text.counter(
        "siloscan_scan_requests_total",
        "Requests to scan.",
        counts.scan_requests,
    );
    let name = "siloscan_scans_total";
    text.begin(
        name,
        "counter",
        "Requests that were answered, by their end.",
    );
    for (outcome, count) in [
        ("clean", counts.clean),
        ("infected", counts.infected),
        ("unscannable", counts.unscannable),
        ("stopped", counts.stopped),
        ("refused", counts.refused),
        ("excluded", counts.excluded),
    ] {
        text.sample(name, &[("outcome", outcome)], count);
    }
    text.counter(
        "siloscan_scanned_bytes_total",
        "Bytes that the engine looked at.",
        counts.bytes,
    );
    text.counter(
        "siloscan_stop_requests_total",
        "Requests of the driver to stop a scan.",
        counts.stop_requests,
    );
}

/// What became of detections.
fn detections(text: &mut Text, status: &Status) {
    let counts = &status.counts;
    let name = "siloscan_detections_total";
    text.begin(name, "counter", "What became of detections.");
    for (end, count) in [
        ("allowed", counts.allowed),
        ("audited", counts.audited),
        ("quarantined", counts.quarantined),
        ("not-quarantined", counts.not_quarantined),
        ("not-followed-up", counts.remedies_dropped),
        ("told-of-a-layer", counts.layer_detections),
    ] {
        text.sample(name, &[("end", end)], count);
    }
}

fn durations(text: &mut Text, status: &Status) {
    let name = "siloscan_scan_duration_seconds";
    text.begin(
        name,
        "histogram",
        "Time from a request to its reply, by how it ended.",
    );
    let bucket = format!("{name}_bucket");
    for times in &status.times {
        let outcome = ("outcome", times.outcome.as_str());
        let mut below = 0_u64;
        for (bound, count) in status.bounds_us.iter().zip(&times.buckets) {
            below = below.saturating_add(*count);
            let bound = Seconds(*bound).to_string();
            let bound = bound.trim_end_matches('0').trim_end_matches('.');
            text.sample(&bucket, &[outcome, ("le", bound)], below);
        }
        let beyond = times.buckets.get(status.bounds_us.len());
        let all = below.saturating_add(beyond.copied().unwrap_or_default());
        text.sample(&bucket, &[outcome, ("le", "+Inf")], all);
        text.sample(&format!("{name}_sum"), &[outcome], Seconds(times.sum_us));
        text.sample(&format!("{name}_count"), &[outcome], all);
    }
}

fn resources(text: &mut Text, status: &Status) {
    for (name, help, value) in [
        (
            "siloscan_threads",
            "Threads that scan at most.",
            status.load.threads,
        ),
        (
            "siloscan_threads_busy",
            "Threads that scan now.",
            status.load.scanning,
        ),
        (
            "siloscan_waiting_requests",
            "Requests that wait for a thread.",
            status.load.waiting,
        ),
        (
            "siloscan_copies_limit_bytes",
            "Memory for copies of files, at most.",
            status.memory.limit_bytes,
        ),
        (
            "siloscan_copies_bytes",
            "Memory that copies of files take now.",
            status.memory.used_bytes,
        ),
    ] {
        text.gauge(name, help, value);
    }
}

fn workers(text: &mut Text, status: &Status) {
    if let Some(workers) = &status.workers {
        for (name, help, value) in [
            (
                "siloscan_workers_wanted",
                "Worker processes that there should be.",
                workers.wanted,
            ),
            (
                "siloscan_workers_alive",
                "Worker processes that are idle, scanning or starting.",
                workers.alive,
            ),
            (
                "siloscan_workers_idle",
                "Worker processes that have nothing to do.",
                workers.idle,
            ),
            (
                "siloscan_workers_kept_bytes",
                "Memory that stays with workers for the copies of the next files.",
                workers.kept_bytes,
            ),
        ] {
            text.gauge(name, help, value);
        }
    }
    let counts = &status.counts;
    text.counter(
        "siloscan_workers_crashed_total",
        "Workers that ended by themselves, or talked nonsense and were ended.",
        counts.workers_crashed,
    );
    text.counter(
        "siloscan_workers_hung_total",
        "Workers that were ended because a scan took too long.",
        counts.workers_hung,
    );
    text.counter(
        "siloscan_killers_refused_total",
        "Requests that were refused because their content had ended workers.",
        counts.killers_refused,
    );
}

/// Every counter of the driver, those that are zero, too: a rate needs the zero before the one.
fn driver(text: &mut Text, status: &Status) {
    let reasons = |text: &mut Text, name: &str, kinds: &[&str], label: Option<&str>| {
        let of_kind = ENTRIES.iter().filter(|entry| kinds.contains(&entry.kind));
        for entry in of_kind {
            let count = status.driver_count(&format!("{}/{}", entry.kind, entry.name));
            match label {
                Some(label) => {
                    let labels = [(label, entry.kind), ("reason", entry.name)];
                    text.sample(name, &labels, count);
                }
                None => text.sample(name, &[("reason", entry.name)], count),
            }
        }
    };
    let name = "siloscan_driver_opens_total";
    text.begin(
        name,
        "counter",
        "Opens by the way that the driver chose for them: look-up asks the cache, scan asks for a \
         scan at once.",
    );
    reasons(text, name, &ROUTES, Some("route"));
    let name = "siloscan_driver_decisions_total";
    text.begin(
        name,
        "counter",
        "How opens were decided that the driver looked at.",
    );
    reasons(text, name, &["allow", "deny"], Some("decision"));
    let name = "siloscan_driver_failures_total";
    text.begin(
        name,
        "counter",
        "Why the driver could not have something scanned.",
    );
    reasons(text, name, &["failure"], None);
    let name = "siloscan_driver_events_total";
    text.begin(name, "counter", "What else the driver counts.");
    reasons(text, name, &["event"], None);
    text.counter(
        "siloscan_driver_cache_hits_total",
        "Opens that the driver's cache answered.",
        status.hits(),
    );
    text.counter(
        "siloscan_driver_cache_look_ups_total",
        "Opens that asked the driver's cache for any answer.",
        status.look_ups(),
    );
}

fn containers(text: &mut Text, status: &Status) {
    type Value = fn(&ContainerStatus) -> String;
    let families: [(&str, &str, Value); 7] = [
        (
            "siloscan_container_opens_total",
            "Opens of a container that the cache did not answer.",
            |of| of.opens.to_string(),
        ),
        (
            "siloscan_container_denied_total",
            "Opens of a container that were refused.",
            |of| of.denied.to_string(),
        ),
        (
            "siloscan_container_failed_total",
            "Opens of a container whose file could not be scanned.",
            |of| of.failed.to_string(),
        ),
        (
            "siloscan_container_foreign_total",
            "Opens out of silos in a container that the host compute service did not make.",
            |of| of.foreign.to_string(),
        ),
        (
            "siloscan_container_waited_seconds_total",
            "What a container's opens waited for verdicts.",
            |of| Seconds(of.waited_us).to_string(),
        ),
        (
            "siloscan_container_start_opens_total",
            "Opens in a container's first minute.",
            |of| of.start_opens.to_string(),
        ),
        (
            "siloscan_container_start_tax_seconds_total",
            "What opens waited in a container's first minute.",
            |of| Seconds(of.start_waited_us).to_string(),
        ),
    ];
    for (name, help, value) in families {
        text.begin(name, "counter", help);
        for container in &status.containers {
            let label = [("container", container.container.as_str())];
            text.sample(name, &label, value(container));
        }
    }
}

fn exclusions(text: &mut Text, status: &Status) {
    let name = "siloscan_exclusion_hits_total";
    text.begin(name, "counter", "Opens that an exclusion let through.");
    for exclusion in &status.exclusions {
        let labels = [
            ("kind", exclusion.kind.as_str()),
            ("name", exclusion.name.as_str()),
        ];
        text.sample(name, &labels, exclusion.hits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ExclusionStatus, OutcomeTimes};

    #[test]
    fn names_of_strangers_stay_within_their_quotes() {
        let status = Status {
            exclusions: vec![ExclusionStatus {
                kind: "layer".to_owned(),
                name: "C:\\a\" 1\nevil_total 7".to_owned(),
                hits: 3,
            }],
            ..Status::default()
        };
        let text = exposition(&status);
        let wanted = r#"{kind="layer",name="C:\\a\" 1\nevil_total 7"} 3"#;
        assert!(text.contains(wanted), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("evil")));
    }

    #[test]
    fn buckets_are_cumulative_and_in_seconds() {
        let status = Status {
            bounds_us: vec![250, 2_500_000],
            times: vec![OutcomeTimes {
                outcome: "clean".to_owned(),
                buckets: vec![2, 3, 4],
                sum_us: 40_000_001,
            }],
            ..Status::default()
        };
        let text = exposition(&status);
        for line in [
            r#"_bucket{outcome="clean",le="0.00025"} 2"#,
            r#"_bucket{outcome="clean",le="2.5"} 5"#,
            r#"_bucket{outcome="clean",le="+Inf"} 9"#,
            r#"_sum{outcome="clean"} 40.000001"#,
            r#"_count{outcome="clean"} 9"#,
        ] {
            let line = format!("siloscan_scan_duration_seconds{line}\n");
            assert!(text.contains(&line), "{line} is not in {text}");
        }
    }
}
