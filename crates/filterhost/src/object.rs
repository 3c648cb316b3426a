//! Kernel objects: stable addresses, reference counts and per-process handle tables.
//!
//! A driver holds the address of an object's body, which is laid out as Windows lays it out.
//! The host finds its own state from that address through one table for each machine. A body
//! that was freed stays allocated and poisoned until the machine ends, so that its address
//! names no other object and a late use is seen.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::machine::Machine;
use crate::memory::{self, Block};
use crate::process::Process;
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH,
};

/// A handle value as drivers and simulated user code see it.
pub type Handle = usize;

/// Attribute of a handle that lives in the System process's table (`OBJ_KERNEL_HANDLE`).
pub const OBJ_KERNEL_HANDLE: u32 = 0x200;

/// What the body of a freed object is filled with.
const POISON: u8 = 0xdd;
/// Kernel handles have all these bits set.
const KERNEL_HANDLE_BITS: usize = 0xffff_ffff_8000_0000;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `KEVENT` made by handle (`ZwCreateEvent`).
    Event,
    /// `ETHREAD`.
    Thread,
    /// `EPROCESS`.
    Process,
    /// `FILE_OBJECT`.
    File,
    /// A section object.
    Section,
    /// A registry key.
    Key,
    /// A communication port of the Filter Manager (server or connection).
    Port,
    /// A job object: silos are jobs.
    Silo,
    /// `DEVICE_OBJECT`.
    Device,
    /// `DRIVER_OBJECT`.
    Driver,
    /// A directory, symbolic link or other named object without state of its own.
    Other,
}

impl Kind {
    /// Size in bytes of the body of such an object, as the host lays it out.
    #[must_use]
    pub const fn body_size(self) -> usize {
        match self {
            Self::Event => 0x18,
            Self::Thread => 0x800,
            Self::Process => 0xa00,
            Self::File => 0xd8,
            Self::Device | Self::Driver => 0x150,
            Self::Silo => 0x100,
            Self::Section | Self::Key | Self::Port | Self::Other => 0x40,
        }
    }
}

/// Host state behind an object, and what the object manager calls as its life goes on.
///
/// The calls run on the simulated thread that caused them, with no host lock held.
pub trait KernelObject: Any + Send + Sync {
    /// What the object is.
    fn kind(&self) -> Kind;

    /// The last handle *of one process* to the object was closed: time for `IRP_MJ_CLEANUP`
    /// when `last_of_all` says that no process has one any more.
    fn handle_closed(&self, m: &Arc<Machine>, object: &Arc<Object>, last_of_all: bool) {
        let _ = (m, object, last_of_all);
    }

    /// The last reference is gone: time for `IRP_MJ_CLOSE`. The body is poisoned afterwards.
    fn deleted(&self, m: &Arc<Machine>, object: &Arc<Object>) {
        let _ = (m, object);
    }
}

/// One object: the body that drivers see and the host's state.
pub struct Object {
    body: Block,
    size: usize,
    references: AtomicI64,
    handles: AtomicI64,
    host: Arc<dyn KernelObject>,
}

impl Object {
    /// Address of the body.
    #[must_use]
    pub fn address(&self) -> usize {
        self.body.address()
    }

    /// The body as a pointer to hand to a driver.
    #[must_use]
    pub fn pointer(&self) -> *mut core::ffi::c_void {
        self.body.pointer()
    }

    /// Size of the body in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// What the object is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.host.kind()
    }

    /// Pointer references, one for each open handle included.
    #[must_use]
    pub fn references(&self) -> i64 {
        self.references.load(Ordering::Acquire)
    }

    /// Open handles in all processes.
    #[must_use]
    pub fn open_handles(&self) -> i64 {
        self.handles.load(Ordering::Acquire)
    }

    /// The host's state, when it is a `T`.
    #[must_use]
    pub fn host<T: KernelObject>(&self) -> Option<Arc<T>> {
        let any: Arc<dyn Any + Send + Sync> = self.host.clone();
        any.downcast::<T>().ok()
    }

    /// Signals a thread or process object: it has ended.
    pub(crate) fn set_signaled(&self) {
        memory::write(self.body.pointer::<i32>().wrapping_add(1), 1);
    }

    /// Adds a reference; gives the new count.
    pub fn reference(&self) -> i64 {
        self.references.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Drops a reference; at zero the object is deleted. Gives the new count, negative when
    /// there was none to drop.
    pub fn dereference(self: &Arc<Self>, m: &Arc<Machine>) -> i64 {
        let left = self.references.fetch_sub(1, Ordering::AcqRel) - 1;
        if left == 0 {
            self.host.deleted(m, self);
            m.objects().bury(self);
        }
        left
    }
}

/// An entry of a handle table.
#[derive(Clone)]
pub struct HandleEntry {
    /// What the handle names.
    pub object: Arc<Object>,
    /// Access that was granted.
    pub access: u32,
    /// `OBJ_*` attributes.
    pub attributes: u32,
}

/// The handles of one process.
#[derive(Default)]
pub struct HandleTable {
    entries: BTreeMap<u32, HandleEntry>,
}

impl HandleTable {
    fn insert(&mut self, entry: HandleEntry) -> u32 {
        let mut free = 4_u32;
        for used in self.entries.keys() {
            if *used != free {
                break;
            }
            free = free.saturating_add(4);
        }
        self.entries.insert(free, entry);
        free
    }

    /// Number of open handles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when no handle is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All open handle indexes and entries.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &HandleEntry)> {
        self.entries
            .iter()
            .map(|(index, entry)| (*index as Handle, entry))
    }
}

/// All objects of one machine.
#[derive(Default)]
pub struct Objects {
    live: Mutex<BTreeMap<usize, Arc<Object>>>,
    buried: Mutex<BTreeMap<usize, Arc<Object>>>,
}

impl Objects {
    /// Makes an object with one reference, which is the caller's.
    ///
    /// The body is zeroed; threads, processes and events start with a dispatcher header.
    pub fn create(&self, size: usize, host: Arc<dyn KernelObject>) -> Arc<Object> {
        let body = Block::zeroed(size.max(0x18));
        if let Some(header) = dispatcher_type(host.kind()) {
            memory::write(body.pointer::<u32>(), header);
        }
        let object = Arc::new(Object {
            body,
            size,
            references: AtomicI64::new(1),
            handles: AtomicI64::new(0),
            host,
        });
        self.live.lock().insert(object.address(), object.clone());
        object
    }

    /// The live object whose body starts at `address`.
    #[must_use]
    pub fn find(&self, address: usize) -> Option<Arc<Object>> {
        self.live.lock().get(&address).cloned()
    }

    /// The live object at `pointer`, if it is of `kind`.
    #[must_use]
    pub fn find_kind<P>(&self, pointer: *const P, kind: Kind) -> Option<Arc<Object>> {
        self.find(pointer.addr())
            .filter(|object| object.kind() == kind)
    }

    /// Host state of the live object at `pointer`.
    #[must_use]
    pub fn host<T: KernelObject, P>(&self, pointer: *const P) -> Option<Arc<T>> {
        self.find(pointer.addr())?.host::<T>()
    }

    /// True when an object that was freed had its body at `address`.
    #[must_use]
    pub fn was_freed(&self, address: usize) -> bool {
        self.buried.lock().contains_key(&address)
    }

    /// All live objects of `kind`, by address.
    #[must_use]
    pub fn all(&self, kind: Kind) -> Vec<Arc<Object>> {
        let live = self.live.lock();
        live.values()
            .filter(|object| object.kind() == kind)
            .cloned()
            .collect()
    }

    fn bury(&self, object: &Arc<Object>) {
        let address = object.address();
        self.live.lock().remove(&address);
        self.buried.lock().insert(address, object.clone());
        object.body.fill(POISON);
    }

    /// Opens a handle: in the System table when `attributes` has [`OBJ_KERNEL_HANDLE`], else in
    /// `process`. The handle holds a reference of its own.
    pub fn open_handle(
        &self,
        m: &Arc<Machine>,
        process: &Process,
        object: &Arc<Object>,
        access: u32,
        attributes: u32,
    ) -> Handle {
        object.reference();
        object.handles.fetch_add(1, Ordering::AcqRel);
        let entry = HandleEntry {
            object: object.clone(),
            access,
            attributes,
        };
        if attributes & OBJ_KERNEL_HANDLE != 0 {
            let index = m.system_process().handles.lock().insert(entry);
            return KERNEL_HANDLE_BITS | index as usize;
        }
        process.handles.lock().insert(entry) as Handle
    }

    /// The entry of a handle as seen from `process`.
    ///
    /// # Errors
    /// `STATUS_INVALID_HANDLE` when it names nothing.
    pub fn entry(
        &self,
        m: &Arc<Machine>,
        process: &Process,
        handle: Handle,
    ) -> Result<HandleEntry, NtStatus> {
        let (system, index) = split(handle).ok_or(STATUS_INVALID_HANDLE)?;
        let table = if system {
            &m.system_process().handles
        } else {
            &process.handles
        };
        table
            .lock()
            .entries
            .get(&index)
            .cloned()
            .ok_or(STATUS_INVALID_HANDLE)
    }

    /// The object behind a handle, checked for kind and for every bit of `access`.
    ///
    /// # Errors
    /// `STATUS_INVALID_HANDLE`, `STATUS_OBJECT_TYPE_MISMATCH`, `STATUS_ACCESS_DENIED`.
    pub fn by_handle(
        &self,
        m: &Arc<Machine>,
        process: &Process,
        handle: Handle,
        kind: Option<Kind>,
        access: u32,
    ) -> Result<Arc<Object>, NtStatus> {
        let entry = self.entry(m, process, handle)?;
        if kind.is_some_and(|kind| kind != entry.object.kind()) {
            return Err(STATUS_OBJECT_TYPE_MISMATCH);
        }
        if entry.access & access != access {
            return Err(STATUS_ACCESS_DENIED);
        }
        Ok(entry.object)
    }

    /// Closes a handle and drops its reference.
    ///
    /// # Errors
    /// `STATUS_INVALID_HANDLE` when it names nothing.
    pub fn close_handle(
        &self,
        m: &Arc<Machine>,
        process: &Process,
        handle: Handle,
    ) -> Result<(), NtStatus> {
        let (system, index) = split(handle).ok_or(STATUS_INVALID_HANDLE)?;
        let table = if system {
            &m.system_process().handles
        } else {
            &process.handles
        };
        let entry = table
            .lock()
            .entries
            .remove(&index)
            .ok_or(STATUS_INVALID_HANDLE)?;
        let object = entry.object;
        let last = object.handles.fetch_sub(1, Ordering::AcqRel) == 1;
        object.host.handle_closed(m, &object, last);
        object.dereference(m);
        Ok(())
    }
}

/// First word of the dispatcher header of objects that threads can wait for.
fn dispatcher_type(kind: Kind) -> Option<u32> {
    match kind {
        Kind::Process => Some(3),
        Kind::Thread => Some(6),
        _ => None,
    }
}

/// Whether a handle belongs to the System table, and its index there.
fn split(handle: Handle) -> Option<(bool, u32)> {
    let system = handle & KERNEL_HANDLE_BITS == KERNEL_HANDLE_BITS;
    let index = if system {
        handle & !KERNEL_HANDLE_BITS
    } else {
        handle
    };
    // The two low bits of a handle are the caller's to use.
    u32::try_from(index & !3)
        .ok()
        .filter(|index| *index != 0)
        .map(|index| (system, index))
}
