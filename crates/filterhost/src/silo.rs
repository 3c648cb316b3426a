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
}

impl KernelObject for Silo {
    fn kind(&self) -> Kind {
        Kind::Silo
    }
}

impl Silo {
    /// Makes a silo; the caller owns its one reference.
    pub fn create(m: &Arc<Machine>, kind: SiloKind, container_id: Option<GUID>) -> Arc<Object> {
        let container_id = container_id.map(|id| {
            let block = Block::zeroed(size_of::<GUID>());
            memory::write(block.pointer(), id);
            block
        });
        m.objects().create(
            Kind::Silo.body_size(),
            Arc::new(Self { kind, container_id }),
        )
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

/// The server silo that a process is in: the nearest one, and an application silo is none.
#[must_use]
pub fn server_silo_of(process: &Process) -> Option<Arc<Object>> {
    let silo = process.silo()?;
    let host = silo.host::<Silo>()?;
    (host.purpose() == SiloKind::Server).then(|| Arc::clone(silo))
}

impl Machine {
    /// Makes a container's silo.
    pub fn create_silo(self: &Arc<Self>, container_id: Option<GUID>) -> Arc<Object> {
        Silo::create(self, SiloKind::Server, container_id)
    }
}
