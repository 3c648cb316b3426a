//! Plays whole worlds from seeds against the built driver, and tells the story of one that breaks
//! a promise.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use siloscan_worlds::scene;
use siloscan_worlds::sim;
use siloscan_worlds::sim::oracle::Figures;

/// Worlds that one process plays. Threads of a world that is over stay parked in it, and a driver
/// that takes the process down takes no other batch with it.
const BATCH: u64 = 50;

/// Plays simulated worlds against the built siloscan.sys.
#[derive(Parser)]
struct Options {
    /// Seeds to play, the last one not included.
    #[arg(long, default_value = "0..200", value_parser = seeds, value_name = "A..B")]
    seeds: Range<u64>,
    /// Play on from the first seed for this long instead.
    #[arg(long)]
    minutes: Option<u64>,
    /// Go on after a broken world; all of them are told at the end.
    #[arg(long)]
    keep_going: bool,
    /// Play the seeds here, and print the figures as JSON: what a batch is told.
    #[arg(long, hide = true)]
    batch: bool,
    /// The driver; its PDB lies beside it. `cargo xtask sim` sets it.
    #[arg(long, env = "SILOSCAN_IMAGE", value_name = "FILE")]
    image: PathBuf,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("two numbers with two dots between them, such as 0..200")?;
    let number = |text: &str| {
        text.trim()
            .parse::<u64>()
            .map_err(|cause| format!("{text:?}: {cause}"))
    };
    let range = number(from)?..number(to)?;
    if range.is_empty() {
        return Err("the last seed must be above the first".to_owned());
    }
    Ok(range)
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.image.is_file() {
        eprintln!(
            "sim: there is no driver at {}; run: cargo xtask sim",
            options.image.display()
        );
        return ExitCode::from(2);
    }
    if options.batch {
        return play(&options);
    }
    match soak(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(cause) => {
            eprintln!("sim: {cause}");
            ExitCode::from(2)
        }
    }
}

/// Plays the seeds in this process. The story of a broken world goes to standard output, the
/// figures to the last line.
fn play(options: &Options) -> ExitCode {
    // A world that breaks a promise panics; its story is told once, below.
    std::panic::set_hook(Box::new(|_| {}));
    let world = scene::with_image(options.image.clone());
    let (mut all, mut whole) = (Figures::default(), true);
    for seed in options.seeds.clone() {
        match sim::check(seed, &world) {
            Ok(figures) => all.add(&figures),
            Err(broken) => {
                println!("seed {seed}: {broken}\n");
                whole = false;
                if !options.keep_going {
                    break;
                }
            }
        }
    }
    match serde_json::to_string(&all) {
        Ok(line) => println!("{line}"),
        Err(_) => return ExitCode::from(2),
    }
    ExitCode::from(u8::from(!whole))
}

/// Plays batch after batch, each in a process of its own. False where a world broke a promise.
fn soak(options: &Options) -> Result<bool, String> {
    let begun = Instant::now();
    let limit = options.minutes.map(|m| Duration::from_secs(m * 60));
    let end = if limit.is_some() {
        u64::MAX
    } else {
        options.seeds.end
    };
    let bar = progress(limit.is_none().then(|| end - options.seeds.start));
    let own = std::env::current_exe().map_err(|cause| format!("where am I? {cause}"))?;
    let (mut all, mut whole, mut next) = (Figures::default(), true, options.seeds.start);
    while next < end && limit.is_none_or(|limit| begun.elapsed() < limit) {
        let seeds = next..end.min(next + BATCH);
        let (figures, good) = batch(&own, options, &seeds, &bar)?;
        all.add(&figures);
        whole &= good;
        bar.inc(seeds.end - seeds.start);
        next = seeds.end;
        if !whole && !options.keep_going {
            break;
        }
    }
    bar.finish_and_clear();
    tell(&all, next - options.seeds.start, begun.elapsed());
    Ok(whole)
}

/// One batch: its figures, and whether every world kept its promises.
fn batch(
    own: &Path,
    options: &Options,
    seeds: &Range<u64>,
    bar: &ProgressBar,
) -> Result<(Figures, bool), String> {
    let mut command = Command::new(own);
    command
        .arg("--batch")
        .arg(format!("--seeds={}..{}", seeds.start, seeds.end))
        .arg("--image")
        .arg(&options.image);
    if options.keep_going {
        command.arg("--keep-going");
    }
    let done = command.output().map_err(|cause| cause.to_string())?;
    let said = String::from_utf8_lossy(&done.stdout);
    let (story, last) = said
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or(("", said.trim_end()));
    let figures = serde_json::from_str(last).map_err(|_| {
        let errors = String::from_utf8_lossy(&done.stderr);
        format!(
            "the worlds {seeds:?} ended with {}:\n{said}{errors}",
            done.status
        )
    })?;
    if !story.is_empty() {
        bar.suspend(|| println!("{story}"));
    }
    Ok((figures, done.status.success()))
}

fn progress(worlds: Option<u64>) -> ProgressBar {
    let bar = worlds.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match worlds {
        Some(_) => "{bar:30} {pos} of {len} worlds, {per_sec}, {eta} left",
        None => "{spinner} {pos} worlds, {per_sec}, {elapsed}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn tell(all: &Figures, worlds: u64, time: Duration) {
    let rate = |number: u64| number as f64 / time.as_secs_f64().max(0.001);
    println!(
        "{worlds} worlds in {:.1} s ({:.1} a second), {} opens ({:.0} a second), {} changes",
        time.as_secs_f64(),
        rate(worlds),
        all.opens,
        rate(all.opens),
        all.changes
    );
    println!(
        "judged: {} opens of infected bytes refused, {} opens of clean bytes served",
        all.refused, all.served
    );
}
