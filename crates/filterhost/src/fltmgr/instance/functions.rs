//! The functions on instances that drivers import.

use std::sync::Arc;

use super::{InstanceRef, attach, expect, teardown};
use crate::fltmgr::altitude::Altitude;
use crate::fltmgr::filter::{Filter, InstanceDefinition, Phase};
use crate::fltmgr::registration::{self, reference};
use crate::fltmgr::volume::give_list;
use crate::fltmgr::{AttachedVolume, FilterManager, call, guest, volume};
use crate::layout::{
    FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT, FLTFL_INSTANCE_TEARDOWN_MANUAL, PVOID, UNICODE_STRING,
};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_FLT_DELETING_OBJECT, STATUS_FLT_DO_NOT_DETACH, STATUS_FLT_FILTER_NOT_READY,
    STATUS_FLT_INSTANCE_ALTITUDE_COLLISION, STATUS_FLT_INSTANCE_NAME_COLLISION,
    STATUS_FLT_INSTANCE_NOT_FOUND, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    STATUS_NO_MORE_ENTRIES, STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_SUCCESS,
};

/// The text of a name that may be left out.
fn optional(name: *const UNICODE_STRING) -> Option<String> {
    (!name.is_null()).then(|| String::from_utf16_lossy(&guest::units(name)))
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Gives an instance out with a rundown reference.
fn give(m: &Machine, instance: &InstanceRef, out: *mut PVOID) -> NtStatus {
    if out.is_null() {
        return STATUS_SUCCESS;
    }
    let status = reference(m, instance.pointer());
    if status.is_success() {
        guest::write(out, instance.pointer());
    }
    status
}

/// Attaches an instance by hand, on behalf of a driver or of `fltmc attach`.
///
/// # Errors
/// As documented for `FltAttachVolumeAtAltitude`.
pub fn attach_by_hand(
    m: &Arc<Machine>,
    filter: &Arc<Filter>,
    to: &Arc<AttachedVolume>,
    definition: &InstanceDefinition,
) -> Result<InstanceRef, NtStatus> {
    match filter.phase() {
        Phase::Registered => return Err(STATUS_FLT_FILTER_NOT_READY),
        Phase::Unloading => return Err(STATUS_FLT_DELETING_OBJECT),
        Phase::Filtering => {}
    }
    if to.is_dismounted() {
        return Err(STATUS_FLT_DELETING_OBJECT);
    }
    if to
        .stack()
        .iter()
        .any(|other| same(other.name(), &definition.name))
    {
        return Err(STATUS_FLT_INSTANCE_NAME_COLLISION);
    }
    attach(
        m,
        filter,
        to,
        definition,
        FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT,
    )
}

/// Detaches an instance by hand, on behalf of a driver or of `fltmc detach`. The filter is asked.
///
/// # Errors
/// `STATUS_FLT_INSTANCE_NOT_FOUND`, `STATUS_FLT_DELETING_OBJECT`, or what the filter refused with.
pub fn detach_by_hand(
    m: &Arc<Machine>,
    filter: &Filter,
    from: &AttachedVolume,
    name: Option<&str>,
) -> Result<(), NtStatus> {
    let (stack, going) = (from.stack(), from.going());
    let wanted = |instance: &&InstanceRef| {
        let fits = name.is_none_or(|name| same(instance.name(), name));
        instance.filter().id() == filter.id() && fits
    };
    let instance = stack
        .iter()
        .chain(&going)
        .find(wanted)
        .ok_or(STATUS_FLT_INSTANCE_NOT_FOUND)?;
    if instance.is_going() {
        return Err(STATUS_FLT_DELETING_OBJECT);
    }
    let callback = filter
        .callbacks()
        .query_teardown
        .ok_or(STATUS_FLT_DO_NOT_DETACH)?;
    call::query_teardown(callback, &call::objects(instance), 0).ok()?;
    if teardown(m, instance, FLTFL_INSTANCE_TEARDOWN_MANUAL) {
        Ok(())
    } else {
        Err(STATUS_FLT_DELETING_OBJECT)
    }
}

fn attach_named(
    m: &Arc<Machine>,
    filter: PVOID,
    to: PVOID,
    definition: impl FnOnce(&Filter) -> Option<InstanceDefinition>,
    out: *mut PVOID,
) -> NtStatus {
    guest::write(out, core::ptr::null_mut());
    let filter = registration::expect(m, "FltAttachVolume", filter);
    let to = volume::expect(m, "FltAttachVolume", to);
    let Some(definition) = definition(&filter) else {
        return STATUS_OBJECT_NAME_NOT_FOUND;
    };
    match attach_by_hand(m, &filter, &to, &definition) {
        Ok(instance) => give(m, &instance, out),
        Err(status) => status,
    }
}

fn neighbour(m: &Machine, of: PVOID, above: bool, out: *mut PVOID) -> NtStatus {
    guest::write(out, core::ptr::null_mut());
    let name = if above {
        "FltGetUpperInstance"
    } else {
        "FltGetLowerInstance"
    };
    let instance = expect(m, name, of);
    let stack = instance.volume().stack();
    let found = if above {
        stack
            .iter()
            .rev()
            .find(|other| other.altitude() > instance.altitude())
    } else {
        stack
            .iter()
            .find(|other| other.altitude() < instance.altitude())
    };
    found.map_or(STATUS_NO_MORE_ENTRIES, |found| give(m, found, out))
}

fn end_of_stack(m: &Machine, of: PVOID, top: bool, out: *mut PVOID) -> NtStatus {
    guest::write(out, core::ptr::null_mut());
    let name = if top {
        "FltGetTopInstance"
    } else {
        "FltGetBottomInstance"
    };
    let stack = volume::expect(m, name, of).stack();
    let found = if top { stack.first() } else { stack.last() };
    found.map_or(STATUS_NO_MORE_ENTRIES, |found| give(m, found, out))
}

/// Instances of a volume, of a filter, or of both, from high to low on each volume.
fn selection(m: &Machine, on: PVOID, of: PVOID) -> Result<Vec<PVOID>, NtStatus> {
    if on.is_null() && of.is_null() {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let manager = FilterManager::of(m);
    let volumes = if on.is_null() {
        manager.volumes()
    } else {
        vec![volume::expect(m, "FltEnumerateInstances", on)]
    };
    let filter = (!of.is_null()).then(|| registration::expect(m, "FltEnumerateInstances", of));
    let fits = |instance: &InstanceRef| {
        filter
            .as_ref()
            .is_none_or(|filter| filter.id() == instance.filter().id())
    };
    let all = volumes.iter().flat_map(|volume| volume.stack());
    Ok(all
        .filter(|instance| fits(instance))
        .map(|instance| instance.pointer())
        .collect())
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltattachvolume",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltAttachVolume(
        c, filter: PVOID, volume: PVOID, name: *const UNICODE_STRING, out: *mut PVOID,
    ) -> NtStatus {
        let name = optional(name);
        let definition = |filter: &Filter| match &name {
            None => filter.default_definition().cloned(),
            Some(name) => {
                filter.definitions().iter().find(|known| same(&known.name, name)).cloned()
            }
        };
        let status = attach_named(c.m, filter, volume, definition, out);
        // The service key gave the altitude, so its page names the collision otherwise.
        if status == STATUS_FLT_INSTANCE_ALTITUDE_COLLISION {
            return STATUS_OBJECT_NAME_COLLISION;
        }
        status
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltattachvolumeataltitude",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltAttachVolumeAtAltitude(
        c, filter: PVOID, volume: PVOID, altitude: *const UNICODE_STRING,
        name: *const UNICODE_STRING, out: *mut PVOID,
    ) -> NtStatus {
        let text = optional(altitude).unwrap_or_default();
        let Some(altitude) = Altitude::parse(&text) else {
            guest::write(out, core::ptr::null_mut());
            return STATUS_INVALID_PARAMETER;
        };
        let name = optional(name);
        let definition = |filter: &Filter| {
            let name = name.unwrap_or_else(|| format!("{} {altitude}", filter.name()));
            Some(InstanceDefinition { name, altitude, flags: 0 })
        };
        attach_named(c.m, filter, volume, definition, out)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdetachvolume"]
    fn FltDetachVolume(
        c, filter: PVOID, volume: PVOID, name: *const UNICODE_STRING,
    ) -> NtStatus {
        let filter = registration::expect(c.m, c.info.name, filter);
        let volume = volume::expect(c.m, c.info.name, volume);
        let name = optional(name);
        detach_by_hand(c.m, &filter, &volume, name.as_deref()).into()
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltenumerateinstances"]
    fn FltEnumerateInstances(
        c, volume: PVOID, filter: PVOID, list: *mut PVOID, room: u32, count: *mut u32,
    ) -> NtStatus {
        match selection(c.m, volume, filter) {
            Ok(all) => give_list(c.m, &all, list, room, count),
            Err(status) => status,
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetfilterfrominstance"]
    fn FltGetFilterFromInstance(c, instance: PVOID, filter: *mut PVOID) -> NtStatus {
        guest::write(filter, core::ptr::null_mut());
        let instance = expect(c.m, c.info.name, instance);
        let status = reference(c.m, instance.filter().pointer());
        if status.is_success() {
            guest::write(filter, instance.filter().pointer());
        }
        status
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetvolumeinstancefromname"]
    fn FltGetVolumeInstanceFromName(
        c, filter: PVOID, volume: PVOID, name: *const UNICODE_STRING, out: *mut PVOID,
    ) -> NtStatus {
        guest::write(out, core::ptr::null_mut());
        let filter = (!filter.is_null()).then(|| registration::expect(c.m, c.info.name, filter));
        let volume = volume::expect(c.m, c.info.name, volume);
        let name = optional(name);
        let (stack, going) = (volume.stack(), volume.going());
        let found = stack.iter().chain(&going).find(|instance| {
            filter.as_ref().is_none_or(|filter| filter.id() == instance.filter().id())
                && name.as_ref().is_none_or(|name| same(instance.name(), name))
        });
        found.map_or(STATUS_FLT_INSTANCE_NOT_FOUND, |found| give(c.m, found, out))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetupperinstance"]
    fn FltGetUpperInstance(c, instance: PVOID, out: *mut PVOID) -> NtStatus {
        neighbour(c.m, instance, true, out)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetlowerinstance"]
    fn FltGetLowerInstance(c, instance: PVOID, out: *mut PVOID) -> NtStatus {
        neighbour(c.m, instance, false, out)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgettopinstance"]
    fn FltGetTopInstance(c, volume: PVOID, out: *mut PVOID) -> NtStatus {
        end_of_stack(c.m, volume, true, out)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetbottominstance"]
    fn FltGetBottomInstance(c, volume: PVOID, out: *mut PVOID) -> NtStatus {
        end_of_stack(c.m, volume, false, out)
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltcompareinstancealtitudes"]
    fn FltCompareInstanceAltitudes(c, one: PVOID, other: PVOID) -> i32 {
        let one = expect(c.m, c.info.name, one);
        let other = expect(c.m, c.info.name, other);
        one.altitude().cmp(other.altitude()) as i32
    }
}
