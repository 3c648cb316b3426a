// The parts of a cached container open that none can do without, for `cargo xtask bench open`: it
// attaches the redirection ECP (and siloscan's kind of marker beside it) to a silo's open, looks it
// up afterwards, asks whether it was acknowledged, copies the answer and moves one counter. The
// read of the cache is measured elsewhere; nothing is decided, and nothing is checked twice.
#include "../../crates/filterhost/tests/drivers/conform/flt.h"

#define TAG 0x74725053
#define SIZE 0x24

static PFLT_FILTER Filter;
static volatile long long Counter;
static volatile unsigned long long Answer[5];
static const GUID Redirection = {
    0x188d6bd6, 0xa126, 0x4fa8, { 0xbd, 0xf2, 0x1c, 0xcd, 0xf8, 0x96, 0xf3, 0xe0 }
};
static const GUID Marker = {
    0x9c5e1f0b, 0x3d64, 0x4e2b, { 0x8f, 0x17, 0x51, 0x6b, 0xa4, 0xd2, 0x70, 0xce }
};

static void add(PECP_LIST list, const GUID *kind, ULONG size)
{
    PVOID context = NULL;
    if (FltAllocateExtraCreateParameter(Filter, kind, size, 0, NULL, TAG, &context) < 0) return;
    for (ULONG at = 0; at + 4 <= size; at += 4) *(volatile ULONG *)((UCHAR *)context + at) = 0;
    *(volatile USHORT *)context = (USHORT)size;
    if (FltInsertExtraCreateParameter(Filter, list, context) < 0) {
        FltFreeExtraCreateParameter(Filter, context);
    }
}

static int pre_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    PECP_LIST list = NULL;
    (void)context;
    if (IoGetSiloParameters(objects->FileObject) == NULL) return 1;
    if (FltGetEcpListFromCallbackData(Filter, data, &list) < 0 || list != NULL) return 1;
    if (FltAllocateExtraCreateParameterList(Filter, 0, &list) < 0) return 1;
    add(list, &Redirection, SIZE);
    add(list, &Marker, 8);
    if (FltSetEcpListIntoCallbackData(Filter, data, list) < 0) {
        FltFreeExtraCreateParameterList(Filter, list);
        return 1;
    }
    return 0; // FLT_PREOP_SUCCESS_WITH_CALLBACK
}

static int post_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID own,
    ULONG flags)
{
    PECP_LIST list = NULL;
    PVOID context = NULL;
    ULONG size = 0;
    (void)objects;
    (void)own;
    if (flags & 1) return 0; // Draining: nothing of the create may be touched.
    if (FltGetEcpListFromCallbackData(Filter, data, &list) < 0 || list == NULL) return 0;
    if (FltFindExtraCreateParameter(Filter, list, &Redirection, &context, &size) < 0) return 0;
    if (FltIsEcpAcknowledged(Filter, context) && size >= SIZE) {
        for (int at = 0; at < 4; at++) Answer[at] = ((volatile unsigned long long *)context)[at];
        Answer[4] = ((volatile ULONG *)context)[8];
    }
    __atomic_fetch_add(&Counter, 1, __ATOMIC_RELAXED);
    return 0; // FLT_POSTOP_FINISHED_PROCESSING
}

static NTSTATUS unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { 0, 0, pre_create, post_create, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path);
NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path)
{
    static FLT_REGISTRATION registration;
    (void)path;
    registration.Size = sizeof registration;
    registration.Version = 0x203;
    registration.Operations = Operations;
    registration.Unload = unload;
    NTSTATUS status = FltRegisterFilter(driver, &registration, &Filter);
    return status < 0 ? status : FltStartFiltering(Filter);
}
