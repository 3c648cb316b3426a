#include "wrong.h"

WRONG(special_passive, special_pool_freed)
{
    volatile UCHAR *bytes = block(32);
    ExFreePoolWithTag((PVOID)bytes, TAG);
    return bytes[3] != 0;
}
// One block in four begins behind a closed page, the others end before one.
static ULONG beside(LONG_PTR offset)
{
    volatile UCHAR *blocks[4];
    ULONG sum = 0;
    for (int i = 0; i < 4; i++) blocks[i] = block(32);
    for (int i = 0; i < 4; i++) sum += blocks[i][offset];
    for (int i = 0; i < 4; i++) ExFreePoolWithTag((PVOID)blocks[i], TAG);
    return sum;
}
WRONG(special_passive, special_pool_before_start)
{
    return beside(-1) == 1;
}
WRONG(special_passive, special_pool_past_end)
{
    return beside(32) == 1;
}
