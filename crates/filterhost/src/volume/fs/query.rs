//! IRP_MJ_QUERY_INFORMATION.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ntqueryinformationfile>
#![expect(
    non_upper_case_globals,
    reason = "information classes keep their Windows names"
)]

use std::sync::Arc;

use super::MemFs;
use super::open::Open;
use super::outcome::{Done, Outcome};
use super::reply::Reply;
use crate::layout::{
    FileAccessInformation, FileAlignmentInformation, FileAllInformation,
    FileAlternateNameInformation, FileAttributeTagInformation, FileBasicInformation,
    FileEaInformation, FileIdInformation, FileInternalInformation, FileModeInformation,
    FileNameInformation, FileNetworkOpenInformation, FileNormalizedNameInformation,
    FilePositionInformation, FileStandardInformation, FileStreamInformation,
};
use crate::status::{
    NtStatus, STATUS_BUFFER_OVERFLOW, STATUS_INVALID_INFO_CLASS, STATUS_INVALID_PARAMETER,
    STATUS_OBJECT_NAME_NOT_FOUND, STATUS_SUCCESS,
};
use crate::volume::name::{StreamName, parse, units};
use crate::volume::namespace::Namespace;
use crate::volume::node::Node;
use crate::volume::short::is_short;

impl MemFs {
    /// Answers a query of one class into at most `room` bytes. `position` is the file object's.
    pub(super) fn query(
        &self,
        open: &Arc<Open>,
        class: i32,
        room: usize,
        position: i64,
    ) -> Outcome<Vec<u8>> {
        let space = self.space();
        let node = space.node(open.node)?;
        let mut reply = Reply::default();
        let fixed = match class {
            FileBasicInformation => {
                basic(&mut reply, node);
                0x28
            }
            FileStandardInformation => {
                self.standard(&mut reply, open, &space, node);
                0x18
            }
            FileInternalInformation => {
                reply.long(node.id.short());
                8
            }
            FileEaInformation => {
                reply.word(0);
                4
            }
            FileAccessInformation => {
                reply.word(open.access);
                4
            }
            FilePositionInformation => {
                reply.time(position);
                8
            }
            FileModeInformation | FileAlignmentInformation => {
                reply.word(0);
                4
            }
            FileNameInformation | FileNormalizedNameInformation | FileAlternateNameInformation => {
                name_of_class(&mut reply, &space, open, class)?;
                8
            }
            FileStreamInformation => return streams(node, room),
            FileNetworkOpenInformation => {
                network(&mut reply, open, node);
                0x38
            }
            FileAttributeTagInformation => {
                reply.word(node.told_attributes()).word(node.reparse_tag());
                8
            }
            FileIdInformation if self.kind.answers_file_id() => {
                reply.long(self.serial()).bytes(&node.id.bytes());
                0x18
            }
            FileIdInformation => return Err(STATUS_INVALID_PARAMETER.into()),
            FileAllInformation => {
                self.all(&mut reply, open, &space, node, position);
                0x68
            }
            _ => return Err(STATUS_INVALID_INFO_CLASS.into()),
        };
        reply.finish(fixed, room)
    }

    fn standard(&self, reply: &mut Reply, open: &Arc<Open>, space: &Namespace, node: &Node) {
        let pending = |link| {
            space
                .link(open.node, link)
                .is_ok_and(|link| link.delete_pending)
        };
        let gone = node.links.is_empty() && open.node != space.root();
        let deleting = gone || open.link().is_some_and(pending);
        let links = u32::try_from(node.links.len()).unwrap_or(u32::MAX);
        let directory = node.is_directory() && open.stream.name.is_empty();
        let (allocation, length) = sizes(open);
        reply.long(allocation).long(length);
        reply.word(links.saturating_sub(u32::from(deleting && !gone)));
        reply
            .byte(u8::from(deleting))
            .byte(u8::from(directory))
            .align(8);
    }

    fn all(
        &self,
        reply: &mut Reply,
        open: &Arc<Open>,
        space: &Namespace,
        node: &Node,
        position: i64,
    ) {
        basic(reply, node);
        self.standard(reply, open, space, node);
        reply.long(node.id.short());
        reply
            .word(0)
            .word(open.access)
            .time(position)
            .word(0)
            .word(0);
        name(reply, space, open);
    }
}

fn basic(reply: &mut Reply, node: &Node) {
    let times = node.times;
    reply
        .time(times.creation)
        .time(times.access)
        .time(times.write)
        .time(times.change);
    reply.word(node.told_attributes()).word(0);
}

/// Allocation and end of file; zero for a directory.
fn sizes(open: &Arc<Open>) -> (u64, u64) {
    (open.stream.bytes.allocation(), open.stream.bytes.length())
}

fn network(reply: &mut Reply, open: &Arc<Open>, node: &Node) {
    let times = node.times;
    let (allocation, length) = sizes(open);
    reply
        .time(times.creation)
        .time(times.access)
        .time(times.write)
        .time(times.change);
    reply
        .long(allocation)
        .long(length)
        .word(node.told_attributes())
        .word(0);
}

/// The name in one of its three forms.
fn name_of_class(
    reply: &mut Reply,
    space: &Namespace,
    open: &Arc<Open>,
    class: i32,
) -> Result<(), NtStatus> {
    match class {
        FileAlternateNameInformation => {
            let short = short_of(space, open).ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
            put_counted(reply, &short);
        }
        FileNormalizedNameInformation => {
            put_name(reply, space.path(open.node, open.link()), open);
        }
        _ => name(reply, space, open),
    }
    Ok(())
}

/// The name below the volume as it was opened: of the last component the short name, if that was
/// used. Directories on the way are always told by their long names.
fn name(reply: &mut Reply, space: &Namespace, open: &Arc<Open>) {
    let mut path = space.path(open.node, open.link());
    if open.state().by_short
        && let Some(short) = short_of(space, open)
    {
        let last = path.iter().rposition(|unit| *unit == u16::from(b'\\'));
        path.truncate(last.map_or(0, |at| at + 1));
        path.extend_from_slice(&short);
    }
    put_name(reply, path, open);
}

/// The short name of the name that a file was opened by: its own, if it is an 8.3 name itself.
fn short_of(space: &Namespace, open: &Arc<Open>) -> Option<Vec<u16>> {
    let link = space.link(open.node, open.link()?).ok()?;
    let own = || space.kind().short_names() && is_short(&link.name);
    let short = link.short.clone();
    short.or_else(|| own().then(|| link.name.clone()))
}

fn put_counted(reply: &mut Reply, name: &[u16]) {
    reply
        .word(u32::try_from(name.len() * 2).unwrap_or(u32::MAX))
        .units(name);
}

fn put_name(reply: &mut Reply, mut path: Vec<u16>, open: &Arc<Open>) {
    if !open.stream.name.is_empty() {
        path.push(u16::from(b':'));
        path.extend_from_slice(&open.stream.name);
    }
    put_counted(reply, &path);
}

/// Every stream as `:name:$DATA`; a directory has no unnamed one.
fn streams(node: &Node, room: usize) -> Outcome<Vec<u8>> {
    let mut reply = Reply::default();
    let mut last = None;
    let skip = usize::from(node.is_directory());
    for stream in node.streams().skip(skip) {
        reply.align(8);
        let start = reply.len();
        if let Some(before) = last {
            reply.patch(before, u32::try_from(start - before).unwrap_or(0));
        }
        let mut name = units(":");
        name.extend_from_slice(&stream.name);
        name.extend_from_slice(&units(":$DATA"));
        reply
            .word(0)
            .word(u32::try_from(name.len() * 2).unwrap_or(u32::MAX));
        reply
            .long(stream.bytes.length())
            .long(stream.bytes.allocation())
            .units(&name);
        if reply.len() > room {
            return Err(STATUS_BUFFER_OVERFLOW.into());
        }
        last = Some(start);
    }
    let length = reply.len();
    let mut done = reply.finish(0, room)?;
    done.information = length;
    Ok(Done {
        status: STATUS_SUCCESS,
        ..done
    })
}

/// True if `path` names a stream other than the unnamed one.
#[must_use]
pub fn names_a_stream(path: &[u16]) -> bool {
    matches!(parse(path), Ok(parsed) if matches!(parsed.stream, StreamName::Named(_)))
}
