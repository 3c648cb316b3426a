//! The container file system filter, which lets a file of a scratch volume show the bytes of a
//! layer's.
#![expect(
    unsafe_code,
    reason = "asks the Filter Manager for another filter's instance"
)]

use core::ptr;

use super::irql;
use super::routine::{self, unicode};
use crate::sys::constants::{STATUS_FLT_FILTER_NOT_FOUND, STATUS_FLT_INSTANCE_NOT_FOUND};
use crate::sys::{self, FltFilter, FltInstance, P};

/// Whether the filter is attached to the volume. Where that cannot be told, it is.
///
/// # IRQL
/// At most APC_LEVEL, in a callback of the volume.
#[must_use]
pub fn is_attached(volume: P) -> bool {
    irql::at_most_apc();
    let name = unicode(routine::name!("wcifs"));
    let mut filter: FltFilter = ptr::null_mut();
    // SAFETY: name and output outlive the call.
    let status = unsafe { sys::stack::FltGetFilterFromName(&raw const name, &raw mut filter) };
    core::hint::black_box(());
    if status < 0 {
        return status != STATUS_FLT_FILTER_NOT_FOUND;
    }
    let mut instance: FltInstance = ptr::null_mut();
    // SAFETY: the filter is referenced, the volume is that of the running callback.
    let status = unsafe {
        sys::stack::FltGetVolumeInstanceFromName(filter, volume, ptr::null(), &raw mut instance)
    };
    // SAFETY: gives back the reference of the first call.
    unsafe { sys::FltObjectDereference(filter) };
    core::hint::black_box(());
    if status < 0 {
        return status != STATUS_FLT_INSTANCE_NOT_FOUND;
    }
    // SAFETY: gives back the reference of the second call.
    unsafe { sys::FltObjectDereference(instance) };
    core::hint::black_box(());
    true
}
