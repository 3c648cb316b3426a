//! Each function that the host provides, against each result that its page documents.
//!
//! `statuses.toml` lists the functions, their pages and the documented results. A small
//! minifilter in C shows each result; the host's other tests may rest on siloscan, these do not.
//! Every case runs on a machine of its own, under the free scheduler and under seeds, and a seed
//! run twice must give one trace hash.

mod client;
#[path = "../support/committed.rs"]
mod committed;
mod complete;
mod gate;
mod guest;
mod images;
mod page;
mod show;
mod situation;
mod table;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::table::Shown;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let images = Arc::new(images::build("drivers/conform"));
    let table = Arc::new(table::read());
    let mut trials = vec![
        complete_trial("every_export_is_listed", {
            let table = table.clone();
            move || complete::every_export_is_listed(&table)
        }),
        complete_trial("every_level_is_the_pages", {
            let table = table.clone();
            move || complete::every_level_is_the_pages(&table)
        }),
        complete_trial("every_entry_is_provided", {
            let table = table.clone();
            move || complete::every_entry_is_provided(&table)
        }),
        complete_trial("every_result_is_shown", {
            let (table, images) = (table.clone(), images.clone());
            move || complete::every_result_is_shown(&table, &images)
        }),
        complete_trial("the_page_is_current", {
            let table = table.clone();
            move || page::differences(&table)
        }),
        complete_trial("every_case_is_named", {
            let (table, images) = (table.clone(), images.clone());
            move || complete::every_case_is_named(&table, &images)
        }),
    ];
    for (function, entry) in table.iter() {
        for (result, shown) in &entry.results {
            let Shown::Case(case) = shown else { continue };
            let Some(image) = images.cases.get(case).cloned() else {
                continue;
            };
            let (case, page) = (case.clone(), entry.page.clone());
            trials.push(Trial::test(format!("{function}::{result}"), move || {
                show::show(&case, &image).map_err(|said| Failed::from(format!("{page}\n{said}")))
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A trial that passes when the check finds nothing wrong.
fn complete_trial(name: &str, check: impl FnOnce() -> Vec<String> + Send + 'static) -> Trial {
    Trial::test(format!("table::{name}"), move || {
        let wrong = check();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Failed::from(wrong.join("\n")))
    })
}
