//! Files of a stopped container that have their bytes in a layer.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::report::Place;

/// The file in a layer that a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The layer's GUID.
    pub layer: Uuid,
    /// The names of the folders in the layer and of the file, from the top.
    pub parts: Vec<String>,
}

/// Why a placeholder's data does not say which file of which layer it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unread {
    /// It ends before all of it.
    Truncated,
    /// It goes on where it should end.
    TooLong,
    /// It has another version than the one that is known.
    OtherVersion,
    /// The length of the name is no whole number of letters.
    OddLength,
    /// It has no name.
    NoName,
    /// The name is not UTF-16.
    NotUtf16,
    /// The name is none that a file in a layer can have.
    NoPath,
}

impl Unread {
    /// The name that a report has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TooLong => "too-long",
            Self::OtherVersion => "other-version",
            Self::OddLength => "odd-length",
            Self::NoName => "no-name",
            Self::NotUtf16 => "not-utf16",
            Self::NoPath => "no-path",
        }
    }
}

/// A placeholder, as it is found on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it lies.
    pub place: Place,
    /// The tag of its reparse point.
    pub tag: u32,
    /// What it stands for.
    pub target: Result<Target, Unread>,
}

/// Where a placeholder's bytes lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bytes {
    /// In this file.
    At(String),
    /// Not in the folders in which they should.
    NotThere,
    /// A folder in which they may lie could not be read.
    Unreadable,
    /// In a layer whose folder is not known.
    FolderUnknown,
}

/// A placeholder in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placeholder {
    /// Where it lies.
    #[serde(flatten)]
    pub place: Place,
    /// The tag of its reparse point.
    #[serde(serialize_with = "hex")]
    pub tag: u32,
    /// The GUID of the layer that has its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The name of the file in that layer, parted by `\`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why it has neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
    /// Where the bytes lie. None without a layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
}

impl Placeholder {
    /// A placeholder and where its bytes lie.
    #[must_use]
    pub fn new(seen: Seen, bytes: Bytes) -> Self {
        let (layer, name, unread, bytes) = match seen.target {
            Ok(target) => {
                let name = target.parts.join("\\");
                (
                    Some(target.layer.to_string()),
                    Some(name),
                    None,
                    Some(bytes),
                )
            }
            Err(unread) => (None, None, Some(unread), None),
        };
        Self {
            place: seen.place,
            tag: seen.tag,
            layer,
            name,
            unread,
            bytes,
        }
    }
}

fn hex<S: Serializer>(tag: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{tag:#010x}"))
}

/// All placeholders of one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LayerSum {
    /// How many there are.
    pub placeholders: u64,
    /// Of how many the bytes were found.
    pub found: u64,
    /// Of how many they are not where they should be.
    pub not_there: u64,
    /// The folders in which they were found. More than one is a sign of a wrong folder.
    pub folders: BTreeSet<String>,
}
