//! Which folders are to be scanned, hottest first: from the runtimes' stores and from the
//! configuration, never from what Windows keeps in its registry about layers.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::runtime::layers::{Layers, of_containerd, of_docker};

/// Where layers are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Docker's data folder.
    pub docker: Option<PathBuf>,
    /// containerd's data folder.
    pub containerd: Option<PathBuf>,
    /// Folders that no runtime tells of: hotter than any other, since somebody named them.
    pub folders: Vec<PathBuf>,
}

/// What there is to be scanned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Folders, hottest first.
    pub folders: Vec<PathBuf>,
    /// All folders that the sources have are among them, as far as can be known.
    pub complete: bool,
    /// What could not be used, each with its path.
    pub problems: Vec<String>,
}

impl Sources {
    /// Looks for them. Opens files of the stores.
    #[must_use]
    pub fn find(&self) -> Found {
        let docker = self.docker.as_deref().map(of_docker);
        let containerd = self.containerd.as_deref().map(of_containerd);
        let stores: Vec<Layers> = docker.into_iter().chain(containerd).collect();
        let mut problems = Vec::new();
        let mut layers = Vec::new();
        let complete = stores.iter().all(|store| store.missing.is_empty());
        for store in stores {
            let causes = store.missing.iter().chain(&store.damaged);
            problems.extend(causes.map(ToString::to_string));
            layers.extend(store.layers);
        }
        // The sort is stable, so equally hot ones stay in the order of their names.
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.heat));
        let named = self.folders.iter().cloned();
        let all = named.chain(layers.into_iter().map(|layer| layer.folder));
        let mut seen = BTreeSet::new();
        Found {
            folders: all.filter(|folder| seen.insert(folder.clone())).collect(),
            complete,
            problems,
        }
    }
}
