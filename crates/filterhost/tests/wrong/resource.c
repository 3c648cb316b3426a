#include "wrong.h"

static ERESOURCE Lock;

WRONG(passive, resource_uninitialised)
{
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Lock, TRUE);
    ExReleaseResourceLite(&Lock);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Lock);
    return 0;
}
WRONG(passive, resource_initialised_twice)
{
    ExInitializeResourceLite(&Lock);
    ExInitializeResourceLite(&Lock);
    ExDeleteResourceLite(&Lock);
    return 0;
}
WRONG(passive, resource_apcs)
{
    ExInitializeResourceLite(&Lock);
    ExAcquireResourceExclusiveLite(&Lock, TRUE);
    ExReleaseResourceLite(&Lock);
    ExDeleteResourceLite(&Lock);
    return 0;
}
WRONG(passive, resource_not_held)
{
    ExInitializeResourceLite(&Lock);
    ExReleaseResourceLite(&Lock);
    ExDeleteResourceLite(&Lock);
    return 0;
}
WRONG(passive, resource_deleted_held)
{
    ExInitializeResourceLite(&Lock);
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Lock, TRUE);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Lock);
    return 0;
}
WRONG(passive, resource_left)
{
    ERESOURCE *lock = block(sizeof(ERESOURCE));
    if (lock) {
        ExInitializeResourceLite(lock);
        ExFreePoolWithTag(lock, TAG);
    }
    return 0;
}
// The memory of a context goes with its last reference.
WRONG(post_create, resource_left)
{
    PFLT_CONTEXT context;
    EXPECT(FltAllocateContext(in->Filter, FLT_STREAMHANDLE_CONTEXT, sizeof(ERESOURCE),
        NonPagedPoolNx, &context), STATUS_SUCCESS);
    ExInitializeResourceLite(context);
    FltReleaseContext(context);
    return 0;
}
