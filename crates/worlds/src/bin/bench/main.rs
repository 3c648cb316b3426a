//! `cargo xtask bench open` and `cargo xtask bench fleet`: what the built driver costs, measured
//! in the filter host. `cargo xtask bench service`: the service against its engine alone. This
//! program is its own scan worker.

mod chart;
mod fleet;
mod hosts;
mod open;
mod parts;
mod rules;
mod service;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use siloscan_worlds::load::be_a_worker;

/// Measures the built siloscan.sys in the filter host.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What siloscan adds to one open, per route and step, against an empty filter.
    Open(open::Options),
    /// Container starts on one host, from one to a thousand.
    Fleet(fleet::Options),
    /// The service against its engine alone, under a burst, and in a soak.
    Service(service::Options),
}

fn main() -> ExitCode {
    be_a_worker();
    let done = match Line::parse().what {
        What::Open(options) => open::run(&options),
        What::Fleet(options) => fleet::run(&options),
        What::Service(options) => service::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(cause) => {
            eprintln!("bench: {cause}");
            ExitCode::from(2)
        }
    }
}

/// A table whose columns but the first are numbers.
fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(head);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The middle one of some numbers, and the ends of the middle half of them.
fn middle(numbers: &[f64]) -> (f64, f64, f64) {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: usize| {
        let last = sorted.len().saturating_sub(1);
        sorted.get(last * part / 4).copied().unwrap_or(f64::NAN)
    };
    (at(2), at(1), at(3))
}

/// How busy the machine is, for whoever reads the numbers.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, load averages {}", load.join(" "))
}
