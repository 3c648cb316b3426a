//! Plays whole worlds from seeds against the built driver, and tells the story of one that breaks
//! a promise.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use siloscan_worlds::scene;
use siloscan_worlds::sim;
use siloscan_worlds::sim::oracle::Figures;

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
    // A world that breaks a promise panics; its story is told once, below.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let limit = options.minutes.map(|m| Duration::from_secs(m * 60));
    let end = match limit {
        Some(_) => u64::MAX,
        None => options.seeds.end,
    };
    let bar = progress(limit.is_none().then(|| end - options.seeds.start));
    let world = scene::with_image(options.image);
    let (mut all, mut worlds, mut broken) = (Figures::default(), 0_u64, Vec::new());
    for seed in options.seeds.start..end {
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            break;
        }
        worlds += 1;
        match sim::check(seed, &world) {
            Ok(figures) => all.add(&figures),
            Err(story) => {
                bar.println(format!("seed {seed} breaks a promise"));
                broken.push((seed, story));
                if !options.keep_going {
                    break;
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    tell(&all, worlds, begun.elapsed());
    for (seed, story) in &broken {
        println!("\nseed {seed}: {story}");
    }
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
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
