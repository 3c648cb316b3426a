//! The edge to the Filter Manager: tables of operations and contexts, and the thunks that turn a
//! raw callback into a safe view. A row says what is called; why is in the story files.
#![expect(unsafe_code, reason = "the Filter Manager calls with raw pointers")]

pub mod view;

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use view::Data;

use crate::context::{InstanceContext, Kind, SectionContext, StreamContext, TransactionContext};
use crate::kernel::file::Instance;
use crate::kernel::{Status, irql};
use crate::sys::constants::*;
use crate::sys::{
    self, DRIVER_OBJECT, FltCallbackData, FltContext, FltContextRegistration, FltFilter,
    FltInstance, FltOperationRegistration, FltRegistration, FltRelatedObjects, NTSTATUS, P,
    PostOperation, PreOperation,
};
use crate::{create, instance, invalidate, transacted};

/// The filter that the Filter Manager handed out; null before registration and after unload.
static FILTER: AtomicPtr<core::ffi::c_void> = AtomicPtr::new(ptr::null_mut());

/// Our filter, null while there is none.
#[must_use]
pub fn filter() -> FltFilter {
    FILTER.load(Ordering::Acquire)
}

/// `FLTFL_REGISTRATION_SUPPORT_DAX_VOLUME`: we attach to direct-access volumes and never cache
/// there.
const SUPPORT_DAX_VOLUME: u32 = 4;

/// A row of the table of operations.
const fn row(
    major: u8,
    pre: PreOperation,
    post: Option<PostOperation>,
) -> FltOperationRegistration {
    FltOperationRegistration {
        major,
        flags: 0,
        pre: Some(pre),
        post,
        reserved: ptr::null_mut(),
    }
}

/// Which operations are seen. Paging and cached writes are not skipped: both change bytes.
static OPERATIONS: [FltOperationRegistration; 10] = [
    row(IRP_MJ_CREATE, before_create, Some(after_create)),
    row(IRP_MJ_WRITE, before_change, Some(after_change)),
    row(IRP_MJ_SET_INFORMATION, before_change, Some(after_change)),
    row(
        IRP_MJ_FILE_SYSTEM_CONTROL,
        before_change,
        Some(after_change),
    ),
    row(IRP_MJ_PREPARE_MDL_WRITE, before_change, Some(after_change)),
    row(IRP_MJ_MDL_WRITE_COMPLETE, before_change, Some(after_change)),
    row(IRP_MJ_CLEANUP, before_cleanup, Some(after_change)),
    row(
        IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION,
        before_section,
        None,
    ),
    row(IRP_MJ_VOLUME_DISMOUNT, before_dismount, None),
    FltOperationRegistration {
        major: IRP_MJ_OPERATION_END,
        flags: 0,
        pre: None,
        post: None,
        reserved: ptr::null_mut(),
    },
];

/// A row of the table of contexts.
const fn context<T: Kind>() -> FltContextRegistration {
    FltContextRegistration {
        context_type: T::KIND,
        flags: 0,
        cleanup: T::CLEANUP,
        size: size_of::<T>(),
        pool_tag: T::TAG.raw(),
        allocate: ptr::null_mut(),
        free: ptr::null_mut(),
        reserved: ptr::null_mut(),
    }
}

/// Which contexts we keep.
static CONTEXTS: [FltContextRegistration; 5] = [
    context::<InstanceContext>(),
    context::<StreamContext>(),
    context::<SectionContext>(),
    context::<TransactionContext>(),
    FltContextRegistration {
        context_type: FLT_CONTEXT_END,
        flags: 0,
        cleanup: None,
        size: 0,
        pool_tag: 0,
        allocate: ptr::null_mut(),
        free: ptr::null_mut(),
        reserved: ptr::null_mut(),
    },
];

static REGISTRATION: FltRegistration = FltRegistration {
    size: size_of::<FltRegistration>() as u16,
    version: 0x0203,
    flags: SUPPORT_DAX_VOLUME,
    contexts: CONTEXTS.as_ptr(),
    operations: OPERATIONS.as_ptr(),
    unload: Some(crate::unload),
    instance_setup: Some(instance_setup),
    instance_query_teardown: Some(instance_query_teardown),
    instance_teardown_start: Some(instance_teardown_start),
    instance_teardown_complete: Some(instance_teardown_complete),
    generate_file_name: ptr::null_mut(),
    normalize_name_component: ptr::null_mut(),
    normalize_context_cleanup: ptr::null_mut(),
    transaction_notification: Some(transaction_notified),
    normalize_name_component_ex: ptr::null_mut(),
    section_notification: Some(section_conflict),
};

/// Makes us known to the Filter Manager. No callback runs before [`start`].
///
/// # Errors
/// No instances in the registry, no memory, a Filter Manager that is not there.
///
/// # Safety
/// `driver` is the live driver object that `DriverEntry` was given.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub unsafe fn register(driver: *mut DRIVER_OBJECT) -> Result<(), Status> {
    irql::passive();
    let mut filter: FltFilter = ptr::null_mut();
    // SAFETY: the driver object is live; registration and its tables are statics.
    let status =
        unsafe { sys::FltRegisterFilter(driver, &raw const REGISTRATION, &raw mut filter) };
    core::hint::black_box(());
    Status::check(status)?;
    FILTER.store(filter, Ordering::Release);
    Ok(())
}

/// Lets the callbacks run, some before this returns.
///
/// # Errors
/// What the Filter Manager says.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn start() -> Result<(), Status> {
    irql::passive();
    // SAFETY: the filter is registered: `register` stored it and `unregister` has not run.
    let status = unsafe { sys::FltStartFiltering(filter()) };
    core::hint::black_box(());
    Status::check(status).map(|_| ())
}

/// Tears all instances down and waits for callbacks that still run; none runs afterwards.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn unregister() {
    irql::passive();
    let filter = filter();
    if filter.is_null() {
        return;
    }
    // SAFETY: the filter is registered, and bring-up and unload call this once.
    unsafe { sys::FltUnregisterFilter(filter) };
    // Teardown callbacks asked for the filter until the call returned.
    FILTER.store(ptr::null_mut(), Ordering::Release);
}

/// # Safety
/// Called by the Filter Manager only, with a live create and a place for the completion context.
///
/// # IRQL
/// PASSIVE_LEVEL.
unsafe extern "system" fn before_create(
    data: *mut FltCallbackData,
    related: *const FltRelatedObjects,
    completion: *mut P,
) -> i32 {
    irql::at_most_apc();
    // SAFETY: the pointers are this callback's and the view ends with it.
    let Some(data) = (unsafe { Data::new(data, related) }) else {
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    };
    match create::before(&data) {
        None => FLT_PREOP_SUCCESS_NO_CALLBACK,
        Some(carried) => {
            // SAFETY: the Filter Manager gives a place for one pointer.
            unsafe { completion.write(ptr::without_provenance_mut(carried.to_bits())) };
            FLT_PREOP_SUCCESS_WITH_CALLBACK
        }
    }
}

/// # Safety
/// Called by the Filter Manager only, with the completion context that `before_create` left.
///
/// # IRQL
/// PASSIVE_LEVEL; at most APC_LEVEL while draining.
unsafe extern "system" fn after_create(
    data: *mut FltCallbackData,
    related: *const FltRelatedObjects,
    completion: P,
    flags: u32,
) -> i32 {
    irql::at_most_apc();
    let carried = create::Carried::from_bits(completion.addr());
    if flags & FLTFL_POST_OPERATION_DRAINING != 0 {
        create::drained(carried);
        return FLT_POSTOP_FINISHED_PROCESSING;
    }
    // SAFETY: not draining, so the pointers are this callback's and the view ends with it.
    if let Some(data) = unsafe { Data::new(data, related) } {
        create::after(&data, carried);
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

/// # Safety
/// Called by the Filter Manager only, with a live operation.
///
/// # IRQL
/// At most APC_LEVEL; paging writes come with locks of the memory manager held.
unsafe extern "system" fn before_change(
    data: *mut FltCallbackData,
    related: *const FltRelatedObjects,
    completion: *mut P,
) -> i32 {
    // SAFETY: the pointers are this callback's and the view ends with it.
    let Some(data) = (unsafe { Data::new(data, related) }) else {
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    };
    // SAFETY: the Filter Manager gives a place for one pointer.
    unsafe { carry(invalidate::before(&data), completion) }
}

/// # Safety
/// Called by the Filter Manager only, with a live cleanup.
///
/// # IRQL
/// At most APC_LEVEL.
unsafe extern "system" fn before_cleanup(
    data: *mut FltCallbackData,
    related: *const FltRelatedObjects,
    completion: *mut P,
) -> i32 {
    // SAFETY: the pointers are this callback's and the view ends with it.
    let Some(data) = (unsafe { Data::new(data, related) }) else {
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    };
    // SAFETY: the Filter Manager gives a place for one pointer.
    unsafe { carry(invalidate::before_cleanup(&data), completion) }
}

/// Leaves a mark for the post-operation, where there is one.
///
/// # Safety
/// `completion` is the place that the Filter Manager gave to this callback.
unsafe fn carry(mark: Option<invalidate::Mark>, completion: *mut P) -> i32 {
    let Some(mark) = mark else {
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    };
    // SAFETY: the caller vouches for the place.
    unsafe { completion.write(ptr::without_provenance_mut(mark.into_bits())) };
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

/// # Safety
/// Called by the Filter Manager only, with the completion context that the pre-operation left.
///
/// # IRQL
/// At most DISPATCH_LEVEL; also while draining.
unsafe extern "system" fn after_change(
    _data: *mut FltCallbackData,
    _related: *const FltRelatedObjects,
    completion: P,
    _flags: u32,
) -> i32 {
    irql::at_most_dispatch();
    // SAFETY: `carry` left this mark for this post-operation, which runs once.
    let mark = unsafe { invalidate::Mark::from_bits(completion.addr()) };
    invalidate::after(mark);
    FLT_POSTOP_FINISHED_PROCESSING
}

/// # Safety
/// Called by the Filter Manager only, with a live operation.
///
/// # IRQL
/// At most APC_LEVEL.
unsafe extern "system" fn before_section(
    data: *mut FltCallbackData,
    related: *const FltRelatedObjects,
    _completion: *mut P,
) -> i32 {
    // SAFETY: the pointers are this callback's and the view ends with it.
    if let Some(data) = unsafe { Data::new(data, related) } {
        invalidate::before_section(&data);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// # Safety
/// Called by the Filter Manager only, with a live operation.
///
/// # IRQL
/// At most APC_LEVEL.
unsafe extern "system" fn before_dismount(
    _data: *mut FltCallbackData,
    related: *const FltRelatedObjects,
    _completion: *mut P,
) -> i32 {
    // SAFETY: the related objects are this callback's; a dismount has no file object.
    if let Some(instance) = unsafe { instance_of(related) } {
        instance::dismounting(instance);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// The instance that a callback is about.
///
/// # Safety
/// `related` is what the callback was given; the instance is not used after it returns.
unsafe fn instance_of<'a>(related: *const FltRelatedObjects) -> Option<Instance<'a>> {
    if related.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the related objects.
    let raw = unsafe { (*related).instance };
    // SAFETY: the instance lives during its callback.
    unsafe { Instance::borrow(raw) }
}

/// # Safety
/// Called by the Filter Manager only.
///
/// # IRQL
/// PASSIVE_LEVEL, in the thread of the volume's first operation: nothing waits here.
unsafe extern "system" fn instance_setup(
    related: *const FltRelatedObjects,
    flags: u32,
    device_type: u32,
    file_system: u32,
) -> NTSTATUS {
    irql::passive();
    // SAFETY: the related objects are this callback's.
    let Some(instance) = (unsafe { instance_of(related) }) else {
        return STATUS_FLT_DO_NOT_ATTACH;
    };
    // SAFETY: the related objects are this callback's and `instance_of` saw that there are some.
    let volume = unsafe { (*related).volume };
    match instance::setup(instance, volume, device_type, file_system, flags) {
        Ok(()) => STATUS_SUCCESS,
        Err(_) => STATUS_FLT_DO_NOT_ATTACH,
    }
}

/// A manual detach is never refused.
///
/// # Safety
/// Called by the Filter Manager only.
///
/// # IRQL
/// PASSIVE_LEVEL.
unsafe extern "system" fn instance_query_teardown(
    _related: *const FltRelatedObjects,
    _flags: u32,
) -> NTSTATUS {
    STATUS_SUCCESS
}

/// # Safety
/// Called by the Filter Manager only.
///
/// # IRQL
/// PASSIVE_LEVEL.
unsafe extern "system" fn instance_teardown_start(related: *const FltRelatedObjects, _flags: u32) {
    irql::passive();
    // SAFETY: the related objects are this callback's.
    if let Some(instance) = unsafe { instance_of(related) } {
        instance::teardown_start(instance);
    }
}

/// # Safety
/// Called by the Filter Manager only.
///
/// # IRQL
/// PASSIVE_LEVEL.
unsafe extern "system" fn instance_teardown_complete(
    related: *const FltRelatedObjects,
    _flags: u32,
) {
    irql::passive();
    // SAFETY: the related objects are this callback's.
    if let Some(instance) = unsafe { instance_of(related) } {
        instance::teardown_complete(instance);
    }
}

/// # Safety
/// Called by the Filter Manager only, with a stream context that is about to be freed.
///
/// # IRQL
/// At most APC_LEVEL.
pub unsafe extern "system" fn stream_cleanup(context: FltContext, _kind: u16) {
    irql::at_most_apc();
    // SAFETY: the Filter Manager frees the context after this call, and nobody else has it.
    if let Some(stream) = unsafe { StreamContext::ending(context) } {
        invalidate::stream_gone(stream);
    }
}

/// # Safety
/// Called by the Filter Manager only, with a transaction context that is about to be freed.
///
/// # IRQL
/// At most APC_LEVEL.
pub unsafe extern "system" fn transaction_cleanup(context: FltContext, _kind: u16) {
    irql::at_most_apc();
    // SAFETY: the Filter Manager frees the context after this call, and nobody else has it.
    if let Some(context) = unsafe { TransactionContext::of_callback(context) } {
        transacted::release(context);
    }
}

/// A transaction that we are enlisted in comes to its end.
///
/// # Safety
/// Called by the Filter Manager only, with a live transaction context of ours.
///
/// # IRQL
/// At most APC_LEVEL.
unsafe extern "system" fn transaction_notified(
    related: *const FltRelatedObjects,
    context: FltContext,
    what: u32,
) -> NTSTATUS {
    irql::at_most_apc();
    // SAFETY: the related objects are this callback's.
    let instance = unsafe { instance_of(related) };
    // SAFETY: the context is the live one of this callback.
    let context = unsafe { TransactionContext::of_callback(context) };
    if let (Some(instance), Some(context)) = (instance, context) {
        transacted::notified(instance, context, what);
    }
    STATUS_SUCCESS
}

/// An operation conflicts with a section that we scan: the scan gives way.
///
/// # Safety
/// Called by the Filter Manager only, with a live section context of ours.
///
/// # IRQL
/// PASSIVE_LEVEL, in the thread of the conflicting operation.
unsafe extern "system" fn section_conflict(
    _instance: FltInstance,
    context: FltContext,
    _data: *mut FltCallbackData,
) -> NTSTATUS {
    irql::at_most_apc();
    // SAFETY: the context is the live one of this callback.
    if let Some(context) = unsafe { SectionContext::from_callback(context) } {
        crate::scan::give_way(&context);
    }
    STATUS_SUCCESS
}
