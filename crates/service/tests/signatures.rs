//! Signatures while the service runs: a folder is taken over as a whole or not at all, by workers
//! of its own, and no scan is lost on the way. And a vendor's engine in the place of ours.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;
mod own_worker;
#[path = "../examples/vendor.rs"]
mod vendor;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use driver_side::{FileBytes, Running};
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::{Digest, EngineKind, Yara};
use siloscan_service::events::Event;
use siloscan_service::program::WORKER_ARGUMENT;
use siloscan_service::rules::{Checked, RuleKeeper};
use siloscan_service::settings::Settings;
use siloscan_service::worker::{Program, WorkerSettings, Workers};

/// The real program's workers, for YARA-X.
fn settings() -> WorkerSettings {
    let program = Program {
        path: PathBuf::from(env!("CARGO_BIN_EXE_siloscand")),
        arguments: vec![WORKER_ARGUMENT.to_owned()],
        variables: Vec::new(),
    };
    WorkerSettings::new(program, 2)
}

fn start(
    kind: Arc<dyn EngineKind>,
    folder: &Path,
    settings: WorkerSettings,
) -> (Running, RuleKeeper) {
    let keeper = RuleKeeper::new(Arc::clone(&kind), Some(folder), settings.clone());
    let packed = kind.pack(Some(folder));
    assert_eq!(packed.problems, Vec::<String>::new());
    let workers = Workers::start(packed, settings).expect("workers start");
    let quick = Settings {
        threads: 2,
        idle: Duration::from_millis(20),
        ..Settings::default()
    };
    (Running::start(workers, quick), keeper)
}

/// Looks until something has come of the change.
fn follow(keeper: &mut RuleKeeper, running: &Running) -> Checked {
    let checked = || match keeper.check(&running.service) {
        Checked::Unchanged => None,
        other => Some(other),
    };
    running.driver.wait(checked)
}

fn rule(name: &str) -> String {
    let text = name.to_lowercase();
    format!("rule {name} {{ strings: $a = \"{text}\" condition: $a }}\n")
}

/// What the service says of these bytes, and under which rules.
fn verdict(running: &Running, text: &str) -> (WireVerdict, String, Digest) {
    let file = FileBytes {
        bytes: text.as_bytes().to_vec(),
        ..FileBytes::default()
    };
    let driver = &running.driver;
    let answer = driver.answer(driver.ask(file, text.len() as u64));
    let rule = answer.rule_name().to_owned();
    (answer.verdict, rule, Digest(answer.digest))
}

fn problems(running: &Running) -> Vec<String> {
    let broken = |event| match event {
        Event::BrokenRules { cause } => Some(cause),
        _ => None,
    };
    running
        .events
        .all()
        .into_iter()
        .filter_map(broken)
        .collect()
}

#[test]
fn a_folder_is_taken_over_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("written");
    };
    write("a.yar", &rule("Alpha"));
    let (running, mut keeper) = start(Arc::new(Yara), folder.path(), settings());
    let (infected, name, first) = verdict(&running, "alpha");
    assert_eq!(
        (infected, name.as_str()),
        (WireVerdict::INFECTED, "Alpha"),
        "compiled in the service, matched in a worker"
    );
    assert_eq!(verdict(&running, "beta").0, WireVerdict::CLEAN);
    assert_eq!(keeper.check(&running.service), Checked::Unchanged);

    write("b.yar", &rule("Beta"));
    assert_eq!(follow(&mut keeper, &running), Checked::Replaced);
    let (infected, name, second) = verdict(&running, "beta");
    assert_eq!((infected, name.as_str()), (WireVerdict::INFECTED, "Beta"));
    assert_ne!(first, second, "a new set begins a new epoch");
    let poll = running.driver.poll(1);
    assert_eq!(running.driver.poll_answer(poll, 1).digest, second.0);

    // Broken: named with file and line, and nothing of the new state is used.
    write("b.yar", &rule("Gamma"));
    write("c.yar", "// one\n// two\nrule Bad { condition: ( }\n");
    assert_eq!(follow(&mut keeper, &running), Checked::Kept);
    let place = format!("{}:3: ", folder.path().join("c.yar").display());
    let told = problems(&running);
    let [cause] = told.as_slice() else {
        panic!("one problem: {told:?}");
    };
    assert!(
        cause.starts_with(&place) && cause.ends_with("stay in use"),
        "{cause}"
    );
    assert_eq!(
        verdict(&running, "beta"),
        (WireVerdict::INFECTED, "Beta".to_owned(), second)
    );
    assert_eq!(verdict(&running, "gamma").0, WireVerdict::CLEAN);
    assert_eq!(running.service.digest(), second, "and the epoch stays");

    // Repaired, with another change: all of it at once.
    write("c.yar", &rule("Delta"));
    assert_eq!(follow(&mut keeper, &running), Checked::Replaced);
    for (text, name) in [("alpha", "Alpha"), ("gamma", "Gamma"), ("delta", "Delta")] {
        assert_eq!(verdict(&running, text).1, name);
    }
    assert_eq!(verdict(&running, "beta").0, WireVerdict::CLEAN);

    // Written again as it was: looked at, and no new epoch.
    let before = running.service.digest();
    let sets = running.service.figures().rule_sets;
    write("c.yar", &rule("Delta"));
    for _ in 0..3 {
        assert_eq!(keeper.check(&running.service), Checked::Unchanged);
    }
    assert_eq!(running.service.digest(), before);
    assert_eq!(running.finish().figures().rule_sets, sets);
}

#[test]
fn rules_that_no_worker_can_load_replace_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (running, _) = start(Arc::new(Yara), folder.path(), settings());
    let before = running.service.digest();
    let starved = WorkerSettings {
        memory_bytes_max: 1 << 20,
        ..settings()
    };
    let mut keeper = RuleKeeper::new(Arc::new(Yara), Some(folder.path()), starved);
    fs::write(folder.path().join("a.yar"), rule("Alpha")).expect("written");
    assert_eq!(follow(&mut keeper, &running), Checked::Kept);
    let told = problems(&running).join("\n");
    assert!(told.contains("cannot start a worker"), "{told}");
    assert_eq!(running.service.digest(), before);
    assert_eq!(verdict(&running, "alpha").0, WireVerdict::CLEAN);
    running.finish();
}

#[test]
fn each_scan_during_a_change_is_answered_by_one_of_the_sets_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.yar");
    fs::write(&path, rule("Alpha")).expect("written");
    let (running, mut keeper) = start(Arc::new(Yara), folder.path(), settings());
    let old = running.service.digest();
    let over = AtomicBool::new(false);
    let (answers, new) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            while !over.load(Ordering::SeqCst) {
                answers.push(verdict(&running, "alpha"));
            }
            answers.extend((0..20).map(|_| verdict(&running, "alpha")));
            answers
        });
        fs::write(&path, rule("Beta")).expect("written");
        assert_eq!(follow(&mut keeper, &running), Checked::Replaced);
        over.store(true, Ordering::SeqCst);
        let answers = asking.join().expect("no panic");
        (answers, running.service.digest())
    });
    let by = |digest: Digest, verdict: WireVerdict| {
        let fits =
            |answer: &&(WireVerdict, String, Digest)| answer.2 == digest && answer.0 == verdict;
        answers.iter().filter(fits).count()
    };
    let (before, after) = (by(old, WireVerdict::INFECTED), by(new, WireVerdict::CLEAN));
    assert_eq!(before + after, answers.len(), "{answers:?}");
    assert!(before > 0 && after >= 20);
    running.finish();
}

#[test]
fn this_program_is_its_own_worker() {
    own_worker::be_a_worker(&vendor::Acme);
}

#[test]
fn a_vendors_engine_is_small_and_its_signatures_are_followed_too() {
    let _its_program = vendor::main;
    let lines = include_str!("../examples/vendor.rs").lines().count();
    assert!(lines <= 80, "docs/vendors.md promises 80 lines: {lines}");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |text: &str| {
        fs::write(folder.path().join("list.acme"), text).expect("written");
    };
    write("Acme.Anvil = anvil");
    let settings = own_worker::settings("this_program_is_its_own_worker", 2);
    let (running, mut keeper) = start(Arc::new(vendor::Acme), folder.path(), settings);
    assert_eq!(verdict(&running, "an anvil falls").1, "Acme.Anvil");
    assert_eq!(verdict(&running, "a rocket").0, WireVerdict::CLEAN);
    write("Acme.Anvil = anvil\nwrong\n");
    assert_eq!(follow(&mut keeper, &running), Checked::Kept);
    assert!(problems(&running)[0].contains("list.acme:2: no text"));
    write("Acme.Anvil = anvil\nAcme.Rocket = rocket\n");
    assert_eq!(follow(&mut keeper, &running), Checked::Replaced);
    assert_eq!(verdict(&running, "a rocket").1, "Acme.Rocket");
    running.finish();
}
