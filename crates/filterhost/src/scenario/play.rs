//! Plays a scenario against a driver, once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::plan::{FilterKind, OwnFilter, Scenario, VolumePlan};
use super::things::Things;
use crate::fltmgr;
use crate::kernel::format::Messages;
use crate::machine::{Machine, MachineBuilder, Stats};
use crate::native::{OtherAntivirus, Projected, Reissue};
use crate::silo::SiloKind;
use crate::user::{Process, Task};
use crate::verifier::Report;
use crate::volume::{Volume, VolumeOptions, random_guid};
use crate::wcifs::Layer;
use crate::{Container, ContainerOptions, DriverHandle, LoadError, LoadOptions, Mode};

/// What is chosen for one play of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The scheduler, whatever the scenario says.
    pub mode: Option<Mode>,
    /// Special pool, even where the scenario does not ask for it.
    pub special_pool: bool,
    /// Rules that are not judged, beside the scenario's.
    pub without_rules: Vec<&'static str>,
    /// Build number, whatever the scenario says.
    pub build: Option<u32>,
    /// Altitude of the driver's instance, whatever the scenario says.
    pub altitude: Option<String>,
    /// This allocation of pool fails, counted from 1 at the driver's load.
    pub fail_allocation: Option<u64>,
    /// This call of this function fails, counted from 1 at the driver's load.
    pub fail_call: Option<(String, u64)>,
    /// What steps end with is not judged, and a step whose file was not opened is left out: for
    /// drivers that deny, and for faults.
    pub lenient: bool,
}

/// How far the driver came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Its `DriverEntry` succeeded.
    Started,
    /// Its `DriverEntry` failed with this status.
    Refused(String),
    /// It could not be loaded, with the reason: missing imports, say.
    Impossible(String),
}

/// A step, or the end, that did not go as the scenario says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line of the step in the scenario; 0 for the end.
    pub line: usize,
    /// What happened, and what was to happen.
    pub said: String,
}

/// What a play without a broken rule leaves.
#[derive(Debug)]
pub struct Played {
    /// How far the driver came.
    pub start: Start,
    /// What did not go as the scenario says.
    pub problems: Vec<Problem>,
    /// What the driver printed.
    pub messages: Vec<String>,
    /// Allocations of pool, from the driver's load on.
    pub allocations: u64,
    /// Calls of each function that may fail, from the driver's load on.
    pub calls: BTreeMap<&'static str, u64>,
    /// Hash over all choices of the seed; 0 without one.
    pub trace_hash: u64,
    /// Counts.
    pub stats: Stats,
}

impl Scenario {
    /// Plays it with a driver image, once.
    ///
    /// # Errors
    /// The report of the first broken rule, crash or deadlock.
    pub fn play(&self, image: &Path, choices: &Choices) -> Result<Played, Report> {
        let (scenario, image) = (self.clone(), image.to_owned());
        let chosen = choices.clone();
        let outcome = self.builder(choices).run(move |m| {
            let mut world = World::new(m, scenario, chosen);
            let start = world.play(&image);
            let problems = std::mem::take(&mut *world.things.problems.lock());
            let counts = world.counts();
            (start, problems, m.state::<Messages>().all(), counts)
        })?;
        let (start, problems, messages, (allocations, calls)) = outcome.value;
        Ok(Played {
            start,
            problems,
            messages,
            allocations,
            calls,
            trace_hash: outcome.trace_hash,
            stats: outcome.stats,
        })
    }

    fn builder(&self, choices: &Choices) -> MachineBuilder {
        let seed = self.machine.seed.map_or(Mode::Free, Mode::Seeded);
        Machine::builder()
            .scheduler(choices.mode.unwrap_or(seed))
            .build_number(choices.build.unwrap_or(self.machine.build))
            .special_pool(self.machine.special_pool || choices.special_pool)
            .without_rules(&self.machine.without_rules)
            .without_rules(&choices.without_rules)
    }

    /// A path of the file system that this runs on, from the scenario's folder.
    fn beside(&self, path: &Path) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.join(path),
            None => path.to_owned(),
        }
    }

    fn load_options(&self, image: &Path, choices: &Choices) -> LoadOptions {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        let service = self.driver.service.as_deref().unwrap_or(&stem);
        let altitude = choices.altitude.as_ref().or(self.driver.altitude.as_ref());
        let altitude = altitude.map_or("320999.5", String::as_str);
        let mut options =
            LoadOptions::new(image, service).instance(&format!("{service} Instance"), altitude);
        for (key, name, value) in &self.driver.values {
            options = options.value(key, name, value.clone());
        }
        options
    }
}

/// A machine while a scenario is played on it.
struct World {
    m: Arc<Machine>,
    scenario: Arc<Scenario>,
    choices: Choices,
    volumes: Vec<Arc<Volume>>,
    containers: Vec<Container>,
    processes: Vec<Process>,
    beside: Vec<DriverHandle>,
    things: Arc<Things>,
    /// What was counted before the driver was loaded.
    before: Counts,
}

/// Allocations of pool, and calls of each function that may fail.
type Counts = (u64, BTreeMap<&'static str, u64>);

impl World {
    fn new(m: &Arc<Machine>, scenario: Scenario, choices: Choices) -> Self {
        let steps = scenario.steps.len();
        Self {
            m: Arc::clone(m),
            scenario: Arc::new(scenario),
            things: Arc::new(Things::new(m, steps, choices.lenient)),
            choices,
            volumes: Vec::new(),
            containers: Vec::new(),
            processes: Vec::new(),
            beside: Vec::new(),
            before: Counts::default(),
        }
    }

    /// What was counted from the driver's load on.
    fn counts(&self) -> Counts {
        let (faults, (allocations, calls)) = (self.m.faults(), &self.before);
        let since = |(name, count): (&'static str, u64)| {
            let before = calls.get(name).copied().unwrap_or(0);
            (count > before).then_some((name, count - before))
        };
        let calls = faults.calls().into_iter().filter_map(since).collect();
        (faults.allocations() - allocations, calls)
    }

    /// Plays it; whatever happens, no driver is left.
    fn play(&mut self, image: &Path) -> Start {
        let prepared = self.mount(false).and_then(|()| self.other_filters());
        let start = match prepared {
            Ok(()) => self.play_driver(image),
            Err(said) => Start::Impossible(said),
        };
        for other in &self.beside {
            self.unload(other);
        }
        start
    }

    fn play_driver(&mut self, image: &Path) -> Start {
        let faults = self.m.faults();
        self.before = (faults.allocations(), faults.calls());
        if let Some(nth) = self.choices.fail_allocation {
            faults.fail_allocation(nth);
        }
        if let Some((function, nth)) = &self.choices.fail_call {
            faults.fail_call(function, *nth);
        }
        let options = self.scenario.load_options(image, &self.choices);
        let driver = match self.m.load_driver(&options) {
            Ok(driver) => driver,
            Err(cause @ LoadError::Entry { .. }) => return Start::Refused(cause.to_string()),
            Err(cause) => return Start::Impossible(cause.to_string()),
        };
        let start = match self.mount(true) {
            Ok(()) => {
                self.run_threads(&driver);
                Start::Started
            }
            Err(said) => Start::Impossible(said),
        };
        self.end(&driver);
        start
    }

    fn run_threads(&mut self, driver: &DriverHandle) {
        self.containers();
        self.processes();
        self.things.begin(driver, &self.volumes);
        let tasks: Vec<Task<()>> = self.threads();
        for task in tasks {
            task.join();
        }
    }

    /// Mounts the volumes that are there early, or those that come late.
    fn mount(&mut self, late: bool) -> Result<(), String> {
        let scenario = Arc::clone(&self.scenario);
        for (number, plan) in scenario.volumes.iter().enumerate() {
            if plan.late && !late {
                continue;
            }
            if plan.late == late {
                let volume = self.mount_one(number, plan)?;
                let at = self.volumes.len().min(number);
                self.volumes.insert(at, volume);
            }
        }
        Ok(())
    }

    fn mount_one(&self, number: usize, plan: &VolumePlan) -> Result<Arc<Volume>, String> {
        let guid = (!plan.kind.is_network()).then(|| random_guid(&self.m));
        let options = VolumeOptions {
            kind: plan.kind,
            guid,
            read_only: plan.read_only,
            dax: plan.dax,
        };
        let volume = Volume::mount(&self.m, &options);
        if let Some(folder) = &plan.import {
            let folder = self.scenario.beside(folder);
            let imported = volume.import_folder(r"\", &folder);
            imported.map_err(|cause| format!("{}: {cause}", folder.display()))?;
        }
        for file in self.scenario.files.iter().filter(|f| f.volume == number) {
            let placed = volume.fs().place(&file.path, &file.data);
            let wrong = |status| format!("cannot make {}:{}: {status}", plan.drive, file.path);
            placed.map_err(wrong)?;
        }
        fltmgr::volume::mounted(&self.m, &volume);
        Ok(volume)
    }

    fn other_filters(&mut self) -> Result<(), String> {
        let scenario = Arc::clone(&self.scenario);
        for (number, plan) in scenario.filters.iter().enumerate() {
            let drives = &scenario.volumes;
            // Only those that are mounted early are there by now.
            let mut early = drives.iter().filter(|volume| !volume.late);
            let wanted = match plan.drive {
                Some(drive) => early.position(|volume| volume.drive == drive),
                None => Some(0),
            };
            let volume = wanted.and_then(|number| self.volumes.get(number)).cloned();
            let volume =
                volume.ok_or("no volume that is mounted early has the drive of a [[filter]]")?;
            let altitude = plan.altitude.as_str();
            let m = &self.m;
            match &plan.kind {
                FilterKind::Own(OwnFilter::Antivirus) => {
                    fltmgr::native::attach(m, &volume, Arc::new(OtherAntivirus::new(altitude)));
                }
                FilterKind::Own(OwnFilter::Projected) => {
                    fltmgr::native::attach(m, &volume, Arc::new(Projected::new(altitude)));
                }
                FilterKind::Own(OwnFilter::Reissue) => {
                    let filter = Reissue::new(altitude, &volume);
                    fltmgr::native::attach(m, &volume, Arc::new(filter));
                }
                FilterKind::Image(image) => {
                    let image = scenario.beside(image);
                    let options = LoadOptions::new(&image, &format!("beside{number}"))
                        .instance(&format!("beside {number}"), altitude);
                    let loaded = m.load_driver(&options).map_err(|cause| cause.to_string());
                    self.beside.push(loaded?);
                }
            }
        }
        Ok(())
    }

    fn containers(&mut self) {
        for plan in &self.scenario.containers {
            let layer = |(volume, root): &(usize, String)| {
                Some(Layer {
                    volume: Arc::clone(self.volumes.get(*volume)?),
                    root: root.clone(),
                    registered: false,
                    remote: false,
                })
            };
            let options = ContainerOptions {
                layers: plan.layers.iter().filter_map(layer).collect(),
                container_id: Some(random_guid(&self.m)),
                silo: SiloKind::Server,
                ..ContainerOptions::default()
            };
            self.containers.push(self.m.create_container(&options));
        }
    }

    fn processes(&mut self) {
        let drives = &self.scenario.volumes;
        for (name, container) in &self.scenario.processes {
            let inside = container.and_then(|number| self.containers.get(number));
            if let Some(container) = inside {
                self.processes.push(container.process(name));
                continue;
            }
            let Some(first) = self.volumes.first() else {
                continue;
            };
            let process = Process::create(&self.m, name, first, None);
            for (plan, volume) in drives.iter().zip(&self.volumes) {
                process.set_drive(plan.drive, volume);
            }
            self.processes.push(process);
        }
    }

    fn threads(&self) -> Vec<Task<()>> {
        let numbers = 0..self.scenario.threads.len();
        let start = |number: usize| {
            let plan = self.scenario.threads.get(number)?;
            let process = self.processes.get(plan.process)?;
            let (scenario, things) = (Arc::clone(&self.scenario), Arc::clone(&self.things));
            Some(process.spawn(&plan.name, move |process| {
                let plan = scenario.threads.get(number);
                let steps = plan.map_or(&[][..], |plan| &plan.steps);
                things.run(
                    process,
                    steps
                        .iter()
                        .filter_map(|step| Some((*step, scenario.steps.get(*step)?))),
                );
            }))
        };
        numbers.filter_map(start).collect()
    }

    /// Everything is closed, and the driver goes.
    fn end(&self, driver: &DriverHandle) {
        self.things.clear();
        for process in &self.processes {
            process.exit();
        }
        for container in &self.containers {
            container.destroy();
        }
        if !driver.is_unloaded() {
            self.unload(driver);
        }
    }

    fn unload(&self, driver: &DriverHandle) {
        if let Err(status) = driver.unload() {
            let name = driver.service();
            let said = format!("{name} refused to be unloaded: {status}");
            self.things.problems.lock().push(Problem { line: 0, said });
        }
    }
}

/// What went wrong, as it is collected by all threads.
pub(super) type Problems = Mutex<Vec<Problem>>;
