//! Where volumes meet the Filter Manager: the only file of this tree that calls it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Volume;
use super::node::{NodeId, Reparse};
use super::request::{FileRef, Request};
use super::stream::Stream;
use crate::fltmgr;
use crate::layout::{FLT_CALLBACK_DATA, FLT_TAG_DATA_BUFFER};
use crate::machine::Machine;
use crate::memory::{self, Block};
use crate::object::Object;
use crate::status::NtStatus;
use crate::user::open::EcpSpec;

/// A filter instance: self-issued operations start below it.
pub use crate::fltmgr::InstanceRef;

/// Sends an operation down the stack of a volume, from the top or from below an instance.
pub fn call(
    m: &Arc<Machine>,
    volume: &Arc<Volume>,
    below: Option<InstanceRef>,
    data: *mut FLT_CALLBACK_DATA,
) -> NtStatus {
    fltmgr::dispatch::call(m, volume, below.as_ref(), data)
}

/// The extra create parameters of one open, through all its passes.
pub struct OpenPacket(Arc<fltmgr::ecp::OpenPacket>);

impl OpenPacket {
    /// Takes what the caller of the open gave: a list that it keeps, or parameters. Of two of one
    /// type the first counts.
    pub fn new(m: &Arc<Machine>, ecps: &[EcpSpec], lent: Option<usize>) -> Self {
        let packet = match lent {
            Some(list) => fltmgr::ecp::OpenPacket::lent(list),
            None => fltmgr::ecp::OpenPacket::new(),
        };
        for spec in ecps {
            let added = packet.add(m, spec.kind, &spec.context, spec.from_user);
            if let Some(ecp) = added {
                ecp.set_acknowledged(spec.acknowledged);
            }
        }
        Self(packet)
    }

    /// Hangs the list under the callback data of the next pass.
    pub fn attach(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) {
        self.0.bind(m, data);
    }

    /// The open is over: the list and all in it are freed.
    pub fn free(self, m: &Arc<Machine>) {
        self.0.finish(m);
    }
}

/// The last open of a stream is closed: its contexts go, and the file's with its last stream.
pub fn stream_closed(m: &Arc<Machine>, volume: &Volume, node: NodeId, fs_context: usize) {
    fltmgr::context::stream_gone(m, fs_context);
    if !volume.has_opens(node) {
        fltmgr::context::file_gone(m, volume, node.0);
    }
}

/// The transaction that a file object is opened in, as a number; zero for none.
#[must_use]
pub fn transaction_of(m: &Machine, file: FileRef) -> usize {
    fltmgr::transaction::of_file(m, file.raw()).addr()
}

/// A file object is about to be freed: its contexts go.
pub fn file_object_gone(m: &Arc<Machine>, file: &Arc<Object>) {
    fltmgr::context::file_object_gone(m, file.pointer().cast());
}

/// A section for a data scan stands in the way of `data`: whoever made it is told.
pub fn section_conflict(m: &Arc<Machine>, stream: &Arc<Stream>, data: *mut FLT_CALLBACK_DATA) {
    fltmgr::section::conflict(m, stream, data);
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

/// Whether somebody asked for the cancellation of what a thread has under way.
#[must_use]
pub fn is_cancel_asked(m: &Machine, thread: u32) -> bool {
    fltmgr::dispatch::is_cancel_asked(m, thread)
}
