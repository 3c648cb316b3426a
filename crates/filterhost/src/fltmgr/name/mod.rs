//! File names: asked of the file system below the filter, handed out with a reference count.

mod functions;
mod text;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub use functions::EXPORTS;

use super::blocks::Wanted;
use super::filter::Filter;
use super::instance::InstanceRef;
use super::{Leak, Origin, blocks, file, guest};
use crate::layout::{
    FILE_OBJECT, FLT_FILE_NAME_INFORMATION, FLT_FILE_NAME_NORMALIZED, FLT_FILE_NAME_OPENED,
    FileNameInformation, FileNormalizedNameInformation, PVOID, UNICODE_STRING, Zeroed,
};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_BUFFER_OVERFLOW, STATUS_INSUFFICIENT_RESOURCES, STATUS_OBJECT_NAME_NOT_FOUND,
};
use crate::verifier;

/// Tag of name informations.
const NAME_TAG: u32 = u32::from_le_bytes(*b"FMfn");
/// Longest name in bytes that is asked for.
const NAME_BYTES_MAX: u32 = 65_534 + 4;

/// One name information that a driver holds.
struct Record {
    references: u32,
    filter: usize,
    number: u64,
    volume_units: usize,
    origin: Origin,
}

#[derive(Default)]
struct State {
    next: u64,
    live: HashMap<usize, Record>,
    /// Names by stream (`FsContext`) and format.
    cache: HashMap<(usize, u32), Vec<u16>>,
}

/// The names of a machine.
#[derive(Default)]
pub(crate) struct Names {
    state: Mutex<State>,
}

/// A full name: the volume's part and the path on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FullName {
    volume: Vec<u16>,
    path: Vec<u16>,
}

/// Names that a filter has not released, in the order in which it got them.
pub(crate) fn alive(m: &Machine, filter: &Filter) -> Vec<Leak> {
    let names = m.state::<Names>();
    let state = names.state.lock();
    let mut own: Vec<_> = state
        .live
        .values()
        .filter(|record| record.filter == filter.id())
        .collect();
    own.sort_by_key(|record| record.number);
    let what = |record: &Record| format!("file name information #{}", record.number);
    own.iter()
        .map(|record| Leak::new(what(record), &record.origin))
        .collect()
}

/// A stream is gone, or files were renamed: cached names are no longer true.
pub(crate) fn forget(m: &Machine, stream: Option<usize>) {
    let names = m.state::<Names>();
    names
        .state
        .lock()
        .cache
        .retain(|(of, _), _| stream.is_some_and(|stream| *of != stream));
}

fn cached(m: &Machine, stream: usize, format: u32) -> Option<Vec<u16>> {
    m.state::<Names>()
        .state
        .lock()
        .cache
        .get(&(stream, format))
        .cloned()
}

/// Asks the file system for the path of an open file, and remembers it.
fn ask(
    m: &Arc<Machine>,
    instance: &InstanceRef,
    of: *mut FILE_OBJECT,
    format: u32,
) -> Result<Vec<u16>, NtStatus> {
    let class = match format {
        FLT_FILE_NAME_OPENED => FileNameInformation,
        FLT_FILE_NAME_NORMALIZED => FileNormalizedNameInformation,
        // Short names are not handed out by this way: nobody here asks for one.
        _ => return Err(STATUS_OBJECT_NAME_NOT_FOUND),
    };
    let mut buffer = vec![0_u8; NAME_BYTES_MAX as usize];
    let asked = (
        class,
        buffer.as_mut_ptr().cast::<core::ffi::c_void>(),
        NAME_BYTES_MAX,
    );
    let (status, _) = file::query(m, "FltGetFileNameInformation", instance, of, asked);
    if !status.is_success() && status != STATUS_BUFFER_OVERFLOW {
        return Err(status);
    }
    let length: u32 = guest::read(buffer.as_ptr().cast()).unwrap_or(0);
    let path = guest::wide(buffer.as_ptr().wrapping_add(4).cast(), length as usize / 2);
    let path = if format == FLT_FILE_NAME_NORMALIZED {
        text::normalized(path)
    } else {
        path
    };
    let stream = guest::file::fs_context(of).addr();
    m.state::<Names>()
        .state
        .lock()
        .cache
        .insert((stream, format), path.clone());
    Ok(path)
}

/// Makes the structure that the driver gets, with one reference.
fn hand_out(
    m: &Arc<Machine>,
    filter: usize,
    format: u32,
    name: &FullName,
) -> Result<PVOID, NtStatus> {
    let header = size_of::<FLT_FILE_NAME_INFORMATION>();
    let text: Vec<u16> = name.volume.iter().chain(&name.path).copied().collect();
    let size = header + text.len() * 2;
    let wanted = Wanted {
        size,
        tag: NAME_TAG,
        paged: true,
        zeroed: false,
    };
    let memory = blocks::allocate(m, &wanted);
    if memory.is_null() {
        return Err(STATUS_INSUFFICIENT_RESOURCES);
    }
    let start = memory.cast::<u8>().wrapping_add(header).cast::<u16>();
    guest::write_bytes(start.cast(), &guest::wide_bytes(&text));
    let mut record = FLT_FILE_NAME_INFORMATION::zeroed();
    record.size = u16::try_from(header).unwrap_or(0);
    record.format = format;
    record.name = string(start, 0, text.len());
    record.volume = string(start, 0, name.volume.len());
    guest::write(memory.cast(), record);
    let origin = Origin::here(m);
    let names = m.state::<Names>();
    let mut state = names.state.lock();
    state.next += 1;
    let (number, volume_units) = (state.next, name.volume.len());
    let record = Record {
        references: 1,
        filter,
        number,
        volume_units,
        origin,
    };
    state.live.insert(memory.addr(), record);
    Ok(memory)
}

/// A part of a name's text as a counted string; empty parts have no buffer.
fn string(start: *mut u16, from: usize, units: usize) -> UNICODE_STRING {
    if units == 0 {
        return UNICODE_STRING::zeroed();
    }
    let length = u16::try_from(units * 2).unwrap_or(u16::MAX);
    UNICODE_STRING {
        length,
        maximum_length: length,
        buffer: start.wrapping_add(from),
    }
}

/// Fills the parts of a name: volume, final component, extension, stream, directory.
fn parse(m: &Machine, information: *mut FLT_FILE_NAME_INFORMATION) {
    let volume_units = with_record(m, information.cast(), |record| record.volume_units);
    let Some(mut record) = guest::read(information) else {
        return;
    };
    let all = guest::string_units(record.name);
    let start = record.name.buffer;
    let parts = text::parts(&all, volume_units);
    record.volume = string(start, 0, volume_units);
    record.parent_dir = string(start, parts.parent.0, parts.parent.1);
    record.final_component = string(start, parts.component.0, parts.component.1);
    record.extension = string(start, parts.extension.0, parts.extension.1);
    record.stream = string(start, parts.stream.0, parts.stream.1);
    record.names_parsed = 0xf;
    guest::write(information, record);
}

fn with_record<R>(m: &Machine, at: PVOID, body: impl FnOnce(&mut Record) -> R) -> R {
    let names = m.state::<Names>();
    let mut state = names.state.lock();
    match state.live.get_mut(&at.addr()) {
        Some(record) => body(record),
        None => {
            drop(state);
            let detail = format!("{at:p} is no file name information (or it was released)");
            verifier::fatal(&verifier::name::POINTER, detail)
        }
    }
}

fn release(m: &Arc<Machine>, information: PVOID) {
    let left = with_record(m, information, |record| {
        record.references -= 1;
        record.references
    });
    if left == 0 {
        m.state::<Names>()
            .state
            .lock()
            .live
            .remove(&information.addr());
        blocks::free(m, information, NAME_TAG);
        m.sched().notify();
    }
}
