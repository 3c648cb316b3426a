//! The service under load: its real session loop, copies, replies and worker processes; the
//! driver's side is played here, in memory, so that nothing else is measured.

pub mod driver;
pub mod engine;
pub mod hosts;
pub mod process;
pub mod soak;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use siloscan_service::events::NoEvents;
use siloscan_service::platform::ConnectError;
use siloscan_service::scans::Scans;
use siloscan_service::service::Service;
use siloscan_service::settings::Settings;
use siloscan_service::worker::{self, Program, WorkerSettings};

use driver::{DriverSide, LoadPlatform};

/// Makes a program one of its own workers: see [`be_a_worker`].
const WORKER: &str = "SILOSCAN_LOAD_WORKER";

/// The arguments with which a test program runs its test `this_program_is_its_own_worker` alone,
/// which calls [`be_a_worker`].
pub const AT_ITS_TEST: [&str; 4] = [
    "this_program_is_its_own_worker",
    "--exact",
    "--nocapture",
    "--test-threads=1",
];

/// Serves as a worker, and does not return, where [`own_workers`] started this process.
pub fn be_a_worker() {
    if std::env::var_os(WORKER).is_some() {
        let ended = worker::serve(&engine::Hungry);
        std::process::exit(i32::from(ended.is_err()));
    }
}

/// Workers that are this program, which calls [`be_a_worker`] when it is started with `arguments`.
///
/// # Errors
/// When the system does not say which file this program is.
pub fn own_workers(arguments: &[&str], threads: usize) -> Result<WorkerSettings, String> {
    let path = std::env::current_exe().map_err(|cause| format!("this program's file: {cause}"))?;
    let program = Program {
        path,
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        variables: vec![(WORKER.to_owned(), "1".to_owned())],
    };
    Ok(WorkerSettings::new(program, threads))
}

/// A service that runs, and the driver's side of it.
pub struct Running {
    /// Asks, and sees the answers.
    pub driver: DriverSide,
    /// The service.
    pub service: Arc<Service<LoadPlatform>>,
    begun: Instant,
    thread: JoinHandle<Result<(), ConnectError>>,
}

impl Running {
    /// Starts it and waits until it is connected.
    ///
    /// # Errors
    /// When the settings are outside of their bounds.
    pub fn start(scans: impl Into<Scans>, settings: Settings) -> Result<Self, String> {
        let driver = DriverSide::default();
        let platform = LoadPlatform::new(&driver);
        let service = Service::new(platform, settings, scans, Box::new(NoEvents));
        let service = service.map_err(|cause| cause.to_string())?;
        let own = Arc::clone(&service);
        let thread = thread::spawn(move || own.run());
        driver.wait_until_connected();
        Ok(Self {
            driver,
            service,
            begun: Instant::now(),
            thread,
        })
    }

    /// Workers that are idle, and those that there should be.
    #[must_use]
    pub fn workers(&self) -> (u64, u64) {
        let status = self.service.status(self.begun.elapsed());
        status.workers.map_or((0, 0), |w| (w.idle, w.wanted))
    }

    /// Waits until every worker is idle: those that ended have their successors.
    pub fn settle(&self) {
        loop {
            let (idle, wanted) = self.workers();
            if idle >= wanted {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the service. What it did against the rules of the port, one sentence each.
    ///
    /// # Errors
    /// Why it was not connected, or that one of its threads panicked.
    pub fn finish(self) -> Result<Vec<String>, String> {
        self.service.stop();
        match self.thread.join() {
            Ok(Ok(())) => Ok(self.driver.broken()),
            Ok(Err(cause)) => Err(cause.to_string()),
            Err(_) => Err("a thread of the service panicked".to_owned()),
        }
    }
}
