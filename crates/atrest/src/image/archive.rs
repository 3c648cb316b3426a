//! A tar archive that holds images, itself packed or not. It is gone through once for its papers
//! and once for its layers, and never unpacked to disk. One without papers is taken for the archive
//! of a file system, which is one layer.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::layer::BEHIND;
use crate::limits::{ALL_JSON_BYTES, ARCHIVE_NAMES, JSON_BYTES, Limits, REPORT_ROWS};
use crate::meter::{Hashed, Metered, Refused};
use crate::pack::{Packing, SNIFF_BYTES, decoder, packing_of};
use crate::report::{Kind, Place, Problem, ProblemKind};
use crate::tar::{Head, Past, Walk, What};

use super::{Store, Visit};

/// The name of the layer that an archive of a file system is.
const WHOLE: &str = "(the archive)";
/// Links that lead to links.
const LINKS: usize = 8;

/// An archive.
pub struct Archive {
    path: PathBuf,
    limits: Limits,
    packing: Packing,
    /// The size of the file, in bytes.
    whole: u64,
    /// Every file, and its size.
    files: BTreeMap<String, u64>,
    /// Links: older versions of `docker save` put them in place of layers that they had saved.
    links: BTreeMap<String, String>,
    papers: BTreeMap<String, Vec<u8>>,
    /// Whether it holds images.
    is_image: bool,
}

/// An archive that is not packed: what is not wanted is not read.
struct Plain(File);

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Past for Plain {
    fn past(&mut self, count: u64) -> io::Result<u64> {
        // A file can be sought past its end: what is there is what counts.
        let here = self.0.stream_position()?;
        let end = self.0.metadata()?.len();
        let step = count.min(end.saturating_sub(here));
        let to = here.saturating_add(step);
        self.0.seek(SeekFrom::Start(to))?;
        Ok(step)
    }
}

impl Past for Box<dyn Past> {
    fn past(&mut self, count: u64) -> io::Result<u64> {
        self.as_mut().past(count)
    }
}

impl Archive {
    /// The archive at `path`.
    pub fn new(path: &Path, limits: Limits) -> Self {
        Self {
            path: path.to_owned(),
            limits,
            packing: Packing::Tar,
            whole: 0,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            papers: BTreeMap::new(),
            is_image: false,
        }
    }

    fn walk(&self) -> io::Result<Walk<Box<dyn Past>>> {
        let file = File::open(&self.path)?;
        let from: Box<dyn Past> = if self.packing == Packing::Tar {
            Box::new(Plain(file))
        } else {
            let packed = Hashed::new(file, false);
            let count: Rc<Cell<u64>> = packed.count();
            let unpacked = decoder(self.packing, packed);
            Box::new(Metered::new(unpacked, count, self.limits))
        };
        Ok(Walk::new(from))
    }

    /// Lists one entry, and keeps it if it may be one of the papers.
    fn list(&mut self, head: &Head, walk: &mut dyn Read, kept: &mut u64) -> io::Result<()> {
        let name = clean(&head.path);
        match &head.what {
            What::Link(to) => {
                self.links.insert(name, clean(to));
            }
            What::Symlink(to) => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                let to = if to.starts_with('/') {
                    clean(to)
                } else {
                    clean(&format!("{folder}/{to}"))
                };
                self.links.insert(name, to);
            }
            What::File | What::Sparse => {
                // Of two entries of one name the last is what is unpacked.
                self.links.remove(&name);
                self.papers.remove(&name);
                let mut first = Vec::new();
                Read::take(&mut *walk, SNIFF_BYTES).read_to_end(&mut first)?;
                self.files.insert(name.clone(), head.bytes);
                let is_sparse = head.what == What::Sparse;
                let is_paper = matches!(first.trim_ascii_start().first(), Some(b'{' | b'['));
                let room = ALL_JSON_BYTES.saturating_sub(*kept);
                if is_paper && !is_sparse && head.bytes <= JSON_BYTES.min(room) {
                    let rest = head.bytes.saturating_sub(first.len() as u64);
                    Read::take(&mut *walk, rest).read_to_end(&mut first)?;
                    *kept = kept.saturating_add(first.len() as u64);
                    self.papers.insert(name, first);
                }
                if is_sparse {
                    let text = "a file is stored with its zeros left out, and was scanned so";
                    return Err(Refused::error(ProblemKind::Unsupported, text));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A name without what tar archives put around names, with `..` taken out.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl Store for Archive {
    fn kind(&self) -> Kind {
        Kind::Archive
    }

    fn open(&mut self) -> Result<Vec<Problem>, io::Error> {
        let mut first = Vec::new();
        let file = File::open(&self.path)?;
        self.whole = file.metadata()?.len();
        file.take(SNIFF_BYTES).read_to_end(&mut first)?;
        self.packing = packing_of(&first).unwrap_or(Packing::Tar);
        let mut problems = Vec::new();
        let mut walk = self.walk()?;
        let mut kept = 0;
        loop {
            let listed = match walk.next() {
                Ok(Some(head)) => self.list(&head, &mut walk, &mut kept),
                Ok(None) => break,
                Err(cause) => Err(cause),
            };
            if let Err(cause) = listed
                && problems.len() < REPORT_ROWS
            {
                problems.push(Problem::io(Place::of(""), &cause));
            }
            if self.files.len() + self.links.len() > ARCHIVE_NAMES {
                let text = format!("it has more than {ARCHIVE_NAMES} names");
                problems.push(Problem::new(ProblemKind::Limit, Place::of(""), text));
                break;
            }
        }
        const PAPERS: [&str; 4] = ["manifest.json", "index.json", "oci-layout", "repositories"];
        let has = |name: &&str| self.files.contains_key(&self.real(name));
        self.is_image = PAPERS.iter().any(has);
        // As the one layer that it is, it tells its damage when it is scanned.
        if !self.is_image {
            problems.clear();
        }
        Ok(problems)
    }

    fn is_image(&self) -> bool {
        self.is_image
    }

    fn real(&self, name: &str) -> String {
        let mut name = name;
        for _ in 0..LINKS {
            match self.links.get(name) {
                Some(to) => name = to,
                None => break,
            }
        }
        name.to_owned()
    }

    fn small(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let paper = self.papers.get(&self.real(name));
        paper.cloned().ok_or_else(|| {
            let text = "it is not in the archive, or larger than papers may be";
            io::Error::new(io::ErrorKind::NotFound, text)
        })
    }

    fn bytes(&mut self, name: &str) -> Option<u64> {
        if name == WHOLE {
            return Some(self.whole);
        }
        self.files.get(&self.real(name)).copied()
    }

    fn all(&mut self) -> (BTreeSet<String>, Vec<Problem>) {
        let all = if self.is_image {
            self.files.keys().cloned().collect()
        } else {
            BTreeSet::from([WHOLE.to_owned()])
        };
        (all, Vec::new())
    }

    fn visit(&mut self, wanted: &BTreeSet<String>, visit: &mut Visit<'_>) -> io::Result<()> {
        if wanted.contains(WHOLE) {
            let mut file = File::open(&self.path)?;
            visit(WHOLE, Ok(&mut file));
            return Ok(());
        }
        let mut walk = self.walk()?;
        loop {
            match walk.next() {
                Ok(Some(head)) if matches!(head.what, What::File | What::Sparse) => {
                    let name = clean(&head.path);
                    if wanted.contains(&name) {
                        visit(&name, Ok(&mut walk));
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    if let Some(mut rest) = walk.behind()? {
                        visit(BEHIND, Ok(&mut rest));
                    }
                    return Ok(());
                }
                // Told when the archive was listed.
                Err(_) => {}
            }
        }
    }
}
