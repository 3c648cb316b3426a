// Waiting, events, locks and rundown protection.
// The pages are wdm's nf-wdm-ke*, nf-wdm-ex*rundownprotection* and fltkernel's
// nf-fltkernel-flt*pushlock* and nf-fltkernel-fltcancellablewaitforsingleobject.
#include "harness.h"

static const LARGE_INTEGER Zero = { 0 };
static LARGE_INTEGER milliseconds(LONGLONG n)
{
    LARGE_INTEGER made = { MILLISECONDS(n) };
    return made;
}
static void set_soon(PVOID event)
{
    LARGE_INTEGER pause = milliseconds(5);
    KeDelayExecutionThread(KernelMode, FALSE, &pause);
    KeSetEvent(event, 0, FALSE);
}

CASE(passive, KeInitializeEvent, VOID)
{
    KEVENT off, on;
    KeInitializeEvent(&off, NotificationEvent, FALSE);
    KeInitializeEvent(&on, NotificationEvent, TRUE);
    LARGE_INTEGER now = Zero;
    EXPECT(KeWaitForSingleObject(&off, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    EXPECT(KeWaitForSingleObject(&on, 0, KernelMode, FALSE, &now), STATUS_SUCCESS);
    // A notification event stays set; a synchronization event satisfies one wait.
    EXPECT(KeWaitForSingleObject(&on, 0, KernelMode, FALSE, &now), STATUS_SUCCESS);
    KeInitializeEvent(&on, SynchronizationEvent, TRUE);
    EXPECT(KeWaitForSingleObject(&on, 0, KernelMode, FALSE, &now), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&on, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    return 0;
}
CASE(passive, KeSetEvent, ZERO)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    CHECK(KeSetEvent(&event, 0, FALSE) == 0);
    return 0;
}
CASE(passive, KeSetEvent, NONZERO)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, TRUE);
    CHECK(KeSetEvent(&event, 0, FALSE) != 0);
    return 0;
}
CASE(passive, KeClearEvent, VOID)
{
    KEVENT event;
    LARGE_INTEGER now = Zero;
    KeInitializeEvent(&event, NotificationEvent, TRUE);
    KeClearEvent(&event);
    EXPECT(KeWaitForSingleObject(&event, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    return 0;
}
CASE(passive, KeResetEvent, NONZERO)
{
    KEVENT event;
    LARGE_INTEGER now = Zero;
    KeInitializeEvent(&event, NotificationEvent, TRUE);
    CHECK(KeResetEvent(&event) != 0);
    EXPECT(KeWaitForSingleObject(&event, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    return 0;
}
CASE(passive, KeResetEvent, ZERO)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    CHECK(KeResetEvent(&event) == 0);
    return 0;
}
CASE(passive, KeWaitForSingleObject, STATUS_SUCCESS)
{
    KEVENT event;
    HANDLE thread;
    KeInitializeEvent(&event, SynchronizationEvent, FALSE);
    EXPECT(start_thread(set_soon, &event, &thread), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&event, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    return finish_thread(thread);
}
CASE(passive, KeWaitForSingleObject, STATUS_TIMEOUT)
{
    KEVENT event;
    LARGE_INTEGER limit = milliseconds(10);
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    ULONGLONG before = KeQueryUnbiasedInterruptTime();
    EXPECT(KeWaitForSingleObject(&event, 0, KernelMode, FALSE, &limit), STATUS_TIMEOUT);
    CHECK(KeQueryUnbiasedInterruptTime() - before >= 90000);
    return 0;
}
// In `dying`, the user's thread is ended while it waits in user mode.
CASE(dying_post_create, KeWaitForSingleObject, STATUS_USER_APC)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    EXPECT(KeWaitForSingleObject(&event, 0, UserMode, FALSE, NULL), STATUS_USER_APC);
    return 0;
}
CASE(dying_post_create, KeWaitForMultipleObjects, STATUS_USER_APC)
{
    KEVENT one, other;
    PVOID both[2] = { &one, &other };
    KeInitializeEvent(&one, NotificationEvent, FALSE);
    KeInitializeEvent(&other, NotificationEvent, FALSE);
    EXPECT(KeWaitForMultipleObjects(2, both, 1, 0, UserMode, FALSE, NULL, NULL),
        STATUS_USER_APC);
    return 0;
}
CASE(dying_post_create, KeDelayExecutionThread, STATUS_USER_APC)
{
    LARGE_INTEGER pause = milliseconds(60000);
    EXPECT(KeDelayExecutionThread(UserMode, FALSE, &pause), STATUS_USER_APC);
    return 0;
}
CASE(passive, KeWaitForMultipleObjects, STATUS_SUCCESS)
{
    KEVENT one, other;
    PVOID both[2] = { &one, &other };
    LARGE_INTEGER now = Zero;
    KeInitializeEvent(&one, SynchronizationEvent, TRUE);
    KeInitializeEvent(&other, SynchronizationEvent, TRUE);
    EXPECT(KeWaitForMultipleObjects(2, both, 0, 0, KernelMode, FALSE, NULL, NULL), STATUS_SUCCESS);
    // Both were consumed.
    EXPECT(KeWaitForSingleObject(&one, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    EXPECT(KeWaitForSingleObject(&other, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    return 0;
}
CASE(passive, KeWaitForMultipleObjects, STATUS_WAIT_n)
{
    KEVENT one, other;
    PVOID both[2] = { &one, &other };
    KeInitializeEvent(&one, SynchronizationEvent, FALSE);
    KeInitializeEvent(&other, SynchronizationEvent, TRUE);
    EXPECT(KeWaitForMultipleObjects(2, both, 1, 0, KernelMode, FALSE, NULL, NULL), 1);
    KeSetEvent(&one, 0, FALSE);
    EXPECT(KeWaitForMultipleObjects(2, both, 1, 0, KernelMode, FALSE, NULL, NULL), 0);
    return 0;
}
CASE(passive, KeWaitForMultipleObjects, STATUS_TIMEOUT)
{
    KEVENT one, other;
    PVOID both[2] = { &one, &other };
    LARGE_INTEGER limit = milliseconds(10), now = Zero;
    KeInitializeEvent(&one, SynchronizationEvent, TRUE);
    KeInitializeEvent(&other, SynchronizationEvent, FALSE);
    EXPECT(KeWaitForMultipleObjects(2, both, 0, 0, KernelMode, FALSE, &limit, NULL),
        STATUS_TIMEOUT);
    // A wait for all takes nothing unless it takes all.
    EXPECT(KeWaitForSingleObject(&one, 0, KernelMode, FALSE, &now), STATUS_SUCCESS);
    return 0;
}
CASE(passive, KeDelayExecutionThread, STATUS_SUCCESS)
{
    LARGE_INTEGER pause = milliseconds(10);
    ULONGLONG before = KeQueryUnbiasedInterruptTime();
    EXPECT(KeDelayExecutionThread(KernelMode, FALSE, &pause), STATUS_SUCCESS);
    CHECK(KeQueryUnbiasedInterruptTime() - before >= 90000);
    return 0;
}
CASE(passive, KeQueryUnbiasedInterruptTime, NUMBER)
{
    ULONGLONG one = KeQueryUnbiasedInterruptTime();
    ULONGLONG other = KeQueryUnbiasedInterruptTime();
    CHECK(other >= one);
    return 0;
}

CASE(post_create, FltCancellableWaitForSingleObject, STATUS_SUCCESS)
{
    KEVENT event;
    HANDLE thread;
    KeInitializeEvent(&event, SynchronizationEvent, FALSE);
    EXPECT(start_thread(set_soon, &event, &thread), STATUS_SUCCESS);
    EXPECT(FltCancellableWaitForSingleObject(&event, NULL, in->Data), STATUS_SUCCESS);
    return finish_thread(thread);
}
CASE(post_create, FltCancellableWaitForSingleObject, STATUS_TIMEOUT)
{
    KEVENT event;
    LARGE_INTEGER limit = milliseconds(10), now = Zero;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    EXPECT(FltCancellableWaitForSingleObject(&event, &limit, in->Data), STATUS_TIMEOUT);
    EXPECT(FltCancellableWaitForSingleObject(&event, &now, in->Data), STATUS_TIMEOUT);
    return 0;
}
// In `abort_`, another thread cancels the create, and in `dying_` ends the thread, while it waits.
CASE(abort_post_create, FltCancellableWaitForSingleObject, STATUS_CANCELLED)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    EXPECT(FltCancellableWaitForSingleObject(&event, NULL, in->Data), STATUS_CANCELLED);
    return 0;
}
CASE(dying_post_create, FltCancellableWaitForSingleObject, STATUS_THREAD_IS_TERMINATING)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    EXPECT(FltCancellableWaitForSingleObject(&event, NULL, in->Data),
        STATUS_THREAD_IS_TERMINATING);
    return 0;
}

// A lock is tried by a second thread, which says when it got through.
typedef struct {
    EX_PUSH_LOCK Lock;
    KSPIN_LOCK Spin;
    EX_RUNDOWN_REF Rundown;
    KEVENT Through;
} SHARED;
static void take_exclusive(PVOID context)
{
    SHARED *shared = context;
    FltAcquirePushLockExclusive(&shared->Lock);
    FltReleasePushLock(&shared->Lock);
    KeSetEvent(&shared->Through, 0, FALSE);
}
static void take_shared(PVOID context)
{
    SHARED *shared = context;
    FltAcquirePushLockShared(&shared->Lock);
    FltReleasePushLock(&shared->Lock);
    KeSetEvent(&shared->Through, 0, FALSE);
}
static void prepare(SHARED *shared)
{
    FltInitializePushLock(&shared->Lock);
    shared->Spin = 0;
    ExInitializeRundownProtection(&shared->Rundown);
    KeInitializeEvent(&shared->Through, NotificationEvent, FALSE);
}
static NTSTATUS through(SHARED *shared, LONGLONG limit)
{
    LARGE_INTEGER time = milliseconds(limit);
    return KeWaitForSingleObject(&shared->Through, 0, KernelMode, FALSE, limit ? &time : NULL);
}
static SHARED Shared;
CASE(passive, FltInitializePushLock, VOID)
{
    Shared.Lock.Value = (ULONG_PTR)-1;
    FltInitializePushLock(&Shared.Lock);
    FltAcquirePushLockExclusive(&Shared.Lock);
    FltReleasePushLock(&Shared.Lock);
    FltDeletePushLock(&Shared.Lock);
    return 0;
}
CASE(passive, FltDeletePushLock, VOID)
{
    FltInitializePushLock(&Shared.Lock);
    FltDeletePushLock(&Shared.Lock);
    // A deleted lock can be made anew in the same place.
    FltInitializePushLock(&Shared.Lock);
    FltAcquirePushLockShared(&Shared.Lock);
    FltReleasePushLock(&Shared.Lock);
    FltDeletePushLock(&Shared.Lock);
    return 0;
}
CASE(passive, FltAcquirePushLockExclusive, VOID)
{
    HANDLE thread;
    prepare(&Shared);
    FltAcquirePushLockExclusive(&Shared.Lock);
    EXPECT(start_thread(take_shared, &Shared, &thread), STATUS_SUCCESS);
    EXPECT(through(&Shared, 20), STATUS_TIMEOUT);
    FltReleasePushLock(&Shared.Lock);
    EXPECT(through(&Shared, 0), STATUS_SUCCESS);
    ULONG line = finish_thread(thread);
    FltDeletePushLock(&Shared.Lock);
    return line;
}
CASE(passive, FltAcquirePushLockShared, VOID)
{
    HANDLE thread, writer;
    prepare(&Shared);
    FltAcquirePushLockShared(&Shared.Lock);
    EXPECT(start_thread(take_shared, &Shared, &thread), STATUS_SUCCESS);
    EXPECT(through(&Shared, 0), STATUS_SUCCESS);
    ULONG line = finish_thread(thread);
    // A second reader got through; a writer does not.
    KeClearEvent(&Shared.Through);
    EXPECT(start_thread(take_exclusive, &Shared, &writer), STATUS_SUCCESS);
    EXPECT(through(&Shared, 20), STATUS_TIMEOUT);
    FltReleasePushLock(&Shared.Lock);
    EXPECT(through(&Shared, 0), STATUS_SUCCESS);
    ULONG last = finish_thread(writer);
    FltDeletePushLock(&Shared.Lock);
    return line ? line : last;
}
CASE(passive, FltReleasePushLock, VOID)
{
    HANDLE thread;
    prepare(&Shared);
    FltAcquirePushLockExclusive(&Shared.Lock);
    EXPECT(start_thread(take_exclusive, &Shared, &thread), STATUS_SUCCESS);
    FltReleasePushLock(&Shared.Lock);
    EXPECT(through(&Shared, 0), STATUS_SUCCESS);
    ULONG line = finish_thread(thread);
    FltDeletePushLock(&Shared.Lock);
    return line;
}
CASE(passive, KeAcquireSpinLockRaiseToDpc, IRQL)
{
    KSPIN_LOCK lock = 0, inner = 0;
    KIRQL before = KeAcquireSpinLockRaiseToDpc(&lock);
    KIRQL nested = KeAcquireSpinLockRaiseToDpc(&inner);
    KIRQL during = KeGetCurrentIrql();
    KeReleaseSpinLock(&inner, nested);
    KeReleaseSpinLock(&lock, before);
    CHECK(before == PASSIVE_LEVEL && nested == DISPATCH_LEVEL && during == DISPATCH_LEVEL);
    return 0;
}
static LONG Counter;
static void count_up(PVOID context)
{
    SHARED *shared = context;
    for (int i = 0; i < 200; i++) {
        KIRQL old = KeAcquireSpinLockRaiseToDpc(&shared->Spin);
        LONG seen = *(volatile LONG *)&Counter;
        *(volatile LONG *)&Counter = seen + 1;
        KeReleaseSpinLock(&shared->Spin, old);
    }
}
CASE(passive, KeReleaseSpinLock, VOID)
{
    HANDLE one, other;
    prepare(&Shared);
    Counter = 0;
    EXPECT(start_thread(count_up, &Shared, &one), STATUS_SUCCESS);
    EXPECT(start_thread(count_up, &Shared, &other), STATUS_SUCCESS);
    ULONG line = finish_thread(one), last = finish_thread(other);
    CHECK(line == 0 && last == 0 && Counter == 400);
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    return 0;
}
CASE(passive, KeGetCurrentIrql, IRQL)
{
    KSPIN_LOCK lock = 0;
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    KIRQL before = KeAcquireSpinLockRaiseToDpc(&lock);
    KIRQL during = KeGetCurrentIrql();
    KeReleaseSpinLock(&lock, before);
    CHECK(during == DISPATCH_LEVEL);
    return 0;
}
CASE(passive, KeAreAllApcsDisabled, TRUE)
{
    KeEnterGuardedRegion();
    BOOLEAN inside = KeAreAllApcsDisabled();
    KeLeaveGuardedRegion();
    CHECK(inside == TRUE);
    return 0;
}
CASE(passive, KeAreAllApcsDisabled, FALSE)
{
    CHECK(KeAreAllApcsDisabled() == FALSE);
    // A critical region leaves special kernel APCs on.
    KeEnterCriticalRegion();
    BOOLEAN inside = KeAreAllApcsDisabled();
    KeLeaveCriticalRegion();
    CHECK(inside == FALSE);
    return 0;
}
CASE(passive, KeEnterGuardedRegion, VOID)
{
    KeEnterGuardedRegion();
    KeEnterGuardedRegion();
    KeLeaveGuardedRegion();
    BOOLEAN still = KeAreAllApcsDisabled();
    KeLeaveGuardedRegion();
    CHECK(still == TRUE);
    return 0;
}
CASE(passive, KeLeaveGuardedRegion, VOID)
{
    KeEnterGuardedRegion();
    KeLeaveGuardedRegion();
    CHECK(KeAreAllApcsDisabled() == FALSE);
    return 0;
}

static void run_down(PVOID context)
{
    SHARED *shared = context;
    ExWaitForRundownProtectionRelease(&shared->Rundown);
    KeSetEvent(&shared->Through, 0, FALSE);
}
CASE(passive, ExInitializeRundownProtection, VOID)
{
    prepare(&Shared);
    CHECK(ExAcquireRundownProtection(&Shared.Rundown) == TRUE);
    ExReleaseRundownProtection(&Shared.Rundown);
    return 0;
}
CASE(passive, ExAcquireRundownProtection, TRUE)
{
    prepare(&Shared);
    CHECK(ExAcquireRundownProtection(&Shared.Rundown) == TRUE);
    CHECK(ExAcquireRundownProtection(&Shared.Rundown) == TRUE);
    ExReleaseRundownProtection(&Shared.Rundown);
    ExReleaseRundownProtection(&Shared.Rundown);
    return 0;
}
CASE(passive, ExAcquireRundownProtection, FALSE)
{
    prepare(&Shared);
    ExWaitForRundownProtectionRelease(&Shared.Rundown);
    CHECK(ExAcquireRundownProtection(&Shared.Rundown) == FALSE);
    return 0;
}
CASE(passive, ExWaitForRundownProtectionRelease, VOID)
{
    HANDLE thread;
    prepare(&Shared);
    CHECK(ExAcquireRundownProtection(&Shared.Rundown) == TRUE);
    EXPECT(start_thread(run_down, &Shared, &thread), STATUS_SUCCESS);
    EXPECT(through(&Shared, 20), STATUS_TIMEOUT);
    ExReleaseRundownProtection(&Shared.Rundown);
    EXPECT(through(&Shared, 0), STATUS_SUCCESS);
    return finish_thread(thread);
}
CASE(passive, ExReleaseRundownProtection, VOID)
{
    prepare(&Shared);
    CHECK(ExAcquireRundownProtection(&Shared.Rundown) == TRUE);
    ExReleaseRundownProtection(&Shared.Rundown);
    // Nothing is held, so the wait is over at once.
    ExWaitForRundownProtectionRelease(&Shared.Rundown);
    return 0;
}
