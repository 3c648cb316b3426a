//! Simulated processes: what the kernel would keep in an `EPROCESS`.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::object::{HandleTable, KernelObject, Kind, Object};

/// A process: an id, a handle table, perhaps a silo that it belongs to.
pub struct Process {
    id: u32,
    name: String,
    create_time: i64,
    silo: Option<Arc<Object>>,
    eprocess: OnceLock<usize>,
    exited: AtomicBool,
    user: Mutex<Option<Vec<u8>>>,
    pub(crate) handles: Mutex<HandleTable>,
}

impl Process {
    pub(crate) fn new(id: u32, name: &str, time: i64, silo: Option<Arc<Object>>) -> Arc<Self> {
        Arc::new(Self {
            id,
            name: name.to_owned(),
            create_time: time,
            silo,
            eprocess: OnceLock::new(),
            exited: AtomicBool::new(false),
            user: Mutex::new(None),
            handles: Mutex::new(HandleTable::default()),
        })
    }

    /// The process id; 4 is the System process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// True for the System process.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.id == 4
    }

    /// The image name given at creation.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was created, in 100 ns since 1601.
    #[must_use]
    pub fn create_time(&self) -> i64 {
        self.create_time
    }

    /// The silo object that it belongs to, if any.
    #[must_use]
    pub fn silo(&self) -> Option<&Arc<Object>> {
        self.silo.as_ref()
    }

    /// Address of the `EPROCESS` body.
    #[must_use]
    pub fn address(&self) -> usize {
        self.eprocess.get().copied().unwrap_or(0)
    }

    pub(crate) fn set_address(&self, address: usize) {
        self.eprocess.get_or_init(|| address);
    }

    /// True once [`Process::set_exited`] was called.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        self.exited.load(Ordering::Acquire)
    }

    /// Marks the process as gone; its threads are the caller's affair.
    pub fn set_exited(&self) {
        self.exited.store(true, Ordering::Release);
    }

    /// The binary SID of its user, where a test gave one.
    #[must_use]
    pub fn user_sid(&self) -> Option<Vec<u8>> {
        self.user.lock().clone()
    }

    /// Sets the binary SID of its user.
    pub fn set_user_sid(&self, sid: Option<Vec<u8>>) {
        *self.user.lock() = sid;
    }
}

impl KernelObject for Process {
    fn kind(&self) -> Kind {
        Kind::Process
    }
}
