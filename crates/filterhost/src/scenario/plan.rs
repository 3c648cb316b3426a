//! A scenario as it is played.

use std::path::PathBuf;

use super::keys::Deed;
use crate::registry::Value;
use crate::status::NtStatus;
use crate::volume::FsKind;

/// Everything that a scenario file says; made by [`Scenario::load`] or [`Scenario::parse`].
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(super) name: String,
    /// What images and imported folders are relative to.
    pub(super) folder: Option<PathBuf>,
    pub(super) machine: MachinePlan,
    pub(super) driver: DriverPlan,
    pub(super) volumes: Vec<VolumePlan>,
    pub(super) files: Vec<FilePlan>,
    pub(super) containers: Vec<ContainerPlan>,
    pub(super) filters: Vec<FilterPlan>,
    /// Names, and the containers that they are in.
    pub(super) processes: Vec<(String, Option<usize>)>,
    pub(super) threads: Vec<ThreadPlan>,
    pub(super) steps: Vec<Step>,
}

impl Scenario {
    /// Its name: the file's, or that of one of the host's own.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seed that it asks for.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.machine.seed
    }

    /// How many steps it has.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

#[derive(Clone, Debug)]
pub(super) struct MachinePlan {
    pub(super) build: u32,
    pub(super) seed: Option<u64>,
    pub(super) special_pool: bool,
    pub(super) without_rules: Vec<&'static str>,
}

impl Default for MachinePlan {
    fn default() -> Self {
        Self {
            build: 20348,
            seed: None,
            special_pool: false,
            without_rules: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct DriverPlan {
    pub(super) service: Option<String>,
    pub(super) altitude: Option<String>,
    pub(super) values: Vec<(String, String, Value)>,
}

#[derive(Clone, Debug)]
pub(super) struct VolumePlan {
    pub(super) drive: char,
    pub(super) kind: FsKind,
    pub(super) read_only: bool,
    pub(super) dax: bool,
    pub(super) late: bool,
    pub(super) import: Option<PathBuf>,
}

impl VolumePlan {
    pub(super) fn new(drive: char) -> Self {
        Self {
            drive,
            kind: FsKind::Ntfs,
            read_only: false,
            dax: false,
            late: false,
            import: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct FilePlan {
    pub(super) volume: usize,
    pub(super) path: String,
    pub(super) data: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct ContainerPlan {
    pub(super) name: String,
    pub(super) layers: Vec<(usize, String)>,
}

#[derive(Clone, Debug)]
pub(super) struct FilterPlan {
    pub(super) kind: FilterKind,
    pub(super) altitude: String,
    pub(super) drive: Option<char>,
}

/// One of the host's own filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnFilter {
    Antivirus,
    Projected,
    Reissue,
}

#[derive(Clone, Debug)]
pub(super) enum FilterKind {
    Image(PathBuf),
    Own(OwnFilter),
}

#[derive(Clone, Debug)]
pub(super) struct ThreadPlan {
    pub(super) name: String,
    pub(super) process: usize,
    /// Numbers of its steps, in order.
    pub(super) steps: Vec<usize>,
}

/// How a step has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Any,
    Status(NtStatus),
}

/// One step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) deed: &'static Deed,
    /// The number of the step that has to be over.
    pub(super) after: Option<usize>,
    pub(super) want: Want,
    pub(super) path: String,
    pub(super) to: String,
    /// The name of what it makes.
    pub(super) makes: Option<String>,
    /// The name of the file, view, port or program that it uses; for `connect` the port's own.
    pub(super) uses: String,
    pub(super) transaction: Option<String>,
    pub(super) access: Vec<Access>,
    pub(super) disposition: u32,
    pub(super) options: Vec<OpenOption>,
    pub(super) share: u16,
    pub(super) at: u64,
    pub(super) length: Option<u64>,
    pub(super) attributes: u32,
    pub(super) class: i32,
    pub(super) code: u32,
    pub(super) room: usize,
    pub(super) milliseconds: Option<u64>,
    pub(super) replace: bool,
    pub(super) exclusive: bool,
    pub(super) protection: Protection,
    pub(super) data: Vec<u8>,
    pub(super) expected: Option<Vec<u8>>,
    pub(super) names: Option<Vec<String>>,
    pub(super) volume: usize,
    pub(super) instance: Option<String>,
    pub(super) altitude: Option<String>,
    pub(super) nth: u64,
    pub(super) function: String,
    pub(super) reply_status: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    Execute,
    Delete,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenOption {
    Directory,
    File,
    Unbuffered,
    Asynchronous,
    DeleteOnClose,
    OpenReparsePoint,
    Kernel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    Read,
    Write,
    Copy,
    Image,
}
