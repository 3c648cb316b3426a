//! The table of keys.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Configuration;

/// A value of the file that fits its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A name, an address.
    Text(String),
    /// The path of a file or folder; one that is relative begins at the configuration's folder.
    Path(PathBuf),
    /// An address and a port.
    Address(SocketAddr),
    /// Paths, each as above.
    Paths(Vec<PathBuf>),
    /// A number in its bounds.
    Number(u64),
    /// On or off.
    Switch(bool),
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text that is not empty; there is none without the key.
    Text,
    /// A path that is not empty; there is none without the key.
    Path,
    /// An address and a port; there is none without the key.
    Address,
    /// A list of paths, none of them empty; an empty one without the key.
    Paths,
    /// A whole number.
    Number {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// Without the key.
        default: u64,
    },
    /// `true` or `false`; `false` without the key.
    Switch,
}

/// What can be configured.
pub struct Key {
    /// The table in the file that it stands in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether a change takes effect in a running service.
    pub live: bool,
    /// What it does, for the reference.
    pub about: &'static str,
    /// Puts a setting of its kind in, or none where the key can be absent.
    pub(crate) set: fn(&mut Configuration, Option<Setting>),
    /// What a configuration says of it.
    pub(crate) get: fn(&Configuration) -> Option<Setting>,
}

impl Kind {
    /// What holds without the key.
    #[must_use]
    pub fn default(self) -> Option<Setting> {
        match self {
            Self::Text | Self::Path | Self::Address => None,
            Self::Paths => Some(Setting::Paths(Vec::new())),
            Self::Number { default, .. } => Some(Setting::Number(default)),
            Self::Switch => Some(Setting::Switch(false)),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

/// Ways in and out of one field of [`Configuration`], by its kind.
macro_rules! field {
    (path $field:ident) => {
        field!(absent Path $field)
    };
    (address $field:ident) => {
        field!(absent Address $field)
    };
    (text $field:ident) => {
        field!(absent Text $field)
    };
    (absent $kind:ident $field:ident) => {
        (
            |all, value| {
                all.$field = match value {
                    Some(Setting::$kind(value)) => Some(value),
                    _ => None,
                }
            },
            |all| all.$field.clone().map(Setting::$kind),
        )
    };
    (paths $field:ident) => {
        (
            |all, value| {
                if let Some(Setting::Paths(paths)) = value {
                    all.$field = paths;
                }
            },
            |all| Some(Setting::Paths(all.$field.clone())),
        )
    };
    (switch $field:ident) => {
        (
            |all, value| {
                if let Some(Setting::Switch(on)) = value {
                    all.$field = on;
                }
            },
            |all| Some(Setting::Switch(all.$field)),
        )
    };
    (number $field:ident) => {
        (
            |all, value| {
                if let Some(Setting::Number(number)) = value {
                    // The bounds of the key are within those of the type.
                    all.$field = number.try_into().unwrap_or(all.$field);
                }
            },
            |all| u64::try_from(all.$field).ok().map(Setting::Number),
        )
    };
}

type Ways = (
    fn(&mut Configuration, Option<Setting>),
    fn(&Configuration) -> Option<Setting>,
);

impl Key {
    /// What it is set to; nothing where it is left out.
    #[must_use]
    pub fn setting(&self, all: &Configuration) -> Option<Setting> {
        (self.get)(all)
    }
}

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    live: bool,
    ways: Ways,
    about: &'static str,
) -> Key {
    Key {
        section,
        name,
        kind,
        live,
        about,
        set: ways.0,
        get: ways.1,
    }
}

const fn number(min: u64, max: u64, default: u64) -> Kind {
    Kind::Number { min, max, default }
}

const LIVE: bool = true;
const AT_START: bool = false;
/// A tebibyte, in mebibytes: more than a file or a host's memory for scans is.
const MIB_MAX: u64 = 1 << 20;

/// Every key, in the order of the reference.
pub const KEYS: &[Key] = &[
    key(
        "engine",
        "rules",
        Kind::Path,
        LIVE,
        field!(path rules),
        "Folder with YARA rules (`.yar`, `.yara`), read with its subfolders and followed. The \
         built-in rules are always used",
    ),
    key(
        "engine",
        "clamd",
        Kind::Text,
        AT_START,
        field!(text clamd),
        "ClamAV's daemon, asked about what the rules do not find: the path of its socket, or \
         `HOST:PORT`",
    ),
    key(
        "engine",
        "amsi",
        Kind::Switch,
        AT_START,
        field!(switch amsi),
        "Windows only: ask the antivirus that is registered with Windows",
    ),
    key(
        "scan",
        "threads",
        number(0, 256, 0),
        AT_START,
        field!(number threads),
        "Threads that scan, each with a worker process; 0 for one a processor, 2 to 64",
    ),
    key(
        "scan",
        "max_file_mib",
        number(1, MIB_MAX, 256),
        LIVE,
        field!(number max_file_mib),
        "A larger file is answered \"unscannable\", never \"clean\"",
    ),
    key(
        "scan",
        "memory_mib",
        number(1, MIB_MAX, 1024),
        LIVE,
        field!(number memory_mib),
        "Copies of files in memory at one time, all threads together; a scan waits for its share. \
         At least `scan.max_file_mib`",
    ),
    key(
        "scan",
        "worker_memory_mib",
        number(64, MIB_MAX, 1024),
        LIVE,
        field!(number worker_memory_mib),
        "Memory that one worker may take for its engine, the copy of its file not counted. A \
         change starts new workers",
    ),
    key(
        "scan",
        "worker_strikes",
        number(0, 1000, 2),
        LIVE,
        field!(number worker_strikes),
        "A content that ended so many workers is not scanned again until the next signatures; 0 \
         scans it each time. A change starts new workers",
    ),
    key(
        "verdicts",
        "file",
        Kind::Path,
        AT_START,
        field!(path verdicts),
        "Verdicts are kept in it, so that no content is scanned twice under the same rules. Not \
         together with `engine.amsi`",
    ),
    key(
        "verdicts",
        "fleet",
        Kind::Text,
        AT_START,
        field!(text fleet),
        "Redis by which hosts share them: `redis://[[user]:password@]host[:port][/database]`. \
         Wants `verdicts.file` and `verdicts.fleet_key`",
    ),
    key(
        "verdicts",
        "fleet_key",
        Kind::Path,
        AT_START,
        field!(path fleet_key),
        "The key that all hosts of the fleet have: 64 hexadecimal digits, in a file of the \
         service's user alone",
    ),
    key(
        "exclusions",
        "file",
        Kind::Path,
        LIVE,
        field!(path exclusions),
        "What is not to be scanned or denied, one entry a line, followed",
    ),
    key(
        "detections",
        "quarantine",
        Kind::Path,
        AT_START,
        field!(path quarantine),
        "Folder to which infected files that containers wrote are moved, encrypted. Without it \
         they stay, and are denied",
    ),
    key(
        "detections",
        "audit",
        Kind::Switch,
        LIVE,
        field!(switch audit),
        "Report what would be denied, deny nothing and move nothing",
    ),
    key(
        "runtime",
        "docker",
        Kind::Path,
        AT_START,
        field!(path runtime_store),
        "Docker's data folder (`C:\\ProgramData\\docker`), which tells images and layers",
    ),
    key(
        "events",
        "file",
        Kind::Path,
        AT_START,
        field!(path events),
        "Events are appended to it, one JSON object a line; `-` is the standard output",
    ),
    key(
        "metrics",
        "listen",
        Kind::Address,
        AT_START,
        field!(address metrics),
        "Address and port, such as `127.0.0.1:9753`: `/metrics` for Prometheus, `/status` for \
         `siloscan status` and `siloscan top`",
    ),
    key(
        "metrics",
        "anywhere",
        Kind::Switch,
        AT_START,
        field!(switch metrics_anywhere),
        "Lets `metrics.listen` name an address that other machines reach. Whoever reaches it can \
         ask, and is told what is excluded",
    ),
    key(
        "proactive",
        "enabled",
        Kind::Switch,
        LIVE,
        field!(switch proactive),
        "Scan package layers before containers start from them: those of `runtime.docker` and of \
         the keys below",
    ),
    key(
        "proactive",
        "containerd",
        Kind::Path,
        LIVE,
        field!(path containerd),
        "containerd's data folder (`C:\\ProgramData\\containerd\\root`), which has its layers",
    ),
    key(
        "proactive",
        "folders",
        Kind::Paths,
        LIVE,
        field!(paths layer_folders),
        "Folders with package files that no runtime tells of",
    ),
    key(
        "proactive",
        "helper",
        Kind::Path,
        LIVE,
        field!(path helper),
        "The program `siloscan`, which opens the files; beside `siloscand` without it",
    ),
    key(
        "proactive",
        "files_per_second",
        number(1, 100_000, 200),
        LIVE,
        field!(number files_per_second),
        "Files that are opened in a second, all helpers together",
    ),
    key(
        "proactive",
        "mib_per_second",
        number(1, MIB_MAX, 64),
        LIVE,
        field!(number mib_per_second),
        "Sizes of the files that are opened in a second, in MiB, all helpers together",
    ),
    key(
        "proactive",
        "concurrency",
        number(1, 16, 1),
        LIVE,
        field!(number concurrency),
        "Helpers at one time. Each opens one file at a time",
    ),
    key(
        "proactive",
        "spread_minutes",
        number(0, 1440, 30),
        LIVE,
        field!(number spread_minutes),
        "After new signatures hosts begin within so many minutes, each at the moment that its \
         name gives",
    ),
    key(
        "proactive",
        "load_percent_max",
        number(1, 100, 70),
        LIVE,
        field!(number load_percent_max),
        "No file is opened while the host's processors are busier, what these scans cost \
         included; 100 is any load",
    ),
];
