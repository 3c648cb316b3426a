// A small minifilter for the tests of the Filter Manager's behaviour over time. It tells each
// callback through DbgPrint; CASE says what it does beside that. What breaks a rule is in ../wrong.
#include "conform/flt.h"

#ifndef CASE
#define CASE 0
#endif
// What each case is for; the test file uses the same numbers.
enum {
    PLAIN = 0,
    DO_NOT_ATTACH = 1,
    REFUSE_UNLOAD = 2,
    CHANGE_WITH_DIRTY = 3,
    CANCEL = 4,
    PEND = 5,
    POST_WHEN_SAFE = 6,
    ECP_ATTACH = 7,
    COMPLETE = 8,
};

#define STATUS_FLT_DO_NOT_DETACH ((NTSTATUS)0xC01C0010)
#define STATUS_VIRUS_INFECTED ((NTSTATUS)0xC0000906)
#define STATUS_REPARSE ((NTSTATUS)0x104)
#define DRAINING 1
#define TAG 0x656c6946

IMPORT ULONG DbgPrint(const CHAR *, ...);
IMPORT void FltCompletePendedPreOperation(FLT_CALLBACK_DATA *, int, PVOID);

void *memset(void *to, int value, SIZE_T count);
void *memset(void *to, int value, SIZE_T count)
{
    volatile UCHAR *at = to;
    while (count--) *at++ = (UCHAR)value;
    return to;
}

static PFLT_FILTER Filter;
static volatile LONG Sink;
static const GUID Kind = { 0x11111111, 0x2222, 0x3333, { 4, 4, 4, 4, 4, 4, 4, 4 } };

static void context_cleanup(PFLT_CONTEXT context, USHORT type)
{
    DbgPrint("cleanup %u %u\n", (ULONG)type, *(ULONG *)context);
}

static void ecp_cleanup(PVOID context, const GUID *type)
{
    DbgPrint("ecp cleanup %u %x\n", *(ULONG *)context, type->Data1);
}

// Sets a stream context that remembers `value`, unless there is one.
static void set_stream_context(const FLT_RELATED_OBJECTS *objects, ULONG value)
{
    PFLT_CONTEXT fresh = NULL, old = NULL;
    NTSTATUS status = FltAllocateContext(Filter, FLT_STREAM_CONTEXT, 16, PagedPool, &fresh);
    if (status < 0) return;
    *(ULONG *)fresh = value;
    status = FltSetStreamContext(objects->Instance, objects->FileObject,
        FLT_SET_CONTEXT_KEEP_IF_EXISTS, fresh, &old);
    DbgPrint("stream context %x\n", status);
    if (old != NULL) FltReleaseContext(old);
    FltReleaseContext(fresh);
    Sink++;
}

// Attaches an extra create parameter, or finds the one that is there already.
static void attach_ecp(FLT_CALLBACK_DATA *data)
{
    PECP_LIST list = NULL;
    PVOID ecp = NULL;
    ULONG size = 0;
    NTSTATUS status = FltGetEcpListFromCallbackData(Filter, data, &list);
    if (status < 0) return;
    if (list != NULL && FltFindExtraCreateParameter(Filter, list, &Kind, &ecp, &size) >= 0) {
        DbgPrint("ecp found %u acknowledged %u\n", *(ULONG *)ecp,
            (ULONG)FltIsEcpAcknowledged(Filter, ecp));
        return;
    }
    if (FltAllocateExtraCreateParameter(Filter, &Kind, 24, 0, ecp_cleanup, TAG, &ecp) < 0) return;
    *(ULONG *)ecp = 7;
    if (list != NULL) {
        status = FltInsertExtraCreateParameter(Filter, list, ecp);
    } else {
        if (FltAllocateExtraCreateParameterList(Filter, 0, &list) < 0) return;
        FltInsertExtraCreateParameter(Filter, list, ecp);
        status = FltSetEcpListIntoCallbackData(Filter, data, list);
    }
    DbgPrint("ecp attached %x\n", status);
    Sink++;
}

static void complete_later(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    (void)object;
    DbgPrint("completing\n");
    FltCompletePendedPreOperation(context, 0, (PVOID)0x77);
    FltFreeGenericWorkItem(item);
    Sink++;
}

static int pre_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    DbgPrint("pre 0\n");
    *context = (PVOID)0x55;
    switch (CASE) {
    case CHANGE_WITH_DIRTY:
        FltSetCallbackDataDirty(data);
        data->Iopb->Parameters.Create.FileAttributes ^= 2;
        return 0;
    case ECP_ATTACH: attach_ecp(data); return 0;
    case COMPLETE:
        *context = NULL;
        data->IoStatus.Status = STATUS_ACCESS_DENIED;
        return 4;
    case PEND: {
        PFLT_WORKITEM item = FltAllocateGenericWorkItem();
        *context = NULL;
        if (item == NULL) return 1;
        FltQueueGenericWorkItem(item, objects->Instance, complete_later, 1, data);
        return 2;
    }
    default: return 0;
    }
}

static int post_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context,
    ULONG flags)
{
    DbgPrint("post 0 context %x flags %u\n", (ULONG)(ULONG_PTR)context, flags);
    if (flags & DRAINING) return 0;
    if (data->IoStatus.Status < 0 || data->IoStatus.Status == STATUS_REPARSE) return 0;
    switch (CASE) {
    case CANCEL:
        FltCancelFileOpen(objects->Instance, objects->FileObject);
        data->IoStatus.Status = STATUS_VIRUS_INFECTED;
        data->IoStatus.Information = 0;
        return 0;
    case CHANGE_WITH_DIRTY:
        DbgPrint("attributes %x\n", (ULONG)data->Iopb->Parameters.Create.FileAttributes);
        return 0;
    default: break;
    }
    set_stream_context(objects, 42);
    return 0;
}

static int safe_post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context,
    ULONG flags)
{
    (void)objects, (void)context, (void)flags;
    DbgPrint("safe post %u at %u\n", (ULONG)data->Iopb->MajorFunction, (ULONG)KeGetCurrentIrql());
    return 0;
}

static int pre_other(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)objects, (void)context;
    DbgPrint("pre %u\n", (ULONG)data->Iopb->MajorFunction);
    return CASE == POST_WHEN_SAFE ? 0 : 1;
}

static int post_other(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context,
    ULONG flags)
{
    int result = 0;
    if (flags & DRAINING) return 0;
    DbgPrint("post %u at %u\n", (ULONG)data->Iopb->MajorFunction, (ULONG)KeGetCurrentIrql());
    FltDoCompletionProcessingWhenSafe(data, objects, context, flags, safe_post, &result);
    return result;
}

static NTSTATUS setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, int kind)
{
    PFLT_CONTEXT context = NULL;
    DbgPrint("setup flags %x device %x kind %x\n", flags, device, kind);
    if (CASE == DO_NOT_ATTACH) return STATUS_FLT_DO_NOT_ATTACH;
    NTSTATUS status = FltAllocateContext(Filter, FLT_INSTANCE_CONTEXT, 16, PagedPool, &context);
    if (status < 0) return status;
    *(ULONG *)context = 99;
    FltSetInstanceContext(objects->Instance, FLT_SET_CONTEXT_KEEP_IF_EXISTS, context, NULL);
    FltReleaseContext(context);
    Sink++;
    return STATUS_SUCCESS;
}

static NTSTATUS query_teardown(const FLT_RELATED_OBJECTS *objects, ULONG flags)
{
    (void)objects, (void)flags;
    DbgPrint("query\n");
    return STATUS_SUCCESS;
}

static void teardown_start(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("start %x\n", reason);
}

static void teardown_complete(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("complete %x\n", reason);
}

static NTSTATUS unload(ULONG flags)
{
    DbgPrint("unload %x\n", flags);
    if (CASE == REFUSE_UNLOAD && flags == 0) return STATUS_FLT_DO_NOT_DETACH;
    FltUnregisterFilter(Filter);
    DbgPrint("unregistered\n");
    return STATUS_SUCCESS;
}

static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_STREAM_CONTEXT, 0, context_cleanup, 16, TAG, NULL, NULL, NULL },
    { FLT_INSTANCE_CONTEXT, 0, context_cleanup, 16, TAG, NULL, NULL, NULL },
    { FLT_CONTEXT_END, 0, NULL, 0, 0, NULL, NULL, NULL },
};
static const FLT_OPERATION_REGISTRATION Operations[] = {
    { 0, 0, pre_create, post_create, NULL },
    { 4, 0, pre_other, post_other, NULL },
    { 0x12, 0, pre_other, post_other, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path);
NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path)
{
    static FLT_REGISTRATION registration;
    (void)path;
    registration.Size = sizeof registration;
    registration.Version = 0x203;
    registration.Contexts = Contexts;
    registration.Operations = Operations;
    registration.Unload = unload;
    registration.Setup = setup;
    registration.QueryTeardown = query_teardown;
    registration.TeardownStart = teardown_start;
    registration.TeardownComplete = teardown_complete;
    NTSTATUS status = FltRegisterFilter(driver, &registration, &Filter);
    if (status < 0) return status;
    return FltStartFiltering(Filter);
}
