//! The main job: two days of a container host, with and without the shared cache, and a report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use siloscan_worlds::day::{self, DayOptions};
use siloscan_worlds::layer::{LayerFolder, wine_layer};
use siloscan_worlds::report::figures::Figures;
use siloscan_worlds::report::{html, table};

/// Files of Wine's that make the base layer.
const WINE_FILES: usize = 400;
/// The largest of them, in bytes: two runs over everything shall take seconds.
const WINE_FILE_BYTES_MAX: u64 = 400_000;

/// Runs containers against the built siloscan.sys in the filter host.
#[derive(Parser)]
struct Options {
    /// Number of containers.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    containers: u16,
    /// A folder that becomes a layer, topmost first; may be given several times. Without it,
    /// Debian's Wine package provides a few hundred Windows binaries.
    #[arg(long = "layer", value_name = "DIR")]
    layers: Vec<PathBuf>,
    /// Package files that each container opens.
    #[arg(long, default_value_t = 100)]
    files: usize,
    /// Where the report goes.
    #[arg(long, default_value = "target/demo/report.html", value_name = "FILE")]
    report: PathBuf,
    /// The driver; its PDB lies beside it. `cargo xtask demo` sets it.
    #[arg(long, env = "SILOSCAN_IMAGE", value_name = "FILE")]
    image: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("demo: an infected open succeeded, or something was left at unload");
            ExitCode::from(1)
        }
        Err(cause) => {
            eprintln!("demo: {cause}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    let layers = layers(options)?;
    let files: usize = layers.iter().map(|layer| layer.files.len()).sum();
    let own = std::env::current_exe().map_err(|cause| format!("where am I? {cause}"))?;
    let siloscand = own.with_file_name("siloscand");
    if !siloscand.is_file() {
        return Err(format!(
            "{} is missing; run: cargo xtask demo",
            siloscand.display()
        ));
    }
    let mut day = DayOptions {
        image: options.image.clone(),
        siloscand,
        layers,
        containers: options.containers.into(),
        files: options.files,
        optimised: true,
    };
    eprintln!(
        "{files} package files, {} containers, the built driver\n",
        day.containers
    );
    let with = one_day(&day, "siloscan")?;
    day.optimised = false;
    let without = one_day(&day, "optimisation off")?;
    println!("{}", table::render(&with, Some(&without)));
    write_report(&options.report, &with, &without)?;
    println!("report: {}", options.report.display());
    Ok(with.passed() && without.passed())
}

fn layers(options: &Options) -> Result<Vec<LayerFolder>, String> {
    if options.layers.is_empty() {
        let folder = Path::new("target/demo/layer");
        let layer = wine_layer(folder, WINE_FILES, WINE_FILE_BYTES_MAX);
        return Ok(vec![layer.map_err(|error| error.to_string())?]);
    }
    let open = |path: &PathBuf| LayerFolder::open(path).map_err(|error| error.to_string());
    options.layers.iter().map(open).collect()
}

fn one_day(options: &DayOptions, title: &'static str) -> Result<Figures, String> {
    let style = ProgressStyle::with_template("{spinner} {prefix:20} {msg} ({elapsed})")
        .map_err(|error| error.to_string())?;
    let progress = ProgressBar::new_spinner()
        .with_style(style)
        .with_prefix(title);
    progress.enable_steady_tick(Duration::from_millis(120));
    let shown = progress.clone();
    let figures = day::live(options, move |what| shown.set_message(what.to_owned()));
    match &figures {
        Ok(figures) => progress.finish_with_message(format!(
            "{} opens, {} scans, {:.1} s",
            figures.opens, figures.scans, figures.seconds
        )),
        Err(_) => progress.abandon_with_message("failed"),
    }
    figures
}

fn write_report(path: &Path, with: &Figures, without: &Figures) -> Result<(), String> {
    let failed = |cause| format!("cannot write the report {}: {cause}", path.display());
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, html::render(with, Some(without))).map_err(failed)
}
