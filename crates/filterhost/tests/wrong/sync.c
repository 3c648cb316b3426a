#include "wrong.h"

WRONG(passive, event_type)
{
    KEVENT event;
    KeInitializeEvent(&event, 7, FALSE);
    return 0;
}
WRONG(passive, semaphore_count)
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 3, 2);
    return 0;
}
WRONG(passive, semaphore_limit)
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 0, 1);
    KeReleaseSemaphore(&semaphore, 0, 2, FALSE);
    return 0;
}
WRONG(passive, mutex_owner)
{
    KMUTEX mutex;
    KeInitializeMutex(&mutex, 0);
    KeReleaseMutex(&mutex, FALSE);
    return 0;
}
WRONG(passive, rundown_underflow)
{
    EX_RUNDOWN_REF rundown;
    ExInitializeRundownProtection(&rundown);
    ExReleaseRundownProtection(&rundown);
    return 0;
}
WRONG(passive, rundown_reused)
{
    EX_RUNDOWN_REF rundown;
    ExInitializeRundownProtection(&rundown);
    ExAcquireRundownProtection(&rundown);
    ExReInitializeRundownProtection(&rundown);
    return 0;
}
