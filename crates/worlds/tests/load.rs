//! The service under load: no request is lost, no infected file is called clean whatever becomes
//! of workers, and what is in memory is bounded.

use std::time::Duration;

use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::EngineKind;
use siloscan_service::settings::Settings;
use siloscan_service::worker::Workers;
use siloscan_worlds::load::driver::Bytes;
use siloscan_worlds::load::engine::Hungry;
use siloscan_worlds::load::soak::{Plan, run};
use siloscan_worlds::load::{AT_ITS_TEST, Running, be_a_worker, own_workers, process};

#[test]
fn this_program_is_its_own_worker() {
    be_a_worker();
}

/// What is bounded, and how: the soak looks at all children and descriptors of this process, so
/// both are one test.
#[test]
fn a_burst_and_a_soak_lose_no_request_and_leave_nothing_behind() {
    a_burst_keeps_to_its_memory(0);
    a_burst_keeps_to_its_memory(16 << 20);
    let workers = own_workers(&AT_ITS_TEST, 2).expect("this program");
    let done = run(Plan {
        requests: 4_000,
        time_max: Duration::from_hours(1),
        seed: 7,
        deed_every: 60,
        threads: 2,
        workers,
    });
    let done = done.expect("the soak begins");
    assert!(done.broken.is_empty(), "{done:#?}");
    assert_eq!(
        (done.requests >= 4_000, done.answers),
        (true, done.requests)
    );
    // Each kind of deed was done, and the service noticed.
    assert!(done.deeds.iter().all(|count| *count > 0), "{done:?}");
    assert!(done.ended.iter().all(|count| *count > 0), "{done:?}");
    let [clean, infected, _] = done.verdicts;
    assert!(
        clean > done.requests / 2 && infected > done.requests / 20,
        "{done:?}"
    );
    assert!(done.held.is_some(), "{done:?}");
}

/// Four threads and files of which two fit into the memory for copies.
/// `kept` is what may stay with each worker.
fn a_burst_keeps_to_its_memory(kept: usize) {
    const FILE: usize = 400 << 10;
    const COPIES: u64 = 1 << 20;
    let settings = Settings {
        threads: 4,
        memory_bytes_max: COPIES,
        file_bytes_max: COPIES,
        backlog_max: 64,
        ..Settings::default()
    };
    let mut workers = own_workers(&AT_ITS_TEST, 4).expect("this program");
    workers.kept_bytes_max = kept;
    let count = workers.count as u64;
    let workers = Workers::start(Hungry.pack(None), workers).expect("workers start");
    let running = Running::start(workers, settings).expect("the settings");
    running.driver.watch_copies();
    let file: Bytes = vec![b'.'; FILE].into();
    for _ in 0..500 {
        running.driver.ask(&file, 0, 600_000);
    }
    running.driver.wait_below(1);
    let answers = running.driver.take();
    assert_eq!(answers.len(), 500);
    let many = |verdict| answers.iter().filter(|a| a.verdict == verdict).count();
    // What is over the backlog is refused at once, and nothing else is.
    let (clean, refused) = (many(WireVerdict::CLEAN), many(WireVerdict::ERROR));
    assert_eq!(clean + refused, 500);
    assert!(clean >= 64 && refused > 0, "{clean} {refused}");
    let most = running.driver.most_copied();
    if kept == 0 {
        assert!(most >= FILE as u64 && most <= COPIES, "{most}");
    } else {
        assert!(most <= COPIES, "{most}");
        let stays = process::kept();
        let room = FILE.next_power_of_two() as u64;
        assert!(stays >= room && stays <= count * room, "{stays}");
    }
    assert_eq!(running.finish(), Ok(Vec::new()));
}
