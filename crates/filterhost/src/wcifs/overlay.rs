//! Which file of which layer a path means, and how it gets into the scratch volume.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::status::{NtStatus, STATUS_OBJECT_NAME_NOT_FOUND};
use crate::user::reparse::TAG_WCI_1;
use crate::volume::bytes::Bytes;
use crate::volume::fs::directory::DirEntry;
use crate::volume::ids::FileId;
use crate::volume::name::{Folded, fold, units};
use crate::volume::namespace::Namespace;
use crate::volume::node::{Node, NodeId, Reparse, SETTABLE};
use crate::volume::{Stream, Volume};

/// One layer of a container's image.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The volume that holds it.
    pub volume: Arc<Volume>,
    /// The directory that is the container's root.
    pub root: String,
    /// It is listed among those that an antivirus scans when they are laid down.
    pub registered: bool,
    /// Its files are on another machine; `volume` stands in for it.
    pub remote: bool,
}

/// Paths that layers no longer show, because the container deleted or moved what was there. They
/// stay with the scratch volume when the container stops.
#[derive(Debug, Default)]
pub struct Whiteouts(Mutex<BTreeSet<Vec<Folded>>>);

impl Whiteouts {
    fn hides(&self, path: &[Folded]) -> bool {
        let set = self.0.lock();
        (1..=path.len()).any(|length| path.get(..length).is_some_and(|head| set.contains(head)))
    }

    fn add(&self, path: Vec<Folded>) {
        self.0.lock().insert(path);
    }
}

/// Where an open file's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// A file of a layer, by its number in the list of layers.
    Layer {
        /// Which layer.
        layer: usize,
        /// The id of the layer's file.
        id: FileId,
    },
    /// The scratch volume.
    Scratch,
}

/// The layers of one container over its scratch volume. The first layer is the topmost.
#[derive(Debug)]
pub struct Overlay {
    scratch: Arc<Volume>,
    layers: Vec<Layer>,
    whiteouts: Arc<Whiteouts>,
    /// Sections for a scan of a placeholder count on the layer's stream.
    on_layers: bool,
}

impl Overlay {
    /// An overlay; `whiteouts` come from an earlier run of the same container, or are new.
    #[must_use]
    pub fn new(scratch: &Arc<Volume>, layers: &[Layer], whiteouts: Arc<Whiteouts>) -> Self {
        Self {
            scratch: Arc::clone(scratch),
            layers: layers.to_vec(),
            whiteouts,
            on_layers: false,
        }
    }

    /// The same, where sections for a scan of a placeholder count on the layer's stream, or not.
    #[must_use]
    pub fn counting_sections_on_layers(mut self, on_layers: bool) -> Self {
        self.on_layers = on_layers;
        self
    }

    /// The scratch volume.
    #[must_use]
    pub fn scratch(&self) -> &Arc<Volume> {
        &self.scratch
    }

    /// The layers, topmost first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The file of a layer that `path` shows, if no layer above and no whiteout hides it.
    fn find(&self, path: &[Vec<u16>]) -> Option<(usize, NodeId)> {
        let folded: Vec<Folded> = path.iter().map(|name| fold(name)).collect();
        if self.whiteouts.hides(&folded) {
            return None;
        }
        let in_layer = |layer: &Layer| {
            let root = layer.volume.fs().find(&layer.root).ok()?;
            let space = layer.volume.fs().space();
            let (node, names) = descend_by_names(&space, root, path)?;
            // A short name must not lead to what is hidden under the long one.
            (!self.whiteouts.hides(&names)).then_some(node)
        };
        let mut found = self.layers.iter().enumerate();
        found.find_map(|(number, layer)| Some((number, in_layer(layer)?)))
    }

    /// True if layers show something at `path`.
    #[must_use]
    pub fn shows(&self, path: &[Vec<u16>]) -> bool {
        self.find(path).is_some()
    }

    /// Layers do not show `path` any more.
    pub fn hide(&self, path: &[Vec<u16>]) {
        self.whiteouts
            .add(path.iter().map(|name| fold(name)).collect());
    }

    /// Makes what layers show on the way to `path` exist in the scratch volume: directories, and at
    /// the end a directory or a placeholder. Stops silently where nothing is shown.
    ///
    /// # Errors
    /// What making an entry reports.
    pub fn materialize(&self, path: &[Vec<u16>], now: i64) -> Result<(), NtStatus> {
        for length in 1..=path.len() {
            let Some(head) = path.get(..length) else {
                break;
            };
            let Some((name, above)) = head.split_last() else {
                break;
            };
            let there = {
                let space = self.scratch.fs().space();
                let Some(parent) = descend(&space, space.root(), above) else {
                    break;
                };
                space.child(parent, name).is_ok_and(|child| child.is_some())
            };
            if there {
                continue;
            }
            let Some((layer, node)) = self.find(head) else {
                break;
            };
            self.place(above, name, layer, node, now)?;
        }
        Ok(())
    }

    fn place(
        &self,
        above: &[Vec<u16>],
        name: &[u16],
        layer: usize,
        node: NodeId,
        now: i64,
    ) -> Result<(), NtStatus> {
        let layer_of = self.layers.get(layer).ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
        let seen = Seen::of(layer_of.volume.fs().space().node(node)?);
        let mut space = self.scratch.fs().space();
        let root = space.root();
        let parent = descend(&space, root, above).ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
        // By its short name it may be asked for when it is there already, under another one.
        if space.child(parent, name)?.is_some() || space.child(parent, &seen.name)?.is_some() {
            return Ok(());
        }
        let length = seen.data.bytes.length();
        let bytes = if seen.directory {
            Bytes::default()
        } else {
            Bytes::hole(length)
        };
        // The layer's own spelling of the name is what listings show.
        let (made, link) = space.create(parent, &seen.name, seen.directory, bytes, now)?;
        // And its short name, unless another file of the container has that.
        if let Some(short) = &seen.short {
            let _kept = space.set_short(made, link, short);
        }
        let made = space.node_mut(made)?;
        made.attributes = seen.attributes & SETTABLE;
        made.times = seen.times;
        if seen.directory {
            return Ok(());
        }
        made.data.bytes.set_source(&seen.data.bytes);
        made.data
            .set_behind(self.on_layers.then(|| Arc::clone(&seen.data)));
        let mut data = u64::try_from(layer).unwrap_or(0).to_le_bytes().to_vec();
        data.extend_from_slice(&seen.id.bytes());
        made.reparse = Some(Reparse {
            tag: TAG_WCI_1,
            data,
        });
        Ok(())
    }

    /// Where a file of the scratch volume is served from.
    #[must_use]
    pub fn served(&self, node: NodeId) -> Served {
        let space = self.scratch.fs().space();
        let reparse = space.node(node).ok().and_then(|node| node.reparse.clone());
        placeholder_of(reparse.as_ref()).unwrap_or(Served::Scratch)
    }

    /// Copies the layer's bytes into the scratch volume: from now on the file is the container's.
    /// Nothing happens to a file that is no placeholder.
    ///
    /// # Errors
    /// What reading the layer reports.
    pub fn copy_up(&self, node: NodeId) -> Result<(), NtStatus> {
        let data = self.data_of(node)?;
        data.bytes.adopt_source()?;
        data.set_behind(None);
        self.forget_placeholder(node)
    }

    /// Makes a placeholder a file of its own that is about to be emptied.
    ///
    /// # Errors
    /// `FILE_INVALID` if the file is gone.
    pub fn detach(&self, node: NodeId) -> Result<(), NtStatus> {
        let data = self.data_of(node)?;
        data.bytes.drop_source();
        data.set_behind(None);
        self.forget_placeholder(node)
    }

    fn data_of(&self, node: NodeId) -> Result<Arc<Stream>, NtStatus> {
        Ok(Arc::clone(&self.scratch.fs().space().node(node)?.data))
    }

    fn forget_placeholder(&self, node: NodeId) -> Result<(), NtStatus> {
        let mut space = self.scratch.fs().space();
        let node = space.node_mut(node)?;
        if placeholder_of(node.reparse.as_ref()).is_some() {
            node.reparse = None;
        }
        Ok(())
    }

    /// What a listing of a directory shows: the scratch volume's entries and those of the layers
    /// that nothing hides, in the order of enumeration.
    ///
    /// # Errors
    /// What listing the scratch volume reports.
    pub fn merged(&self, directory: NodeId) -> Result<Vec<DirEntry>, NtStatus> {
        let own = self.scratch.fs().entries(directory)?;
        let path = {
            let space = self.scratch.fs().space();
            split(&space.path(directory, None))
        };
        let mut seen: BTreeSet<Folded> = own.iter().map(|entry| fold(&entry.name)).collect();
        let dots = |entry: &DirEntry| entry.name == units(".") || entry.name == units("..");
        let (first, mut rest): (Vec<_>, Vec<_>) = own.into_iter().partition(dots);
        for entry in &mut rest {
            hide_placeholder(entry);
        }
        for layer in &self.layers {
            for entry in layer_entries(layer, &path) {
                let folded = fold(&entry.name);
                let mut whole: Vec<Folded> = path.iter().map(|name| fold(name)).collect();
                whole.push(folded.clone());
                if dots(&entry) || self.whiteouts.hides(&whole) || !seen.insert(folded) {
                    continue;
                }
                rest.push(entry);
            }
        }
        rest.sort_by_cached_key(|entry| fold(&entry.name));
        Ok(first.into_iter().chain(rest).collect())
    }
}

/// What a placeholder takes over from the layer's file.
struct Seen {
    name: Vec<u16>,
    short: Option<Vec<u16>>,
    id: FileId,
    attributes: u32,
    times: crate::volume::node::Times,
    directory: bool,
    data: Arc<Stream>,
}

impl Seen {
    fn of(node: &Node) -> Self {
        Self {
            name: node
                .links
                .values()
                .next()
                .map(|link| link.name.clone())
                .unwrap_or_default(),
            short: node
                .links
                .values()
                .next()
                .and_then(|link| link.short.clone()),
            id: node.id,
            attributes: node.attributes,
            times: node.times,
            directory: node.is_directory(),
            data: Arc::clone(&node.data),
        }
    }
}

/// What a reparse point of this filter says.
fn placeholder_of(reparse: Option<&Reparse>) -> Option<Served> {
    let reparse = reparse.filter(|reparse| reparse.tag == TAG_WCI_1)?;
    let layer = reparse.data.first_chunk::<8>()?;
    let id = reparse.data.get(8..)?.first_chunk::<16>()?;
    let layer = usize::try_from(u64::from_le_bytes(*layer)).ok()?;
    Some(Served::Layer {
        layer,
        id: FileId(u128::from_le_bytes(*id)),
    })
}

fn hide_placeholder(entry: &mut DirEntry) {
    if entry.tag == TAG_WCI_1 {
        entry.tag = 0;
        entry.attributes &= !crate::volume::node::REPARSE_POINT;
    }
}

fn layer_entries(layer: &Layer, path: &[Vec<u16>]) -> Vec<DirEntry> {
    let fs = layer.volume.fs();
    let Ok(root) = fs.find(&layer.root) else {
        return Vec::new();
    };
    let directory = descend(&fs.space(), root, path);
    directory
        .and_then(|directory| fs.entries(directory).ok())
        .unwrap_or_default()
}

/// Follows names from a directory; none where one is missing.
fn descend(space: &Namespace, from: NodeId, path: &[Vec<u16>]) -> Option<NodeId> {
    let mut at = from;
    for name in path {
        at = space.child(at, name).ok()??.0;
    }
    Some(at)
}

/// As [`descend`], with the long names of what was met.
fn descend_by_names(
    space: &Namespace,
    from: NodeId,
    path: &[Vec<u16>],
) -> Option<(NodeId, Vec<Folded>)> {
    let mut at = from;
    let mut names = Vec::new();
    for name in path {
        let (node, link) = space.child(at, name).ok()??;
        names.push(fold(&space.link(node, link).ok()?.name));
        at = node;
    }
    Some((at, names))
}

/// The names of a path with backslashes.
#[must_use]
pub fn split(path: &[u16]) -> Vec<Vec<u16>> {
    let parts = path.split(|unit| *unit == u16::from(b'\\'));
    parts
        .filter(|part| !part.is_empty())
        .map(<[u16]>::to_vec)
        .collect()
}
