//! What is excluded just now: as the operator named it, and as the driver is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use siloscan_core::exclusion::{ContainerId, EXCLUSIONS, LayerId};

use crate::job::guid_text;
use crate::runtime::ImageDigest;

/// Containers that are remembered as met at most.
const MET_MAX: usize = 4_096;

/// What is to be excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excluding {
    /// Containers.
    pub containers: Vec<ContainerId>,
    /// Images.
    pub images: Vec<ExcludedImage>,
    /// Layers.
    pub layers: Vec<ExcludedLayer>,
}

/// An image, and the containers that are known to have been started from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludedImage {
    /// The image, as the operator named it.
    pub image: ImageDigest,
    /// The containers.
    pub containers: Vec<ContainerId>,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludedLayer {
    /// As the operator named it.
    pub shown: String,
    /// Its folder, as the platform names folders, without a separator at its end.
    folder: String,
    id: LayerId,
}

impl ExcludedLayer {
    /// The layer in a folder, which the platform has named.
    #[must_use]
    pub fn new(shown: &str, folder: &str) -> Self {
        let folder = folder.trim_end_matches(is_separator);
        let digest: [u8; 32] = Sha256::digest(folder.as_bytes()).into();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self {
            shown: shown.to_owned(),
            folder: folder.to_owned(),
            id,
        }
    }

    /// Whether the file of this name, as the platform names files, lies in the folder or below.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.folder.as_str());
        rest.is_some_and(|rest| rest.starts_with(is_separator))
    }
}

fn is_separator(letter: char) -> bool {
    letter == '\\' || letter == '/'
}

/// One exclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// A container.
    Container(ContainerId),
    /// An image.
    Image(ImageDigest),
    /// A layer, as the operator named it.
    Layer(String),
}

impl Exclusion {
    /// What it is, as the file of exclusions says it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Container(_) => "container",
            Self::Image(_) => "image",
            Self::Layer(_) => "layer",
        }
    }

    /// Which one, as the file of exclusions says it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Container(id) => guid_text(id).unwrap_or_default(),
            Self::Image(image) => image.to_string(),
            Self::Layer(shown) => shown.clone(),
        }
    }
}

/// An exclusion, and how many opens it let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hits {
    /// The exclusion.
    pub exclusion: Exclusion,
    /// Opens, since the connection.
    pub hits: u64,
}

/// A list as the driver is told it.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    /// Its number; zero for none.
    pub(crate) number: u32,
    pub(crate) containers: Vec<ContainerId>,
    pub(crate) layers: Vec<ExcludedLayer>,
}

impl List {
    /// The names under which the driver knows the layers, in the order of their places.
    pub(crate) fn layer_ids(&self) -> Vec<LayerId> {
        self.layers.iter().map(|layer| layer.id).collect()
    }
}

/// The list in force, and what it was made from.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// How often the list was changed.
    changes: u32,
    excluding: Excluding,
    list: Arc<List>,
    /// Hits of an image's containers that are on the list no more.
    past: BTreeMap<ImageDigest, u64>,
    /// Containers that were seen since images are excluded.
    met: BTreeSet<ContainerId>,
    /// Those of them that nobody has asked for yet.
    fresh: Vec<ContainerId>,
}

/// An id, and the hits that the driver told of it last.
type Told = ([u8; 16], u64);

impl Lists {
    /// Takes a list over; `told` are the hits that the driver told of the one before. Whether the
    /// driver must be told, and what is left out because it is too much.
    pub(crate) fn take(&mut self, next: Excluding, told: &[Told]) -> (bool, Option<String>) {
        let mut containers: Vec<ContainerId> = Vec::new();
        let of_images = next.images.iter().flat_map(|image| &image.containers);
        for container in next.containers.iter().chain(of_images) {
            if !containers.contains(container) {
                containers.push(*container);
            }
        }
        let mut layers = Vec::new();
        for layer in &next.layers {
            let known = layers
                .iter()
                .any(|known: &ExcludedLayer| known.id == layer.id);
            if !known {
                layers.push(layer.clone());
            }
        }
        let first = containers.get(EXCLUSIONS).and_then(guid_text);
        let first = first.map(|first| format!("container {first}"));
        let layer = layers.get(EXCLUSIONS);
        let first = first.or_else(|| layer.map(|layer| format!("layer {}", layer.shown)));
        let too_many = first.map(|first| {
            format!("{first} and those after it are too many: {EXCLUSIONS} can be excluded")
        });
        containers.truncate(EXCLUSIONS);
        layers.truncate(EXCLUSIONS);
        if next.images.is_empty() {
            self.met.clear();
            self.fresh.clear();
        }
        self.keep_hits(&next, &containers, told);
        self.excluding = next;
        if self.list.containers == containers && self.list.layers == layers {
            return (false, None);
        }
        // Never zero, which is the number of no list.
        self.changes = self.changes.checked_add(1).unwrap_or(1);
        let none = containers.is_empty() && layers.is_empty();
        self.list = Arc::new(List {
            number: if none { 0 } else { self.changes },
            containers,
            layers,
        });
        (true, too_many)
    }

    /// Keeps the hits of containers that leave the list while their images stay.
    fn keep_hits(&mut self, next: &Excluding, containers: &[ContainerId], told: &[Told]) {
        let mut past = BTreeMap::new();
        for image in &next.images {
            let before = self
                .excluding
                .images
                .iter()
                .find(|it| it.image == image.image);
            let Some(before) = before else { continue };
            let left = before
                .containers
                .iter()
                .filter(|id| !containers.contains(id));
            let kept = self.past.get(&image.image).copied().unwrap_or(0);
            let left = left.filter(|id| self.list.containers.contains(id));
            past.insert(
                image.image,
                left.fold(kept, |sum, id| sum + hits_of(told, id)),
            );
        }
        self.past = past;
    }

    /// The list in force.
    pub(crate) fn list(&self) -> Arc<List> {
        Arc::clone(&self.list)
    }

    /// A new connection: the driver counts from zero.
    pub(crate) fn connected(&mut self) {
        self.past.clear();
    }

    /// A request, or a count, was of this container.
    pub(crate) fn meet(&mut self, container: ContainerId) {
        if self.excluding.images.is_empty() || container == [0; 16] {
            return;
        }
        if self.met.len() >= MET_MAX {
            // Whoever is met again is asked for again.
            self.met.clear();
            self.fresh.clear();
        }
        if self.met.insert(container) {
            self.fresh.push(container);
        }
    }

    /// Containers that nobody has asked for yet.
    pub(crate) fn take_met(&mut self) -> Vec<ContainerId> {
        std::mem::take(&mut self.fresh)
    }

    /// How many opens each exclusion let through, by what the driver told last. A container that is
    /// excluded by itself and by its image counts for both.
    pub(crate) fn hits(&self, containers: &[Told], layers: &[Told]) -> Vec<Hits> {
        let own = self.excluding.containers.iter().map(|id| Hits {
            exclusion: Exclusion::Container(*id),
            hits: hits_of(containers, id),
        });
        let images = self.excluding.images.iter().map(|image| {
            let listed = image.containers.iter();
            let listed = listed.filter(|id| self.list.containers.contains(id));
            let past = self.past.get(&image.image).copied().unwrap_or(0);
            Hits {
                exclusion: Exclusion::Image(image.image),
                hits: listed.fold(past, |sum, id| sum + hits_of(containers, id)),
            }
        });
        let layers = self.excluding.layers.iter().map(|layer| Hits {
            exclusion: Exclusion::Layer(layer.shown.clone()),
            hits: hits_of(layers, &layer.id),
        });
        own.chain(images).chain(layers).collect()
    }
}

fn hits_of(told: &[Told], id: &[u8; 16]) -> u64 {
    let found = told.iter().find(|(known, _)| known == id);
    found.map_or(0, |(_, hits)| *hits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(number: char) -> ImageDigest {
        let digits = number.to_string().repeat(64);
        ImageDigest::parse(&format!("sha256:{digits}")).expect("64 digits")
    }

    fn of_image(containers: &[ContainerId]) -> Excluding {
        Excluding {
            images: vec![ExcludedImage {
                image: image('a'),
                containers: containers.to_vec(),
            }],
            ..Excluding::default()
        }
    }

    #[test]
    fn a_layer_holds_what_lies_below_its_folder_and_nothing_beside_it() {
        let layer = ExcludedLayer::new("base", r"\Device\V1\store\ab\");
        assert!(layer.holds(r"\Device\V1\store\ab\Files\x.dll"));
        for other in [
            r"\Device\V1\store\ab",
            r"\Device\V1\store\abc\x.dll",
            r"\Device\V1\store\x.dll",
            r"\Device\V11\store\ab\x.dll",
            "",
        ] {
            assert!(!layer.holds(other), "{other}");
        }
        let same = ExcludedLayer::new("other", r"\Device\V1\store\ab");
        assert_eq!(same.id, layer.id, "one folder is one layer");
    }

    #[test]
    fn the_driver_is_told_when_its_list_changes_and_of_no_more_than_it_takes() {
        let mut lists = Lists::default();
        assert_eq!(lists.take(Excluding::default(), &[]), (false, None));
        assert_eq!(lists.take(of_image(&[]), &[]), (false, None), "nobody yet");
        assert_eq!(lists.take(of_image(&[[1; 16]]), &[]), (true, None));
        assert_eq!(lists.list().number, 1);
        let both = Excluding {
            containers: vec![[1; 16]],
            ..of_image(&[[1; 16]])
        };
        assert_eq!(lists.take(both, &[]), (false, None), "the same one");
        let many: Vec<ContainerId> = (1..=80).map(|number| [number; 16]).collect();
        let (changed, too_many) = lists.take(of_image(&many), &[]);
        assert!(changed && too_many.is_some_and(|cause| cause.contains("41414141")));
        assert_eq!(lists.list().containers.len(), EXCLUSIONS);
        assert_eq!(lists.take(Excluding::default(), &[]), (true, None));
        assert_eq!(lists.list().number, 0, "none is the number zero");
    }

    #[test]
    fn an_image_has_the_hits_of_its_containers_also_of_those_that_are_gone() {
        let mut lists = Lists::default();
        lists.take(of_image(&[[1; 16], [2; 16]]), &[]);
        let told = [([1; 16], 5), ([2; 16], 7), ([3; 16], 90)];
        let sum = |lists: &Lists, told: &[Told]| lists.hits(told, &[])[0].hits;
        assert_eq!(sum(&lists, &told), 12);
        lists.take(of_image(&[[2; 16]]), &told);
        assert_eq!(sum(&lists, &told[1..]), 12);
        lists.take(of_image(&[[2; 16]]), &told[1..]);
        assert_eq!(sum(&lists, &told[1..]), 12, "counted once");
        lists.connected();
        assert_eq!(sum(&lists, &[]), 0);
        lists.take(Excluding::default(), &told);
        assert_eq!(lists.hits(&told, &[]), []);
    }

    #[test]
    fn a_container_is_met_once_and_only_while_images_are_excluded() {
        let mut lists = Lists::default();
        lists.meet([1; 16]);
        assert!(lists.take_met().is_empty());
        lists.take(of_image(&[]), &[]);
        for container in [[0; 16], [1; 16], [1; 16]] {
            lists.meet(container);
        }
        assert_eq!(lists.take_met(), [[1; 16]]);
        lists.meet([1; 16]);
        assert!(lists.take_met().is_empty());
    }
}
