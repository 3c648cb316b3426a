//! Pages of the documentation that are made from sources and runs.

use std::path::{Path, PathBuf};

/// A page of `docs`, from this crate or from the workspace's root.
///
/// # Panics
/// Where there is no documentation.
pub fn path(page: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.ancestors().find(|folder| folder.join("docs").is_dir());
    root.expect("the documentation").join("docs").join(page)
}

/// What is wrong where a page is not this text; it is written where that is asked for
/// (`SILOSCAN_WRITE_DOCS=1`).
///
/// # Panics
/// Where the page cannot be written.
pub fn differs(page: &str, text: &str) -> Option<String> {
    let path = path(page);
    if std::env::var_os("SILOSCAN_WRITE_DOCS").is_some() {
        std::fs::write(&path, text).expect("the page can be written");
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    (there != text).then(|| format!("docs/{page}: run with SILOSCAN_WRITE_DOCS=1"))
}
