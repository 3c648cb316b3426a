#include "wrong.h"

static KSPIN_LOCK Lock;

WRONG(passive, spin_lock_recursive)
{
    KeAcquireSpinLockRaiseToDpc(&Lock);
    KeAcquireSpinLockRaiseToDpc(&Lock);
    return 0;
}
WRONG(passive, spin_lock_owner)
{
    KIRQL old = KeRaiseIrqlToDpcLevel();
    KeReleaseSpinLockFromDpcLevel(&Lock);
    KeLowerIrql(old);
    return 0;
}
WRONG(passive, spin_lock_level)
{
    KeAcquireSpinLockAtDpcLevel(&Lock);
    KeReleaseSpinLockFromDpcLevel(&Lock);
    return 0;
}
WRONG(passive, spin_lock_irql)
{
    KIRQL old = KeAcquireSpinLockRaiseToDpc(&Lock);
    KeLowerIrql(old);
    KeRaiseIrqlToDpcLevel();
    KeReleaseSpinLock(&Lock, old);
    return 0;
}
WRONG(dispatch_post_read, spin_lock_unbalanced)
{
    KeAcquireSpinLockAtDpcLevel(&Lock);
    return 0;
}
