//! siloscan: the operator's command.
//!
//! Exit codes: 0 nothing was found, 1 something was, 2 an error: of a scan, that not all could be
//! scanned.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use siloscan_atrest::{Report, Watch, sarif, table};
use siloscan_service::at_rest;
use siloscan_service::warm::paced::{Start, paced};
use siloscan_service::warm::{HostTree, Tally, step_back, warm};

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

        #[command(flatten)]
        paced: Paced,
    },

    /// Scans what is not running: a folder, a container image, a stopped container's disk. Ends
    /// with 0 if all was scanned and nothing found, 1 if something was, 2 if not all was scanned
    Scan(Scan),
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

#[derive(Args)]
struct Scan {
    /// A folder, a file, an OCI image layout, an archive of `docker save`, or a VHDX
    path: PathBuf,

    /// Folder with YARA rules (.yar, .yara), read with its subfolders. The built-in rules are
    /// always used
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,

    /// The parent of a differencing VHDX; again for the parent's parent
    #[arg(long, value_name = "VHDX")]
    parent: Vec<PathBuf>,

    /// Larger files are told and not scanned
    #[arg(long, value_name = "BYTES")]
    max_file: Option<u64>,

    /// Prints the report as JSON
    #[arg(long, conflicts_with = "sarif")]
    json: bool,

    /// Prints the report as SARIF 2.1.0
    #[arg(long)]
    sarif: bool,

    /// Shows no progress
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    match Options::parse().command {
        Command::Warm { folder, paced, .. } if paced.paced => warm_paced(&folder, paced),
        Command::Warm { folder, quiet, .. } => warm_folder(folder, quiet),
        Command::Scan(scan) => scan_at_rest(scan),
    }
}

fn scan_at_rest(scan: Scan) -> ExitCode {
    let mut bar = Bar(if scan.quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0).with_style(scan_style())
    });
    let request = at_rest::Request {
        path: scan.path,
        parents: scan.parent,
        rules: scan.rules,
        file_bytes_max: scan.max_file,
    };
    let report = at_rest::scan(&request, &mut bar);
    bar.0.finish_and_clear();
    let text = if scan.sarif {
        format!("{:#}\n", sarif(&report, env!("CARGO_PKG_VERSION")))
    } else if scan.json {
        json(&report)
    } else {
        table(&report)
    };
    // Whoever reads this may have gone; the exit code still tells.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(report.exit_code())
}

fn json(report: &Report) -> String {
    match serde_json::to_string_pretty(report) {
        Ok(text) => text + "\n",
        Err(cause) => format!("{{\"error\": \"{cause}\"}}\n"),
    }
}

/// Shows how far a scan is.
struct Bar(ProgressBar);

impl Watch for Bar {
    fn total(&mut self, steps: u64) {
        self.0.inc_length(steps);
    }

    fn moved(&mut self, steps: u64) {
        self.0.inc(steps);
    }

    fn at(&mut self, path: &str) {
        // The name is a stranger's, and must not steer the terminal.
        let plain = path.chars().filter(|letter| !letter.is_control());
        self.0.set_message(plain.collect::<String>());
    }
}

fn scan_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {bar:30} {percent:>3} % {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn warm_folder(folder: PathBuf, quiet: bool) -> ExitCode {
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

fn warm_paced(folder: &Path, asked: Paced) -> ExitCode {
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
