//! Where an engine computes, no more scans run than there are processors; and nobody waits for one
//! that takes much longer than others.
//!
//! How long that is, the clock says, and on a busy machine it may be over before the test has
//! looked. What holds only until then is tried a few times.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
mod own_worker;
#[expect(dead_code, reason = "what this test needs of it is a part")]
mod unruly;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use driver_side::{DriverSide, FileBytes, Running};
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::{EngineKind, Packed, WithClamd, Yara};
use siloscan_service::metrics::LoadStatus;
use siloscan_service::settings::Settings;
use siloscan_service::worker::Workers;

const ENTRY: &str = "this_program_is_its_own_worker";
/// What the service says to have gone wrong, beside its verdict.
const LATE: u32 = 7;
/// What scans usually take, in milliseconds: a file is waited for for twice as long.
const USUAL_MS: u64 = 100;
const ROUNDS: usize = 12;

#[test]
fn this_program_is_its_own_worker() {
    own_worker::be_a_worker(&unruly::Unruly);
}

/// A service on one processor, which knows what scans usually take.
fn running(computes: bool, threads: usize) -> Running {
    let packed = Packed {
        computes,
        ..unruly::packed(1)
    };
    let workers = Workers::start(packed, own_worker::settings(ENTRY, threads));
    let settings = Settings {
        threads,
        processors: 1,
        idle: Duration::from_millis(20),
        ..Settings::default()
    };
    let running = Running::start(workers.expect("workers start"), settings);
    let first = ask(&running.driver, &format!("TAKE {USUAL_MS}"));
    assert_eq!(running.driver.answer(first).verdict, WireVerdict::CLEAN);
    running
}

fn ask(driver: &DriverSide, text: &str) -> u64 {
    ask_within(driver, text, 30_000)
}

fn ask_within(driver: &DriverSide, text: &str, deadline_ms: u32) -> u64 {
    let file = FileBytes {
        bytes: text.as_bytes().to_vec(),
        ..FileBytes::default()
    };
    driver.ask_with(file, |request| {
        request.size = text.len() as u64;
        request.deadline_ms = deadline_ms;
    })
}

fn load(running: &Running) -> LoadStatus {
    running.service.status(Duration::ZERO).load
}

/// Waits until so many scan and so many wait. False where the clock was faster.
fn is_so(running: &Running, scanning: u64, waiting: u64) -> bool {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let load = load(running);
        if (load.scanning, load.waiting) == (scanning, waiting) {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

fn verdicts(driver: &DriverSide, asked: &[u64], expected: WireVerdict) {
    for request in asked {
        assert_eq!(driver.answer(*request).verdict, expected);
    }
}

/// Files that are scanned until they are let go.
struct Until {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Until {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("go");
        Self {
            _folder: folder,
            path,
        }
    }

    fn ask(&self, driver: &DriverSide) -> u64 {
        ask(driver, &format!("UNTIL {}", self.path.display()))
    }

    fn let_go(&self) {
        fs::write(&self.path, b"").expect("a file");
    }
}

/// Has some round hold, of those that the clock may spoil?
fn holds(what: &str, round: impl Fn() -> bool) {
    assert!((0..ROUNDS).any(|_| round()), "{what}");
}

/// The most that scanned at one time, of so many that were asked for at once, and how long all of
/// them took.
fn at_once(running: &Running, count: u64) -> (u64, Duration) {
    let driver = &running.driver;
    let begun = Instant::now();
    let file = format!("TAKE {USUAL_MS}");
    let asked: Vec<u64> = (0..count).map(|_| ask(driver, &file)).collect();
    let mut most = 0;
    driver.wait(|| {
        most = most.max(load(running).scanning);
        let all = asked.iter().all(|asked| !driver.replies(*asked).is_empty());
        all.then_some(())
    });
    let time = begun.elapsed();
    verdicts(driver, &asked, WireVerdict::CLEAN);
    (most, time)
}

#[test]
fn an_engine_that_computes_is_asked_for_as_many_files_as_there_are_processors() {
    let running = running(true, 3);
    holds("one after another, without a pause between them", || {
        let (most, time) = at_once(&running, 4);
        // Whoever waited to the end of its time would begin after twice the usual time.
        most == 1 && time < Duration::from_millis(6 * USUAL_MS)
    });
    running.finish();
}

#[test]
fn yara_computes_and_does_not_where_clamd_is_asked_too() {
    assert!(Yara.pack(None).computes);
    let nowhere = "/nowhere/clamd.ctl";
    assert!(!WithClamd::new(Arc::new(Yara), nowhere).pack(None).computes);
}

#[test]
fn an_engine_that_waits_is_asked_for_as_many_as_there_are_threads() {
    let running = running(false, 3);
    holds("all at once", || at_once(&running, 3).0 == 3);
    running.finish();
}

#[test]
fn nobody_waits_for_files_that_hang() {
    let running = running(true, 4);
    let (driver, until) = (&running.driver, Until::new());
    let hanging: Vec<u64> = (0..3).map(|_| until.ask(driver)).collect();
    let others: Vec<u64> = (0..8).map(|_| ask(driver, "good")).collect();
    verdicts(driver, &others, WireVerdict::CLEAN);
    for request in &hanging {
        assert!(driver.replies(*request).is_empty(), "it hangs");
    }
    assert!(is_so(&running, 3, 0), "all of them have begun");
    until.let_go();
    verdicts(driver, &hanging, WireVerdict::CLEAN);
    running.finish();
}

#[test]
fn one_thread_listens_while_the_others_wait_for_their_turn() {
    holds("a poll and a stop are answered meanwhile", || {
        let running = running(true, 3);
        let (driver, until) = (&running.driver, Until::new());
        let first = until.ask(driver);
        let mut asked: Vec<u64> = (0..5).map(|_| until.ask(driver)).collect();
        let mut held = is_so(&running, 1, 5);
        let stopped = asked.swap_remove(2);
        driver.stop(stopped);
        assert_eq!(driver.answer(stopped).verdict, WireVerdict::STOPPED);
        held &= load(&running).scanning == 1;
        until.let_go();
        verdicts(driver, &asked, WireVerdict::CLEAN);
        verdicts(driver, &[first], WireVerdict::CLEAN);
        running.finish();
        held
    });
}

#[test]
fn a_request_whose_deadline_passes_while_it_waits_is_not_scanned() {
    holds("it is late", || {
        let running = running(true, 2);
        let (driver, until) = (&running.driver, Until::new());
        let first = until.ask(driver);
        let second = ask_within(driver, "good", 20);
        let held = is_so(&running, 1, 1);
        thread::sleep(Duration::from_millis(30));
        let held = held && load(&running).waiting == 1;
        until.let_go();
        verdicts(driver, &[first], WireVerdict::CLEAN);
        let answer = driver.answer(second);
        running.finish();
        held && (answer.verdict, answer.detail) == (WireVerdict::ERROR, LATE)
    });
}

#[test]
fn no_request_is_lost_where_turns_are_taken() {
    let running = running(true, 4);
    let driver = &running.driver;
    let asked: Vec<u64> = (0..300)
        .map(|number| match number % 50 {
            0 => ask(driver, "TAKE 150"),
            1..10 => ask(driver, "TAKE 3"),
            _ => ask(driver, "good"),
        })
        .collect();
    let stopped: Vec<u64> = asked.iter().copied().step_by(7).collect();
    stopped.iter().for_each(|request| driver.stop(*request));
    for request in &asked {
        let verdict = driver.answer(*request).verdict;
        let may = verdict == WireVerdict::STOPPED && stopped.contains(request);
        assert!(may || verdict == WireVerdict::CLEAN, "{verdict:?}");
        assert_eq!(driver.replies(*request).len(), 1);
    }
    assert!(is_so(&running, 0, 0), "nobody is counted who has gone");
    running.finish();
}
