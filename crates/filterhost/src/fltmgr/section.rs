//! Sections that a filter makes to scan a file's bytes, and the notice it gets when one is in
//! somebody's way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::context::{self, Context, Link, Setting};
use super::filter::Filter;
use super::instance::{self, Instance, InstanceRef};
use super::{Leak, Origin, call, file, guest};
use crate::layout::{
    FILE_OBJECT, FILE_STANDARD_INFORMATION, FLT_CALLBACK_DATA, FLT_SECTION_CONTEXT,
    FLT_SET_CONTEXT_KEEP_IF_EXISTS, FileStandardInformation, HANDLE, OBJ_KERNEL_HANDLE,
    OBJECT_ATTRIBUTES, PAGE_EXECUTE, PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE,
    PAGE_EXECUTE_WRITECOPY, PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY, PVOID, SEC_COMMIT,
    SEC_IMAGE, SEC_RESERVE, Zeroed,
};
use crate::machine::{self, Machine};
use crate::object::Kind;
use crate::status::{
    NtStatus, STATUS_FILE_IS_A_DIRECTORY, STATUS_FLT_CONTEXT_ALREADY_DEFINED,
    STATUS_FLT_DELETING_OBJECT, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_FILE_FOR_SECTION,
    STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_8, STATUS_INVALID_PARAMETER_9,
    STATUS_NOT_FOUND, STATUS_NOT_SUPPORTED, STATUS_SUCCESS,
};
use crate::user::section::SectionHost;
use crate::verifier;
use crate::volume::fs::open::OpenKind;
use crate::volume::request::FileRef;
use crate::volume::section::SectionUse;
use crate::volume::stream::Stream;

/// One section that was created and whose context is not closed.
struct Open {
    link: Link,
    filter: usize,
    number: u64,
    stream: Arc<Stream>,
    instance: Arc<Instance>,
    origin: Origin,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By the address of the section context.
    open: HashMap<usize, Open>,
    /// Section contexts that were closed.
    closed: std::collections::HashSet<usize>,
}

#[derive(Default)]
struct Sections {
    state: Mutex<State>,
}

/// Sections that a filter has not closed, in the order of their creation.
pub(crate) fn open(m: &Machine, filter: &Filter) -> Vec<Leak> {
    let sections = m.state::<Sections>();
    let state = sections.state.lock();
    let mut own: Vec<_> = state
        .open
        .values()
        .filter(|it| it.filter == filter.id())
        .collect();
    own.sort_by_key(|open| open.number);
    let what = |open: &Open| format!("section for a data scan #{}", open.number);
    own.iter()
        .map(|open| Leak::new(what(open), &open.origin))
        .collect()
}

/// An operation conflicts with sections of `stream`: their filters are told, on the thread of
/// the operation. The file system then waits a while for the sections to go.
pub fn conflict(m: &Arc<Machine>, stream: &Arc<Stream>, data: *mut FLT_CALLBACK_DATA) {
    let sections = m.state::<Sections>();
    let mut concerned: Vec<_> = {
        let state = sections.state.lock();
        let of_stream = state
            .open
            .iter()
            .filter(|(_, it)| Arc::ptr_eq(&it.stream, stream));
        of_stream
            .map(|(at, it)| (it.number, *at, it.instance.clone()))
            .collect()
    };
    concerned.sort_by_key(|(number, ..)| *number);
    for (_, at, instance) in concerned {
        let Some(callback) = instance.filter().callbacks().section else {
            continue;
        };
        let address = core::ptr::with_exposed_provenance_mut(at);
        let Some(context) = context::lookup(m, address) else {
            continue;
        };
        context.reference();
        instance.hold();
        let status = call::section_conflict(callback, instance.pointer(), address, data);
        instance.release_hold(m);
        context.release(m);
        if status != STATUS_SUCCESS {
            let detail = format!("a section notification callback returned {status}");
            verifier::violation(&verifier::section::CONFLICT_STATUS, detail);
        }
    }
}

/// What `FltCreateSectionForDataScan` takes besides instance, file and context.
struct Wanted {
    access: u32,
    attributes: *const OBJECT_ATTRIBUTES,
    protection: u32,
    allocation: u32,
    flags: u32,
}

/// What it gives.
struct Made {
    handle: usize,
    object: PVOID,
    size: u64,
}

fn check_wanted(of: &Wanted) -> Result<(), NtStatus> {
    let protections = [
        PAGE_READONLY,
        PAGE_READWRITE,
        PAGE_WRITECOPY,
        PAGE_EXECUTE,
        PAGE_EXECUTE_READ,
        PAGE_EXECUTE_READWRITE,
        PAGE_EXECUTE_WRITECOPY,
    ];
    if !protections.contains(&of.protection) {
        return Err(STATUS_INVALID_PARAMETER_8);
    }
    let known = SEC_COMMIT | SEC_IMAGE | SEC_RESERVE;
    let kinds = of.allocation & known;
    if kinds == 0 || of.allocation & !known != 0 || kinds.count_ones() != 1 {
        return Err(STATUS_INVALID_PARAMETER_9);
    }
    if of.flags != 0 {
        return Err(STATUS_INVALID_PARAMETER);
    }
    Ok(())
}

/// The stream of the file, if it can have sections.
fn stream_of(
    m: &Arc<Machine>,
    instance: &InstanceRef,
    of: *mut FILE_OBJECT,
) -> Result<Arc<Stream>, NtStatus> {
    let volume = instance.volume().volume();
    let open = FileRef::new(of).and_then(|file| volume.fs().open_of(file));
    if open.is_some_and(|open| open.kind == OpenKind::Volume) {
        return Err(STATUS_INVALID_FILE_FOR_SECTION);
    }
    let mut standard = FILE_STANDARD_INFORMATION::zeroed();
    let length = u32::try_from(size_of_val(&standard)).unwrap_or(0);
    let buffer: PVOID = (&raw mut standard).cast();
    let asked = (FileStandardInformation, buffer, length);
    let (status, _) = file::query(m, "FltCreateSectionForDataScan", instance, of, asked);
    status.ok()?;
    if standard.directory != 0 {
        return Err(STATUS_FILE_IS_A_DIRECTORY);
    }
    let file = FileRef::new(of).ok_or(STATUS_INVALID_PARAMETER)?;
    volume
        .stream_of(file)
        .ok_or(STATUS_INVALID_FILE_FOR_SECTION)
}

fn create(
    m: &Arc<Machine>,
    instance: &InstanceRef,
    of: *mut FILE_OBJECT,
    told: PVOID,
    wanted: &Wanted,
) -> Result<Made, NtStatus> {
    if !instance.volume().volume().supports_data_scan() {
        return Err(STATUS_NOT_SUPPORTED);
    }
    if instance.is_going() {
        return Err(STATUS_FLT_DELETING_OBJECT);
    }
    if !instance.life.lock().data_scan {
        return Err(STATUS_INVALID_PARAMETER);
    }
    check_wanted(wanted)?;
    let stream = stream_of(m, instance, of)?;
    let context = context::expect(m, "FltCreateSectionForDataScan", told);
    let link = Link::Section {
        instance: instance.id(),
        stream: guest::file::fs_context(of).addr(),
    };
    link_context(m, instance, link, told)?;
    let opened = open_section(m, instance, link, told, &stream);
    let made = make(m, instance, of, wanted);
    if made.is_err() {
        forget(m, opened);
        unlink(m, &context);
    }
    made
}

/// Makes the section object and its handle in the current process, or the System's.
fn make(
    m: &Arc<Machine>,
    instance: &InstanceRef,
    of: *mut FILE_OBJECT,
    wanted: &Wanted,
) -> Result<Made, NtStatus> {
    let file = m
        .objects()
        .find_kind(of, Kind::File)
        .ok_or(STATUS_INVALID_FILE_FOR_SECTION)?;
    let volume = instance.volume().volume();
    let object = SectionHost::create(m, volume, &file, SectionUse::Scan)?;
    let bytes = object
        .host::<SectionHost>()
        .and_then(|section| section.bytes());
    let size = bytes.map_or(0, |bytes| bytes.size());
    let process = machine::current_thread().process();
    let given = guest::read(wanted.attributes).map_or(0, |given| given.attributes);
    let attributes = given & OBJ_KERNEL_HANDLE;
    let handle = m
        .objects()
        .open_handle(m, &process, &object, wanted.access, attributes);
    // The reference from its making is the caller's, beside the handle's own.
    Ok(Made {
        handle,
        object: object.pointer(),
        size,
    })
}

fn link_context(
    m: &Arc<Machine>,
    instance: &Instance,
    link: Link,
    new: PVOID,
) -> Result<(), NtStatus> {
    let setting = Setting {
        operation: FLT_SET_CONTEXT_KEEP_IF_EXISTS,
        new,
        old: core::ptr::null_mut(),
        kind: FLT_SECTION_CONTEXT,
        filter: instance.filter().id(),
    };
    let status = context::set(m, link, &setting);
    if status == STATUS_FLT_CONTEXT_ALREADY_DEFINED {
        Err(status)
    } else {
        status.ok()
    }
}

/// Notes the section before it exists: a conflict may be told before the creation returns.
fn open_section(
    m: &Arc<Machine>,
    instance: &InstanceRef,
    link: Link,
    told: PVOID,
    stream: &Arc<Stream>,
) -> usize {
    let origin = Origin::here(m);
    let sections = m.state::<Sections>();
    let mut state = sections.state.lock();
    state.next += 1;
    let open = Open {
        link,
        filter: instance.filter().id(),
        number: state.next,
        stream: stream.clone(),
        instance: instance.clone(),
        origin,
    };
    state.closed.remove(&told.addr());
    state.open.insert(told.addr(), open);
    told.addr()
}

fn forget(m: &Machine, context: usize) -> Option<Open> {
    m.state::<Sections>().state.lock().open.remove(&context)
}

fn unlink(m: &Arc<Machine>, context: &Arc<Context>) {
    if let Some(link) = context.link()
        && let Some(unlinked) = context::unlink(m, link)
    {
        unlinked.release(m);
    }
}

fn close(m: &Arc<Machine>, told: PVOID) -> NtStatus {
    let context = context::expect(m, "FltCloseSectionForDataScan", told);
    if context.kind() != FLT_SECTION_CONTEXT {
        return STATUS_INVALID_PARAMETER;
    }
    let Some(open) = forget(m, told.addr()) else {
        let was = m
            .state::<Sections>()
            .state
            .lock()
            .closed
            .contains(&told.addr());
        return if was {
            STATUS_NOT_FOUND
        } else {
            STATUS_INVALID_PARAMETER
        };
    };
    m.state::<Sections>()
        .state
        .lock()
        .closed
        .insert(told.addr());
    // The stream's end may have taken the context from its place already.
    if context.link() == Some(open.link) {
        unlink(m, &context);
    }
    m.sched().notify();
    STATUS_SUCCESS
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [APC, 0, "fltkernel/nf-fltkernel-fltregisterfordatascan",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltRegisterForDataScan(c, instance: PVOID) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        if !instance.volume().volume().supports_data_scan() {
            return STATUS_NOT_SUPPORTED;
        }
        instance.life.lock().data_scan = true;
        STATUS_SUCCESS
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltcreatesectionfordatascan",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltCreateSectionForDataScan(
        c, instance: PVOID, file: *mut FILE_OBJECT, context: PVOID, access: u32,
        attributes: *const OBJECT_ATTRIBUTES, maximum: *const i64, protection: u32,
        allocation: u32, flags: u32, handle: *mut HANDLE, object: *mut PVOID, size: *mut i64,
    ) -> NtStatus {
        guest::write(handle, core::ptr::null_mut());
        guest::write(object, core::ptr::null_mut());
        let instance = instance::expect(c.m, c.info.name, instance);
        let wanted = Wanted { access, attributes, protection, allocation, flags };
        match create(c.m, &instance, file, context, &wanted) {
            Ok(made) => {
                let whole = i64::try_from(made.size).unwrap_or(i64::MAX);
                let limit = guest::read(maximum).filter(|limit| *limit > 0).unwrap_or(whole);
                guest::write(handle, core::ptr::without_provenance_mut(made.handle));
                guest::write(object, made.object);
                guest::write(size, whole.min(limit));
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltclosesectionfordatascan"]
    fn FltCloseSectionForDataScan(c, context: PVOID) -> NtStatus {
        close(c.m, context)
    }

    [APC, 0, "fltkernel/nf-fltkernel-fltgetsectioncontext"]
    fn FltGetSectionContext(
        c, instance: PVOID, file: *mut FILE_OBJECT, context: *mut PVOID,
    ) -> NtStatus {
        guest::write(context, core::ptr::null_mut());
        let instance = instance::expect(c.m, c.info.name, instance);
        let stream = guest::file::fs_context(file).addr();
        if stream == 0 || !instance.volume().volume().supports_data_scan() {
            return STATUS_NOT_SUPPORTED;
        }
        match context::get(c.m, Link::Section { instance: instance.id(), stream }) {
            Some(found) => {
                guest::write(context, found.pointer());
                STATUS_SUCCESS
            }
            None => STATUS_NOT_FOUND,
        }
    }
}
