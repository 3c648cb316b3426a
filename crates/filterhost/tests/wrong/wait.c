#include "wrong.h"

static LARGE_INTEGER Now = { 0 }, Soon = { MILLISECONDS(10) };

WRONG(passive, wait_irql)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    KeWaitForSingleObject(&event, 0, KernelMode, FALSE, &Soon);
    KeLowerIrql(old);
    return 0;
}
static void wait_for(ULONG count, PVOID blocks)
{
    static KEVENT event;
    static PVOID objects[65];
    KeInitializeEvent(&event, NotificationEvent, TRUE);
    for (int i = 0; i < 65; i++) objects[i] = &event;
    KeWaitForMultipleObjects(count, objects, 1, 0, KernelMode, FALSE, &Now, blocks);
}
WRONG(passive, wait_count)
{
    static UCHAR blocks[65 * 0x30];
    wait_for(65, blocks);
    return 0;
}
WRONG(passive, wait_blocks)
{
    wait_for(4, NULL);
    return 0;
}
WRONG(passive, wait_object)
{
    KEVENT event = { .Type = 77 };
    KeSetEvent(&event, 0, FALSE);
    return 0;
}
WRONG(passive, wait_freed)
{
    KEVENT *event = block(sizeof(KEVENT));
    KeInitializeEvent(event, NotificationEvent, FALSE);
    ExFreePoolWithTag(event, TAG);
    KeSetEvent(event, 0, FALSE);
    return 0;
}
WRONG(passive, wait_apcs_disabled)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, TRUE);
    KeEnterGuardedRegion();
    FltCancellableWaitForSingleObject(&event, NULL, NULL);
    KeLeaveGuardedRegion();
    return 0;
}
