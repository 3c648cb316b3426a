//! Looks into what holds files but is not running: folders, OCI image layouts, archives of
//! `docker save`, and the VHDX of a stopped container.
//!
//! A [`Source`] finds files, of whichever container format, and hands each with a reader to one
//! loop, [`Scanner`], which bounds memory and asks the [`Engine`]. Nothing is unpacked to disk.
//! Everything that is read here may be hostile or damaged: what cannot be read becomes a
//! [`Problem`] with a name, and the rest is still scanned.

mod disk;
mod folder;
mod image;
mod layer;
mod limits;
mod meter;
mod pack;
mod package;
mod placeholder;
mod report;
mod sarif;
mod scanner;
mod source;
mod table;
mod tar;

pub use limits::Limits;
pub use package::{Hit, Layers, Miss};
pub use placeholder::{Bytes, LayerSum, Placeholder, Seen, Target, Unread};
pub use report::{Finding, Kind, LeftOut, Place, Problem, ProblemKind, Report, Unseen};
pub use sarif::sarif;
pub use scanner::{Engine, Match, Scanner, Watch};
pub use source::{Found, Sink, Source};
pub use table::{shown, table};
pub use uuid::Uuid;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use package::Packages;

/// What to scan, and how far to go.
#[derive(Clone, Debug)]
pub struct Order {
    /// A folder or a file.
    pub path: PathBuf,
    /// For a differencing VHDX: its parent, the parent's parent, and so on.
    pub parents: Vec<PathBuf>,
    /// Where the bytes of a stopped container's placeholders lie.
    pub layers: Layers,
    /// How far to go.
    pub limits: Limits,
}

/// Scans what `order` names. This does not fail: what could not be read is in the report.
pub fn scan(order: &Order, engine: &mut dyn Engine, watch: &mut dyn Watch) -> Report {
    let mut report = Report::new(&order.path);
    let mut source: Box<dyn Source> = match kind_of(&order.path) {
        Ok(Kind::OciLayout) => Box::new(image::oci(&order.path, order.limits)),
        Ok(Kind::Archive) => Box::new(image::archive(&order.path, order.limits)),
        Ok(Kind::Vhdx) => Box::new(disk::Disk::new(&order.path, &order.parents, order.limits)),
        Ok(_) => Box::new(folder::Folder::new(&order.path)),
        Err(cause) => {
            report.problem(Problem::io(Place::of(""), &cause));
            return report;
        }
    };
    report.kind = source.kind();
    let packages = Packages::new(&order.layers, &mut |problem| report.problem(problem));
    let scanner = Scanner::new(engine, watch, order.limits, &mut report);
    source.walk(&mut scanner.with(packages, order.layers.scan));
    // A file can begin like an archive and be something else as well.
    if report.kind == Kind::Archive && report.findings.is_empty() {
        whole(order, engine, watch, &mut report);
    }
    report
}

/// Scans an archive in which nothing was found as the one file that it is, if files may be so
/// large.
fn whole(order: &Order, engine: &mut dyn Engine, watch: &mut dyn Watch, report: &mut Report) {
    let bytes = fs::metadata(&order.path).map_or(u64::MAX, |about| about.len());
    if bytes <= order.limits.file_bytes {
        let mut scanner = Scanner::new(engine, watch, order.limits, report);
        folder::Folder::new(&order.path).walk(&mut scanner);
    }
}

/// What `path` is, by its first bytes and never by its name.
fn kind_of(path: &Path) -> std::io::Result<Kind> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        let is_layout = path.join("oci-layout").is_file()
            || (path.join("index.json").is_file() && path.join("blobs").is_dir());
        return Ok(if is_layout {
            Kind::OciLayout
        } else {
            Kind::Folder
        });
    }
    if !about.is_file() {
        return Err(std::io::Error::other("it is neither a file nor a folder"));
    }
    let mut first = Vec::new();
    File::open(path)?
        .take(pack::SNIFF_BYTES)
        .read_to_end(&mut first)?;
    Ok(if first.starts_with(disk::VHDX_MAGIC) {
        Kind::Vhdx
    } else if pack::packing_of(&first).is_some() {
        Kind::Archive
    } else {
        Kind::File
    })
}
