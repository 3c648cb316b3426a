// Operations that are pended, completion at a safe level, and what marks callback data.
// The pages are fltkernel's, one for each function named in the cases.
#include "harness.h"

static FLT_CALLBACK_DATA *Held;
static PVOID HeldContext;
static int HeldStatus;

static void end_pre(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    LARGE_INTEGER pause = { MILLISECONDS(5) };
    UNUSED(object), UNUSED(context);
    KeDelayExecutionThread(KernelMode, FALSE, &pause);
    FltCompletePendedPreOperation(Held, HeldStatus, HeldContext);
    FltFreeGenericWorkItem(item);
}
static void end_post(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    LARGE_INTEGER pause = { MILLISECONDS(5) };
    UNUSED(object), UNUSED(context);
    KeDelayExecutionThread(KernelMode, FALSE, &pause);
    FltCompletePendedPostOperation(Held);
    FltFreeGenericWorkItem(item);
}
// The user's read goes on only when the work item says so.
CASE(pre_read, FltCompletePendedPreOperation, VOID)
{
    Held = in->Data;
    HeldStatus = 1; // FLT_PREOP_SUCCESS_NO_CALLBACK
    NextPreStatus = 2; // FLT_PREOP_PENDING
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    CHECK(item != NULL);
    EXPECT(FltQueueGenericWorkItem(item, in->Filter, end_pre, 1, NULL), STATUS_SUCCESS);
    return 0;
}
CASE(post_read, FltCompletePendedPostOperation, VOID)
{
    Held = in->Data;
    // The callback may run at DISPATCH_LEVEL, where a work item can be queued.
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    CHECK(item != NULL);
    EXPECT(FltQueueGenericWorkItem(item, in->Filter, end_post, 1, NULL), STATUS_SUCCESS);
    NextPostStatus = 1; // FLT_POSTOP_MORE_PROCESSING_REQUIRED
    return 0;
}
static ULONG SafeRuns;
static int safe(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context,
    ULONG flags)
{
    UNUSED(data), UNUSED(objects), UNUSED(flags);
    if (KeGetCurrentIrql() <= APC_LEVEL && context == &SafeRuns) SafeRuns++;
    return 0;
}
CASE(post_read, FltDoCompletionProcessingWhenSafe, TRUE)
{
    int status = 7;
    CHECK(FltDoCompletionProcessingWhenSafe(in->Data, in->Objects, &SafeRuns, 0, safe, &status));
    // Run at once, or posted: then the read must wait for it.
    CHECK((SafeRuns == 1 && status == 0) || status == 1);
    NextPostStatus = status;
    return 0;
}
// In `dispatch_`, post-operation callbacks run at DISPATCH_LEVEL; paging I/O is never posted.
CASE(dispatch_paging_post_write, FltDoCompletionProcessingWhenSafe, FALSE)
{
    int status = 7;
    CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL);
    CHECK(!FltDoCompletionProcessingWhenSafe(in->Data, in->Objects, &SafeRuns, 0, safe, &status));
    CHECK(SafeRuns == 0);
    return 0;
}
CASE(pre_create, FltIsCallbackDataDirty, FALSE)
{
    CHECK(FltIsCallbackDataDirty(in->Data) == FALSE);
    return 0;
}
CASE(pre_create, FltIsCallbackDataDirty, TRUE)
{
    FltSetCallbackDataDirty(in->Data);
    CHECK(FltIsCallbackDataDirty(in->Data) == TRUE);
    return 0;
}
CASE(pre_create, FltClearCallbackDataDirty, VOID)
{
    FltSetCallbackDataDirty(in->Data);
    FltClearCallbackDataDirty(in->Data);
    CHECK(FltIsCallbackDataDirty(in->Data) == FALSE);
    return 0;
}
CASE(pre_create, FltGetRequestorProcessIdEx, HANDLE)
{
    HANDLE id = FltGetRequestorProcessIdEx(in->Data);
    CHECK(id != NULL && id == PsGetProcessId(IoThreadToProcess(in->Data->Thread)));
    return 0;
}
CASE(pre_create, FltGetRequestorProcessIdEx, NULL)
{
    PVOID thread = in->Data->Thread;
    in->Data->Thread = NULL;
    HANDLE id = FltGetRequestorProcessIdEx(in->Data);
    in->Data->Thread = thread;
    CHECK(id == NULL);
    return 0;
}

static BOOLEAN is_text(const CHAR *one, const CHAR *other)
{
    while (*one && *one == *other) one++, other++;
    return *one == *other;
}
CASE(passive, FltGetIrpName, NAME)
{
    UNUSED(in);
    CHECK(is_text(FltGetIrpName(0), "IRP_MJ_CREATE"));
    CHECK(is_text(FltGetIrpName(0x1b), "IRP_MJ_PNP"));
    CHECK(is_text(FltGetIrpName(0xec), "IRP_MJ_VOLUME_DISMOUNT"));
    return 0;
}
CASE(passive, FltGetIrpName, INVALID)
{
    UNUSED(in);
    CHECK(is_text(FltGetIrpName(0x40), "<invalid IRP code>"));
    return 0;
}
// The case says that it failed; only who hears the right answer takes that back.
static void heard(const FLT_RELATED_OBJECTS *objects, FLT_IO_PARAMETER_BLOCK *block,
    NTSTATUS status, PVOID context)
{
    BOOLEAN right = status == 0 && block->MajorFunction == 3 && context == &Held &&
        block->TargetFileObject == objects->FileObject && block->Parameters.Read.Length != 0;
    if (right) Armed.Line = 0;
}
CASE(pre_read, FltRequestOperationStatusCallback, STATUS_SUCCESS)
{
    EXPECT(FltRequestOperationStatusCallback(in->Data, heard, &Held), 0);
    return __LINE__;
}
CASE(pre_close, FltRequestOperationStatusCallback, STATUS_INVALID_PARAMETER)
{
    EXPECT(FltRequestOperationStatusCallback(in->Data, heard, &Held), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(post_create, FltRequestOperationStatusCallback, STATUS_INVALID_PARAMETER_POST)
{
    EXPECT(FltRequestOperationStatusCallback(in->Data, heard, &Held), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(fault_pre_read, FltRequestOperationStatusCallback, STATUS_INSUFFICIENT_RESOURCES)
{
    EXPECT(FltRequestOperationStatusCallback(in->Data, heard, &Held),
        STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
