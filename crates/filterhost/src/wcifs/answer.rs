//! The answer to a redirection ECP, in every way that the documents allow.
//!
//! Microsoft's pages say which flags and fields mean what
//! (<https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_create_redirection_ecp_context>),
//! but not how the answering filter treats what it finds in the context. Each doubt is one flag of
//! [`EcpVariant`]; none set is the plain reading.

use std::sync::Arc;

use bitflags::bitflags;

use super::overlay::{Overlay, Served};
use crate::fltmgr::ecp::{Ecp, OpenPacket};
use crate::layout::{
    CREATE_REDIRECTION_FLAGS_SERVICED_FROM_LAYER as LAYER,
    CREATE_REDIRECTION_FLAGS_SERVICED_FROM_REGISTERED_LAYER as REGISTERED,
    CREATE_REDIRECTION_FLAGS_SERVICED_FROM_REMOTE_LAYER as REMOTE,
    CREATE_REDIRECTION_FLAGS_SERVICED_FROM_SCRATCH as SCRATCH, GUID_ECP_CREATE_REDIRECTION,
};
use crate::machine::Machine;

bitflags! {
    /// How the answering filter behaves where the documents leave it open.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct EcpVariant: u32 {
        /// Flags are ORed into those that it finds.
        const OR_FLAGS = 1;
        /// An answer without ids leaves the ids that it finds.
        const KEEP_IDS = 1 << 1;
        /// Ids are filled for registered layers too.
        const IDS_FOR_REGISTERED = 1 << 2;
        /// The allocated size decides whether the context is large enough, not its Size field.
        const ALLOCATED_SIZE = 1 << 3;
        /// Ids are zero for plain layers too (an old build).
        const ZERO_IDS = 1 << 4;
        /// Registered layers are no longer told from others.
        const REGISTERED_AS_PLAIN = 1 << 5;
        /// Directories are not answered.
        const NO_DIRECTORIES = 1 << 6;
        /// Named streams are answered like the unnamed one of their file.
        const STREAMS_LIKE_FILE = 1 << 7;
        /// Failed creates are acknowledged too.
        const FAILED_TOO = 1 << 8;
        /// A create is sent round once more with STATUS_REPARSE.
        const REPARSE = 1 << 9;
        /// Before sending it round, the create is answered: acknowledged, from a registered remote
        /// layer, with ids that mean nothing.
        const STALE_ANSWER = 1 << 10;
        /// A placeholder is copied when it is opened for writing, not at the first write.
        const COPY_AT_OPEN = 1 << 11;
        /// Opens by id are not answered.
        const NO_IDS_OPENS = 1 << 12;
        /// Nothing is answered at all (a filter that predates the ECP).
        const SILENT = 1 << 13;
        /// A section for a scan of a placeholder counts on the stream of the layer's file, not on
        /// the placeholder's own.
        const SECTIONS_OF_LAYER = 1 << 14;
    }
}

/// Bytes of the context.
const CONTEXT_BYTES: usize = 0x24;
const FLAGS_AT: usize = 2;
const ID_AT: usize = 4;
const GUID_AT: usize = 0x14;

/// Answers the create's redirection ECP, if it has one that is large enough.
pub(super) fn answer(
    m: &Arc<Machine>,
    packet: &Arc<OpenPacket>,
    overlay: &Overlay,
    variant: EcpVariant,
    served: &Served,
) {
    let Some(ecp) = packet.find(m, GUID_ECP_CREATE_REDIRECTION) else {
        return;
    };
    if !is_large_enough(&ecp, variant) {
        return;
    }
    let (flags, ids) = reply(overlay, variant, served);
    write(&ecp, variant, flags, ids);
}

/// The answer of a first pass that a second one is to replace.
pub(super) fn answer_stale(m: &Arc<Machine>, packet: &Arc<OpenPacket>, variant: EcpVariant) {
    let Some(ecp) = packet.find(m, GUID_ECP_CREATE_REDIRECTION) else {
        return;
    };
    if is_large_enough(&ecp, variant) {
        write(&ecp, variant, LAYER | REGISTERED | REMOTE, Some([0x5a; 32]));
    }
}

fn is_large_enough(ecp: &Ecp, variant: EcpVariant) -> bool {
    if variant.contains(EcpVariant::ALLOCATED_SIZE) {
        return ecp.size() >= CONTEXT_BYTES;
    }
    let size = ecp
        .bytes()
        .first_chunk::<2>()
        .map(|size| u16::from_le_bytes(*size));
    ecp.size() >= CONTEXT_BYTES && size.is_some_and(|size| usize::from(size) >= CONTEXT_BYTES)
}

/// Flags, and the 32 bytes of file id and volume GUID where the answer has them.
fn reply(overlay: &Overlay, variant: EcpVariant, served: &Served) -> (u16, Option<[u8; 32]>) {
    let Served::Layer { layer, id } = served else {
        return (SCRATCH, None);
    };
    let Some(layer) = overlay.layers().get(*layer) else {
        return (SCRATCH, None);
    };
    let registered = layer.registered && !variant.contains(EcpVariant::REGISTERED_AS_PLAIN);
    let mut flags = LAYER;
    if registered {
        flags |= REGISTERED;
    }
    if layer.remote {
        return (flags | REMOTE, None);
    }
    let known = !registered || variant.contains(EcpVariant::IDS_FOR_REGISTERED);
    if !known || variant.contains(EcpVariant::ZERO_IDS) {
        return (flags, None);
    }
    let mut ids = [0; 32];
    let guid = layer.volume.guid().map_or([0; 16], guid_bytes);
    for (to, from) in ids.iter_mut().zip(id.bytes().into_iter().chain(guid)) {
        *to = from;
    }
    (flags, Some(ids))
}

fn guid_bytes(guid: crate::layout::GUID) -> [u8; 16] {
    let mut bytes = [0; 16];
    let head = guid.data1.to_le_bytes().into_iter();
    let middle = guid
        .data2
        .to_le_bytes()
        .into_iter()
        .chain(guid.data3.to_le_bytes());
    for (to, from) in bytes.iter_mut().zip(head.chain(middle).chain(guid.data4)) {
        *to = from;
    }
    bytes
}

fn write(ecp: &Ecp, variant: EcpVariant, flags: u16, ids: Option<[u8; 32]>) {
    let mut bytes = ecp.bytes();
    let old = bytes
        .get(FLAGS_AT..)
        .and_then(|rest| rest.first_chunk::<2>());
    let old = old.map_or(0, |old| u16::from_le_bytes(*old));
    let new = if variant.contains(EcpVariant::OR_FLAGS) {
        old | flags
    } else {
        flags
    };
    put(&mut bytes, FLAGS_AT, &new.to_le_bytes());
    match ids {
        Some(ids) => put(&mut bytes, ID_AT, &ids),
        None if variant.contains(EcpVariant::KEEP_IDS) => {}
        None => put(&mut bytes, ID_AT, &[0; 32]),
    }
    ecp.write(&bytes);
    ecp.set_acknowledged(true);
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(value) {
        *to = *from;
    }
}

const _: () = assert!(GUID_AT - ID_AT == 16 && GUID_AT + 16 == CONTEXT_BYTES);
