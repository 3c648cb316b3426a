//! IRP_MJ_DIRECTORY_CONTROL: listing a directory.

use std::sync::Arc;

use super::MemFs;
use super::open::{Open, OpenKind};
use super::outcome::{Done, Outcome};
use super::reply::Reply;
use crate::layout::FileNamesInformation;
use crate::status::{
    NtStatus, STATUS_BUFFER_OVERFLOW, STATUS_INVALID_INFO_CLASS, STATUS_INVALID_PARAMETER,
    STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE,
};
use crate::volume::name::{Folded, fold, matches_pattern, units};
use crate::volume::node::{Node, NodeId};

/// FileDirectoryInformation.
pub const DIRECTORY_INFORMATION: i32 = 1;
/// FileFullDirectoryInformation.
pub const FULL_DIRECTORY_INFORMATION: i32 = 2;
/// FileBothDirectoryInformation.
pub const BOTH_DIRECTORY_INFORMATION: i32 = 3;
/// FileIdBothDirectoryInformation.
pub const ID_BOTH_DIRECTORY_INFORMATION: i32 = 0x25;
/// FileIdFullDirectoryInformation.
pub const ID_FULL_DIRECTORY_INFORMATION: i32 = 0x26;

/// SL_RESTART_SCAN.
pub const SL_RESTART_SCAN: u8 = 1;
/// SL_RETURN_SINGLE_ENTRY.
pub const SL_RETURN_SINGLE_ENTRY: u8 = 2;

/// One entry of a listing, whatever class it is asked in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name as given.
    pub name: Vec<u16>,
    /// Its short name, if it has one of its own.
    pub short: Vec<u16>,
    /// Attributes.
    pub attributes: u32,
    /// End of file of the unnamed stream.
    pub length: u64,
    /// Its allocation.
    pub allocation: u64,
    /// Times: creation, access, write, change.
    pub times: [i64; 4],
    /// The 64-bit id.
    pub id: u64,
    /// The reparse tag, or zero.
    pub tag: u32,
}

impl DirEntry {
    /// An entry for `node` under this name.
    #[must_use]
    pub fn of(name: Vec<u16>, node: &Node) -> Self {
        let times = node.times;
        Self {
            name,
            short: Vec::new(),
            attributes: node.told_attributes(),
            length: node.data.bytes.length(),
            allocation: node.data.bytes.allocation(),
            times: [times.creation, times.access, times.write, times.change],
            id: node.id.short(),
            tag: node.reparse_tag(),
        }
    }

    /// `ShortNameLength` and `ShortName`: a byte, padding, and room for twelve units.
    fn short_field(&self) -> [u8; 26] {
        let mut field = [0; 26];
        let bytes = self.short.iter().flat_map(|unit| unit.to_le_bytes());
        let count = field
            .iter_mut()
            .skip(2)
            .zip(bytes)
            .map(|(to, from)| *to = from);
        let count = u8::try_from(count.count()).unwrap_or(0);
        field[0] = count;
        field
    }

    /// Writes the entry in the shape of `class`, without padding behind.
    ///
    /// # Errors
    /// `INVALID_INFO_CLASS`.
    pub fn write(&self, reply: &mut Reply, class: i32) -> Result<(), NtStatus> {
        let name_bytes = u32::try_from(self.name.len() * 2).unwrap_or(u32::MAX);
        reply.word(0).word(0);
        if class == FileNamesInformation {
            reply.word(name_bytes).units(&self.name);
            return Ok(());
        }
        for time in self.times {
            reply.time(time);
        }
        reply
            .long(self.length)
            .long(self.allocation)
            .word(self.attributes)
            .word(name_bytes);
        match class {
            DIRECTORY_INFORMATION => {}
            FULL_DIRECTORY_INFORMATION => {
                reply.word(self.tag);
            }
            BOTH_DIRECTORY_INFORMATION => {
                reply.word(self.tag).bytes(&self.short_field());
            }
            ID_BOTH_DIRECTORY_INFORMATION => {
                let short = self.short_field();
                reply.word(self.tag).bytes(&short).align(8).long(self.id);
            }
            ID_FULL_DIRECTORY_INFORMATION => {
                reply.word(self.tag).word(0).long(self.id);
            }
            _ => return Err(STATUS_INVALID_INFO_CLASS),
        }
        reply.units(&self.name);
        Ok(())
    }
}

/// A listing query.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The information class.
    pub class: i32,
    /// Bytes of the caller's buffer.
    pub room: usize,
    /// The pattern; counts only in the first query.
    pub pattern: Option<Vec<u16>>,
    /// SL_RESTART_SCAN was given.
    pub restart: bool,
    /// SL_RETURN_SINGLE_ENTRY was given.
    pub single: bool,
}

impl MemFs {
    /// Answers the next part of a listing.
    pub(super) fn list(&self, open: &Arc<Open>, query: &ListQuery) -> Outcome<Vec<u8>> {
        if open.kind != OpenKind::Directory {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let entries = self.entries(open.node)?;
        list_entries(open, query, &entries)
    }

    /// All entries of a directory, `.` and `..` first where there are any.
    pub(crate) fn entries(&self, directory: NodeId) -> Result<Vec<DirEntry>, NtStatus> {
        let space = self.space();
        let node = space.node(directory)?;
        let listed = node.entries.as_ref().ok_or(STATUS_INVALID_PARAMETER)?;
        let mut all = Vec::new();
        if directory != space.root() {
            all.push(DirEntry::of(units("."), node));
            all.push(DirEntry::of(units(".."), node));
        }
        for (child, link) in listed.values() {
            let found = space.link(*child, *link)?;
            let entry = DirEntry::of(found.name.clone(), space.node(*child)?);
            let short = found.short.clone().unwrap_or_default();
            all.push(DirEntry { short, ..entry });
        }
        Ok(all)
    }
}

/// Continues a listing over `entries`, which are in the order of enumeration. The cursor is kept by
/// name, so entries may come and go between two queries.
///
/// # Errors
/// `NO_SUCH_FILE` if nothing matches at all, `NO_MORE_FILES` at the end, `BUFFER_OVERFLOW` if not
/// one entry fits.
pub fn list_entries(open: &Arc<Open>, query: &ListQuery, entries: &[DirEntry]) -> Outcome<Vec<u8>> {
    let mut state = open.state();
    let cursor = &mut state.cursor;
    if query.restart {
        let pattern = cursor.pattern.take();
        *cursor = super::open::Cursor {
            pattern,
            ..super::open::Cursor::default()
        };
    }
    if cursor.pattern.is_none() {
        let pattern = query.pattern.clone().filter(|pattern| !pattern.is_empty());
        cursor.pattern = Some(fold(&pattern.unwrap_or_else(|| units("*"))));
    }
    let all = fold(&units("*"));
    let pattern = cursor.pattern.clone().unwrap_or(all);
    let mut reply = Reply::default();
    let mut last: Option<usize> = None;
    let mut full = false;
    for entry in entries {
        let folded = fold(&entry.name);
        let seen = is_seen(cursor, &folded, &entry.name);
        let fits = matches_pattern(&folded, &pattern)
            || matches_pattern(&fold(&entry.short), &pattern) && !entry.short.is_empty();
        if seen || !fits {
            continue;
        }
        let mut one = Reply::default();
        one.bytes(&vec![0; reply.len()]).align(8);
        let start = one.len();
        entry.write(&mut one, query.class)?;
        if one.len() > query.room {
            full = true;
            break;
        }
        reply.align(8);
        if let Some(before) = last {
            reply.patch(before, u32::try_from(start - before).unwrap_or(0));
        }
        entry.write(&mut reply, query.class)?;
        last = Some(start);
        advance(cursor, folded, &entry.name);
        if query.single {
            break;
        }
    }
    let first = !core::mem::replace(&mut cursor.started, true);
    if last.is_none() {
        return Err(match (full, first) {
            (true, _) => STATUS_BUFFER_OVERFLOW,
            (false, true) => STATUS_NO_SUCH_FILE,
            (false, false) => STATUS_NO_MORE_FILES,
        }
        .into());
    }
    let length = reply.len();
    let done = reply.finish(0, query.room)?;
    Ok(Done {
        information: length,
        ..done
    })
}

fn is_dots(name: &[u16]) -> bool {
    name == units(".") || name == units("..")
}

fn is_seen(cursor: &super::open::Cursor, folded: &Folded, name: &[u16]) -> bool {
    if is_dots(name) {
        return usize::from(cursor.dots) >= name.len();
    }
    cursor.after.as_ref().is_some_and(|after| folded <= after)
}

fn advance(cursor: &mut super::open::Cursor, folded: Folded, name: &[u16]) {
    if is_dots(name) {
        cursor.dots = u8::try_from(name.len()).unwrap_or(2);
    } else {
        cursor.after = Some(folded);
    }
}
