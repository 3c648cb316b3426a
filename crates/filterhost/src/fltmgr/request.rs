//! Callback data as the I/O manager makes it, for everybody who sends an operation.

use std::sync::Arc;

use super::ecp::OpenPacket;
use super::instance::InstanceRef;
use super::{dispatch, guest};
use crate::layout::{
    FILE_OBJECT, FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, FLT_PARAMETERS,
    FLTFL_CALLBACK_DATA_IRP_OPERATION, PVOID, Zeroed,
};
use crate::machine::{self, Machine};
use crate::status::NtStatus;
use crate::volume::Volume;

/// One operation to be sent: an IRP of the calling thread unless told otherwise.
pub struct Request {
    data: Box<FLT_CALLBACK_DATA>,
    block: Box<FLT_IO_PARAMETER_BLOCK>,
    packet: Option<Arc<OpenPacket>>,
}

impl Request {
    /// An operation on a file object, for kernel mode.
    #[must_use]
    pub fn new(major: u8, file: *mut FILE_OBJECT) -> Self {
        let thread = machine::current_thread().address();
        let mut block = Box::new(FLT_IO_PARAMETER_BLOCK::zeroed());
        block.major_function = major;
        block.target_file_object = file;
        let mut data = Box::new(FLT_CALLBACK_DATA::zeroed());
        data.flags = FLTFL_CALLBACK_DATA_IRP_OPERATION;
        data.thread = core::ptr::with_exposed_provenance_mut(thread);
        data.iopb = &raw mut *block;
        Self {
            data,
            block,
            packet: None,
        }
    }

    /// The callback data, to change what the builder does not know.
    pub fn data(&mut self) -> &mut FLT_CALLBACK_DATA {
        &mut self.data
    }

    /// The parameter block.
    pub fn block(&mut self) -> &mut FLT_IO_PARAMETER_BLOCK {
        &mut self.block
    }

    /// Replaces the parameters.
    #[must_use]
    pub fn parameters(mut self, parameters: FLT_PARAMETERS) -> Self {
        self.block.parameters = parameters;
        self
    }

    /// Sets the requestor's mode (`KernelMode` or `UserMode`).
    #[must_use]
    pub fn mode(mut self, mode: i8) -> Self {
        self.data.requestor_mode = mode;
        self
    }

    /// Sets the flags of the IRP (`IRP_*`).
    #[must_use]
    pub fn irp_flags(mut self, flags: u32) -> Self {
        self.block.irp_flags = flags;
        self
    }

    /// Sets the minor function and the flags of the stack location (`SL_*`).
    #[must_use]
    pub fn minor(mut self, minor: u8, operation_flags: u8) -> Self {
        self.block.minor_function = minor;
        self.block.operation_flags = operation_flags;
        self
    }

    /// Makes it another kind of operation than an IRP (`FLTFL_CALLBACK_DATA_*_OPERATION`).
    #[must_use]
    pub fn kind(mut self, flag: u32) -> Self {
        self.data.flags = flag;
        self
    }

    /// Adds a flag to the callback data.
    #[must_use]
    pub fn flag(mut self, flag: u32) -> Self {
        self.data.flags |= flag;
        self
    }

    /// Gives a create its extra parameters, which outlive the pass.
    #[must_use]
    pub fn packet(mut self, packet: &Arc<OpenPacket>) -> Self {
        self.packet = Some(packet.clone());
        self
    }

    /// Sends it through the filters of `volume`, or those under `below`, to the file system.
    /// Gives the final status and `IoStatus.Information`.
    pub fn send(
        &mut self,
        m: &Arc<Machine>,
        volume: &Arc<Volume>,
        below: Option<&InstanceRef>,
    ) -> (NtStatus, usize) {
        self.data.iopb = &raw mut *self.block;
        let data: *mut FLT_CALLBACK_DATA = &raw mut *self.data;
        if let Some(packet) = &self.packet {
            packet.bind(m, data);
        }
        let status = dispatch::call(m, volume, below, data);
        (status, guest::data::io_status(data).information)
    }

    /// The reparse data that a create ended with, by address.
    #[must_use]
    pub fn tag_data(&self) -> PVOID {
        self.data.tag_data
    }
}
