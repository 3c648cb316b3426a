//! Verdicts that are kept: a second instance asks no worker, changed rules ask anew, and whoever
//! writes to Redis cannot whitewash a file.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
mod own_worker;
#[expect(dead_code, reason = "what this test needs of it is a part")]
mod unruly;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use driver_side::{FileBytes, Running};
use siloscan_core::wire::{ScanAnswer, WireVerdict};
use siloscan_service::engine::{EICAR_RULE, EngineKind, Yara, eicar_test_file};
use siloscan_service::events::Event;
use siloscan_service::settings::Settings;
use siloscan_service::worker::Workers;
use siloscan_verdicts::{Figures, FleetSettings, Secret, Verdicts};

const ENTRY: &str = "this_program_is_its_own_worker";
/// What the service says to have gone wrong, beside its verdict.
const FAILED: u32 = 3;
const LONG: Duration = Duration::from_mins(2);

/// The worker whose engine does what a file tells it to.
#[test]
fn this_program_is_its_own_worker() {
    own_worker::be_a_worker(&unruly::Unruly);
}

#[test]
fn this_program_is_a_worker_with_rules() {
    own_worker::be_a_worker(&Yara);
}

fn store(folder: &Path, fleet: Option<FleetSettings>) -> Verdicts {
    let settings = siloscan_verdicts::Settings {
        fleet,
        ..siloscan_verdicts::Settings::new(folder.join("verdicts"))
    };
    Verdicts::open(settings, Box::new(|_cause| {})).expect("a store")
}

fn quick() -> Settings {
    Settings {
        threads: 2,
        idle: Duration::from_millis(20),
        ..Settings::default()
    }
}

/// A service of rule set `rules` with the verdicts in `folder`.
fn start(rules: u8, folder: &Path, fleet: Option<FleetSettings>) -> Running {
    start_with(workers(rules), store(folder, fleet))
}

fn workers(rules: u8) -> std::sync::Arc<Workers> {
    let settings = own_worker::settings(ENTRY, 2);
    Workers::start(unruly::packed(rules), settings).expect("workers start")
}

fn start_with(workers: std::sync::Arc<Workers>, verdicts: Verdicts) -> Running {
    start_as(quick(), workers, verdicts)
}

fn start_as(settings: Settings, workers: std::sync::Arc<Workers>, verdicts: Verdicts) -> Running {
    let running = Running::start(workers, settings);
    running.service.keep_verdicts(verdicts);
    running
}

fn ask(running: &Running, bytes: &[u8]) -> u64 {
    let file = FileBytes {
        bytes: bytes.to_vec(),
        ..FileBytes::default()
    };
    running.driver.ask(file, bytes.len() as u64)
}

fn answer(running: &Running, bytes: &[u8]) -> ScanAnswer {
    running.driver.answer(ask(running, bytes))
}

fn verdict(running: &Running, bytes: &[u8]) -> (WireVerdict, String) {
    let answer = answer(running, bytes);
    (answer.verdict, answer.rule_name().to_owned())
}

fn clean() -> (WireVerdict, String) {
    (WireVerdict::CLEAN, String::new())
}

fn infected(rule: &str) -> (WireVerdict, String) {
    (WireVerdict::INFECTED, rule.to_owned())
}

fn figures(running: &Running) -> Figures {
    running.service.verdicts().expect("kept").figures()
}

/// Ends the service, with all that it learned written.
fn end(running: Running) {
    assert!(running.service.verdicts().expect("kept").flush(LONG));
    running.finish();
}

/// Where detections came from, as the events tell it.
fn known(running: &Running, many: usize) -> Vec<Option<&'static str>> {
    let told = || {
        let events = running.events.all();
        let known = events.iter().filter_map(|event| match event {
            Event::Detection { known, .. } => Some(*known),
            _ => None,
        });
        let known: Vec<_> = known.collect();
        (known.len() >= many).then_some(known)
    };
    running.driver.wait(told)
}

/// The engine names the process that scanned, so an answer that is the same again is a kept one.
#[test]
fn a_second_instance_asks_no_worker_for_what_the_first_one_scanned() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = [b"!", vec![b'x'; 3 << 20].as_slice()].concat();
    let first = start(1, folder.path(), None);
    let who = verdict(&first, b"WHO");
    for bytes in [b"".as_slice(), b"good", &large[1..]] {
        assert_eq!(verdict(&first, bytes), clean());
    }
    assert_eq!(verdict(&first, &large), infected("Bang"));
    // What could not be scanned is not kept.
    let failed = answer(&first, b"FAIL");
    assert_eq!(
        (failed.verdict, failed.detail),
        (WireVerdict::UNSCANNABLE, FAILED)
    );
    assert_eq!(known(&first, 2), [None, None]);
    assert_eq!(figures(&first).misses, 6);
    end(first);

    let second = start(1, folder.path(), None);
    assert_eq!(verdict(&second, b"WHO"), who, "that process has ended");
    for bytes in [b"".as_slice(), b"good", &large[1..]] {
        assert_eq!(verdict(&second, bytes), clean());
    }
    assert_eq!(verdict(&second, &large), infected("Bang"));
    assert_eq!(answer(&second, &large).digest, [1; 32]);
    assert_eq!(answer(&second, b"FAIL").detail, FAILED);
    assert_eq!(verdict(&second, b"good "), clean());
    assert_eq!(known(&second, 3), [Some("local"); 3]);
    let counted = figures(&second);
    assert_eq!((counted.local_hits, counted.misses), (6, 2));
    assert_eq!(second.service.figures().bytes, 5, "one file was scanned");
    end(second);

    // What is done about detections is asked anew: the verdicts are the rules' alone.
    let audit = Settings {
        audit: true,
        ..quick()
    };
    let audited = start_as(audit, workers(1), store(folder.path(), None));
    assert_eq!(verdict(&audited, &large), clean());
    assert_eq!(known(&audited, 1), [Some("local")]);
    // What is to be removed is removed a little later.
    std::thread::sleep(Duration::from_millis(300));
    end(audited);
    let fourth = start(1, folder.path(), None);
    assert_eq!(verdict(&fourth, &large), infected("Bang"));
    assert_eq!(figures(&fourth).local_hits, 1, "the audit removed nothing");
    end(fourth);

    // Other rules.
    let third = start(2, folder.path(), None);
    assert_ne!(verdict(&third, b"WHO"), who);
    assert_eq!(figures(&third).local_hits, 0);
    end(third);
}

#[test]
fn a_scan_that_outlives_its_rule_set_is_kept_under_the_one_that_scanned() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = folder.path().join("gate");
    let slow = format!("UNTIL {}", gate.display());
    let running = start(1, folder.path(), None);
    let request = ask(&running, slow.as_bytes());
    running
        .driver
        .wait(|| (figures(&running).misses == 1).then_some(()));
    let settings = own_worker::settings(ENTRY, 2);
    let next = Workers::start(unruly::packed(2), settings).expect("workers start");
    running.service.use_engine(next);
    fs::write(&gate, b"").expect("written");
    assert_eq!(running.driver.answer(request).digest, [1; 32]);
    // The new set scans it for itself.
    assert_eq!(answer(&running, slow.as_bytes()).digest, [2; 32]);
    let counted = figures(&running);
    assert_eq!((counted.local_hits, counted.misses), (0, 2));
    end(running);
    let again = start(2, folder.path(), None);
    assert_eq!(verdict(&again, slow.as_bytes()), clean());
    assert_eq!(figures(&again).local_hits, 1);
    end(again);
}

#[test]
fn a_changed_folder_of_rules_asks_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).expect("a folder");
    let with_rules = || {
        let settings = own_worker::settings("this_program_is_a_worker_with_rules", 1);
        let workers = Workers::start(Yara.pack(Some(&rules)), settings);
        start_with(workers.expect("workers start"), store(folder.path(), None))
    };
    let first = with_rules();
    assert_eq!(verdict(&first, b"a needle"), clean());
    assert_eq!(verdict(&first, &eicar_test_file()), infected(EICAR_RULE));
    end(first);
    let second = with_rules();
    assert_eq!(verdict(&second, b"a needle"), clean());
    assert_eq!(figures(&second).local_hits, 1);
    end(second);
    let rule = "rule Needle { strings: $n = \"needle\" condition: $n }";
    fs::write(rules.join("needle.yar"), rule).expect("written");
    let third = with_rules();
    assert_eq!(verdict(&third, b"a needle"), infected("Needle"));
    assert_eq!(verdict(&third, &eicar_test_file()), infected(EICAR_RULE));
    assert_eq!(figures(&third).local_hits, 0);
    end(third);
}

/// A redis-server without a password.
struct Redis {
    _folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Redis {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let child = Command::new("/usr/bin/redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.expect("redis-server starts; install redis-server");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert_eq!(child.try_wait().expect("a child"), None, "it ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self {
            _folder: folder,
            port,
            child,
        }
    }

    fn fleet(&self, secret: u8) -> FleetSettings {
        let url = format!("redis://127.0.0.1:{}", self.port);
        FleetSettings {
            // A busy machine may take longer than a product should wait.
            patience: LONG,
            ..FleetSettings::new(
                url.parse().expect("an address"),
                Secret::from_bytes([secret; 32]),
            )
        }
    }

    /// Says a line to it, and reads the answer.
    fn say(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it runs");
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .expect("it listens");
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    fn keys(&self) -> Vec<String> {
        let said = self.say("KEYS *");
        let keys = said.lines().filter(|line| line.starts_with("siloscan:"));
        keys.map(str::to_owned).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
#[ignore = "needs Debian's redis-server: cargo xtask test --only unit"]
fn whoever_writes_to_redis_cannot_whitewash_a_file() {
    let redis = Redis::new();
    let folders: Vec<_> = (0..5)
        .map(|_| tempfile::tempdir().expect("a folder"))
        .collect();
    let host = |number: usize, secret| start(1, folders[number].path(), Some(redis.fleet(secret)));
    let first = host(0, 1);
    assert_eq!(verdict(&first, b"!bad"), infected("Bang"));
    let bad = redis_key_of(&first, &redis, 1);
    assert_eq!(verdict(&first, b"good"), clean());
    let good = redis_key_of(&first, &redis, 2).into_iter();
    let good: Vec<String> = good.filter(|key| !bad.contains(key)).collect();
    let ([bad], [good]) = (bad.as_slice(), good.as_slice()) else {
        panic!("{bad:?} {good:?}");
    };
    end(first);
    // Another host of the fleet knows both.
    let second = host(1, 1);
    assert_eq!(verdict(&second, b"!bad"), infected("Bang"));
    assert_eq!(verdict(&second, b"good"), clean());
    assert_eq!(figures(&second).fleet_hits, 2);
    assert_eq!(known(&second, 1), [Some("fleet")]);
    assert_eq!(second.service.figures().bytes, 0);
    end(second);
    // The true record of the clean file in the bad one's place.
    assert_eq!(redis.say(&format!("COPY {good} {bad} REPLACE")), ":1\r\n");
    let third = host(2, 1);
    assert_eq!(verdict(&third, b"!bad"), infected("Bang"));
    assert_eq!(
        (figures(&third).fleet_forged, figures(&third).fleet_hits),
        (1, 0)
    );
    assert_eq!(known(&third, 1), [None], "it was scanned");
    end(third);
    // Something that looks like "clean".
    assert_eq!(redis.say(&format!("SET {bad} clean")), "+OK\r\n");
    let fourth = host(3, 1);
    assert_eq!(verdict(&fourth, b"!bad"), infected("Bang"));
    assert_eq!(figures(&fourth).fleet_forged, 1);
    end(fourth);
    // Another fleet's "clean" would be sealed with another key.
    let stranger = host(4, 2);
    assert_eq!(verdict(&stranger, b"good"), clean());
    assert_eq!(figures(&stranger).fleet_forged, 1);
    end(stranger);
}

/// The keys that Redis has, once all is written and there are `many`.
fn redis_key_of(running: &Running, redis: &Redis, many: usize) -> Vec<String> {
    assert!(running.service.verdicts().expect("kept").flush(LONG));
    let keys = redis.keys();
    assert_eq!(keys.len(), many);
    keys
}
