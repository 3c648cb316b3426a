//! What the operator excludes: a file with one entry a line, read at the start and followed while
//! running. A wrong entry is named with file and line and left out; the others stay.
//!
//! The file lies on the host, and only its reader speaks to the driver: nothing inside a container
//! reaches either. The driver knows containers by id and files by key. So an image is the
//! containers that were started from it, which the runtime's store tells ([`crate::runtime`]), and
//! a layer is asked for file by file.

mod file;
mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use siloscan_core::exclusion::ContainerId;

pub use file::{Entries, entry_and_comment, parse};
pub use list::{ExcludedImage, ExcludedLayer, Excluding, Exclusion, Hits};
pub(crate) use list::{List, Lists};

use crate::events::Event;
use crate::job::guid_text;
use crate::platform::Platform;
use crate::runtime::{Container, ImageDigest, Store, StoreError};
use crate::service::Service;

/// A file of exclusions may have at most so many bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// How often the runtime is asked for a container before it is given up: it may not have written
/// down yet what it has started.
const TRIES: u32 = 10;
/// Containers whose images are remembered at most.
const REMEMBERED: usize = 4_096;

/// Follows a file of exclusions, and what the container runtime knows. Call
/// [`ExclusionKeeper::check`] every second or two, never on a thread that answers scans.
pub struct ExclusionKeeper {
    file: PathBuf,
    store: Option<Store>,
    /// What the file held when it was last acted on; nothing before.
    seen: Option<Result<Vec<u8>, String>>,
    /// What it held at the last look.
    looked: Option<Result<Vec<u8>, String>>,
    entries: Entries,
    layers: Vec<ExcludedLayer>,
    /// The images of the containers that were met.
    known: BTreeMap<ContainerId, ImageDigest>,
    /// Containers that were met and are not known yet, and how often they were looked for.
    wanted: BTreeMap<ContainerId, u32>,
}

/// What the store says at one moment.
struct Moment {
    containers: BTreeMap<ContainerId, String>,
    manifests: BTreeMap<ImageDigest, ImageDigest>,
}

impl ExclusionKeeper {
    /// Follows `file`, which is read by the first check.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            store: None,
            seen: None,
            looked: None,
            entries: Entries::default(),
            layers: Vec::new(),
            known: BTreeMap::new(),
            wanted: BTreeMap::new(),
        }
    }

    /// The same, with a store that knows the images of containers.
    #[must_use]
    pub fn with_store(mut self, store: Option<Store>) -> Self {
        self.store = store;
        self
    }

    /// The same, in the place of `before`: what that one allowed is taken away as by a change of
    /// its own file.
    #[must_use]
    pub(crate) fn after(mut self, before: Self) -> Self {
        self.entries = before.entries;
        self
    }

    /// Reads the file, and puts what it says in force if it has changed, or if a container has come
    /// that it excludes. A file that cannot be read excludes nothing.
    pub fn check<P: Platform>(&mut self, service: &Service<P>) {
        let changed = self.read(service);
        if self.entries.images.is_empty() || self.store.is_none() {
            if changed {
                service.exclude(self.excluding(&BTreeMap::new()));
            }
            return;
        }
        for container in service.take_met() {
            if !self.known.contains_key(&container) {
                self.wanted.insert(container, 0);
            }
        }
        if changed || !self.wanted.is_empty() {
            self.learn(service, changed);
        }
    }

    /// Reads the file, and reports what is wrong with it. Whether it has changed.
    fn read<P: Platform>(&mut self, service: &Service<P>) -> bool {
        let found = read(&self.file);
        let at_rest = self.looked.as_ref() == Some(&found);
        if self.seen.as_ref() == Some(&found) {
            self.looked = Some(found);
            return false;
        }
        let name = self.file.display().to_string();
        let entries = match &found {
            Ok(bytes) => parse(&name, &String::from_utf8_lossy(bytes)),
            Err(cause) => Entries {
                problems: vec![format!(
                    "cannot read the exclusions {name}: {cause}. Nothing is excluded"
                )],
                ..Entries::default()
            },
        };
        self.looked = Some(found.clone());
        // Half a file, or one that cannot be read for a moment, is no reason to take away what a
        // container has: that cannot be undone.
        if !at_rest && !self.entries.files.is_subset(&entries.files) {
            return false;
        }
        self.entries = entries;
        self.seen = Some(found);
        if !self.entries.images.is_empty() && self.store.is_none() {
            self.entries.problems.push(format!(
                "{name}: no image can be excluded without the runtime's store; name it with \
                 --runtime-store. The images are left out"
            ));
        }
        self.find_layers(&name, service);
        service.allow(self.entries.files.clone());
        for cause in self.entries.problems.drain(..) {
            service.report(Event::BrokenExclusions { cause });
        }
        service.report(Event::Exclusions {
            containers: self.entries.containers.len(),
            images: self.entries.images.len(),
            layers: self.layers.len(),
            files: self.entries.files.len(),
        });
        true
    }

    /// Where the layers of the file are, by the names that the system gives their folders.
    fn find_layers<P: Platform>(&mut self, name: &str, service: &Service<P>) {
        self.layers.clear();
        for (line, shown) in &self.entries.layers {
            let stored = self
                .store
                .as_ref()
                .and_then(|store| store.layer_folder(shown));
            let folder = stored.map_or_else(|| shown.clone(), |path| path.display().to_string());
            match service.platform().name_of_folder(&folder) {
                Ok(folder) => self.layers.push(ExcludedLayer::new(shown, &folder)),
                Err(cause) => self.entries.problems.push(format!(
                    "{name}:{line}: the layer {folder} cannot be found: {cause}. The entry is \
                     left out"
                )),
            }
        }
    }

    /// Asks the runtime for the images of containers, and puts what they come to in force.
    fn learn<P: Platform>(&mut self, service: &Service<P>, anew: bool) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let moment = store.containers().and_then(|containers| {
            let manifests = store.manifests()?;
            Ok(Moment {
                containers,
                manifests,
            })
        });
        let moment = match moment {
            Ok(moment) => moment,
            Err(cause) => return self.ask_again(service, anew, &cause),
        };
        if anew {
            self.known.clear();
            let listed = moment.containers.keys();
            self.wanted = listed.map(|container| (*container, 0)).collect();
        }
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.retain(|guid, tries| {
            let found = moment.containers.get(guid).map(|id| store.container(id));
            let cause = match found {
                Some(Ok(container)) => {
                    self.note(service, *guid, &container);
                    return false;
                }
                Some(Err(cause)) => cause.to_string(),
                None => "its runtime does not list it".to_owned(),
            };
            *tries += 1;
            if *tries == TRIES {
                service.report(unknown(guid, &cause));
            }
            *tries < TRIES
        });
        self.wanted = wanted;
        service.exclude(self.excluding(&moment.manifests));
        self.drop_gone(&moment.containers);
    }

    /// The store cannot be read now. What was known stays; a new list begins without.
    fn ask_again<P: Platform>(&mut self, service: &Service<P>, anew: bool, cause: &StoreError) {
        if anew {
            self.known.clear();
            let cause = format!("cannot tell the images of containers: {cause}");
            service.report(Event::BrokenExclusions { cause });
            service.exclude(self.excluding(&BTreeMap::new()));
        }
        for tries in self.wanted.values_mut() {
            *tries += 1;
        }
        let given_up = self.wanted.extract_if(.., |_, tries| *tries >= TRIES);
        for (guid, _) in given_up {
            service.report(unknown(&guid, &cause.to_string()));
        }
    }

    fn note<P: Platform>(&mut self, service: &Service<P>, guid: ContainerId, found: &Container) {
        self.known.insert(guid, found.image);
        service.report(Event::ContainerImage {
            container: guid_text(&guid),
            id: found.id.clone(),
            image: found.image.to_string(),
            layers: found.layers.clone(),
        });
    }

    /// Forgets containers that are gone, where too many are remembered.
    fn drop_gone(&mut self, listed: &BTreeMap<ContainerId, String>) {
        if self.known.len() > REMEMBERED {
            self.known
                .retain(|container, _| listed.contains_key(container));
        }
    }

    /// What is to be excluded, as far as it is known.
    fn excluding(&self, manifests: &BTreeMap<ImageDigest, ImageDigest>) -> Excluding {
        let images = self.entries.images.iter().map(|image| {
            let named: BTreeSet<_> = [Some(image), manifests.get(image)].into_iter().collect();
            let of_it = self
                .known
                .iter()
                .filter(|(_, of)| named.contains(&Some(of)));
            ExcludedImage {
                image: *image,
                containers: of_it.map(|(container, _)| *container).collect(),
            }
        });
        Excluding {
            containers: self.entries.containers.clone(),
            images: images.collect(),
            layers: self.layers.clone(),
        }
    }
}

fn unknown(container: &ContainerId, cause: &str) -> Event {
    let container = guid_text(container).unwrap_or_default();
    Event::BrokenExclusions {
        cause: format!("cannot tell the image of container {container}: {cause}. It is scanned"),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    read_file(file).map_err(|cause| cause.to_string())
}

/// The bytes of a file of exclusions.
///
/// # Errors
/// What the system says; [`io::ErrorKind::FileTooLarge`] beyond [`FILE_BYTES_MAX`].
pub fn read_file(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut some = File::open(file)?.take(FILE_BYTES_MAX + 1);
    some.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let said = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, said));
    }
    Ok(bytes)
}
