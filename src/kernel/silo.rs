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
    /// Tells silos apart while they live; says nothing about one.
    pub address: u64,
    /// The container's id, all zero where Windows does not tell it.
    pub container: [u8; 16],
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

/// Whether the file object is opened in a container context.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn is_container(file: File<'_>) -> bool {
    irql::passive();
    // SAFETY: the file object lives (type); the result is only compared with null.
    !unsafe { sys::IoGetSiloParameters(file.as_ptr()) }.is_null()
}

/// The silo of a file object that is opened in a container context. Off the path of a hit.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn of(file: File<'_>) -> Option<Silo> {
    irql::passive();
    // SAFETY: the file object lives (type) and is only looked at.
    let parameters = unsafe { sys::IoGetSiloParameters(file.as_ptr()) };
    if parameters.is_null() {
        return None;
    }
    // SAFETY: the parameters belong to the file object and live as long as it does.
    let silo = unsafe { (*parameters).silo };
    Some(Silo {
        address: silo.addr() as u64,
        container: container_id(silo),
    })
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
