#include "wrong.h"

static FLT_CALLBACK_DATA *Held;
static int HeldStatus;

// Completes the held operation in a while.
static void complete(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    LARGE_INTEGER pause = { MILLISECONDS(5) };
    KeDelayExecutionThread(KernelMode, FALSE, &pause);
    if (HeldStatus < 0) FltCompletePendedPostOperation(Held);
    else FltCompletePendedPreOperation(Held, HeldStatus, NULL);
    if (context != NULL) FltCompletePendedPreOperation(Held, HeldStatus, NULL);
    FltFreeGenericWorkItem(item);
}
static ULONG pend(INPUT *in, int status, PVOID twice)
{
    Held = in->Data;
    HeldStatus = status;
    NextPreStatus = 2; // FLT_PREOP_PENDING
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    EXPECT(FltQueueGenericWorkItem(item, in->Filter, complete, 1, twice), STATUS_SUCCESS);
    return 0;
}
// FLT_PREOP_COMPLETE with a status of the case's choice.
static ULONG end(INPUT *in, NTSTATUS status)
{
    in->Data->IoStatus.Status = status;
    NextPreStatus = 4;
    return 0;
}

WRONG(pre_create, pre_status)
{
    NextPreStatus = 77;
    return 0;
}
WRONG(pre_create, completion_context_without_post)
{
    *in->CompletionContext = NOWHERE;
    NextPreStatus = 1;
    return 0;
}
WRONG(paging_pre_flush, post_not_registered)
{
    NextPreStatus = FLT_PREOP_SUCCESS_WITH_CALLBACK_WANTED;
    return 0;
}
WRONG(paging_pre_section, pending_not_irp)
{
    return pend(in, 1, NULL);
}
WRONG(pre_create, disallow_not_fast_io)
{
    NextPreStatus = 3;
    return 0;
}
WRONG(pre_create, disallow_not_query_open)
{
    NextPreStatus = 6;
    return 0;
}
WRONG(pre_create, completed_with_pending)
{
    return end(in, STATUS_PENDING);
}
WRONG(pre_create, completed_with_disallow)
{
    return end(in, (NTSTATUS)0xC01C0004);
}
WRONG(pre_cleanup, close_failed)
{
    return end(in, STATUS_ACCESS_DENIED);
}
WRONG(pre_create, callback_data_fields)
{
    in->Data->RequestorMode ^= 1;
    return 0;
}
WRONG(pre_create, callback_data_not_dirty)
{
    in->Data->Iopb->Parameters.Create.FileAttributes ^= 2;
    return 0;
}
WRONG(pre_create, target_instance)
{
    in->Data->Iopb->TargetInstance = NOWHERE;
    FltSetCallbackDataDirty(in->Data);
    return 0;
}
WRONG(pre_read, pended_status)
{
    return pend(in, 5, NULL);
}
WRONG(pre_read, completed_twice)
{
    return pend(in, 1, in);
}
WRONG(pre_read, pended_completed_otherwise)
{
    return pend(in, -1, NULL);
}
