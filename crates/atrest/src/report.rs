//! What a scan says in the end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::limits::{IMAGE_LAYERS, REPORT_BYTES, REPORT_ROWS};
use crate::meter::Refused;
use crate::package::{Hit, Miss};
use crate::placeholder::{Bytes, LayerSum, Placeholder, Seen, Unread};

/// What was scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One file.
    File,
    /// A folder and all below it.
    Folder,
    /// A folder in the layout that the OCI image specification describes.
    OciLayout,
    /// A tar archive: of `docker save`, of an OCI layout, or of a file system.
    Archive,
    /// A virtual disk.
    Vhdx,
}

/// Where a file lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The layer, by its digest or name, or the volume of a disk. None in a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// The path in it, as its container spells it. Empty for the whole.
    pub path: String,
}

impl Place {
    /// A place in a folder.
    #[must_use]
    pub fn of(path: impl Into<String>) -> Self {
        Self {
            within: None,
            path: path.into(),
        }
    }

    /// A place in a layer or volume.
    #[must_use]
    pub fn within(within: &str, path: impl Into<String>) -> Self {
        Self {
            within: Some(within.to_owned()),
            path: path.into(),
        }
    }
}

/// Whether images show a file of one of their layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// The images that have the layer.
    pub images: Vec<String>,
    /// Those of them in which a layer above hides the file.
    pub hidden_in: Vec<String>,
    /// Images that have the layer and are not named.
    pub more_images: u64,
    /// Whether it is hidden in all of them, the unnamed ones too.
    pub hidden: bool,
}

/// A file in which a rule matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    #[serde(flatten)]
    pub place: Place,
    /// The rule.
    pub rule: String,
    /// The file that the rule came from.
    pub origin: String,
    /// Whether layers above hide the file in every image that has its layer.
    pub hidden: bool,
    /// The images that have the layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// The images in which the file is hidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hidden_in: Vec<String>,
    /// Images that have the layer and are not named here.
    #[serde(skip_serializing_if = "is_none")]
    pub more_images: u64,
}

/// The names of what can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The system would not let it be read.
    Unreadable,
    /// It ends before it should; what was there was scanned.
    Truncated,
    /// It is not what its format says it must be; what could be read was scanned.
    Damaged,
    /// Its digest or size is not the one under which it is known; it was scanned all the same.
    WrongDigest,
    /// Something that is referred to is not there.
    Missing,
    /// The file is larger than files may be, and was not scanned.
    TooLarge,
    /// A limit other than that was reached: what lies beyond was not scanned.
    Limit,
    /// It is in a form that cannot be read here.
    Unsupported,
    /// The engine gave no verdict.
    Engine,
    /// A rule file could not be used.
    Rules,
}

impl ProblemKind {
    /// The name that a report has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Truncated => "truncated",
            Self::Damaged => "damaged",
            Self::WrongDigest => "wrong-digest",
            Self::Missing => "missing",
            Self::TooLarge => "too-large",
            Self::Limit => "limit",
            Self::Unsupported => "unsupported",
            Self::Engine => "engine",
            Self::Rules => "rules",
        }
    }
}

/// Something that was not scanned as it should have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its name.
    pub kind: ProblemKind,
    /// What it is about.
    #[serde(flatten)]
    pub place: Place,
    /// A sentence on it.
    pub text: String,
}

impl Problem {
    /// A problem by its name.
    #[must_use]
    pub fn new(kind: ProblemKind, place: Place, text: impl Into<String>) -> Self {
        Self {
            kind,
            place,
            text: text.into(),
        }
    }

    /// What an error of reading is called.
    #[must_use]
    pub fn io(place: Place, cause: &io::Error) -> Self {
        let kind = if let Some(refused) = Refused::of(cause) {
            refused.kind
        } else {
            match cause.kind() {
                io::ErrorKind::UnexpectedEof => ProblemKind::Truncated,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                    ProblemKind::Damaged
                }
                io::ErrorKind::NotFound => ProblemKind::Missing,
                _ => ProblemKind::Unreadable,
            }
        };
        Self::new(kind, place, cause.to_string())
    }
}

/// Rows that a report would not hold any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Findings.
    pub findings: u64,
    /// Problems.
    pub problems: u64,
    /// Placeholders.
    pub placeholders: u64,
    /// Placeholders of layers that are not summed.
    pub of_layers: u64,
}

/// What a scan found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was scanned, as it was named.
    pub target: String,
    /// What it is.
    pub kind: Kind,
    /// Files that were scanned, in part at least.
    pub files: u64,
    /// Bytes that the engine looked at.
    pub bytes: u64,
    /// Files in which a rule matched.
    pub findings: Vec<Finding>,
    /// What was not scanned, or not whole.
    pub problems: Vec<Problem>,
    /// Files whose bytes lie in a layer.
    pub placeholders: Vec<Placeholder>,
    /// Placeholders by the GUID of the layer.
    pub layers: BTreeMap<String, LayerSum>,
    /// Placeholders whose layer could not be read, by the reason.
    pub unread: BTreeMap<Unread, u64>,
    /// Files and folders of layers that the container deleted.
    pub deletions: u64,
    /// What was too much for this report.
    pub left_out: LeftOut,
    /// Bytes of texts in findings, problems and placeholders.
    #[serde(skip)]
    text_bytes: [usize; 3],
}

impl Place {
    fn text_bytes(&self) -> usize {
        self.within.as_ref().map_or(0, String::len) + self.path.len()
    }
}

impl Report {
    /// An empty report on `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            target: path.display().to_string(),
            kind: Kind::File,
            files: 0,
            bytes: 0,
            findings: Vec::new(),
            problems: Vec::new(),
            placeholders: Vec::new(),
            layers: BTreeMap::new(),
            unread: BTreeMap::new(),
            deletions: 0,
            left_out: LeftOut::default(),
            text_bytes: [0; 3],
        }
    }

    /// 0: all was scanned and nothing found. 1: something was found. 2: nothing was found, but
    /// not all was scanned.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if !self.findings.is_empty() {
            1
        } else if !self.problems.is_empty() {
            2
        } else {
            0
        }
    }

    /// Adds a problem.
    pub fn problem(&mut self, problem: Problem) {
        let bytes = problem.place.text_bytes() + problem.text.len();
        let [_, kept, _] = &mut self.text_bytes;
        let left_out = &mut self.left_out.problems;
        keep(&mut self.problems, problem, (bytes, kept), left_out);
    }

    /// Adds a finding.
    pub fn finding(&mut self, finding: Finding) {
        let images = finding.images.iter().chain(&finding.hidden_in);
        let images: usize = images.map(String::len).sum();
        let rule = finding.rule.len() + finding.origin.len();
        let bytes = finding.place.text_bytes() + rule + images;
        let [kept, _, _] = &mut self.text_bytes;
        let left_out = &mut self.left_out.findings;
        keep(&mut self.findings, finding, (bytes, kept), left_out);
    }

    /// Adds a placeholder, and where the file that it stands for was found.
    pub fn placeholder(&mut self, seen: Seen, found: &Result<Hit, Miss>) {
        match &seen.target {
            Ok(target) => self.sum(target.layer.to_string(), found),
            Err(unread) => *self.unread.entry(*unread).or_default() += 1,
        }
        let bytes = match found {
            Ok(hit) => Bytes::At(hit.file.display().to_string()),
            Err(miss) => miss.into(),
        };
        let row = Placeholder::new(seen, bytes);
        let at = match &row.bytes {
            Some(Bytes::At(file)) => file.len(),
            _ => 0,
        };
        let bytes = row.place.text_bytes() + row.name.as_ref().map_or(0, String::len) + at;
        let [_, _, kept] = &mut self.text_bytes;
        let left_out = &mut self.left_out.placeholders;
        keep(&mut self.placeholders, row, (bytes, kept), left_out);
    }

    fn sum(&mut self, layer: String, found: &Result<Hit, Miss>) {
        if self.layers.len() >= IMAGE_LAYERS && !self.layers.contains_key(&layer) {
            self.left_out.of_layers += 1;
            return;
        }
        let sum = self.layers.entry(layer).or_default();
        sum.placeholders += 1;
        match found {
            Ok(hit) => {
                sum.found += 1;
                sum.folders.insert(hit.folder.display().to_string());
            }
            Err(Miss::NotThere) => sum.not_there += 1,
            Err(_) => {}
        }
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Keeps a row whose texts have so many bytes, if there is room; the first one always, since it
/// decides the exit code.
fn keep<T>(rows: &mut Vec<T>, row: T, (bytes, kept): (usize, &mut usize), left_out: &mut u64) {
    let all = kept.saturating_add(bytes);
    if rows.is_empty() || (rows.len() < REPORT_ROWS && all <= REPORT_BYTES) {
        *kept = all;
        rows.push(row);
    } else {
        *left_out = left_out.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_counted_when_there_is_no_room_for_them() {
        let mut report = Report::new(Path::new("disk"));
        let problem = |bytes: usize| {
            let place = Place::of("p".repeat(bytes));
            Problem::new(ProblemKind::Missing, place, "")
        };
        report.problem(problem(REPORT_BYTES + 1));
        assert_eq!((report.problems.len(), report.left_out.problems), (1, 0));
        report.problem(problem(1));
        assert_eq!((report.problems.len(), report.left_out.problems), (1, 1));

        let mut report = Report::new(Path::new("disk"));
        report.problem(problem(REPORT_BYTES - 10));
        report.problem(problem(10));
        report.problem(problem(1));
        assert_eq!((report.problems.len(), report.left_out.problems), (2, 1));
        // Each kind has its own room.
        report.finding(Finding {
            place: Place::of("f"),
            rule: String::new(),
            origin: String::new(),
            hidden: false,
            images: Vec::new(),
            hidden_in: Vec::new(),
            more_images: 0,
        });
        assert_eq!(report.exit_code(), 1);
    }
}
