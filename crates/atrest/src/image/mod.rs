//! Images: which layers there are, in which order they lie in which image, and what that hides.

mod archive;
mod json;
mod layout;
mod resolve;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};
use std::path::Path;

use crate::layer::{self, Layer, Names};
use crate::limits::{IMAGE_NAMES, Limits, REPORT_ROWS};
use crate::report::{Kind, Place, Problem, ProblemKind, Unseen};
use crate::source::{Sink, Source};

/// One image.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Its tag, or its digest.
    name: String,
    /// Its layers, the lowest first, by their names in the store.
    layers: Vec<String>,
}

/// What the papers of a layout or archive say.
#[derive(Default)]
pub struct Papers {
    images: Vec<Image>,
    /// The layers, by their names in the store: each once, however many images have it.
    layers: BTreeMap<String, Layer>,
    /// What is wrong with the papers.
    problems: Vec<Problem>,
    /// Problems that were too many.
    left_out: u64,
}

impl Papers {
    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < REPORT_ROWS {
            self.problems.push(problem);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }
}

/// Where blobs are kept.
pub trait Store {
    /// What reports call it.
    fn kind(&self) -> Kind;

    /// Gets ready: lists what is there, if that is needed.
    ///
    /// # Errors
    /// When nothing can be read.
    fn open(&mut self) -> Result<Vec<Problem>, io::Error>;

    /// Whether it holds images at all.
    fn is_image(&self) -> bool {
        true
    }

    /// The name of the file that `name` stands for, if the store has second names.
    fn real(&self, name: &str) -> String {
        name.to_owned()
    }

    /// A small file.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is not small.
    fn small(&mut self, name: &str) -> io::Result<Vec<u8>>;

    /// The size of a blob, in bytes, if it is there.
    fn bytes(&mut self, name: &str) -> Option<u64>;

    /// The names of all files, and why there may be more.
    fn all(&mut self) -> (BTreeSet<String>, Vec<Problem>);

    /// Hands each blob of `wanted` to `visit`, in the store's own order. One that is there more
    /// than once comes more than once.
    ///
    /// # Errors
    /// When the store as a whole cannot be read on.
    fn visit(&mut self, wanted: &BTreeSet<String>, visit: &mut Visit<'_>) -> io::Result<()>;
}

/// Takes a blob: its name, and its bytes or why there are none.
type Visit<'a> = dyn FnMut(&str, io::Result<&mut dyn Read>) + 'a;

/// A folder in the layout of the OCI image specification.
pub fn oci(path: &Path, limits: Limits) -> Images<layout::Layout> {
    Images {
        store: layout::Layout::new(path),
        limits,
    }
}

/// An archive: of `docker save`, of an OCI layout, or of a file system.
pub fn archive(path: &Path, limits: Limits) -> Images<archive::Archive> {
    Images {
        store: archive::Archive::new(path, limits),
        limits,
    }
}

/// The images of a store.
pub struct Images<S> {
    store: S,
    limits: Limits,
}

impl<S: Store> Source for Images<S> {
    fn kind(&self) -> Kind {
        self.store.kind()
    }

    fn walk(&mut self, sink: &mut dyn Sink) {
        match self.store.open() {
            Ok(problems) => problems.into_iter().for_each(|p| sink.problem(p)),
            Err(cause) => return sink.problem(Problem::io(Place::of(""), &cause)),
        }
        let mut papers = resolve::papers(&mut self.store);
        for problem in papers.problems.drain(..) {
            sink.problem(problem);
        }
        // What no paper names is scanned as well: others may have other papers for it.
        let (all, problems) = self.store.all();
        problems
            .into_iter()
            .for_each(|problem| sink.problem(problem));
        if papers.left_out > 0 {
            let text = format!("the papers have {} more problems", papers.left_out);
            sink.problem(Problem::new(ProblemKind::Limit, Place::of(""), text));
        }
        let names = self.layers(&papers, all, sink);
        judge(&papers, &names, sink);
    }
}

impl<S: Store> Images<S> {
    /// Scans the layers that the papers name, and the other files of `wanted`.
    fn layers(
        &mut self,
        papers: &Papers,
        mut wanted: BTreeSet<String>,
        sink: &mut dyn Sink,
    ) -> HashMap<String, Names> {
        for (name, layer) in &papers.layers {
            match self.store.bytes(name) {
                Some(_) => {
                    wanted.insert(name.clone());
                }
                None => sink.problem(Problem::new(
                    ProblemKind::Missing,
                    Place::within(&layer.name, ""),
                    "the layer is not here",
                )),
            }
        }
        for name in &wanted {
            sink.total(self.store.bytes(name).unwrap_or_default());
        }
        let mut names = HashMap::new();
        let mut left = wanted.clone();
        let limits = self.limits;
        let visited = self.store.visit(&wanted, &mut |name, bytes| {
            left.remove(name);
            let named = papers.layers.get(name);
            let unknown = Layer {
                name: name.to_owned(),
                ..Layer::default()
            };
            let layer = named.unwrap_or(&unknown);
            match bytes {
                Ok(bytes) => {
                    let mut counted = Counted { bytes, moved: 0 };
                    let found = layer::scan(layer, &mut counted, limits, sink);
                    sink.moved(counted.moved);
                    if named.is_some() {
                        names.insert(name.to_owned(), found);
                    }
                }
                Err(cause) => sink.problem(Problem::io(Place::within(&layer.name, ""), &cause)),
            }
        });
        if let Err(cause) = visited {
            sink.problem(Problem::io(Place::of(""), &cause));
        }
        for name in left {
            let layer = papers.layers.get(&name).map_or(&name, |layer| &layer.name);
            let place = Place::within(layer, "");
            let text = "the layer was not reached";
            sink.problem(Problem::new(ProblemKind::Missing, place, text));
        }
        names
    }
}

/// Counts what was read of a layer.
struct Counted<'a> {
    bytes: &'a mut dyn Read,
    moved: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.moved = self.moved.saturating_add(count as u64);
        Ok(count)
    }
}

/// Tells of every finding which images have it, and in which of them it is hidden.
fn judge(papers: &Papers, names: &HashMap<String, Names>, sink: &mut dyn Sink) {
    let visited = |key: &&String| names.contains_key(*key);
    for key in papers.layers.keys().filter(visited) {
        let Some(layer) = papers.layers.get(key) else {
            continue;
        };
        let of_it = |image: &&Image| image.layers.contains(key);
        let images: Vec<&Image> = papers.images.iter().filter(of_it).collect();
        sink.judge(&layer.name, &mut |path| {
            let mut unseen = Unseen::default();
            let mut hidden = 0;
            for image in &images {
                // The same layer can lie in an image twice: what counts is the upper one.
                let at = image.layers.iter().rposition(|other| other == key);
                let above = at.and_then(|at| image.layers.get(at + 1..)).unwrap_or(&[]);
                let mut above = above.iter().filter_map(|other| names.get(other));
                let hides = above.any(|upper| upper.hides(path));
                hidden += usize::from(hides);
                if unseen.images.len() < IMAGE_NAMES {
                    unseen.images.push(image.name.clone());
                    if hides {
                        unseen.hidden_in.push(image.name.clone());
                    }
                } else {
                    unseen.more_images += 1;
                }
            }
            unseen.hidden = !images.is_empty() && hidden == images.len();
            unseen
        });
    }
}
