//! The functions on ports that drivers import.

use std::sync::Arc;

use parking_lot::Mutex;

use super::message::{deadline, send};
use super::{Ports, Server, ServerState, new_id, pointer, security};
use crate::fltmgr::blocks::Wanted;
use crate::fltmgr::filter::Phase;
use crate::fltmgr::{blocks, guest, registration};
use crate::layout::{
    ConnectNotify, DisconnectNotify, MessageNotify, OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE,
    OBJECT_ATTRIBUTES, PVOID,
};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_FLT_DELETING_OBJECT, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    STATUS_INVALID_SECURITY_DESCR, STATUS_OBJECT_NAME_COLLISION, STATUS_PORT_DISCONNECTED,
    STATUS_SUCCESS,
};
use crate::verifier;

/// Tag of descriptors made here.
const DESCRIPTOR_TAG: u32 = u32::from_le_bytes(*b"FMsd");

/// What the creation of a port takes besides its attributes.
struct Callbacks {
    cookie: PVOID,
    connect: Option<ConnectNotify>,
    disconnect: Option<DisconnectNotify>,
    message: Option<MessageNotify>,
    max_connections: i32,
}

fn create(
    m: &Arc<Machine>,
    filter: PVOID,
    attributes: *const OBJECT_ATTRIBUTES,
    of: &Callbacks,
) -> Result<PVOID, NtStatus> {
    let filter = registration::expect(m, "FltCreateCommunicationPort", filter);
    if filter.phase() == Phase::Unloading {
        return Err(STATUS_FLT_DELETING_OBJECT);
    }
    let attributes = guest::read(attributes).ok_or(STATUS_INVALID_PARAMETER)?;
    let (Some(connect), Some(disconnect)) = (of.connect, of.disconnect) else {
        return Err(STATUS_INVALID_PARAMETER);
    };
    let max = u32::try_from(of.max_connections).unwrap_or(0);
    if attributes.attributes & OBJ_KERNEL_HANDLE == 0 || max == 0 {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let name = String::from_utf16_lossy(&guest::units(attributes.object_name));
    if name.is_empty() {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let given = attributes.security_descriptor;
    let descriptor = if given.is_null() {
        None
    } else {
        Some(security::Descriptor::read(given).ok_or(STATUS_INVALID_SECURITY_DESCR)?)
    };
    if Ports::find(m, &name).is_some() {
        return Err(STATUS_OBJECT_NAME_COLLISION);
    }
    let server = Arc::new(Server {
        id: new_id(m),
        filter,
        name,
        case_insensitive: attributes.attributes & OBJ_CASE_INSENSITIVE != 0,
        descriptor,
        cookie: of.cookie.expose_provenance(),
        connect,
        disconnect,
        message: of.message,
        max_connections: max,
        state: Mutex::new(ServerState::default()),
    });
    let port = pointer(server.id);
    m.state::<Ports>().servers.lock().insert(server.id, server);
    Ok(port)
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltcreatecommunicationport",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltCreateCommunicationPort(
        c, filter: PVOID, port: *mut PVOID, attributes: *const OBJECT_ATTRIBUTES, cookie: PVOID,
        connect: Option<ConnectNotify>, disconnect: Option<DisconnectNotify>,
        message: Option<MessageNotify>, max_connections: i32,
    ) -> NtStatus {
        guest::write(port, core::ptr::null_mut());
        let of = Callbacks { cookie, connect, disconnect, message, max_connections };
        match create(c.m, filter, attributes, &of) {
            Ok(created) => {
                guest::write(port, created);
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltclosecommunicationport"]
    fn FltCloseCommunicationPort(c, port: PVOID) {
        let closed = c.m.state::<Ports>().servers.lock().remove(&port.addr());
        match closed {
            Some(server) => server.state.lock().closed = true,
            None => c.violation(&verifier::port::SERVER, format!("{port:p} is no server port")),
        }
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltcloseclientport"]
    fn FltCloseClientPort(c, filter: PVOID, port: *mut PVOID) {
        registration::expect(c.m, c.info.name, filter);
        let named = guest::read(port).unwrap_or(core::ptr::null_mut());
        if named.is_null() {
            return;
        }
        let Some(connection) = Ports::client(c.m, named) else {
            return c.violation(&verifier::port::CLIENT, format!("{named:p} is no client port"));
        };
        guest::write(port, core::ptr::null_mut());
        let twice = std::mem::replace(&mut connection.pipe.lock().closed, true);
        if twice {
            c.violation(&verifier::port::CLOSED_TWICE, "the client port was closed before");
        }
        c.m.sched().notify();
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsendmessage",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltSendMessage(
        c, filter: PVOID, port: *const PVOID, bytes: PVOID, length: u32, reply: PVOID,
        reply_length: *mut u32, timeout: *const i64,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        let named = guest::read(port).unwrap_or(core::ptr::null_mut());
        if named.is_null() {
            return STATUS_PORT_DISCONNECTED;
        }
        let Some(connection) = Ports::client(c.m, named) else {
            c.violation(&verifier::port::CLIENT, format!("{named:p} is no client port"));
            return STATUS_PORT_DISCONNECTED;
        };
        if bytes.is_null() {
            c.violation(&verifier::port::EMPTY_MESSAGE, "the message has no buffer");
        }
        let room = if reply.is_null() { None } else { guest::read(reply_length) };
        if !reply.is_null() && room.is_none() {
            return STATUS_INVALID_PARAMETER;
        }
        if timeout.is_null() {
            verifier::lock_order::wait(c.m, c.thread, c.info.name);
        }
        let until = deadline(c.m, guest::read(timeout));
        let bytes = guest::bytes(bytes.cast(), length as usize);
        let (status, answer) = send(c.m, &connection, bytes, room, until);
        if room.is_some() {
            guest::write_bytes(reply.cast(), &answer);
            guest::write(reply_length, u32::try_from(answer.len()).unwrap_or(u32::MAX));
        }
        status
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltbuilddefaultsecuritydescriptor",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltBuildDefaultSecurityDescriptor(c, out: *mut PVOID, access: u32) -> NtStatus {
        guest::write(out, core::ptr::null_mut());
        let bytes = security::default_descriptor(access);
        let size = bytes.len();
        let wanted = Wanted { size, tag: DESCRIPTOR_TAG, paged: true, zeroed: false };
        let memory = blocks::allocate_traced(c.m, &wanted);
        if memory.is_null() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        guest::write_bytes(memory.cast(), &bytes);
        guest::write(out, memory);
        STATUS_SUCCESS
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltfreesecuritydescriptor"]
    fn FltFreeSecurityDescriptor(c, descriptor: PVOID) {
        blocks::free(c.m, descriptor, DESCRIPTOR_TAG);
    }
}
