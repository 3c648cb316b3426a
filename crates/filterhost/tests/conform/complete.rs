//! The table is complete: every provided function is in it with its page, and every documented
//! result has a case that exists or a reason.

use std::collections::BTreeSet;

use crate::images::Images;
use crate::table::{Shown, Table};

/// Roles of exported names that help a case and show no result of their own.
const HELPERS: [&str; 3] = ["check", "prepare", "setup"];

/// Every function that the host provides has an entry with the same module and page.
pub fn every_export_is_listed(table: &Table) -> Vec<String> {
    let mut wrong = Vec::new();
    for export in filterhost::exports::all() {
        let info = export.info;
        let page = info.page();
        match table.get(info.name) {
            None => wrong.push(format!("{} is in no entry ({})", info.name, page)),
            Some(entry) if entry.page != page => wrong.push(format!(
                "{}: the table says {}, the host {}",
                info.name, entry.page, page
            )),
            Some(entry) if entry.module != info.module => wrong.push(format!(
                "{}: the table says {}, the host {}",
                info.name, entry.module, info.module
            )),
            Some(_) => {}
        }
    }
    wrong
}

/// Every provided function may be called at the levels that its page allows, and no higher.
pub fn every_level_is_the_pages(table: &Table) -> Vec<String> {
    let mut wrong = Vec::new();
    for export in filterhost::exports::all() {
        let info = export.info;
        let wanted = table.get(info.name).and_then(|entry| entry.irql.clone());
        let Some(wanted) = wanted else { continue };
        let own = match info.irql {
            filterhost::irql::ANY => "any".to_owned(),
            level => level.to_string(),
        };
        if own != wanted {
            wrong.push(format!(
                "{}: the page says {wanted}, the host {own}",
                info.name
            ));
        }
    }
    wrong
}

/// Every entry is of a function that the host provides.
pub fn every_entry_is_provided(table: &Table) -> Vec<String> {
    let provided: BTreeSet<&str> = filterhost::exports::all()
        .map(|export| export.info.name)
        .collect();
    table
        .keys()
        .filter(|name| !provided.contains(name.as_str()))
        .map(|name| format!("{name} is in the table, and the host lacks it"))
        .collect()
}

/// Every documented result names a case of its own function that some image holds, or says why
/// it cannot come about.
pub fn every_result_is_shown(table: &Table, images: &Images) -> Vec<String> {
    let mut wrong: Vec<String> = images
        .failures
        .iter()
        .map(|(topic, said)| format!("{topic}.c: {said}"))
        .collect();
    for (function, entry) in table {
        if entry.results.is_empty() {
            wrong.push(format!("{function} has no result"));
        }
        for (result, shown) in &entry.results {
            match shown {
                Shown::Absent(reason) if reason.absent.split(' ').count() < 5 => {
                    wrong.push(format!("{function} {result}: the reason is no reason"));
                }
                Shown::Absent(_) => {}
                Shown::Case(case) if !images.cases.contains_key(case) => {
                    wrong.push(format!("{function} {result}: no image holds `{case}`"));
                }
                Shown::Case(case) if !case.ends_with(&format!("__{function}__{result}")) => {
                    wrong.push(format!("{function} {result}: `{case}` is of another one"));
                }
                Shown::Case(_) => {}
            }
        }
    }
    wrong
}

/// Every case in an image is named by the table.
pub fn every_case_is_named(table: &Table, images: &Images) -> Vec<String> {
    let named: BTreeSet<&str> = table
        .values()
        .flat_map(|entry| entry.results.values())
        .filter_map(|shown| match shown {
            Shown::Case(case) => Some(case.as_str()),
            Shown::Absent(_) => None,
        })
        .collect();
    images
        .cases
        .keys()
        .filter(|case| {
            let role = case.split("__").next().unwrap_or_default();
            !HELPERS.contains(&role) && !named.contains(case.as_str())
        })
        .map(|case| format!("{case} is in an image and not in the table"))
        .collect()
}
