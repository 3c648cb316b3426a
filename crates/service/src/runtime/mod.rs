//! What the container runtime on this host knows: which image a container was started from, and
//! which folders its layers are. Read from Docker's own store (the storage driver `windowsfilter`),
//! by its documented files and nothing else; of containerd's store only the folders of its layers.
//! Which images there are, and the folders of their layers: [`images`].
//!
//! The driver knows a container by the GUID that the host compute service gave it, Docker by 64
//! hexadecimal digits. The host compute service knows both: on Windows it is asked, elsewhere a
//! file of the same JSON stands in for it ([`LISTING_FILE`]).
//!
//! Nothing here is believed that cannot be read whole: files are bounded, links below the store's
//! folder are not followed, and what is damaged is an error with the file's name.

pub mod images;
mod json;
pub mod layers;
mod plain;
pub mod reference;
#[cfg(windows)]
mod windows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use serde::Deserialize;
use siloscan_core::exclusion::ContainerId;

use crate::job::guid_of;
use images::Name;

/// The listing of the host compute service, in the store's folder, where there is no such service.
pub const LISTING_FILE: &str = "compute-systems.json";

/// Containers of a listing at most.
const CONTAINERS_MAX: usize = 16_384;
/// Layers of one container at most; Docker itself stops at 127.
const LAYERS_MAX: usize = 256;
/// Where Docker keeps the names of images.
const NAMES: [&str; 3] = ["image", "windowsfilter", "repositories.json"];
/// Digits of a container's or a layer's id.
const ID_DIGITS: usize = 64;

/// The digest of an image, of the manifest that it was pulled by, or of a layer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageDigest([u8; 32]);

impl ImageDigest {
    /// The digest of `sha256:` and 64 hexadecimal digits; nothing for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_digits(text.strip_prefix("sha256:")?)
    }

    /// The digest of 64 hexadecimal digits; nothing for any other text.
    fn of_digits(digits: &str) -> Option<Self> {
        if !is_id(digits) {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, at) in digest.iter_mut().zip((0..ID_DIGITS).step_by(2)) {
            *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl ImageDigest {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its 64 hexadecimal digits, the name of a file or folder in Docker's store.
    fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.digits())
    }
}

impl fmt::Debug for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A container, as its runtime knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The runtime's own id.
    pub id: String,
    /// The image that it was started from: the digest of its configuration, as `docker inspect`
    /// shows it.
    pub image: ImageDigest,
    /// The folders of its layers, topmost first, as the runtime writes them.
    pub layers: Vec<String>,
}

/// Why the runtime's knowledge could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder cannot be opened or read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A link or a device lies where a folder or a file must be.
    #[error("{} is a link or no ordinary file; it is not followed", path.display())]
    NotPlain {
        /// Where.
        path: PathBuf,
    },
    /// A file is longer than any of its kind.
    #[error("{} has more than {bytes_max} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// What such a file may have.
        bytes_max: u64,
    },
    /// A file does not say what it must.
    #[error("{} is damaged: {cause}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The host compute service cannot be asked.
    #[error("the host compute service does not list its containers: {0}")]
    Listing(String),
}

impl StoreError {
    /// It is only that there is no such file or folder.
    fn is_absent(&self) -> bool {
        let kind = match self {
            Self::Unreadable { cause, .. } => cause.kind(),
            _ => return false,
        };
        kind == io::ErrorKind::NotFound
    }
}

/// Docker's store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What is needed of a container's configuration.
#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Image")]
    image: String,
}

/// What is needed of the names of images.
#[derive(Deserialize)]
struct Repositories {
    #[serde(rename = "Repositories")]
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

/// What is needed of one entry of the listing.
#[derive(Deserialize)]
struct System {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "RuntimeId", default)]
    runtime_id: Option<String>,
}

impl Store {
    /// The store in `root`, Docker's data folder: `C:\ProgramData\docker` unless it was moved.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The containers that exist: the GUID by which the driver knows each, and the runtime's id.
    ///
    /// # Errors
    /// The listing cannot be had, or is damaged as a whole, or two containers have one GUID.
    pub fn containers(&self) -> Result<BTreeMap<ContainerId, String>, StoreError> {
        let (path, systems) = self.listing()?;
        let damaged = |cause: String| StoreError::Damaged {
            path: path.clone(),
            cause,
        };
        if systems.len() > CONTAINERS_MAX {
            let cause = format!("it names more than {CONTAINERS_MAX} containers");
            return Err(damaged(cause));
        }
        let mut containers = BTreeMap::new();
        for system in systems {
            // Utility VMs and other runtimes' containers are listed, too.
            let guid = system.runtime_id.as_deref().and_then(guid_of);
            let Some(guid) = guid.filter(|_| is_id(&system.id)) else {
                continue;
            };
            if containers.insert(guid, system.id).is_some() {
                return Err(damaged("two containers have one RuntimeId".to_owned()));
            }
        }
        Ok(containers)
    }

    #[cfg(windows)]
    fn listing(&self) -> Result<(PathBuf, Vec<System>), StoreError> {
        let path = PathBuf::from("the host compute service's listing");
        let text = windows::listing().map_err(StoreError::Listing)?;
        let systems = json::parse(&path, text.as_bytes())?;
        Ok((path, systems))
    }

    #[cfg(not(windows))]
    fn listing(&self) -> Result<(PathBuf, Vec<System>), StoreError> {
        let systems = json::read(&self.root, &[LISTING_FILE])?;
        Ok((self.root.join(LISTING_FILE), systems.unwrap_or_default()))
    }

    /// What the runtime knows of the container of this id.
    ///
    /// # Errors
    /// Its files are not there, or are damaged.
    pub fn container(&self, id: &str) -> Result<Container, StoreError> {
        let parts = ["containers", id, "config.v2.json"];
        let path: PathBuf = self.root.join(parts.iter().collect::<PathBuf>());
        let damaged = |cause: String| StoreError::Damaged {
            path: path.clone(),
            cause,
        };
        if !is_id(id) {
            return Err(damaged(format!("\"{id}\" is no container's id")));
        }
        let found: Option<Configuration> = json::read(&self.root, &parts)?;
        let found = found.ok_or_else(|| damaged("it is null".to_owned()))?;
        if found.id != id {
            return Err(damaged("it is another container's".to_owned()));
        }
        let image = ImageDigest::parse(&found.image);
        let image = image.ok_or_else(|| damaged(format!("\"{}\" is no image", found.image)))?;
        Ok(Container {
            id: found.id,
            image,
            layers: self.layers(id)?,
        })
    }

    /// The layers below a container's own, topmost first.
    fn layers(&self, id: &str) -> Result<Vec<String>, StoreError> {
        let parts = ["windowsfilter", id, "layerchain.json"];
        let chain: Option<Vec<String>> = json::read(&self.root, &parts)?;
        let chain = chain.unwrap_or_default();
        if chain.len() > LAYERS_MAX {
            return Err(StoreError::Damaged {
                path: self.root.join(parts.iter().collect::<PathBuf>()),
                cause: format!("it names more than {LAYERS_MAX} layers"),
            });
        }
        Ok(chain)
    }

    /// The images that were pulled by a manifest: the manifest's digest, which registries and
    /// `docker pull` show, and the image's.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is damaged.
    pub fn manifests(&self) -> Result<BTreeMap<ImageDigest, ImageDigest>, StoreError> {
        let names = self.names()?.into_iter();
        Ok(names
            .filter_map(|name| Some((name.manifest()?, name.image()?)))
            .collect())
    }

    /// The names of images; none where Docker keeps no file of them.
    fn names(&self) -> Result<Vec<Name>, StoreError> {
        let found: Option<Repositories> = match json::read(&self.root, &NAMES) {
            Err(cause) if cause.is_absent() => None,
            found => found?,
        };
        let repositories = found.into_iter().flat_map(|found| found.repositories);
        Ok(repositories
            .flat_map(|(repository, names)| {
                names.into_iter().map(move |(whole, image)| Name {
                    repository: repository.clone(),
                    whole,
                    image,
                })
            })
            .collect())
    }

    /// The folder of the layer of this id; nothing for what no layer's id is.
    #[must_use]
    pub fn layer_folder(&self, id: &str) -> Option<PathBuf> {
        is_id(id).then(|| self.root.join("windowsfilter").join(id))
    }
}

/// Whether a text is an id as Docker makes them. Nothing else ever becomes part of a path.
pub(crate) fn is_id(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == ID_DIGITS && text.bytes().all(digit)
}
