//! From the papers of a layout or an archive to its images and layers. What is wrong with one paper
//! does not keep the others from being read.

use std::collections::BTreeSet;
use std::io;

use serde::de::DeserializeOwned;

use crate::layer::{Layer, unknown_digest};
use crate::limits::{IMAGE_LAYERS, IMAGES, INDEX_DEPTH, JSON_BYTES};
use crate::meter::sha256;
use crate::pack::Packing;
use crate::report::{Place, Problem, ProblemKind};

use super::json::{Annotations, Configuration, Descriptor, Paper, Saved};
use super::{Image, Papers, Store};

const SAVED: &str = "manifest.json";
const INDEX: &str = "index.json";

/// What the papers of `store` say.
pub fn papers(store: &mut dyn Store) -> Papers {
    let mut reader = Reader {
        store,
        papers: Papers::default(),
        seen: BTreeSet::new(),
    };
    // An archive of a newer `docker save` has both. They should say the same; programs differ in
    // which one they believe, so both are read.
    let (saved, index) = (reader.has(SAVED), reader.has(INDEX));
    if saved {
        reader.saved();
    }
    if index {
        reader.index();
    }
    if !saved && !index {
        reader.none();
    }
    reader.papers
}

struct Reader<'a> {
    store: &'a mut dyn Store,
    papers: Papers,
    /// Papers that were read.
    seen: BTreeSet<String>,
}

/// The name of a blob in a store, and the digits of its digest.
fn blob(digest: &str) -> io::Result<(String, String)> {
    let digits = digest.strip_prefix("sha256:").filter(|digits| {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.len() == 64 && digits.bytes().all(is_digit)
    });
    match digits {
        Some(digits) => Ok((format!("blobs/sha256/{digits}"), digits.to_owned())),
        None => Err(unknown_digest(digest)),
    }
}

impl Reader<'_> {
    fn problem(&mut self, name: &str, cause: &io::Error) {
        let problem = Problem::io(Place::of(name), cause);
        self.papers.problem(problem);
    }

    fn limit(&mut self, name: &str, text: String) {
        let problem = Problem::new(ProblemKind::Limit, Place::of(name), text);
        self.papers.problem(problem);
    }

    fn has(&mut self, name: &str) -> bool {
        self.store.bytes(name).is_some()
    }

    /// Reads a paper; its digest is checked if it is known.
    fn read<T: DeserializeOwned>(&mut self, name: &str, digits: Option<&str>) -> Option<T> {
        let bytes = match self.store.small(name) {
            Ok(bytes) => bytes,
            Err(cause) => {
                self.problem(name, &cause);
                return None;
            }
        };
        let digest = sha256(&bytes);
        if digits.is_some_and(|digits| digits != digest) {
            let text = format!("it has the digest {digest}");
            let place = Place::of(name);
            let problem = Problem::new(ProblemKind::WrongDigest, place, text);
            self.papers.problem(problem);
        }
        match serde_json::from_slice(&bytes) {
            Ok(paper) => Some(paper),
            Err(cause) => {
                self.problem(name, &io::Error::new(io::ErrorKind::InvalidData, cause));
                None
            }
        }
    }

    /// Neither an index nor a manifest: an archive of a file system, or nothing we know.
    fn none(&mut self) {
        if self.store.is_image() {
            let text = format!("there is neither {INDEX} nor {SAVED}");
            let problem = Problem::new(ProblemKind::Missing, Place::of(""), text);
            self.papers.problem(problem);
        }
    }

    fn index(&mut self) {
        let Some(paper) = self.read::<Paper>(INDEX, None) else {
            return;
        };
        self.says(INDEX, &paper);
        let mut waiting = Vec::new();
        for descriptor in paper.manifests.unwrap_or_default().into_iter().rev() {
            let name = named(&descriptor);
            waiting.push((descriptor, name, 1));
        }
        while let Some((descriptor, name, depth)) = waiting.pop() {
            let Some((key, paper)) = self.paper(&descriptor) else {
                continue;
            };
            self.says(&key, &paper);
            let below = paper.manifests.as_deref().unwrap_or_default();
            if depth >= INDEX_DEPTH && !below.is_empty() {
                let text = format!("indexes are nested more than {INDEX_DEPTH} deep");
                self.limit(&key, text);
            } else {
                for below in below.iter().rev() {
                    // An index names the image of each platform; often one of them is kept.
                    if blob(&below.digest).is_ok_and(|(key, _)| !self.has(&key)) {
                        continue;
                    }
                    let of_it = named(below).or_else(|| name.clone());
                    waiting.push((below.clone(), of_it, depth + 1));
                }
            }
            if self.papers.images.len() >= IMAGES {
                let text = format!("there are more than {IMAGES} images");
                return self.limit(INDEX, text);
            }
            if let Some(layers) = &paper.layers {
                let name = name.unwrap_or_else(|| descriptor.digest.clone());
                self.manifest(name, &paper, layers);
            }
        }
    }

    /// A paper that names nothing hides what it should name.
    fn says(&mut self, name: &str, paper: &Paper) {
        if paper.manifests.is_none() && paper.layers.is_none() {
            let text = "it has neither manifests nor layers";
            let problem = Problem::new(ProblemKind::Damaged, Place::of(name), text);
            self.papers.problem(problem);
        }
    }

    /// The paper that a descriptor refers to, unless it was read before.
    fn paper(&mut self, descriptor: &Descriptor) -> Option<(String, Paper)> {
        let (key, digits) = match blob(&descriptor.digest) {
            Ok(blob) => blob,
            Err(cause) => {
                self.problem(INDEX, &cause);
                return None;
            }
        };
        if !self.seen.insert(key.clone()) {
            return None;
        }
        let paper = self.read(&key, Some(&digits))?;
        Some((key, paper))
    }

    fn manifest(&mut self, name: String, paper: &Paper, layers: &[Descriptor]) {
        let configuration = match paper.config.as_ref().map(|config| blob(&config.digest)) {
            Some(Ok((key, digits))) => self.configuration(&key, Some(&digits)),
            _ => Configuration::default(),
        };
        let mut image = Image {
            name,
            layers: Vec::new(),
        };
        for (at, descriptor) in layers.iter().enumerate() {
            if at >= IMAGE_LAYERS {
                let text = format!("the image has more than {IMAGE_LAYERS} layers");
                self.limit(&image.name.clone(), text);
                break;
            }
            let (key, digits) = match blob(&descriptor.digest) {
                Ok(blob) => blob,
                Err(cause) => {
                    self.problem(&image.name, &cause);
                    continue;
                }
            };
            // In an archive a blob may be a link to another file.
            let key = self.store.real(&key);
            let layer = Layer {
                name: descriptor.digest.clone(),
                named: true,
                media_type: descriptor.media_type.clone(),
                packing: Packing::of_media_type(&descriptor.media_type),
                packed_digest: Some(digits),
                packed_bytes: (descriptor.size > 0).then_some(descriptor.size),
                unpacked_digest: None,
                windows: configuration.os == "windows",
            };
            self.papers.layers.entry(key.clone()).or_insert(layer);
            image.layers.push(key);
        }
        self.add(image);
    }

    /// Adds an image that the other papers have not told of.
    fn add(&mut self, image: Image) {
        let same = |other: &Image| other.layers == image.layers;
        if image.layers.is_empty() || !self.papers.images.iter().any(same) {
            self.papers.images.push(image);
        }
    }

    /// An image's configuration. Images can do without one that is readable: that it cannot be
    /// read is told.
    fn configuration(&mut self, key: &str, digits: Option<&str>) -> Configuration {
        if self.store.bytes(key).is_none_or(|bytes| bytes > JSON_BYTES) {
            let place = Place::of(key);
            let text = "the image's configuration is not here";
            let problem = Problem::new(ProblemKind::Missing, place, text);
            self.papers.problem(problem);
            return Configuration::default();
        }
        self.read(key, digits).unwrap_or_default()
    }

    fn saved(&mut self) {
        let Some(images) = self.read::<Vec<Saved>>(SAVED, None) else {
            return;
        };
        if images.len() > IMAGES {
            self.limit(SAVED, format!("there are more than {IMAGES} images"));
        }
        for saved in images.iter().take(IMAGES) {
            self.image(saved);
        }
    }

    fn image(&mut self, saved: &Saved) {
        let digits = digits_of(&saved.config);
        let configuration = self.configuration(&saved.config, digits);
        let tag = saved.repo_tags.as_ref().and_then(|tags| tags.first());
        let mut image = Image {
            name: tag.unwrap_or(&saved.config).clone(),
            layers: Vec::new(),
        };
        let diff_ids = configuration.rootfs.diff_ids.unwrap_or_default();
        let layers = saved.layers.as_deref().unwrap_or_default();
        if layers.len() > IMAGE_LAYERS {
            let text = format!("the image has more than {IMAGE_LAYERS} layers");
            self.limit(&image.name.clone(), text);
        }
        for (at, name) in layers.iter().take(IMAGE_LAYERS).enumerate() {
            let key = &self.store.real(name);
            let diff_id = diff_ids.get(at).and_then(|id| blob(id).ok());
            // Newer archives name blobs by their digests.
            let digits = key
                .strip_prefix("blobs/")
                .map(|name| name.replace('/', ":"));
            let packed_digest = digits.and_then(|digest| blob(&digest).ok());
            let layer = Layer {
                name: diff_ids.get(at).unwrap_or(key).clone(),
                named: true,
                media_type: String::new(),
                packing: None,
                packed_digest: packed_digest.map(|(_, digits)| digits),
                packed_bytes: None,
                unpacked_digest: diff_id.map(|(_, digits)| digits),
                windows: configuration.os == "windows",
            };
            self.papers.layers.entry(key.clone()).or_insert(layer);
            image.layers.push(key.clone());
        }
        self.papers.images.push(image);
    }
}

/// The digest that the name of a configuration tells: `docker save` names it by that.
fn digits_of(name: &str) -> Option<&str> {
    let digits = name.strip_prefix("blobs/sha256/");
    let digits = digits
        .or_else(|| name.strip_suffix(".json"))
        .unwrap_or(name);
    blob(&format!("sha256:{digits}")).is_ok().then_some(digits)
}

fn named(descriptor: &Descriptor) -> Option<String> {
    let Annotations { full, tag } = descriptor.annotations.clone()?;
    full.or(tag)
}
