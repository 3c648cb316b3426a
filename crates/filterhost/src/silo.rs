//! Silos: jobs that make a container out of the processes in them.

use std::sync::Arc;

use crate::layout::GUID;
use crate::machine::{self, Machine};
use crate::memory::{self, Block};
use crate::object::{KernelObject, Kind, Object};
use crate::process::Process;

/// What a silo is for; only a server silo is a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiloKind {
    /// A container.
    Server,
    /// An application silo, as desktop bridges use: it has its own namespace and no container.
    App,
}

/// A silo object.
pub struct Silo {
    kind: SiloKind,
    container_id: Option<Block>,
    /// The silo that it lies in; none for one that lies on the host.
    parent: Option<Arc<Object>>,
}

impl KernelObject for Silo {
    fn kind(&self) -> Kind {
        Kind::Silo
    }

    fn deleted(&self, m: &Arc<Machine>, _object: &Arc<Object>) {
        if let Some(parent) = &self.parent {
            parent.dereference(m);
        }
    }
}

impl Silo {
    /// Makes a silo, within `parent` if there is one; the caller owns its one reference.
    pub fn create(
        m: &Arc<Machine>,
        kind: SiloKind,
        container_id: Option<GUID>,
        parent: Option<&Arc<Object>>,
    ) -> Arc<Object> {
        let container_id = container_id.map(|id| {
            let block = Block::zeroed(size_of::<GUID>());
            memory::write(block.pointer(), id);
            block
        });
        if let Some(parent) = parent {
            parent.reference();
        }
        let host = Self {
            kind,
            container_id,
            parent: parent.cloned(),
        };
        m.objects().create(Kind::Silo.body_size(), Arc::new(host))
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> SiloKind {
        self.kind
    }

    /// The container's id, if the host compute service gave it one.
    #[must_use]
    pub fn container_id(&self) -> Option<GUID> {
        self.container_id
            .as_ref()
            .map(|block| memory::read(block.pointer()))
    }

    /// Where that id is in the silo object (`PsGetSiloContainerId`).
    #[must_use]
    pub fn container_id_address(&self) -> Option<usize> {
        self.container_id.as_ref().map(Block::address)
    }
}

/// The silo that the current thread's process is in.
#[must_use]
pub fn of_current_thread() -> Option<Arc<Object>> {
    let (_, thread) = machine::try_current()?;
    thread.process().silo().cloned()
}

/// The server silo that a silo is or lies in: the nearest one, and an application silo is none.
#[must_use]
pub fn server_of(silo: &Arc<Object>) -> Option<Arc<Object>> {
    let host = silo.host::<Silo>()?;
    if host.purpose() == SiloKind::Server {
        return Some(Arc::clone(silo));
    }
    server_of(host.parent.as_ref()?)
}

/// The server silo that a process is in.
#[must_use]
pub fn server_silo_of(process: &Process) -> Option<Arc<Object>> {
    server_of(process.silo()?)
}

impl Machine {
    /// Makes a container's silo.
    pub fn create_silo(self: &Arc<Self>, container_id: Option<GUID>) -> Arc<Object> {
        Silo::create(self, SiloKind::Server, container_id, None)
    }

    /// Makes an application silo, as any process may of a job of its own: on the host, or within
    /// another silo.
    pub fn create_app_silo(self: &Arc<Self>, parent: Option<&Arc<Object>>) -> Arc<Object> {
        Silo::create(self, SiloKind::App, None, parent)
    }
}
