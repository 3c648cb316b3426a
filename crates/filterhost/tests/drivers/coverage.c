// Some of its lines are run and some are not.
#include "kernel.h"

static volatile int calls;

__attribute__((noinline)) static int never(int value) {
    calls += value; // never: this line
    return calls;
}

static inline void inlined(void) {
    calls *= 3; // inlined: this line
}

NTSTATUS DriverEntry(void *driver, void *path) {
    (void)path;
    inlined();
#ifdef TRAP
    __builtin_debugtrap();
#endif
    if (driver == 0) {
        calls = never(4); // branch: this line
    } else {
        calls -= 5; // end: this line
    }
    return -1;
}
