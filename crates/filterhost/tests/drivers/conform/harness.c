// The minifilter around the conformance cases: registers every operation and context that a
// case needs, and runs the armed case at the armed moment.
#include "harness.h"

static ARMED Own;
__declspec(dllexport) ARMED *ArmedAt = &Own;
DRIVER_OBJECT *TheDriver;
UNICODE_STRING *TheRegistryPath;
PFLT_FILTER TheFilter;
PFLT_INSTANCE TheInstance;
PFLT_VOLUME TheVolume;
FILE_OBJECT *TheFile;
int NextPreStatus, NextPostStatus;
int NextUnloadStatus, NextConflictStatus;
ULONG SectionConflicts;
__declspec(dllexport) ULONG ScanInstances;
ULONG TornDown;
KEVENT TeardownBegun;
__declspec(dllexport) PVOID TheTransaction;
NTSTATUS (*OnTransaction)(const FLT_RELATED_OBJECTS *, PFLT_CONTEXT, ULONG);

// clang may call these for structure copies and initialisers.
void *memset(void *to, int value, SIZE_T count);
void *memset(void *to, int value, SIZE_T count)
{
    volatile UCHAR *at = to;
    while (count--) *at++ = (UCHAR)value;
    return to;
}
void *memcpy(void *to, const void *from, SIZE_T count);
void *memcpy(void *to, const void *from, SIZE_T count)
{
    volatile UCHAR *at = to;
    const UCHAR *source = from;
    while (count--) *at++ = *source++;
    return to;
}

static void run(CASE_FN *which, INPUT *in)
{
    Armed.Case = NULL;
    Armed.Moment = MOMENT_NONE;
    Armed.Got = 0;
    Armed.Line = which(in);
    Armed.Ran = 1;
}

static void at_moment(ULONG moment, const FLT_RELATED_OBJECTS *objects)
{
    if (Armed.Case == NULL || Armed.Moment != moment) return;
    INPUT in = { TheFilter, TheInstance, TheVolume, TheFile, NULL, objects, NULL };
    if (objects) in.Instance = objects->Instance, in.Volume = objects->Volume;
    run(Armed.Case, &in);
}

static void at_operation(ULONG moment, FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects,
    PVOID *completion)
{
    if (Armed.Case == NULL || Armed.Moment != moment) return;
    if (Armed.Major != data->Iopb->MajorFunction) return;
    INPUT in = { objects->Filter, objects->Instance, objects->Volume, objects->FileObject, data,
        objects, completion };
    run(Armed.Case, &in);
}

static int pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *completion)
{
    at_operation(MOMENT_PRE, data, objects, completion);
    int status = NextPreStatus;
    NextPreStatus = 0;
    return status;
}

// For an operation without a post-operation callback.
static int pre_alone(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects,
    PVOID *completion)
{
    int status = pre(data, objects, completion);
    return status == FLT_PREOP_SUCCESS_WITH_CALLBACK_WANTED ? 0 : 1;
}

static int post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context,
    ULONG flags)
{
    UNUSED(flags);
    if (data->Iopb->MajorFunction == 0 && data->IoStatus.Status == STATUS_SUCCESS)
        TheFile = objects->FileObject;
    at_operation(MOMENT_POST, data, objects, &context);
    if (data->Iopb->MajorFunction == 2) TheFile = NULL;
    int status = NextPostStatus;
    NextPostStatus = 0;
    return status;
}

static NTSTATUS setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, int kind)
{
    UNUSED(flags), UNUSED(device), UNUSED(kind);
    if (TheInstance == NULL) TheInstance = objects->Instance, TheVolume = objects->Volume;
    if (ScanInstances) FltRegisterForDataScan(objects->Instance);
    at_moment(MOMENT_SETUP, objects);
    return STATUS_SUCCESS;
}

static NTSTATUS query_teardown(const FLT_RELATED_OBJECTS *objects, ULONG flags)
{
    UNUSED(objects), UNUSED(flags);
    return STATUS_SUCCESS;
}

static void teardown_start(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    UNUSED(reason);
    KeSetEvent(&TeardownBegun, 0, FALSE);
    at_moment(MOMENT_TEARDOWN, objects);
}

static void teardown_complete(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    UNUSED(reason);
    TornDown++;
    at_moment(MOMENT_GONE, objects);
}

static NTSTATUS unload(ULONG flags)
{
    UNUSED(flags);
    if (NextUnloadStatus == STAY_REGISTERED) return STATUS_SUCCESS;
    FltUnregisterFilter(TheFilter);
    at_moment(MOMENT_UNLOADED, NULL);
    return NextUnloadStatus;
}

static void cleanup(PFLT_CONTEXT context, USHORT type)
{
    UNUSED(context), UNUSED(type);
    Armed.Cleanups++;
}

static NTSTATUS section_conflict(PFLT_INSTANCE instance, PFLT_CONTEXT context,
    FLT_CALLBACK_DATA *data)
{
    UNUSED(instance), UNUSED(context), UNUSED(data);
    SectionConflicts++;
    return NextConflictStatus;
}

static NTSTATUS transaction(const FLT_RELATED_OBJECTS *objects, PFLT_CONTEXT context, ULONG mask)
{
    return OnTransaction ? OnTransaction(objects, context, mask) : STATUS_SUCCESS;
}

// Every type has one fixed size, but stream handle contexts may have any.
const FLT_CONTEXT_REGISTRATION TheContexts[] = {
    { FLT_VOLUME_CONTEXT, 0, cleanup, SIZE_SMALL, TAG, NULL, NULL, NULL },
    { FLT_INSTANCE_CONTEXT, 0, cleanup, SIZE_SMALL, TAG, NULL, NULL, NULL },
    { FLT_FILE_CONTEXT, 0, cleanup, SIZE_SMALL, TAG, NULL, NULL, NULL },
    { FLT_STREAM_CONTEXT, 0, cleanup, SIZE_SMALL, TAG, NULL, NULL, NULL },
    { FLT_STREAMHANDLE_CONTEXT, 0, cleanup, (SIZE_T)-1, TAG, NULL, NULL, NULL },
    { FLT_TRANSACTION_CONTEXT, 0, cleanup, SIZE_SMALL, TAG, NULL, NULL, NULL },
    { FLT_SECTION_CONTEXT, 0, cleanup, SIZE_SMALL, TAG, NULL, NULL, NULL },
    { FLT_CONTEXT_END, 0, NULL, 0, 0, NULL, NULL, NULL },
};

// Every operation that some case runs in.
const FLT_OPERATION_REGISTRATION TheOperations[] = {
    { 0x00, 0, pre, post, NULL }, { 0x02, 0, pre, post, NULL }, { 0x03, 0, pre, post, NULL },
    { 0x04, 0, pre, post, NULL }, { 0x05, 0, pre, post, NULL }, { 0x06, 0, pre, post, NULL },
    { 0x09, 0, pre_alone, NULL, NULL }, { 0x0c, 0, pre, post, NULL }, { 0x0d, 0, pre, post, NULL }, { 0x12, 0, pre, post, NULL },
    { 0xff, 0, pre, post, NULL }, { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

const FLT_REGISTRATION TheRegistration = {
    sizeof(FLT_REGISTRATION), 0x0203, 4, TheContexts, TheOperations, unload, setup,
    query_teardown, teardown_start, teardown_complete, NULL, NULL, NULL, transaction, NULL,
    section_conflict,
};

// Runs one case on the calling thread, outside of any operation.
__declspec(dllexport) void RunHere(CASE_FN *which);
__declspec(dllexport) void RunHere(CASE_FN *which)
{
    INPUT in = { TheFilter, TheInstance, TheVolume, TheFile, NULL, NULL, NULL };
    run(which, &in);
}

// A case that is to run in DriverEntry is named by the service key's value EntryCase: the
// distance of its function from the start of the image.
extern UCHAR __ImageBase;
static CASE_FN *entry_case(void)
{
    union { KEY_VALUE_PARTIAL_INFORMATION Info; UCHAR Bytes[32]; } value;
    OBJECT_ATTRIBUTES how = attributes(TheRegistryPath, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    UNICODE_STRING name = text(L"EntryCase");
    HANDLE key;
    ULONG size;
    if (ZwOpenKey(&key, KEY_READ, &how) < 0) return NULL;
    NTSTATUS status = ZwQueryValueKey(key, &name, KeyValuePartialInformation, &value,
        sizeof(value), &size);
    ZwClose(key);
    if (status < 0 || value.Info.Type != REG_DWORD) return NULL;
    return (CASE_FN *)(&__ImageBase + *(ULONG *)value.Info.Data);
}

NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path);
NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path)
{
    TheDriver = driver;
    TheRegistryPath = path;
    KeInitializeEvent(&TeardownBegun, NotificationEvent, FALSE);
    CASE_FN *at_entry = entry_case();
    if (at_entry != NULL) RunHere(at_entry);
    // Without an Instances key there is nothing to register; the test program wants the outcome.
    if (Armed.Ran) return STATUS_SUCCESS;
    NTSTATUS status = FltRegisterFilter(driver, &TheRegistration, &TheFilter);
    if (status < 0) return status;
    status = FltStartFiltering(TheFilter);
    if (status < 0) FltUnregisterFilter(TheFilter);
    return status;
}
