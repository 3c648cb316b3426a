//! What a run of a container host measured: plain numbers, no rendering.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Opens that took one route for one reason.
#[derive(Debug, Clone, Serialize)]
pub struct RouteRow {
    /// Route: ignore, skip, look up, scan, …
    pub route: String,
    /// The driver's own name of the reason.
    pub reason: String,
    /// Number of opens.
    pub opens: u64,
}

/// How much time the driver added to opens that went one way, as its events tell.
#[derive(Debug, Clone, Serialize)]
pub struct TimeRow {
    /// Route, reason and decision, and the failure if there was one, in the driver's words.
    pub route: String,
    /// Number of opens measured.
    pub opens: usize,
    /// Median, in microseconds.
    pub median_us: f64,
    /// 95th percentile, in microseconds.
    pub p95_us: f64,
    /// Slowest, in microseconds.
    pub max_us: f64,
}

/// An attack that the run made, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Attack {
    /// What was tried, in a few words.
    pub what: String,
    /// Name of the container that tried it.
    pub container: String,
    /// Path as the container sees it.
    pub path: String,
    /// The rule that the engine named; empty if nothing was detected.
    pub rule: String,
    /// Whether the open of the infected bytes was denied.
    pub denied: bool,
}

/// What the start of one container cost: its first minute, from its first open on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StartRow {
    /// The container.
    pub container: String,
    /// Its opens that the cache did not answer with "clean".
    pub waits: u64,
    /// What those waited, in microseconds.
    pub waited_us: u64,
}

/// What one run of a container host did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Whether containers' package files were shared through the scan cache.
    pub optimised: bool,
    /// Number of containers.
    pub containers: usize,
    /// Files in all layers.
    pub layer_files: usize,
    /// Bytes in all layers.
    pub layer_bytes: u64,
    /// Opens by route and reason.
    pub routes: Vec<RouteRow>,
    /// Opens that the containers and host users made, as the users counted them.
    pub opens: u64,
    /// Scans that the engine did.
    pub scans: u64,
    /// Bytes that the engine scanned.
    pub scanned_bytes: u64,
    /// Time of an open by route.
    pub times: Vec<TimeRow>,
    /// What each container's start cost.
    pub starts: Vec<StartRow>,
    /// The attacks.
    pub attacks: Vec<Attack>,
    /// What the verifier found left at unload: kind and number.
    pub left: Vec<(String, u64)>,
    /// Wall-clock seconds of the containers' work.
    pub seconds: f64,
}

impl Figures {
    /// Whether there were attacks, every one was denied for a rule that is known, and nothing was
    /// left behind.
    pub fn passed(&self) -> bool {
        let held = |attack: &Attack| attack.denied && !attack.rule.is_empty();
        !self.attacks.is_empty()
            && self.attacks.iter().all(held)
            && self.left.iter().all(|(_, n)| *n == 0)
    }
}

/// Collects durations by route and turns them into rows.
#[derive(Debug, Default)]
pub struct Timings {
    by_route: BTreeMap<String, Vec<Duration>>,
}

impl Timings {
    /// Adds one open.
    pub fn add(&mut self, route: &str, took: Duration) {
        self.by_route
            .entry(route.to_owned())
            .or_default()
            .push(took);
    }

    /// One row a route, in the order of the routes' names.
    pub fn rows(mut self) -> Vec<TimeRow> {
        self.by_route
            .iter_mut()
            .map(|(route, took)| {
                took.sort_unstable();
                let at = |share: f64| {
                    let index = ((took.len() - 1) as f64 * share).round() as usize;
                    took[index].as_secs_f64() * 1e6
                };
                TimeRow {
                    route: route.clone(),
                    opens: took.len(),
                    median_us: at(0.5),
                    p95_us: at(0.95),
                    max_us: at(1.0),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_the_sorted_durations() {
        let mut timings = Timings::default();
        for us in (1..=100u64).rev() {
            timings.add("hit", Duration::from_micros(us));
        }
        let rows = timings.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].opens, 100);
        assert!((rows[0].median_us - 51.0).abs() < 1.01, "{:?}", rows[0]);
        assert!((rows[0].p95_us - 95.0).abs() < 1.01, "{:?}", rows[0]);
        assert!((rows[0].max_us - 100.0).abs() < 0.01, "{:?}", rows[0]);
    }

    #[test]
    fn a_run_passes_only_when_all_attacks_are_denied_and_nothing_is_left() {
        let attack = |denied| Attack {
            what: "drop".into(),
            container: "c1".into(),
            path: "\\evil".into(),
            rule: "EICAR".into(),
            denied,
        };
        let mut figures = Figures {
            attacks: vec![attack(true)],
            ..Figures::default()
        };
        assert!(figures.passed());
        figures.left.push(("pool blocks".into(), 0));
        assert!(figures.passed());
        figures.left.push(("contexts".into(), 1));
        assert!(!figures.passed());
        let nameless = Attack {
            rule: String::new(),
            ..attack(true)
        };
        for attacks in [vec![attack(false)], vec![nameless], Vec::new()] {
            let figures = Figures {
                attacks,
                ..Figures::default()
            };
            assert!(!figures.passed());
        }
    }
}
