#include "wrong.h"

WRONG(special_passive, special_pool_freed)
{
    volatile UCHAR *bytes = block(32);
    ExFreePoolWithTag((PVOID)bytes, TAG);
    return bytes[3] != 0;
}
WRONG(special_passive, special_pool_past_end)
{
    volatile UCHAR *bytes = block(32);
    ULONG behind = bytes[32];
    ExFreePoolWithTag((PVOID)bytes, TAG);
    return behind;
}
