#include "wrong.h"

// A frame of half a page more than 3 KiB, on top of as many more as asked for.
__attribute__((noinline)) static ULONG deep(int more, int calls)
{
    // An index that nobody knows in advance keeps the compiler from making the frame smaller.
    volatile UCHAR frame[3500];
    frame[more & 0x7ff] = (UCHAR)more;
    if (more > 0) return deep(more - 1, calls) + frame[more & 0x3ff];
    return (calls ? KeGetCurrentIrql() : 0) + frame[more & 0x3ff];
}
WRONG(pre_create, stack_callback)
{
    deep(1, 1);
    return 0;
}
WRONG(passive, stack_total)
{
    deep(7, 1);
    return 0;
}
WRONG(passive, stack_overflow)
{
    deep(1 << 20, 0);
    return 0;
}
