//! Worker processes: whatever an engine does costs the scan of one file, and no engine holds a
//! section.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
mod mapped;
mod own_worker;
mod unruly;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driver_side::{DriverSide, FileBytes, Running};
use mapped::memories;
use siloscan_core::wire::{ScanAnswer, WireVerdict};
use siloscan_service::events::Event;
use siloscan_service::settings::Settings;
use siloscan_service::worker::{WorkerSettings, Workers};

const ENTRY: &str = "this_program_is_its_own_worker";
/// What the service says to have gone wrong, beside its verdict.
const TIMED_OUT: u32 = 2;
const FAILED: u32 = 3;
const KILLER: u32 = 10;

#[test]
fn this_program_is_its_own_worker() {
    own_worker::be_a_worker(&unruly::Unruly);
}

fn quick() -> Settings {
    Settings {
        threads: 2,
        idle: Duration::from_millis(20),
        ..Settings::default()
    }
}

fn running() -> Running {
    Running::start(unruly::start(ENTRY, 2), quick())
}

fn running_with(change: impl FnOnce(&mut WorkerSettings)) -> Running {
    let mut settings = own_worker::settings(ENTRY, 2);
    change(&mut settings);
    let workers = Workers::start(unruly::packed(1), settings).expect("workers start");
    Running::start(workers, quick())
}

fn file(bytes: &[u8]) -> FileBytes {
    FileBytes {
        bytes: bytes.to_vec(),
        ..FileBytes::default()
    }
}

fn ask(driver: &DriverSide, bytes: &[u8]) -> u64 {
    driver.ask(file(bytes), bytes.len() as u64)
}

/// Asks for a scan that is going to hang, with four seconds until the driver's deadline.
fn ask_shortly(driver: &DriverSide, bytes: &[u8]) -> u64 {
    driver.ask_with(file(bytes), |request| {
        request.size = bytes.len() as u64;
        request.deadline_ms = 4_000;
    })
}

fn answer(driver: &DriverSide, bytes: &[u8]) -> ScanAnswer {
    driver.answer(ask(driver, bytes))
}

/// The process that scans next.
fn who(driver: &DriverSide) -> PathBuf {
    let answer = answer(driver, b"WHO");
    Path::new("/proc").join(answer.rule_name())
}

/// One worker, so that it is known which one scans, and no memory that stays with it, so that it is
/// seen when.
fn one_that_keeps_nothing() -> Running {
    running_with(|settings| (settings.count, settings.kept_bytes_max) = (1, 0))
}

/// Waits until a worker has mapped a copy: it is scanning.
fn await_scan(driver: &DriverSide, worker: &Path) {
    driver.wait(|| copies_in(worker).then_some(()));
}

/// Whether a process has a copy of a file.
fn copies_in(process: &Path) -> bool {
    !memories(process, "memfd:siloscan-copy").is_empty()
}

#[test]
fn a_worker_earns_the_verdict_and_keeps_no_copy() {
    let running = one_that_keeps_nothing();
    let driver = &running.driver;
    let worker = who(driver);
    let large = [b"!", vec![b'x'; 3 << 20].as_slice()].concat();
    for bytes in [b"".as_slice(), b"good", b"!", &large, &large[1..]] {
        let answer = answer(driver, bytes);
        let expected = match bytes.first() {
            Some(b'!') => (WireVerdict::INFECTED, "Bang"),
            _ => (WireVerdict::CLEAN, ""),
        };
        assert_eq!((answer.verdict, answer.rule_name()), expected);
        assert_eq!(answer.digest, [1; 32]);
        assert!(!copies_in(&worker), "it is let go before the answer");
    }
    let failed = answer(driver, b"FAIL");
    assert_eq!(
        (failed.verdict, failed.detail),
        (WireVerdict::UNSCANNABLE, FAILED)
    );
    assert_eq!(running.finish().figures().workers_crashed, 0);
}

#[test]
fn a_worker_that_ends_costs_the_scan_of_its_file_and_no_other() {
    let running = running_with(|settings| {
        settings.memory_bytes_max = 256 << 20;
        settings.strikes_max = 0;
    });
    let driver = &running.driver;
    let deeds = [
        b"CRASH".as_slice(),
        b"PANIC",
        b"LEAVE",
        b"EAT",
        b"NONSENSE",
        b"CUT",
    ];
    let mut crashed = 0;
    for deed in deeds {
        let beside = ask(driver, b"SLOW but good");
        let cut = deed == b"CUT";
        let bad = if cut {
            ask_shortly(driver, deed)
        } else {
            ask(driver, deed)
        };
        let after: Vec<u64> = (0..4).map(|_| ask(driver, b"!")).collect();
        let answer = driver.answer(bad);
        // Half an answer is no answer: the worker has until its time is over.
        let expected = if cut { TIMED_OUT } else { FAILED };
        let deed = String::from_utf8_lossy(deed);
        assert_eq!(answer.verdict, WireVerdict::UNSCANNABLE, "{deed}");
        assert_eq!(answer.detail, expected, "{deed}");
        assert_eq!(driver.answer(beside).verdict, WireVerdict::CLEAN, "{deed}");
        for request in after {
            assert_eq!(driver.answer(request).verdict, WireVerdict::INFECTED);
        }
        crashed += u64::from(!cut);
        assert_eq!(running.service.figures().workers_crashed, crashed, "{deed}");
    }
    let events = running.events.clone();
    let figures = running.finish().figures();
    assert_eq!((figures.workers_hung, figures.unscannable), (1, 6));
    let cause = |event| match event {
        Event::Unscannable { cause, .. } => Some(cause),
        _ => None,
    };
    let causes: Vec<String> = events.all().into_iter().filter_map(cause).collect();
    let all = causes.join("\n");
    for words in ["signal 6", "exit status: 101", "makes no sense"] {
        assert!(all.contains(words), "{words} in {all}");
    }
}

#[test]
fn a_scan_that_hangs_holds_no_section_and_ends_at_its_deadline() {
    let running = one_that_keeps_nothing();
    let driver = &running.driver;
    for round in 1..=2 {
        let worker = who(driver);
        let hangs = ask_shortly(driver, b"HANG");
        await_scan(driver, &worker);
        // Nobody has asked for it, and it is let go all the same.
        assert_eq!(driver.sections_left(), (0, 0));
        assert!(driver.replies(hangs).is_empty(), "it hangs");
        if round == 1 {
            // A stop is answered at once and ends no worker.
            driver.stop(hangs);
            assert_eq!(driver.answer(hangs).verdict, WireVerdict::STOPPED);
            assert!(copies_in(&worker), "it hangs on");
            assert_eq!(running.service.figures().workers_hung, 0);
            let gone = || running.service.figures().workers_hung == 1;
            driver.wait(|| gone().then_some(()));
        } else {
            let answer = driver.answer(hangs);
            assert_eq!(
                (answer.verdict, answer.detail),
                (WireVerdict::UNSCANNABLE, TIMED_OUT)
            );
        }
        assert!(!worker.exists(), "it was ended");
        assert_eq!(driver.replies(hangs).len(), 1);
        assert_eq!(answer(driver, b"good").verdict, WireVerdict::CLEAN);
    }
    assert_eq!(running.finish().figures().workers_hung, 2);
}

#[test]
fn an_answer_given_in_advance_decides_nothing() {
    let running = running_with(|settings| settings.count = 1);
    let driver = &running.driver;
    // The first order of this set, so its number is 1, and that of the next file would be 2.
    assert_eq!(answer(driver, b"FORGE 1").verdict, WireVerdict::CLEAN);
    assert_eq!(answer(driver, b"!").verdict, WireVerdict::INFECTED);
    let figures = running.finish().figures();
    assert_eq!((figures.workers_crashed, figures.unscannable), (1, 0));
}

#[test]
fn a_content_that_hangs_or_ends_workers_twice_is_not_given_to_a_third() {
    let running = running();
    let driver = &running.driver;
    let killers: [(&[u8], u32); 2] = [(b"HANG about", TIMED_OUT), (b"CRASH here", FAILED)];
    for (bytes, detail) in killers {
        for expected in [detail, detail, KILLER, KILLER] {
            let asked = match detail {
                TIMED_OUT => ask_shortly(driver, bytes),
                _ => ask(driver, bytes),
            };
            let answer = driver.answer(asked);
            assert_eq!(answer.verdict, WireVerdict::UNSCANNABLE);
            assert_eq!(answer.detail, expected);
            assert_eq!(driver.sections_left(), (0, 0));
        }
        // Another content of the same size is scanned.
        let other = vec![b'!'; bytes.len()];
        assert_eq!(answer(driver, &other).verdict, WireVerdict::INFECTED);
    }
    // New signatures may come with an engine that can: it starts afresh.
    let next = Workers::start(unruly::packed(2), own_worker::settings(ENTRY, 2));
    running.service.use_engine(next.expect("workers start"));
    let again = answer(driver, b"CRASH here");
    assert_eq!((again.detail, again.digest), (FAILED, [2; 32]));
    let events = running.events.clone();
    let figures = running.finish().figures();
    assert_eq!((figures.workers_hung, figures.workers_crashed), (2, 3));
    assert_eq!(figures.killers_refused, 4);
    let told = |event: &Event| matches!(event, Event::Killer { sha256, .. } if sha256.len() == 64);
    assert_eq!(events.all().iter().filter(|event| told(event)).count(), 2);
}

#[test]
fn a_file_that_shrinks_ends_nothing_but_its_scan() {
    let running = running();
    let driver = &running.driver;
    for _ in 0..3 {
        let short = driver.ask(file(b"good"), 4096);
        assert_eq!(driver.answer(short).verdict, WireVerdict::UNREADABLE);
        assert_eq!(driver.sections_left(), (0, 0));
    }
    assert_eq!(answer(driver, b"good").verdict, WireVerdict::CLEAN);
    let figures = running.finish().figures();
    assert_eq!((figures.workers_crashed, figures.killers_refused), (0, 0));
}

#[test]
fn new_signatures_lose_no_scan_and_the_old_workers_end_after_theirs() {
    let running = one_that_keeps_nothing();
    let driver = &running.driver;
    let old = who(driver);
    let folder = tempfile::tempdir().expect("a folder");
    let sign = folder.path().join("go");
    let slow = ask(driver, format!("UNTIL {}", sign.display()).as_bytes());
    await_scan(driver, &old);
    let next = Workers::start(unruly::packed(2), own_worker::settings(ENTRY, 2));
    running.service.use_engine(next.expect("workers start"));
    let after: Vec<u64> = (0..50).map(|_| ask(driver, b"!")).collect();
    driver.wait(|| (!driver.replies(after[49]).is_empty()).then_some(()));
    fs::write(sign, "").expect("written");
    let slow = driver.answer(slow);
    assert_eq!((slow.verdict, slow.digest), (WireVerdict::CLEAN, [1; 32]));
    for request in after {
        let answer = driver.answer(request);
        assert_eq!(
            (answer.verdict, answer.digest),
            (WireVerdict::INFECTED, [2; 32])
        );
    }
    driver.wait(|| (!old.exists()).then_some(()));
    let new = who(driver);
    running.finish();
    // The set goes with the service, and its workers with the set.
    assert!(!new.exists(), "no worker outlives its service");
}

#[test]
fn what_a_worker_started_ends_with_it_and_holds_nobody_up() {
    let running = running_with(|settings| settings.count = 1);
    let driver = &running.driver;
    let forked = driver.answer(ask_shortly(driver, b"FORK"));
    assert_eq!(forked.verdict, WireVerdict::UNSCANNABLE);
    assert_eq!(answer(driver, b"!").verdict, WireVerdict::INFECTED);
    running.finish();
}

#[test]
fn a_soak_with_workers_that_end_all_the_time_loses_no_request() {
    let running = running_with(|settings| settings.strikes_max = 0);
    let driver = &running.driver;
    let asked: Vec<(u64, WireVerdict)> = (0..300_u32)
        .map(|number| match number % 10 {
            3 => (ask(driver, b"CRASH"), WireVerdict::UNSCANNABLE),
            7 => (ask(driver, b"LEAVE"), WireVerdict::UNSCANNABLE),
            0 | 5 => (ask(driver, b"!"), WireVerdict::INFECTED),
            _ => (ask(driver, b"good"), WireVerdict::CLEAN),
        })
        .collect();
    for (request, expected) in &asked {
        assert_eq!(driver.answer(*request).verdict, *expected);
        assert_eq!(driver.replies(*request).len(), 1);
    }
    assert_eq!(running.finish().figures().workers_crashed, 60);
}

#[test]
fn an_idle_worker_that_ends_is_replaced() {
    let running = running_with(|settings| settings.count = 1);
    let driver = &running.driver;
    let worker = who(driver);
    let number = worker.file_name().expect("its number").to_owned();
    let killed = std::process::Command::new("kill")
        .arg("-KILL")
        .arg(number)
        .status();
    assert!(killed.expect("kill runs").success());
    // Dead with all its threads, the last of which closes its end of the way; not yet buried.
    let is_dead = || {
        let state = fs::read_to_string(worker.join("stat"));
        let threads = fs::read_dir(worker.join("task")).map_or(0, Iterator::count);
        state.map_or(true, |text| text.contains(") Z ")) && threads <= 1
    };
    driver.wait(|| is_dead().then_some(()));
    assert_eq!(answer(driver, b"!").verdict, WireVerdict::INFECTED);
    assert_ne!(who(driver), worker);
    running.finish();
}

#[test]
fn workers_that_cannot_start_are_named() {
    let start = |number, settings| {
        let error = Workers::start(unruly::packed(number), settings).err();
        error.expect("it cannot start").to_string()
    };
    let cause = start(0, own_worker::settings(ENTRY, 1));
    assert!(
        cause.contains("rule set 0 is broken on purpose"),
        "the engine's own words: {cause}"
    );
    let mut settings = own_worker::settings(ENTRY, 1);
    settings.program.path = PathBuf::from("/nowhere/siloscand");
    let cause = start(1, settings);
    assert!(cause.contains("/nowhere/siloscand"), "{cause}");
    // A program that is no worker.
    let mut settings = own_worker::settings(ENTRY, 1);
    settings.program.path = PathBuf::from("/bin/true");
    let cause = start(1, settings);
    assert!(cause.contains("exit status: 0"), "{cause}");
}
