//! Silos as drivers see them.

use core::ffi::c_void;
use std::sync::Arc;

use crate::exports;
use crate::exports::Call;
use crate::layout::{FILE_OBJECT, GUID};
use crate::object::{Kind, Object};
use crate::silo::{Silo, server_of, server_silo_of};
use crate::user::file_object::FileHost;
use crate::verifier;

/// The silo object at a pointer that a driver gave; null is the host.
fn silo_at(c: &Call<'_>, pointer: *const c_void) -> Option<Arc<Object>> {
    if pointer.is_null() {
        return None;
    }
    match c.m.objects().find_kind(pointer, Kind::Silo) {
        Some(silo) => Some(silo),
        None => c.fatal(&verifier::object::TYPE, format!("{pointer:p} is no silo")),
    }
}

fn pointer(silo: Option<Arc<Object>>) -> *mut c_void {
    silo.map_or(std::ptr::null_mut(), |silo| silo.pointer())
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// What ties a file object to a silo; null when nothing does.
    [PASSIVE, 14393, "ntddk/nf-ntddk-iogetsiloparameters"]
    fn IoGetSiloParameters(c, file: *const FILE_OBJECT) -> *mut c_void {
        let Some(host) = c.m.objects().host::<FileHost, _>(file) else {
            // A file object that the host did not make (on a kernel stack, say) has no extension.
            return std::ptr::null_mut();
        };
        host.silo_parameters().map_or(std::ptr::null_mut(), std::ptr::with_exposed_provenance_mut)
    }

    /// The container id of a silo; null for none.
    [PASSIVE, 17763, "ntddk/nf-ntddk-psgetsilocontainerid"]
    fn PsGetSiloContainerId(c, silo: *const c_void) -> *mut GUID {
        let host = silo_at(c, silo).and_then(|silo| silo.host::<Silo>());
        let id = host.and_then(|host| host.container_id_address());
        id.map_or(std::ptr::null_mut(), std::ptr::with_exposed_provenance_mut)
    }

    /// The server silo that a silo is part of; null for the host.
    [DISPATCH, 14393, "ntddk/nf-ntddk-psgeteffectiveserversilo"]
    fn PsGetEffectiveServerSilo(c, silo: *const c_void) -> *mut c_void {
        pointer(silo_at(c, silo).and_then(|silo| server_of(&silo)))
    }

    /// Whether a silo is the host.
    [DISPATCH, 14393, "ntddk/nf-ntddk-psishostsilo"]
    fn PsIsHostSilo(c, silo: *const c_void) -> u8 {
        u8::from(silo_at(c, silo).is_none())
    }

    /// The server silo of the calling thread; null for the host.
    [DISPATCH, 14393, "ntddk/nf-ntddk-psgetcurrentserversilo"]
    fn PsGetCurrentServerSilo(c) -> *mut c_void {
        pointer(server_silo_of(&c.thread.process()))
    }
}
