//! Detections in layers: one report for each file, with what the runtime's store knows of the
//! layer. A layer is shared by images and containers, so it is never touched: an image is rebuilt.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use siloscan_core::exclusion::ContainerId;

use super::LayerFile;
use crate::engine::Digest;
use crate::events::Event;
use crate::exclusions::ExcludedLayer;
use crate::job::guid_text;
use crate::platform::Platform;
use crate::runtime::{Container, Store, StoreError};
use crate::service::Service;

/// Files that are remembered as told at most; one more, and they are told anew.
const TOLD_MAX: usize = 4_096;
/// Containers of whose layers one report asks at most.
const CONTAINERS_MAX: usize = 1_024;

/// What is known of the layer that a file lies in. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FoundInLayer {
    /// The file's name on the host, as the system has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The layer's folder, as the runtime names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The images with that layer. Without a layer, the image of the container that opened it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Their containers that exist, by the ids that the driver knows, the one that opened the file
    /// among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// Why the runtime's store did not tell more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Names a file: its key, or what it was opened as.
type Known = (Option<([u8; 16], [u8; 16])>, String, Digest);

/// What the store says at one moment.
type Moment = BTreeMap<ContainerId, Container>;

/// Tells of detections in layers.
pub(super) struct Layers {
    store: Option<Store>,
    told: BTreeSet<Known>,
    /// What the store said; asked for once for all that waits.
    moment: Option<Result<Moment, String>>,
}

impl Layers {
    pub(super) fn new(store: Option<Store>) -> Self {
        Self {
            store,
            told: BTreeSet::new(),
            moment: None,
        }
    }

    /// The store is asked anew for the next report.
    pub(super) fn forget_the_moment(&mut self) {
        self.moment = None;
    }

    /// Tells of one, unless that was done.
    pub(super) fn tell<P: Platform>(&mut self, service: &Service<P>, file: &LayerFile) {
        let key = file.key;
        let key = key.map(|key| (key.volume.to_bytes(), key.file.to_bytes()));
        let path = key.is_none().then(|| file.scan.path.clone());
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        if !self
            .told
            .insert((key, path.unwrap_or_default(), file.rules))
        {
            return;
        }
        let found = self.look(service, file);
        service.stats.layer_detections.one();
        service.report(Event::LayerDetection {
            found,
            rule: file.rule.clone(),
            rules: file.rules.to_string(),
            scan: file.scan.clone(),
        });
    }

    fn look<P: Platform>(&mut self, service: &Service<P>, file: &LayerFile) -> FoundInLayer {
        let platform = service.platform();
        let name = file.key.and_then(|key| platform.name_of_file(&key));
        let opener = guid_text(&file.container);
        let mut found = FoundInLayer {
            file: name.clone(),
            containers: opener.into_iter().collect(),
            ..FoundInLayer::default()
        };
        let Some(store) = &self.store else {
            return found;
        };
        let moment = self.moment.get_or_insert_with(|| ask(store));
        let moment = match moment {
            Ok(moment) => moment,
            Err(cause) => {
                found.unknown = Some(cause.clone());
                return found;
            }
        };
        let layer = name.and_then(|name| layer_of(service, moment, &name));
        let Some(layer) = layer else {
            let opener = moment.get(&file.container);
            found.images = opener.map(|it| it.image.to_string()).into_iter().collect();
            return found;
        };
        let users = moment.iter().filter(|(_, it)| it.layers.contains(&layer));
        let (mut images, mut containers) = (BTreeSet::new(), BTreeSet::new());
        containers.extend(found.containers);
        for (guid, container) in users {
            images.insert(container.image.to_string());
            containers.extend(guid_text(guid));
        }
        found.layer = Some(layer);
        found.images = images.into_iter().collect();
        found.containers = containers.into_iter().collect();
        found
    }
}

/// Every container that the store knows. One whose files are damaged is left out.
fn ask(store: &Store) -> Result<Moment, String> {
    let listed = store
        .containers()
        .map_err(|cause: StoreError| cause.to_string())?;
    let known = listed.into_iter().take(CONTAINERS_MAX);
    Ok(known
        .filter_map(|(guid, id)| Some((guid, store.container(&id).ok()?)))
        .collect())
}

/// The layer that the file of this name lies in, as the runtime names it.
fn layer_of<P: Platform>(service: &Service<P>, moment: &Moment, name: &str) -> Option<String> {
    let named: BTreeSet<&String> = moment.values().flat_map(|it| &it.layers).collect();
    named
        .into_iter()
        .find(|layer| {
            let folder = service.platform().name_of_folder(layer);
            folder.is_ok_and(|folder| ExcludedLayer::new(layer, &folder).holds(name))
        })
        .cloned()
}
