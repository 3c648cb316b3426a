//! Device control requests that a driver sends to the device below: built, sent once, completed
//! by the device, at once or later.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;

use parking_lot::Mutex;

use super::dispatcher;
use crate::exports;
use crate::fltmgr::guest;
use crate::fltmgr::{Leak, Origin};
use crate::layout::{IO_STATUS_BLOCK, PVOID};
use crate::machine::Machine;
use crate::memory::Block;
use crate::object::Kind;
use crate::status::{NtStatus, STATUS_INVALID_DEVICE_REQUEST, STATUS_PENDING};
use crate::verifier;
use crate::volume::Disk;

/// Bytes of an `IRP` with one stack location.
const IRP_BYTES: usize = 0xd0 + 0x48;

/// Requests that were built and not sent.
#[derive(Default)]
pub struct Irps {
    built: Mutex<BTreeMap<usize, Irp>>,
}

/// One request.
struct Irp {
    /// The memory that the driver has the address of; what it writes there is not looked at.
    _body: Block,
    device: usize,
    code: u32,
    /// `IRP_MJ_INTERNAL_DEVICE_CONTROL`, which the disks of this host do not know.
    internal: bool,
    output: usize,
    room: usize,
    event: usize,
    status: usize,
    origin: Origin,
}

/// Requests that nobody sent: their memory is lost.
pub(crate) fn unsent(m: &Machine) -> Vec<Leak> {
    let irps = m.state::<Irps>();
    let built = irps.built.lock();
    let leak = |irp: &Irp| Leak::new(format!("an IRP for {:#x}", irp.code), &irp.origin);
    built.values().map(leak).collect()
}

impl Irp {
    /// What the device does with the request; the caller's memory is written last.
    fn perform(&self, m: &Arc<Machine>) -> NtStatus {
        let device: *const c_void = std::ptr::without_provenance(self.device);
        let (status, bytes) = match m.objects().host::<Disk, _>(device) {
            Some(disk) if !self.internal => disk.control(m, self.code, self.room),
            _ => (STATUS_INVALID_DEVICE_REQUEST, Vec::new()),
        };
        guest::write_bytes(pointer(self.output), &bytes);
        let block = IO_STATUS_BLOCK {
            status: status.0,
            information: bytes.len(),
        };
        guest::write(pointer::<IO_STATUS_BLOCK>(self.status), block);
        if self.event != 0 {
            dispatcher::update(m, pointer(self.event), |_| 1);
        }
        status
    }
}

fn pointer<T>(address: usize) -> *mut T {
    std::ptr::with_exposed_provenance_mut(address)
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// The topmost device of a stack, referenced. Nothing is attached to the disks of this host.
    [DISPATCH, 0, "ntifs/nf-ntifs-iogetattacheddevicereference"]
    fn IoGetAttachedDeviceReference(c, device: PVOID) -> PVOID {
        let Some(object) = c.m.objects().find_kind(device, Kind::Device) else {
            c.fatal(&verifier::irp::DEVICE, format!("{device:p} is no device object"));
        };
        object.reference();
        object.pointer()
    }

    [APC, 0, "wdm/nf-wdm-iobuilddeviceiocontrolrequest", fails std::ptr::null_mut()]
    fn IoBuildDeviceIoControlRequest(
        c, code: u32, device: PVOID, input: PVOID, input_length: u32, output: PVOID,
        output_length: u32, internal: u8, event: PVOID, status: *mut IO_STATUS_BLOCK,
    ) -> PVOID {
        if c.m.objects().find_kind(device, Kind::Device).is_none() {
            c.fatal(&verifier::irp::DEVICE, format!("{device:p} is no device object"));
        }
        if (input.is_null() && input_length != 0) || (output.is_null() && output_length != 0) {
            c.violation(&verifier::irp::BUFFER, "a length without a buffer");
        }
        if status.is_null() {
            c.violation(&verifier::irp::STATUS_BLOCK, "no status block");
        }
        if event.is_null() {
            c.stop("unsupported", "no event, and no completion routine can be set in this host");
        }
        dispatcher::check_object(c.m, event);
        let body = Block::zeroed(IRP_BYTES);
        let address = body.address();
        let irp = Irp {
            _body: body,
            device: device.addr(),
            code,
            internal: internal != 0,
            output: output.expose_provenance(),
            room: output_length as usize,
            event: event.expose_provenance(),
            status: status.expose_provenance(),
            origin: Origin::here(c.m),
        };
        c.m.state::<Irps>().built.lock().insert(address, irp);
        pointer(address)
    }

    /// Sends a request. The device completes it at once, or says that it will.
    [DISPATCH, 0, "wdm/nf-wdm-iofcalldriver"]
    fn IofCallDriver(c, device: PVOID, irp: PVOID) -> NtStatus {
        let Some(irp) = c.m.state::<Irps>().built.lock().remove(&irp.addr()) else {
            c.fatal(&verifier::irp::POINTER, format!("{irp:p} is no request that may be sent"));
        };
        if irp.device != device.addr() {
            let detail = "sent to another device than it was built for";
            c.violation(&verifier::irp::OTHER_DEVICE, detail);
        }
        if c.m.sched().random() & 1 == 0 {
            return irp.perform(c.m);
        }
        let m = Arc::clone(c.m);
        c.m.sched().spawn(c.m.system_process(), "disk", move || {
            irp.perform(&m);
        });
        STATUS_PENDING
    }
}
