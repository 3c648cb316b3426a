//! What a scan engine is to the service: something that looks at bytes and names what it found.
//!
//! An engine is one whole set of signatures. A new set is a new engine, made beside the running one
//! and put in its place in one step, so a verdict is always earned under exactly one rule set.

#[cfg(windows)]
mod amsi;
mod builtin;
mod clamd;
mod folder;
mod yara;

use std::fmt;
use std::path::Path;
use std::time::Duration;

#[cfg(windows)]
pub use amsi::WithAmsi;
pub use builtin::{BUILTIN_ORIGIN, BUILTIN_RULES, EICAR_RULE, eicar_test_file};
pub use clamd::{CLAMD_ORIGIN, WithClamd};
pub use folder::{FolderError, RULE_FILES_MAX, RULE_FOLDER_DEPTH_MAX, RuleFolder, RuleSource};
pub use yara::{BrokenRules, Compiled, Yara, YaraEngine, compile};

/// Names a rule set: equal digests give equal verdicts for equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// What an engine found in the bytes it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No rule matched.
    Clean,
    /// The named rule matched first, in the order in which the rules were compiled.
    Infected {
        /// Name of the rule.
        rule: String,
        /// Where the rule came from: the name of its file below the rules folder.
        origin: String,
    },
}

/// Why an engine could not say what the bytes are. Never to be taken for "clean".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine did not finish within the time that the caller allowed.
    #[error("the scan took longer than it was allowed")]
    TimedOut,
    /// The engine failed on these bytes.
    #[error("the engine failed: {0}")]
    Failed(String),
    /// The engine cannot scan anything just now, whatever the bytes are.
    #[error("{0}")]
    Unavailable(String),
}

/// One set of signatures in the service's own process, shared by all scanning threads: where there
/// are no workers.
pub trait Engine: Send + Sync {
    /// The digest of this rule set.
    fn digest(&self) -> Digest;

    /// A scanner for one thread, to be used again and again. Making one may be expensive.
    fn scanner(&self) -> Box<dyn Scanner + '_>;
}

/// Scans for one thread. An engine failure leaves it usable; after a panic it must be dropped.
pub trait Scanner {
    /// Scans `bytes`. With `limit` the scan ends with [`EngineError::TimedOut`] soon after that
    /// time has passed (a second or so, engines measure coarsely); without, it runs to its end.
    ///
    /// # Errors
    /// [`EngineError`] when no verdict could be earned.
    fn scan(&mut self, bytes: &[u8], limit: Option<Duration>) -> Result<Finding, EngineError>;
}

/// What a scan service is built around: [`crate::program::main`] takes one.
///
/// Signatures are read and checked in the service, which is trusted and sees no file. What comes of
/// that goes as bytes to each worker process, where the engine is made of it and meets the files.
pub trait EngineKind: Send + Sync {
    /// Reads the signatures in `folder`, or those that are built in, and makes one piece of them.
    /// Called again when [`EngineKind::look`] has changed.
    fn pack(&self, folder: Option<&Path>) -> Packed;

    /// Makes the engine of what [`EngineKind::pack`] made: once, in each worker process.
    ///
    /// # Errors
    /// Why that cannot be, in one sentence with the next step.
    fn unpack(&self, packed: &[u8]) -> Result<Box<dyn Scanner>, String>;

    /// Something that differs where the signatures may do so, and costs little: the names, sizes
    /// and change times of the files in the folder. An engine that has them from elsewhere adds
    /// that.
    fn look(&self, folder: Option<&Path>) -> String {
        folder.map(folder::look).unwrap_or_default()
    }
}

/// Signatures as they go to the workers.
pub struct Packed {
    /// Names the set. Two sets that may give different verdicts have different digests.
    pub digest: Digest,
    /// How many signatures there are.
    pub rules: usize,
    /// Whether a scan takes a processor for all of its time. False for an engine that has another
    /// program look: its scans are not kept from running beside each other.
    pub computes: bool,
    /// What [`EngineKind::unpack`] takes, at most 2 GiB.
    pub bytes: Vec<u8>,
    /// What was left out and why: one sentence each, with file and line where there is one.
    pub problems: Vec<String>,
}
