//! Drives a driver through the host's own scenarios, under many seeds and with each fault in turn,
//! and collects the rules that it broke.

use std::fmt::Write as _;
use std::path::Path;

use super::builtin;
use super::plan::Scenario;
use super::play::{Choices, Played, Start};
use crate::Mode;
use crate::verifier::{self, Frame, Report};

/// How much is tried.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Seeds of each scenario; every second one with special pool.
    pub seeds: u64,
    /// The most allocations, and the most calls of one function, that fail in turn in a scenario.
    pub faults: u64,
    /// Rules that are not judged.
    pub without_rules: Vec<&'static str>,
    /// Build number of the machine, whatever the scenarios say.
    pub build: Option<u32>,
    /// Altitude of the driver's instance.
    pub altitude: Option<String>,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            seeds: 10,
            faults: 200,
            without_rules: Vec::new(),
            build: None,
            altitude: None,
        }
    }
}

/// A rule that was broken, or a crash.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The first report of it.
    pub report: Report,
    /// The page that demands it; none for a crash.
    pub page: Option<String>,
    /// The arguments of `filterhost run` that bring it about again, after the image.
    pub replay: String,
    /// In how many seeded plays it came.
    pub times: u64,
}

impl Finding {
    /// Tells it, with the command that brings it about again.
    #[must_use]
    pub fn tell(&self, image: &Path) -> String {
        let mut out = self.report.to_string();
        if let Some(page) = &self.page {
            let _ = writeln!(out, "  demanded by {page}");
        }
        let (times, image) = (self.times, image.display());
        let _ = writeln!(out, "  seen in {times} seeded plays");
        let _ = writeln!(out, "  again: filterhost run {image} {}", self.replay);
        out
    }
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Verified {
    /// What was found, in the order of finding.
    pub findings: Vec<Finding>,
    /// Plays.
    pub plays: u64,
    /// What the plays without faults came to: how the driver started when it did not.
    pub refused: Option<String>,
    /// Passes that were cut short, because each broken play leaves its threads behind.
    pub cut: Vec<String>,
    /// Scenarios that could not be played to their end, with the reason.
    pub impossible: Vec<String>,
}

/// Broken plays of one scenario and kind after which the rest of its kind is left out.
const BROKEN_MAX: u64 = 12;

/// Verifies a driver image. `tell` hears what is tried next.
///
/// # Errors
/// Why no scenario can be played: the driver cannot be loaded, say.
pub fn verify(
    image: &Path,
    scenarios: &[Scenario],
    effort: &Effort,
    tell: &mut dyn FnMut(&str),
) -> Result<Verified, String> {
    let mut verifying = Verifying {
        image,
        effort,
        found: Verified::default(),
    };
    for scenario in scenarios {
        tell(scenario.name());
        if let Err(said) = verifying.scenario(scenario) {
            let said = format!("{}: {said}", scenario.name());
            verifying.found.impossible.push(said);
        }
    }
    let found = verifying.found;
    match found.impossible.first() {
        Some(first) if found.impossible.len() == scenarios.len() => Err(first.clone()),
        _ => Ok(found),
    }
}

/// The host's own scenarios.
///
/// # Panics
/// Never: a test reads each.
#[must_use]
pub fn own_scenarios() -> Vec<Scenario> {
    let read = |(name, text): &(&str, &str)| Scenario::parse(name, text);
    let all: Result<Vec<_>, _> = builtin::ALL.iter().map(read).collect();
    all.unwrap_or_else(|wrong| panic!("{wrong}"))
}

struct Verifying<'a> {
    image: &'a Path,
    effort: &'a Effort,
    found: Verified,
}

impl Verifying<'_> {
    fn scenario(&mut self, scenario: &Scenario) -> Result<(), String> {
        let mut counts = None;
        let mut broken = 0;
        for seed in 0..self.effort.seeds {
            if broken >= BROKEN_MAX {
                self.cut(scenario, "seeds");
                break;
            }
            let mut choices = self.choices(Mode::Seeded(seed));
            choices.special_pool = seed % 2 == 1;
            let played = self.play(scenario, &choices, "")?;
            broken += u64::from(played.is_none());
            counts = counts.or_else(|| played.map(|played| (seed, played)));
        }
        self.play(scenario, &self.choices(Mode::Free), "")?;
        let Some((seed, played)) = counts else {
            return Ok(());
        };
        let mut count = 0;
        for nth in 1..=played.allocations.min(self.effort.faults) {
            if count >= BROKEN_MAX {
                self.cut(scenario, "failing allocations");
                break;
            }
            let mut choices = self.choices(Mode::Seeded(seed));
            choices.fail_allocation = Some(nth);
            let fault = format!(" --fail-allocation {nth}");
            count += u64::from(self.play(scenario, &choices, &fault)?.is_none());
        }
        self.failing_calls(scenario, seed, &played)
    }

    fn failing_calls(
        &mut self,
        scenario: &Scenario,
        seed: u64,
        played: &Played,
    ) -> Result<(), String> {
        let mut count = 0;
        for (function, calls) in &played.calls {
            for nth in 1..=(*calls).min(self.effort.faults.min(CALLS_MAX)) {
                if count >= BROKEN_MAX {
                    self.cut(scenario, "failing calls");
                    return Ok(());
                }
                let mut choices = self.choices(Mode::Seeded(seed));
                choices.fail_call = Some(((*function).to_owned(), nth));
                let fault = format!(" --fail-call {function}:{nth}");
                count += u64::from(self.play(scenario, &choices, &fault)?.is_none());
            }
        }
        Ok(())
    }

    fn choices(&self, mode: Mode) -> Choices {
        Choices {
            mode: Some(mode),
            without_rules: self.effort.without_rules.clone(),
            build: self.effort.build,
            altitude: self.effort.altitude.clone(),
            lenient: true,
            ..Choices::default()
        }
    }

    fn cut(&mut self, scenario: &Scenario, what: &str) {
        let name = scenario.name();
        let said = format!("{name}: {BROKEN_MAX} plays broke a rule; left out the other {what}");
        self.found.cut.push(said);
    }

    /// Plays once; none where a rule was broken.
    fn play(
        &mut self,
        scenario: &Scenario,
        choices: &Choices,
        fault: &str,
    ) -> Result<Option<Played>, String> {
        self.found.plays += 1;
        let report = match scenario.play(self.image, choices) {
            Ok(played) => {
                match &played.start {
                    Start::Started => {}
                    Start::Impossible(said) => return Err(said.clone()),
                    Start::Refused(said) if fault.is_empty() => {
                        self.found.refused.get_or_insert(said.clone());
                    }
                    Start::Refused(_) => {}
                }
                return Ok(Some(played));
            }
            Err(report) => report,
        };
        let same = |finding: &&mut Finding| {
            let first = &finding.report;
            first.rule() == report.rule() && place(first) == place(&report)
        };
        if let Some(known) = self.found.findings.iter_mut().find(same) {
            // What threads that really run in parallel meet differs from time to time.
            known.times += u64::from(choices.mode != Some(Mode::Free));
            return Ok(None);
        }
        let page = verifier::find(report.rule()).map(|rule| rule.page());
        let pool = if choices.special_pool {
            " --special-pool"
        } else {
            ""
        };
        let seed = match choices.mode {
            Some(Mode::Seeded(seed)) => format!(" --seed {seed}"),
            _ => String::new(),
        };
        let mut replay = format!(
            "--lenient --scenario {}{seed}{pool}{fault}",
            scenario.name()
        );
        if let Some(build) = choices.build {
            let _ = write!(replay, " --build {build}");
        }
        if let Some(altitude) = &choices.altitude {
            let _ = write!(replay, " --altitude {altitude}");
        }
        for rule in &choices.without_rules {
            let _ = write!(replay, " --without {rule}");
        }
        self.found.findings.push(Finding {
            report,
            page,
            replay,
            times: u64::from(choices.mode != Some(Mode::Free)),
        });
        Ok(None)
    }
}

/// Calls of one function that fail in turn: the tenth comes from where the first came from.
const CALLS_MAX: u64 = 6;

/// A function, and a line of a file.
type Place = (Option<String>, Option<(String, u32)>);

/// Where the driver broke a rule: its innermost frame.
fn place(report: &Report) -> Option<Place> {
    let of_driver = |frame: &&Frame| frame.line.is_some();
    let first = report.stack().iter().find(of_driver);
    let first = first.or_else(|| report.stack().first());
    first.map(|frame| (frame.function.clone(), frame.line.clone()))
}
