// Executive resources, and the Filter Manager's way to take them.
#include "harness.h"

static ERESOURCE Lock;
static volatile ULONG Got;

// Asks from a thread of its own: a resource that the case holds is another thread's there.
static void try_alone(PVOID unused)
{
    UNUSED(unused);
    KeEnterCriticalRegion();
    BOOLEAN alone = ExAcquireResourceExclusiveLite(&Lock, FALSE);
    if (alone) ExReleaseResourceLite(&Lock);
    BOOLEAN shared = ExAcquireResourceSharedLite(&Lock, FALSE);
    if (shared) ExReleaseResourceLite(&Lock);
    KeLeaveCriticalRegion();
    Got = (ULONG)alone << 1 | shared;
    PsTerminateSystemThread(0);
}
// What another thread can get now: 2 for alone, 1 for shared.
static ULONG others(void)
{
    HANDLE thread;
    Got = 8;
    if (start_thread(try_alone, NULL, &thread) || finish_thread(thread)) return 9;
    return Got;
}

CASE(passive, ExInitializeResourceLite, STATUS_SUCCESS)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    CHECK(others() == 3);
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, ExDeleteResourceLite, STATUS_SUCCESS)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, ExAcquireResourceExclusiveLite, TRUE)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    // At APC_LEVEL no APC is delivered either.
    KIRQL old = KfRaiseIrql(APC_LEVEL);
    CHECK(ExAcquireResourceExclusiveLite(&Lock, TRUE));
    ExReleaseResourceLite(&Lock);
    KeLowerIrql(old);
    KeEnterCriticalRegion();
    CHECK(ExAcquireResourceExclusiveLite(&Lock, TRUE));
    CHECK(ExAcquireResourceExclusiveLite(&Lock, FALSE));
    ExReleaseResourceLite(&Lock);
    CHECK(others() == 0);
    ExReleaseResourceLite(&Lock);
    CHECK(others() == 3);
    KeLeaveCriticalRegion();
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, ExAcquireResourceExclusiveLite, FALSE)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    KeEnterCriticalRegion();
    CHECK(ExAcquireResourceSharedLite(&Lock, TRUE));
    CHECK(!ExAcquireResourceExclusiveLite(&Lock, FALSE));
    ExReleaseResourceLite(&Lock);
    KeLeaveCriticalRegion();
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, ExAcquireResourceSharedLite, TRUE)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    KeEnterCriticalRegion();
    CHECK(ExAcquireResourceSharedLite(&Lock, TRUE));
    CHECK(ExAcquireResourceSharedLite(&Lock, TRUE));
    CHECK(others() == 1);
    ExReleaseResourceLite(&Lock);
    CHECK(others() == 1);
    ExReleaseResourceLite(&Lock);
    CHECK(others() == 3);
    CHECK(ExAcquireResourceExclusiveLite(&Lock, TRUE));
    CHECK(ExAcquireResourceSharedLite(&Lock, FALSE));
    ExReleaseResourceLite(&Lock);
    ExReleaseResourceLite(&Lock);
    KeLeaveCriticalRegion();
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, ExAcquireResourceSharedLite, FALSE)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    KeEnterCriticalRegion();
    CHECK(ExAcquireResourceExclusiveLite(&Lock, TRUE));
    CHECK((others() & 1) == 0);
    ExReleaseResourceLite(&Lock);
    KeLeaveCriticalRegion();
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, ExReleaseResourceLite, VOID)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    KeEnterCriticalRegion();
    CHECK(ExAcquireResourceExclusiveLite(&Lock, TRUE));
    ExReleaseResourceLite(&Lock);
    CHECK(others() == 3);
    KeLeaveCriticalRegion();
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, FltAcquireResourceExclusive, VOID)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    FltAcquireResourceExclusive(&Lock);
    CHECK(others() == 0);
    FltReleaseResource(&Lock);
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, FltAcquireResourceShared, VOID)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    FltAcquireResourceShared(&Lock);
    CHECK(others() == 1);
    FltReleaseResource(&Lock);
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
CASE(passive, FltReleaseResource, VOID)
{
    UNUSED(in);
    EXPECT(ExInitializeResourceLite(&Lock), 0);
    FltAcquireResourceExclusive(&Lock);
    FltReleaseResource(&Lock);
    CHECK(others() == 3);
    EXPECT(ExDeleteResourceLite(&Lock), 0);
    return 0;
}
