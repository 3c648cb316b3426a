//! `siloscan warm`: every file below a folder is opened once.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use siloscan_service::warm::{HostTree, Tally, warm};

/// Which folder.
#[derive(Args)]
pub struct Options {
    /// The folder of a layer, or any folder above
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Shows no progress
    #[arg(long)]
    quiet: bool,
}

/// Warms the folder and tells how it went.
pub fn run(options: Options) -> ExitCode {
    let bar = if options.quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0).with_style(style())
    };
    let warmed = warm(&HostTree, &options.folder, |done, all| {
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
