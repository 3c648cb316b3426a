//! Silos: whether a file is opened by a container, and which one.
#![expect(unsafe_code, reason = "asks the I/O and process managers")]

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::file::File;
use super::{irql, routine};
use crate::sys::{self, Guid, P};

/// From Windows 10 1809 on.
static CONTAINER_ID: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type ContainerId = unsafe extern "system" fn(P) -> *const Guid;

/// The silo that an open comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silo {
    /// Whose share of the scan queue it takes: the container that it is or lies in. All silos
    /// that lie in none share one account, since a process can make as many as it likes.
    pub account: u64,
    /// The container's id, all zero where Windows does not tell it.
    pub container: [u8; 16],
}

/// The account of silos that lie in no container; no object has this address.
const NO_CONTAINER: u64 = 1;

/// Where a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On the host.
    Host,
    /// In a container that the host compute service made.
    Container,
    /// In a silo that it did not make.
    Foreign,
}

/// Looks up what older systems lack. Called once by `DriverEntry`.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn init() {
    irql::passive();
    let address = routine::kernel(routine::name!("PsGetSiloContainerId"));
    CONTAINER_ID.store(
        address.map_or(ptr::null_mut(), ptr::NonNull::as_ptr),
        Ordering::Release,
    );
}

/// Where the file object is opened. The host compute service makes *server* silos, and from
/// Windows 10 1809 on gives them an id. Any process can turn a job of its own into an
/// application silo.
/// <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-psgeteffectiveserversilo>
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn place(file: File<'_>) -> Place {
    let Some(silo) = silo_of(file) else {
        return Place::Host;
    };
    // SAFETY: the silo lives: the file object's parameters refer to it.
    if unsafe { sys::PsGetEffectiveServerSilo(silo) } != silo {
        return Place::Foreign;
    }
    let tells_ids = !CONTAINER_ID.load(Ordering::Acquire).is_null();
    if tells_ids && container_id(silo) == [0; 16] {
        return Place::Foreign;
    }
    Place::Container
}

/// The silo of a file object that is opened in a container context. Off the path of a hit.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn of(file: File<'_>) -> Option<Silo> {
    let silo = silo_of(file)?;
    let server = server_of(silo);
    let own = container_id(silo);
    Some(Silo {
        account: server.map_or(NO_CONTAINER, |server| server.addr() as u64),
        container: match server {
            Some(server) if own == [0; 16] => container_id(server),
            _ => own,
        },
    })
}

/// The silo object, which lives as long as the file object.
fn silo_of(file: File<'_>) -> Option<P> {
    irql::passive();
    // SAFETY: the file object lives (type) and is only looked at.
    let parameters = unsafe { sys::IoGetSiloParameters(file.as_ptr()) };
    if parameters.is_null() {
        return None;
    }
    // SAFETY: the parameters belong to the file object and live as long as it does.
    Some(unsafe { (*parameters).silo })
}

/// The container that a silo is, or lies in; `None` on the host.
fn server_of(silo: P) -> Option<P> {
    // SAFETY: the silo lives: the file object's parameters refer to it.
    let server = unsafe { sys::PsGetEffectiveServerSilo(silo) };
    // SAFETY: a silo lives as long as those that lie in it.
    let is_host = server.is_null() || unsafe { sys::PsIsHostSilo(server) } != 0;
    (!is_host).then_some(server)
}

fn container_id(silo: P) -> [u8; 16] {
    let address = CONTAINER_ID.load(Ordering::Acquire);
    if address.is_null() || silo.is_null() {
        return [0; 16];
    }
    // SAFETY: `init` stored the address of the kernel's routine of this name and signature.
    let routine: ContainerId = unsafe { core::mem::transmute(address) };
    // SAFETY: the silo lives: the file object's parameters refer to it.
    let id = unsafe { routine(silo) };
    if id.is_null() {
        return [0; 16];
    }
    // SAFETY: the id is part of the silo object, which lives; it is copied at once.
    unsafe { id.read_unaligned() }.to_bytes()
}

/// Whether the calling thread runs in a container.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn caller_is_contained() -> bool {
    irql::at_most_dispatch();
    // SAFETY: the routine takes nothing; the silo lives while the thread runs in it.
    let silo = unsafe { sys::PsGetCurrentServerSilo() };
    // SAFETY: the silo is that of the calling thread; null is the host.
    !silo.is_null() && unsafe { sys::PsIsHostSilo(silo) } == 0
}
