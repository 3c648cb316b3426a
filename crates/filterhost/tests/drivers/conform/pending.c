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
