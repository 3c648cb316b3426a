//! What an operator calls an image, and the form in which Docker's store keeps names: without the
//! registry and the name space that Docker takes for granted, and never without a tag or a digest.
//! <https://github.com/distribution/reference/blob/main/normalize.go>

use std::fmt;

use super::{ID_DIGITS, ImageDigest, is_id};

/// The beginning of an id has so many digits at least: as many as Docker shows.
pub const BEGINNING_DIGITS_MIN: usize = 12;

/// No reference is longer, in bytes.
const REFERENCE_BYTES_MAX: usize = 1_024;
/// Docker's bounds for a name without its registry, and for a tag, in bytes.
const PATH_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;
/// The registry of names that do not begin with one, its older name, and its name space of names
/// without any.
const HUB: &str = "docker.io";
const HUB_ONCE: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// The tag of names without one.
const USUAL_TAG: &str = "latest";
const ALGORITHM: &str = "sha256:";

/// An image, as somebody calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The digest of an image or of its manifest.
    Digest(ImageDigest),
    /// The beginning of an image's id, hexadecimal digits.
    Beginning(String),
    /// A name as Docker's store keeps it.
    Name {
        /// What comes before the tag or the digest.
        repository: String,
        /// The whole name.
        whole: String,
    },
}

impl Reference {
    /// Whether a text is said to be a digest, so that no folder is meant.
    #[must_use]
    pub fn is_digest(text: &str) -> bool {
        text.starts_with(ALGORITHM)
    }

    /// The image that is called so; nothing for what is no image's name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = match text.strip_prefix(ALGORITHM) {
            Some(digits) if is_beginning(digits) => Kind::Beginning(digits.to_owned()),
            Some(_) => Kind::Digest(ImageDigest::parse(text)?),
            // As for Docker, 64 digits are never a name.
            None if is_id(text) => Kind::Digest(ImageDigest::parse(&format!("{ALGORITHM}{text}"))?),
            None => named(text)?,
        };
        let text = text.to_owned();
        Some(Self { text, kind })
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The digits with which an image's id begins, if it may be meant so.
    pub(super) fn beginning(&self) -> Option<&str> {
        match &self.kind {
            Kind::Digest(_) => None,
            Kind::Beginning(digits) => Some(digits),
            Kind::Name { .. } => Some(self.text.as_str()).filter(|text| is_beginning(text)),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Digits of an id, enough to be one's beginning and too few to be one.
fn is_beginning(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (BEGINNING_DIGITS_MIN..ID_DIGITS).contains(&text.len()) && text.bytes().all(digit)
}

/// `name[:tag][@digest]`. Where there are both, Docker looks for the digest alone.
fn named(text: &str) -> Option<Kind> {
    if text.len() > REFERENCE_BYTES_MAX {
        return None;
    }
    let (tagged, digest) = match text.split_once('@') {
        Some((tagged, digest)) => (tagged, Some(ImageDigest::parse(digest)?)),
        None => (text, None),
    };
    let (name, tag) = match tagged.rsplit_once(':') {
        // Otherwise it is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (tagged, USUAL_TAG),
    };
    if !is_tag(tag) {
        return None;
    }
    let repository = familiar(name)?;
    let whole = match digest {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!("{repository}:{tag}"),
    };
    Some(Kind::Name { repository, whole })
}

/// The name as Docker's store keeps it.
fn familiar(name: &str) -> Option<String> {
    let (registry, path) = match name.split_once('/') {
        Some((HUB_ONCE, path)) => (HUB, path.to_owned()),
        Some((first, path)) if may_be_registry(first) => (first, path.to_owned()),
        _ => (HUB, name.to_owned()),
    };
    let path = match path.contains('/') || registry != HUB {
        true => path,
        false => format!("{OFFICIAL}{path}"),
    };
    let is_good =
        is_registry(registry) && path.len() <= PATH_BYTES_MAX && path.split('/').all(is_component);
    if !is_good {
        return None;
    }
    if registry != HUB {
        return Some(format!("{registry}/{path}"));
    }
    let short = path.strip_prefix(OFFICIAL);
    match short.filter(|short| !short.contains('/')) {
        Some(short) => Some(short.to_owned()),
        None => Some(path),
    }
}

/// Whether the first part of a name is a registry and no name space.
fn may_be_registry(first: &str) -> bool {
    let letter = |letter: char| letter == '.' || letter == ':' || letter.is_uppercase();
    first == "localhost" || first.contains(letter)
}

/// A host with or without a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        // No port is as good as any.
        _ => (text, "0"),
    };
    let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_host = match address {
        Some(address) => {
            let digit = |byte: u8| byte == b':' || byte.is_ascii_hexdigit();
            !address.is_empty() && address.bytes().all(digit)
        }
        None => host.split('.').all(|label| {
            let inside = |byte: u8| byte == b'-' || byte.is_ascii_alphanumeric();
            let dash = label.starts_with('-') || label.ends_with('-');
            !label.is_empty() && !dash && label.bytes().all(inside)
        }),
    };
    is_host && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// What lies between two slashes of a name: small letters and digits, and between them one dot, one
/// or two underscores, or dashes.
fn is_component(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let between =
        |part: &str| matches!(part, "" | "." | "_" | "__") || part.bytes().all(|byte| byte == b'-');
    text.starts_with(plain) && text.ends_with(plain) && text.split(plain).all(between)
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let inside = |byte: u8| byte == b'.' || byte == b'-' || word(byte);
    let length = 1..=TAG_BYTES_MAX;
    length.contains(&text.len()) && text.bytes().take(1).all(word) && text.bytes().all(inside)
}
