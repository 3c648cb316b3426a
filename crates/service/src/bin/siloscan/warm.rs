//! `siloscan warm`: every file below a folder, or in the layers of an image, is opened once.

mod image;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use siloscan_quarantine::printable;
use siloscan_service::warm::paced::{Start, paced};
use siloscan_service::warm::{HostTree, Tally, step_back, warm};

use crate::tell::{failed, say, say_json};

/// Which folder or image.
#[derive(Args)]
pub struct Options {
    /// The folder of a layer, or any folder above; or an image of Docker's: NAME, NAME:TAG,
    /// NAME@DIGEST, its digest or its manifest's (sha256:...), or the first 12 or more digits of
    /// its id. A folder that is there goes before an image; what begins with "sha256:" is none
    #[arg(value_name = "DIR|IMAGE")]
    what: PathBuf,

    /// Shows no progress
    #[arg(long)]
    quiet: bool,

    /// Prints what came of it as JSON
    #[arg(long, conflicts_with = "paced")]
    json: bool,

    #[command(flatten)]
    stores: image::Stores,

    #[command(flatten)]
    paced: Paced,
}

/// How `siloscand` uses this command.
#[derive(Args)]
struct Paced {
    /// Opens one file for each line of the standard input, with the lowest priority, and answers
    /// each with a line of JSON; ends with the input
    #[arg(long)]
    paced: bool,

    /// Begins behind this file
    #[arg(long, value_name = "FILE", requires = "paced")]
    after: Option<PathBuf>,

    /// Opens none of the first N files
    #[arg(long, value_name = "N", requires = "paced", default_value_t = 0)]
    pass_over: u32,
}

/// Warms the folder or the image and tells how it went.
pub fn run(options: Options) -> ExitCode {
    if options.paced.paced {
        return run_paced(&options.what, options.paced);
    }
    let bar = if options.quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0).with_style(style())
    };
    let progress = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    };
    match image::meant(&options.what) {
        Ok(Some(image)) => image::run(&image, &options.stores, progress, options.json),
        Ok(None) => run_folder(&options.what, progress, options.json),
        Err(cause) => failed(&cause),
    }
}

fn run_folder(folder: &PathBuf, progress: impl FnMut(usize, usize), as_json: bool) -> ExitCode {
    match warm(&HostTree, folder, progress) {
        Ok(tally) if as_json => {
            say_json(&document(&tally));
            ExitCode::from(tally.exit_code())
        }
        Ok(tally) => tell(&tally),
        Err(cause) => failed(&cause.to_string()),
    }
}

fn document(tally: &Tally) -> Value {
    json!({
        "warm": tally.warm, "gone": tally.gone, "infected": tally.infected,
        "failed": tally.failed.iter().map(|(place, cause)| {
            json!({ "path": place, "cause": cause })
        }).collect::<Vec<_>>(),
    })
}

fn run_paced(folder: &Path, asked: Paced) -> ExitCode {
    if let Err(cause) = step_back() {
        // Slower for others is still better than not at all.
        eprintln!("siloscan: cannot take the lowest priority: {cause}");
    }
    let start = Start {
        after: asked.after,
        pass_over: asked.pass_over,
    };
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    match paced(folder, &start, &mut input, &mut output) {
        Ok(tally) => ExitCode::from(tally.exit_code()),
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
        say(&format!("infected: {}\n", printable(file)));
    }
    for (place, cause) in &tally.failed {
        eprintln!("siloscan: cannot open {}: {cause}", printable(place));
    }
    say(&format!(
        "{} warm, {} infected, {} went away, {} failed\n",
        tally.warm,
        tally.infected.len(),
        tally.gone,
        tally.failed.len()
    ));
    ExitCode::from(tally.exit_code())
}
