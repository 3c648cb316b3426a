#include "wrong.h"

WRONG(passive, floating_point_control)
{
    // Rounds towards zero from here on.
    __builtin_ia32_ldmxcsr(0x1f80 | 0x6000);
    return 0;
}
