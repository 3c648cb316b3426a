//! ClamAV through a real clamd, with signatures of this test's own.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use driver_side::{FileBytes, Running};
use siloscan_core::wire::{ScanAnswer, WireVerdict};
use siloscan_service::engine::{EICAR_RULE, EngineKind, WithClamd, Yara, eicar_test_file};
use siloscan_service::events::Event;
use siloscan_service::program::WORKER_ARGUMENT;
use siloscan_service::rules::{Checked, RuleKeeper};
use siloscan_service::settings::Settings;
use siloscan_service::worker::{Program, WorkerSettings, Workers};

/// What the test's signature finds, and its name in the database.
const NEEDLE: &[u8] = b"siloscan-test-needle";
const NAME: &str = "Siloscan.Test.Needle";
/// A longer stream is refused by the clamd of this test, in bytes.
const STREAM_MAX: usize = 1 << 20;

/// A clamd with a folder of its own.
struct Clamd {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Clamd {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("db")).expect("a folder");
        let hex: String = NEEDLE.iter().map(|byte| format!("{byte:02x}")).collect();
        // Any file, any offset.
        let line = format!("{NAME}:0:*:{hex}\n");
        fs::write(folder.path().join("db/test.ndb"), line).expect("written");
        let at = folder.path().display();
        let settings = format!(
            "LocalSocket {at}/clamd.sock\nDatabaseDirectory {at}/db\nTemporaryDirectory {at}\n\
             LogFile {at}/log\nStreamMaxLength {STREAM_MAX}\nForeground yes\n"
        );
        fs::write(folder.path().join("clamd.conf"), settings).expect("written");
        Self {
            folder,
            child: None,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("clamd.sock")
    }

    fn start(&mut self) {
        let child = Command::new("/usr/sbin/clamd")
            .arg("--config-file")
            .arg(self.folder.path().join("clamd.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.expect("clamd starts; install clamav-daemon");
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            let ended = child.try_wait().expect("a child");
            assert_eq!(ended, None, "clamd ended: {log:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
    }

    /// How many have connected to it, whether it has looked or not.
    fn guests(&self) -> usize {
        let place = self.socket().display().to_string();
        let sockets = fs::read_to_string("/proc/net/unix").expect("Linux");
        sockets
            .lines()
            .filter(|line| line.ends_with(&place))
            .count()
    }

    fn signal(&self, signal: &str) {
        let number = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([signal, &number]).status();
        assert!(status.expect("kill runs").success());
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        self.end();
    }
}

fn settings(clamd: &Clamd) -> WorkerSettings {
    let program = Program {
        path: PathBuf::from(env!("CARGO_BIN_EXE_siloscand")),
        arguments: vec![
            WORKER_ARGUMENT.to_owned(),
            "--clamd".to_owned(),
            clamd.socket().display().to_string(),
        ],
        variables: Vec::new(),
    };
    WorkerSettings::new(program, 2)
}

fn kind(clamd: &Clamd) -> Arc<dyn EngineKind> {
    let address = clamd.socket().display().to_string();
    Arc::new(WithClamd::new(Arc::new(Yara), &address))
}

fn start(clamd: &Clamd) -> Running {
    let workers = Workers::start(kind(clamd).pack(None), settings(clamd));
    let quick = Settings {
        threads: 2,
        idle: Duration::from_millis(20),
        ..Settings::default()
    };
    Running::start(workers.expect("workers start"), quick)
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

#[test]
#[ignore = "needs Debian's clamav-daemon: cargo xtask test --only unit"]
fn clamd_is_asked_for_what_the_rules_do_not_find() {
    let mut clamd = Clamd::new();
    clamd.start();
    let running = start(&clamd);
    let haystack = [vec![b'x'; 300_000], NEEDLE.to_vec(), vec![b'y'; 70_000]].concat();
    for bytes in [NEEDLE, &haystack] {
        let found = answer(&running, bytes);
        assert_eq!(found.verdict, WireVerdict::INFECTED);
        assert!(found.rule_name().starts_with(NAME), "{}", found.rule_name());
    }
    for bytes in [b"".as_slice(), b"x", &haystack[..300_000]] {
        assert_eq!(answer(&running, bytes).verdict, WireVerdict::CLEAN);
    }
    assert_eq!(
        answer(&running, &eicar_test_file()).rule_name(),
        EICAR_RULE,
        "the rules come first"
    );
    // What clamd does not take is not clean.
    let long = answer(&running, &vec![b'x'; STREAM_MAX + 1]);
    assert_eq!((long.verdict, long.detail), (WireVerdict::UNSCANNABLE, 3));
    let told = |event: &Event| match event {
        Event::Unscannable { cause, .. } => cause.contains("size limit exceeded"),
        _ => false,
    };
    // What happened is told after the answer is given.
    let is_told = || running.events.all().iter().any(told);
    running.driver.wait(|| is_told().then_some(()));
    let many: Vec<(u64, WireVerdict)> = (0..200)
        .map(|number| match number % 2 {
            0 => (ask(&running, NEEDLE), WireVerdict::INFECTED),
            _ => (ask(&running, b"hay"), WireVerdict::CLEAN),
        })
        .collect();
    for (request, expected) in many {
        assert_eq!(running.driver.answer(request).verdict, expected);
    }
    running.finish();
}

#[test]
#[ignore = "needs Debian's clamav-daemon: cargo xtask test --only unit"]
fn a_clamd_that_hangs_or_is_gone_is_never_clean_and_holds_nothing() {
    let mut clamd = Clamd::new();
    clamd.start();
    let running = start(&clamd);
    let driver = &running.driver;
    assert_eq!(answer(&running, b"hay").verdict, WireVerdict::CLEAN);

    // It stands still: the scan ends at its time, and the worker, which can tell, lives on.
    clamd.signal("-STOP");
    let file = FileBytes {
        bytes: NEEDLE.to_vec(),
        ..FileBytes::default()
    };
    let hangs = driver.ask_with(file, |request| request.deadline_ms = 4_000);
    driver.wait(|| (driver.sections_left() == (0, 0)).then_some(()));
    let hangs = driver.answer(hangs);
    assert_eq!((hangs.verdict, hangs.detail), (WireVerdict::UNSCANNABLE, 2));
    assert_eq!(running.service.figures().workers_hung, 0);

    // It dies in mid-scan: that may be the file's doing.
    let before = clamd.guests();
    let dies = ask(&running, NEEDLE);
    driver.wait(|| (clamd.guests() > before).then_some(()));
    clamd.signal("-KILL");
    let dies = driver.answer(dies);
    assert_eq!((dies.verdict, dies.detail), (WireVerdict::UNSCANNABLE, 3));

    // It is not there: a failure of ours, whatever the file is.
    clamd.end();
    let gone = answer(&running, b"hay");
    assert_eq!((gone.verdict, gone.detail), (WireVerdict::ERROR, 12));
    assert_eq!(
        answer(&running, &eicar_test_file()).verdict,
        WireVerdict::INFECTED,
        "the rules need no clamd"
    );
    clamd.start();
    assert_eq!(answer(&running, NEEDLE).verdict, WireVerdict::INFECTED);
    running.finish();
}

#[test]
#[ignore = "needs Debian's clamav-daemon: cargo xtask test --only unit"]
fn clamds_version_is_part_of_the_rule_set() {
    let mut clamd = Clamd::new();
    let without = kind(&clamd).pack(None);
    let place = clamd.socket().display().to_string();
    assert!(
        without.problems[0].contains(&place) && without.problems[0].contains("--clamd"),
        "{:?}",
        without.problems
    );
    // What clamd knows while it does not say is nobody else's: no verdict may be shared by it.
    assert_ne!(kind(&clamd).pack(None).digest, without.digest);
    clamd.start();
    let running = start(&clamd);
    let with = running.service.digest();
    assert_ne!(with, without.digest);
    assert_ne!(with, Yara.pack(None).digest);
    assert_eq!(kind(&clamd).pack(None).digest, with);
    // Gone and back: nothing that ran is replaced by less.
    let mut keeper = RuleKeeper::new(kind(&clamd), None, settings(&clamd));
    clamd.end();
    assert_eq!(keeper.check(&running.service), Checked::Unchanged);
    assert_eq!(keeper.check(&running.service), Checked::Kept);
    clamd.start();
    for _ in 0..3 {
        assert_eq!(keeper.check(&running.service), Checked::Unchanged);
    }
    assert_eq!(running.service.digest(), with);
    running.finish();
}
