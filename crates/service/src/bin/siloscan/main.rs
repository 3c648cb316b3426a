//! siloscan: the operator's command. Each subcommand has a file of its own.
//!
//! Exit codes: 0 nothing was found and all is well, 1 something was found or needs attention, 2 an
//! error: of a scan, that not all could be scanned; of the quarantine's list, that an item is
//! damaged.

mod ask;
mod doctor;
mod exclude;
mod figures;
mod manual;
mod place;
mod policy;
mod quarantine;
mod report;
mod scan;
mod status;
mod tell;
mod top;
mod warm;
#[cfg(windows)]
mod windows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Works with the siloscan driver and its scan service.
#[derive(Parser)]
#[command(name = "siloscan", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Opens every file below a folder, or in the layers of an image, once, so that the driver has
    /// scanned it before the first container starts from it. Ends with 0 if nothing was found, 1 if
    /// something was, 2 if not all could be opened
    Warm(warm::Options),

    /// Scans what is not running: a folder, a container image, a stopped container's disk. Ends
    /// with 0 if all was scanned and nothing found, 1 if something was, 2 if not all was scanned
    Scan(scan::Options),

    /// Tells how the scan service is: its connection, its rules, what it did. Ends with 0 if all is
    /// well, 1 if something needs attention, 2 if the service cannot be asked
    Status(status::Options),

    /// Shows live what the driver and the scan service do: routes, hit rate, latency, the busiest
    /// containers and what scanning added to their starts. "q" ends it
    Top(top::Options),

    /// Shows the reason of each open, live: route, decision, how long it was held up. Ctrl-C ends
    /// it, with 0, with 1 if something shown was denied or detected, with 2 on an error
    Why(siloscan_service::why::Options),

    /// Shows, restores and deletes what siloscand moved to its quarantine. Ends with 0, or 2 on an
    /// error
    Quarantine(quarantine::Options),

    /// Shows and changes the file of exclusions, which the service follows: what is not scanned,
    /// and contents that are allowed. Ends with 0, 1 if the file has mistakes, 2 on an error
    Exclude(exclude::Options),

    /// Shows what becomes of an open in each case, and the driver's values that make it so. Ends
    /// with 0, 1 if a value is nonsense, 2 on an error
    Policy(policy::Options),

    /// Checks driver, filters, service and configuration, and says what to do; explains errors of
    /// container runtimes. Ends with 0 if all is well, 1 if something needs attention
    Doctor(doctor::Options),

    /// Makes one file of JSON for a colleague or a vendor: the doctor's checks, the status, the
    /// policy, the configuration without secrets, exclusions, the last events
    Report(report::Options),

    /// Prints completions for a shell, to be read by it at its start
    Completions(manual::Completions),

    /// Writes the man pages of this command and its subcommands into a folder
    #[command(hide = true)]
    Manual(manual::Manual),
}

fn main() -> ExitCode {
    match Options::parse().command {
        Command::Warm(options) => warm::run(options),
        Command::Scan(options) => scan::run(options),
        Command::Status(options) => status::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Why(options) => siloscan_service::why::run(&options),
        Command::Quarantine(options) => quarantine::run(&options),
        Command::Exclude(options) => exclude::run(&options),
        Command::Policy(options) => policy::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Report(options) => report::run(&options),
        Command::Completions(options) => manual::complete(&options),
        Command::Manual(options) => manual::write(&options),
    }
}
