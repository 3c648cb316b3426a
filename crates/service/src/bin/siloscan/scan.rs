//! `siloscan scan`: what is not running.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use siloscan_atrest::{Layers, Report, Uuid, Watch, sarif, table};
use siloscan_service::at_rest;

/// What to scan, and how to tell it.
#[derive(Args)]
pub struct Options {
    /// A folder, a file, an OCI image layout, an archive of `docker save`, or a VHDX
    path: PathBuf,

    /// Folder with YARA rules (.yar, .yara), read with its subfolders. The built-in rules are
    /// always used
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,

    /// The parent of a differencing VHDX; again for the parent's parent
    #[arg(long, value_name = "VHDX")]
    parent: Vec<PathBuf>,

    /// The folder of a package layer that has bytes of a stopped container's placeholders, by the
    /// layer's GUID; once for each
    #[arg(long, value_name = "GUID=FOLDER", value_parser = layer)]
    layer: Vec<(Uuid, PathBuf)>,

    /// Docker's layerchain.json of the stopped container: placeholders of layers that --layer does
    /// not give are looked for in its layers, from the top
    #[arg(long, value_name = "FILE")]
    layerchain: Option<PathBuf>,

    /// The folder with the folders that --layerchain names, if it is not two above that file
    #[arg(long, value_name = "DIR", requires = "layerchain")]
    store: Option<PathBuf>,

    /// Scans the files in layers that placeholders stand for, too, each once
    #[arg(long)]
    with_layers: bool,

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

/// A layer and its folder.
fn layer(text: &str) -> Result<(Uuid, PathBuf), String> {
    let (layer, folder) = text
        .split_once('=')
        .filter(|(_, folder)| !folder.is_empty())
        .ok_or("it is not of the form GUID=FOLDER")?;
    let layer = Uuid::try_parse(layer).map_err(|cause| format!("no GUID: {cause}"))?;
    Ok((layer, PathBuf::from(folder)))
}

/// Scans and tells.
pub fn run(scan: Options) -> ExitCode {
    let mut bar = Bar(if scan.quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0).with_style(style())
    });
    let request = at_rest::Request {
        path: scan.path,
        parents: scan.parent,
        layers: Layers {
            folders: scan.layer,
            chain: scan.layerchain,
            store: scan.store,
            scan: scan.with_layers,
        },
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

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {bar:30} {percent:>3} % {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
