/* Deliberately wrong: each CASE breaks one rule, and the host must say which, where. */
#include "kernel.h"

#define TAG 'tseT'

#define NOWHERE ((volatile int *)(ULONG_PTR)0x10)

__attribute__((noinline)) static int Inner(volatile int *At) {
    return *At + 1; /* LINE: read */
}

__attribute__((noinline)) static int Outer(volatile int *At) {
    int Value = Inner(At);
    return Value * 2;
}

static KEVENT Go;
static volatile int Passed;

/* Ends itself from inside another function, as drivers may. */
__attribute__((noinline)) static VOID Leave(int Value) {
    if (Value == 3)
        PsTerminateSystemThread(STATUS_SUCCESS);
    Passed = -1;
}

static VOID Thread(PVOID Context) {
    KeWaitForSingleObject(&Go, 0, 0, FALSE, NULL);
    Passed = (int)(ULONG_PTR)Context;
    Leave((int)(ULONG_PTR)Context);
    Passed = -2;
}

static HANDLE Start(void) {
    HANDLE Handle = NULL;
    KeInitializeEvent(&Go, 0, FALSE);
    PsCreateSystemThread(&Handle, 0, NULL, NULL, NULL, Thread, (PVOID)3);
    return Handle;
}

static VOID Notice(PVOID Process, HANDLE Id, PVOID Info) {
    DbgPrint("%p %p %p", Process, Id, Info);
}

static VOID Unload(DRIVER_OBJECT *Driver) {
    DbgPrint("unload of %wZ", &Driver->DriverName);
}

NTSTATUS DriverEntry(DRIVER_OBJECT *Driver, UNICODE_STRING *Path) {
    Driver->DriverUnload = Unload;
    DbgPrint("case %d of %wZ, %s", CASE, Path, "hello");
#if CASE == 1 /* reads a bad address */
    return Outer(NOWHERE) + 1;
#elif CASE == 2 /* calls a bad address */
    ((void (*)(void))(ULONG_PTR)NOWHERE)();
#elif CASE == 3 /* frees twice */
    PVOID Block = ExAllocatePoolWithTag(NonPagedPoolNx, 24, TAG);
    ExFreePoolWithTag(Block, TAG);
    ExFreePoolWithTag(Block, TAG);
#elif CASE == 4 /* leaks */
    PVOID Block = ExAllocatePoolWithTag(PagedPool, 100, TAG);
    DbgPrint("%p", Block);
#elif CASE == 5 /* waits at DISPATCH_LEVEL */
    LARGE_INTEGER Time = -10000;
    KfRaiseIrql(DISPATCH_LEVEL);
    KEVENT Event;
    KeInitializeEvent(&Event, 0, FALSE);
    KeWaitForSingleObject(&Event, 0, 0, FALSE, &Time);
#elif CASE == 6 /* paged pool at DISPATCH_LEVEL */
    KfRaiseIrql(DISPATCH_LEVEL);
    ExAllocatePoolWithTag(PagedPool, 8, TAG);
#elif CASE == 7 /* waits for ever */
    KEVENT Event;
    KeInitializeEvent(&Event, 0, FALSE);
    KeWaitForSingleObject(&Event, 0, 0, FALSE, NULL);
#elif CASE == 8 /* writes behind a block */
    UCHAR *Block = ExAllocatePoolWithTag(NonPagedPoolNx, 24, TAG);
    ((volatile UCHAR *)Block)[24] = 1;
    ExFreePoolWithTag(Block, TAG);
#elif CASE == 9 /* writes to a freed block */
    UCHAR *Block = ExAllocatePoolWithTag(NonPagedPoolNx, 24, TAG);
    ExFreePoolWithTag(Block, TAG);
    ((volatile UCHAR *)Block)[3] = 1;
#elif CASE == 10 /* returns with a raised level */
    KfRaiseIrql(APC_LEVEL);
#elif CASE == 11 /* returns with a spin lock held */
    static KSPIN_LOCK Lock;
    KeInitializeSpinLock(&Lock);
    KIRQL Old = KeAcquireSpinLockRaiseToDpc(&Lock);
    (void)Old;
#elif CASE == 12 /* takes a spin lock twice */
    static KSPIN_LOCK Lock;
    KeAcquireSpinLockRaiseToDpc(&Lock);
    KeAcquireSpinLockRaiseToDpc(&Lock);
#elif CASE == 13 /* hands the host a bad address */
    KeSetEvent((KEVENT *)NOWHERE, 0, FALSE);
#elif CASE == 14 /* wrong tag */
    ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPoolNx, 24, TAG), 'rehT');
#elif CASE == 15 /* stops the machine */
    KeBugCheckEx(0xdead, 1, 2, 3, 4);
#elif CASE == 16 /* fails to start */
    return STATUS_UNSUCCESSFUL;
#elif CASE == 17 /* overflows its stack: tells itself a long story */
    volatile char Big[64];
    Big[0] = (char)Path->Length;
    if (Big[0] == 1)
        return STATUS_SUCCESS;
    return DriverEntry(Driver, Path) + Big[0];
#elif CASE == 18 /* writes to its own constants */
    static const int Constant = 5;
    *(volatile int *)&Constant = 6;
#elif CASE == 20 /* leaves a thread */
    ZwClose(Start());
#elif CASE == 21 /* all is well with a thread */
    HANDLE Handle = Start();
    PVOID Object = NULL;
    NTSTATUS Status = ObReferenceObjectByHandle(Handle, 0, *PsThreadType, 0, &Object, NULL);
    ZwClose(Handle);
    KeSetEvent(&Go, 0, FALSE);
    KeWaitForSingleObject(Object, 0, 0, FALSE, NULL);
    ObfDereferenceObject(Object);
    return Status != 0 || Passed != 3 ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS;
#elif CASE == 22 /* leaves a process-notify routine */
    NTSTATUS Added = PsSetCreateProcessNotifyRoutineEx(Notice, FALSE);
    DbgPrint("%x", Added);
#elif CASE == 19 /* all is well */
    PVOID Block = ExAllocatePoolWithTag(NonPagedPoolNx, 24, TAG);
    ExFreePoolWithTag(Block, TAG);
#endif
    return STATUS_SUCCESS;
}
