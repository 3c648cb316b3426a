//! The names that the driver takes from wdk-sys, against `tests/wdk-names.txt`. On Linux wdk-sys is
//! generated from mingw's headers, which lack some names that a WDK has: a new name is looked at
//! once, and never taken by a glob.

use std::collections::BTreeSet;

/// Collects `a::b` after each `wdk_sys::`, braces spread out; a glob is the name `*`.
pub fn in_use(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .filter(|line| !is_comment(line))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for (_, rest) in code
        .match_indices("wdk_sys::")
        .map(|(at, found)| (at, &code[at + found.len()..]))
    {
        match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((names, _)) => {
                found.extend(names.split(',').map(|name| name.trim().to_owned()));
            }
            None => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || "_:*".contains(c)));
                found.insert(
                    rest[..end.unwrap_or(rest.len())]
                        .trim_end_matches(':')
                        .to_owned(),
                );
            }
        }
    }
    found.remove("");
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// What the list lacks and what it has too much.
pub fn compare(there: &BTreeSet<String>, list: &str) -> Vec<String> {
    let listed: BTreeSet<String> = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let mut broken = Vec::new();
    for name in there.symmetric_difference(&listed) {
        let side = if listed.contains(name) {
            "is not used: take it off"
        } else {
            "is not on"
        };
        broken.push(format!("wdk_sys::{name} {side} tests/wdk-names.txt"));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_all_forms() {
        let source = "use wdk_sys::{A, B};\n// wdk_sys::Comment\nwdk_sys::ntddk::C(1);\n\
            use wdk_sys::*;\nuse wdk_sys::{\n    D,\n};\n";
        let found: Vec<String> = in_use(source).into_iter().collect();
        assert_eq!(found, ["*", "A", "B", "D", "ntddk::C"]);
    }

    #[test]
    fn a_new_name_and_a_stale_one_are_seen() {
        let there = in_use("wdk_sys::New");
        let broken = compare(&there, "# list\nOld\n");
        assert_eq!(broken.len(), 2, "{broken:?}");
    }
}
