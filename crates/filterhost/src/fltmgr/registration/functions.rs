//! The functions on filters that drivers import.

use super::{expect, register, start, unregister};
use crate::exports;
use crate::fltmgr::{FilterManager, Opaque, guest, instance};
use crate::layout::{
    DRIVER_OBJECT, FLT_REGISTRATION, FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD, PVOID, UNICODE_STRING,
};
use crate::machine::Machine;
use crate::object::Kind;
use crate::status::{
    NtStatus, STATUS_FLT_DELETING_OBJECT, STATUS_FLT_FILTER_NOT_FOUND,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};
use crate::verifier::{self, object::Taken};

/// Takes a rundown reference on a filter, instance or volume.
pub(crate) fn reference(m: &Machine, object: PVOID) -> NtStatus {
    match FilterManager::of(m).find(object) {
        Some(Opaque::Filter(filter)) => {
            let mut life = filter.life.lock();
            if life.phase == super::Phase::Unloading {
                return STATUS_FLT_DELETING_OBJECT;
            }
            life.references += 1;
            STATUS_SUCCESS
        }
        Some(Opaque::Instance(instance)) => {
            if instance.is_going() {
                return STATUS_FLT_DELETING_OBJECT;
            }
            instance.life.lock().references += 1;
            STATUS_SUCCESS
        }
        Some(Opaque::Volume(volume)) => {
            if volume.is_dismounted() {
                return STATUS_FLT_DELETING_OBJECT;
            }
            volume.state.lock().references += 1;
            m.state::<Taken>().took(m, object.addr());
            STATUS_SUCCESS
        }
        None => {
            let detail = format!("FltObjectReference: {object:p} is no filter, instance or volume");
            verifier::violation(&verifier::reference::OBJECT, detail);
            STATUS_FLT_DELETING_OBJECT
        }
    }
}

/// Drops a rundown reference.
pub(crate) fn dereference(m: &std::sync::Arc<Machine>, object: PVOID) {
    let drop_one = |count: &mut u32| {
        if *count == 0 {
            let detail = format!("FltObjectDereference: {object:p} has no reference to drop");
            verifier::violation(&verifier::reference::UNDERFLOW, detail);
        }
        *count = count.saturating_sub(1);
    };
    match FilterManager::of(m).find(object) {
        Some(Opaque::Filter(filter)) => drop_one(&mut filter.life.lock().references),
        Some(Opaque::Instance(instance)) => {
            drop_one(&mut instance.life.lock().references);
            instance::retire(m, &instance);
        }
        Some(Opaque::Volume(volume)) => {
            drop_one(&mut volume.state.lock().references);
            m.state::<Taken>().dropped(object.addr());
            instance::retire_volume(m, &volume);
        }
        None => {
            let detail =
                format!("FltObjectDereference: {object:p} is no filter, instance or volume");
            verifier::violation(&verifier::reference::OBJECT, detail);
        }
    }
    m.sched().notify();
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [APC, 0, "fltkernel/nf-fltkernel-fltregisterfilter",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltRegisterFilter(
        c, driver: *mut DRIVER_OBJECT, registration: *const FLT_REGISTRATION, filter: *mut PVOID,
    ) -> NtStatus {
        guest::write(filter, core::ptr::null_mut());
        if c.m.objects().find_kind(driver, Kind::Driver).is_none() {
            c.violation(&verifier::reference::DRIVER, format!("{driver:p} is no driver object"));
            return STATUS_INVALID_PARAMETER;
        }
        let Some(record) = guest::read(registration) else {
            return STATUS_INVALID_PARAMETER;
        };
        match register(c.m, driver.addr(), &record) {
            Ok(registered) => {
                guest::write(filter, registered.pointer());
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltstartfiltering",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltStartFiltering(c, filter: PVOID) -> NtStatus {
        let filter = expect(c.m, c.info.name, filter);
        start(c.m, &filter)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltunregisterfilter"]
    fn FltUnregisterFilter(c, filter: PVOID) {
        let filter = expect(c.m, c.info.name, filter);
        let told = filter.life.lock().unload_flags;
        let flags = if told == 0 { FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD } else { told };
        unregister(c.m, &filter, flags);
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltobjectreference"]
    fn FltObjectReference(c, object: PVOID) -> NtStatus {
        reference(c.m, object)
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltobjectdereference"]
    fn FltObjectDereference(c, object: PVOID) {
        dereference(c.m, object);
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetfilterfromname"]
    fn FltGetFilterFromName(c, name: *const UNICODE_STRING, filter: *mut PVOID) -> NtStatus {
        guest::write(filter, core::ptr::null_mut());
        let wanted = String::from_utf16_lossy(&guest::units(name));
        let filters = FilterManager::of(c.m).filters();
        let found = filters.iter().find(|filter| filter.name().eq_ignore_ascii_case(&wanted));
        let Some(found) = found else {
            return STATUS_FLT_FILTER_NOT_FOUND;
        };
        let status = reference(c.m, found.pointer());
        if status.is_success() {
            guest::write(filter, found.pointer());
        }
        status
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltgetroutineaddress"]
    fn FltGetRoutineAddress(c, name: *const u8) -> PVOID {
        let wanted = guest::c_string(name);
        let found = exports::find("fltmgr.sys", &wanted, c.m.build_number());
        let address = found.map_or(0, exports::address);
        core::ptr::with_exposed_provenance_mut(address)
    }
}
