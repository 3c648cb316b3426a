//! One layer: unpacked while it is read, its digest checked, its names kept as hashes so that it
//! can be told what it hides in the layers below.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};

use crate::limits::Limits;
use crate::meter::{Hashed, Metered, Refused};
use crate::pack::{Packing, decoder, packing_of, sniff, unread};
use crate::report::{Place, Problem, ProblemKind};
use crate::source::{Found, Sink};
use crate::tar::{BLOCK, Head, Past, Walk, What};

/// What is known of a layer before it is read.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// What reports call it: its digest, or its name in the archive.
    pub name: String,
    /// Whether a paper names it as a layer. Of what none names nothing is known but its bytes.
    pub named: bool,
    /// Its media type. Empty where papers have none.
    pub media_type: String,
    /// How its media type says that it is packed.
    pub packing: Option<Packing>,
    /// The SHA-256 that it must have as it lies there, in hexadecimal.
    pub packed_digest: Option<String>,
    /// The size that it must have as it lies there, in bytes.
    pub packed_bytes: Option<u64>,
    /// The SHA-256 that it must have unpacked, in hexadecimal. Looked at only if the one of the
    /// packed bytes is not known.
    pub unpacked_digest: Option<String>,
    /// Whether it is of a Windows image, where names differ in more than case.
    pub windows: bool,
}

/// The names of a layer, as far as they matter to the layers below.
#[derive(Default)]
pub struct Names {
    hasher: RandomState,
    windows: bool,
    /// Each name, and whether it is a folder.
    names: HashMap<u64, bool>,
    /// Names that are taken away.
    whiteouts: HashSet<u64>,
    /// Folders of which everything below is taken away.
    opaque: HashSet<u64>,
}

/// The name of what lies behind the end of an archive.
pub const BEHIND: &str = "(behind the end)";
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

impl Names {
    /// No names yet.
    pub fn new(windows: bool) -> Self {
        Self {
            windows,
            ..Self::default()
        }
    }

    fn hash(&self, path: &str) -> u64 {
        self.hasher.hash_one(path)
    }

    fn add(&mut self, path: &str, is_folder: bool) {
        let path = normal(path, self.windows);
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == OPAQUE {
            self.opaque.insert(self.hash(folder));
        } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
            // Other names of this form are notes of a file system that made them.
            if !gone.starts_with(WHITEOUT) {
                let gone = match folder {
                    "" => gone.to_owned(),
                    _ => format!("{folder}/{gone}"),
                };
                self.whiteouts.insert(self.hash(&gone));
            }
        } else {
            self.names.insert(self.hash(&path), is_folder);
        }
    }

    /// Whether this layer hides the file `path` of a layer below.
    pub fn hides(&self, path: &str) -> bool {
        let path = normal(path, self.windows);
        let whole = self.hash(&path);
        if self.names.contains_key(&whole) || self.whiteouts.contains(&whole) {
            return true;
        }
        let mut above = path.as_str();
        loop {
            above = above.rsplit_once('/').map_or("", |(folder, _)| folder);
            let hash = self.hash(above);
            let gone = self.opaque.contains(&hash)
                || self.whiteouts.contains(&hash)
                // A file in the place of the folder.
                || self.names.get(&hash) == Some(&false);
            if gone {
                return true;
            }
            if above.is_empty() {
                return false;
            }
        }
    }
}

/// A path as layers agree on it.
fn normal(path: &str, windows: bool) -> String {
    let path = if windows {
        path.replace('\\', "/").to_lowercase()
    } else {
        path.to_owned()
    };
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}

/// Scans the layer that `from` reads, and returns its names.
pub fn scan(layer: &Layer, from: impl Read, limits: Limits, sink: &mut dyn Sink) -> Names {
    let mut names = Names::new(layer.windows);
    let place = Place::within(&layer.name, "");
    let mut packed = Hashed::new(from, layer.packed_digest.is_some());
    if let Err(cause) = unpack(layer, &mut packed, limits, sink, &mut names) {
        sink.problem(Problem::io(place.clone(), &cause));
    }
    let count = packed.count();
    match packed.finish() {
        Ok(digest) => {
            let same = digest.is_none() || digest == layer.packed_digest;
            let bytes = layer.packed_bytes.unwrap_or(count.get());
            if !same || bytes != count.get() {
                let text = format!(
                    "its {} bytes have the digest {}",
                    count.get(),
                    digest.unwrap_or_default()
                );
                sink.problem(Problem::new(ProblemKind::WrongDigest, place, text));
            }
        }
        Err(cause) => sink.problem(Problem::io(place, &cause)),
    }
    names
}

/// Why a layer is not unpacked, if it is one and that is no damage.
fn refused(layer: &Layer, found: Option<Packing>, first: &[u8]) -> Option<&'static str> {
    if layer.media_type.contains("+encrypted") {
        Some("it is encrypted")
    } else if layer.named && found.is_none() {
        unread(&layer.media_type, first)
    } else {
        None
    }
}

fn unpack(
    layer: &Layer,
    packed: &mut Hashed<impl Read>,
    limits: Limits,
    sink: &mut dyn Sink,
    names: &mut Names,
) -> io::Result<()> {
    let count = packed.count();
    let (first, all) = sniff(packed)?;
    let mut found = packing_of(&first);
    // A layer without a file has no header. What may lie behind its end is looked at.
    if layer.named && first.len() == BLOCK && first.iter().all(|byte| *byte == 0) {
        found = Some(Packing::Tar);
    }
    if let Some(text) = refused(layer, found, &first) {
        let place = Place::within(&layer.name, "");
        sink.problem(Problem::new(ProblemKind::Unsupported, place, text));
    } else if layer.packing.is_some() && found != layer.packing {
        let told = layer.packing.map_or("", Packing::name);
        let is = found.map_or("no archive", Packing::name);
        let text = format!("its media type says {told}, but it is {is}");
        let place = Place::within(&layer.name, "");
        sink.problem(Problem::new(ProblemKind::Damaged, place, text));
    }
    let Some(packing) = found else {
        // Signatures, attestations and what else is kept as a layer; or a layer whose first bytes
        // are gone. Either way these are bytes to look at.
        let found = Found {
            place: Place::within(&layer.name, "(the whole blob)"),
            bytes: layer.packed_bytes.unwrap_or_default(),
        };
        let mut all = all;
        sink.file(&found, &mut all);
        return Ok(());
    };
    let unpacked = Metered::new(decoder(packing, all), count, limits);
    let wanted = layer.packed_digest.is_none() && layer.unpacked_digest.is_some();
    let mut unpacked = Hashed::new(unpacked, wanted);
    if entries(layer, &mut unpacked, limits, sink, names) {
        // Told already, and what is left cannot be hashed.
        return Ok(());
    }
    let digest = unpacked.finish()?;
    if wanted && digest != layer.unpacked_digest {
        let digest = digest.unwrap_or_default();
        let text = format!("unpacked it has the digest {digest}");
        let place = Place::within(&layer.name, "");
        sink.problem(Problem::new(ProblemKind::WrongDigest, place, text));
    }
    Ok(())
}

/// Scans the files of an unpacked layer. True if it could not be read to its end.
fn entries(
    layer: &Layer,
    unpacked: &mut dyn Read,
    limits: Limits,
    sink: &mut dyn Sink,
    names: &mut Names,
) -> bool {
    let unpacked: Box<dyn Read + '_> = Box::new(unpacked);
    let mut walk = Walk::new(unpacked);
    let mut count = 0_u64;
    loop {
        let head = match walk.next() {
            Ok(Some(head)) => head,
            Ok(None) => {
                behind(layer, &mut walk, sink);
                return walk.is_broken();
            }
            Err(cause) => {
                sink.problem(Problem::io(Place::within(&layer.name, ""), &cause));
                continue;
            }
        };
        count += 1;
        if count > limits.layer_entries {
            let text = format!("it has more than {} entries", limits.layer_entries);
            let place = Place::within(&layer.name, "");
            sink.problem(Problem::new(ProblemKind::Limit, place, text));
            return false;
        }
        entry(layer, &head, &mut walk, sink);
        names.add(&head.path, head.what == What::Folder);
    }
}

/// Scans what lies behind the archive's end.
fn behind<R: Past>(layer: &Layer, walk: &mut Walk<R>, sink: &mut dyn Sink) {
    match walk.behind() {
        Ok(Some(mut rest)) => {
            let place = Place::within(&layer.name, BEHIND);
            sink.file(&Found { place, bytes: 0 }, &mut rest);
        }
        Ok(None) => {}
        Err(cause) => sink.problem(Problem::io(Place::within(&layer.name, ""), &cause)),
    }
}

fn entry(layer: &Layer, head: &Head, reader: &mut dyn Read, sink: &mut dyn Sink) {
    let place = Place::within(&layer.name, &head.path);
    if head.what == What::Sparse {
        let text = "it is stored with its zeros left out, and was scanned so";
        sink.problem(Problem::new(ProblemKind::Unsupported, place.clone(), text));
    }
    let bytes = head.bytes;
    if matches!(head.what, What::File | What::Sparse) {
        sink.file(&Found { place, bytes }, reader);
    }
}

/// The error for a blob whose digest is written in a way that is not known here.
pub fn unknown_digest(text: &str) -> io::Error {
    Refused::error(
        ProblemKind::Unsupported,
        format!("{text:?} is no SHA-256 digest"),
    )
}
