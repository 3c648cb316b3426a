/* Crashes on purpose, by CASE, and the host must say how and where; two cases are good. */
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
#elif CASE == 7 /* waits for ever */
    KEVENT Event;
    KeInitializeEvent(&Event, 0, FALSE);
    KeWaitForSingleObject(&Event, 0, 0, FALSE, NULL);
#elif CASE == 13 /* hands the host a bad address */
    KeSetEvent((KEVENT *)NOWHERE, 0, FALSE);
#elif CASE == 15 /* stops the machine */
    KeBugCheckEx(0xdead, 1, 2, 3, 4);
#elif CASE == 16 /* fails to start */
    return STATUS_UNSUCCESSFUL;
#elif CASE == 18 /* writes to its own constants */
    static const int Constant = 5;
    *(volatile int *)&Constant = 6;
#elif CASE == 21 /* all is well with a thread */
    HANDLE Handle = Start();
    PVOID Object = NULL;
    NTSTATUS Status = ObReferenceObjectByHandle(Handle, 0, *PsThreadType, 0, &Object, NULL);
    ZwClose(Handle);
    KeSetEvent(&Go, 0, FALSE);
    KeWaitForSingleObject(Object, 0, 0, FALSE, NULL);
    ObfDereferenceObject(Object);
    return Status != 0 || Passed != 3 ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS;
#elif CASE == 19 /* all is well */
    PVOID Block = ExAllocatePoolWithTag(NonPagedPoolNx, 24, TAG);
    ExFreePoolWithTag(Block, TAG);
#endif
    return STATUS_SUCCESS;
}
