#include "wrong.h"

static FLT_CALLBACK_DATA *Held;

static void complete(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    LARGE_INTEGER pause = { MILLISECONDS(5) };
    KeDelayExecutionThread(KernelMode, FALSE, &pause);
    FltCompletePendedPostOperation(Held);
    FltFreeGenericWorkItem(item);
}
static int safe(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context,
    ULONG flags)
{
    return 0;
}
WRONG(post_read, post_status)
{
    NextPostStatus = 77;
    return 0;
}
WRONG(post_read, post_set_pending)
{
    in->Data->IoStatus.Status = STATUS_PENDING;
    return 0;
}
WRONG(paging_post_section, more_processing_not_irp)
{
    Held = in->Data;
    NextPostStatus = 1;
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    EXPECT(FltQueueGenericWorkItem(item, in->Filter, complete, 1, NULL), STATUS_SUCCESS);
    return 0;
}
WRONG(post_create, create_failed_in_post)
{
    in->Data->IoStatus.Status = STATUS_ACCESS_DENIED;
    return 0;
}
WRONG(post_create, create_cancelled_succeeds)
{
    FltCancelFileOpen(in->Instance, in->File);
    return 0;
}
WRONG(missing_post_create, create_revived)
{
    in->Data->IoStatus.Status = STATUS_SUCCESS;
    return 0;
}
WRONG(pre_create, cancel_file_open)
{
    FltCancelFileOpen(in->Instance, in->File);
    return 0;
}
WRONG(cancelled_post_create, cancel_file_open_twice)
{
    FltCancelFileOpen(in->Instance, in->File);
    FltCancelFileOpen(in->Instance, in->File);
    in->Data->IoStatus.Status = STATUS_ACCESS_DENIED;
    return 0;
}
WRONG(post_create, when_safe_post_create)
{
    KIRQL old = KfRaiseIrql(APC_LEVEL);
    FltDoCompletionProcessingWhenSafe(in->Data, in->Objects, NULL, 0, safe, &NextPostStatus);
    KeLowerIrql(old);
    return 0;
}
