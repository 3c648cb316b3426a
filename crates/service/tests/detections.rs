//! What follows a detection, by the service alone: what is answered, what is told, in which order
//! things happen, and what is too much.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driver_side::{FileBytes, Running};
use sha2::{Digest as _, Sha256};
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::wire::{ScanFlags, ScanRequest, WireVerdict};
use siloscan_quarantine::{Bounds, Quarantine};
use siloscan_service::engine::{Digest, Engine, EngineError, Finding, Scanner};
use siloscan_service::events::Event;
use siloscan_service::exclusions::ExclusionKeeper;
use siloscan_service::policy::Action;
use siloscan_service::remedy::RemedyKeeper;
use siloscan_service::settings::Settings;

const VIRUS: &[u8] = b"! a virus";
const RULES: Digest = Digest([1; 32]);

/// Calls "infected" what begins with `!`.
struct Bang;

impl Engine for Bang {
    fn digest(&self) -> Digest {
        RULES
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        Box::new(Self)
    }
}

impl Scanner for Bang {
    fn scan(&mut self, bytes: &[u8], _limit: Option<Duration>) -> Result<Finding, EngineError> {
        Ok(match bytes.first() {
            Some(b'!') => Finding::Infected {
                rule: "Bang".to_owned(),
                origin: "test".to_owned(),
            },
            _ => Finding::Clean,
        })
    }
}

fn settings() -> Settings {
    Settings {
        threads: 2,
        idle: Duration::from_millis(20),
        poll_hold: Duration::from_millis(100),
        file_bytes_max: 1 << 20,
        memory_bytes_max: 4 << 20,
        quarantine: true,
        tell_layers: true,
        ..Settings::default()
    }
}

fn key(number: u8) -> Key {
    let volume = VolumeGuid::from_bytes([3; 16]).expect("not zero");
    Key::new(volume, FileId::from_bytes([number; 16]).expect("not zero"))
}

/// The driver asks about bytes under key `number`, from a container, with these flags beside.
fn ask(running: &Running, bytes: &[u8], number: u8, flags: u32) -> u64 {
    let file = FileBytes {
        bytes: bytes.to_vec(),
        ..FileBytes::default()
    };
    running.driver.ask_with(file, |request: &mut ScanRequest| {
        request.key = Some(key(number));
        request.flags = ScanFlags(ScanFlags::OPEN | flags);
    })
}

fn verdict(running: &Running, request: u64) -> (WireVerdict, Digest) {
    let answer = running.driver.answer(request);
    (answer.verdict, Digest(answer.digest))
}

/// Waits until all that was asked is answered, and what follows is noted.
fn settle(running: &Running) {
    let clean = ask(running, b"good", 99, 0);
    running.driver.answer(clean);
    running.driver.wait(|| {
        let figures = running.service.figures();
        let ended = figures.clean + figures.infected;
        let detections = running.events.all();
        let detections = detections
            .iter()
            .filter(|event| matches!(event, Event::Detection { .. }));
        let told = detections.count() as u64 == figures.infected;
        (told && ended == figures.scan_requests).then_some(())
    });
    // The last thing that a thread does about a scan comes after its event.
    std::thread::sleep(Duration::from_millis(50));
}

fn items(folder: &Path) -> usize {
    let quarantine = Quarantine::open(folder).expect("it is there");
    quarantine.list().expect("it can be read").len()
}

fn keeper(folder: &Path, bounds: Bounds) -> RemedyKeeper {
    let quarantine = Quarantine::keep(folder, bounds).expect("a folder of ours");
    RemedyKeeper::new(Some(quarantine), None)
}

#[test]
fn the_item_is_there_before_the_file_is_deleted_and_only_scratch_is() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("quarantine");
    let mut keeper = keeper(&folder, Bounds::default());
    let running = Running::start(Arc::new(Bang), settings());
    for number in 1..=4 {
        running.driver.store(key(number), VIRUS);
    }
    let seen = folder.clone();
    running.driver.when_removing(move || items(&seen) == 1);
    let scratch = ask(&running, VIRUS, 1, ScanFlags::SCRATCH);
    assert_eq!(verdict(&running, scratch), (WireVerdict::INFECTED, RULES));
    for (number, flags) in [(2, 0), (3, ScanFlags::LAYER)] {
        let other = ask(&running, VIRUS, number, flags);
        assert_eq!(verdict(&running, other).0, WireVerdict::INFECTED);
    }
    let file = FileBytes {
        bytes: VIRUS.to_vec(),
        ..FileBytes::default()
    };
    let of_the_host = running.driver.ask_with(file, |request| {
        request.key = Some(key(4));
        request.container = [0; 16];
        request.flags = ScanFlags(ScanFlags::OPEN | ScanFlags::SCRATCH);
    });
    assert_eq!(verdict(&running, of_the_host).0, WireVerdict::INFECTED);
    settle(&running);
    keeper.check(&running.service);
    assert_eq!(running.driver.stored(), [key(2), key(3), key(4)]);
    assert_eq!(items(&folder), 1);
    let events = running.events.clone();
    let figures = running.finish().figures();
    assert_eq!((figures.quarantined, figures.layer_detections), (1, 1));
    let moved = |event: &Event| matches!(event, Event::Quarantined { .. });
    assert!(events.all().iter().any(moved));
}

#[test]
fn without_an_item_nothing_is_deleted() {
    let root = tempfile::tempdir().expect("a folder");
    let full = Bounds {
        bytes_max: 10,
        items_max: 1,
    };
    let mut keeper = keeper(&root.path().join("quarantine"), full);
    let running = Running::start(Arc::new(Bang), settings());
    running.driver.store(key(1), VIRUS);
    let scratch = ask(&running, VIRUS, 1, ScanFlags::SCRATCH);
    assert_eq!(verdict(&running, scratch).0, WireVerdict::INFECTED);
    settle(&running);
    keeper.check(&running.service);
    assert_eq!(running.driver.stored(), [key(1)]);
    let events = running.events.all();
    let why = events.iter().find_map(|event| match event {
        Event::NotQuarantined { cause, item, .. } => Some((cause.clone(), item.clone())),
        _ => None,
    });
    let (cause, item) = why.expect("it is told");
    assert!(cause.contains("full") && item.is_none(), "{cause}");
    assert_eq!(running.finish().figures().not_quarantined, 1);
}

#[test]
fn copies_that_wait_leave_memory_for_scans_and_what_is_too_much_is_told() {
    let running = Running::start(Arc::new(Bang), settings());
    // A quarter of the memory is 1 MiB.
    let mut large = vec![b'!'; 400 << 10];
    for number in 1..=8 {
        large.push(number);
        let scratch = ask(&running, &large, number, ScanFlags::SCRATCH);
        assert_eq!(verdict(&running, scratch).0, WireVerdict::INFECTED);
    }
    settle(&running);
    assert_eq!(running.service.figures().remedies_dropped, 6);
    let told = |event: &&Event| matches!(event, Event::NotQuarantined { .. });
    assert_eq!(running.events.all().iter().filter(told).count(), 6);
    // Small ones, of which too many wait as well.
    for number in 0..300_u32 {
        let bytes = [b"!", &number.to_le_bytes()[..]].concat();
        let scratch = ask(&running, &bytes, 9, ScanFlags::SCRATCH);
        assert_eq!(verdict(&running, scratch).0, WireVerdict::INFECTED);
    }
    settle(&running);
    assert_eq!(running.service.figures().remedies_dropped, 6 + 300 - 254);
    // Once they are followed up there is room again.
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("quarantine");
    keeper(&folder, Bounds::default()).check(&running.service);
    let scratch = ask(&running, &large, 10, ScanFlags::SCRATCH);
    assert_eq!(verdict(&running, scratch).0, WireVerdict::INFECTED);
    settle(&running);
    let figures = running.finish().figures();
    assert_eq!(figures.remedies_dropped, 6 + 300 - 254);
    assert_eq!(items(&folder), 256);
}

#[test]
fn without_the_setting_no_copy_waits() {
    let quiet = Settings {
        quarantine: false,
        tell_layers: false,
        ..settings()
    };
    let running = Running::start(Arc::new(Bang), quiet);
    running.driver.store(key(1), VIRUS);
    for flags in [ScanFlags::SCRATCH, ScanFlags::LAYER] {
        let request = ask(&running, VIRUS, 1, flags);
        assert_eq!(verdict(&running, request).0, WireVerdict::INFECTED);
    }
    settle(&running);
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("quarantine");
    keeper(&folder, Bounds::default()).check(&running.service);
    assert_eq!((items(&folder), running.driver.stored().len()), (0, 1));
    let figures = running.finish().figures();
    assert_eq!((figures.remedies_dropped, figures.layer_detections), (0, 0));
}

#[test]
fn a_layers_file_is_told_once_for_each_rule_set() {
    let running = Running::start(Arc::new(Bang), settings());
    let mut keeper = RemedyKeeper::new(None, None);
    for number in [1, 1, 2] {
        let layer = ask(&running, VIRUS, number, ScanFlags::LAYER);
        assert_eq!(verdict(&running, layer).0, WireVerdict::INFECTED);
    }
    settle(&running);
    keeper.check(&running.service);
    let told: Vec<Event> = running.events.all();
    let files: BTreeSet<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::LayerDetection { scan, found, .. } => {
                assert_eq!(found.containers.len(), 1, "who opened it");
                assert_eq!((found.layer.as_ref(), found.images.len()), (None, 0));
                scan.file_id.clone()
            }
            _ => None,
        })
        .collect();
    assert_eq!(files.len(), 2);
    assert_eq!(running.finish().figures().layer_detections, 2);
}

#[test]
fn allowing_a_content_is_a_new_digest_and_so_is_allowing_it_no_more() {
    let root = tempfile::tempdir().expect("a folder");
    let file = root.path().join("exclusions");
    let running = Running::start(Arc::new(Bang), settings());
    let mut exclusions = ExclusionKeeper::new(&file);
    let sha256 = Digest(Sha256::digest(VIRUS).into());
    let mut digests = Vec::new();
    for round in 0..2 {
        // Half a file, as an editor leaves for a moment, takes nothing away.
        fs::write(&file, "").expect("writable");
        exclusions.check(&running.service);
        assert_eq!(running.service.digest() == RULES, round == 0);
        fs::write(&file, "# nothing\n").expect("writable");
        exclusions.check(&running.service);
        exclusions.check(&running.service);
        let denied = ask(&running, VIRUS, 1, ScanFlags::SCRATCH);
        assert_eq!(verdict(&running, denied), (WireVerdict::INFECTED, RULES));
        let poll = running.driver.poll(round * 2 + 1);
        let told = running.driver.poll_answer(poll, round * 2 + 1).digest;
        assert_eq!(Digest(told), RULES);

        fs::write(&file, format!("file sha256:{sha256}\n")).expect("writable");
        exclusions.check(&running.service);
        let allowed = ask(&running, VIRUS, 1, ScanFlags::SCRATCH);
        let (verdict, digest) = verdict(&running, allowed);
        assert_eq!(verdict, WireVerdict::CLEAN);
        let poll = running.driver.poll(round * 2 + 2);
        let told = running.driver.poll_answer(poll, round * 2 + 2).digest;
        assert_eq!(Digest(told), digest, "the driver is told the same");
        assert_ne!(digest, RULES);
        digests.push(digest);
        let other = ask(&running, b"! another", 1, ScanFlags::SCRATCH);
        assert_eq!(running.driver.answer(other).verdict, WireVerdict::INFECTED);
    }
    assert_eq!(digests[0], digests[1]);
    // A file that cannot be read allows nothing.
    fs::remove_file(&file).expect("ours");
    exclusions.check(&running.service);
    assert_eq!(
        running.service.digest(),
        digests[0],
        "it may be back at once"
    );
    exclusions.check(&running.service);
    let denied = ask(&running, VIRUS, 1, ScanFlags::SCRATCH);
    assert_eq!(verdict(&running, denied), (WireVerdict::INFECTED, RULES));
    settle(&running);
    let shown: Vec<String> = running
        .events
        .all()
        .iter()
        .filter_map(|event| match event {
            Event::Allowed { sha256, .. } => Some(sha256.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(shown, [sha256.to_string(), sha256.to_string()]);
    assert_eq!(running.finish().figures().allowed, 2);
}

#[test]
fn an_audit_answers_clean_under_a_digest_of_its_own() {
    let audit = Settings {
        audit: true,
        ..settings()
    };
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("quarantine");
    let mut keeper = keeper(&folder, Bounds::default());
    let running = Running::start(Arc::new(Bang), audit);
    running.driver.store(key(1), VIRUS);
    let scratch = ask(&running, VIRUS, 1, ScanFlags::SCRATCH);
    let (verdict, digest) = verdict(&running, scratch);
    assert_eq!(verdict, WireVerdict::CLEAN);
    assert_ne!(digest, RULES);
    assert_eq!(running.driver.answer(scratch).rule_name(), "");
    settle(&running);
    keeper.check(&running.service);
    assert_eq!((items(&folder), running.driver.stored().len()), (0, 1));
    let actions: Vec<(Action, String)> = running
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::Detection { action, rules, .. } => Some((action, rules)),
            _ => None,
        })
        .collect();
    assert_eq!(actions, [(Action::Audit, RULES.to_string())]);
    let figures = running.finish().figures();
    assert_eq!((figures.infected, figures.audited), (1, 1));
}
