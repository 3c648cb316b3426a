//! What the compiler needs besides itself, kept in `target/kernel-kit` of the tree that is built:
//! a folder in the shape of the WDK, a wdk-build that runs on this host, a lock file of its own.
//! Its place below the tree never changes, since the compiler's hashes hold relative paths.

pub mod lock;
pub mod wdk;
pub mod wdk_build;

use std::path::{Path, PathBuf};

/// The folders of the kit.
#[derive(Clone, Debug)]
pub struct Kit {
    /// `target/kernel-kit` of the tree.
    pub folder: PathBuf,
}

impl Kit {
    /// The kit of the tree at `root`.
    pub fn of(root: &Path) -> Self {
        Self {
            folder: root.join("target/kernel-kit"),
        }
    }

    /// The patched wdk-build.
    pub fn wdk_build(&self) -> PathBuf {
        self.folder.join("wdk-build")
    }

    /// The lock file that the build uses in place of the committed one.
    pub fn lock(&self) -> PathBuf {
        self.folder.join("Cargo.lock")
    }

    /// This program as Cargo runs it in place of the compiler; see `wrapper.rs`.
    pub fn compiler(&self) -> PathBuf {
        self.folder.join("compiler")
    }

    /// Points to the target folder of the running build; see `wrapper.rs`.
    pub fn out(&self) -> PathBuf {
        self.folder.join("out")
    }
}
