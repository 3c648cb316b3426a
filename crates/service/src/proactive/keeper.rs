//! Keeps the layers of this host scanned: finds them, begins what is due, tells the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use siloscan_core::key::VolumeGuid;
use siloscan_core::wire::News;

use super::helper::{Helper, Runner};
use super::layers::Found;
use super::pass::Pass;
use super::plan::{Budget, Plan, Volume, VolumeName, delay, pause};
use super::{Settings, host};
use crate::events::Event;
use crate::platform::Platform;
use crate::service::Service;

/// How often layers are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Keeps layers scanned. Call [`Keeper::step`] ten times a second or so.
pub struct Keeper<H> {
    host: String,
    plan: Plan,
    budget: Budget,
    look_at: Duration,
    settings: Settings,
    /// What the last look found.
    found: Found,
    volumes: Vec<Volume>,
    /// Folders that were found, at rest or not, by their volumes.
    all: BTreeMap<VolumeName, BTreeSet<PathBuf>>,
    /// Volumes of folders, asked once an epoch.
    known: BTreeMap<PathBuf, VolumeGuid>,
    told: Vec<String>,
    pass: Option<Pass<H>>,
    was_paused: bool,
}

impl<H> Default for Keeper<H> {
    fn default() -> Self {
        Self {
            host: host::name(),
            plan: Plan::default(),
            budget: Budget::default(),
            look_at: Duration::ZERO,
            settings: Settings::default(),
            found: Found::default(),
            volumes: Vec::new(),
            all: BTreeMap::new(),
            known: BTreeMap::new(),
            told: Vec::new(),
            pass: None,
            was_paused: false,
        }
    }
}

impl<H: Helper> Keeper<H> {
    /// Does what is to be done now, and waits for nothing but the files of the stores. `load` is
    /// how busy the host's processors are, in percent.
    pub fn step<P: Platform, R: Runner<Helper = H>>(
        &mut self,
        service: &Service<P>,
        runner: &R,
        settings: &Settings,
        load: Option<u64>,
    ) {
        if self.settings != *settings {
            self.follow(settings);
        }
        let Some(epoch) = service.driver_epoch().filter(|_| settings.enabled) else {
            return;
        };
        let now = service.platform().now();
        let wait = delay(&self.host, settings.spread_minutes);
        let connection = service.figures().connections;
        let wanted = service.warm_wanted();
        if self.plan.note((connection, epoch), wanted, now, wait) {
            // What was opened under other signatures proves nothing.
            self.pass = None;
            self.known.clear();
            self.look_at = now;
        }
        // The last word on a volume is not said from what was seen half a minute ago.
        let is_last = self.pass.as_mut().is_some_and(Pass::wants_a_look);
        if is_last || now >= self.look_at {
            self.look(service, now);
            self.look_at = now + LOOK_EVERY;
        }
        if self.pass.is_none() {
            let due = self.plan.due(&self.volumes, now).cloned();
            self.pass = due.map(|volume| Pass::new(service, volume, epoch));
            self.warn(service, now);
        }
        let paused = match service.backlog() {
            Some(backlog) => pause(&settings.rates, backlog, load),
            None => Some("the driver is not connected".to_owned()),
        };
        let Some(running) = &mut self.pass else {
            return;
        };
        if paused.is_some() && !self.was_paused {
            service.stats.proactive_pauses.one();
        }
        self.was_paused = paused.is_some();
        let pace = (&settings.rates, &mut self.budget, paused.as_deref());
        if let Some(how) = running.step(service, runner, pace) {
            let now = service.platform().now();
            self.plan.ended(&running.volume, how, now);
            self.pass = None;
        }
    }

    /// Other settings: a pass goes on if it is about the same folders. What was proved stays so:
    /// of other folders the next look tells.
    fn follow(&mut self, settings: &Settings) {
        if !settings.enabled || self.settings.sources != settings.sources {
            self.pass = None;
            self.look_at = Duration::ZERO;
            self.found = Found::default();
            self.known.clear();
            self.told.clear();
        }
        self.settings = settings.clone();
    }

    fn look<P: Platform>(&mut self, service: &Service<P>, now: Duration) {
        let found = self.settings.sources.find();
        if found.problems != self.told {
            self.told.clone_from(&found.problems);
            for cause in &found.problems {
                service.report(Event::BrokenLayers {
                    cause: cause.clone(),
                });
            }
        }
        // A layer that has just come is perhaps still being written: the next look takes it.
        let before: BTreeSet<PathBuf> = self.found.folders.drain(..).collect();
        let named = self.settings.sources.folders.clone();
        let at_rest = |folder: &PathBuf| before.contains(folder) || named.contains(folder);
        let mut volumes: Vec<Volume> = Vec::new();
        self.all.clear();
        for folder in &found.folders {
            let volume = self.volume_of(service, folder);
            self.all.entry(volume).or_default().insert(folder.clone());
            if !at_rest(folder) {
                continue;
            }
            match volumes.iter_mut().find(|known| known.volume == volume) {
                Some(known) => known.folders.push(folder.clone()),
                None => volumes.push(Volume {
                    volume,
                    folders: vec![folder.clone()],
                }),
            }
        }
        self.volumes = volumes;
        self.found = found;
        self.warn(service, now);
    }

    /// The volume of a folder; one that cannot be told is asked again the next time.
    fn volume_of<P: Platform>(&mut self, service: &Service<P>, folder: &PathBuf) -> VolumeName {
        if let Some(known) = self.known.get(folder) {
            return Some(*known);
        }
        let platform = service.platform();
        match platform.volume_of_folder(&folder.to_string_lossy()) {
            Ok(volume) => {
                self.known.insert(folder.clone(), volume);
                Some(volume)
            }
            Err(cause) => {
                tracing::debug!(%cause, ?folder, "its volume cannot be told");
                None
            }
        }
    }

    /// Why nothing can be said of a volume of which these folders were scanned.
    fn open_question(&self, volume: VolumeGuid, scanned: &BTreeSet<PathBuf>) -> Option<&str> {
        if !self.found.complete {
            return Some("not all layers could be found");
        }
        if self.all.contains_key(&None) {
            return Some("a layer's volume cannot be told");
        }
        let there = self.all.get(&Some(volume));
        there
            .is_some_and(|there| !there.is_subset(scanned))
            .then_some("a layer has come meanwhile")
    }

    /// What the pass that runs cannot know, and what holds no longer of volumes before.
    fn warn<P: Platform>(&mut self, service: &Service<P>, now: Duration) {
        let mut plan = std::mem::take(&mut self.plan);
        let is_open = |volume: VolumeGuid, folders: &BTreeSet<PathBuf>| {
            self.open_question(volume, folders).is_some()
        };
        for volume in plan.withdraw(now, is_open) {
            service.tell(News::Uncovered(volume));
        }
        self.plan = plan;
        let Some(mut pass) = self.pass.take() else {
            return;
        };
        if let Some(volume) = pass.volume.volume {
            let folders = pass.volume.folders.iter().cloned().collect();
            if let Some(cause) = self.open_question(volume, &folders) {
                pass.doubt(cause);
            }
        }
        self.pass = Some(pass);
    }
}
