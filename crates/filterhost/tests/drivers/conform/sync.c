// Mutexes, semaphores, levels, regions and the less usual spin locks and rundown calls.
// The pages are wdm's and ntddk's, one for each function named in the cases.
#include "harness.h"

static LARGE_INTEGER Now;
static LARGE_INTEGER milliseconds(LONGLONG n)
{
    LARGE_INTEGER made = { MILLISECONDS(n) };
    return made;
}
static KMUTEX Mutex;
static NTSTATUS Tried;
static void try_mutex(PVOID context)
{
    LARGE_INTEGER limit = milliseconds(10);
    UNUSED(context);
    Tried = KeWaitForSingleObject(&Mutex, 0, KernelMode, FALSE, &limit);
    if (Tried == STATUS_SUCCESS) KeReleaseMutex(&Mutex, FALSE);
}
CASE(passive, KeInitializeMutex, VOID)
{
    KeInitializeMutex(&Mutex, 0);
    // Signaled from the start, and its owner may take it again.
    EXPECT(KeWaitForSingleObject(&Mutex, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&Mutex, 0, KernelMode, FALSE, &Now), STATUS_SUCCESS);
    CHECK(KeReleaseMutex(&Mutex, FALSE) != 0);
    CHECK(KeReleaseMutex(&Mutex, FALSE) == 0);
    return 0;
}
CASE(passive, KeReleaseMutex, ZERO)
{
    HANDLE thread;
    KeInitializeMutex(&Mutex, 0);
    EXPECT(KeWaitForSingleObject(&Mutex, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    EXPECT(start_thread(try_mutex, NULL, &thread), STATUS_SUCCESS);
    ULONG line = finish_thread(thread);
    CHECK(line == 0 && Tried == STATUS_TIMEOUT);
    CHECK(KeReleaseMutex(&Mutex, FALSE) == 0);
    EXPECT(start_thread(try_mutex, NULL, &thread), STATUS_SUCCESS);
    line = finish_thread(thread);
    CHECK(line == 0 && Tried == STATUS_SUCCESS);
    return 0;
}
CASE(passive, KeReadStateMutex, ONE)
{
    KeInitializeMutex(&Mutex, 0);
    CHECK(KeReadStateMutex(&Mutex) == 1);
    return 0;
}
CASE(passive, KeReadStateMutex, OTHER)
{
    KeInitializeMutex(&Mutex, 0);
    EXPECT(KeWaitForSingleObject(&Mutex, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    LONG state = KeReadStateMutex(&Mutex);
    KeReleaseMutex(&Mutex, FALSE);
    CHECK(state != 1);
    return 0;
}
CASE(passive, KeInitializeSemaphore, VOID)
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 2, 5);
    EXPECT(KeWaitForSingleObject(&semaphore, 0, KernelMode, FALSE, &Now), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&semaphore, 0, KernelMode, FALSE, &Now), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&semaphore, 0, KernelMode, FALSE, &Now), STATUS_TIMEOUT);
    return 0;
}
CASE(passive, KeReleaseSemaphore, ZERO)
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 0, 5);
    CHECK(KeReleaseSemaphore(&semaphore, 0, 2, FALSE) == 0);
    EXPECT(KeWaitForSingleObject(&semaphore, 0, KernelMode, FALSE, &Now), STATUS_SUCCESS);
    return 0;
}
CASE(passive, KeReleaseSemaphore, NONZERO)
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 2, 5);
    CHECK(KeReleaseSemaphore(&semaphore, 0, 1, FALSE) != 0);
    return 0;
}
CASE(passive, KeReadStateSemaphore, ZERO)
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 0, 5);
    CHECK(KeReadStateSemaphore(&semaphore) == 0);
    return 0;
}
CASE(passive, KeReadStateSemaphore, NONZERO)
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 1, 5);
    CHECK(KeReadStateSemaphore(&semaphore) != 0);
    return 0;
}
CASE(passive, KeReadStateEvent, ZERO)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    CHECK(KeReadStateEvent(&event) == 0);
    return 0;
}
CASE(passive, KeReadStateEvent, NONZERO)
{
    KEVENT event;
    KeInitializeEvent(&event, SynchronizationEvent, TRUE);
    CHECK(KeReadStateEvent(&event) != 0);
    return 0;
}

CASE(passive, KeEnterCriticalRegion, VOID)
{
    KeEnterCriticalRegion();
    BOOLEAN inside = KeAreApcsDisabled();
    KeLeaveCriticalRegion();
    CHECK(inside == TRUE);
    return 0;
}
CASE(passive, KeLeaveCriticalRegion, VOID)
{
    KeEnterCriticalRegion();
    KeEnterCriticalRegion();
    KeLeaveCriticalRegion();
    BOOLEAN still = KeAreApcsDisabled();
    KeLeaveCriticalRegion();
    CHECK(still == TRUE && KeAreApcsDisabled() == FALSE);
    return 0;
}
CASE(passive, KeAreApcsDisabled, TRUE)
{
    KeEnterGuardedRegion();
    BOOLEAN inside = KeAreApcsDisabled();
    KeLeaveGuardedRegion();
    CHECK(inside == TRUE);
    return 0;
}
CASE(passive, KeAreApcsDisabled, FALSE)
{
    CHECK(KeAreApcsDisabled() == FALSE);
    return 0;
}
CASE(passive, KfRaiseIrql, IRQL)
{
    KIRQL before = KfRaiseIrql(APC_LEVEL);
    KIRQL during = KeGetCurrentIrql();
    KeLowerIrql(before);
    CHECK(before == PASSIVE_LEVEL && during == APC_LEVEL);
    return 0;
}
CASE(passive, KeLowerIrql, VOID)
{
    KIRQL before = KfRaiseIrql(DISPATCH_LEVEL);
    KeLowerIrql(APC_LEVEL);
    KIRQL between = KeGetCurrentIrql();
    KeLowerIrql(before);
    CHECK(between == APC_LEVEL && KeGetCurrentIrql() == PASSIVE_LEVEL);
    return 0;
}
CASE(passive, KeRaiseIrqlToDpcLevel, IRQL)
{
    KIRQL before = KeRaiseIrqlToDpcLevel();
    KIRQL during = KeGetCurrentIrql();
    KeLowerIrql(before);
    CHECK(before == PASSIVE_LEVEL && during == DISPATCH_LEVEL);
    return 0;
}

static KSPIN_LOCK Spin;
CASE(passive, KeInitializeSpinLock, VOID)
{
    Spin = (KSPIN_LOCK)-1;
    KeInitializeSpinLock(&Spin);
    CHECK(KeTestSpinLock(&Spin) == TRUE);
    KIRQL before = KeAcquireSpinLockRaiseToDpc(&Spin);
    KeReleaseSpinLock(&Spin, before);
    return 0;
}
CASE(passive, KeAcquireSpinLockAtDpcLevel, VOID)
{
    KeInitializeSpinLock(&Spin);
    KIRQL before = KeRaiseIrqlToDpcLevel();
    KeAcquireSpinLockAtDpcLevel(&Spin);
    BOOLEAN held = !KeTestSpinLock(&Spin);
    KeReleaseSpinLockFromDpcLevel(&Spin);
    KeLowerIrql(before);
    CHECK(held);
    return 0;
}
CASE(passive, KeReleaseSpinLockFromDpcLevel, VOID)
{
    KeInitializeSpinLock(&Spin);
    KIRQL before = KeRaiseIrqlToDpcLevel();
    KeAcquireSpinLockAtDpcLevel(&Spin);
    KeReleaseSpinLockFromDpcLevel(&Spin);
    // The level stays.
    KIRQL after = KeGetCurrentIrql();
    BOOLEAN open = KeTestSpinLock(&Spin);
    KeLowerIrql(before);
    CHECK(after == DISPATCH_LEVEL && open == TRUE);
    return 0;
}
CASE(passive, KeTestSpinLock, TRUE)
{
    KeInitializeSpinLock(&Spin);
    CHECK(KeTestSpinLock(&Spin) == TRUE);
    return 0;
}
CASE(passive, KeTestSpinLock, FALSE)
{
    KeInitializeSpinLock(&Spin);
    KIRQL before = KeAcquireSpinLockRaiseToDpc(&Spin);
    BOOLEAN open = KeTestSpinLock(&Spin);
    KeReleaseSpinLock(&Spin, before);
    CHECK(open == FALSE);
    return 0;
}
CASE(passive, KeTryToAcquireSpinLockAtDpcLevel, TRUE)
{
    KeInitializeSpinLock(&Spin);
    KIRQL before = KeRaiseIrqlToDpcLevel();
    BOOLEAN got = KeTryToAcquireSpinLockAtDpcLevel(&Spin);
    KeReleaseSpinLockFromDpcLevel(&Spin);
    KeLowerIrql(before);
    CHECK(got == TRUE);
    return 0;
}
static KEVENT Taken, LetGo;
static void hold_spin(PVOID context)
{
    UNUSED(context);
    KIRQL before = KeAcquireSpinLockRaiseToDpc(&Spin);
    KeSetEvent(&Taken, 0, FALSE);
    while (!KeReadStateEvent(&LetGo)) { }
    KeReleaseSpinLock(&Spin, before);
}
CASE(passive, KeTryToAcquireSpinLockAtDpcLevel, FALSE)
{
    HANDLE thread;
    KeInitializeSpinLock(&Spin);
    KeInitializeEvent(&Taken, NotificationEvent, FALSE);
    KeInitializeEvent(&LetGo, NotificationEvent, FALSE);
    EXPECT(start_thread(hold_spin, NULL, &thread), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&Taken, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    KIRQL before = KeRaiseIrqlToDpcLevel();
    BOOLEAN got = KeTryToAcquireSpinLockAtDpcLevel(&Spin);
    if (got) KeReleaseSpinLockFromDpcLevel(&Spin);
    KeLowerIrql(before);
    KeSetEvent(&LetGo, 0, FALSE);
    ULONG line = finish_thread(thread);
    CHECK(line == 0 && got == FALSE);
    return 0;
}
CASE(passive, KeAcquireInStackQueuedSpinLock, VOID)
{
    KLOCK_QUEUE_HANDLE queue;
    KeInitializeSpinLock(&Spin);
    KeAcquireInStackQueuedSpinLock(&Spin, &queue);
    KIRQL during = KeGetCurrentIrql();
    BOOLEAN open = KeTestSpinLock(&Spin);
    KeReleaseInStackQueuedSpinLock(&queue);
    CHECK(during == DISPATCH_LEVEL && open == FALSE);
    return 0;
}
CASE(passive, KeReleaseInStackQueuedSpinLock, VOID)
{
    KLOCK_QUEUE_HANDLE queue;
    KeInitializeSpinLock(&Spin);
    KeAcquireInStackQueuedSpinLock(&Spin, &queue);
    KeReleaseInStackQueuedSpinLock(&queue);
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && KeTestSpinLock(&Spin) == TRUE);
    return 0;
}

static EX_RUNDOWN_REF Rundown;
CASE(passive, ExAcquireRundownProtectionEx, TRUE)
{
    ExInitializeRundownProtection(&Rundown);
    CHECK(ExAcquireRundownProtectionEx(&Rundown, 3) == TRUE);
    ExReleaseRundownProtectionEx(&Rundown, 3);
    return 0;
}
CASE(passive, ExAcquireRundownProtectionEx, FALSE)
{
    ExInitializeRundownProtection(&Rundown);
    ExWaitForRundownProtectionRelease(&Rundown);
    CHECK(ExAcquireRundownProtectionEx(&Rundown, 3) == FALSE);
    return 0;
}
CASE(passive, ExReleaseRundownProtectionEx, VOID)
{
    ExInitializeRundownProtection(&Rundown);
    CHECK(ExAcquireRundownProtectionEx(&Rundown, 3) == TRUE);
    ExReleaseRundownProtection(&Rundown);
    ExReleaseRundownProtectionEx(&Rundown, 2);
    // All three are back, so the wait is over at once.
    ExWaitForRundownProtectionRelease(&Rundown);
    return 0;
}
CASE(passive, ExRundownCompleted, VOID)
{
    ExInitializeRundownProtection(&Rundown);
    ExWaitForRundownProtectionRelease(&Rundown);
    ExRundownCompleted(&Rundown);
    CHECK(ExAcquireRundownProtection(&Rundown) == FALSE);
    return 0;
}
CASE(passive, ExReInitializeRundownProtection, VOID)
{
    ExInitializeRundownProtection(&Rundown);
    ExWaitForRundownProtectionRelease(&Rundown);
    ExRundownCompleted(&Rundown);
    ExReInitializeRundownProtection(&Rundown);
    CHECK(ExAcquireRundownProtection(&Rundown) == TRUE);
    ExReleaseRundownProtection(&Rundown);
    return 0;
}
