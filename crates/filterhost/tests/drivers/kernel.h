/* What the test drivers use of ntoskrnl.exe, retyped from the documentation pages. */
#pragma once

typedef unsigned char UCHAR, BOOLEAN, KIRQL;
typedef unsigned short USHORT, WCHAR;
typedef unsigned int ULONG;
typedef int LONG, NTSTATUS;
typedef unsigned long long ULONG64, SIZE_T, ULONG_PTR, KSPIN_LOCK;
typedef long long LONG64, LARGE_INTEGER;
typedef void VOID, *PVOID, *HANDLE;

#define NULL ((void *)0)
#define TRUE 1
#define FALSE 0
#define STATUS_SUCCESS 0
#define STATUS_TIMEOUT 0x102
#define STATUS_UNSUCCESSFUL ((NTSTATUS)0xC0000001)
#define PASSIVE_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#define NonPagedPoolNx 0x200
#define PagedPool 1
#define IMPORT __declspec(dllimport)

typedef struct {
    USHORT Length, MaximumLength;
    WCHAR *Buffer;
} UNICODE_STRING;

typedef struct DRIVER_OBJECT DRIVER_OBJECT;
struct DRIVER_OBJECT {
    short Type, Size;
    PVOID DeviceObject;
    ULONG Flags;
    PVOID DriverStart;
    ULONG DriverSize;
    PVOID DriverSection, DriverExtension;
    UNICODE_STRING DriverName;
    UNICODE_STRING *HardwareDatabase;
    PVOID FastIoDispatch, DriverInit, DriverStartIo;
    VOID (*DriverUnload)(DRIVER_OBJECT *);
    PVOID MajorFunction[28];
};
_Static_assert(sizeof(DRIVER_OBJECT) == 0x150, "DRIVER_OBJECT");

typedef struct {
    ULONG Length;
    HANDLE RootDirectory;
    UNICODE_STRING *ObjectName;
    ULONG Attributes;
    PVOID SecurityDescriptor, SecurityQualityOfService;
} OBJECT_ATTRIBUTES;

typedef struct {
    ULONG64 Opaque[3];
} KEVENT;

IMPORT ULONG DbgPrint(const char *Format, ...);
IMPORT PVOID ExAllocatePoolWithTag(ULONG PoolType, SIZE_T Size, ULONG Tag);
IMPORT VOID ExFreePoolWithTag(PVOID P, ULONG Tag);
IMPORT KIRQL KeGetCurrentIrql(void);
IMPORT KIRQL KfRaiseIrql(KIRQL NewIrql);
IMPORT VOID KeLowerIrql(KIRQL NewIrql);
IMPORT VOID KeInitializeSpinLock(KSPIN_LOCK *SpinLock);
IMPORT KIRQL KeAcquireSpinLockRaiseToDpc(KSPIN_LOCK *SpinLock);
IMPORT VOID KeReleaseSpinLock(KSPIN_LOCK *SpinLock, KIRQL OldIrql);
IMPORT VOID KeInitializeEvent(KEVENT *Event, LONG Type, BOOLEAN State);
IMPORT LONG KeSetEvent(KEVENT *Event, LONG Increment, BOOLEAN Wait);
IMPORT NTSTATUS KeWaitForSingleObject(PVOID Object, LONG Reason, char Mode, BOOLEAN Alertable,
                                      LARGE_INTEGER *Timeout);
IMPORT NTSTATUS KeDelayExecutionThread(char Mode, BOOLEAN Alertable, LARGE_INTEGER *Interval);
IMPORT VOID KeBugCheckEx(ULONG Code, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3, ULONG_PTR P4);
IMPORT NTSTATUS PsCreateSystemThread(HANDLE *Thread, ULONG Access, OBJECT_ATTRIBUTES *Attributes,
                                     HANDLE Process, PVOID ClientId, VOID (*Routine)(PVOID),
                                     PVOID Context);
IMPORT NTSTATUS PsTerminateSystemThread(NTSTATUS Status);
IMPORT NTSTATUS ObReferenceObjectByHandle(HANDLE Handle, ULONG Access, PVOID Type, char Mode,
                                          PVOID *Object, PVOID Information);
IMPORT LONG64 ObfDereferenceObject(PVOID Object);
IMPORT NTSTATUS ZwClose(HANDLE Handle);
IMPORT PVOID *PsThreadType;
