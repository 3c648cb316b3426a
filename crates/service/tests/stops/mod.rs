//! What the driver wants ended: each section is closed once, and its word given when it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use siloscan_core::wire::{Scan, ScanFlags, ScanReply, ScanRequest, Stop, StopReply, WireVerdict};
use zerocopy::{FromZeros, IntoBytes};

use crate::driver_side::{FileBytes, Running};
use crate::{Gate, file, quick};

#[test]
fn a_stop_without_a_request_is_counted() {
    let running = Running::start(Arc::new(Gate::default()), quick());
    running.driver.send(Stop::new(0, 0).as_bytes(), 0);
    let service = running.service.clone();
    running
        .driver
        .wait(|| (service.figures().stop_misses == 1).then_some(()));
    running.finish();
}

/// A request to scan, as the driver's bytes.
fn scan_request(request: u64, section: u64) -> Vec<u8> {
    let fields = ScanRequest {
        request,
        section,
        size: 1,
        key: None,
        container: [0; 16],
        process: 1,
        flags: ScanFlags(ScanFlags::OPEN),
        deadline_ms: 30_000,
        list: 0,
    };
    let mut scan = Scan::new_zeroed();
    scan.fill(&fields, "x".encode_utf16());
    scan.as_bytes().to_vec()
}

#[test]
fn the_word_that_a_section_is_let_go_comes_when_it_is_and_while_the_engine_hangs() {
    let gate = Arc::new(Gate::default());
    gate.shut.store(true, Ordering::SeqCst);
    let running = Running::start(gate.clone(), quick());
    let driver = &running.driver;
    let word = |message: u64, request: u64| {
        let (status, bytes) = driver.reply(message);
        assert_eq!((status, StopReply::decode(&bytes, request)), (0, Ok(())));
    };

    // The engine has the bytes, and does not end; the section is gone already.
    let hanging = driver.ask(file(b"a"), 1);
    driver.wait(|| (gate.inside.load(Ordering::SeqCst) == 1).then_some(()));
    word(driver.take_back(hanging, 0), hanging);
    assert_eq!(driver.sections_left(), (0, 0));

    // The bytes are being copied, slowly: the word waits for the end of the piece under way.
    let slow = FileBytes {
        slow: Duration::from_millis(200),
        ..file(&[0; 2 << 20])
    };
    let copied = driver.ask(slow, 2 << 20);
    driver.wait(|| (driver.open_views() == 1).then_some(()));
    let message = driver.take_back(copied, 0);
    word(message, copied);
    assert_eq!(driver.sections_left(), (0, 0));
    assert_eq!(driver.answer(copied).verdict, WireVerdict::STOPPED);

    // The request was lost on the way, or is over.
    let lost = driver.offer(file(b"a"));
    word(driver.take_back(9_000, lost), 9_000);
    assert_eq!(driver.sections_left(), (0, 0));
    gate.shut.store(false, Ordering::SeqCst);
    word(driver.take_back(copied, 0), copied);
    running.finish();
}

#[test]
fn a_stop_that_overtakes_its_request_ends_it_and_every_section_is_closed_once() {
    let running = Running::start(Arc::new(Gate::default()), quick());
    let driver = &running.driver;
    let verdict = |message: u64, request: u64| {
        let (status, bytes) = driver.reply(message);
        assert_eq!(status, 0);
        ScanReply::decode(&bytes, request).expect("a reply").verdict
    };
    let ask = |request: u64, section: u64| {
        let room = size_of::<ScanReply>() as u32;
        driver.send(&scan_request(request, section), room)
    };
    let misses = |count: u64| {
        driver.wait(|| (running.service.figures().stop_misses == count).then_some(()));
    };

    // The request comes after its stop: it is answered, its section closed.
    driver.stop(500);
    misses(1);
    let message = ask(500, driver.offer(file(b"!")));
    assert_eq!(verdict(message, 500), WireVerdict::STOPPED);
    assert_eq!(driver.sections_left(), (0, 0));

    // The request never comes: the stop brings the section.
    let lost = driver.offer(file(b"!"));
    driver.send(Stop::new(600, lost).as_bytes(), 0);
    misses(2);
    driver.wait(|| (driver.sections_left() == (0, 0)).then_some(()));
    // It was only on its way: the section is not closed again.
    let message = ask(600, lost);
    assert_eq!(verdict(message, 600), WireVerdict::STOPPED);

    // A request that came and is over: its section's number may be another one's by now.
    let message = ask(700, driver.offer(file(b"a")));
    assert_eq!(verdict(message, 700), WireVerdict::CLEAN);
    let another = driver.offer(file(b"a"));
    driver.send(Stop::new(700, another).as_bytes(), 0);
    misses(3);
    assert_eq!(driver.sections_left(), (1, 0));
    let message = ask(800, another);
    assert_eq!(verdict(message, 800), WireVerdict::CLEAN);
    running.finish();
}
