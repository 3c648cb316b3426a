#include "wrong.h"

WRONG(passive, pool_tag_zero)
{
    ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPoolNx, 8, 0), 0);
    return 0;
}
WRONG(passive, pool_tag)
{
    ExFreePoolWithTag(block(24), 0x11223344);
    return 0;
}
WRONG(passive, pool_size)
{
    ExFreePoolWithTag(block(0), TAG);
    return 0;
}
WRONG(passive, pool_bad_free)
{
    ExFreePoolWithTag(Stray, TAG);
    return 0;
}
WRONG(passive, pool_double_free)
{
    PVOID freed = block(24);
    ExFreePoolWithTag(freed, TAG);
    ExFreePoolWithTag(freed, TAG);
    return 0;
}
static void write_at(LONG_PTR offset)
{
    volatile UCHAR *bytes = block(24);
    bytes[offset] = 1;
    ExFreePoolWithTag((PVOID)bytes, TAG);
}
WRONG(passive, pool_under_run)
{
    write_at(-1);
    return 0;
}
WRONG(passive, pool_over_run)
{
    write_at(24);
    return 0;
}
WRONG(passive, pool_use_after_free)
{
    volatile UCHAR *bytes = block(24);
    ExFreePoolWithTag((PVOID)bytes, TAG);
    bytes[3] = 1;
    return 0;
}
WRONG(passive, pool_leak)
{
    CHECK(block(100) != NULL);
    return 0;
}
