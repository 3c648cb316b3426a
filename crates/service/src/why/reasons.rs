//! What a reason means, in core's own words: those that its counter is documented with.

use siloscan_core::reason::{ENTRIES, Entry};

/// The kinds of counters that a decision is one of. Their names are distinct.
const DECISIONS: [&str; 3] = ["allow", "deny", "skip"];

/// The counter of this kind and name.
fn entry(kind: &str, name: &str) -> Option<&'static Entry> {
    let mut entries = ENTRIES.iter();
    entries.find(|entry| entry.kind == kind && entry.name == name)
}

fn decision(name: &str) -> Option<&'static Entry> {
    DECISIONS.iter().find_map(|kind| entry(kind, name))
}

/// Whether a decision of this name is a refusal.
pub(super) fn is_denied(name: &str) -> bool {
    entry("deny", name).is_some()
}

/// What the route's reason, the decision and the failure mean; what is empty, or unknown to this
/// release, is left out.
pub(super) fn sentences(route: (&str, &str), made: &str, failure: &str) -> Vec<&'static str> {
    let all = [
        entry(route.0, route.1),
        decision(made),
        entry("failure", failure),
    ];
    all.into_iter().flatten().map(|entry| entry.doc).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_of_an_open_has_its_sentence_and_decisions_have_distinct_names() {
        let mut names = HashSet::new();
        for entry in &ENTRIES {
            let sentences = match entry.kind {
                "allow" | "deny" => sentences(("", ""), entry.name, ""),
                "failure" => sentences(("", ""), "", entry.name),
                "event" => continue,
                route => sentences((route, entry.name), "", ""),
            };
            assert_eq!(sentences, [entry.doc]);
            if DECISIONS.contains(&entry.kind) {
                assert!(names.insert(entry.name), "{}", entry.name);
            }
            assert_eq!(is_denied(entry.name), entry.kind == "deny");
        }
        assert_eq!(
            sentences(("look-up", "layer"), "scanned-infected", "").len(),
            2
        );
    }
}
