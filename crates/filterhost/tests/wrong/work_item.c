#include "wrong.h"

static void routine(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    if (context == NULL) FltFreeGenericWorkItem(item);
}
static NTSTATUS queue(INPUT *in, PFLT_WORKITEM item, int number, PVOID keeps)
{
    return FltQueueGenericWorkItem(item, in->Filter, routine, number, keeps);
}

WRONG(passive, work_item_pointer)
{
    FltFreeGenericWorkItem(NOWHERE);
    return 0;
}
WRONG(passive, work_item_queued_twice)
{
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    EXPECT(queue(in, item, 1, NULL), STATUS_SUCCESS);
    queue(in, item, 1, NULL);
    return 0;
}
WRONG(passive, work_item_freed_queued)
{
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    EXPECT(queue(in, item, 1, NULL), STATUS_SUCCESS);
    FltFreeGenericWorkItem(item);
    return 0;
}
WRONG(passive, work_queue)
{
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    EXPECT(queue(in, item, 9, NULL), STATUS_SUCCESS);
    return 0;
}
WRONG(passive, work_item_leak)
{
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    EXPECT(queue(in, item, 1, in), STATUS_SUCCESS);
    return 0;
}
