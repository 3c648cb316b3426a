//! Registration of filters, the start of filtering, and unloading.

mod functions;
mod judge;
mod leaks;
mod service;

use std::sync::Arc;

pub use functions::EXPORTS;
pub(crate) use functions::{dereference, reference};

use super::filter::{Callbacks, Filter, Phase};
use super::{FilterManager, Opaque, call, context, instance, port, volume};
use crate::driver::Driver;
use crate::layout::{
    FLT_FILE_CONTEXT, FLT_INSTANCE_CONTEXT, FLT_REGISTRATION, FLT_REGISTRATION_VERSION_0200,
    FLT_REGISTRATION_VERSION_0203, FLT_SECTION_CONTEXT, FLT_STREAM_CONTEXT,
    FLT_STREAMHANDLE_CONTEXT, FLT_TRANSACTION_CONTEXT, FLT_VARIABLE_SIZED_CONTEXTS,
    FLT_VOLUME_CONTEXT, FLTFL_FILTER_UNLOAD_MANDATORY, FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD,
    FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD,
    FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP, PVOID,
};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_FLT_DO_NOT_DETACH, STATUS_FLT_FILTER_NOT_FOUND,
    STATUS_FLT_INVALID_CONTEXT_REGISTRATION, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};
use crate::verifier;
use crate::volume::Volumes;

/// Registers a filter for a driver object.
///
/// # Errors
/// As documented for `FltRegisterFilter`.
fn register(
    m: &Arc<Machine>,
    driver: usize,
    record: &FLT_REGISTRATION,
) -> Result<Arc<Filter>, NtStatus> {
    let known = FLT_REGISTRATION_VERSION_0200..=FLT_REGISTRATION_VERSION_0203;
    if !known.contains(&record.version) || usize::from(record.size) != size_of_val(record) {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let callbacks = Callbacks::read(record);
    check_contexts(&callbacks)?;
    if let Some(driver) = service::driver_of(m, driver) {
        judge::service(m, driver.service());
    }
    let service = service::instances(m, driver)?;
    let manager = FilterManager::of(m);
    let filter = Arc::new(Filter::new(
        manager.next_id(),
        service.name,
        driver,
        callbacks,
        service.definitions,
        service.default,
    ));
    manager.insert(filter.id(), Opaque::Filter(filter.clone()));
    if let Some(driver) = service::driver_of(m, driver) {
        let name = filter.name().to_owned();
        let hook = move |m: &Arc<Machine>| unload(m, &name, Unload::Optional).into();
        driver.set_unload_hook(Some(Arc::new(hook)));
    }
    Ok(filter)
}

/// At most three fixed sizes and one variable size for each kind; a tag where the Filter Manager
/// allocates.
fn check_contexts(callbacks: &Callbacks) -> Result<(), NtStatus> {
    let kinds = [
        FLT_VOLUME_CONTEXT,
        FLT_INSTANCE_CONTEXT,
        FLT_FILE_CONTEXT,
        FLT_STREAM_CONTEXT,
        FLT_STREAMHANDLE_CONTEXT,
        FLT_TRANSACTION_CONTEXT,
        FLT_SECTION_CONTEXT,
    ];
    let contexts = &callbacks.contexts;
    for kind in kinds {
        let of_kind = || contexts.iter().filter(|entry| entry.kind == kind);
        let variable = of_kind()
            .filter(|entry| entry.size == FLT_VARIABLE_SIZED_CONTEXTS)
            .count();
        if variable > 1 || of_kind().count() - variable > 3 {
            return Err(STATUS_FLT_INVALID_CONTEXT_REGISTRATION);
        }
    }
    let sound = contexts.iter().all(|entry| {
        kinds.contains(&entry.kind)
            && (entry.tag != 0 || entry.allocate.is_some())
            && entry.allocate.is_some() == entry.free.is_some()
    });
    if sound {
        Ok(())
    } else {
        Err(STATUS_FLT_INVALID_CONTEXT_REGISTRATION)
    }
}

/// The filter at an address that a driver gave. An address that is none is a violation.
pub(crate) fn expect(m: &Machine, function: &str, address: PVOID) -> Arc<Filter> {
    FilterManager::of(m).filter(address).unwrap_or_else(|| {
        let detail = format!("{function}: {address:p} is no filter (or it is unregistered)");
        verifier::fatal(&verifier::reference::FILTER, detail)
    })
}

/// Begins filtering: instances are set up on all volumes that are mounted.
fn start(m: &Arc<Machine>, filter: &Filter) -> NtStatus {
    {
        let mut life = filter.life.lock();
        if life.phase != Phase::Registered {
            return STATUS_INVALID_PARAMETER;
        }
        life.phase = Phase::Filtering;
    }
    FilterManager::of(m).count_start();
    for mounted in m.state::<Volumes>().all() {
        let volume = volume::attached(m, &mounted);
        volume::set_up(m, &volume, false);
    }
    STATUS_SUCCESS
}

/// Takes a filter down: instances, connections, contexts, and then everything that it should
/// have given back is looked for.
fn unregister(m: &Arc<Machine>, filter: &Arc<Filter>, flags: u32) {
    {
        let mut life = filter.life.lock();
        if life.phase == Phase::Unloading {
            drop(life);
            let detail = "FltUnregisterFilter runs already";
            return verifier::violation(&verifier::lifetime::UNREGISTER_TWICE, detail);
        }
        life.phase = Phase::Unloading;
    }
    port::check_closed(m, filter);
    let settled = || (filter.life.lock().setups == 0).then_some(());
    let waited = m
        .sched()
        .wait_until("instance setups of a filter", None, settled);
    debug_assert!(waited.is_ok(), "a wait without deadline cannot time out");
    let manager = FilterManager::of(m);
    for volume in manager.volumes() {
        for instance in volume.stack() {
            if instance.filter().id() == filter.id() {
                instance::teardown(m, &instance, flags);
            }
        }
        volume.forget(filter);
    }
    port::filter_gone(m, filter);
    context::filter_gone(m, filter);
    leaks::check(m, filter);
    manager.remove(filter.id());
    m.sched().notify();
}

/// Why a filter is to be unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unload {
    /// `FilterUnload`, `FltUnloadFilter`: the filter may refuse.
    Optional,
    /// A service stop: the filter may not refuse.
    Mandatory,
}

/// Unloads the filter of a service, as `fltmc unload` or a service stop does. On success the
/// image may be unmapped.
///
/// # Errors
/// `STATUS_FLT_FILTER_NOT_FOUND`, `STATUS_FLT_DO_NOT_DETACH` when the filter has no unload
/// callback or does not support this kind, or what its callback refused with.
pub fn unload(m: &Arc<Machine>, name: &str, how: Unload) -> Result<(), NtStatus> {
    let manager = FilterManager::of(m);
    let filters = manager.filters();
    let found = filters
        .iter()
        .find(|filter| filter.driver() != 0 && filter.name() == name);
    let filter = found.ok_or(STATUS_FLT_FILTER_NOT_FOUND)?;
    let stops = FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP;
    if how == Unload::Mandatory && filter.callbacks().flags & stops != 0 {
        return Err(STATUS_FLT_DO_NOT_DETACH);
    }
    let callback = filter.callbacks().unload.ok_or(STATUS_FLT_DO_NOT_DETACH)?;
    let flags = if how == Unload::Mandatory {
        FLTFL_FILTER_UNLOAD_MANDATORY
    } else {
        0
    };
    filter.life.lock().unload_flags = match how {
        Unload::Optional => FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD,
        Unload::Mandatory => FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD,
    };
    let status = call::unload(callback, flags);
    let is_registered = manager.filter(filter.pointer()).is_some();
    if !status.is_success() && how == Unload::Optional {
        if !is_registered {
            let detail = format!("unload returned {status} after FltUnregisterFilter");
            verifier::violation(&verifier::lifetime::REFUSED_LATE, detail);
        }
        return Err(status);
    }
    if is_registered {
        let detail = "the unload callback agreed and did not call FltUnregisterFilter";
        verifier::violation(&verifier::lifetime::STILL_REGISTERED, detail);
    }
    Ok(())
}

/// Stops the service of a driver: its filter is unloaded and may not refuse.
///
/// # Errors
/// As for [`unload`] with [`Unload::Mandatory`].
pub fn stop(m: &Arc<Machine>, driver: &Driver) -> Result<(), NtStatus> {
    unload(m, driver.service(), Unload::Mandatory)?;
    driver.set_unload_hook(Some(Arc::new(|_: &Arc<Machine>| STATUS_SUCCESS)));
    driver.unload()
}
