//! The report in the Static Analysis Results Interchange Format, version 2.1.0.

use serde_json::{Value, json};

use crate::report::{Place, Report};

/// The report as one SARIF log.
#[must_use]
pub fn sarif(report: &Report, version: &str) -> Value {
    let mut rules: Vec<(&str, &str)> = Vec::new();
    for finding in &report.findings {
        let rule = (finding.rule.as_str(), finding.origin.as_str());
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let rule = (finding.rule.as_str(), finding.origin.as_str());
            let text = format!("{} was found in {}", finding.rule, finding.place.path);
            json!({
                "ruleId": finding.rule,
                "ruleIndex": rules.iter().position(|known| *known == rule),
                "level": "error",
                "message": { "text": text },
                "locations": [location(report, &finding.place)],
                "properties": {
                    "hidden": finding.hidden,
                    "images": finding.images,
                    "hiddenIn": finding.hidden_in,
                    "moreImages": finding.more_images,
                },
            })
        })
        .collect();
    let notes: Vec<Value> = report
        .problems
        .iter()
        .map(|problem| {
            json!({
                "level": "error",
                "descriptor": { "id": problem.kind.name() },
                "message": { "text": problem.text },
                "locations": [location(report, &problem.place)],
            })
        })
        .collect();
    let rules: Vec<Value> = rules
        .iter()
        .map(|(rule, origin)| {
            json!({ "id": rule, "shortDescription": { "text": format!("{rule} ({origin})") } })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "siloscan", "version": version, "rules": rules } },
            "invocations": [{
                "executionSuccessful": report.problems.is_empty(),
                "toolExecutionNotifications": notes,
            }],
            "results": results,
        }],
    })
}

/// A file of the target: its name below the target as a URI, and its layer as a logical place.
fn location(report: &Report, place: &Place) -> Value {
    let path = if place.path.is_empty() {
        &report.target
    } else {
        &place.path
    };
    let mut location = json!({
        "physicalLocation": { "artifactLocation": { "uri": uri(path) } },
    });
    if let (Some(within), Some(parts)) = (&place.within, location.as_object_mut()) {
        let name = format!("{within}/{}", place.path);
        let logical = json!([{ "fullyQualifiedName": name, "kind": "resource" }]);
        parts.insert("logicalLocations".to_owned(), logical);
    }
    location
}

/// A path as a URI reference: everything but plain letters is written in percent, and so no first
/// part is taken for a scheme. A whole path, as files of layers have, is one of this machine.
fn uri(path: &str) -> String {
    let path = path.replace('\\', "/");
    // More slashes would begin the name of a host.
    let below = path.trim_start_matches('/');
    let (mut out, rest) = match path.split_once(":/") {
        Some((drive, rest)) if is_drive(drive) => (format!("file:///{drive}:/"), rest),
        _ if below.len() < path.len() => ("file:///".to_owned(), below),
        _ => (String::new(), path.as_str()),
    };
    for byte in rest.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn is_drive(text: &str) -> bool {
    text.len() == 1 && text.bytes().all(|letter| letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_path_is_a_file_of_this_machine_and_no_other_is() {
        for (path, expected) in [
            ("below/more/bad 1.com", "below/more/bad%201.com"),
            (
                r"C:\ProgramData\a b.dll",
                "file:///C:/ProgramData/a%20b.dll",
            ),
            ("/srv/a.dll", "file:///srv/a.dll"),
            // No host is asked, whatever a path looks like.
            (r"\\server\share", "file:///server/share"),
            ("//server/share", "file:///server/share"),
            ("CC:/a", "CC%3A/a"),
            ("http://a/b", "http%3A//a/b"),
            ("a:b", "a%3Ab"),
        ] {
            assert_eq!(uri(path), expected, "{path}");
        }
    }
}
