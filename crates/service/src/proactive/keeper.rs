//! Keeps the layers of this host scanned: finds them, begins what is due, tells the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

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
    /// Volumes of folders, asked once an epoch.
    known: BTreeMap<PathBuf, VolumeName>,
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
        if self.plan.note(epoch, service.warm_wanted(), now, wait) {
            // What was opened under other signatures proves nothing.
            self.pass = None;
            self.known.clear();
            self.look_at = now;
        }
        if now >= self.look_at {
            self.look(service);
            self.look_at = now + LOOK_EVERY;
        }
        if self.pass.is_none() {
            let due = self.plan.due(&self.volumes, now).cloned();
            self.pass = due.map(|volume| Pass::new(service, volume, epoch));
            self.warn();
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

    /// Other settings: a pass goes on if it is about the same folders.
    fn follow(&mut self, settings: &Settings) {
        if !settings.enabled || self.settings.sources != settings.sources {
            let host = std::mem::take(&mut self.host);
            *self = Self {
                host,
                ..Self::default()
            };
        }
        self.settings = settings.clone();
    }

    fn look<P: Platform>(&mut self, service: &Service<P>) {
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
        let before: BTreeSet<&PathBuf> = self.found.folders.iter().collect();
        let named = &self.settings.sources.folders;
        let at_rest = |folder: &&PathBuf| before.contains(folder) || named.contains(folder);
        let mut volumes: Vec<Volume> = Vec::new();
        for folder in found.folders.iter().filter(at_rest) {
            let volume = *self.known.entry(folder.clone()).or_insert_with(|| {
                let volume = service
                    .platform()
                    .volume_of_folder(&folder.to_string_lossy());
                volume
                    .inspect_err(
                        |cause| tracing::debug!(%cause, ?folder, "its volume cannot be told"),
                    )
                    .ok()
            });
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
        self.warn();
    }

    /// What the pass that runs cannot know.
    fn warn(&mut self) {
        let Some(pass) = &mut self.pass else {
            return;
        };
        if !self.found.complete {
            pass.doubt("not all layers could be found");
        }
        let same = |volume: &&Volume| volume.volume == pass.volume.volume;
        if let Some(now) = self.volumes.iter().find(same) {
            let folders = &pass.volume.folders;
            if now.folders.iter().any(|folder| !folders.contains(folder)) {
                pass.doubt("a layer has come meanwhile");
            }
        }
    }
}
