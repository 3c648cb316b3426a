//! What is answered where a rule matched: "infected", unless the content is allowed by its digest,
//! or the service only audits.
//!
//! The driver keeps verdicts under the digest that it was told. So that digest names the rules and
//! all of this: a change of either begins a new epoch there, and what was allowed is scanned again
//! once it is not.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::engine::Digest;

/// What became of a detection when the driver was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Answered "infected": the driver denies it.
    Denied,
    /// Answered "clean": the service only audits.
    Audit,
    /// Answered "clean": the operator allows this content.
    Allowed,
}

/// What decides about detections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Whether detections are reported and not denied.
    pub(crate) audit: bool,
    /// SHA-256 of contents that are not denied.
    pub(crate) allowed: BTreeSet<[u8; 32]>,
}

impl Policy {
    /// Names these rules under this policy: the digest that the driver is told. Without a policy
    /// it is the rules' own.
    pub(crate) fn digest(&self, rules: Digest) -> Digest {
        if !self.audit && self.allowed.is_empty() {
            return rules;
        }
        let mut hash = Sha256::new();
        hash.update(b"siloscan rules under a policy");
        hash.update(rules.0);
        hash.update([u8::from(self.audit)]);
        for digest in &self.allowed {
            hash.update(digest);
        }
        Digest(hash.finalize().into())
    }

    /// What becomes of a content in which a rule matched; with its digest where it is allowed.
    pub(crate) fn judge(&self, content: &[u8]) -> (Action, Option<Digest>) {
        if !self.allowed.is_empty() {
            let digest: [u8; 32] = Sha256::digest(content).into();
            if self.allowed.contains(&digest) {
                return (Action::Allowed, Some(Digest(digest)));
            }
        }
        let action = if self.audit {
            Action::Audit
        } else {
            Action::Denied
        };
        (action, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_a_digest_of_its_own_and_none_has_the_rules_own() {
        let rules = Digest([1; 32]);
        let allowing = |digests: &[[u8; 32]], audit| Policy {
            audit,
            allowed: digests.iter().copied().collect(),
        };
        let policies = [
            allowing(&[], false),
            allowing(&[], true),
            allowing(&[[2; 32]], false),
            allowing(&[[2; 32]], true),
            allowing(&[[3; 32]], false),
            allowing(&[[2; 32], [3; 32]], false),
        ];
        assert_eq!(policies[0].digest(rules), rules);
        for (number, policy) in policies.iter().enumerate() {
            assert_ne!(policy.digest(Digest([9; 32])), policy.digest(rules));
            for other in policies.get(number + 1..).unwrap_or_default() {
                assert_ne!(policy.digest(rules), other.digest(rules), "{other:?}");
            }
        }
    }

    #[test]
    fn only_the_very_content_is_allowed() {
        let digest: [u8; 32] = Sha256::digest(b"bytes").into();
        let mut policy = Policy {
            audit: false,
            allowed: BTreeSet::from([digest]),
        };
        let allowed = (Action::Allowed, Some(Digest(digest)));
        assert_eq!(policy.judge(b"bytes"), allowed);
        assert_eq!(policy.judge(b"bytes "), (Action::Denied, None));
        policy.audit = true;
        assert_eq!(policy.judge(b"bytes"), allowed);
        assert_eq!(policy.judge(b"bytes "), (Action::Audit, None));
    }
}
