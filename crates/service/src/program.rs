//! The scan service as a program, around whatever engine it is given: options, signals, the folder
//! of rules, and what is told at the end.
//!
//! The same program is the worker: the service starts itself with [`WORKER_ARGUMENT`].

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use clap::Parser;
use siloscan_core::reason::ENTRIES;
use siloscan_quarantine::{Bounds, Quarantine};

use crate::engine::{EngineKind, WithClamd};
use crate::events::{Event, EventQueue, EventSink};
use crate::exclusions::ExclusionKeeper;
use crate::platform::Platform;
use crate::remedy::RemedyKeeper;
use crate::rules::RuleKeeper;
use crate::runtime::Store;
use crate::service::Service;
use crate::settings::Settings;
use crate::worker::{self, Program, WorkerSettings, Workers};

/// The first argument of a worker process. The engines beside the first one follow.
pub const WORKER_ARGUMENT: &str = "--worker";

/// How often to see whether the program is asked to end.
const LOOK_UP: Duration = Duration::from_millis(100);
/// The rules folder and the exclusions are looked at once in so many looks: every second.
const RULES_EVERY: u32 = 10;

/// Scans files for the siloscan driver.
#[derive(Parser)]
#[command(name = "siloscand", version)]
struct Options {
    /// Folder with YARA rules (.yar, .yara), read with its subfolders and followed while running.
    /// The built-in rules are always used
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,

    /// File with what is not to be scanned or denied, one entry a line ("container" and an id,
    /// "image" and a digest, "layer" and a folder, "file" and a content's digest), followed while
    /// running
    #[arg(long, value_name = "FILE")]
    exclusions: Option<PathBuf>,

    #[command(flatten)]
    beside: Beside,

    /// Folder to which infected files of containers are moved, encrypted; made if it is not there.
    /// Without it they stay where they are, and are denied
    #[arg(long, value_name = "DIR")]
    quarantine: Option<PathBuf>,

    /// Report what would be denied, and deny nothing
    #[arg(long)]
    audit: bool,

    /// Data folder of Docker, which tells the images of containers; for exclusions by image, or by
    /// a layer's id, and for reports of detections in layers
    #[arg(long, value_name = "DIR")]
    runtime_store: Option<PathBuf>,

    /// Threads that scan
    #[arg(long, value_name = "N", default_value_t = default_threads())]
    threads: usize,

    /// Socket of the filter host to serve
    #[cfg(unix)]
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// Append what happens to this file, one JSON object a line; "-" is the standard output
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,

    /// Largest file that is scanned, in MiB; a larger one is answered "unscannable"
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    max_file_mib: u64,

    /// Memory for the files that are being scanned, in MiB, all threads together
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory_mib: u64,

    /// Memory that one worker process may take for its engine, in MiB; the copy of its file is not
    /// counted
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    worker_memory_mib: u64,

    /// A file's content that ended so many workers is not scanned again until the next
    /// signatures, but answered "unscannable"; 0 scans it each time
    #[arg(long, value_name = "N", default_value_t = 2)]
    worker_strikes: u32,

    /// Run under the service controller, as `sc create` is told to start it
    #[cfg(windows)]
    #[arg(long)]
    service: bool,

    /// End when the connection to the driver ends, and fail if there is none at the start
    #[arg(long)]
    once: bool,
}

/// Engines that are asked about what the first one does not find.
#[derive(clap::Args)]
struct Beside {
    /// Ask ClamAV's daemon about what the rules do not find: the path of its socket, or HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    clamd: Option<String>,

    /// Ask the antivirus that is registered with Windows about what the rules do not find
    #[cfg(windows)]
    #[arg(long)]
    amsi: bool,
}

/// What the service tells a worker.
#[derive(Parser)]
struct WorkerOptions {
    /// This process is a worker
    #[arg(long = "worker")]
    _worker: bool,
    #[command(flatten)]
    beside: Beside,
}

impl Beside {
    /// `first` with these beside it.
    fn around(&self, first: Arc<dyn EngineKind>) -> Arc<dyn EngineKind> {
        let mut kind = first;
        if let Some(address) = &self.clamd {
            kind = Arc::new(WithClamd::new(kind, address));
        }
        #[cfg(windows)]
        if self.amsi {
            kind = Arc::new(crate::engine::WithAmsi::new(kind));
        }
        kind
    }

    /// How a worker is told of them.
    fn arguments(&self) -> Vec<String> {
        let clamd = self.clamd.iter();
        let clamd = clamd.flat_map(|address| ["--clamd".to_owned(), address.clone()]);
        #[cfg(windows)]
        let amsi = self.amsi.then(|| "--amsi".to_owned());
        #[cfg(not(windows))]
        let amsi = None;
        clamd.chain(amsi).collect()
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| cores.get().clamp(2, 64))
}

/// The scan service with the engine that `kind` makes, or one of its workers: what this process is
/// asked to be. To be called by a program's `main`, whose exit code this gives: 0 nothing was
/// detected, 1 something was, 2 the service could not do its work.
#[must_use]
pub fn main(kind: Arc<dyn EngineKind>) -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == WORKER_ARGUMENT)
    {
        let beside = WorkerOptions::parse().beside;
        return match worker::serve(&*beside.around(kind)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(cause) => {
                eprintln!("siloscand: {cause}");
                ExitCode::from(2)
            }
        };
    }
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let kind = options.beside.around(kind);
    #[cfg(windows)]
    if options.service {
        return crate::controller::run(Box::new(move || run(&options, &kind)));
    }
    match run(&options, &kind) {
        Ok(detected) => ExitCode::from(u8::from(detected)),
        Err(cause) => {
            eprintln!("siloscand: {cause}");
            ExitCode::from(2)
        }
    }
}

fn settings(options: &Options) -> Settings {
    Settings {
        threads: options.threads,
        file_bytes_max: options.max_file_mib.saturating_mul(1 << 20),
        memory_bytes_max: options.memory_mib.saturating_mul(1 << 20),
        audit: options.audit,
        quarantine: options.quarantine.is_some(),
        tell_layers: true,
        reconnect: !options.once,
        ..Settings::default()
    }
}

fn worker_settings(options: &Options) -> Result<WorkerSettings, String> {
    let path = std::env::current_exe()
        .map_err(|cause| format!("cannot tell which program this is, to start workers: {cause}"))?;
    let program = Program {
        path,
        arguments: std::iter::once(WORKER_ARGUMENT.to_owned())
            .chain(options.beside.arguments())
            .collect(),
        variables: Vec::new(),
    };
    Ok(WorkerSettings {
        memory_bytes_max: options.worker_memory_mib.saturating_mul(1 << 20),
        strikes_max: options.worker_strikes,
        ..WorkerSettings::new(program, options.threads)
    })
}

/// Serves until told to end. True when something was detected.
fn run(options: &Options, kind: &Arc<dyn EngineKind>) -> Result<bool, String> {
    let settings = settings(options);
    settings.check().map_err(|cause| cause.to_string())?;
    let quarantine = options.quarantine.as_deref();
    let quarantine = quarantine
        .map(|folder| Quarantine::keep(folder, Bounds::default()))
        .transpose()
        .map_err(|cause| cause.to_string())?;
    let (events, writer) = EventQueue::start(options.events.as_deref()).map_err(|cause| {
        let file = options
            .events
            .as_deref()
            .unwrap_or_else(|| std::path::Path::new("-"));
        format!(
            "cannot write events to {}: {cause}; name another file with --events",
            file.display()
        )
    })?;
    let rules = options.rules.as_deref();
    let workers = worker_settings(options)?;
    let keeper = RuleKeeper::new(Arc::clone(kind), rules, workers.clone());
    let mut packed = kind.pack(rules);
    for cause in std::mem::take(&mut packed.problems) {
        events.report(Event::BrokenRules { cause });
    }
    events.report(Event::Rules {
        digest: packed.digest.to_string(),
        rules: packed.rules,
    });
    let workers = Workers::start(packed, workers).map_err(|cause| cause.to_string())?;
    let service = Service::new(platform(options), settings, workers, Box::new(events))
        .map_err(|cause| cause.to_string())?;
    let asked_to_end = Arc::new(AtomicBool::new(false));
    end_on_signals(&asked_to_end).map_err(|cause| format!("cannot take signals: {cause}"))?;
    let store = options.runtime_store.as_deref().map(Store::new);
    let remedies = RemedyKeeper::new(quarantine, store);
    let outcome = serve(&service, options, (keeper, remedies), &asked_to_end);
    let counts = service.driver_counts();
    let pairs = ENTRIES.iter().zip(counts).filter(|(_, count)| *count > 0);
    let named = pairs.map(|(entry, count)| (format!("{}/{}", entry.kind, entry.name), count));
    service.report(Event::DriverCounts {
        counts: named.collect(),
    });
    for hits in service.hits() {
        service.report(Event::excluded(&hits));
    }
    for tally in service.container_counts() {
        service.report(Event::of_container(&tally));
    }
    let figures = service.figures();
    service.report(Event::Summary(figures));
    let dropped = writer
        .finish()
        .map_err(|cause| format!("cannot write events: {cause}"))?;
    if dropped > 0 {
        eprintln!("siloscand: {dropped} events were not written: their file was too slow");
    }
    outcome.map(|()| figures.infected > 0)
}

/// Serves on this thread and its workers. One more thread follows the rules folder and sees when
/// the program is asked to end, another one follows detections up: moving a file takes its time.
fn serve<P: Platform>(
    service: &Arc<Service<P>>,
    options: &Options,
    (mut keeper, mut remedies): (RuleKeeper, RemedyKeeper),
    asked_to_end: &AtomicBool,
) -> Result<(), String> {
    let (done, ended) = channel::<()>();
    let (served, over) = channel::<()>();
    std::thread::scope(|scope| {
        let store = options.runtime_store.as_deref().map(Store::new);
        let mut exclusions = options
            .exclusions
            .as_deref()
            .map(|file| ExclusionKeeper::new(file).with_store(store));
        if let Some(exclusions) = &mut exclusions {
            exclusions.check(service);
        }
        scope.spawn(move || {
            let mut looks = 0_u32;
            while ended.recv_timeout(LOOK_UP) == Err(RecvTimeoutError::Timeout) {
                looks = looks.wrapping_add(1);
                if asked_to_end.load(Ordering::SeqCst) {
                    service.stop();
                } else if looks.is_multiple_of(RULES_EVERY) {
                    if let Some(exclusions) = &mut exclusions {
                        exclusions.check(service);
                    }
                    keeper.check(service);
                }
            }
        });
        scope.spawn(move || {
            while over.recv_timeout(LOOK_UP) == Err(RecvTimeoutError::Timeout) {
                remedies.check(service);
            }
            // What came last is kept and told, though nothing is deleted without a connection.
            remedies.check(service);
        });
        let outcome = service.run().map_err(|cause| cause.to_string());
        drop((done, served));
        outcome
    })
}

#[cfg(unix)]
fn platform(options: &Options) -> crate::platform::BridgePlatform {
    crate::platform::BridgePlatform::new(&options.socket)
}

#[cfg(windows)]
fn platform(_options: &Options) -> crate::platform::WindowsPlatform {
    crate::platform::WindowsPlatform::new()
}

/// Sets `flag` when the system asks the program to end.
#[cfg(unix)]
fn end_on_signals(flag: &Arc<AtomicBool>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM] {
        // The first one asks; a second one ends the program at once.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(flag))?;
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// On Windows the service controller asks; a console ends the process, and nothing is lost by that.
#[cfg(windows)]
fn end_on_signals(flag: &Arc<AtomicBool>) -> std::io::Result<()> {
    crate::controller::stop_sets(flag);
    Ok(())
}
