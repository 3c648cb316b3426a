#include "wrong.h"

static NTSTATUS make(INPUT *in, USHORT type, PFLT_CONTEXT *out)
{
    return FltAllocateContext(in->Filter, type, SIZE_SMALL, NonPagedPoolNx, out);
}
WRONG(passive, context_pointer)
{
    FltReleaseContext((PVOID)Stray);
    return 0;
}
WRONG(passive, context_leak)
{
    PFLT_CONTEXT lost;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &lost), STATUS_SUCCESS);
    return 0;
}
WRONG(pre_create, context_in_pre_create)
{
    PFLT_CONTEXT made;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &made), STATUS_SUCCESS);
    FltSetStreamContext(in->Instance, in->File, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL);
    FltReleaseContext(made);
    return 0;
}
WRONG(passive, section_context_deleted)
{
    PFLT_CONTEXT made;
    EXPECT(make(in, FLT_SECTION_CONTEXT, &made), STATUS_SUCCESS);
    FltDeleteContext(made);
    FltReleaseContext(made);
    return 0;
}
