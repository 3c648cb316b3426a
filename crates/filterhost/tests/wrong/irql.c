#include "wrong.h"

WRONG(passive, irql)
{
    KIRQL old = KfRaiseIrql(APC_LEVEL);
    KeQueryPriorityThread(KeGetCurrentThread());
    KeLowerIrql(old);
    return 0;
}
WRONG(passive, irql_unbalanced)
{
    KfRaiseIrql(APC_LEVEL);
    return 0;
}
WRONG(passive, irql_raise)
{
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    KfRaiseIrql(APC_LEVEL);
    KeLowerIrql(old);
    return 0;
}
WRONG(passive, irql_lower)
{
    KeLowerIrql(APC_LEVEL);
    KeLowerIrql(PASSIVE_LEVEL);
    return 0;
}
// The test names this function as one for DISPATCH_LEVEL.
static __attribute__((noinline)) void at_dispatch_level(volatile ULONG *counted) { ++*counted; }
WRONG(passive, irql_code)
{
    static volatile ULONG counted;
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    at_dispatch_level(&counted);
    KeLowerIrql(old);
    at_dispatch_level(&counted);
    return 0;
}
WRONG(passive, irql_paged_pool)
{
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    PVOID paged = ExAllocatePoolWithTag(PagedPool, 8, TAG);
    KeLowerIrql(old);
    ExFreePoolWithTag(paged, TAG);
    return 0;
}
WRONG(passive, irql_set_and_wait)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    KeSetEvent(&event, 0, TRUE);
    KeLowerIrql(old);
    return 0;
}
WRONG(passive, irql_last_reference)
{
    HANDLE handle;
    PVOID event;
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    EXPECT(ZwCreateEvent(&handle, EVENT_ALL_ACCESS, &how, 0, FALSE), STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &event, NULL), STATUS_SUCCESS);
    ZwClose(handle);
    KIRQL old = KfRaiseIrql(APC_LEVEL);
    ObfDereferenceObject(event);
    KeLowerIrql(old);
    return 0;
}
WRONG(passive, irql_context_release)
{
    PFLT_CONTEXT made;
    EXPECT(FltAllocateContext(in->Filter, FLT_STREAM_CONTEXT, SIZE_SMALL, PagedPool, &made),
        STATUS_SUCCESS);
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    FltReleaseContext(made);
    KeLowerIrql(old);
    return 0;
}
WRONG(pre_create, irql_cancellable_wait)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, TRUE);
    KIRQL old = KfRaiseIrql(APC_LEVEL);
    FltCancellableWaitForSingleObject(&event, NULL, in->Data);
    KeLowerIrql(old);
    return 0;
}
