//! A fleet: hosts that share verdicts scan each file of an image once, and a Redis that is wiped,
//! stands still or is gone costs scans and never a verdict.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use siloscan_worlds::load::hosts::{Host, Redis, Told, start_container, write_image};
use siloscan_worlds::load::{AT_ITS_TEST, be_a_worker, own_workers};

const FILES: usize = 50;
#[test]
fn this_program_is_its_own_worker() {
    be_a_worker();
}

/// A host of the fleet starts its container; half of the files later something happens.
fn host(
    layer: &Path,
    redis: &Arc<Mutex<Redis>>,
    hurried: bool,
    then: Option<fn(&mut Redis)>,
) -> Told {
    let own = Arc::clone(redis);
    let midway =
        then.map(|then| Arc::new(move || then(&mut lock(&own))) as Arc<dyn Fn() + Send + Sync>);
    let image = std::env::var_os("SILOSCAN_IMAGE");
    let host = Host {
        image: PathBuf::from(image.expect("cargo xtask test sets SILOSCAN_IMAGE")),
        layer: layer.to_owned(),
        files: FILES,
        workers: own_workers(&AT_ITS_TEST, 2).expect("this program"),
        midway,
    };
    let way = lock(redis).fleet(hurried).expect("an address");
    let told = start_container(&host, Some(way)).expect("the host runs");
    assert_eq!(
        (told.refused, told.denied),
        (0, true),
        "never wrong: {told:?}"
    );
    assert_eq!(told.asked, FILES as u64 + 1, "{told:?}");
    told
}

fn lock(redis: &Mutex<Redis>) -> MutexGuard<'_, Redis> {
    redis.lock().expect("no host failed")
}

fn new() -> (tempfile::TempDir, Arc<Mutex<Redis>>) {
    let layer = tempfile::tempdir().expect("a folder");
    write_image(layer.path(), FILES).expect("written");
    let redis = Redis::start().expect("redis-server starts; install redis-server");
    (layer, Arc::new(Mutex::new(redis)))
}

#[test]
fn each_file_is_scanned_once_per_fleet() {
    let (layer, redis) = new();
    let all: Vec<Told> = (0..3)
        .map(|_| host(layer.path(), &redis, false, None))
        .collect();
    let scanned: Vec<u64> = all.iter().map(|told| told.scanned).collect();
    assert_eq!(scanned, [FILES as u64 + 1, 0, 0]);
    assert_eq!(all[2].from_fleet, FILES as u64 + 1);
}

#[test]
fn a_redis_that_is_wiped_stands_still_or_is_gone_costs_scans_alone() {
    let half = FILES as u64 / 2;
    let (layer, redis) = new();
    host(layer.path(), &redis, false, None);
    let wiped = host(
        layer.path(),
        &redis,
        false,
        Some(|redis| redis.wipe().expect("wiped")),
    );
    assert_eq!((wiped.from_fleet, wiped.scanned), (half, half + 1));
    // What the second host scanned again, the third one knows; the rest it scans.
    let third = host(layer.path(), &redis, false, None);
    assert_eq!((third.from_fleet, third.scanned), (half + 1, half));

    let slow = host(layer.path(), &redis, true, Some(|redis| redis.freeze()));
    assert!(slow.scanned >= half, "{slow:?}");
    lock(&redis).thaw();
    let down = host(layer.path(), &redis, true, Some(Redis::end));
    assert!(down.scanned >= half, "{down:?}");
    let gone = host(layer.path(), &redis, true, None);
    assert_eq!((gone.from_fleet, gone.scanned), (0, FILES as u64 + 1));
}
