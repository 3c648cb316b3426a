#include "wrong.h"

__attribute__((section("PAGE"), noinline)) static ULONG pageable(ULONG value)
{
    return value * 3;
}
WRONG(passive, paged_pool_touched)
{
    volatile UCHAR *paged = ExAllocatePoolWithTag(PagedPool, 8, TAG);
    paged[0] = 1;
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    paged[0] = 2;
    KeLowerIrql(old);
    ExFreePoolWithTag((PVOID)paged, TAG);
    return 0;
}
WRONG(passive, paged_section_touched)
{
    ULONG before = pageable(1);
    KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);
    ULONG after = pageable(before);
    KeLowerIrql(old);
    return after == 0;
}
