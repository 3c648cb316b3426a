//! Who wants a verdict, and the job that a leader gets of it.
#![forbid(unsafe_code)]

use siloscan_core::key::Key;
use siloscan_core::ledger::Lookup;
use siloscan_core::reason::Failure;

use super::job::Job;
use crate::context::{InstanceContext, Owned, StreamContext};
use crate::kernel::clock::Time;
use crate::kernel::event::{self, Waited};
use crate::kernel::file::{File, Held, Instance, Name};
use crate::kernel::process::Start;
use crate::kernel::silo::Silo;
use crate::registration::view::Data;
use crate::{instance, invalidate, state};

/// Who wants a verdict.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// An open.
    Open(&'a Data<'a>),
    /// A process that is made of the file, and our instance on the file's volume.
    Start(&'a Start<'a>, Instance<'a>),
}

impl<'a> By<'a> {
    pub(super) fn instance(&self) -> Instance<'a> {
        match self {
            Self::Open(data) => data.instance(),
            Self::Start(_, instance) => *instance,
        }
    }

    pub(super) fn file(&self) -> File<'a> {
        match self {
            Self::Open(data) => data.file(),
            Self::Start(start, _) => start.file(),
        }
    }

    pub(super) fn name(&self) -> Option<Name> {
        match self {
            Self::Open(data) => Name::opened(data).ok(),
            Self::Start(..) => None,
        }
    }

    pub(super) fn process(&self) -> u64 {
        match self {
            Self::Open(data) => data.process_id(),
            Self::Start(start, _) => start.process(),
        }
    }

    pub(super) fn in_transaction(&self) -> bool {
        match self {
            Self::Open(data) => data.in_transaction(),
            Self::Start(..) => false,
        }
    }

    /// Whether the bytes of a file without a key may be a layer's.
    pub(super) fn may_be_layer(&self, context: &InstanceContext) -> bool {
        match self {
            Self::Open(data) => instance::is_redirecting(context, data.volume()),
            Self::Start(..) => context.state.redirecting(),
        }
    }

    /// Waits for an event. Only an open can be cancelled.
    pub(super) fn wait(&self, event: &event::Event, deadline: Time) -> Waited {
        match self {
            Self::Open(data) => event.wait_cancellable(deadline, data),
            Self::Start(..) if event.wait(deadline) => Waited::Signalled,
            Self::Start(..) => Waited::TimedOut,
        }
    }
}

/// One open, or one process that starts, that wants a verdict.
pub struct Wanted<'a> {
    /// Who it is.
    pub by: By<'a>,
    /// The volume.
    pub instance: &'a Owned<InstanceContext>,
    /// The opened stream, where the file system gives contexts.
    pub stream: Option<&'a Owned<StreamContext>>,
    /// What the verdict is filed under; `None` for a scan that is not kept.
    pub key: Option<Key>,
    /// Whether the verdict may be kept.
    pub keeps: bool,
    /// The bytes come from a layer.
    pub layer: bool,
    /// The container filter answered that the bytes are the container's own, under this key.
    pub scratch: bool,
    /// Where the open comes from.
    pub silo: Option<Silo>,
    /// Until when the open may wait, in 100 ns since boot.
    pub deadline: Time,
}

/// What a leader needs to read the file.
pub(super) fn job_of(wanted: &Wanted<'_>) -> Result<Job, Failure> {
    let by = wanted.by;
    let held = Held::new(by.instance(), by.file()).map_err(|_| Failure::Unloading)?;
    Ok(Job {
        held,
        stream: wanted.stream.map(Owned::again),
        instance: wanted.instance.again(),
        name: by.name(),
        section: None,
        debt: None,
        key: wanted.key,
        keeps: wanted.keeps,
        layer: wanted.layer,
        scratch: wanted.scratch,
        alone: is_alone(wanted),
        file: own_key(wanted),
        closed: false,
        process: by.process(),
        container: wanted.silo.map_or([0; 16], |silo| silo.container),
    })
}

/// Whether a scan is for one opener alone. In a transaction nobody else sees the bytes; and where
/// they can change without our seeing when (in a transaction that is not committed yet, through a
/// mapping, of a layer's file whose key is not known) a scan that began before the open may have
/// seen older ones.
fn is_alone(wanted: &Wanted<'_>) -> bool {
    let stream = wanted.stream;
    let is_unseen =
        |key: &Key| state::ledger().is_some_and(|ledger| ledger.lookup(key) == Lookup::Untracked);
    // A stream without a key is followed by that of its file.
    let key = wanted.key.or_else(|| own_key(wanted));
    wanted.by.in_transaction()
        || wanted.key.is_none() && (wanted.layer || wanted.by.may_be_layer(wanted.instance))
        || stream.is_some_and(|stream| stream.state.writable_section())
        || key.map_or(wanted.instance.stable_ids, |key| is_unseen(&key))
}

fn own_key(wanted: &Wanted<'_>) -> Option<Key> {
    invalidate::own_key(wanted.stream?, wanted.instance)
}
