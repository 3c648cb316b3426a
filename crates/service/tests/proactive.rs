//! The keeper with helpers that are processes, over real folders: paused, killed in the middle,
//! with a folder that is renamed in the middle.
#![cfg(unix)]

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod driver_side;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use driver_side::Running;
use siloscan_service::events::Event;
use siloscan_service::proactive::Settings;
use siloscan_service::proactive::helper::{Process, Processes, Runner, Start};
use siloscan_service::proactive::keeper::Keeper;
use siloscan_service::proactive::layers::Sources;
use siloscan_service::proactive::plan::Rates;
use siloscan_service::rules;
use tempfile::TempDir;

const FILES: usize = 100;

/// A folder with this number of files.
fn fill(folder: &Path) {
    fs::create_dir_all(folder).expect("a new folder");
    for file in 0..FILES {
        fs::write(folder.join(format!("{file:03}")), b"bytes").expect("a new file");
    }
}

/// Helpers, whose numbers in the system are kept.
struct Kept(Processes, RefCell<Vec<u32>>);

impl Runner for Kept {
    type Helper = Process;

    fn start(&self, folder: &Path, start: &Start) -> Result<Process, String> {
        let helper = self.0.start(folder, start)?;
        self.1.borrow_mut().push(helper.id());
        Ok(helper)
    }
}

/// A service with its keeper, over two layers.
struct Scene {
    dir: TempDir,
    running: Running,
    keeper: Keeper<Process>,
    helpers: Kept,
    settings: Settings,
    polls: u64,
    poll: u64,
}

impl Scene {
    fn new() -> Self {
        let dir = TempDir::new().expect("a folder of its own");
        let folders: Vec<PathBuf> = ["one", "two"].map(|name| dir.path().join(name)).into();
        folders.iter().for_each(|folder| fill(folder));
        let running = Running::start(
            rules::load(None).engine,
            siloscan_service::settings::Settings::default(),
        );
        let settings = Settings {
            enabled: true,
            sources: Sources {
                folders,
                ..Sources::default()
            },
            rates: Rates {
                files_per_second: 200,
                bytes_per_second: 1 << 20,
                concurrency: 2,
                load_percent_max: 70,
            },
            ..Settings::default()
        };
        let program = env!("CARGO_BIN_EXE_siloscan").into();
        let poll = running.driver.poll(1);
        Self {
            dir,
            running,
            keeper: Keeper::default(),
            helpers: Kept(Processes { program }, RefCell::default()),
            settings,
            polls: 1,
            poll,
        }
    }

    /// The driver's part and the keeper's.
    fn step(&mut self, load: u64) {
        if !self.running.driver.replies(self.poll).is_empty() {
            self.polls += 1;
            self.poll = self.running.driver.poll(self.polls);
        }
        let service = &self.running.service;
        self.keeper
            .step(service, &self.helpers, &self.settings, Some(load));
        std::thread::sleep(Duration::from_millis(5));
    }

    fn opened(&self) -> u64 {
        self.running.service.figures().proactive_files
    }

    /// The end of the scan: how many files, and what it leaves in doubt.
    fn end(&mut self) -> (u64, Vec<String>) {
        let patience = Instant::now() + Duration::from_mins(5);
        loop {
            assert!(Instant::now() < patience, "it does not end");
            self.step(0);
            let ended = self
                .running
                .events
                .all()
                .into_iter()
                .find_map(|event| match event {
                    Event::ProactiveDone { files, causes, .. } => Some((files, causes)),
                    _ => None,
                });
            if let Some((files, mut causes)) = ended {
                let last = causes.pop().expect("there are no volumes here");
                assert!(last.contains("volume"), "{last}");
                return (files, causes);
            }
        }
    }
}

#[test]
fn a_busy_host_pauses_it_and_it_goes_on_afterwards() {
    let mut scene = Scene::new();
    let paused = |event: &Event| match event {
        Event::ProactivePaused { cause, .. } => cause.contains("95 %"),
        _ => false,
    };
    while scene.opened() < 20 {
        scene.step(10);
    }
    while !scene.running.events.all().iter().any(paused) {
        scene.step(95);
    }
    // What was told before the pause is opened; then nothing is.
    let mut before = 0;
    while scene.opened() > before {
        before = scene.opened();
        // Nobody says that all was answered: a second without an answer.
        (0..200).for_each(|_| scene.step(95));
    }
    assert!(before < 2 * FILES as u64, "there is something left to do");
    (0..100).for_each(|_| scene.step(95));
    assert_eq!(scene.opened(), before);
    assert_eq!(scene.end(), (2 * FILES as u64, Vec::new()));
    assert_eq!(scene.running.service.figures().proactive_pauses, 1);
}

#[test]
fn a_helper_that_is_killed_costs_no_file_and_none_is_opened_twice() {
    let mut scene = Scene::new();
    while scene.opened() < 20 {
        scene.step(0);
    }
    let killed = scene.helpers.1.borrow()[0];
    let killed = rustix::process::Pid::from_raw(killed.cast_signed()).expect("a process");
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).expect("it runs");
    let (files, causes) = scene.end();
    assert_eq!(files, 2 * FILES as u64);
    assert!(
        matches!(causes.as_slice(), [cause] if cause.ends_with(": 1 helpers ended badly")),
        "what was renamed meanwhile may be on no list: {causes:?}"
    );
    let figures = scene.running.service.figures();
    assert_eq!(figures.helpers_crashed, 1);
    assert_eq!(figures.proactive_bytes, 10 * FILES as u64);
    assert_eq!(scene.helpers.1.borrow().len(), 3);
}

#[test]
fn a_layer_that_is_renamed_in_the_middle_leaves_a_doubt() {
    let mut scene = Scene::new();
    while scene.opened() < 20 {
        scene.step(0);
    }
    let two = scene.dir.path().join("two");
    fs::rename(&two, scene.dir.path().join("removing")).expect("nobody holds it");
    let (files, causes) = scene.end();
    assert!((FILES as u64..2 * FILES as u64).contains(&files), "{files}");
    let [cause] = causes.as_slice() else {
        panic!("one layer went away: {causes:?}");
    };
    assert!(
        cause.contains("two") && cause.contains("went away"),
        "{cause}"
    );
}

#[test]
fn without_its_program_it_gives_each_layer_up_and_says_so() {
    let mut scene = Scene::new();
    scene.helpers.0.program = "/nowhere/siloscan".into();
    let (files, causes) = scene.end();
    let count = |what: &str| causes.iter().filter(|cause| cause.contains(what)).count();
    assert_eq!(
        (files, count("could not be opened"), count("ended badly")),
        (0, 2, 2),
        "{causes:?}"
    );
    let named = scene.running.events.all().into_iter().any(|event| {
        matches!(event, Event::ProactiveLayer { failed_files, .. }
            if failed_files.iter().any(|cause| cause.contains("proactive.helper")))
    });
    assert!(named);
}
