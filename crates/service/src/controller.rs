//! siloscand under Windows' service controller: it starts the program, asks it to stop, and is told
//! how it goes. Only there does the process carry `NT SERVICE\siloscand`, whom the port admits.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::event_log::EventLog;

use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult};
use windows_service::{Result, define_windows_service, service_dispatcher};

/// The service's name, and so its SID.
const NAME: &str = "siloscand";
/// How long a stop may take, as the system is told; a scan that hangs may hold it up for longer.
const STOP_HINT: Duration = Duration::from_secs(20);

/// The program, to be run once.
pub(crate) type Work = Box<dyn FnOnce() -> std::result::Result<bool, String> + Send>;

/// Set when the controller asks the program to end.
static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
/// What the program does, and what it came to: true if something was detected.
static WORK: Mutex<Option<Work>> = Mutex::new(None);

define_windows_service!(entry, service_main);

/// The Event Log, where it can be opened.
static LOG: OnceLock<Option<Arc<EventLog>>> = OnceLock::new();

/// The log that a service has in place of a standard error.
pub(crate) fn log() -> Option<Arc<EventLog>> {
    LOG.get_or_init(|| EventLog::open().ok().map(Arc::new))
        .clone()
}

/// With what the system said, which the library's own text leaves out.
fn told(cause: &windows_service::Error) -> String {
    match cause.source() {
        Some(source) => format!("{cause}: {source}"),
        None => cause.to_string(),
    }
}

/// Tells why the service did not do its work: to who started it by hand, too.
fn fail(cause: &str) {
    eprintln!("siloscand: {cause}");
    if let Some(log) = log() {
        log.program(cause);
    }
}

/// Hands the program over to the controller until it has stopped.
pub(crate) fn run(work: Work) -> ExitCode {
    *WORK.lock() = Some(work);
    // A panic ends the process when it reaches the controller's own code, and says so to nobody.
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    match service_dispatcher::start(NAME, entry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            fail(&format!(
                "--service is for the service controller alone: {}",
                told(&cause)
            ));
            ExitCode::from(2)
        }
    }
}

/// From now on a stop sets `flag`.
pub(crate) fn stop_sets(flag: &Arc<AtomicBool>) {
    ASKED.get_or_init(|| Arc::clone(flag));
}

fn service_main(_arguments: Vec<OsString>) {
    if let Err(cause) = serve() {
        fail(&format!("the service controller: {}", told(&cause)));
    }
}

fn serve() -> Result<()> {
    let told = service_control_handler::register(NAME, |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown => {
            if let Some(flag) = ASKED.get() {
                flag.store(true, Ordering::SeqCst);
            }
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    })?;
    let state = |current_state, exit_code| ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted: ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
        exit_code,
        checkpoint: 0,
        wait_hint: STOP_HINT,
        process_id: None,
    };
    told.set_service_status(state(ServiceState::Running, ServiceExitCode::NO_ERROR))?;
    let work = WORK.lock().take();
    let outcome = work.map(|work| work());
    let code = match outcome {
        Some(Ok(_)) => ServiceExitCode::NO_ERROR,
        Some(Err(cause)) => {
            fail(&cause);
            ServiceExitCode::ServiceSpecific(2)
        }
        None => ServiceExitCode::ServiceSpecific(3),
    };
    told.set_service_status(state(ServiceState::Stopped, code))
}
