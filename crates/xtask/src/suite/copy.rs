//! A copy of the tree, for builds at another path and for drivers that are broken on purpose.

use std::path::{Path, PathBuf};

use crate::command;
use crate::driver::Request;
use crate::files;
use crate::packages;
use crate::say::Say;
use crate::trouble::{Outcome, Trouble};

/// A copy of the tree's sources. It keeps its own target folder from run to run.
pub struct Copy {
    /// Its root.
    pub root: PathBuf,
    source: PathBuf,
}

/// What is not copied.
const WITHOUT: &[&str] = &["target", ".git"];

impl Copy {
    /// Makes the copy equal to the tree; a file that is the same already is not touched.
    pub fn new(source: &Path) -> Outcome<Self> {
        Self::at(source, "target/mutants/tree")
    }

    /// The same at another place below the tree, for what runs beside a user of the usual one.
    pub fn at(source: &Path, place: &str) -> Outcome<Self> {
        let copy = Self {
            root: source.join(place),
            source: source.to_owned(),
        };
        copy.restore()?;
        Ok(copy)
    }

    /// How it is built: with a WDK that is named, as `WDKContentRoot` names one. Unless there is a
    /// real one that is the folder which the tree itself made.
    pub fn request(&self) -> Request {
        let mut request = Request::of(&self.root);
        let shaped = self.source.join("target/kernel-kit/wdk");
        request.wdk = request.wdk.or(Some(shaped));
        request
    }

    /// Takes every change away again.
    pub fn restore(&self) -> Outcome<()> {
        mirror(&self.source, &self.root)
    }

    /// Applies a patch; one that does not fit is an error.
    pub fn patch(&self, patch: &Path) -> Outcome<()> {
        let mut apply = command::clean("patch");
        apply.args([
            "--strip=1",
            "--forward",
            "--batch",
            "--no-backup-if-mismatch",
        ]);
        apply
            .arg("--fuzz=2")
            .arg("--reject-file=-")
            .arg("--input")
            .arg(patch);
        command::output(apply.current_dir(&self.root))
            .map(drop)
            .map_err(|error| {
                Trouble::new(format!(
                    "{} does not fit the sources: {error}",
                    patch.display()
                ))
                .next("change the patch as the sources were changed")
            })
    }
}

/// Makes sure that there is something to apply patches with.
pub fn need(say: &mut Say) -> Outcome<()> {
    packages::need(say, "changing a copy of the sources", &["patch"])
}

fn mirror(from: &Path, to: &Path) -> Outcome<()> {
    files::make_folder(to)?;
    let names: Vec<String> = files::names(from)?
        .into_iter()
        .filter(|name| !WITHOUT.contains(&name.as_str()))
        .collect();
    for old in files::names(to)? {
        if names.contains(&old) || WITHOUT.contains(&old.as_str()) {
            continue;
        }
        let path = to.join(&old);
        if path.is_dir() {
            files::remove_folder(&path)?;
        } else {
            std::fs::remove_file(&path).map_err(|e| Trouble::file("remove", &path, &e))?;
        }
    }
    for name in names {
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            mirror(&source, &target)?;
        } else {
            files::write(&target, files::bytes(&source)?)?;
        }
    }
    Ok(())
}
