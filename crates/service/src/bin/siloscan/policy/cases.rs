//! What becomes of an open in each case: asked of the function that the driver itself decides by.

use serde::Serialize;
use siloscan_core::reason::{Counted, Failure, Origin};
use siloscan_core::verdict::{Decision, End, FailurePolicy, Opener, Verdict, decide};

/// One case, and what becomes of the open on each way that it can come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// How the look-up or the scan ended.
    pub end: &'static str,
    /// `ours`, `file`, or nothing where it was no failure.
    pub whose: Option<&'static str>,
    /// Whether it is tried again first, while time is left.
    pub again: bool,
    /// For an open of the host.
    pub host: Outcome,
    /// For one out of a container.
    pub container: Outcome,
}

/// What becomes of one open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether it succeeds.
    pub allowed: bool,
    /// The name of the counter that it moves.
    pub reason: &'static str,
}

/// Every case.
pub fn cases(policy: &FailurePolicy) -> Vec<Case> {
    let found = [
        ("clean", End::Scanned(Verdict::Clean)),
        ("infected", End::Scanned(Verdict::Infected)),
        ("infected, known", End::Cached(Verdict::Infected)),
        ("infected, of older signatures", End::StaleInfected),
        ("infected, in a covered layer", End::CoveredInfected),
        ("no bytes", End::Empty),
        ("the opener was cancelled", End::Cancelled),
    ];
    let found = found.map(|(name, end)| case(name, None, end, policy));
    let failures = Failure::ALL.iter().map(|failure| {
        let whose = match failure.origin() {
            Origin::Ours => "ours",
            Origin::File => "file",
        };
        case(failure.name(), Some(whose), End::Failed(*failure), policy)
    });
    found.into_iter().chain(failures).collect()
}

fn case(name: &'static str, whose: Option<&'static str>, end: End, policy: &FailurePolicy) -> Case {
    let at = |in_silo, can_retry| {
        let opener = Opener {
            in_silo,
            emptied: false,
            handle_exists: false,
            can_retry,
        };
        decide(end, &opener, policy)
    };
    Case {
        end: name,
        whose,
        again: matches!(at(true, true), Decision::Retry(_)),
        host: outcome(at(false, false)),
        container: outcome(at(true, false)),
    }
}

fn outcome(decision: Decision) -> Outcome {
    match decision {
        Decision::Allow(reason) => Outcome {
            allowed: true,
            reason: reason.name(),
        },
        Decision::Deny(reason) => Outcome {
            allowed: false,
            reason: reason.name(),
        },
        // Not without time for another try, which none of these has.
        Decision::Retry(failure) => Outcome {
            allowed: false,
            reason: failure.name(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siloscan_core::verdict::{OnEvasion, OnFailure};

    /// Allowed on the host, and in a container.
    fn of(end: &str, policy: FailurePolicy) -> (bool, bool) {
        let all = cases(&policy);
        let case = all.iter().find(|case| case.end == end).expect(end);
        (case.host.allowed, case.container.allowed)
    }

    #[test]
    fn the_cases_are_those_of_the_failure_table() {
        let table = include_str!("../../../../../core/tests/failure_table.txt");
        let rows = table.lines().filter(|line| !line.starts_with('#'));
        let all = cases(&FailurePolicy::default());
        let mut seen = 0;
        for row in rows {
            let cells: Vec<&str> = row.split_whitespace().collect();
            let [name, whose, again] = cells[..] else {
                continue;
            };
            let case = all.iter().find(|case| case.end == name).expect(name);
            assert_eq!((case.whose, case.again), (Some(whose), again == "again"));
            seen += 1;
        }
        assert_eq!(seen, Failure::ALL.len());
        assert_eq!(all.len(), seen + 7);
    }

    #[test]
    fn each_setting_shows() {
        let usual = FailurePolicy::default();
        assert_eq!(of("no-service", usual), (true, true));
        assert_eq!(of("unscannable", usual), (true, false));
        assert_eq!(of("infected", usual), (false, false));
        assert_eq!(of("clean", usual), (true, true));
        let strict = FailurePolicy {
            on_failure: OnFailure::Deny,
            on_evasion: OnEvasion::Deny,
            audit_only: false,
        };
        assert_eq!(of("no-service", strict), (false, false));
        assert_eq!(of("unscannable", strict), (false, false));
        let audit = FailurePolicy {
            audit_only: true,
            ..strict
        };
        for end in ["no-service", "unscannable", "infected"] {
            assert_eq!(of(end, audit), (true, true), "{end}");
        }
        assert_eq!(of("the opener was cancelled", audit), (false, false));
    }
}
