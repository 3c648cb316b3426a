#include "wrong.h"

static EX_PUSH_LOCK First, Second, Third;

static void both(EX_PUSH_LOCK *one, EX_PUSH_LOCK *other)
{
    FltAcquirePushLockExclusive(one);
    FltAcquirePushLockExclusive(other);
    FltReleasePushLock(other);
    FltReleasePushLock(one);
}
WRONG(passive, lock_order)
{
    FltInitializePushLock(&First);
    FltInitializePushLock(&Second);
    FltInitializePushLock(&Third);
    both(&First, &Second);
    both(&Second, &Third);
    both(&Third, &First);
    FltDeletePushLock(&First);
    FltDeletePushLock(&Second);
    FltDeletePushLock(&Third);
    return 0;
}
WRONG(passive, wait_lock_held)
{
    KEVENT event;
    LARGE_INTEGER soon = { MILLISECONDS(5) };
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    FltInitializePushLock(&First);
    FltAcquirePushLockShared(&First);
    KeWaitForSingleObject(&event, 0, KernelMode, FALSE, &soon);
    FltReleasePushLock(&First);
    FltDeletePushLock(&First);
    return 0;
}
