//! The report for a person. What strangers named is shown without its control characters.

use std::fmt::Write;

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use crate::report::{Finding, Place, Report};

/// Problems that are shown; the JSON report has them all.
const PROBLEMS_SHOWN: usize = 50;

/// The report as text, with a newline at its end.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    if !report.findings.is_empty() {
        let mut table = fresh(&["found", "file", "in", "note"]);
        for finding in &report.findings {
            table.add_row([
                shown(&finding.rule),
                path(report, &finding.place),
                short(&finding.place),
                note(finding),
            ]);
        }
        line(&mut text, &table.to_string());
    }
    if !report.problems.is_empty() {
        let mut table = fresh(&["problem", "what", "in", "why"]);
        for problem in report.problems.iter().take(PROBLEMS_SHOWN) {
            table.add_row([
                problem.kind.name().to_owned(),
                path(report, &problem.place),
                short(&problem.place),
                shown(&problem.text),
            ]);
        }
        line(&mut text, &table.to_string());
        let more = report.problems.len().saturating_sub(PROBLEMS_SHOWN) as u64;
        let more = more + report.left_out.problems;
        if more > 0 {
            line(&mut text, &format!("and {more} problems more"));
        }
    }
    placeholders(report, &mut text);
    line(&mut text, &summary(report));
    text
}

fn fresh(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(head);
    table
}

fn line(text: &mut String, more: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{more}");
}

fn placeholders(report: &Report, text: &mut String) {
    if !report.layers.is_empty() {
        let mut table = fresh(&["layer", "placeholders", "found", "not there", "in"]);
        for (layer, sum) in &report.layers {
            let folders: Vec<String> = sum.folders.iter().map(|folder| shown(folder)).collect();
            table.add_row([
                layer.clone(),
                sum.placeholders.to_string(),
                sum.found.to_string(),
                sum.not_there.to_string(),
                folders.join("\n"),
            ]);
        }
        line(text, &table.to_string());
    }
    if report.left_out.of_layers > 0 {
        let told = format!(
            "and {} placeholders of more layers",
            report.left_out.of_layers
        );
        line(text, &told);
    }
    if !report.unread.is_empty() {
        let reasons = report.unread.iter();
        let reasons = reasons.map(|(reason, count)| format!("{count} {}", reason.name()));
        let reasons: Vec<String> = reasons.collect();
        line(
            text,
            &format!(
                "placeholders whose layer could not be read: {}",
                reasons.join(", ")
            ),
        );
    }
    if report.deletions > 0 {
        line(
            text,
            &format!(
                "{} files and folders of layers are deleted",
                report.deletions
            ),
        );
    }
    let count = report.placeholders.len() as u64 + report.left_out.placeholders;
    if count > 0 {
        line(text, &format!("{count} files have their bytes in a layer"));
    }
}

fn summary(report: &Report) -> String {
    let found = report.findings.len() as u64 + report.left_out.findings;
    let problems = report.problems.len() as u64 + report.left_out.problems;
    format!(
        "{} files scanned, {} bytes: {found} found, {problems} problems",
        report.files, report.bytes
    )
}

fn note(finding: &Finding) -> String {
    let count = finding.hidden_in.len();
    match (finding.hidden, count) {
        (true, _) => "hidden".to_owned(),
        (false, 0) => String::new(),
        (false, _) => format!("hidden in {count} of {} images", finding.images.len()),
    }
}

/// The path, or of the whole what was scanned.
fn path(report: &Report, place: &Place) -> String {
    match (place.path.as_str(), &place.within) {
        ("", None) => shown(&report.target),
        ("", Some(_)) => "(all of it)".to_owned(),
        (path, _) => shown(path),
    }
}

/// The layer as people say it: the first twelve digits of its digest.
fn short(place: &Place) -> String {
    let within = place.within.as_deref().unwrap_or_default();
    match within.split_once("sha256:") {
        Some(("", digits)) => shown(&digits.chars().take(12).collect::<String>()),
        _ => shown(within),
    }
}

/// Text of a stranger without what could move the cursor or change the text's direction.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        let turns = matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}');
        if letter.is_control() || turns {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}
