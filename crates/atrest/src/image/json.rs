//! The papers of images, as far as they are needed. Everything has a default: a field that is
//! missing is no reason not to read the others.

use serde::Deserialize;

/// Refers to a blob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    pub annotations: Option<Annotations>,
}

/// The annotations that name images.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Annotations {
    #[serde(rename = "io.containerd.image.name")]
    pub full: Option<String>,
    #[serde(rename = "org.opencontainers.image.ref.name")]
    pub tag: Option<String>,
}

/// An index or a manifest: which of them is told by what it has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Paper {
    pub manifests: Option<Vec<Descriptor>>,
    pub config: Option<Descriptor>,
    pub layers: Option<Vec<Descriptor>>,
}

/// One image of `docker save`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Saved {
    pub config: String,
    pub repo_tags: Option<Vec<String>>,
    pub layers: Option<Vec<String>>,
}

/// An image's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Configuration {
    pub os: String,
    pub rootfs: Roots,
}

/// The digests of the unpacked layers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Roots {
    pub diff_ids: Option<Vec<String>>,
}
