//! The service behind its port: every request answered once, nothing held, nothing believed.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
mod sent;
mod stops;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use driver_side::{DriverSide, FileBytes, Running};
use siloscan_core::wire::{Hello, Kind, News, PollReply, Scan, ScanRequest, Stop, WireVerdict};
use siloscan_service::engine::{
    Digest, EICAR_RULE, Engine, EngineError, Finding, Scanner, eicar_test_file,
};
use siloscan_service::events::Event;
use siloscan_service::platform::ConnectError;
use siloscan_service::rules::load;
use siloscan_service::settings::Settings;
use zerocopy::IntoBytes;

fn quick() -> Settings {
    Settings {
        threads: 2,
        idle: Duration::from_millis(20),
        poll_hold: Duration::from_millis(100),
        retry_min: Duration::from_millis(5),
        ..Settings::default()
    }
}

fn file(bytes: &[u8]) -> FileBytes {
    FileBytes {
        bytes: bytes.to_vec(),
        ..FileBytes::default()
    }
}

/// An engine that calls "infected" what begins with `!`, and waits while its gate is shut.
#[derive(Default)]
struct Gate {
    shut: AtomicBool,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
    views: Option<DriverSide>,
    number: u8,
    /// Making a scanner takes until this is false.
    unmade: AtomicBool,
}

impl Engine for Gate {
    fn digest(&self) -> Digest {
        Digest([self.number; 32])
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        while self.unmade.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        Box::new(Through(self))
    }
}

struct Through<'g>(&'g Gate);

impl Scanner for Through<'_> {
    fn scan(&mut self, bytes: &[u8], _limit: Option<Duration>) -> Result<Finding, EngineError> {
        let inside = self.0.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_inside.fetch_max(inside, Ordering::SeqCst);
        if let Some(driver) = &self.0.views {
            assert_eq!(
                driver.open_views(),
                0,
                "no view is open while an engine runs"
            );
        }
        while self.0.shut.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
        match bytes.first() {
            Some(b'!') => Ok(Finding::Infected {
                rule: "Bang".into(),
                origin: "gate".into(),
            }),
            Some(b'?') => Err(EngineError::Failed("question".into())),
            _ => Ok(Finding::Clean),
        }
    }
}

#[test]
fn a_verdict_comes_with_rule_digest_and_event() {
    let engine = load(None).engine;
    let digest = engine.digest();
    let running = Running::start(engine, quick());
    let bad = running.driver.ask(file(&eicar_test_file()), 68);
    let good = running.driver.ask(file(b"good"), 4);
    let answer = running.driver.answer(bad);
    assert_eq!(answer.verdict, WireVerdict::INFECTED);
    assert_eq!(answer.rule_name(), EICAR_RULE);
    assert_eq!(answer.digest, digest.0);
    let answer = running.driver.answer(good);
    assert_eq!(
        (answer.verdict, answer.rule_name()),
        (WireVerdict::CLEAN, "")
    );
    assert_eq!(running.driver.hellos(), [Hello::new(digest.0).as_bytes()]);

    let events = running.events.clone();
    let figures = running.finish().figures();
    assert_eq!((figures.infected, figures.clean, figures.bytes), (1, 1, 72));
    let detections: Vec<_> = events
        .all()
        .into_iter()
        .filter(|e| matches!(e, Event::Detection { .. }))
        .collect();
    let [Event::Detection { rule, scan, .. }] = detections.as_slice() else {
        panic!("one detection: {detections:?}");
    };
    assert_eq!(rule, EICAR_RULE);
    assert_eq!(scan.path, r"\Device\HarddiskVolume9\Windows\x.dll");
    assert_eq!(
        scan.container.as_deref(),
        Some("07070707-0707-0707-0707-070707070707")
    );
    assert_eq!(scan.process, 4321);
}

#[test]
fn a_file_that_shrinks_or_vanishes_is_never_clean() {
    let running = Running::start(load(None).engine, quick());
    let driver = &running.driver;
    let shrunk = driver.ask(file(&[0; 1000]), 1001);
    let emptied = driver.ask(file(&[]), 600_000);
    let gone = driver.ask_with(file(b"x"), |request| request.section = 0xdead_0000);
    assert_eq!(driver.answer(shrunk).verdict, WireVerdict::UNREADABLE);
    assert_eq!(driver.answer(emptied).verdict, WireVerdict::UNREADABLE);
    assert_eq!(driver.answer(gone).verdict, WireVerdict::ERROR);
    // The handle that the changed request no longer named is the test's own to drop.
    assert_eq!(driver.sections_left(), (1, 0));
    let figures = running.service.figures();
    assert_eq!((figures.clean, figures.unscannable), (0, 3));
    // They are told after the answer.
    driver.wait(|| {
        let events = running.events.all().into_iter();
        let told = events.filter(|event| matches!(event, Event::Unscannable { .. }));
        (told.count() == 3).then_some(())
    });
}

#[test]
fn what_is_too_large_or_breaks_the_engine_is_unscannable() {
    let settings = Settings {
        file_bytes_max: 1000,
        memory_bytes_max: 1000,
        ..quick()
    };
    let running = Running::start(Arc::new(Gate::default()), settings);
    let large = running.driver.ask(file(&[1; 1001]), 1001);
    let fits = running.driver.ask(file(&[1; 1000]), 1000);
    let broken = running.driver.ask(file(b"?"), 1);
    assert_eq!(
        running.driver.answer(large).verdict,
        WireVerdict::UNSCANNABLE
    );
    assert_eq!(running.driver.answer(fits).verdict, WireVerdict::CLEAN);
    assert_eq!(
        running.driver.answer(broken).verdict,
        WireVerdict::UNSCANNABLE
    );
    running.finish();
}

#[test]
fn bounds_that_change_hold_for_the_next_scans() {
    let settings = Settings {
        file_bytes_max: 1000,
        memory_bytes_max: 1000,
        ..quick()
    };
    let running = Running::start(Arc::new(Gate::default()), settings);
    let verdict = |size: usize| {
        let request = running.driver.ask(file(&vec![1; size]), size as u64);
        running.driver.answer(request).verdict
    };
    assert_eq!(verdict(1001), WireVerdict::UNSCANNABLE);
    assert!(running.service.bound(2000, 1999).is_err());
    assert_eq!(
        verdict(1001),
        WireVerdict::UNSCANNABLE,
        "nothing was changed"
    );
    running.service.bound(2000, 2000).unwrap();
    assert_eq!(verdict(2000), WireVerdict::CLEAN);
    running.service.bound(10, 10).unwrap();
    assert_eq!(verdict(11), WireVerdict::UNSCANNABLE);
    assert_eq!(verdict(10), WireVerdict::CLEAN);
    running.finish();
}

#[test]
fn garbage_of_every_length_is_refused_and_the_service_goes_on() {
    let running = Running::start(Arc::new(Gate::default()), quick());
    let driver = &running.driver;
    let mut sent = Vec::new();
    for length in 0..=1200_usize {
        for fill in [0_u8, 1, 0xff] {
            sent.push(driver.send(&vec![fill; length], 64));
        }
        // A right header for each kind, then anything.
        for kind in 0..8_u16 {
            if kind == Kind::STOP.0 && length == size_of::<Stop>() {
                // That is a good stop, whatever it names.
                continue;
            }
            let mut bytes = vec![0xa5; length];
            let header = [1_u16.to_le_bytes(), kind.to_le_bytes()].concat();
            let size = u32::try_from(length).unwrap().to_le_bytes();
            for (to, from) in bytes.iter_mut().zip(header.iter().chain(&size)) {
                *to = *from;
            }
            if kind != Kind::STOP.0 && kind != Kind::POLL.0 {
                sent.push(driver.send(&bytes, 64));
            } else {
                driver.send(&bytes, 64);
            }
        }
    }
    let last = driver.ask(file(b"after it all"), 12);
    assert_eq!(driver.answer(last).verdict, WireVerdict::CLEAN);
    for message in sent {
        let (status, body) = driver.reply(message);
        assert!(
            status < 0 && body.is_empty(),
            "message {message} was refused"
        );
    }
    let figures = running.service.figures();
    assert!(figures.bad_messages > 10_000, "{figures:?}");
    assert_eq!(
        figures.scan_requests, 1,
        "no garbage was taken for a request"
    );
    running.finish();
}

#[test]
fn a_request_number_that_is_in_use_is_refused() {
    let gate = Arc::new(Gate {
        shut: true.into(),
        ..Gate::default()
    });
    let running = Running::start(gate.clone(), quick());
    let first = running.driver.ask(file(b"a"), 1);
    running
        .driver
        .wait(|| (gate.inside.load(Ordering::SeqCst) == 1).then_some(()));
    let mut scan: Scan = zerocopy::FromZeros::new_zeroed();
    let request = ScanRequest {
        request: first,
        section: 0,
        size: 1,
        key: None,
        container: [0; 16],
        process: 0,
        flags: siloscan_core::wire::ScanFlags(0),
        deadline_ms: 1000,
        list: 0,
    };
    scan.fill(&request, std::iter::empty());
    let twice = running.driver.send(scan.as_bytes(), 120);
    assert!(running.driver.reply(twice).0 < 0);
    gate.shut.store(false, Ordering::SeqCst);
    assert_eq!(running.driver.answer(first).verdict, WireVerdict::CLEAN);
    running.finish();
}

#[test]
fn many_threads_answer_every_request_once() {
    let settings = Settings {
        threads: 8,
        // All of them may have come before the first thread has begun.
        backlog_max: 2000,
        ..quick()
    };
    let running = Running::start(Arc::new(Gate::default()), settings);
    let asked: Vec<(u64, bool)> = (0..2000_u32)
        .map(|number| {
            let bad = number % 7 == 0;
            let bytes = if bad { b"!bad".as_slice() } else { b"good" };
            (running.driver.ask(file(bytes), 4), bad)
        })
        .collect();
    for (request, bad) in &asked {
        let expected = if *bad {
            WireVerdict::INFECTED
        } else {
            WireVerdict::CLEAN
        };
        assert_eq!(running.driver.answer(*request).verdict, expected);
    }
    let driver = running.driver.clone();
    let figures = running.finish().figures();
    assert_eq!(figures.scan_requests, 2000);
    assert_eq!(figures.infected, 286);
    assert!(
        asked
            .iter()
            .all(|(request, _)| driver.replies(*request).len() == 1)
    );
}

#[test]
fn one_thread_always_listens_and_too_many_requests_are_refused() {
    let gate = Arc::new(Gate {
        shut: true.into(),
        ..Gate::default()
    });
    let settings = Settings {
        threads: 2,
        backlog_max: 3,
        ..quick()
    };
    let running = Running::start(gate.clone(), settings);
    let driver = &running.driver;
    let begun: Vec<u64> = (0..2).map(|_| driver.ask(file(b"a"), 1)).collect();
    driver.wait(|| (gate.inside.load(Ordering::SeqCst) == 2).then_some(()));
    let waiting: Vec<u64> = (0..3).map(|_| driver.ask(file(b"b"), 1)).collect();
    let refused = driver.ask(file(b"c"), 1);
    assert_eq!(driver.answer(refused).verdict, WireVerdict::ERROR);
    let poll = driver.poll(77);
    assert_eq!(driver.poll_answer(poll, 77).digest, [0; 32]);
    assert_eq!(driver.unread(), 0);

    // One that waits is stopped: its section is closed and it is answered at once.
    driver.stop(waiting[1]);
    assert_eq!(driver.answer(waiting[1]).verdict, WireVerdict::STOPPED);
    gate.shut.store(false, Ordering::SeqCst);
    for request in begun.iter().chain([&waiting[0], &waiting[2]]) {
        assert_eq!(driver.answer(*request).verdict, WireVerdict::CLEAN);
    }
    assert_eq!(gate.most_inside.load(Ordering::SeqCst), 2);
    running.finish();
}

#[test]
fn a_stop_ends_a_scan_and_lets_go_of_its_section() {
    let gate = Arc::new(Gate {
        shut: true.into(),
        ..Gate::default()
    });
    let running = Running::start(gate.clone(), quick());
    let driver = &running.driver;

    // In the engine: answered at once, and the late result reaches nobody.
    let scanning = driver.ask(file(b"!"), 1);
    driver.wait(|| (gate.inside.load(Ordering::SeqCst) == 1).then_some(()));
    driver.stop(scanning);
    assert_eq!(driver.answer(scanning).verdict, WireVerdict::STOPPED);
    gate.shut.store(false, Ordering::SeqCst);

    // While it copies: the answer comes in mid-copy, and nothing is kept.
    let slow = FileBytes {
        bytes: vec![0; 64 << 20],
        slow: Duration::from_millis(20),
    };
    let copying = driver.ask(slow, 64 << 20);
    driver.wait(|| (driver.open_views() == 1).then_some(()));
    driver.stop(copying);
    assert_eq!(driver.answer(copying).verdict, WireVerdict::STOPPED);
    driver.wait(|| (driver.open_views() == 0).then_some(()));

    driver.stop(copying);
    driver.stop(999_999);
    let driver = running.driver.clone();
    let events = running.events.clone();
    let service = running.service.clone();
    driver.wait(|| (service.figures().stop_misses == 2).then_some(()));
    let figures = running.finish().figures();
    assert_eq!(
        (figures.stopped, figures.infected, figures.stop_misses),
        (2, 0, 2)
    );
    assert_eq!(driver.replies(scanning).len(), 1);
    let detection = |event: &Event| matches!(event, Event::Detection { .. });
    assert!(!events.all().iter().any(detection), "it was stopped");
}

#[test]
fn no_view_is_open_while_an_engine_runs() {
    let driver = DriverSide::default();
    let gate = Gate {
        views: Some(driver.clone()),
        ..Gate::default()
    };
    let settings = Settings {
        threads: 1,
        ..quick()
    };
    let running = Running::start_with(driver, Arc::new(gate), settings);
    let asked: Vec<u64> = (0..20)
        .map(|_| running.driver.ask(file(&[0; 1 << 20]), 1 << 20))
        .collect();
    for request in asked {
        assert_eq!(running.driver.answer(request).verdict, WireVerdict::CLEAN);
    }
    running.finish();
}

#[test]
fn copies_of_files_stay_in_the_memory_that_is_allowed() {
    let settings = Settings {
        threads: 8,
        file_bytes_max: 1 << 20,
        memory_bytes_max: 3 << 20,
        ..quick()
    };
    let running = Running::start(Arc::new(Gate::default()), settings);
    let slow = || FileBytes {
        bytes: vec![1; 1 << 20],
        slow: Duration::from_millis(1),
    };
    let asked: Vec<u64> = (0..64)
        .map(|_| running.driver.ask(slow(), 1 << 20))
        .collect();
    for request in asked {
        assert_eq!(running.driver.answer(request).verdict, WireVerdict::CLEAN);
    }
    let most = running.driver.most_open_bytes();
    assert!((2 << 20..=3 << 20).contains(&most), "{most} bytes at once");
    running.finish();
}

#[test]
fn a_request_whose_time_is_over_is_not_scanned() {
    let gate = Arc::new(Gate {
        shut: true.into(),
        ..Gate::default()
    });
    let settings = Settings {
        threads: 1,
        ..quick()
    };
    let running = Running::start(gate.clone(), settings);
    let first = running.driver.ask(file(b"a"), 1);
    running
        .driver
        .wait(|| (gate.inside.load(Ordering::SeqCst) == 1).then_some(()));
    let late = running
        .driver
        .ask_with(file(b"!"), |request| request.deadline_ms = 10);
    thread::sleep(Duration::from_millis(50));
    gate.shut.store(false, Ordering::SeqCst);
    assert_eq!(running.driver.answer(first).verdict, WireVerdict::CLEAN);
    assert_eq!(running.driver.answer(late).verdict, WireVerdict::ERROR);
    running.finish();
}

#[test]
fn a_poll_is_held_until_there_is_news() {
    // Nothing new: held for the time that was set, and not less.
    let settings = Settings {
        poll_hold: Duration::from_millis(400),
        ..quick()
    };
    let running = Running::start(Arc::new(Gate::default()), settings);
    let began = Instant::now();
    let poll = running.driver.poll(1);
    assert_eq!(running.driver.poll_answer(poll, 1).news, News::Nothing);
    assert!(began.elapsed() >= Duration::from_millis(390));
    assert_eq!(running.service.driver_epoch(), Some(5));
    running.finish();

    // From here on an answer that comes at all did not wait for the end of the hold.
    let settings = Settings {
        poll_hold: Duration::from_secs(24 * 60 * 60),
        ..quick()
    };
    let running = Running::start(Arc::new(Gate::default()), settings);
    let driver = &running.driver;

    // New rules while a poll is held.
    let poll = driver.poll(2);
    driver.wait(|| (driver.unread() == 0).then_some(()));
    running.service.use_engine(Arc::new(Gate {
        number: 9,
        ..Gate::default()
    }));
    assert_eq!(driver.poll_answer(poll, 2).digest, [9; 32]);

    // Rules that came between two polls.
    running.service.use_engine(Arc::new(Gate {
        number: 10,
        ..Gate::default()
    }));
    let poll = driver.poll(3);
    assert_eq!(driver.poll_answer(poll, 3).digest, [10; 32]);

    // What a proactive scan reports.
    let volume = siloscan_core::key::VolumeGuid::from_bytes([3; 16]).unwrap();
    running.service.tell(News::Covered(volume, 5));
    let poll = driver.poll(4);
    assert_eq!(driver.poll_answer(poll, 4).news, News::Covered(volume, 5));
    assert_eq!(size_of::<PollReply>(), driver.reply(poll).1.len());
    running.finish();
}

#[test]
fn a_scan_keeps_the_rules_that_it_began_with() {
    let old = Arc::new(Gate {
        shut: true.into(),
        number: 1,
        ..Gate::default()
    });
    let running = Running::start(old.clone(), quick());
    let before = running.driver.ask(file(b"a"), 1);
    running
        .driver
        .wait(|| (old.inside.load(Ordering::SeqCst) == 1).then_some(()));
    running.service.use_engine(Arc::new(Gate {
        number: 2,
        ..Gate::default()
    }));
    let after = running.driver.ask(file(b"a"), 1);
    assert_eq!(running.driver.answer(after).digest, [2; 32]);
    old.shut.store(false, Ordering::SeqCst);
    assert_eq!(running.driver.answer(before).digest, [1; 32]);
    running.finish();
}

#[test]
fn no_section_is_held_while_the_scanner_of_new_rules_is_made() {
    let settings = Settings {
        // Nobody looks up, so whoever hears of the request is the first to see the new rules.
        idle: Duration::from_hours(1),
        ..quick()
    };
    let running = Running::start(Arc::new(Gate::default()), settings);
    let driver = &running.driver;
    let next = Arc::new(Gate {
        unmade: true.into(),
        number: 2,
        ..Gate::default()
    });
    // Somebody listens, with the old rules.
    let request = driver.ask(file(b"a"), 1);
    assert_eq!(driver.answer(request).digest, [0; 32]);
    running.service.use_engine(next.clone());
    let request = driver.ask(file(b"!"), 1);
    driver.wait(|| (driver.sections_left() == (0, 0)).then_some(()));
    assert_eq!(driver.replies(request), []);
    next.unmade.store(false, Ordering::SeqCst);
    let answer = driver.answer(request);
    assert_eq!(
        (answer.verdict, answer.digest),
        (WireVerdict::INFECTED, [2; 32])
    );
    running.service.stop();
    driver.disconnect();
    running.finish();
}

#[test]
fn a_lost_connection_is_made_anew() {
    let running = Running::start(Arc::new(Gate::default()), quick());
    let driver = &running.driver;
    running.service.use_engine(Arc::new(Gate {
        number: 4,
        ..Gate::default()
    }));
    driver.refuse(Some(ConnectError::NoDriver));
    driver.disconnect();
    let told = |event: &Event| match event {
        Event::Disconnected { cause } => cause.contains("load the driver"),
        _ => false,
    };
    driver.wait(|| running.events.all().iter().any(told).then_some(()));
    driver.refuse(None);
    driver.wait(|| (driver.hellos().len() == 2).then_some(()));
    assert_eq!(driver.hellos()[1], Hello::new([4; 32]).as_bytes());
    let request = driver.ask(file(b"!"), 1);
    assert_eq!(driver.answer(request).verdict, WireVerdict::INFECTED);
    assert_eq!(running.service.figures().connections, 2);
    running.finish();
}
