//! File names as Windows compares them: UTF-16, case-insensitive, case-preserving.
//!
//! Also the one parser of paths inside a volume: components, stream name, stream type.

use crate::status::{NtStatus, STATUS_OBJECT_NAME_INVALID};

/// Longest name component, in UTF-16 units (NTFS, ReFS and FAT agree).
pub const COMPONENT_UNITS_MAX: usize = 255;

const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;

/// A name reduced to the form that is compared: every unit in upper case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folded(Vec<u16>);

impl Folded {
    /// The upper-case units.
    #[must_use]
    pub fn units(&self) -> &[u16] {
        &self.0
    }
}

/// Folds `name` unit by unit, as the upcase table of a volume does: a unit whose upper-case form
/// is not one unit stays as it is, and so do the halves of surrogate pairs.
#[must_use]
pub fn fold(name: &[u16]) -> Folded {
    Folded(name.iter().map(|unit| upcase(*unit)).collect())
}

/// The upper-case form of one UTF-16 unit.
#[must_use]
pub fn upcase(unit: u16) -> u16 {
    let Some(character) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
        _ => unit,
    }
}

/// Encodes text as UTF-16 units.
#[must_use]
pub fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// Decodes UTF-16 units for messages; unpaired surrogates become U+FFFD.
#[must_use]
pub fn text(units: &[u16]) -> String {
    String::from_utf16_lossy(units)
}

/// True if `name` may be the name of a file: no control character, none of `" * / : < > ? \ |`,
/// not empty, not too long, and neither `.` nor `..`.
#[must_use]
pub fn is_legal_component(name: &[u16]) -> bool {
    let dots = name.iter().all(|unit| *unit == u16::from(b'.'));
    if name.is_empty() || name.len() > COMPONENT_UNITS_MAX || (dots && name.len() <= 2) {
        return false;
    }
    name.iter().all(|unit| *unit >= 0x20 && !is_reserved(*unit))
}

fn is_reserved(unit: u16) -> bool {
    u8::try_from(unit).is_ok_and(|byte| b"\"*/:<>?\\|".contains(&byte))
}

/// A stream name may hold what a file name may not, but neither control characters nor `/ : \`.
fn is_legal_stream(name: &[u16]) -> bool {
    let bad = |unit: u16| unit == 0 || u8::try_from(unit).is_ok_and(|b| b"/:\\".contains(&b));
    name.len() <= COMPONENT_UNITS_MAX && !name.iter().any(|unit| bad(*unit))
}

/// Which attribute of the file a name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamName {
    /// No stream named: the unnamed data of a file, or the index of a directory.
    None,
    /// `::$DATA` spelled out: the unnamed data; never a directory.
    DefaultData,
    /// `::$INDEX_ALLOCATION` or `:$I30:$INDEX_ALLOCATION`: only a directory.
    Index,
    /// A named stream.
    Named(Vec<u16>),
}

/// A path inside a volume, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedPath {
    /// The name began with a backslash, so it starts at the root.
    pub absolute: bool,
    /// Names from the start to the file; empty for the start itself.
    pub components: Vec<Vec<u16>>,
    /// The stream named after the last component.
    pub stream: StreamName,
    /// The name ended with a backslash, which only a directory's may.
    pub trailing_backslash: bool,
}

/// Takes a path apart.
///
/// # Errors
/// `OBJECT_NAME_INVALID` for an empty or illegal component or an unknown stream type.
pub fn parse(path: &[u16]) -> Result<ParsedPath, NtStatus> {
    let absolute = path.first() == Some(&BACKSLASH);
    let mut rest = if absolute {
        path.get(1..).unwrap_or(&[])
    } else {
        path
    };
    let trailing = rest.last() == Some(&BACKSLASH);
    if trailing {
        rest = rest.get(..rest.len() - 1).unwrap_or(&[]);
    }
    let mut parsed = ParsedPath {
        absolute,
        components: Vec::new(),
        stream: StreamName::None,
        trailing_backslash: trailing,
    };
    if rest.is_empty() {
        return if trailing {
            Err(STATUS_OBJECT_NAME_INVALID)
        } else {
            Ok(parsed)
        };
    }
    let mut parts: Vec<&[u16]> = rest.split(|unit| *unit == BACKSLASH).collect();
    let last = parts.pop().unwrap_or(&[]);
    for part in parts {
        parsed.components.push(legal(part)?);
    }
    let (file, stream) = split_stream(last)?;
    if !(file.is_empty() && parsed.components.is_empty() && stream != StreamName::None) {
        parsed.components.push(legal(file)?);
    }
    parsed.stream = stream;
    if trailing
        && matches!(
            parsed.stream,
            StreamName::Named(_) | StreamName::DefaultData
        )
    {
        return Err(STATUS_OBJECT_NAME_INVALID);
    }
    Ok(parsed)
}

fn legal(component: &[u16]) -> Result<Vec<u16>, NtStatus> {
    if is_legal_component(component) {
        Ok(component.to_vec())
    } else {
        Err(STATUS_OBJECT_NAME_INVALID)
    }
}

/// Splits `file:stream:type`.
///
/// # Errors
/// `OBJECT_NAME_INVALID` for an unknown type or too many colons.
fn split_stream(last: &[u16]) -> Result<(&[u16], StreamName), NtStatus> {
    let mut parts = last.split(|unit| *unit == COLON);
    let file = parts.next().unwrap_or(&[]);
    let Some(name) = parts.next() else {
        return Ok((file, StreamName::None));
    };
    let kind = parts.next();
    if parts.next().is_some() || !is_legal_stream(name) {
        return Err(STATUS_OBJECT_NAME_INVALID);
    }
    let is = |kind: &[u16], want: &str| fold(kind) == fold(&units(want));
    let stream = match kind {
        None if name.is_empty() => return Err(STATUS_OBJECT_NAME_INVALID),
        None => StreamName::Named(name.to_vec()),
        Some(kind) if is(kind, "$DATA") && name.is_empty() => StreamName::DefaultData,
        Some(kind) if is(kind, "$DATA") => StreamName::Named(name.to_vec()),
        Some(kind) if is(kind, "$INDEX_ALLOCATION") && (name.is_empty() || is(name, "$I30")) => {
            StreamName::Index
        }
        Some(_) => return Err(STATUS_OBJECT_NAME_INVALID),
    };
    Ok((file, stream))
}

/// Matches `name` against a directory pattern with `*` and `?` (and their DOS forms `<`, `>`,
/// `"`, which are treated as `*`, `?`, `.`).
#[must_use]
pub fn matches_pattern(name: &Folded, pattern: &Folded) -> bool {
    let (name, pattern) = (name.units(), pattern.units());
    let (mut n, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        let wanted = pattern.get(p).copied();
        let star = wanted == Some(u16::from(b'*')) || wanted == Some(u16::from(b'<'));
        if star {
            retry = Some((p, n));
            p += 1;
        } else if unit_matches(wanted, name.get(n).copied()) {
            n += 1;
            p += 1;
        } else if let Some((star_at, from)) = retry {
            retry = Some((star_at, from + 1));
            p = star_at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern
        .iter()
        .skip(p)
        .all(|unit| *unit == u16::from(b'*') || *unit == u16::from(b'<'))
}

fn unit_matches(wanted: Option<u16>, found: Option<u16>) -> bool {
    match wanted {
        Some(unit) if unit == u16::from(b'?') || unit == u16::from(b'>') => found.is_some(),
        Some(unit) if unit == u16::from(b'"') => found == Some(u16::from(b'.')),
        other => other.is_some() && other == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<ParsedPath, NtStatus> {
        parse(&units(text))
    }

    #[test]
    fn names_compare_without_case() {
        assert_eq!(fold(&units("Näme.TXT")), fold(&units("nÄMe.txt")));
        assert_ne!(fold(&units("a")), fold(&units("b")));
        assert_eq!(upcase(0xd800), 0xd800, "half a surrogate pair stays");
        assert_eq!(
            upcase(0x00df),
            0x00df,
            "sharp s has no upper case of one unit"
        );
    }

    #[test]
    fn paths_are_taken_apart() {
        let parsed = path("\\a\\b.txt").unwrap();
        assert!(parsed.absolute && !parsed.trailing_backslash);
        assert_eq!(parsed.components, [units("a"), units("b.txt")]);
        assert_eq!(parsed.stream, StreamName::None);
        assert!(path("\\").unwrap().components.is_empty());
        assert!(path("").unwrap().components.is_empty());
        assert!(path("\\dir\\").unwrap().trailing_backslash);
    }

    #[test]
    fn streams_are_recognised() {
        assert_eq!(path("a:s").unwrap().stream, StreamName::Named(units("s")));
        assert_eq!(
            path("a:s:$data").unwrap().stream,
            StreamName::Named(units("s"))
        );
        assert_eq!(path("a::$DATA").unwrap().stream, StreamName::DefaultData);
        assert_eq!(
            path("a::$INDEX_ALLOCATION").unwrap().stream,
            StreamName::Index
        );
        assert_eq!(path(":s").unwrap().stream, StreamName::Named(units("s")));
        assert!(path(":s").unwrap().components.is_empty());
    }

    #[test]
    fn illegal_names_are_refused() {
        for bad in [
            "\\\\a",
            "a\\\\b",
            "a\\..\\b",
            "a*",
            "a:",
            "a:b:$x",
            "a:b:$DATA:c",
            "a?",
            "a:s\\",
        ] {
            assert_eq!(path(bad), Err(STATUS_OBJECT_NAME_INVALID), "{bad}");
        }
        assert!(path(&"x".repeat(255)).is_ok());
        assert_eq!(path(&"x".repeat(256)), Err(STATUS_OBJECT_NAME_INVALID));
    }

    #[test]
    fn patterns_match() {
        let hit = |name: &str, pattern: &str| {
            matches_pattern(&fold(&units(name)), &fold(&units(pattern)))
        };
        assert!(hit("abc.txt", "*") && hit("abc.txt", "*.TXT") && hit("abc", "a?c"));
        assert!(hit("aXbXc", "a*b*c") && !hit("abc", "a?") && !hit("abc", "b*"));
    }
}
