//! `siloscan why`: the reason of each open, live.
//!
//! The driver tells each open to a tracing session, and only while one listens ([`source`]). Each
//! event is read by core's table, chosen or left out (`chosen`), and written as a line (`line`).

mod chosen;
mod line;
mod listening;
mod reasons;
pub mod source;
mod told;

#[cfg(unix)]
mod bridge;
#[cfg(windows)]
mod windows;

use std::io::{self, IsTerminal, Write};
#[cfg(unix)]
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use siloscan_core::trace::{Level, keyword};
use siloscan_quarantine::printable;

use listening::{Listened, listen};
pub use told::{Told, Value};

use source::{Source, SourceError, Wanted};

/// What to show of what the driver tells.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// The filter host to listen at
    #[cfg(unix)]
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// Shows what this container does: its id, or the id's first digits
    #[arg(long, value_name = "ID")]
    container: Option<String>,

    /// Shows files whose name has this in it, in upper or lower case
    #[arg(long, value_name = "SUBSTRING")]
    path: Option<String>,

    /// Shows what was denied
    #[arg(long)]
    denied: bool,

    /// Shows opens to which the driver added so many milliseconds, or more
    #[arg(long, value_name = "MS")]
    slow: Option<u64>,

    /// Ends after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Ends after so many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,

    /// Shows the driver's other events, too: detections, decisions of the policy, the breaker
    #[arg(long)]
    events: bool,

    /// Adds a sentence on what each reason means
    #[arg(long)]
    explain: bool,

    /// Prints JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Options {
    /// For how long to listen, where that is limited.
    fn time(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs)
    }

    /// What the driver has to tell for these options.
    fn wanted(&self) -> Wanted {
        Wanted {
            level: Level::Verbose as u8,
            keywords: if self.events { 0 } else { keyword::OPENS },
        }
    }
}

/// Shows until it is told to end: 0, or 1 if something shown was denied or detected, or 2 on an
/// error.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let mut listened = Listened::default();
    let ended = show(options, &mut listened);
    if listened != Listened::default() || ended.is_ok() {
        eprintln!("siloscan: {}", listened.summary());
    }
    match ended {
        Ok(()) => ExitCode::from(u8::from(listened.found > 0)),
        Err(cause) => {
            eprintln!("siloscan: {}", printable(&cause));
            ExitCode::from(2)
        }
    }
}

fn show(options: &Options, listened: &mut Listened) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    end_on_request(&stop).map_err(|cause| format!("cannot wait for Ctrl-C: {cause}"))?;
    let mut source = source(options).map_err(|cause| cause.to_string())?;
    eprintln!("siloscan: listening to the driver; Ctrl-C ends it");
    let mut out = io::stdout().lock();
    let colours = !options.json && out.is_terminal() && wants_colours() && has_colours();
    let stopped = || stop.load(Ordering::Relaxed);
    let ended = listen(
        &mut *source,
        options,
        (&mut out, colours),
        stopped,
        listened,
    );
    // Whoever reads this may have gone.
    let _ = out.flush();
    ended.map_err(|cause| cause.to_string())
}

#[cfg(unix)]
fn source(options: &Options) -> Result<Box<dyn Source>, SourceError> {
    let source = bridge::BridgeSource::begin(&options.socket, options.wanted())?;
    Ok(Box::new(source))
}

#[cfg(windows)]
fn source(options: &Options) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(windows::Session::begin(options.wanted())?))
}

#[cfg(unix)]
fn end_on_request(stop: &Arc<AtomicBool>) -> io::Result<()> {
    crate::program::end_on_signals(stop)
}

#[cfg(windows)]
fn end_on_request(stop: &Arc<AtomicBool>) -> io::Result<()> {
    windows::end_on_control(stop)
}

/// Unless the variable `NO_COLOR` says otherwise.
fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether a terminal shows colours by escape sequences.
#[cfg(unix)]
fn has_colours() -> bool {
    true
}

#[cfg(windows)]
fn has_colours() -> bool {
    crossterm::ansi_support::supports_ansi()
}
