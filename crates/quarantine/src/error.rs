//! What can go wrong, each with its cause and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use crate::id::{ItemId, PREFIX_MIN};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The folder, or something that belongs into it, is a link or of another kind.
    #[error(
        "{} is a link, or not of the kind that it must be; name the quarantine's folder itself",
        .0.display()
    )]
    NotPlain(PathBuf),
    /// There is no such folder.
    #[error(
        "there is no quarantine in {}; name the folder that siloscand was given with --quarantine",
        .0.display()
    )]
    NoFolder(PathBuf),
    /// Others than the owner have rights.
    #[error(
        "others than its owner have rights on {} (mode {mode:03o}); take them away: chmod \
         {wanted:03o}",
        path.display()
    )]
    Open {
        /// Which folder or file.
        path: PathBuf,
        /// The rights that it has.
        mode: u32,
        /// The rights that it may have.
        wanted: u32,
    },
    /// It is somebody else's.
    #[error("{} belongs to user {owner}; run as that user, or name another folder", path.display())]
    Owner {
        /// Which folder or file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// There are items and no key.
    #[error(
        "the key {} is not there, and without it no item can be read; put it back from a copy, or \
         move the folder away",
        .0.display()
    )]
    KeyGone(PathBuf),
    /// The key file holds no key.
    #[error("{} holds no key; put it back from a copy, or move the folder away", .0.display())]
    KeyDamaged(PathBuf),
    /// What was left unfinished belongs to another key.
    #[error(
        "{} was left unfinished and sealed with another key; put that key back for a start, or \
         delete the file",
        .0.display()
    )]
    OtherKey(PathBuf),
    /// Another service puts items in.
    #[error("another siloscand uses the quarantine {}; give each its own folder", .0.display())]
    InUse(PathBuf),
    /// There is no room for one more item.
    #[error(
        "the quarantine is full: {items} of {items_max} items, {bytes} of {bytes_max} bytes, and \
         {wanted} more are wanted; delete items with: siloscan quarantine delete"
    )]
    Full {
        /// Items that are there.
        items: u64,
        /// Their bytes.
        bytes: u64,
        /// Bytes that the new item needs.
        wanted: u64,
        /// Items that may be there.
        items_max: u64,
        /// Bytes that they may have.
        bytes_max: u64,
    },
    /// What is known of the file is too long to be kept.
    #[error("what is known of the file has {0} bytes, which is more than an item can carry")]
    TooMuchKnown(usize),
    /// This text is no beginning of an id.
    #[error(
        "\"{0}\" is no item's id; give at least {PREFIX_MIN} of the digits that \"siloscan \
         quarantine list\" shows"
    )]
    BadId(String),
    /// No id begins so.
    #[error("no item's id begins with {0}; see: siloscan quarantine list")]
    NoItem(String),
    /// Several ids begin so.
    #[error("the ids of {items} items begin with {prefix}; give more digits")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// How many items.
        items: usize,
    },
    /// The item is not what was put in.
    #[error("the item {id} is damaged: {damage}; nothing of it can be restored")]
    Damaged {
        /// Which item.
        id: ItemId,
        /// How.
        damage: Damage,
    },
    /// Something is there already.
    #[error("{} is there already and is not replaced; name another file", .0.display())]
    Exists(PathBuf),
    /// The system said no.
    #[error("cannot {what} {}: {cause}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// How an item is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not begin as an item does.
    #[error("it does not begin as an item of this version does")]
    Head,
    /// Another key sealed it.
    #[error("it was sealed with another key")]
    Key,
    /// It is shorter or longer than it says.
    #[error("it is shorter or longer than it was")]
    Length,
    /// Its bytes, or its name, are not those that were sealed.
    #[error("its bytes, or its name, were changed")]
    Changed,
    /// What is known of the file cannot be understood.
    #[error("what it says about the file cannot be understood")]
    Metadata,
    /// The content is not the one whose hash was noted.
    #[error("its content is not the one that was put in")]
    Hash,
}

impl QuarantineError {
    pub(crate) fn io(what: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io {
            what,
            path: path.to_owned(),
            cause,
        }
    }
}
