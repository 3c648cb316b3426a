//! What is done about a detection after the driver was answered: a container's own file goes to the
//! quarantine, one of a layer is told of and never touched.
//!
//! Threads that answer scans only note what is to be done ([`Remedies`]); a thread that answers
//! none does it ([`RemedyKeeper`]). First the item is durable, then the file is deleted, and only
//! if it still has the bytes that were scanned: what comes between leaves both, never neither. The
//! driver denies the file by its verdict either way.

mod layers;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use siloscan_core::exclusion::ContainerId;
use siloscan_core::key::Key;
use siloscan_quarantine::{Origin, Quarantine};

pub use layers::FoundInLayer;

use crate::engine::Digest;
use crate::events::{Event, ScanRecord};
use crate::memory::{Budget, Copied, Share};
use crate::platform::Platform;
use crate::policy::Action;
use crate::runtime::Store;
use crate::service::Service;
use layers::Layers;

/// Detections that wait to be followed up at most.
const WAITING_MAX: usize = 256;
/// Copies that wait have at most this part of the memory for copies: the rest is for scans.
const MEMORY_PART: u64 = 4;

/// A container's own file in which a rule matched.
pub(crate) struct ScratchFile {
    /// The file that has the bytes.
    pub(crate) key: Key,
    pub(crate) rule: String,
    pub(crate) rules: Digest,
    pub(crate) scan: ScanRecord,
}

/// A layer's file in which a rule matched.
pub(crate) struct LayerFile {
    /// The file of the layer, where it is known.
    pub(crate) key: Option<Key>,
    /// Who opened it.
    pub(crate) container: ContainerId,
    pub(crate) rule: String,
    pub(crate) rules: Digest,
    pub(crate) scan: ScanRecord,
}

/// Something to be done.
pub(crate) enum Remedy {
    Scratch(Box<Held>),
    Layer(Box<LayerFile>),
}

/// A container's file, and the very copy that was scanned.
pub(crate) struct Held {
    file: ScratchFile,
    copied: Copied,
    _share: Share,
}

/// What is to be done, oldest first. Never locked over a call of the platform.
pub(crate) struct Remedies {
    waiting: Mutex<VecDeque<Remedy>>,
    memory: Arc<Budget>,
}

impl Remedies {
    /// For a service whose copies may have so many bytes.
    pub(crate) fn new(memory_bytes_max: u64) -> Self {
        Self {
            waiting: Mutex::default(),
            memory: Arc::new(Budget::new(memory_bytes_max / MEMORY_PART)),
        }
    }

    /// From now on copies may have so many bytes. What waits goes on waiting.
    pub(crate) fn bound(&self, memory_bytes_max: u64) {
        self.memory.resize(memory_bytes_max / MEMORY_PART);
    }

    /// Adds one. False where too many wait.
    fn add(&self, remedy: Remedy) -> bool {
        let mut waiting = self.waiting.lock();
        let room = waiting.len() < WAITING_MAX;
        if room {
            waiting.push_back(remedy);
        }
        room
    }

    pub(crate) fn next(&self) -> Option<Remedy> {
        self.waiting.lock().pop_front()
    }
}

impl<P: Platform> Service<P> {
    /// Notes something to be done. What is too much is counted.
    pub(crate) fn leave(&self, remedy: Remedy) {
        if !self.remedies.add(remedy) {
            self.stats.remedies_dropped.one();
        }
    }

    /// Notes a file that is to go to the quarantine, with its copy. What is too much is counted and
    /// told.
    pub(crate) fn leave_file(&self, file: ScratchFile, copied: Copied) {
        let bytes = copied.bytes.bytes().len() as u64;
        let (rule, scan) = (file.rule.clone(), file.scan.clone());
        let taken = self.remedies.memory.take(bytes).is_some_and(|share| {
            self.remedies.add(Remedy::Scratch(Box::new(Held {
                file,
                copied,
                _share: share,
            })))
        });
        if !taken {
            self.stats.remedies_dropped.one();
            self.stats.not_quarantined.one();
            self.report(Event::NotQuarantined {
                cause: "too many files wait for the quarantine; raise --memory-mib".to_owned(),
                item: None,
                rule,
                scan,
            });
        }
    }
}

/// Follows detections up. Call [`RemedyKeeper::check`] often, never on a thread that answers scans.
pub struct RemedyKeeper {
    quarantine: Option<Quarantine>,
    layers: Layers,
}

impl RemedyKeeper {
    /// Moves containers' files to `quarantine`, if there is one, and asks `store` about layers.
    #[must_use]
    pub fn new(quarantine: Option<Quarantine>, store: Option<Store>) -> Self {
        Self {
            quarantine,
            layers: Layers::new(store),
        }
    }

    /// Does what is to be done.
    pub fn check<P: Platform>(&mut self, service: &Service<P>) {
        while let Some(remedy) = service.next_remedy() {
            match remedy {
                Remedy::Scratch(held) => self.take_away(service, &held),
                Remedy::Layer(file) => self.layers.tell(service, &file),
            }
        }
        self.layers.forget_the_moment();
    }

    fn take_away<P: Platform>(&self, service: &Service<P>, held: &Held) {
        let (rule, scan) = (held.file.rule.clone(), held.file.scan.clone());
        match self.move_file(service, held) {
            Ok(item) => {
                service.stats.quarantined.one();
                service.report(Event::Quarantined { item, rule, scan });
            }
            Err((cause, item)) => {
                service.stats.not_quarantined.one();
                service.report(Event::NotQuarantined {
                    cause,
                    item,
                    rule,
                    scan,
                });
            }
        }
    }

    /// The item, once it is durable and the file is gone. Else why, and the item if there is one.
    fn move_file<P: Platform>(
        &self,
        service: &Service<P>,
        held: &Held,
    ) -> Result<String, (String, Option<String>)> {
        let quarantine = self.quarantine.as_ref();
        let quarantine = quarantine.ok_or_else(|| ("there is no quarantine".to_owned(), None))?;
        let content = held.copied.bytes.bytes();
        // What was denied may be allowed by now.
        if service.policy().judge(content).0 != Action::Denied {
            let cause = "it is allowed by now, or detections are only reported";
            return Err((cause.to_owned(), None));
        }
        let kept = quarantine
            .put(content, &origin_of(&held.file))
            .map_err(|cause| (cause.to_string(), None))?;
        let item = kept.id().to_string();
        match service.platform().remove_file(&held.file.key, content) {
            Ok(()) => Ok(item),
            Err(cause) => Err((cause.to_string(), Some(item))),
        }
    }
}

fn origin_of(file: &ScratchFile) -> Origin {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let scan = &file.scan;
    Origin {
        time_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        path: (!scan.path.is_empty()).then(|| scan.path.clone()),
        path_is_cut: scan.path_is_cut,
        container: scan.container.clone(),
        volume: scan.volume.clone(),
        file_id: scan.file_id.clone(),
        process: Some(scan.process),
        rule: file.rule.clone(),
        rules: file.rules.to_string(),
    }
}
