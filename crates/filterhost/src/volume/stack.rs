//! Where volumes meet the Filter Manager: the only file of this tree that calls it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Volume;
use super::node::Reparse;
use super::request::Request;
use super::stream::Stream;
use crate::layout::{FLT_CALLBACK_DATA, FLT_TAG_DATA_BUFFER};
use crate::machine::Machine;
use crate::memory::{self, Block};
use crate::object::Object;
use crate::status::NtStatus;
use crate::user::open::EcpSpec;

/// A filter instance: self-issued operations start below it.
pub type InstanceRef = Arc<dyn core::any::Any + Send + Sync>;

/// Sends an operation down the stack of a volume, from the top or from below an instance.
pub fn call(
    m: &Arc<Machine>,
    volume: &Arc<Volume>,
    below: Option<InstanceRef>,
    data: *mut FLT_CALLBACK_DATA,
) -> NtStatus {
    let _ = below;
    volume.perform(m, data)
}

/// The extra create parameters of one open, through all its passes.
pub struct OpenPacket {
    ecps: Vec<EcpSpec>,
}

impl OpenPacket {
    /// Takes what the caller of the open gave.
    pub fn new(_m: &Arc<Machine>, ecps: &[EcpSpec]) -> Self {
        Self {
            ecps: ecps.to_vec(),
        }
    }

    /// Hangs the list under the callback data of the next pass.
    pub fn attach(&self, _m: &Arc<Machine>, _data: *mut FLT_CALLBACK_DATA) {
        let _ = &self.ecps;
    }

    /// Takes it back after the pass.
    pub fn detach(&self, _m: &Arc<Machine>, _data: *mut FLT_CALLBACK_DATA) {}

    /// The open is over: the list and all in it are freed.
    pub fn free(self, _m: &Arc<Machine>) {}
}

/// The last open of a stream is closed: its contexts go.
pub fn stream_closed(m: &Arc<Machine>, volume: &Volume, fs_context: usize) {
    let _ = (m, volume, fs_context);
}

/// A file object is about to be freed: its contexts go.
pub fn file_object_gone(m: &Arc<Machine>, volume: &Volume, file: &Arc<Object>) {
    let _ = (m, volume, file);
}

/// A section for a data scan stands in the way of `data`: whoever made it is told.
pub fn section_conflict(
    m: &Arc<Machine>,
    volume: &Volume,
    stream: &Arc<Stream>,
    data: *mut FLT_CALLBACK_DATA,
) {
    let _ = (m, volume, stream, data);
}

/// Reparse buffers that hang under callback data now, by address.
#[derive(Default)]
struct TagBuffers(Mutex<BTreeMap<usize, Block>>);

/// Hangs a reparse point's data under callback data. [`detach_reparse`] frees it.
pub fn attach_reparse(m: &Arc<Machine>, request: Request, reparse: &Reparse, unparsed: usize) {
    detach_reparse(m, request);
    let size = size_of::<FLT_TAG_DATA_BUFFER>().max(8 + reparse.data.len());
    let block = Block::zeroed(size);
    let target = block.pointer::<u8>();
    let length = u16::try_from(reparse.data.len()).unwrap_or(u16::MAX);
    let rest = u16::try_from(unparsed * 2).unwrap_or(u16::MAX);
    memory::write(target.cast(), reparse.tag);
    memory::write(target.wrapping_add(4).cast(), length);
    memory::write(target.wrapping_add(6).cast(), rest);
    memory::write_bytes(target.wrapping_add(8), &reparse.data);
    request.set_tag_data(target.cast());
    m.state::<TagBuffers>()
        .0
        .lock()
        .insert(block.address(), block);
}

/// What hangs under callback data: tag, data, and units of the name that were not looked at.
#[must_use]
pub fn reparse_of(request: Request) -> Option<(Reparse, usize)> {
    let from = request.tag_data().cast::<u8>();
    if from.is_null() {
        return None;
    }
    let length: u16 = memory::read(from.wrapping_add(4).cast());
    let rest: u16 = memory::read(from.wrapping_add(6).cast());
    let data = memory::read_bytes(from.wrapping_add(8), usize::from(length));
    Some((
        Reparse {
            tag: memory::read(from.cast()),
            data,
        },
        usize::from(rest) / 2,
    ))
}

/// Takes a reparse buffer away from callback data and frees it.
pub fn detach_reparse(m: &Arc<Machine>, request: Request) {
    let address = request.tag_data().addr();
    request.set_tag_data(core::ptr::null_mut());
    m.state::<TagBuffers>().0.lock().remove(&address);
}
