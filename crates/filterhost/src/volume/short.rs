//! Short names: the second, 8.3 name that NTFS and FAT give a file whose own name is no such name.
//!
//! What they look like follows the documented rules; the digits that NTFS puts in after the fourth
//! collision come from a hash of its own that no page tells, so here they come from another one.
//! <https://learn.microsoft.com/windows/win32/fileio/naming-a-file#short-vs-long-names>

use super::name::{Folded, fold, units};
use super::namespace::Namespace;
use super::node::{LinkId, NodeId};
use crate::status::{
    NtStatus, STATUS_INVALID_PARAMETER, STATUS_NOT_A_DIRECTORY, STATUS_OBJECT_NAME_COLLISION,
    STATUS_SHORT_NAMES_NOT_ENABLED_ON_VOLUME,
};

/// Longest part before the dot, in units.
const BASE_UNITS: usize = 8;
/// Longest part behind it.
const EXTENSION_UNITS: usize = 3;
/// Numbers that are tried before the hash comes in.
const PLAIN_TRIES: u32 = 4;
/// Numbers that are tried at all.
const TRIES: u32 = 1 << 16;

/// True if `name` is an 8.3 name already, so that it needs no other.
#[must_use]
pub fn is_short(name: &[u16]) -> bool {
    let mut parts = name.split(|unit| *unit == u16::from(b'.'));
    let base = parts.next().unwrap_or(&[]);
    let extension = parts.next();
    let fits = |part: &[u16], most: usize| {
        !part.is_empty() && part.len() <= most && part.iter().all(|unit| is_plain(*unit))
    };
    fits(base, BASE_UNITS)
        && extension.is_none_or(|extension| fits(extension, EXTENSION_UNITS))
        && parts.next().is_none()
}

/// A unit that an 8.3 name may hold.
fn is_plain(unit: u16) -> bool {
    u8::try_from(unit)
        .is_ok_and(|byte| byte.is_ascii_graphic() && !b"\"*+,./:;<=>?[\\]|".contains(&byte))
}

/// The short name of a file called `name` that is not `taken`; none if all are, or if `name` is
/// one itself.
#[must_use]
pub fn generate(name: &[u16], taken: impl Fn(&Folded) -> bool) -> Option<Vec<u16>> {
    if is_short(name) {
        return None;
    }
    let dot = name.iter().rposition(|unit| *unit == u16::from(b'.'));
    let (base, extension) = match dot {
        Some(at) if at > 0 => (name.get(..at)?, name.get(at + 1..)?),
        _ => (name, &[][..]),
    };
    let base = clean(base);
    let mut extension = clean(extension);
    extension.truncate(EXTENSION_UNITS);
    (1..TRIES).find_map(|number| {
        let tail = units(&format!("~{}", tail_number(number)));
        let mut made: Vec<u16> = if number <= PLAIN_TRIES {
            base.iter().take(6).copied().collect()
        } else {
            let mut start: Vec<u16> = base.iter().take(2).copied().collect();
            start.extend(units(&format!("{:04X}", hash(name, number))));
            start
        };
        made.truncate(BASE_UNITS - tail.len());
        made.extend(&tail);
        if !extension.is_empty() {
            made.push(u16::from(b'.'));
            made.extend(&extension);
        }
        (!taken(&fold(&made))).then_some(made)
    })
}

/// What follows the tilde: behind a hash counting starts anew.
fn tail_number(number: u32) -> u32 {
    if number <= PLAIN_TRIES { number } else { 1 }
}

/// Four hexadecimal digits of a name.
fn hash(name: &[u16], number: u32) -> u16 {
    let start = u16::try_from(number & 0xffff).unwrap_or(0);
    name.iter().fold(start, |sum, unit| {
        sum.rotate_left(5).wrapping_mul(31).wrapping_add(*unit)
    })
}

/// Upper case, without spaces and dots, and with an underscore for what may not be there.
fn clean(part: &[u16]) -> Vec<u16> {
    let dropped = |unit: &&u16| **unit != u16::from(b' ') && **unit != u16::from(b'.');
    part.iter()
        .filter(dropped)
        .map(|unit| match u8::try_from(*unit) {
            Ok(byte) if is_plain(*unit) => u16::from(byte.to_ascii_uppercase()),
            _ => u16::from(b'_'),
        })
        .collect()
}

impl Namespace {
    /// Gives the name `link` of a file a short name of its own, where the kind has them and the
    /// name is none.
    pub(super) fn make_short(&mut self, node: NodeId, link: LinkId) -> Result<(), NtStatus> {
        if !self.kind().short_names() {
            return Ok(());
        }
        let (parent, name) = {
            let found = self.link(node, link)?;
            (found.parent, found.name.clone())
        };
        let directory = self.node(parent)?;
        let entries = directory.entries.as_ref().ok_or(STATUS_NOT_A_DIRECTORY)?;
        let taken =
            |short: &Folded| entries.contains_key(short) || directory.aliases.contains_key(short);
        let Some(short) = generate(&name, taken) else {
            return Ok(());
        };
        self.put_short(node, link, parent, short)
    }

    fn put_short(
        &mut self,
        node: NodeId,
        link: LinkId,
        parent: NodeId,
        short: Vec<u16>,
    ) -> Result<(), NtStatus> {
        let aliases = &mut self.node_mut(parent)?.aliases;
        aliases.insert(fold(&short), (node, link));
        self.link_mut(node, link)?.short = Some(short);
        Ok(())
    }

    /// Takes the short name of `link` away, if it has one.
    pub(super) fn drop_short(&mut self, node: NodeId, link: LinkId) -> Result<(), NtStatus> {
        let found = self.link_mut(node, link)?;
        let parent = found.parent;
        if let Some(short) = found.short.take() {
            self.node_mut(parent)?.aliases.remove(&fold(&short));
        }
        Ok(())
    }

    /// Sets the short name of a file by hand (`FileShortNameInformation`); an empty one takes it
    /// away.
    ///
    /// # Errors
    /// `SHORT_NAMES_NOT_ENABLED_ON_VOLUME`, `INVALID_PARAMETER` for what is no 8.3 name,
    /// `OBJECT_NAME_COLLISION` where another file has the name.
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_file_name_information>
    pub fn set_short(&mut self, node: NodeId, link: LinkId, short: &[u16]) -> Result<(), NtStatus> {
        if !self.kind().short_names() {
            return Err(STATUS_SHORT_NAMES_NOT_ENABLED_ON_VOLUME);
        }
        if !short.is_empty() && !is_short(short) {
            return Err(STATUS_INVALID_PARAMETER);
        }
        let parent = self.link(node, link)?.parent;
        match self.child(parent, short)? {
            Some((_, other)) if other != link => return Err(STATUS_OBJECT_NAME_COLLISION),
            Some(_) | None => {}
        }
        self.drop_short(node, link)?;
        if short.is_empty() || fold(short) == fold(&self.link(node, link)?.name) {
            return Ok(());
        }
        self.put_short(node, link, parent, short.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::name::text;

    fn of(name: &str, taken: &[&str]) -> Option<String> {
        let taken: Vec<Folded> = taken.iter().map(|name| fold(&units(name))).collect();
        generate(&units(name), |short| taken.contains(short)).map(|name| text(&name))
    }

    #[test]
    fn names_that_are_short_get_none() {
        for name in ["a", "notes.txt", "12345678.123", "FOO~1.EXE"] {
            assert_eq!(of(name, &[]), None, "{name}");
        }
    }

    #[test]
    fn others_get_six_units_and_a_number() {
        assert_eq!(of("much too long.text", &[]).unwrap(), "MUCHTO~1.TEX");
        assert_eq!(of(".profile", &[]).unwrap(), "PROFIL~1");
        assert_eq!(of("a+b.c.d", &[]).unwrap(), "A_BC~1.D");
        assert_eq!(of("näme", &[]).unwrap(), "N_ME~1");
        let taken = ["MUCHTO~1.TEX", "MUCHTO~2.TEX"];
        assert_eq!(of("much too long.text", &taken).unwrap(), "MUCHTO~3.TEX");
    }

    #[test]
    fn after_four_there_is_a_hash() {
        let taken = ["LONGNA~1", "LONGNA~2", "LONGNA~3", "LONGNA~4"];
        let fifth = of("longname of a file", &taken).unwrap();
        assert!(fifth.starts_with("LO") && fifth.ends_with("~1"), "{fifth}");
        assert!(is_short(&units(&fifth)));
    }
}
