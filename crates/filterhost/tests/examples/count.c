// Counts how often each file is opened. With the WDK one includes <fltKernel.h>; this is the part
// of it that the project retyped from the documentation.
#include "conform/flt.h"

typedef struct { volatile LONG Opens; } COUNT;
static PFLT_FILTER Filter;

// Gives the file's count, referenced; makes it where there is none.
static NTSTATUS count_of(const FLT_RELATED_OBJECTS *o, PVOID *found)
{
    PFLT_CONTEXT fresh, old = NULL;
    NTSTATUS status = FltGetStreamContext(o->Instance, o->FileObject, found);
    if (status >= 0) return status;
    status = FltAllocateContext(Filter, FLT_STREAM_CONTEXT, sizeof(COUNT), 0x200, &fresh);
    if (status < 0) return status;
    ((COUNT *)fresh)->Opens = 0;
    status = FltSetStreamContext(o->Instance, o->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS,
        fresh, &old);
    *found = old ? old : fresh; // Another thread was faster: its context counts.
    return old ? 0 : status;
}
static int opened(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *o, PVOID none, ULONG flags)
{
    PVOID count;
    if (data->IoStatus.Status || flags || count_of(o, &count) < 0) return 0;
    __sync_fetch_and_add(&((COUNT *)count)->Opens, 1);
    FltReleaseContext(count);
    return 0; // FLT_POSTOP_FINISHED_PROCESSING
}
static int opens(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *o, PVOID *none)
{
    return 0; // FLT_PREOP_SUCCESS_WITH_CALLBACK
}
static NTSTATUS unload(ULONG flags)
{
    FltUnregisterFilter(Filter);
    return 0;
}
static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_STREAM_CONTEXT, 0, NULL, sizeof(COUNT), 0x746e6f43 }, { FLT_CONTEXT_END } };
static const FLT_OPERATION_REGISTRATION Operations[] = {
    { 0 /* IRP_MJ_CREATE */, 0, opens, opened }, { IRP_MJ_OPERATION_END } };
static const FLT_REGISTRATION Registration = { sizeof(Registration), 0x203, 0, Contexts,
    Operations, unload };

NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path)
{
    NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);
    return status < 0 ? status : FltStartFiltering(Filter);
}
