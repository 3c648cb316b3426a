//! The scan service as a program, around whatever engine it is given: options, signals, the folder
//! of rules, and what is told at the end.
//!
//! The same program is the worker: the service starts itself with [`WORKER_ARGUMENT`].

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use siloscan_configuration::Configuration;
use siloscan_core::reason::ENTRIES;
use siloscan_quarantine::{Bounds, Quarantine};

use crate::configured::{Follower, Line, Source, bounds};
use crate::engine::{EngineKind, WithClamd};
use crate::events::{Event, EventQueue, EventSink, Mirror};
use crate::kept;
use crate::metrics;
use crate::platform::Platform;
use crate::remedy::RemedyKeeper;
use crate::rules::RuleKeeper;
use crate::runtime::Store;
use crate::service::Service;
use crate::settings::Settings;
use crate::stats::Figures;
use crate::worker::{self, KEPT_BYTES_MAX, Program, WorkerSettings, Workers};

/// The first argument of a worker process. The engines beside the first one follow.
pub const WORKER_ARGUMENT: &str = "--worker";

/// How often to see whether the program is asked to end.
const LOOK_UP: Duration = Duration::from_millis(100);
/// How long the end waits for verdicts to be written, at each store.
const FLUSH: Duration = Duration::from_secs(2);
/// The rules folder and the exclusions are looked at once in so many looks: every second.
const RULES_EVERY: u32 = 10;

/// Scans files for the siloscan driver.
#[derive(Parser)]
#[command(name = "siloscand", version)]
struct Options {
    /// Configuration in TOML, followed while running. What the options set goes before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Tell what is wrong with the configuration, and end
    #[arg(long, requires = "config")]
    check: bool,

    #[command(flatten)]
    line: Line,

    /// Socket of the filter host to serve
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", required_unless_present = "check")]
    socket: Option<PathBuf>,

    /// Run under the service controller, as `sc create` is told to start it
    #[cfg(windows)]
    #[arg(long)]
    service: bool,

    /// End when the connection to the driver ends, and fail if there is none at the start
    #[arg(long)]
    once: bool,
}

/// Engines that are asked about what the first one does not find.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Beside {
    /// Ask ClamAV's daemon about what the rules do not find: the path of its socket, or HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) clamd: Option<String>,

    /// Ask the antivirus that is registered with Windows about what the rules do not find
    #[cfg(windows)]
    #[arg(long)]
    pub(crate) amsi: bool,
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
    /// Those that are configured.
    fn of(all: &Configuration) -> Self {
        Self {
            clamd: all.clamd.clone(),
            #[cfg(windows)]
            amsi: all.amsi,
        }
    }

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
    begin_log(&options);
    if options.check {
        return ended(checked(&options));
    }
    #[cfg(windows)]
    if options.service {
        return crate::controller::run(Box::new(move || run(&options, kind)));
    }
    ended(run(&options, kind))
}

/// Log lines go to the standard error; under the service controller nobody has that, and warnings
/// and errors go to the Event Log.
fn begin_log(options: &Options) {
    #[cfg(windows)]
    if options.service {
        use tracing_subscriber::layer::SubscriberExt;
        use tracing_subscriber::util::SubscriberInitExt;
        if let Some(log) = crate::controller::log() {
            tracing_subscriber::registry()
                .with(crate::event_log::Lines(log))
                .init();
            return;
        }
    }
    let _ = options;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Who is told the records beside the file.
fn mirrors(options: &Options) -> Vec<Box<dyn Mirror>> {
    #[cfg(windows)]
    {
        let mut all: Vec<Box<dyn Mirror>> = vec![Box::new(crate::event_log::Etw::begin())];
        if let Some(log) = options.service.then(crate::controller::log).flatten() {
            all.push(Box::new(log));
        }
        all
    }
    #[cfg(not(windows))]
    {
        let _ = options;
        Vec::new()
    }
}

fn ended(outcome: Result<bool, String>) -> ExitCode {
    match outcome {
        Ok(detected) => ExitCode::from(u8::from(detected)),
        Err(cause) => {
            eprintln!("siloscand: {cause}");
            ExitCode::from(2)
        }
    }
}

/// Whether the configuration is right.
fn checked(options: &Options) -> Result<bool, String> {
    source(options).read()?;
    println!("nothing is wrong with it");
    Ok(false)
}

/// What a file configures the service to, if `siloscand --check` finds nothing wrong with it.
///
/// # Errors
/// Everything that is wrong with it, one line each. No password is repeated.
pub fn checked_configuration(file: &Path) -> Result<Configuration, String> {
    let source = Source {
        file: Some(file.to_owned()),
        line: Line::default(),
    };
    source.read().map(|(all, _)| all)
}

fn source(options: &Options) -> Source {
    Source {
        file: options.config.clone(),
        line: options.line.clone(),
    }
}

pub(crate) fn settings(all: &Configuration, once: bool) -> Settings {
    let (file_bytes_max, memory_bytes_max) = bounds(all);
    Settings {
        threads: threads(all),
        file_bytes_max,
        memory_bytes_max,
        audit: all.audit,
        quarantine: all.quarantine.is_some(),
        tell_layers: true,
        reconnect: !once,
        ..Settings::default()
    }
}

fn threads(all: &Configuration) -> usize {
    match all.threads {
        0 => std::thread::available_parallelism().map_or(4, |cores| cores.get().clamp(2, 64)),
        threads => threads,
    }
}

/// Which program this is. To be asked once: where its file is replaced while it runs, Linux gives
/// another name.
fn own_path() -> Result<PathBuf, String> {
    std::env::current_exe()
        .map_err(|cause| format!("cannot tell which program this is, to start workers: {cause}"))
}

/// What stays with each worker: little beside the memory for copies, where that is little.
fn kept_bytes(all: &Configuration) -> usize {
    let part = all.memory_mib.saturating_mul(1 << 20) / 8;
    usize::try_from(part).map_or(KEPT_BYTES_MAX, |part| part.min(KEPT_BYTES_MAX))
}

pub(crate) fn worker_settings(path: PathBuf, all: &Configuration) -> WorkerSettings {
    let program = Program {
        path,
        arguments: std::iter::once(WORKER_ARGUMENT.to_owned())
            .chain(Beside::of(all).arguments())
            .collect(),
        variables: Vec::new(),
    };
    WorkerSettings {
        memory_bytes_max: all.worker_memory_mib.saturating_mul(1 << 20),
        kept_bytes_max: kept_bytes(all),
        strikes_max: all.worker_strikes,
        ..WorkerSettings::new(program, threads(all))
    }
}

/// The quarantine, if there is to be one. What cannot be dealt with in it is told.
fn quarantine(all: &Configuration) -> Result<Option<Quarantine>, String> {
    let folder = all.quarantine.as_deref();
    let kept = folder.map(|folder| Quarantine::keep(folder, Bounds::default()));
    let kept = kept.transpose().map_err(|cause| cause.to_string())?;
    for left in kept.iter().flat_map(Quarantine::left) {
        tracing::warn!("of the quarantine: {left}");
    }
    Ok(kept)
}

/// Serves until told to end. True when something was detected.
fn run(options: &Options, kind: Arc<dyn EngineKind>) -> Result<bool, String> {
    // First: an end may be asked for while all the rest is being made.
    let asked_to_end = Arc::new(AtomicBool::new(false));
    end_on_signals(&asked_to_end).map_err(|cause| format!("cannot take signals: {cause}"))?;
    let source = source(options);
    let (all, bytes) = source.read()?;
    if cfg!(not(windows)) && all.amsi {
        // `--check` takes it: a host's file may be checked elsewhere.
        let cause = "engine.amsi asks the antivirus of Windows, which is not here; set it to false";
        return Err(cause.to_owned());
    }
    let kind = Beside::of(&all).around(kind);
    let settings = settings(&all, options.once);
    let quarantine = quarantine(&all)?;
    let begun = Instant::now();
    let bound = all.metrics.map(metrics::bind);
    let bound = match bound.transpose() {
        // Whoever holds the port must not keep files from being scanned.
        Err(cause @ metrics::EndpointError::Bind(..)) => {
            tracing::error!("{cause}. Until the next start nobody can ask");
            None
        }
        bound => bound.map_err(|cause| cause.to_string())?,
    };
    let started = EventQueue::start(all.events.as_deref(), mirrors(options));
    let (events, writer) = started.map_err(|cause| {
        let file = all.events.as_deref().unwrap_or_else(|| Path::new("-"));
        format!(
            "cannot write events to {}: {cause}; name another file with --events",
            file.display()
        )
    })?;
    let verdicts = kept::open(&all, &events)?;
    let rules = all.rules.as_deref();
    let workers = worker_settings(own_path()?, &all);
    let keeper = RuleKeeper::new(Arc::clone(&kind), rules, workers.clone());
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
    if let Some(verdicts) = verdicts {
        service.keep_verdicts(verdicts);
    }
    let endpoint = bound.map(|bound| tell_metrics(bound, &service, begun));
    let _endpoint = endpoint.transpose()?;
    let store = all.runtime_store.as_deref().map(Store::new);
    let remedies = RemedyKeeper::new(quarantine, store);
    let mut follower = Follower::new(source, all, bytes, keeper);
    follower.begin(&service);
    let outcome = serve(&service, (follower, remedies), &asked_to_end);
    let figures = tell_the_end(&service);
    let dropped = writer
        .finish()
        .map_err(|cause| format!("cannot write events: {cause}"))?;
    if dropped > 0 {
        tracing::warn!("{dropped} events were not written: their file was too slow");
    }
    outcome.map(|()| figures.infected > 0)
}

/// What is told at the end.
fn tell_the_end<P: Platform>(service: &Service<P>) -> Figures {
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
    if let Some(verdicts) = service.verdicts() {
        // What a slow Redis has not taken by then, another host scans.
        verdicts.flush(FLUSH);
        service.report(Event::Verdicts(verdicts.figures()));
    }
    let figures = service.figures();
    service.report(Event::Summary(figures));
    figures
}

/// Answers who asks for metrics, until what this gives is dropped.
fn tell_metrics<P: Platform>(
    bound: metrics::Bound,
    service: &Arc<Service<P>>,
    begun: Instant,
) -> Result<metrics::Endpoint, String> {
    let service = Arc::clone(service);
    let facts = Box::new(move || service.status(begun.elapsed()));
    let endpoint = bound.start(facts).map_err(|cause| cause.to_string())?;
    tracing::info!(
        "metrics at http://{}{}",
        endpoint.address(),
        metrics::PATH_METRICS
    );
    Ok(endpoint)
}

/// Serves on this thread and its workers. One more thread follows what is configured and sees when
/// the program is asked to end, another one follows detections up, since moving a file takes its
/// time, and one keeps layers scanned.
fn serve<P: Platform>(
    service: &Arc<Service<P>>,
    (mut follower, mut remedies): (Follower, RemedyKeeper),
    asked_to_end: &AtomicBool,
) -> Result<(), String> {
    let (done, ended) = channel::<()>();
    let (served, over) = channel::<()>();
    let (proactive_done, proactive_ended) = channel::<()>();
    let settings = follower.proactive();
    std::thread::scope(|scope| {
        scope.spawn(move || crate::proactive::follow(service, &settings, &proactive_ended));
        scope.spawn(move || {
            let mut looks = 0_u32;
            while ended.recv_timeout(LOOK_UP) == Err(RecvTimeoutError::Timeout) {
                looks = looks.wrapping_add(1);
                if asked_to_end.load(Ordering::SeqCst) {
                    service.stop();
                } else if looks.is_multiple_of(RULES_EVERY) {
                    follower.check(service);
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
        drop((done, served, proactive_done));
        outcome
    })
}

#[cfg(unix)]
fn platform(options: &Options) -> crate::platform::BridgePlatform {
    let socket = options.socket.as_deref();
    // It is there wherever the program serves.
    crate::platform::BridgePlatform::new(socket.unwrap_or_else(|| Path::new("")))
}

#[cfg(windows)]
fn platform(_options: &Options) -> crate::platform::WindowsPlatform {
    crate::platform::WindowsPlatform::new()
}

/// Sets `flag` when the system asks the program to end.
#[cfg(unix)]
pub(crate) fn end_on_signals(flag: &Arc<AtomicBool>) -> std::io::Result<()> {
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
