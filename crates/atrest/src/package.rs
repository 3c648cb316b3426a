//! The folders of package layers on this machine, in which the bytes of placeholders lie.
//!
//! A placeholder has its layer's GUID. How a GUID follows from a folder's name only Windows says,
//! when it is asked (docs/decisions/0104-placeholders-are-attributed.md). So a GUID is given with
//! its folder, or the file is looked for as `wcifs` does it: in the layers of the container's
//! chain, from the top, the first that has it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::limits::{ARCHIVE_NAMES, IMAGE_LAYERS, JSON_BYTES};
use crate::placeholder::{Bytes, Target};
use crate::report::{Place, Problem, ProblemKind};

/// The folder of a layer that has the package files.
const FILES: &str = "Files";

/// Where package layers lie, and what to do with them.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// GUIDs and folders. A GUID may have several.
    pub folders: Vec<(Uuid, PathBuf)>,
    /// Docker's `layerchain.json` of the container: the folders of its layers, the top one first.
    pub chain: Option<PathBuf>,
    /// The folder that has these folders. None is the one above that of `chain`'s.
    pub store: Option<PathBuf>,
    /// Whether the files that placeholders stand for are scanned, each once.
    pub scan: bool,
}

/// A file in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The layer, if its folder was given for it. A file of the chain may be another layer's than
    /// the placeholder says.
    pub layer: Option<Uuid>,
    /// The layer's folder.
    pub folder: PathBuf,
    /// The file.
    pub file: PathBuf,
}

/// Why a file was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It is not in the layer, or in none of the chain.
    NotThere,
    /// A folder could not be listed, or something else has the file's name: a link, say.
    Unreadable(String),
    /// It may be in a layer whose folder is not known.
    FolderUnknown,
}

impl From<&Miss> for Bytes {
    fn from(miss: &Miss) -> Self {
        match miss {
            Miss::NotThere => Self::NotThere,
            Miss::Unreadable(_) => Self::Unreadable,
            Miss::FolderUnknown => Self::FolderUnknown,
        }
    }
}

/// What a layer has by a file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum There {
    /// The file.
    File(PathBuf),
    /// Something that is none, or no folder on the way to it.
    Other(PathBuf),
    Nothing,
}

type Names = BTreeMap<OsString, FileType>;
/// The entries of a folder by their names without case, or why there are none.
type Listing = Result<HashMap<String, Names>, String>;

/// A layer's folder.
#[derive(Clone, Debug)]
struct Root {
    /// None for one of the chain, whose GUID is not known.
    layer: Option<Uuid>,
    folder: Arc<Path>,
    /// Its [`FILES`], if it has them.
    files: Option<Arc<Path>>,
}

impl Root {
    fn new(layer: Option<Uuid>, folder: &Path) -> Self {
        let files = folder.join(FILES);
        let has_files = fs::symlink_metadata(&files).is_ok_and(|about| about.is_dir());
        Self {
            layer,
            folder: folder.into(),
            files: has_files.then(|| files.into()),
        }
    }
}

/// The package layers.
#[derive(Debug, Default)]
pub struct Packages {
    /// Those of the chain in its order.
    roots: Vec<Root>,
    /// Layers whose folders are given, there or not.
    given: HashSet<Uuid>,
    /// Whether the chain has all that it names.
    is_whole: bool,
    /// Folders that were listed, by their names without case.
    listed: HashMap<PathBuf, Listing>,
    /// Names in them all.
    names: usize,
}

impl Packages {
    /// Looks for the folders of `layers`, and tells which are not there.
    pub fn new(layers: &Layers, tell: &mut dyn FnMut(Problem)) -> Self {
        let mut packages = Self {
            is_whole: true,
            ..Self::default()
        };
        for (layer, folder) in &layers.folders {
            packages.given.insert(*layer);
            if folder.is_dir() {
                packages.roots.push(Root::new(Some(*layer), folder));
            } else {
                let text = format!("it is given as the folder of layer {layer} and is no folder");
                tell(missing(folder, text));
            }
        }
        if let Some(chain) = &layers.chain
            && let Err(problem) = packages.follow(chain, layers.store.as_deref())
        {
            packages.is_whole = false;
            tell(problem);
        }
        packages
    }

    /// Takes the folders that the chain names, up to the first that is not there: what would be
    /// found below it may be hidden by it.
    fn follow(&mut self, chain: &Path, store: Option<&Path>) -> Result<(), Problem> {
        let place = || Place::of(chain.display().to_string());
        let ids = ids(chain).map_err(|cause| Problem::io(place(), &cause))?;
        if ids.len() > IMAGE_LAYERS {
            let text = format!("it names more than {IMAGE_LAYERS} layers");
            return Err(Problem::new(ProblemKind::Limit, place(), text));
        }
        let store = match store {
            Some(store) => store.to_owned(),
            None => std::path::absolute(chain)
                .ok()
                .and_then(|chain| Some(chain.parent()?.parent()?.to_owned()))
                .ok_or_else(|| missing(chain, "it lies in no store; name it with --store"))?,
        };
        for id in ids {
            if matches!(id.as_str(), "" | "." | "..") || id.contains(':') {
                let text = "it names a layer whose folder can have no such name";
                return Err(Problem::new(ProblemKind::Damaged, place(), text));
            }
            let folder = store.join(&id);
            if !folder.is_dir() {
                let text = "the chain names it, and it is not there; layers below it are not \
                            looked into";
                return Err(missing(&folder, text));
            }
            self.roots.push(Root::new(None, &folder));
        }
        Ok(())
    }

    /// The file that `target` means.
    ///
    /// # Errors
    /// Why it was not found.
    pub fn find(&mut self, target: &Target) -> Result<Hit, Miss> {
        let of_it = |root: &&Root| root.layer == Some(target.layer);
        let mut roots: Vec<Root> = self.roots.iter().filter(of_it).cloned().collect();
        let is_given = self.given.contains(&target.layer);
        if !is_given {
            let chain = self.roots.iter().filter(|root| root.layer.is_none());
            roots = chain.cloned().collect();
        }
        for root in &roots {
            let Root { folder, files, .. } = root;
            match self.within(folder, files.as_deref(), &target.parts) {
                Ok(There::File(file)) => {
                    let (layer, folder) = (root.layer, folder.to_path_buf());
                    return Ok(Hit {
                        layer,
                        folder,
                        file,
                    });
                }
                Ok(There::Nothing) => {}
                // It hides what layers below have by that name.
                Ok(There::Other(path)) => {
                    let path = path.display();
                    return Err(Miss::Unreadable(format!("{path}: no plain file or folder")));
                }
                Err(cause) => return Err(Miss::Unreadable(cause)),
            }
        }
        if roots.is_empty() || (!is_given && !self.is_whole) {
            Err(Miss::FolderUnknown)
        } else {
            Err(Miss::NotThere)
        }
    }

    /// The file of these names in a layer. Links are not followed.
    fn within(
        &mut self,
        folder: &Path,
        files: Option<&Path>,
        parts: &[String],
    ) -> Result<There, String> {
        let Some(files) = files else {
            return self.below(folder.to_owned(), parts);
        };
        let found = self.below(files.to_owned(), parts)?;
        // Nobody has published the name of a layer that has this folder.
        let is_from_above = parts
            .first()
            .is_some_and(|part| plain(part) == plain(FILES));
        if found == There::Nothing && is_from_above {
            return self.below(folder.to_owned(), parts);
        }
        Ok(found)
    }

    /// The file of these names in a folder.
    fn below(&mut self, mut at: PathBuf, parts: &[String]) -> Result<There, String> {
        let Some((last, above)) = parts.split_last() else {
            return Ok(There::Nothing);
        };
        for part in above {
            match self.entry(&at, part)? {
                Some((name, kind)) if kind.is_dir() => at.push(name),
                Some((name, _)) => return Ok(There::Other(at.join(name))),
                None => return Ok(There::Nothing),
            }
        }
        Ok(match self.entry(&at, last)? {
            Some((name, kind)) if kind.is_file() => There::File(at.join(name)),
            Some((name, _)) => There::Other(at.join(name)),
            None => There::Nothing,
        })
    }

    /// The entry of a folder that has this name: but for its case, if none has it exactly.
    fn entry(&mut self, folder: &Path, name: &str) -> Result<Option<(OsString, FileType)>, String> {
        if !self.listed.contains_key(folder) {
            let listing = list(folder).map_err(|cause| format!("{}: {cause}", folder.display()));
            let count = listing.as_ref().map_or(1, |listing| listing.len() + 1);
            if self.names.saturating_add(count) > ARCHIVE_NAMES {
                self.listed.clear();
                self.names = 0;
            }
            self.names += count;
            self.listed.insert(folder.to_owned(), listing);
        }
        let alike = match self.listed.get(folder) {
            Some(Ok(listing)) => listing.get(&plain(name)),
            Some(Err(cause)) => return Err(cause.clone()),
            None => None,
        };
        let Some(alike) = alike else {
            return Ok(None);
        };
        let exact = alike.get_key_value(std::ffi::OsStr::new(name));
        let found = exact.or_else(|| alike.first_key_value());
        Ok(found.map(|(name, kind)| (name.clone(), *kind)))
    }
}

/// The entries of a folder by their names without case.
fn list(folder: &Path) -> io::Result<HashMap<String, Names>> {
    let mut listing: HashMap<String, Names> = HashMap::new();
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        count += 1;
        if count > ARCHIVE_NAMES {
            let text = format!("it has more than {ARCHIVE_NAMES} entries");
            return Err(io::Error::other(text));
        }
        let name = entry.file_name();
        let alike = listing.entry(plain(&name.to_string_lossy())).or_default();
        alike.insert(name, entry.file_type()?);
    }
    Ok(listing)
}

/// A name without its case.
fn plain(name: &str) -> String {
    name.to_lowercase()
}

/// The last parts of the folders that Docker's chain names. It has them as they were called when
/// it was written, on whatever machine.
fn ids(chain: &Path) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    let mut file = File::open(chain)?.take(JSON_BYTES + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > JSON_BYTES {
        let text = format!("it has more than {JSON_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    // Docker writes `null` where there are none.
    let folders: Option<Vec<String>> = serde_json::from_slice(&bytes)?;
    let last = |folder: String| match folder.rsplit(['/', '\\']).next() {
        Some(last) => last.to_owned(),
        None => folder,
    };
    Ok(folders.unwrap_or_default().into_iter().map(last).collect())
}

fn missing(path: &Path, text: impl Into<String>) -> Problem {
    Problem::new(
        ProblemKind::Missing,
        Place::of(path.display().to_string()),
        text,
    )
}
