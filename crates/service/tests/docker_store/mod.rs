//! Docker's data folder as Docker lays it out: names, configurations, chains and layers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A layer's digest of one digit alone.
pub fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

/// The digest of these bytes.
pub fn hash(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{digits}")
}

/// The digits of a digest, which are a file's name in the store.
pub fn digits(digest: &str) -> &str {
    digest.strip_prefix("sha256:").expect("a digest")
}

/// The chains of these layers, the base first.
pub fn chains(layers: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::new();
    for layer in layers {
        chains.push(match chains.last() {
            Some(below) => hash(format!("{below} {layer}").as_bytes()),
            None => layer.clone(),
        });
    }
    chains
}

pub struct Docker {
    pub dir: TempDir,
}

impl Docker {
    /// A store without images.
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a folder of its own");
        let docker = Self { dir };
        fs::create_dir_all(docker.path("image/windowsfilter/imagedb/content/sha256"))
            .expect("a new folder");
        docker.write("image/windowsfilter/repositories.json", names(&[]));
        docker
    }

    /// A store with one image of these layers, and its id.
    pub fn with(layers: &[&str]) -> (Self, String) {
        let docker = Self::new();
        let id = docker.image(layers);
        (docker, id)
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    /// Sets the names: what each stands for.
    pub fn call(&self, all: &[(&str, &str)]) {
        self.write("image/windowsfilter/repositories.json", names(all));
    }

    /// A configuration as Docker writes it; gives the image's id.
    pub fn configuration(&self, text: &str) -> String {
        let id = hash(text.as_bytes());
        self.write(&content(&id), text);
        id
    }

    /// An image with layers of these digits, each with two files; gives its id.
    pub fn image(&self, layers: &[&str]) -> String {
        let layers: Vec<String> = layers.iter().map(|digit| digest(digit)).collect();
        for (layer, chain) in layers.iter().zip(chains(&layers)) {
            let folder = folder(&chain);
            let name = &digits(layer)[..1];
            self.write(&format!("{folder}/Files/{name}.dll"), name);
            self.write(&format!("{folder}/Files/Windows/{name}.txt"), name);
            self.write(&format!("{folder}/layerchain.json"), "null");
            let entry = entry(&chain);
            self.write(&format!("{entry}/cache-id"), cache_id(&chain));
            self.write(&format!("{entry}/diff"), layer);
            self.write(&format!("{entry}/size"), "2");
        }
        self.configuration(&configuration(&layers))
    }

    /// Where the files of the layer of this chain are.
    pub fn files(&self, chain: &str) -> PathBuf {
        self.path(&folder(chain)).join("Files")
    }
}

/// An image's configuration, with more in it than is read.
pub fn configuration(layers: &[String]) -> String {
    json!({
        "architecture": "amd64", "os": "windows", "os.version": "10.0.20348.2700",
        "config": { "Cmd": ["cmd"], "Env": null, "Labels": { "site": "x" } },
        "history": [{ "created_by": "Apply image" }, { "created_by": "ENV", "empty_layer": true }],
        "rootfs": { "type": "layers", "diff_ids": layers },
    })
    .to_string()
}

/// The file of names.
fn names(all: &[(&str, &str)]) -> String {
    let mut repositories: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (name, image) in all {
        let repository = match name.split_once('@') {
            Some((repository, _)) => repository,
            None => name.rsplit_once(':').expect("a tag").0,
        };
        let names = repositories.entry(repository).or_default();
        names.insert(name, image);
    }
    json!({ "Repositories": repositories }).to_string()
}

/// The file of an image's configuration.
pub fn content(id: &str) -> String {
    format!("image/windowsfilter/imagedb/content/sha256/{}", digits(id))
}

/// The folder that says where the layer of a chain is.
pub fn entry(chain: &str) -> String {
    format!("image/windowsfilter/layerdb/sha256/{}", digits(chain))
}

/// The name of a layer's folder; Docker draws lots.
pub fn cache_id(chain: &str) -> String {
    digits(&hash(format!("folder of {chain}").as_bytes())).to_owned()
}

/// A layer's folder.
pub fn folder(chain: &str) -> String {
    format!("windowsfilter/{}", cache_id(chain))
}
