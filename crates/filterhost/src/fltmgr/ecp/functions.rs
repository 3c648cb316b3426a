//! The functions on extra create parameters that drivers import.

use super::{
    Ecp, Ecps, New, allocate, expect, expect_list, find_in, free_list, insert, list_pointer,
    lookaside, new_list,
};
use crate::fltmgr::{dispatch, guest, registration};
use crate::layout::{EcpCleanup, FLT_CALLBACK_DATA, GUID, IRP_MJ_CREATE, PVOID};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_2,
    STATUS_INVALID_PARAMETER_3, STATUS_NOT_FOUND, STATUS_SUCCESS,
};
use crate::verifier;

/// The operation's list, or an error when it is no create.
fn packet(
    m: &Machine,
    function: &str,
    data: *const FLT_CALLBACK_DATA,
) -> Option<std::sync::Arc<super::OpenPacket>> {
    let operation = dispatch::find(m, function, data);
    if operation.is_draining() {
        let detail = format!("{function}: draining callback data is a copy");
        verifier::violation(&verifier::draining::DATA, detail);
    }
    if operation.major() == IRP_MJ_CREATE {
        operation.packet()
    } else {
        None
    }
}

fn told(m: &Machine, found: Option<&Ecp>, context: *mut PVOID, size: *mut u32) -> NtStatus {
    let _ = m;
    let (pointer, length, status) = match found {
        Some(ecp) => (ecp.pointer(), ecp.size(), STATUS_SUCCESS),
        None => (core::ptr::null_mut(), 0, STATUS_NOT_FOUND),
    };
    guest::write(context, pointer);
    guest::write(size, u32::try_from(length).unwrap_or(u32::MAX));
    status
}

fn is_attached(m: &Machine, list: usize) -> bool {
    let ecps = m.state::<Ecps>();
    let state = ecps.state.lock();
    state.lists.get(&list).is_some_and(|list| list.attached)
}

fn next_of(m: &Machine, list: usize, current: PVOID) -> Option<std::sync::Arc<Ecp>> {
    let ecps = m.state::<Ecps>();
    let state = ecps.state.lock();
    let entries = &state.lists.get(&list)?.entries;
    if current.is_null() {
        return entries.first().cloned();
    }
    let at = entries.iter().position(|ecp| ecp.pointer() == current)?;
    entries.get(at + 1).cloned()
}

fn detach(m: &Machine, list: usize, kind: GUID) -> Option<std::sync::Arc<Ecp>> {
    let ecps = m.state::<Ecps>();
    let mut state = ecps.state.lock();
    let entries = &mut state.lists.get_mut(&list)?.entries;
    let at = entries.iter().position(|ecp| ecp.kind() == kind)?;
    let ecp = entries.remove(at);
    ecp.state.lock().list = None;
    Some(ecp)
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [APC, 0, "fltkernel/nf-fltkernel-fltgetecplistfromcallbackdata"]
    fn FltGetEcpListFromCallbackData(
        c, filter: PVOID, data: *mut FLT_CALLBACK_DATA, list: *mut PVOID,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        match packet(c.m, c.info.name, data) {
            Some(packet) => {
                guest::write(list, list_pointer(packet.list()));
                STATUS_SUCCESS
            }
            None => STATUS_INVALID_PARAMETER,
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsetecplistintocallbackdata"]
    fn FltSetEcpListIntoCallbackData(
        c, filter: PVOID, data: *mut FLT_CALLBACK_DATA, list: PVOID,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        let Some(packet) = packet(c.m, c.info.name, data) else {
            return STATUS_INVALID_PARAMETER_2;
        };
        let list = expect_list(c.m, c.info.name, list);
        if c.is_to_fail() {
            return STATUS_INVALID_PARAMETER;
        }
        if packet.list() == Some(list) || packet.list().is_some() {
            return STATUS_INVALID_PARAMETER_3;
        }
        if is_attached(c.m, list) {
            c.violation(&verifier::ecp::LIST_POINTER, "the list belongs to another create");
            return STATUS_INVALID_PARAMETER_3;
        }
        if !packet.set_list(list) {
            return STATUS_INVALID_PARAMETER_3;
        }
        if let Some(list) = c.m.state::<Ecps>().state.lock().lists.get_mut(&list) {
            list.attached = true;
        }
        STATUS_SUCCESS
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltallocateextracreateparameterlist"]
    fn FltAllocateExtraCreateParameterList(
        c, filter: PVOID, flags: u32, list: *mut PVOID,
    ) -> NtStatus {
        let filter = registration::expect(c.m, c.info.name, filter);
        // Bit 0 asks to charge the process's quota; no other bit is defined.
        if flags & !1 != 0 {
            c.violation(&verifier::ecp::FLAGS, format!("flags {flags:#x} are not defined"));
        }
        guest::write(list, core::ptr::null_mut());
        if c.is_to_fail() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        if c.m.faults().allocation() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        guest::write(list, list_pointer(Some(new_list(c.m, filter.id()))));
        STATUS_SUCCESS
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltfreeextracreateparameterlist"]
    fn FltFreeExtraCreateParameterList(c, filter: PVOID, list: PVOID) {
        registration::expect(c.m, c.info.name, filter);
        let list = expect_list(c.m, c.info.name, list);
        if is_attached(c.m, list) {
            return c.violation(&verifier::ecp::LIST_FREE_ATTACHED, "the list belongs to a create");
        }
        free_list(c.m, list);
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltallocateextracreateparameter"]
    fn FltAllocateExtraCreateParameter(
        c, filter: PVOID, kind: *const GUID, size: u32, flags: u32,
        cleanup: Option<EcpCleanup>, tag: u32, context: *mut PVOID,
    ) -> NtStatus {
        let filter = registration::expect(c.m, c.info.name, filter);
        // Bit 0 charges quota, bit 1 asks for nonpaged memory.
        if flags & !3 != 0 {
            c.violation(&verifier::ecp::FLAGS, format!("flags {flags:#x} are not defined"));
        }
        if tag == 0 {
            c.violation(&verifier::pool::TAG_ZERO, "the tag is zero");
        }
        guest::write(context, core::ptr::null_mut());
        if c.is_to_fail() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        let Some(kind) = guest::read(kind) else {
            c.fatal(&verifier::ecp::TYPE, "the type is a null pointer");
        };
        let new = New {
            kind,
            size: size as usize,
            cleanup,
            from_user: false,
            filter: filter.id(),
            lookaside: 0,
            tag,
            paged: flags & 2 == 0,
        };
        match allocate(c.m, new) {
            Some(ecp) => {
                guest::write(context, ecp.pointer());
                STATUS_SUCCESS
            }
            None => STATUS_INSUFFICIENT_RESOURCES,
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltfreeextracreateparameter"]
    fn FltFreeExtraCreateParameter(c, filter: PVOID, context: PVOID) {
        registration::expect(c.m, c.info.name, filter);
        let ecp = expect(c.m, c.info.name, context);
        if ecp.state.lock().list.is_some() {
            return c.violation(&verifier::ecp::FREE_ATTACHED, "the parameter is in a list");
        }
        ecp.free(c.m);
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltinitextracreateparameterlookasidelist"]
    fn FltInitExtraCreateParameterLookasideList(
        c, filter: PVOID, lookaside: PVOID, flags: u32, size: usize, tag: u32,
    ) {
        let filter = registration::expect(c.m, c.info.name, filter);
        if flags & !2 != 0 {
            c.violation(&verifier::ecp::FLAGS, format!("flags {flags:#x} are not defined"));
        }
        if tag == 0 {
            c.violation(&verifier::pool::TAG_ZERO, "the tag is zero");
        }
        let paged = flags & 2 == 0;
        lookaside::initialise(c.m, lookaside.addr(), (filter.id(), size, tag, paged));
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeleteextracreateparameterlookasidelist"]
    fn FltDeleteExtraCreateParameterLookasideList(
        c, filter: PVOID, lookaside: PVOID, flags: u32,
    ) {
        registration::expect(c.m, c.info.name, filter);
        if flags & !2 != 0 {
            c.violation(&verifier::ecp::FLAGS, format!("flags {flags:#x} are not defined"));
        }
        lookaside::delete(c.m, lookaside.addr());
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltallocateextracreateparameterfromlookasidelist"]
    fn FltAllocateExtraCreateParameterFromLookasideList(
        c, filter: PVOID, kind: *const GUID, size: u32, flags: u32,
        cleanup: Option<EcpCleanup>, list: PVOID, context: *mut PVOID,
    ) -> NtStatus {
        let filter = registration::expect(c.m, c.info.name, filter);
        if flags & !3 != 0 {
            c.violation(&verifier::ecp::FLAGS, format!("flags {flags:#x} are not defined"));
        }
        guest::write(context, core::ptr::null_mut());
        if c.is_to_fail() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        let Some(kind) = guest::read(kind) else {
            c.fatal(&verifier::ecp::TYPE, "the type is a null pointer");
        };
        let Some(from) = lookaside::take(c.m, list.addr()) else {
            let detail = "the lookaside list was never initialised";
            c.violation(&verifier::ecp::LOOKASIDE, detail);
            return STATUS_INSUFFICIENT_RESOURCES;
        };
        if from.filter != filter.id() {
            c.violation(&verifier::ecp::LOOKASIDE, "the lookaside list is another filter's");
        }
        // A request that does not fit the list's entries is served from pool.
        let fits = size as usize <= from.size;
        if !fits {
            lookaside::returned(c.m, list.addr());
        }
        let lookaside = if fits { list.addr() } else { 0 };
        let id = filter.id();
        let size = size as usize;
        let (tag, paged) = (from.tag, from.paged);
        let from_user = false;
        let new = New { kind, size, cleanup, from_user, filter: id, lookaside, tag, paged };
        match allocate(c.m, new) {
            Some(ecp) => {
                guest::write(context, ecp.pointer());
                STATUS_SUCCESS
            }
            None => {
                lookaside::returned(c.m, lookaside);
                STATUS_INSUFFICIENT_RESOURCES
            }
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltinsertextracreateparameter"]
    fn FltInsertExtraCreateParameter(c, filter: PVOID, list: PVOID, context: PVOID) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        let list = expect_list(c.m, c.info.name, list);
        let ecp = expect(c.m, c.info.name, context);
        if ecp.state.lock().list.is_some() {
            c.violation(&verifier::ecp::INSERTED_TWICE, "the parameter is in a list already");
            return STATUS_INVALID_PARAMETER;
        }
        if c.is_to_fail() {
            return STATUS_INVALID_PARAMETER;
        }
        if insert(c.m, list, &ecp) { STATUS_SUCCESS } else { STATUS_INVALID_PARAMETER }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltfindextracreateparameter"]
    fn FltFindExtraCreateParameter(
        c, filter: PVOID, list: PVOID, kind: *const GUID, context: *mut PVOID, size: *mut u32,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        let list = expect_list(c.m, c.info.name, list);
        let found = guest::read(kind).and_then(|kind| find_in(c.m, list, kind));
        told(c.m, found.as_deref(), context, size)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltremoveextracreateparameter"]
    fn FltRemoveExtraCreateParameter(
        c, filter: PVOID, list: PVOID, kind: *const GUID, context: *mut PVOID, size: *mut u32,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        let list = expect_list(c.m, c.info.name, list);
        let removed = guest::read(kind).and_then(|kind| detach(c.m, list, kind));
        told(c.m, removed.as_deref(), context, size)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetnextextracreateparameter"]
    fn FltGetNextExtraCreateParameter(
        c, filter: PVOID, list: PVOID, current: PVOID, kind: *mut GUID, next: *mut PVOID,
        size: *mut u32,
    ) -> NtStatus {
        registration::expect(c.m, c.info.name, filter);
        if list.is_null() {
            return STATUS_INVALID_PARAMETER;
        }
        let list = expect_list(c.m, c.info.name, list);
        let found = next_of(c.m, list, current);
        if let Some(ecp) = &found {
            guest::write(kind, ecp.kind());
        }
        told(c.m, found.as_deref(), next, size)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltacknowledgeecp"]
    fn FltAcknowledgeEcp(c, filter: PVOID, context: PVOID) {
        registration::expect(c.m, c.info.name, filter);
        expect(c.m, c.info.name, context).set_acknowledged(true);
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltisecpacknowledged"]
    fn FltIsEcpAcknowledged(c, filter: PVOID, context: PVOID) -> u8 {
        registration::expect(c.m, c.info.name, filter);
        u8::from(expect(c.m, c.info.name, context).is_acknowledged())
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltisecpfromusermode"]
    fn FltIsEcpFromUserMode(c, filter: PVOID, context: PVOID) -> u8 {
        registration::expect(c.m, c.info.name, filter);
        u8::from(expect(c.m, c.info.name, context).is_from_user())
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltpreparetoreuseecp"]
    fn FltPrepareToReuseEcp(c, filter: PVOID, context: PVOID) {
        registration::expect(c.m, c.info.name, filter);
        expect(c.m, c.info.name, context).set_acknowledged(false);
    }
}
