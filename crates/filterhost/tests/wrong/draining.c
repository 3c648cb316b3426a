#include "wrong.h"

static int safe(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context,
    ULONG flags)
{
    return 0;
}
WRONG(draining_post_create, draining_status)
{
    NextPostStatus = 1;
    return 0;
}
WRONG(draining_post_create, draining_data)
{
    PECP_LIST list;
    FltGetEcpListFromCallbackData(in->Filter, in->Data, &list);
    return 0;
}
WRONG(draining_post_create, draining_when_safe)
{
    FltDoCompletionProcessingWhenSafe(in->Data, in->Objects, NULL, 1, safe, &NextPostStatus);
    return 0;
}
WRONG(draining_pre_create, draining_ignored)
{
    *in->CompletionContext = block(16);
    return 0;
}
