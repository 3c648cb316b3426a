//! A container: a silo, a scratch volume, layers over it, and processes inside.

use std::sync::Arc;

use crate::fltmgr::{InstanceRef, NativeFilter, native, volume};
use crate::layout::GUID;
use crate::machine::Machine;
use crate::object::Object;
use crate::silo::{Silo, SiloKind};
use crate::user::Process;
use crate::volume::{FsKind, Volume, Volumes};
use crate::wcifs::{EcpVariant, Layer, Overlay, Wcifs, Whiteouts};

/// How a container is to be.
#[derive(Clone)]
pub struct ContainerOptions {
    /// The layers of its image, topmost first.
    pub layers: Vec<Layer>,
    /// The id that the host compute service gave it; none for a silo that it did not make.
    pub container_id: Option<GUID>,
    /// Kind of its scratch volume, which must know reparse points.
    pub scratch: FsKind,
    /// How the container file system filter answers.
    pub variant: EcpVariant,
    /// What its silo is; only of a server silo the host compute service makes a container.
    pub silo: SiloKind,
    /// The silo that its silo lies in; none for one on the host.
    pub within: Option<Arc<Object>>,
}

impl Default for ContainerOptions {
    fn default() -> Self {
        Self {
            layers: Vec::new(),
            container_id: None,
            scratch: FsKind::Ntfs,
            variant: EcpVariant::default(),
            silo: SiloKind::Server,
            within: None,
        }
    }
}

/// A container that runs.
pub struct Container {
    m: Arc<Machine>,
    silo: Arc<Object>,
    filter: Arc<Wcifs>,
    instance: InstanceRef,
    whiteouts: Arc<Whiteouts>,
    scratch: Arc<Volume>,
}

impl Container {
    /// Starts a container on a fresh scratch volume.
    pub fn create(m: &Arc<Machine>, options: &ContainerOptions) -> Self {
        let scratch = Volume::mount_kind(m, options.scratch);
        Self::start(m, options, &scratch, Arc::default())
    }

    /// Starts a container on a scratch volume that an earlier run left.
    pub fn start(
        m: &Arc<Machine>,
        options: &ContainerOptions,
        scratch: &Arc<Volume>,
        whiteouts: Arc<Whiteouts>,
    ) -> Self {
        let overlay = Overlay::new(scratch, &options.layers, Arc::clone(&whiteouts));
        let filter = Arc::new(Wcifs::new(overlay, options.variant));
        let shared: Arc<dyn NativeFilter> = Arc::clone(&filter) as Arc<dyn NativeFilter>;
        let instance = native::attach(m, scratch, shared);
        let parent = options.within.as_ref();
        let silo = Silo::create(m, options.silo, options.container_id, parent);
        let (m, scratch) = (Arc::clone(m), Arc::clone(scratch));
        Self {
            m,
            silo,
            filter,
            instance,
            whiteouts,
            scratch,
        }
    }

    /// A process in the container, whose drive C is the scratch volume.
    #[must_use]
    pub fn process(&self, name: &str) -> Process {
        Process::create(&self.m, name, &self.scratch, Some(&self.silo))
    }

    /// The scratch volume.
    #[must_use]
    pub fn scratch(&self) -> &Arc<Volume> {
        &self.scratch
    }

    /// The silo object.
    #[must_use]
    pub fn silo(&self) -> &Arc<Object> {
        &self.silo
    }

    /// The container file system filter.
    #[must_use]
    pub fn filter(&self) -> &Arc<Wcifs> {
        &self.filter
    }

    /// Paths that the container deleted; needed to start it again.
    #[must_use]
    pub fn whiteouts(&self) -> &Arc<Whiteouts> {
        &self.whiteouts
    }

    /// Stops the container: the filter leaves its scratch volume, which stays mounted.
    pub fn stop(&self) {
        native::detach(&self.m, &self.instance);
    }

    /// Stops the container and dismounts its scratch volume.
    pub fn destroy(&self) {
        crate::user::cache::settle(&self.m);
        self.scratch.dismount(&self.m);
        self.silo.dereference(&self.m);
    }
}

impl Volume {
    /// Dismounts: open files answer nothing any more, and every instance leaves.
    pub fn dismount(self: &Arc<Self>, m: &Arc<Machine>) {
        self.fs().set_dismounted();
        volume::dismounted(m, self);
        m.state::<Volumes>().remove(self);
    }
}

impl Machine {
    /// Starts a container on a fresh scratch volume.
    pub fn create_container(self: &Arc<Self>, options: &ContainerOptions) -> Container {
        Container::create(self, options)
    }
}
