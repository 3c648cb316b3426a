#include "wrong.h"

WRONG(passive, critical_region)
{
    KeLeaveCriticalRegion();
    return 0;
}
WRONG(passive, guarded_region)
{
    KeLeaveGuardedRegion();
    return 0;
}
WRONG(pre_create, callback_unbalanced)
{
    KeEnterCriticalRegion();
    return 0;
}
