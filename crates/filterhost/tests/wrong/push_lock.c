#include "wrong.h"

static EX_PUSH_LOCK Lock;

WRONG(passive, push_lock_uninitialised)
{
    FltAcquirePushLockExclusive(&Lock);
    FltReleasePushLock(&Lock);
    FltDeletePushLock(&Lock);
    return 0;
}
WRONG(passive, push_lock_initialised_held)
{
    FltInitializePushLock(&Lock);
    FltAcquirePushLockExclusive(&Lock);
    FltInitializePushLock(&Lock);
    KeLeaveCriticalRegion();
    FltDeletePushLock(&Lock);
    return 0;
}
WRONG(passive, push_lock_deleted_held)
{
    FltInitializePushLock(&Lock);
    FltAcquirePushLockShared(&Lock);
    FltDeletePushLock(&Lock);
    KeLeaveCriticalRegion();
    return 0;
}
WRONG(passive, push_lock_recursive)
{
    FltInitializePushLock(&Lock);
    FltAcquirePushLockShared(&Lock);
    FltAcquirePushLockShared(&Lock);
    return 0;
}
WRONG(passive, push_lock_not_held)
{
    FltInitializePushLock(&Lock);
    FltReleasePushLock(&Lock);
    FltDeletePushLock(&Lock);
    return 0;
}
WRONG(passive, push_lock_left)
{
    FltInitializePushLock(&Lock);
    FltAcquirePushLockExclusive(&Lock);
    KeLeaveCriticalRegion();
    return 0;
}
