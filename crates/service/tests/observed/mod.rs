//! A service with real engines in real workers, some scans behind it, a driver's side that has told
//! its counters, and the endpoint that tells of all this.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use siloscan_core::reason::{
    AllowReason, Counters, DenyReason, Failure, LookupReason, ScanReason, SkipReason,
};
use siloscan_core::tally::Tallies;
use siloscan_core::wire::{ContainerCounts, Counts, WireVerdict};
use siloscan_service::engine::{EngineKind, Yara, eicar_test_file};
use siloscan_service::metrics::{Endpoint, bind};
use siloscan_service::program::WORKER_ARGUMENT;
use siloscan_service::settings::Settings;
use siloscan_service::worker::{Program, WorkerSettings, Workers};
use zerocopy::{FromZeros, IntoBytes};

use crate::driver_side::{FileBytes, Running};

/// The container that the driver's side tells of, as text.
pub const CONTAINER: &str = "07070707-0707-0707-0707-070707070707";
/// Files without a find that were scanned.
pub const CLEAN: u64 = 3;

/// The service, and where it tells of itself.
pub struct Observed {
    pub endpoint: Endpoint,
    pub running: Running,
}

/// Starts it and waits until it has done and heard everything.
pub fn observed() -> Observed {
    let settings = Settings {
        threads: 2,
        idle: Duration::from_millis(20),
        file_bytes_max: 1 << 20,
        ..Settings::default()
    };
    let program = Program {
        path: PathBuf::from(env!("CARGO_BIN_EXE_siloscand")),
        arguments: vec![WORKER_ARGUMENT.to_owned()],
        variables: Vec::new(),
    };
    let workers = Workers::start(Yara.pack(None), WorkerSettings::new(program, 2));
    let running = Running::start(workers.expect("workers start"), settings);
    let service = Arc::clone(&running.service);
    let begun = Instant::now();
    let bound = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let endpoint = bound
        .start(Box::new(move || service.status(begun.elapsed())))
        .expect("a thread");
    let observed = Observed { endpoint, running };
    observed.scan();
    observed.tell();
    observed
}

impl Observed {
    fn scan(&self) {
        let driver = &self.running.driver;
        for _ in 0..CLEAN {
            assert_eq!(self.verdict(b"nothing in it"), WireVerdict::CLEAN);
        }
        assert_eq!(self.verdict(&eicar_test_file()), WireVerdict::INFECTED);
        let huge = driver.ask(FileBytes::default(), 2 << 20);
        assert_eq!(driver.answer(huge).verdict, WireVerdict::UNSCANNABLE);
        driver.poll_answer(driver.poll(1), 1);
    }

    /// What the service says of these bytes.
    pub fn verdict(&self, bytes: &[u8]) -> WireVerdict {
        let file = FileBytes {
            bytes: bytes.to_vec(),
            ..FileBytes::default()
        };
        let driver = &self.running.driver;
        driver.answer(driver.ask(file, bytes.len() as u64)).verdict
    }

    /// The driver tells its counters and its containers.
    fn tell(&self) {
        let counters = Counters::new();
        for _ in 0..8 {
            counters.count(LookupReason::Layer);
        }
        for _ in 0..6 {
            counters.count(AllowReason::CachedClean);
        }
        counters.count(LookupReason::Excluded);
        counters.count(ScanReason::ALL[0]);
        counters.count(SkipReason::ALL[0]);
        counters.count(DenyReason::ScannedInfected);
        counters.count(Failure::Breaker);
        let mut counts = Box::new(Counts::new_zeroed());
        assert!(counts.fill(&counters));
        let mut tallies = Tallies::new();
        tallies.note(&[7; 16], 0, |tally| {
            tally.open(0, 2_500_000);
            tally.denied = 1;
        });
        let mut containers = Box::new(ContainerCounts::new_zeroed());
        assert!(containers.fill(&mut tallies));
        let Running {
            driver, service, ..
        } = &self.running;
        driver.send(counts.as_bytes(), 0);
        driver.send(containers.as_bytes(), 0);
        driver.wait(|| (!service.container_counts().is_empty()).then_some(()));
        driver.wait(|| (!service.driver_counts().is_empty()).then_some(()));
        service.exclude_containers(vec![[9; 16]]);
    }

    /// The answer to GET, head and body.
    pub fn get(&self, path: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        ask(self.endpoint.address(), request.as_bytes())
    }

    /// Lets everything go.
    pub fn finish(self) {
        drop(self.endpoint);
        self.running.finish();
    }
}

/// Sends bytes; what comes back until the other side hangs up, as head and body.
pub fn ask(address: SocketAddr, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it answers");
    stream.write_all(request).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    (head.to_owned(), body.to_owned())
}

/// The folder with the dashboard and the alerts.
pub fn grafana() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/grafana")
}

/// Every query of the dashboard.
pub fn queries() -> Vec<String> {
    let text = std::fs::read_to_string(grafana().join("siloscan.json")).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
    if let Some(query) = value.get("expr").and_then(|expr| expr.as_str()) {
        found.push(query.to_owned());
    }
    match value {
        serde_json::Value::Array(all) => all.iter().for_each(|one| collect(one, found)),
        serde_json::Value::Object(all) => all.values().for_each(|one| collect(one, found)),
        _ => {}
    }
}
