//! What finds files, and what takes them.

use std::io::Read;

use crate::placeholder::Seen;
use crate::report::{Kind, Place, Problem, Unseen};

/// One file that a source found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub place: Place,
    /// Its size in bytes, as its container says; the reader may end earlier or later.
    pub bytes: u64,
}

/// One kind of input.
pub trait Source {
    /// What it is.
    fn kind(&self) -> Kind;

    /// Hands every file in it to `sink`, and every reason for which there may be more.
    fn walk(&mut self, sink: &mut dyn Sink);
}

/// Takes what a source finds.
pub trait Sink {
    /// A file. What is not read of `reader` is the source's to skip.
    fn file(&mut self, found: &Found, reader: &mut dyn Read);

    /// Something that was not scanned, or that is not what it should be.
    fn problem(&mut self, problem: Problem);

    /// A file whose bytes lie in a layer.
    fn placeholder(&mut self, seen: Seen);

    /// A file or folder of a layer that the container deleted.
    fn deletion(&mut self);

    /// So much is there to be gone through, in the source's own unit.
    fn total(&mut self, steps: u64);

    /// So much more has been gone through.
    fn moved(&mut self, steps: u64);

    /// Whether and where each finding in `layer` is hidden: `unseen` is asked with its path.
    fn judge(&mut self, layer: &str, unseen: &mut dyn FnMut(&str) -> Unseen);
}
