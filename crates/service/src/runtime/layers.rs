//! The package layers that a container runtime has, by the folders of its own store.
//!
//! Docker: `windowsfilter`, one folder a layer, whose files lie in `Files`; `layerchain.json`
//! names the layers below. containerd: the snapshotter `windows`, one numbered folder a snapshot,
//! likewise with `Files`; what lies below what is in a database that is not read. A folder without
//! `Files` is a container's own space or a layer that is just being made.
//! <https://github.com/moby/moby/tree/master/daemon/graphdriver/windows>
//! <https://github.com/containerd/containerd/tree/main/plugins/snapshots/windows>

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{LAYERS_MAX, StoreError, is_id, json, plain};

/// Folders of one store at most.
const FOLDERS_MAX: usize = 16_384;
/// What a container's own space counts for the layers below it, and what another layer does.
const CONTAINER_HEAT: u64 = 1_000;
const LAYER_HEAT: u64 = 1;
/// The folder of a layer that has the package files.
pub(super) const FILES: &str = "Files";
const CHAIN: &str = "layerchain.json";

/// A layer's package files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layer {
    /// The folder that they lie in.
    pub folder: PathBuf,
    /// How much depends on it: what is above it, containers before other layers.
    pub heat: u64,
}

/// What a store has.
#[derive(Debug, Default)]
pub struct Layers {
    /// The layers, in the order of their folders.
    pub layers: Vec<Layer>,
    /// Because of these there may be layers that are not among them.
    pub missing: Vec<StoreError>,
    /// Files that tell of nothing but heat, and could not be used.
    pub damaged: Vec<StoreError>,
}

/// The layers of Docker whose data folder is `root`.
#[must_use]
pub fn of_docker(root: &Path) -> Layers {
    let store = root.join("windowsfilter");
    let (mut found, names) = folders(&store, is_id);
    let mut heat: BTreeMap<String, u64> = BTreeMap::new();
    for (name, is_layer) in &names {
        let parts = [name.as_str(), CHAIN];
        let below: Vec<String> = match json::read(&store, &parts) {
            Ok(below) => below.unwrap_or_default(),
            // A base layer has none.
            Err(cause) if cause.is_absent() => continue,
            Err(damaged) => {
                found.damaged.push(damaged);
                continue;
            }
        };
        if below.len() > LAYERS_MAX {
            found.damaged.push(StoreError::Damaged {
                path: store.join(name).join(CHAIN),
                cause: format!("it names more than {LAYERS_MAX} layers"),
            });
            continue;
        }
        let weight = if *is_layer {
            LAYER_HEAT
        } else {
            CONTAINER_HEAT
        };
        for folder in below {
            // Docker writes whole paths, as they were when it did; the last part is the id.
            let id = folder.rsplit(['/', '\\']).next().unwrap_or_default();
            if is_id(id) {
                *heat.entry(id.to_owned()).or_default() += weight;
            }
        }
    }
    found.keep(&store, &names, |name| {
        heat.get(name).copied().unwrap_or_default()
    });
    found
}

/// The layers of containerd whose data folder is `root`. Newer snapshots are taken to be hotter:
/// what depends on which is not known.
#[must_use]
pub fn of_containerd(root: &Path) -> Layers {
    let store = snapshots(root);
    let number = |name: &str| name.parse::<u32>().ok();
    let (mut found, names) = folders(&store, |name| number(name).is_some());
    // Fewer than a container's space counts, so that what Docker knows to be in use goes first.
    let heat = |name: &str| u64::from(number(name).unwrap_or_default()).min(CONTAINER_HEAT - 1);
    found.keep(&store, &names, heat);
    found
}

/// The folder of containerd's layers, if there is one in its data folder `root`.
#[must_use]
pub fn containerd_snapshots(root: &Path) -> Option<PathBuf> {
    let store = snapshots(root);
    matches!(is_folder(&store), Ok(true)).then_some(store)
}

fn snapshots(root: &Path) -> PathBuf {
    root.join("io.containerd.snapshotter.v1.windows")
        .join("snapshots")
}

impl Layers {
    fn keep(&mut self, store: &Path, names: &BTreeMap<String, bool>, heat: impl Fn(&str) -> u64) {
        let layers = names.iter().filter(|(_, is_layer)| **is_layer);
        self.layers = layers
            .map(|(name, _)| Layer {
                folder: store.join(name).join(FILES),
                heat: heat(name),
            })
            .collect();
    }
}

/// The folders of a store that `named` knows, each with whether it is a layer.
fn folders(store: &Path, named: impl Fn(&str) -> bool) -> (Layers, BTreeMap<String, bool>) {
    let mut found = Layers::default();
    let mut names = BTreeMap::new();
    if let Err(cause) = is_folder(store) {
        found.missing.push(cause);
        return (found, names);
    }
    let entries = match fs::read_dir(store) {
        Ok(entries) => entries,
        Err(cause) => {
            found.missing.push(plain::unreadable(store, cause));
            return (found, names);
        }
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(cause) => {
                found.missing.push(plain::unreadable(store, cause));
                break;
            }
        };
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if !named(&name) {
            continue;
        }
        if names.len() >= FOLDERS_MAX {
            found.missing.push(StoreError::Damaged {
                path: store.to_owned(),
                cause: format!("it has more than {FOLDERS_MAX} folders"),
            });
            break;
        }
        let folder = entry.path();
        match is_folder(&folder).and_then(|there| Ok(there && is_folder(&folder.join(FILES))?)) {
            Ok(is_layer) => drop(names.insert(name, is_layer)),
            Err(cause) => found.missing.push(cause),
        }
    }
    (found, names)
}

/// Whether a folder lies there; nothing does not, and anything else is an error.
fn is_folder(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_dir() => Ok(true),
        Ok(_) => Err(StoreError::NotPlain {
            path: path.to_owned(),
        }),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(plain::unreadable(path, cause)),
    }
}
