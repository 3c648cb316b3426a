#include "wrong.h"

static FLT_CALLBACK_DATA *Held;

static void too_late(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    LARGE_INTEGER pause = { MILLISECONDS(50) };
    KeDelayExecutionThread(KernelMode, FALSE, &pause);
    FltIsCallbackDataDirty(Held);
    FltFreeGenericWorkItem(item);
}
WRONG(pre_create, callback_data_pointer)
{
    FltIsCallbackDataDirty((PVOID)Stray);
    return 0;
}
WRONG(pre_create, callback_data_ended)
{
    Held = in->Data;
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    EXPECT(FltQueueGenericWorkItem(item, in->Filter, too_late, 1, NULL), STATUS_SUCCESS);
    return 0;
}
WRONG(pre_create, completion_context_lost)
{
    *in->CompletionContext = block(16);
    return 0;
}
