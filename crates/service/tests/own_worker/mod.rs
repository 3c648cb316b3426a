//! A test program that is its own worker: the service starts it anew, at one of its tests.

use siloscan_service::engine::EngineKind;
use siloscan_service::worker::{self, Program, WorkerSettings};

/// The variable that makes a test program a worker.
const WORKER: &str = "SILOSCAN_TEST_WORKER";

/// What that test does. Does not return where this process is a worker.
pub fn be_a_worker(kind: &dyn EngineKind) {
    if std::env::var_os(WORKER).is_some() {
        let ended = worker::serve(kind);
        std::process::exit(i32::from(ended.is_err()));
    }
}

/// Workers that are this program, at the test named `entry`.
pub fn settings(entry: &str, threads: usize) -> WorkerSettings {
    let program = Program {
        path: std::env::current_exe().expect("this program"),
        arguments: [entry, "--exact", "--nocapture", "--test-threads=1"]
            .map(str::to_owned)
            .to_vec(),
        variables: vec![(WORKER.to_owned(), "1".to_owned())],
    };
    WorkerSettings::new(program, threads)
}
