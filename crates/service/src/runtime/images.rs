//! The images that Docker has, and the folders of their layers.
//!
//! `image/windowsfilter` in Docker's data folder: `repositories.json` has the names,
//! `imagedb/content/sha256/<id>` an image's configuration, whose digest is the id, and
//! `layerdb/sha256/<chain>/cache-id` the name of a layer's folder in `windowsfilter`. A chain is
//! the digest of a layer and all below it. Base layers that a registry must not give away
//! ("foreign" ones) lie there as any other; `layerdb` only has one file more for them.
//! <https://github.com/moby/moby/tree/master/daemon/internal/image>
//! <https://github.com/moby/moby/tree/master/daemon/internal/layer>
//! <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::{fs, io};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::layers::FILES;
use super::reference::{Kind, Reference};
use super::{ImageDigest, LAYERS_MAX, NAMES, Store, StoreError, is_id, json, plain};

/// Images of a store at most.
const IMAGES_MAX: usize = 16_384;
/// A file with the name of a layer's folder has 64 bytes.
const CACHE_ID_BYTES_MAX: u64 = 256;
/// An error names so many of those that might have been meant.
const NAMED_MAX: usize = 5;
/// Names that are less alike than this are not taken for each other; 1 is the same.
const ALIKE: f64 = 0.8;

/// The folders of images, in Docker's data folder.
const IMAGES: [&str; 2] = ["image", "windowsfilter"];
const CONTENT: [&str; 5] = ["image", "windowsfilter", "imagedb", "content", "sha256"];
const LAYERDB: [&str; 4] = ["image", "windowsfilter", "layerdb", "sha256"];

/// An image of Docker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration, which is Docker's id of it.
    pub id: ImageDigest,
    /// Its layers, the base first.
    pub layers: Vec<ImageLayer>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLayer {
    /// The digest of its archive, unpacked, as the image's configuration has it (`diff_ids`).
    pub digest: ImageDigest,
    /// The digest of it and all that is below it.
    pub chain: ImageDigest,
    /// The folder that its package files lie in.
    pub folder: PathBuf,
}

/// Why the layers of an image are not known.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Docker keeps no images there.
    #[error(
        "Docker has no images in {}: there is no {}; name the folder that `docker info` shows as \
         \"Docker Root Dir\", with --runtime-store or as `runtime.docker` in the configuration",
        root.display(), missing.display()
    )]
    NoImages {
        /// Docker's data folder, as it was named.
        root: PathBuf,
        /// What is not there.
        missing: PathBuf,
    },
    /// No image is called so.
    #[error(
        "Docker's store in {} has no image {asked}{}; `docker image ls` shows what there is",
        root.display(), alike(near)
    )]
    Unknown {
        /// What was asked for.
        asked: String,
        /// Docker's data folder.
        root: PathBuf,
        /// Names that might have been meant, the likeliest first.
        near: Vec<String>,
    },
    /// Several images are called so.
    #[error(
        "{asked} may be any of {images} images in Docker's store, {}; write more digits of one",
        list(candidates, *images)
    )]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// How many.
        images: usize,
        /// The first ones.
        candidates: Vec<ImageDigest>,
    },
    /// A name stands for an image that is not there.
    #[error(
        "Docker's store has no configuration of image {image}: there is no {}; pull the image \
         again", path.display()
    )]
    Lost {
        /// Which.
        image: ImageDigest,
        /// Where it must be.
        path: PathBuf,
    },
    /// The configuration is not the image's.
    #[error(
        "{} is damaged: image {image} has that digest, and this file {found}; remove the image \
         and pull it again", path.display()
    )]
    WrongHash {
        /// Which image.
        image: ImageDigest,
        /// Its file.
        path: PathBuf,
        /// The file's digest.
        found: ImageDigest,
    },
    /// A layer is not there.
    #[error(
        "layer {number} of {all} of image {image} is missing ({digest}): there is no {}; remove \
         the image and pull it again", path.display()
    )]
    LayerMissing {
        /// Which image.
        image: ImageDigest,
        /// Which layer, 1 for the base.
        number: usize,
        /// How many layers it has.
        all: usize,
        /// The layer's digest.
        digest: ImageDigest,
        /// What is not there.
        path: PathBuf,
    },
    /// Something in the store cannot be used.
    #[error("{cause}; {}", next_step(cause))]
    Store {
        /// What, and why.
        #[from]
        cause: StoreError,
    },
}

impl ImageError {
    /// The image may be where nobody has looked.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, Self::NoImages { .. } | Self::Unknown { .. })
    }
}

/// What is needed of an image's configuration.
#[derive(Deserialize)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    r#type: String,
    #[serde(default)]
    diff_ids: Vec<String>,
}

impl Image {
    /// The folders of its layers, the base first, each once.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut seen = BTreeSet::new();
        let folders = self.layers.iter().map(|layer| &layer.folder);
        folders.filter(|it| seen.insert(*it)).cloned().collect()
    }
}

impl Store {
    /// The image that is called so: by name and tag, by digest, by its manifest's digest, or by
    /// the beginning of its id. Each file that tells of it is read anew.
    ///
    /// # Errors
    /// There is none or more than one, or something of it is missing or damaged.
    pub fn image(&self, asked: &Reference) -> Result<Image, ImageError> {
        if let Err(cause) = plain::folder(&self.root, &IMAGES) {
            let root = self.root.clone();
            return Err(absent(cause, |missing| ImageError::NoImages {
                root,
                missing,
            }));
        }
        let id = self.image_id(asked)?;
        let digests = self.layer_digests(id)?;
        let all = digests.len();
        let mut chain: Option<ImageDigest> = None;
        let mut layers = Vec::with_capacity(all);
        for (number, digest) in (1..).zip(digests) {
            let whole = match chain {
                Some(below) => ImageDigest::of(format!("{below} {digest}").as_bytes()),
                None => digest,
            };
            let missing = |path| ImageError::LayerMissing {
                image: id,
                number,
                all,
                digest,
                path,
            };
            let folder = self.layer(whole);
            layers.push(ImageLayer {
                digest,
                chain: whole,
                folder: folder.map_err(|cause| absent(cause, missing))?,
            });
            chain = Some(whole);
        }
        Ok(Image { id, layers })
    }

    /// Docker's order: digests are ids, names go before the beginnings of ids.
    fn image_id(&self, asked: &Reference) -> Result<ImageDigest, ImageError> {
        let mut near = Vec::new();
        match asked.kind() {
            Kind::Digest(digest) => {
                if self.has(*digest)? {
                    return Ok(*digest);
                }
                let names = self.names()?;
                let pulled = names
                    .into_iter()
                    .filter(|name| name.manifest() == Some(*digest));
                let images: BTreeSet<_> = pulled.filter_map(|name| name.image()).collect();
                if let Some(image) = only(asked, images)? {
                    return Ok(image);
                }
            }
            Kind::Name { repository, whole } => {
                let names = self.names()?;
                let is_it = |name: &&Name| name.repository == *repository && name.whole == *whole;
                if let Some(name) = names.iter().find(is_it) {
                    return name.image().ok_or_else(|| self.no_digest(name).into());
                }
                near = self::near(whole, &names);
            }
            Kind::Beginning(_) => {}
        }
        if let Some(beginning) = asked.beginning()
            && let Some(image) = only(asked, self.beginning_with(beginning)?)?
        {
            return Ok(image);
        }
        Err(ImageError::Unknown {
            asked: asked.to_string(),
            root: self.root.clone(),
            near,
        })
    }

    /// Whether there is a configuration of this image, good or not.
    fn has(&self, image: ImageDigest) -> Result<bool, ImageError> {
        let id = image.digits();
        match plain::file(&self.root, &[&CONTENT[..], &[&id]].concat()) {
            Ok(_) => Ok(true),
            Err(cause) if cause.is_absent() => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    fn no_digest(&self, name: &Name) -> StoreError {
        StoreError::Damaged {
            path: self.root.join(NAMES.iter().collect::<PathBuf>()),
            cause: format!("{:?} is no image", name.image),
        }
    }

    /// The images whose ids begin so.
    fn beginning_with(&self, digits: &str) -> Result<BTreeSet<ImageDigest>, ImageError> {
        let folder = match plain::folder(&self.root, &CONTENT) {
            Err(cause) if cause.is_absent() => return Ok(BTreeSet::new()),
            folder => folder?,
        };
        let unreadable = |cause| plain::unreadable(&folder, cause);
        let mut images = BTreeSet::new();
        for (number, entry) in fs::read_dir(&folder).map_err(unreadable)?.enumerate() {
            if number >= IMAGES_MAX {
                let cause = format!("it has more than {IMAGES_MAX} images");
                return Err(StoreError::Damaged {
                    path: folder,
                    cause,
                }
                .into());
            }
            let name = entry.map_err(unreadable)?.file_name();
            let id = name.to_str().filter(|id| id.starts_with(digits));
            images.extend(id.and_then(ImageDigest::of_digits));
        }
        Ok(images)
    }

    /// What its configuration says of an image's layers, the base first.
    fn layer_digests(&self, image: ImageDigest) -> Result<Vec<ImageDigest>, ImageError> {
        let id = image.digits();
        let parts = [&CONTENT[..], &[&id]].concat();
        let (path, bytes) = plain::bytes(&self.root, &parts, json::BYTES_MAX)
            .map_err(|cause| absent(cause, |path| ImageError::Lost { image, path }))?;
        let found = ImageDigest::of(&bytes);
        if found != image {
            return Err(ImageError::WrongHash { image, path, found });
        }
        let damaged = |cause: String| StoreError::Damaged {
            path: path.clone(),
            cause,
        };
        let Configuration { rootfs } = json::parse(&path, &bytes)?;
        // Before 2016 the base layer of an image for Windows was none of its layers.
        if rootfs.r#type != "layers" {
            return Err(damaged(format!("its files are of the kind {:?}", rootfs.r#type)).into());
        }
        if rootfs.diff_ids.is_empty() || rootfs.diff_ids.len() > LAYERS_MAX {
            let number = rootfs.diff_ids.len();
            let cause = format!("it has {number} layers; 1 to {LAYERS_MAX} can be");
            return Err(damaged(cause).into());
        }
        let digests = rootfs.diff_ids.iter().map(|text| {
            let digest = ImageDigest::parse(text);
            digest.ok_or_else(|| damaged(format!("{text:?} is no layer's digest")).into())
        });
        digests.collect()
    }

    /// The folder with the files of the layer that is the last of this chain.
    fn layer(&self, chain: ImageDigest) -> Result<PathBuf, StoreError> {
        let chain = chain.digits();
        let parts = [&LAYERDB[..], &[&chain, "cache-id"]].concat();
        let (path, bytes) = plain::bytes(&self.root, &parts, CACHE_ID_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&bytes);
        let id = text.trim();
        if !is_id(id) {
            let cause = format!("{id:?} is no folder of a layer");
            return Err(StoreError::Damaged { path, cause });
        }
        plain::folder(&self.root, &["windowsfilter", id, FILES])
    }
}

impl ImageDigest {
    /// The digest of these bytes.
    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// A name of the store and the image that it stands for, both as they are written there.
pub(super) struct Name {
    pub(super) repository: String,
    pub(super) whole: String,
    pub(super) image: String,
}

impl Name {
    /// The manifest that the image was pulled by under this name.
    pub(super) fn manifest(&self) -> Option<ImageDigest> {
        ImageDigest::parse(self.whole.split_once('@')?.1)
    }

    pub(super) fn image(&self) -> Option<ImageDigest> {
        ImageDigest::parse(&self.image)
    }
}

/// The one image of several, if there is any.
fn only(
    asked: &Reference,
    images: BTreeSet<ImageDigest>,
) -> Result<Option<ImageDigest>, ImageError> {
    if images.len() > 1 {
        return Err(ImageError::Ambiguous {
            asked: asked.to_string(),
            images: images.len(),
            candidates: images.into_iter().take(NAMED_MAX).collect(),
        });
    }
    Ok(images.into_iter().next())
}

/// The error for something that is not there, and any other as it is.
fn absent(cause: StoreError, missing: impl FnOnce(PathBuf) -> ImageError) -> ImageError {
    match cause {
        StoreError::Unreadable { path, cause } if cause.kind() == io::ErrorKind::NotFound => {
            missing(path)
        }
        cause => cause.into(),
    }
}

/// Names that are like this one, as a whole or behind the last slash.
fn near(asked: &str, names: &[Name]) -> Vec<String> {
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let end = last(asked);
    // What is no name may be as long, and look, as it likes; it is shown to nobody.
    let names = names.iter().map(|name| name.whole.as_str());
    let names = names.filter(|name| !name.contains('@') && Reference::parse(name).is_some());
    let mut alike: Vec<(f64, &str)> = names
        .map(|name| {
            let whole = strsim::jaro_winkler(asked, name);
            (whole.max(strsim::jaro_winkler(&end, &last(name))), name)
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let first = alike.into_iter().take(NAMED_MAX);
    first.map(|(_, name)| name.to_owned()).collect()
}

fn alike(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!(" (is it {}?)", near.join(", ")),
    }
}

fn list(candidates: &[impl Display], all: usize) -> String {
    let texts: Vec<String> = candidates.iter().map(ToString::to_string).collect();
    match all.saturating_sub(texts.len()) {
        0 => texts.join(", "),
        more => format!("{} and {more} more", texts.join(", ")),
    }
}

fn next_step(cause: &StoreError) -> &'static str {
    match cause {
        StoreError::Unreadable { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
            "do it as an administrator, who may read Docker's data"
        }
        StoreError::Unreadable { .. } => "look whether its disk is well, then do it again",
        StoreError::NotPlain { .. } => "find out who put it there, and put back what Docker had",
        StoreError::TooLarge { .. } | StoreError::Damaged { .. } | StoreError::Listing(_) => {
            "Docker did not leave it so: restart Docker, and if it stays, remove the image and \
             pull it again"
        }
    }
}
