//! What an open does with each end of a look-up or a scan: the failure policy as one table.
//!
//! "Allow" on anything but a clean verdict is made here and nowhere else.

use crate::exclusion::Excluded;
use crate::reason::{AllowReason, DenyReason, Failure, Origin};

/// What a scan found out. Only these two are kept or shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing was found.
    Clean,
    /// Something was found.
    Infected,
}

/// How the look-up or the scan of one open ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The cache held a verdict of the current signatures.
    Cached(Verdict),
    /// The cache held "clean" of the signatures before, and `on_stale` lets it pass for a time.
    StaleClean,
    /// The cache held "infected" of older signatures.
    StaleInfected,
    /// "Infected" stands for a file of a covered layer.
    CoveredInfected,
    /// The bytes lie in this excluded layer, as an open before was told.
    CachedExcluded(Excluded),
    /// The same, as the service answered instead of scanning.
    Excluded(Excluded),
    /// A scan gave a verdict.
    Scanned(Verdict),
    /// The file has no bytes.
    Empty,
    /// It could not be scanned.
    Failed(Failure),
    /// The opener was cancelled, or its thread ends.
    Cancelled,
}

/// What the administrator chose about failures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FailurePolicy {
    /// `on_failure`: causes of ours.
    pub on_failure: OnFailure,
    /// `on_evasion`: causes of the file or its users.
    pub on_evasion: OnEvasion,
    /// Nothing is denied; what would have been is counted and reported.
    pub audit_only: bool,
}

/// The `on_failure` setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnFailure {
    /// The open goes through, unscanned.
    #[default]
    Allow,
    /// The open is refused.
    Deny,
}

/// The `on_evasion` setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnEvasion {
    /// Refused in a silo, let through elsewhere.
    #[default]
    DenyInSilo,
    /// Let through, unscanned.
    Allow,
    /// Refused.
    Deny,
}

/// What the policy needs to know about the open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opener {
    /// The open came out of a silo.
    pub in_silo: bool,
    /// The open itself created or truncated the file: there is nothing left to protect.
    pub emptied: bool,
    /// A handle already exists (`FO_HANDLE_CREATED`): the open cannot be cancelled any more.
    pub handle_exists: bool,
    /// Time is left for another try. False for an open that may not wait.
    pub can_retry: bool,
}

/// What the open does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It succeeds.
    Allow(AllowReason),
    /// It fails with `STATUS_VIRUS_INFECTED` for "infected" reasons, `STATUS_CANCELLED` for
    /// [`DenyReason::Cancelled`], `STATUS_ACCESS_DENIED` otherwise.
    Deny(DenyReason),
    /// It is scanned anew, within the same deadline.
    Retry(Failure),
}

/// The decision for one open, from how its look-up or scan ended.
#[must_use]
pub fn decide(end: End, opener: &Opener, policy: &FailurePolicy) -> Decision {
    let deny = match end {
        End::Cached(Verdict::Clean) => return Decision::Allow(AllowReason::CachedClean),
        End::Scanned(Verdict::Clean) => return Decision::Allow(AllowReason::ScannedClean),
        End::StaleClean => return Decision::Allow(AllowReason::StaleClean),
        End::Empty => return Decision::Allow(AllowReason::Empty),
        End::CachedExcluded(_) | End::Excluded(_) => {
            return Decision::Allow(AllowReason::ExcludedLayer);
        }
        End::Cached(Verdict::Infected) => DenyReason::CachedInfected,
        End::StaleInfected => DenyReason::StaleInfected,
        End::CoveredInfected => DenyReason::CoveredInfected,
        End::Scanned(Verdict::Infected) => DenyReason::ScannedInfected,
        End::Cancelled => DenyReason::Cancelled,
        End::Failed(failure) => match failed(failure, opener, policy) {
            Decision::Deny(reason) => reason,
            other => return other,
        },
    };
    if opener.emptied {
        Decision::Allow(AllowReason::NothingLeft)
    } else if opener.handle_exists {
        Decision::Allow(AllowReason::HandleExists)
    } else if policy.audit_only && !matches!(deny, DenyReason::Cancelled) {
        Decision::Allow(AllowReason::AuditOnly)
    } else {
        Decision::Deny(deny)
    }
}

/// The failure table proper.
fn failed(failure: Failure, opener: &Opener, policy: &FailurePolicy) -> Decision {
    match failure.origin() {
        Origin::Ours => match policy.on_failure {
            OnFailure::Allow => Decision::Allow(AllowReason::FailureAllowed),
            OnFailure::Deny => Decision::Deny(DenyReason::FailureDenied),
        },
        Origin::File if opener.can_retry && failure.may_pass() => Decision::Retry(failure),
        Origin::File => {
            let deny = match policy.on_evasion {
                OnEvasion::DenyInSilo => opener.in_silo,
                OnEvasion::Allow => false,
                OnEvasion::Deny => true,
            };
            if deny {
                Decision::Deny(DenyReason::EvasionDenied)
            } else {
                Decision::Allow(AllowReason::EvasionAllowed)
            }
        }
    }
}

impl Failure {
    /// Whether another try can end otherwise: the cause may go away by itself.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::ShareUsed | Self::Unreadable | Self::Locked | Self::Changing | Self::Conflict
        )
    }
}
