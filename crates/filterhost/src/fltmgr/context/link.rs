//! What contexts hang on, and what happens to them when that goes away.

use std::sync::Arc;

use super::{Context, Contexts};
use crate::fltmgr::filter::Filter;
use crate::fltmgr::instance::Instance;
use crate::fltmgr::name;
use crate::fltmgr::volume::AttachedVolume;
use crate::layout::FILE_OBJECT;
use crate::machine::Machine;
use crate::volume::Volume;

/// The place of a context. Each place holds one at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    /// A filter's on a volume.
    Volume { filter: usize, volume: usize },
    /// An instance's own.
    Instance { instance: usize },
    /// An instance's on a file, by the volume's number and its key of the file.
    File {
        instance: usize,
        volume: usize,
        file: u64,
    },
    /// An instance's on a stream, by `FsContext`.
    Stream { instance: usize, stream: usize },
    /// An instance's on a file object.
    Handle { instance: usize, file_object: usize },
    /// An instance's on a transaction.
    Transaction { instance: usize, transaction: usize },
    /// An instance's section of a stream, by `FsContext`.
    Section { instance: usize, stream: usize },
}

impl Link {
    fn instance(self) -> Option<usize> {
        match self {
            Self::Volume { .. } => None,
            Self::Instance { instance }
            | Self::File { instance, .. }
            | Self::Stream { instance, .. }
            | Self::Handle { instance, .. }
            | Self::Transaction { instance, .. }
            | Self::Section { instance, .. } => Some(instance),
        }
    }
}

/// The context at a place, with a reference for the caller.
pub(crate) fn get(m: &Machine, link: Link) -> Option<Arc<Context>> {
    let contexts = m.state::<Contexts>();
    let state = contexts.state.lock();
    let context = state.linked.get(&link)?;
    context.reference();
    Some(context.clone())
}

/// Takes the context from a place. The place's reference is now the caller's.
pub(crate) fn unlink(m: &Machine, link: Link) -> Option<Arc<Context>> {
    let contexts = m.state::<Contexts>();
    let mut state = contexts.state.lock();
    let context = state.linked.remove(&link)?;
    context.counts.lock().link = None;
    Some(context)
}

/// Takes all contexts from the places that `gone` names and drops the places' references, in the
/// order in which the contexts were allocated.
fn sweep(m: &Arc<Machine>, gone: impl Fn(Link) -> bool) {
    let contexts = m.state::<Contexts>();
    let mut found = Vec::new();
    {
        let mut state = contexts.state.lock();
        state.linked.retain(|link, context| {
            let leaves = gone(*link);
            if leaves {
                context.counts.lock().link = None;
                found.push(context.clone());
            }
            !leaves
        });
    }
    found.sort_by_key(|context| context.number);
    for context in found {
        context.release(m);
    }
}

/// The file object was closed.
pub fn file_object_gone(m: &Arc<Machine>, file: *const FILE_OBJECT) {
    let gone = file.addr();
    sweep(
        m,
        |link| matches!(link, Link::Handle { file_object, .. } if file_object == gone),
    );
}

/// The file system frees a stream's control block (`FsContext`): no open and no section is left.
pub fn stream_gone(m: &Arc<Machine>, fs_context: usize) {
    let gone = fs_context;
    name::forget(m, Some(gone));
    sweep(m, |link| match link {
        Link::Stream { stream, .. } | Link::Section { stream, .. } => stream == gone,
        _ => false,
    });
}

/// The file system frees a file's control block.
pub fn file_gone(m: &Arc<Machine>, volume: &Volume, key: u64) {
    let on = usize::try_from(volume.number()).unwrap_or(0);
    sweep(
        m,
        |link| matches!(link, Link::File { volume, file, .. } if volume == on && file == key),
    );
}

/// An instance's teardown is complete.
pub(crate) fn instance_gone(m: &Arc<Machine>, instance: &Instance) {
    let gone = Some(instance.id());
    // The instance's own context goes last, after those that may lean on it.
    sweep(m, |link| {
        link.instance() == gone && !matches!(link, Link::Instance { .. })
    });
    sweep(m, |link| link.instance() == gone);
}

/// A volume was dismounted.
pub(crate) fn volume_gone(m: &Arc<Machine>, attached: &AttachedVolume) {
    let on = attached.id();
    sweep(
        m,
        |link| matches!(link, Link::Volume { volume, .. } if volume == on),
    );
}

/// A filter is unregistered: its volume contexts go.
pub(crate) fn filter_gone(m: &Arc<Machine>, gone: &Filter) {
    let id = gone.id();
    sweep(
        m,
        |link| matches!(link, Link::Volume { filter, .. } if filter == id),
    );
}

/// A transaction ended.
pub(crate) fn transaction_gone(m: &Arc<Machine>, gone: usize) {
    let is_gone =
        |link| matches!(link, Link::Transaction { transaction, .. } if transaction == gone);
    sweep(m, is_gone);
}
