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
    KeInitializeEvent(&event, NotificationEvent, TRUE);
    FltInitializePushLock(&First);
    FltAcquirePushLockExclusive(&First);
    KeWaitForSingleObject(&event, 0, KernelMode, FALSE, NULL);
    FltReleasePushLock(&First);
    FltDeletePushLock(&First);
    return 0;
}
