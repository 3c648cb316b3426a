//! The context functions that drivers import.

use std::sync::Arc;

use super::{Link, Setting, allocate, check_release_level, expect, get, pointer_of, set, unlink};
use crate::fltmgr::instance::{self, Instance};
use crate::fltmgr::{FilterManager, dispatch, guest, registration, volume};
use crate::layout::{
    FILE_OBJECT, FLT_FILE_CONTEXT, FLT_INSTANCE_CONTEXT, FLT_RELATED_OBJECTS, FLT_SECTION_CONTEXT,
    FLT_STREAM_CONTEXT, FLT_STREAMHANDLE_CONTEXT, FLT_TRANSACTION_CONTEXT, FLT_VOLUME_CONTEXT,
    PVOID,
};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_FLT_DELETING_OBJECT, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    STATUS_NOT_FOUND, STATUS_NOT_SUPPORTED, STATUS_SUCCESS,
};
use crate::verifier;
use crate::volume::Volumes;

/// Whether a file object can have contexts: it is open, and no paging file.
/// <https://learn.microsoft.com/windows-hardware/drivers/ifs/file-system-support-for-contexts>
fn supported(m: &Machine, file: *const FILE_OBJECT) -> bool {
    if guest::file::fs_context(file).is_null() {
        return false;
    }
    let device = guest::file::device(file).addr();
    let volume = m.state::<Volumes>().by_device(device);
    volume.is_none_or(|volume| !volume.is_paging_file(file))
}

/// The stream of an open file; none while it is not open or has no contexts.
fn stream_of(m: &Machine, function: &str, file: *const FILE_OBJECT) -> Result<usize, NtStatus> {
    let stream = guest::file::fs_context(file).addr();
    if supported(m, file) {
        return Ok(stream);
    }
    let in_pre_create =
        dispatch::of_file(m, file).is_some_and(|operation| operation.is_going_down());
    if in_pre_create && function.starts_with("FltSet") {
        let detail = format!("{function}: the file is not open yet in pre-create");
        verifier::violation(&verifier::context::PRE_CREATE, detail);
    }
    Err(STATUS_NOT_SUPPORTED)
}

fn stream_link(
    m: &Machine,
    function: &str,
    instance: &Instance,
    file: *const FILE_OBJECT,
) -> Result<Link, NtStatus> {
    let stream = stream_of(m, function, file)?;
    Ok(Link::Stream {
        instance: instance.id(),
        stream,
    })
}

fn handle_link(
    m: &Machine,
    function: &str,
    instance: &Instance,
    file: *const FILE_OBJECT,
) -> Result<Link, NtStatus> {
    stream_of(m, function, file)?;
    Ok(Link::Handle {
        instance: instance.id(),
        file_object: file.addr(),
    })
}

fn file_link(
    m: &Machine,
    function: &str,
    instance: &Instance,
    file: *const FILE_OBJECT,
) -> Result<Link, NtStatus> {
    stream_of(m, function, file)?;
    let volume = instance.volume().volume();
    let key = volume.file_key(file).ok_or(STATUS_NOT_SUPPORTED)?;
    let on = usize::try_from(volume.number()).unwrap_or(0);
    Ok(Link::File {
        instance: instance.id(),
        volume: on,
        file: key,
    })
}

/// Common part of the set functions: the instance must be alive.
fn set_on(
    m: &Arc<Machine>,
    instance: &Instance,
    link: Result<Link, NtStatus>,
    kind: u16,
    (operation, new, old): (u32, PVOID, *mut PVOID),
) -> NtStatus {
    if instance.is_going() {
        return STATUS_FLT_DELETING_OBJECT;
    }
    let filter = instance.filter().id();
    match link {
        Ok(link) => set(
            m,
            link,
            &Setting {
                operation,
                new,
                old,
                kind,
                filter,
            },
        ),
        Err(status) => status,
    }
}

fn get_from(m: &Machine, link: Result<Link, NtStatus>, context: *mut PVOID) -> NtStatus {
    guest::write(context, core::ptr::null_mut());
    let link = match link {
        Ok(link) => link,
        Err(status) => return status,
    };
    match get(m, link) {
        Some(found) => {
            guest::write(context, found.pointer());
            STATUS_SUCCESS
        }
        None => STATUS_NOT_FOUND,
    }
}

fn delete_from(
    m: &Arc<Machine>,
    instance: &Instance,
    link: Result<Link, NtStatus>,
    old: *mut PVOID,
) -> NtStatus {
    guest::write(old, core::ptr::null_mut());
    if instance.is_going() {
        return STATUS_FLT_DELETING_OBJECT;
    }
    let link = match link {
        Ok(link) => link,
        Err(status) => return status,
    };
    take(m, link, old)
}

fn take(m: &Arc<Machine>, link: Link, old: *mut PVOID) -> NtStatus {
    let Some(context) = unlink(m, link) else {
        return STATUS_NOT_FOUND;
    };
    if old.is_null() {
        context.release(m);
    } else {
        guest::write(old, context.pointer());
    }
    STATUS_SUCCESS
}

fn release(m: &Arc<Machine>, context: PVOID) {
    let context = expect(m, "FltReleaseContext", context);
    check_release_level(&context);
    context.release(m);
}

/// Offsets in FLT_RELATED_CONTEXTS, by context kind.
const RELATED: [u16; 6] = [
    FLT_VOLUME_CONTEXT,
    FLT_INSTANCE_CONTEXT,
    FLT_FILE_CONTEXT,
    FLT_STREAM_CONTEXT,
    FLT_STREAMHANDLE_CONTEXT,
    FLT_TRANSACTION_CONTEXT,
];

fn related(m: &Machine, objects: &FLT_RELATED_OBJECTS, kind: u16) -> PVOID {
    let instance = || FilterManager::of(m).instance(objects.instance);
    let name = "FltGetContexts";
    let link = match kind {
        FLT_VOLUME_CONTEXT => Some(Link::Volume {
            filter: objects.filter.addr(),
            volume: objects.volume.addr(),
        }),
        FLT_INSTANCE_CONTEXT => Some(Link::Instance {
            instance: objects.instance.addr(),
        }),
        FLT_FILE_CONTEXT => {
            instance().and_then(|i| file_link(m, name, &i, objects.file_object).ok())
        }
        FLT_STREAM_CONTEXT => {
            instance().and_then(|i| stream_link(m, name, &i, objects.file_object).ok())
        }
        FLT_STREAMHANDLE_CONTEXT => {
            instance().and_then(|i| handle_link(m, name, &i, objects.file_object).ok())
        }
        _ => Some(Link::Transaction {
            instance: objects.instance.addr(),
            transaction: objects.transaction.addr(),
        }),
    };
    pointer_of(link.and_then(|link| get(m, link)).as_ref())
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [APC, 0, "fltkernel/nf-fltkernel-fltallocatecontext",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltAllocateContext(
        c, filter: PVOID, kind: u16, size: usize, pool: u32, context: *mut PVOID,
    ) -> NtStatus {
        guest::write(context, core::ptr::null_mut());
        let filter = registration::expect(c.m, c.info.name, filter);
        match allocate(c.m, &filter, kind, size, pool) {
            Ok(memory) => {
                guest::write(context, memory);
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltreferencecontext"]
    fn FltReferenceContext(c, context: PVOID) {
        expect(c.m, c.info.name, context).reference();
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltreleasecontext"]
    fn FltReleaseContext(c, context: PVOID) {
        release(c.m, context);
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeletecontext"]
    fn FltDeleteContext(c, context: PVOID) {
        let context = expect(c.m, c.info.name, context);
        if context.kind() == FLT_SECTION_CONTEXT {
            let detail = "use FltCloseSectionForDataScan";
            return c.violation(&verifier::context::SECTION_DELETED, detail);
        }
        if let Some(link) = context.link()
            && let Some(unlinked) = unlink(c.m, link)
        {
            unlinked.release(c.m);
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsetstreamcontext"]
    fn FltSetStreamContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, how: u32, new: PVOID, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let link = stream_link(c.m, c.info.name, &instance, file);
        set_on(c.m, &instance, link, FLT_STREAM_CONTEXT, (how, new, old))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetstreamcontext"]
    fn FltGetStreamContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, context: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        get_from(c.m, stream_link(c.m, c.info.name, &instance, file), context)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeletestreamcontext"]
    fn FltDeleteStreamContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let link = stream_link(c.m, c.info.name, &instance, file);
        delete_from(c.m, &instance, link, old)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsetstreamhandlecontext"]
    fn FltSetStreamHandleContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, how: u32, new: PVOID, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let link = handle_link(c.m, c.info.name, &instance, file);
        set_on(c.m, &instance, link, FLT_STREAMHANDLE_CONTEXT, (how, new, old))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetstreamhandlecontext"]
    fn FltGetStreamHandleContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, context: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        get_from(c.m, handle_link(c.m, c.info.name, &instance, file), context)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeletestreamhandlecontext"]
    fn FltDeleteStreamHandleContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let link = handle_link(c.m, c.info.name, &instance, file);
        delete_from(c.m, &instance, link, old)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsetfilecontext"]
    fn FltSetFileContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, how: u32, new: PVOID, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let link = file_link(c.m, c.info.name, &instance, file);
        set_on(c.m, &instance, link, FLT_FILE_CONTEXT, (how, new, old))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetfilecontext"]
    fn FltGetFileContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, context: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        get_from(c.m, file_link(c.m, c.info.name, &instance, file), context)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeletefilecontext"]
    fn FltDeleteFileContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let link = file_link(c.m, c.info.name, &instance, file);
        delete_from(c.m, &instance, link, old)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsetinstancecontext"]
    fn FltSetInstanceContext(
        c, instance: PVOID, how: u32, new: PVOID, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let link = Ok(Link::Instance { instance: instance.id() });
        set_on(c.m, &instance, link, FLT_INSTANCE_CONTEXT, (how, new, old))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetinstancecontext"]
    fn FltGetInstanceContext(c, instance: PVOID, context: *mut PVOID) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        get_from(c.m, Ok(Link::Instance { instance: instance.id() }), context)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeleteinstancecontext"]
    fn FltDeleteInstanceContext(c, instance: PVOID, old: *mut PVOID) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        delete_from(c.m, &instance, Ok(Link::Instance { instance: instance.id() }), old)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsetvolumecontext"]
    fn FltSetVolumeContext(
        c, volume: PVOID, how: u32, new: PVOID, old: *mut PVOID,
    ) -> NtStatus {
        let volume = volume::expect(c.m, c.info.name, volume);
        if volume.is_dismounted() {
            return STATUS_FLT_DELETING_OBJECT;
        }
        // The filter is not named: it is the one that the context belongs to.
        let Some(context) = super::lookup(c.m, new) else {
            return STATUS_INVALID_PARAMETER;
        };
        let filter = context.filter().id();
        let link = Link::Volume { filter, volume: volume.id() };
        let kind = FLT_VOLUME_CONTEXT;
        set(c.m, link, &Setting { operation: how, new, old, kind, filter })
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetvolumecontext"]
    fn FltGetVolumeContext(c, filter: PVOID, volume: PVOID, context: *mut PVOID) -> NtStatus {
        let filter = registration::expect(c.m, c.info.name, filter);
        let volume = volume::expect(c.m, c.info.name, volume);
        let link = Link::Volume { filter: filter.id(), volume: volume.id() };
        get_from(c.m, Ok(link), context)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeletevolumecontext"]
    fn FltDeleteVolumeContext(c, filter: PVOID, volume: PVOID, old: *mut PVOID) -> NtStatus {
        guest::write(old, core::ptr::null_mut());
        let filter = registration::expect(c.m, c.info.name, filter);
        let volume = volume::expect(c.m, c.info.name, volume);
        if volume.is_dismounted() {
            return STATUS_FLT_DELETING_OBJECT;
        }
        take(c.m, Link::Volume { filter: filter.id(), volume: volume.id() }, old)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsettransactioncontext"]
    fn FltSetTransactionContext(
        c, instance: PVOID, transaction: PVOID, how: u32, new: PVOID, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let (on, transaction) = (instance.id(), transaction.addr());
        let link = Link::Transaction { instance: on, transaction };
        set_on(c.m, &instance, Ok(link), FLT_TRANSACTION_CONTEXT, (how, new, old))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgettransactioncontext"]
    fn FltGetTransactionContext(
        c, instance: PVOID, transaction: PVOID, context: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let (on, transaction) = (instance.id(), transaction.addr());
        get_from(c.m, Ok(Link::Transaction { instance: on, transaction }), context)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltdeletetransactioncontext"]
    fn FltDeleteTransactionContext(
        c, instance: PVOID, transaction: PVOID, old: *mut PVOID,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        let (on, transaction) = (instance.id(), transaction.addr());
        delete_from(c.m, &instance, Ok(Link::Transaction { instance: on, transaction }), old)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetcontexts"]
    fn FltGetContexts(c, objects: *const FLT_RELATED_OBJECTS, wanted: u16, out: *mut PVOID) {
        if let Some(objects) = guest::read(objects) {
            for (at, kind) in RELATED.into_iter().enumerate() {
                let found = if wanted & kind != 0 {
                    related(c.m, &objects, kind)
                } else {
                    core::ptr::null_mut()
                };
                guest::write(out.wrapping_add(at), found);
            }
        }
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltreleasecontexts"]
    fn FltReleaseContexts(c, contexts: *mut PVOID) {
        for at in 0..RELATED.len() {
            let place = contexts.wrapping_add(at);
            let context = guest::read(place).unwrap_or(core::ptr::null_mut());
            if !context.is_null() {
                release(c.m, context);
                guest::write(place, core::ptr::null_mut());
            }
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsupportsstreamcontexts"]
    fn FltSupportsStreamContexts(c, file: *mut FILE_OBJECT) -> u8 {
        u8::from(supported(c.m, file))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsupportsstreamhandlecontexts"]
    fn FltSupportsStreamHandleContexts(c, file: *mut FILE_OBJECT) -> u8 {
        u8::from(supported(c.m, file))
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltsupportsfilecontexts"]
    fn FltSupportsFileContexts(c, file: *mut FILE_OBJECT) -> u8 {
        u8::from(supported(c.m, file))
    }
}
