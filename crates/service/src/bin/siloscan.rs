//! siloscan: the operator's command.
//!
//! Exit codes: 0 nothing was found, 1 something was, 2 an error.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use siloscan_service::warm::{HostTree, Tally, warm};

/// Works with the siloscan driver.
#[derive(Parser)]
#[command(name = "siloscan", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Opens every file below a folder once, so that the driver has scanned it before the first
    /// container starts from it
    Warm {
        /// The folder of a layer, or any folder above
        #[arg(value_name = "DIR")]
        folder: PathBuf,

        /// Shows no progress
        #[arg(long)]
        quiet: bool,
    },
}

fn main() -> ExitCode {
    let Options {
        command: Command::Warm { folder, quiet },
    } = Options::parse();
    let bar = if quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0).with_style(style())
    };
    let warmed = warm(&HostTree, &folder, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    match warmed {
        Ok(tally) => tell(&tally),
        Err(cause) => {
            eprintln!("siloscan: {cause}");
            ExitCode::from(2)
        }
    }
}

fn style() -> ProgressStyle {
    // The template is a constant without mistakes; a plain bar would do as well.
    ProgressStyle::with_template("{bar:40} {pos} of {len} files, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn tell(tally: &Tally) -> ExitCode {
    for file in &tally.infected {
        println!("infected: {file}");
    }
    for (place, cause) in &tally.failed {
        eprintln!("siloscan: cannot open {place}: {cause}");
    }
    println!(
        "{} warm, {} infected, {} went away, {} failed",
        tally.warm,
        tally.infected.len(),
        tally.gone,
        tally.failed.len()
    );
    ExitCode::from(tally.exit_code())
}
