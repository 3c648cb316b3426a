//! House rules that no compiler checks: sizes, headers, where `unsafe` may be, words, edges between
//! crates. `tests/tidy.toml` holds the lists; each rule has a test that shows it failing.

mod edges;
mod names;
mod rules;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files;
use crate::suite::Found;
use crate::trouble::{Outcome, Trouble};

/// `tests/tidy.toml`.
pub struct Lists {
    /// Files that may hold `unsafe`.
    pub unsafe_files: Vec<String>,
    /// Word to what to write instead.
    pub banned: Vec<(String, String)>,
    /// `user -> used` that are allowed.
    pub edges: Vec<String>,
}

/// Checks every Rust file of the tree and the edges between its crates.
pub fn check(root: &Path) -> Outcome<Found> {
    let lists = lists(&files::read(&root.join("tests/tidy.toml"))?)?;
    let mut found = Found::default();
    let mut sources = Vec::new();
    for folder in ["src", "tests", "crates", "fuzz", "benches"] {
        rust_files(&root.join(folder), &mut sources)?;
    }
    sources.push(root.join("build.rs"));
    for path in &sources {
        let name = path
            .strip_prefix(root)
            .unwrap_or(path)
            .to_string_lossy()
            .into_owned();
        let broken = rules::broken(&name, &files::read(path)?, &lists);
        found.passed += usize::from(broken.is_empty());
        found.failed.extend(broken);
    }
    for listed in &lists.unsafe_files {
        let there = root.join(listed).is_file();
        found.check(there, || {
            format!("tests/tidy.toml lists {listed}, which is not there")
        });
    }
    found.failed.extend(edges::check(root, &lists)?);
    let mut taken = BTreeSet::new();
    for path in sources
        .iter()
        .filter(|path| path.starts_with(root.join("src")))
    {
        taken.extend(names::in_use(&files::read(path)?));
    }
    let list = files::read(&root.join("tests/wdk-names.txt"))?;
    found.failed.extend(names::compare(&taken, &list));
    found.about = format!("{} files keep the house rules", sources.len());
    Ok(found)
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) -> Outcome<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for name in files::names(folder)? {
        let path = folder.join(&name);
        if path.is_dir() && name != "target" {
            rust_files(&path, into)?;
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
    Ok(())
}

fn lists(text: &str) -> Outcome<Lists> {
    let bad = |why: String| Trouble::new(format!("tests/tidy.toml: {why}"));
    let table: Value = toml::from_str(text).map_err(|e| bad(e.to_string()))?;
    let texts = |name: &str| {
        let array = table[name]
            .as_array()
            .ok_or_else(|| bad(format!("no list {name}")))?;
        Ok(array
            .iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect::<Vec<_>>())
    };
    let banned = table["banned"]
        .as_object()
        .ok_or_else(|| bad("no table banned".to_owned()))?;
    let banned = banned
        .iter()
        .filter_map(|(word, instead)| Some((word.clone(), instead.as_str()?.to_owned())))
        .collect();
    Ok(Lists {
        unsafe_files: texts("unsafe_files")?,
        banned,
        edges: texts("edges")?,
    })
}
