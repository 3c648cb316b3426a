//! The tree against a simple model: a map from whole paths to file numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::Bytes;
use super::ids::FileId;
use super::kind::FsKind;
use super::name::{fold, parse, text, units};
use super::namespace::{Namespace, Replace, Resolved};
use super::node::{LinkId, NodeId};
use crate::status::{NtStatus, STATUS_FILE_INVALID};

/// Folded path (without the first backslash) to (file number, is directory).
type Model = BTreeMap<String, (u32, bool)>;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn path(&mut self) -> String {
        let names = ["a", "B", "c", "A"];
        let depth = 1 + self.below(3);
        (0..depth)
            .map(|_| self.pick(&names))
            .collect::<Vec<_>>()
            .join("\\")
    }
}

struct Pair {
    space: Namespace,
    model: Model,
    numbers: BTreeMap<NodeId, u32>,
    next: u32,
}

fn key(path: &str) -> String {
    text(fold(&units(path)).units())
}

fn parent_of(path: &str) -> Option<&str> {
    path.rsplit_once('\\').map(|(parent, _)| parent)
}

impl Pair {
    fn new(kind: FsKind) -> Self {
        let space = Namespace::new(kind, 0);
        Self {
            space,
            model: Model::new(),
            numbers: BTreeMap::new(),
            next: 0,
        }
    }

    fn find(&self, path: &str) -> Result<Resolved, NtStatus> {
        let parsed = parse(&units(&format!("\\{path}"))).unwrap();
        self.space.resolve(self.space.root(), &parsed)
    }

    fn file(&self, path: &str) -> Option<(NodeId, LinkId)> {
        match self.find(path) {
            Ok(Resolved::Found {
                node,
                link: Some(link),
            }) => Some((node, link)),
            _ => None,
        }
    }

    /// The parent directory of a free name, if both sides agree that it is free.
    fn free(&self, path: &str) -> Option<(NodeId, Vec<u16>)> {
        match self.find(path) {
            Ok(Resolved::Missing { parent, name }) => Some((parent, name)),
            _ => None,
        }
    }

    fn model_allows_new(&self, path: &str) -> bool {
        let parent = parent_of(path).map(key);
        let has_parent = parent.is_none_or(|p| self.model.get(&p).is_some_and(|(_, dir)| *dir));
        has_parent && !self.model.contains_key(&key(path))
    }

    fn create(&mut self, path: &str, directory: bool) {
        let allowed = self.model_allows_new(path);
        let free = self.free(path);
        assert_eq!(free.is_some(), allowed, "create {path}");
        let Some((parent, name)) = free else { return };
        let made = self
            .space
            .create(parent, &name, directory, Bytes::default(), 1)
            .unwrap();
        self.next += 1;
        self.numbers.insert(made.0, self.next);
        self.model.insert(key(path), (self.next, directory));
    }

    fn unlink(&mut self, path: &str) {
        let Some((node, link)) = self.file(path) else {
            assert!(!self.model.contains_key(&key(path)));
            return;
        };
        if self
            .space
            .node(node)
            .unwrap()
            .entries
            .as_ref()
            .is_some_and(|all| !all.is_empty())
        {
            return;
        }
        self.space.unlink(node, link, 2).unwrap();
        self.model.remove(&key(path)).unwrap();
    }

    /// Target directory and name of a rename or link, whether the name is free or not.
    fn target(&self, path: &str) -> Option<(NodeId, Vec<u16>)> {
        let (parent, name) = path.rsplit_once('\\').unwrap_or(("", path));
        let directory = match parent {
            "" => self.space.root(),
            parent => self.file(parent)?.0,
        };
        let is_directory = self.space.node(directory).unwrap().is_directory();
        is_directory.then(|| (directory, units(name)))
    }

    fn rename(&mut self, from: &str, to: &str, replace: Replace) {
        let Some((node, link)) = self.file(from) else {
            return;
        };
        let Some((parent, name)) = self.target(to) else {
            return;
        };
        let result = self.space.rename(node, link, parent, &name, replace, 3);
        let (from, to) = (key(from), key(to));
        let expected = self.model_rename(&from, &to, replace);
        assert_eq!(
            result.is_ok(),
            expected,
            "rename {from} {to} {replace:?} {result:?}"
        );
    }

    fn model_rename(&mut self, from: &str, to: &str, replace: Replace) -> bool {
        let inside = |path: &str, top: &str| path.starts_with(&format!("{top}\\"));
        let (_, directory) = self.model[from];
        if directory && (inside(to, from)) {
            return false;
        }
        if from != to
            && let Some((_, target_dir)) = self.model.get(to).copied()
        {
            let full = self.model.keys().any(|path| inside(path, to));
            let removable = !target_dir || (replace == Replace::Posix && !full);
            if replace == Replace::No || !removable {
                return false;
            }
            self.model.remove(to);
        }
        let moved: Vec<_> = self
            .model
            .iter()
            .filter(|(path, _)| path.as_str() == from || inside(path, from))
            .map(|(path, value)| (path.clone(), *value))
            .collect();
        for (path, _) in &moved {
            self.model.remove(path);
        }
        for (path, value) in moved {
            self.model
                .insert(format!("{to}{}", &path[from.len()..]), value);
        }
        true
    }

    fn link(&mut self, from: &str, to: &str, replace: Replace) {
        let Some((node, _)) = self.file(from) else {
            return;
        };
        let Some((parent, name)) = self.target(to) else {
            return;
        };
        let result = self.space.add_link(node, parent, &name, replace, 4);
        let (number, directory) = self.model[&key(from)];
        let target = self.model.get(&key(to)).copied();
        let same = target.is_some_and(|(other, _)| other == number);
        let blocked = match target {
            Some((_, true)) => true,
            Some(_) => replace == Replace::No,
            None => false,
        };
        // A directory over an empty directory with POSIX semantics fails as a source already.
        let expected = !directory && (same || !blocked || posix_empty(self, to, replace));
        assert_eq!(
            result.is_ok(),
            expected,
            "link {from} {to} {replace:?} {result:?}"
        );
        if expected && !same {
            self.model.insert(key(to), (number, false));
        }
    }

    fn check(&self) {
        let mut seen = Model::new();
        self.walk(self.space.root(), "", &mut seen);
        assert_eq!(seen, self.model);
        let files: BTreeSet<u32> = self.model.values().map(|(number, _)| *number).collect();
        assert_eq!(
            self.space.len(),
            files.len() + 1,
            "files without a name are gone"
        );
    }

    fn walk(&self, directory: NodeId, prefix: &str, seen: &mut Model) {
        let entries = self
            .space
            .node(directory)
            .unwrap()
            .entries
            .as_ref()
            .unwrap();
        for (name, (node, link)) in entries {
            let path = format!("{prefix}{}", text(name.units()));
            let child = self.space.node(*node).unwrap();
            assert_eq!(self.space.link(*node, *link).unwrap().parent, directory);
            assert_eq!(self.space.by_id(child.id), Some(*node));
            let full = key(&text(&self.space.path(*node, Some(*link))));
            assert_eq!(full, format!("\\{path}"), "the path of a link leads back");
            seen.insert(path.clone(), (self.numbers[node], child.is_directory()));
            if child.is_directory() {
                self.walk(*node, &format!("{path}\\"), seen);
            }
        }
    }
}

fn posix_empty(pair: &Pair, to: &str, replace: Replace) -> bool {
    let below = format!("{}\\", key(to));
    let is_dir = pair.model.get(&key(to)).is_some_and(|(_, dir)| *dir);
    replace == Replace::Posix && is_dir && !pair.model.keys().any(|path| path.starts_with(&below))
}

#[test]
fn the_tree_agrees_with_a_map_of_paths() {
    for seed in 1..=40u64 {
        let kind = if seed % 2 == 0 {
            FsKind::Ntfs
        } else {
            FsKind::Refs
        };
        let mut pair = Pair::new(kind);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..400 {
            let (one, two) = (random.path(), random.path());
            let replace = [Replace::No, Replace::Yes, Replace::Posix]
                [usize::try_from(random.below(3)).unwrap()];
            match random.below(8) {
                0 | 1 => pair.create(&one, false),
                2 | 3 => pair.create(&one, true),
                4 => pair.unlink(&one),
                5 | 6 => pair.rename(&one, &two, replace),
                _ => pair.link(&one, &two, replace),
            }
            pair.check();
        }
    }
}

#[test]
fn ids_are_never_shared_and_come_back_only_with_another_sequence() {
    let mut space = Namespace::new(FsKind::Ntfs, 0);
    let root = space.root();
    let mut seen: BTreeSet<FileId> = BTreeSet::new();
    for round in 0..50 {
        let (node, link) = space
            .create(root, &units("f"), false, Bytes::default(), 0)
            .unwrap();
        assert!(seen.insert(space.node(node).unwrap().id), "round {round}");
        space.unlink(node, link, 0).unwrap();
        assert!(space.is_empty());
    }
    let records: BTreeSet<u128> = seen.iter().map(|id| id.0 & 0xffff_ffff_ffff).collect();
    assert_eq!(records.len(), 1, "one record served them all");
}

#[test]
fn an_open_file_outlives_its_name() {
    let mut space = Namespace::new(FsKind::Ntfs, 0);
    let root = space.root();
    let (node, link) = space
        .create(root, &units("f"), false, Bytes::default(), 0)
        .unwrap();
    space.retain(node).unwrap();
    space.unlink(node, link, 0).unwrap();
    assert!(space.node(node).is_ok());
    space.release(node);
    assert_eq!(space.node(node).err(), Some(STATUS_FILE_INVALID));
}

#[test]
fn a_fat_id_changes_with_the_place_and_goes_to_the_next_file() {
    let mut space = Namespace::new(FsKind::Fat, 0);
    let root = space.root();
    let (node, link) = space
        .create(root, &units("f"), false, Bytes::default(), 0)
        .unwrap();
    let before = space.node(node).unwrap().id;
    space
        .rename(node, link, root, &units("g"), Replace::No, 0)
        .unwrap();
    assert_ne!(space.node(node).unwrap().id, before);
    let (other, _) = space
        .create(root, &units("h"), false, Bytes::default(), 0)
        .unwrap();
    assert_eq!(space.node(other).unwrap().id, before);
}
