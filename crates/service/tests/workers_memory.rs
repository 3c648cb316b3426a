//! Memory that stays with its worker: files follow each other in it, no other worker sees it, and
//! a worker that ends with it costs no file.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
mod mapped;
mod own_worker;
#[expect(dead_code, reason = "what this test needs of it is a part")]
mod unruly;

use std::path::{Path, PathBuf};
use std::time::Duration;

use driver_side::{DriverSide, FileBytes, Running};
use mapped::memories;
use rustix::process::{Pid, Signal, kill_process};
use siloscan_core::wire::{ScanAnswer, WireVerdict};
use siloscan_service::settings::Settings;
use siloscan_service::worker::Workers;

const ENTRY: &str = "this_program_is_its_own_worker";
const KEPT: &str = "memfd:siloscan-kept";

#[test]
fn this_program_is_its_own_worker() {
    own_worker::be_a_worker(&unruly::Unruly);
}

fn workers(rules: u8, count: usize) -> std::sync::Arc<Workers> {
    let mut settings = own_worker::settings(ENTRY, 1);
    settings.count = count;
    settings.kept_bytes_max = 4 << 20;
    Workers::start(unruly::packed(rules), settings).expect("workers start")
}

fn running(count: usize) -> Running {
    let settings = Settings {
        threads: 1,
        idle: Duration::from_millis(20),
        ..Settings::default()
    };
    Running::start(workers(1, count), settings)
}

fn ask(driver: &DriverSide, bytes: &[u8], slow: Duration) -> u64 {
    let bytes = bytes.to_vec();
    let size = bytes.len() as u64;
    driver.ask(FileBytes { bytes, slow }, size)
}

fn answer(driver: &DriverSide, bytes: &[u8]) -> ScanAnswer {
    driver.answer(ask(driver, bytes, Duration::ZERO))
}

/// The process that scans next.
fn who(driver: &DriverSide) -> PathBuf {
    Path::new("/proc").join(answer(driver, b"WHO").rule_name())
}

fn number_of(process: &Path) -> Option<&str> {
    process.file_name()?.to_str()
}

/// Begins to have a file copied, slowly, and waits until its section is open.
fn ask_slowly(driver: &DriverSide, begin: &[u8]) -> u64 {
    let bytes = [begin, vec![b'x'; 1 << 20].as_slice()].concat();
    let request = ask(driver, &bytes, Duration::from_millis(200));
    driver.wait(|| (driver.sections_left() == (1, 1)).then_some(()));
    request
}

#[test]
fn files_follow_each_other_in_it_and_none_sees_what_is_left_of_another() {
    let running = running(1);
    let driver = &running.driver;
    let worker = who(driver);
    let first = memories(&worker, KEPT);
    assert_eq!(first.len(), 1);
    let with = |size: usize| [b"!", vec![b'x'; size].as_slice()].concat();
    // It grows, stays for what is smaller, and takes no more than it may.
    for size in [1, 1_000, 100_000, 3 << 20, 5, 5 << 20, 70_000, 0] {
        let bytes = with(size);
        assert_eq!(answer(driver, &bytes).verdict, WireVerdict::INFECTED);
        assert_eq!(answer(driver, &bytes[1..]).verdict, WireVerdict::CLEAN);
        assert_eq!(answer(driver, b"").verdict, WireVerdict::CLEAN, "{size}");
        assert_eq!(memories(&worker, KEPT).len(), 1, "{size}");
        assert!(memories(&worker, "memfd:siloscan-copy").is_empty());
    }
    let grown = memories(&worker, KEPT);
    assert_ne!(grown, first, "it had 64 KiB");
    let told = running.service.status(Duration::ZERO).workers;
    assert_eq!(told.map(|told| told.kept_bytes), Some(4 << 20));
    assert_eq!(
        answer(driver, &with(3 << 20)).verdict,
        WireVerdict::INFECTED
    );
    assert_eq!(memories(&worker, KEPT), grown, "and is the same since");
    assert_eq!(who(driver), worker, "nothing of this ended it");
    running.finish();
}

#[test]
fn a_worker_that_ends_while_a_file_is_copied_for_it_costs_nothing() {
    let running = running(2);
    let driver = &running.driver;
    let worker = who(driver);
    let copied = ask_slowly(driver, b"!");
    let number = number_of(&worker).and_then(|number| number.parse().ok());
    let process = number.and_then(Pid::from_raw).expect("a number");
    kill_process(process, Signal::KILL).expect("it lived");
    assert_eq!(driver.answer(copied).verdict, WireVerdict::INFECTED);
    let other = who(driver);
    assert_ne!(other, worker);
    let figures = running.finish().figures();
    assert_eq!((figures.workers_crashed, figures.unscannable), (1, 0));
}

#[test]
fn what_was_copied_for_an_old_worker_is_scanned_by_a_new_one_that_never_sees_that_memory() {
    let running = running(1);
    let driver = &running.driver;
    let old = who(driver);
    let copied = ask_slowly(driver, b"WHO ");
    running.service.use_engine(workers(2, 1));
    let answer = driver.answer(copied);
    assert_eq!(
        (answer.verdict, answer.digest),
        (WireVerdict::INFECTED, [2; 32])
    );
    let new = who(driver);
    assert_ne!(new, old);
    assert_eq!(Some(answer.rule_name()), number_of(&new));
    // The inodes of what the new one keeps are its own; the old one's went with it.
    assert_eq!(memories(&new, KEPT).len(), 1);
    driver.wait(|| (!old.exists()).then_some(()));
    running.finish();
}
