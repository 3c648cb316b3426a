//! Proactive scans by the keeper that the service has: what they earn of the driver, and what
//! never earns it. The helper is a process of the machine, whose opens the driver scans.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use filterhost::container::Container;
use filterhost::user::Process;
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_core::reason::{Event as Driver, LookupReason, SkipReason};
use siloscan_service::events::Event;
use siloscan_service::proactive::Settings;
use siloscan_service::proactive::helper::{Helper, Runner, Start, Word};
use siloscan_service::proactive::keeper::Keeper;
use siloscan_service::proactive::layers::Sources;
use siloscan_service::proactive::plan::Rates;
use siloscan_service::warm::all_files;
use siloscan_service::warm::{SimulatedTree, Tally, Tree};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::marked::{MARKER, Marked};
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{Counts, World, WorldOptions};

/// A host whose rules find marked files, with polls that come often.
fn finding() -> WorldOptions {
    WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        parameters: vec![("HeartbeatMs".to_owned(), 2_000)],
        ..options()
    }
}

fn settings() -> Settings {
    Settings {
        enabled: true,
        sources: Sources {
            folders: vec![r"C:\app".into()],
            ..Sources::default()
        },
        helper: None,
        rates: Rates {
            files_per_second: 100,
            bytes_per_second: 1 << 20,
            concurrency: 2,
            load_percent_max: 100,
        },
        spread_minutes: 0,
    }
}

/// Starts helpers in the machine. The next one dies before it answers, while it is told to.
struct Helpers {
    process: Process,
    dying: Arc<AtomicU32>,
}

struct Opener {
    process: Process,
    /// Files that are left, the next one last.
    files: Vec<String>,
    words: Vec<Word>,
    dying: Arc<AtomicU32>,
    died: bool,
}

impl Runner for Helpers {
    type Helper = Opener;

    fn start(&self, folder: &Path, start: &Start) -> Result<Opener, String> {
        let folder = folder.to_string_lossy().into_owned();
        let listed = self.process.run(move |p| {
            let mut tally = Tally::default();
            all_files(&SimulatedTree(p), &folder, &mut tally)
        });
        let mut files = listed.map_err(|cause| cause.to_string())?;
        let after = start
            .after
            .as_ref()
            .map(|at| at.to_string_lossy().into_owned());
        files.retain(|file| after.as_ref().is_none_or(|after| file > after));
        files.reverse();
        Ok(Opener {
            process: self.process.clone(),
            files,
            words: Vec::new(),
            dying: Arc::clone(&self.dying),
            died: false,
        })
    }
}

impl Helper for Opener {
    fn go(&mut self, files: u32) {
        for _ in 0..files {
            let Some(file) = self.files.pop() else {
                break;
            };
            if self.dying.load(Ordering::SeqCst) > 0 {
                self.dying.fetch_sub(1, Ordering::SeqCst);
                self.died = true;
                return;
            }
            let name = file.clone();
            let opened = self
                .process
                .run(move |p| SimulatedTree(p).open(&name).map(|()| 10));
            self.words.push(Word::of(opened, Some(file.clone()), file));
        }
        if self.files.is_empty() && !self.died {
            self.words.push(Word::Ended {
                opened: 0,
                infected: 0,
                gone: 0,
                failed: 0,
            });
        }
    }

    fn said(&mut self) -> Result<Vec<Word>, String> {
        match self.died && self.words.is_empty() {
            true => Err("it died".to_owned()),
            false => Ok(std::mem::take(&mut self.words)),
        }
    }
}

/// A registered layer with a container over it, an administrator who may change it, the keeper.
struct Scene<'w> {
    world: &'w World,
    containers: Arc<Vec<Container>>,
    admin: Process,
    keeper: Keeper<Opener>,
    helpers: Helpers,
}

impl<'w> Scene<'w> {
    fn new(world: &'w World) -> Self {
        let layer = Layer {
            registered: true,
            ..layer(world)
        };
        let containers = containers(world, &layer, 1, EcpVariant::IDS_FOR_REGISTERED);
        let process = |name| {
            let process = world.process(name);
            process.set_drive('C', &layer.volume);
            process
        };
        let admin = process("admin");
        // Until their first scans are over the new files count as changed.
        for file in [TOOL, OTHER] {
            assert!(admin.run(move |p| p.read_file(file)).is_ok());
        }
        // The service sees the layer's volume where the administrator does.
        world.set_service_drive('C', &layer.volume);
        Self {
            world,
            containers,
            admin,
            keeper: Keeper::default(),
            helpers: Helpers {
                process: process("siloscan"),
                dying: Arc::default(),
            },
        }
    }

    fn step(&mut self, settings: &Settings) {
        let service = self.world.service().expect("it runs");
        self.keeper.step(&service, &self.helpers, settings, None);
        let sched = self.world.machine().sched();
        sched.sleep(Duration::from_millis(50));
    }

    /// Lets the keeper work until so many scans have ended; of the last one whether the driver was
    /// told, and why not.
    fn ended(&mut self, scans: usize) -> (bool, Vec<String>) {
        self.ended_by(&settings(), scans)
    }

    fn ended_by(&mut self, settings: &Settings, scans: usize) -> (bool, Vec<String>) {
        loop {
            self.step(settings);
            let told = self.world.events().all();
            let ended = told.into_iter().filter_map(|event| match event {
                Event::ProactiveDone {
                    covered, causes, ..
                } => Some((covered, causes)),
                _ => None,
            });
            if let Some(last) = ended.skip(scans - 1).last() {
                return last;
            }
        }
    }

    /// Whether the container's open of a package file is skipped.
    fn skips(&self) -> bool {
        let before = self.world.counts();
        let app = self.containers[0].process("app");
        let _read = app.run(|p| p.read_file(TOOL));
        let looked = |counts: &Counts| {
            counts.get(LookupReason::Layer) + counts.get(LookupReason::CoveredLayer)
        };
        let counts = self
            .world
            .counts_once(|counts| looked(counts) > looked(&before));
        let skipped = |counts: &Counts| counts.get(SkipReason::CoveredLayer);
        skipped(&counts.expect("either is counted of each open")) > skipped(&before)
    }

    fn end(self) {
        drop(self.keeper);
        self.containers[0].destroy();
    }
}

fn covered() -> (bool, Vec<String>) {
    (true, Vec::new())
}

#[test]
fn the_keeper_covers_a_layer_by_itself_and_again_after_new_signatures() {
    everywhere(&finding(), |world| {
        let mut scene = Scene::new(world);
        assert!(!scene.skips(), "nobody has scanned it");
        assert_eq!(scene.ended(1), covered());
        assert!(scene.skips());
        world.use_engine(Marked::new(2).finding().engine());
        assert!(!scene.skips(), "other signatures");
        assert_eq!(scene.ended(2), covered());
        assert!(scene.skips());
        let figures = world.service().expect("it runs").figures();
        assert_eq!((figures.proactive_files, figures.proactive_covered), (4, 2));
        scene.end();
    });
}

#[test]
fn a_layer_with_an_infected_file_is_never_covered() {
    everywhere(&finding(), |world| {
        let mut scene = Scene::new(world);
        scene.admin.run(|p| {
            p.write_file(OTHER, MARKER).expect("the administrator may");
            assert_eq!(p.read_file(OTHER), Err(INFECTED));
        });
        let (told, causes) = scene.ended(1);
        assert!(!told && causes[0].contains("1 infected"), "{causes:?}");
        assert!(!scene.skips());
        assert_eq!(world.count(Driver::CoverageReported), 0);
        let named = world.events().all().into_iter().any(|event| match event {
            Event::ProactiveLayer { infected_files, .. } => infected_files == [OTHER],
            _ => false,
        });
        assert!(named);
        scene.end();
    });
}

#[test]
fn an_open_that_succeeds_without_a_verdict_proves_nothing() {
    everywhere(&finding(), |world| {
        let mut scene = Scene::new(world);
        // The policy of this host lets the opens through all the same.
        world.use_engine(Marked::new(2).failing().engine());
        let (told, causes) = scene.ended(1);
        assert!(!told && causes[0].contains("evasion-allowed"), "{causes:?}");
        assert_eq!(world.count(Driver::CoverageReported), 0);
        scene.end();
    });
}

#[test]
fn a_helper_that_dies_is_replaced_and_the_scan_goes_on_and_proves_nothing() {
    everywhere(&finding(), |world| {
        let mut scene = Scene::new(world);
        scene.helpers.dying.store(1, Ordering::SeqCst);
        let (told, causes) = scene.ended(1);
        // What was renamed while it was replaced may have been on neither list.
        assert!(!told && causes[0].contains("1 helpers"), "{causes:?}");
        assert!(!scene.skips());
        let figures = world.service().expect("it runs").figures();
        assert_eq!((figures.proactive_files, figures.helpers_crashed), (2, 1));
        scene.end();
    });
}

/// The settings, with a folder more.
fn with(folder: &str) -> Settings {
    let mut settings = settings();
    settings.sources.folders.push(folder.into());
    settings
}

#[test]
fn a_layer_whose_volume_cannot_be_told_leaves_every_volume_in_doubt() {
    everywhere(&finding(), |world| {
        let mut scene = Scene::new(world);
        let (told, causes) = scene.ended_by(&with(r"X:\nowhere"), 1);
        assert!(!told && causes[0].contains("volume cannot"), "{causes:?}");
        assert!(!scene.skips());
        scene.end();
    });
}

#[test]
fn a_layer_that_comes_later_takes_back_what_was_said_of_its_volume() {
    everywhere(&finding(), |world| {
        let mut scene = Scene::new(world);
        assert_eq!(scene.ended(1), covered());
        assert!(scene.skips());
        scene.admin.run(|p| {
            p.create_directory(r"C:\later").expect("a new directory");
        });
        while world.count(Driver::CoverageWithdrawn) == 0 {
            scene.step(&with(r"C:\later"));
        }
        assert!(!scene.skips());
        scene.end();
    });
}

#[test]
fn an_epoch_that_moves_in_the_middle_begins_the_scan_anew() {
    everywhere(&finding(), |world| {
        let mut scene = Scene::new(world);
        while world.count(Driver::CoverageBegun) == 0 {
            scene.step(&settings());
        }
        world.use_engine(Marked::new(2).finding().engine());
        assert_eq!(scene.ended(1), covered());
        assert_eq!(world.count(Driver::CoverageBegun), 2);
        assert_eq!(world.count(Driver::CoverageRefused), 0);
        assert!(scene.skips());
        scene.end();
    });
}
