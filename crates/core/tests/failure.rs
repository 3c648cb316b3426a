//! The failure policy, cell by cell, against `failure_table.txt`.

use siloscan_core::exclusion::Excluded;
use siloscan_core::reason::{AllowReason, Counted, DenyReason, Failure};
use siloscan_core::route::{OpenFacts, PreRoute, pre_route};
use siloscan_core::verdict::{
    Decision, End, FailurePolicy, OnEvasion, OnFailure, Opener, Verdict, decide,
};

const TABLE: &str = include_str!("failure_table.txt");

/// Cause, whether it is ours, whether it is tried again.
fn rows() -> Vec<(&'static str, bool, bool)> {
    TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut cells = line.split_whitespace();
            let mut cell = || cells.next().expect("three cells");
            (cell(), cell() == "ours", cell() == "again")
        })
        .collect()
}

/// Every opener and every policy.
fn situations() -> Vec<(Opener, FailurePolicy)> {
    let mut all = Vec::new();
    for bits in 0..32_u32 {
        let on = |bit: u32| bits >> bit & 1 != 0;
        for on_failure in [OnFailure::Allow, OnFailure::Deny] {
            for on_evasion in [OnEvasion::DenyInSilo, OnEvasion::Allow, OnEvasion::Deny] {
                let opener = Opener {
                    in_silo: on(0),
                    emptied: on(1),
                    handle_exists: on(2),
                    can_retry: on(3),
                };
                all.push((
                    opener,
                    FailurePolicy {
                        on_failure,
                        on_evasion,
                        audit_only: on(4),
                    },
                ));
            }
        }
    }
    all
}

/// What becomes of an open that is to be denied.
fn denied(reason: DenyReason, opener: &Opener, policy: &FailurePolicy) -> Decision {
    if opener.emptied {
        Decision::Allow(AllowReason::NothingLeft)
    } else if opener.handle_exists {
        Decision::Allow(AllowReason::HandleExists)
    } else if policy.audit_only && reason != DenyReason::Cancelled {
        Decision::Allow(AllowReason::AuditOnly)
    } else {
        Decision::Deny(reason)
    }
}

#[test]
fn every_cell_of_the_failure_table() {
    let rows = rows();
    assert_eq!(rows.len(), Failure::ALL.len());
    let mut cells = 0;
    for failure in Failure::ALL {
        let row = rows.iter().find(|(name, ..)| *name == failure.name());
        let (name, ours, again) = row.expect("a row for every cause");
        for (opener, policy) in situations() {
            let expected = match (ours, policy.on_failure, policy.on_evasion) {
                (true, OnFailure::Allow, _) => Decision::Allow(AllowReason::FailureAllowed),
                (true, OnFailure::Deny, _) => denied(DenyReason::FailureDenied, &opener, &policy),
                (false, ..) if *again && opener.can_retry => Decision::Retry(*failure),
                (false, _, OnEvasion::Deny) => denied(DenyReason::EvasionDenied, &opener, &policy),
                (false, _, OnEvasion::DenyInSilo) if opener.in_silo => {
                    denied(DenyReason::EvasionDenied, &opener, &policy)
                }
                (false, ..) => Decision::Allow(AllowReason::EvasionAllowed),
            };
            let got = decide(End::Failed(*failure), &opener, &policy);
            assert_eq!(got, expected, "{name} {opener:?} {policy:?}");
            cells += 1;
        }
    }
    assert_eq!(cells, 19 * 32 * 6);
}

#[test]
fn i1_infected_is_denied_whatever_the_failure_policy() {
    let ends = [
        (End::Cached(Verdict::Infected), DenyReason::CachedInfected),
        (End::StaleInfected, DenyReason::StaleInfected),
        (End::CoveredInfected, DenyReason::CoveredInfected),
        (End::Scanned(Verdict::Infected), DenyReason::ScannedInfected),
        (End::Cancelled, DenyReason::Cancelled),
    ];
    for (end, reason) in ends {
        for (opener, policy) in situations() {
            assert_eq!(
                decide(end, &opener, &policy),
                denied(reason, &opener, &policy)
            );
        }
    }
}

#[test]
fn clean_is_allowed_whatever_the_failure_policy() {
    let place = Excluded::at(3).expect("a place");
    let ends = [
        (End::Cached(Verdict::Clean), AllowReason::CachedClean),
        (End::Scanned(Verdict::Clean), AllowReason::ScannedClean),
        (End::StaleClean, AllowReason::StaleClean),
        (End::Empty, AllowReason::Empty),
        (End::Excluded(place), AllowReason::ExcludedLayer),
        (End::CachedExcluded(place), AllowReason::ExcludedLayer),
    ];
    for (end, reason) in ends {
        for (opener, policy) in situations() {
            assert_eq!(decide(end, &opener, &policy), Decision::Allow(reason));
        }
    }
}

/// Only opens that can have no stream context are left without a post-create.
#[test]
fn pre_create_watches_every_open_that_may_change_a_file() {
    use siloscan_core::reason::IgnoreReason as Why;
    let left = [
        (OpenFacts::STACK_FILE_OBJECT, Why::StackFileObject),
        (OpenFacts::PAGING_FILE, Why::PagingFile),
        (OpenFacts::TARGET_DIRECTORY, Why::TargetDirectory),
        (OpenFacts::DIRECTORY, Why::Directory),
        (OpenFacts::VOLUME, Why::Volume),
    ];
    for (fact, reason) in left {
        assert_eq!(
            pre_route(fact.with(OpenFacts::CONTAINER)),
            PreRoute::Leave(reason)
        );
    }
    let watched = [
        (OpenFacts::PREFETCH, Why::Prefetch),
        (OpenFacts::CSV_DOWN_LEVEL, Why::CsvDownLevel),
        (OpenFacts::SCANNER, Why::Scanner),
        (OpenFacts::NESTED, Why::Nested),
    ];
    for (fact, reason) in watched {
        assert_eq!(
            pre_route(fact.with(OpenFacts::CONTAINER)),
            PreRoute::Watch(reason)
        );
    }
    assert_eq!(pre_route(OpenFacts::NONE), PreRoute::Host);
    assert_eq!(pre_route(OpenFacts::CONTAINER), PreRoute::Container);
}
