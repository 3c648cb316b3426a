// Deferred I/O work items, which carry an operation to a system thread.
// Pages: fltkernel's nf-fltkernel-flt{allocate,queue,free}deferredioworkitem.
#include "harness.h"

static KEVENT Done;
static void routine(PFLT_WORKITEM item, FLT_CALLBACK_DATA *data, PVOID context)
{
    KeSetEvent(context, 0, FALSE);
    FltFreeDeferredIoWorkItem(item);
    UNUSED(data);
}
CASE(passive, FltAllocateDeferredIoWorkItem, POINTER)
{
    PFLT_WORKITEM item = FltAllocateDeferredIoWorkItem();
    CHECK(item != NULL);
    FltFreeDeferredIoWorkItem(item);
    return 0;
}
CASE(fault_passive, FltAllocateDeferredIoWorkItem, NULL)
{
    CHECK(FltAllocateDeferredIoWorkItem() == NULL);
    return 0;
}
CASE(passive, FltFreeDeferredIoWorkItem, VOID)
{
    PFLT_WORKITEM item = FltAllocateDeferredIoWorkItem();
    CHECK(item != NULL);
    FltFreeDeferredIoWorkItem(item);
    return 0;
}
CASE(pre_read, FltQueueDeferredIoWorkItem, STATUS_SUCCESS)
{
    PFLT_WORKITEM item = FltAllocateDeferredIoWorkItem();
    CHECK(item != NULL);
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    EXPECT(FltQueueDeferredIoWorkItem(item, in->Data, routine, 1, &Done), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&Done, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    return 0;
}
CASE(pre_read, FltQueueDeferredIoWorkItem, STATUS_FLT_NOT_SAFE_TO_POST_OPERATION)
{
    PFLT_WORKITEM item = FltAllocateDeferredIoWorkItem();
    CHECK(item != NULL);
    IoSetTopLevelIrp((PVOID)1);
    NTSTATUS got = FltQueueDeferredIoWorkItem(item, in->Data, routine, 1, &Done);
    IoSetTopLevelIrp(NULL);
    FltFreeDeferredIoWorkItem(item);
    EXPECT(got, STATUS_FLT_NOT_SAFE_TO_POST_OPERATION);
    return 0;
}
// In `ending`, the filter begins to unload while the case waits.
CASE(ending_pre_read, FltQueueDeferredIoWorkItem, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_WORKITEM item = FltAllocateDeferredIoWorkItem();
    CHECK(item != NULL);
    EXPECT(KeWaitForSingleObject(&TeardownBegun, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    NTSTATUS got = FltQueueDeferredIoWorkItem(item, in->Data, routine, 1, &Done);
    FltFreeDeferredIoWorkItem(item);
    EXPECT(got, STATUS_FLT_DELETING_OBJECT);
    return 0;
}
