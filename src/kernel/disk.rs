//! The disk below a volume: whether a cluster exposes it under another name.
#![expect(unsafe_code, reason = "sends a request down a device stack")]

use core::cell::UnsafeCell;
use core::ptr;

use super::event::{self, Kind};
use super::object::Object;
use super::pool::Tag;
use super::{clock, irql};
use crate::sys::constants::{STATUS_PENDING, STATUS_SUCCESS};
use crate::sys::{self, P};
use wdk_sys::{IO_STATUS_BLOCK, PDEVICE_OBJECT};

/// Asks what a cluster knows of a disk; takes nothing, gives a [`ClusterInfo`].
/// <https://learn.microsoft.com/windows/win32/fileio/ioctl-disk-get-cluster-info>
const IOCTL_DISK_GET_CLUSTER_INFO: u32 = 0x0007_0214;
/// Volumes on the disk are exposed by CSVFS on all nodes.
const FLAG_CSV: u64 = 2;
/// The disk is in maintenance: its volumes belong to this node alone, and CSVFS hides nothing.
const FLAG_IN_MAINTENANCE: u64 = 4;

/// One wait of several for the disk's answer, in milliseconds.
const WAIT_MS: u64 = 1_000;

/// `DISK_CLUSTER_INFO`.
/// <https://learn.microsoft.com/windows/win32/fileio/disk-cluster-info>
#[repr(C)]
#[derive(Clone, Copy)]
struct ClusterInfo {
    version: u32,
    flags: u64,
    flags_mask: u64,
    notify: u8,
}

const _: () = {
    assert!(size_of::<ClusterInfo>() == 0x20);
    assert!(core::mem::offset_of!(ClusterInfo, flags) == 8);
};

/// Whether the volume is the hidden one below a cluster shared volume. A disk that does not
/// answer is no cluster's.
///
/// # IRQL
/// PASSIVE_LEVEL, in a callback of the volume's I/O: elsewhere the disk may be gone.
pub fn is_cluster_shared(volume: P) -> bool {
    irql::passive();
    let mut raw: P = ptr::null_mut();
    // SAFETY: the volume is that of the running callback; the output outlives the call.
    let status = unsafe { sys::stack::FltGetDiskDeviceObject(volume, &raw mut raw) };
    core::hint::black_box(());
    if status < 0 {
        return false;
    }
    // SAFETY: a successful call gives one reference to the device.
    let Some(_disk) = (unsafe { Object::own(raw) }) else {
        return false;
    };
    // SAFETY: the device is referenced, so it lives during the call.
    let top = unsafe { wdk_sys::ntddk::IoGetAttachedDeviceReference(raw.cast()) };
    // SAFETY: the call gives one reference to the topmost device.
    let Some(_top) = (unsafe { Object::own(top.cast()) }) else {
        return false;
    };
    ask(top).is_some_and(|info| info.flags & FLAG_CSV != 0 && info.flags & FLAG_IN_MAINTENANCE == 0)
}

/// Asks a referenced device. `None` where it does not know, or there is no memory to ask.
fn ask(device: PDEVICE_OBJECT) -> Option<ClusterInfo> {
    let done = event::events(1, Kind::Synchronization, Tag::MESSAGE).ok()?;
    let done = done.first()?;
    let answer = UnsafeCell::new(ClusterInfo {
        version: 0,
        flags: 0,
        flags_mask: 0,
        notify: 0,
    });
    let block = UnsafeCell::new(IO_STATUS_BLOCK::default());
    // SAFETY: the device is referenced by the caller; answer, event and block live until the
    // request is complete, which is waited for below.
    let request = unsafe {
        wdk_sys::ntddk::IoBuildDeviceIoControlRequest(
            IOCTL_DISK_GET_CLUSTER_INFO,
            device,
            ptr::null_mut(),
            0,
            answer.get().cast(),
            size_of::<ClusterInfo>() as u32,
            0,
            done.as_ptr(),
            block.get(),
        )
    };
    if request.is_null() {
        return None;
    }
    // SAFETY: the request was built for this device, and is sent once.
    let mut status = unsafe { wdk_sys::ntddk::IofCallDriver(device, request) };
    if status == STATUS_PENDING {
        // The disk answers from its memory; until it has, it owns our buffers.
        while !done.wait(clock::after(clock::now(), WAIT_MS)) {}
        // SAFETY: the request is complete: nobody writes the block any more.
        let block = unsafe { block.get().read() };
        // SAFETY: both members of the union are plain numbers, and the status was written.
        status = unsafe { block.__bindgen_anon_1.Status };
    }
    // SAFETY: the request is complete, or was refused: nobody writes the answer any more.
    let answer = unsafe { answer.get().read() };
    (status == STATUS_SUCCESS).then_some(answer)
}
