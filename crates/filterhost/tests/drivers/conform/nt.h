// The kernel's types, statuses and functions that the conformance minifilter uses.
// Written from the documentation pages named in statuses.toml; the only source that the
// filter host and these tests share is that documentation.
#pragma once

typedef unsigned char UCHAR, BOOLEAN, KIRQL;
typedef char CHAR, KPROCESSOR_MODE;
typedef unsigned short USHORT, WCHAR;
typedef unsigned int ULONG, ACCESS_MASK, POOL_TYPE;
typedef int LONG, NTSTATUS;
typedef unsigned long long ULONGLONG, ULONG_PTR, SIZE_T, REGHANDLE;
typedef long long LONGLONG, LONG_PTR;
typedef void *PVOID, *HANDLE;
#define TRUE 1
#define FALSE 0
#define NULL ((void *)0)
#define KernelMode 0
#define UserMode 1
#define IMPORT __declspec(dllimport)
_Static_assert(sizeof(ULONG) == 4 && sizeof(PVOID) == 8, "64-bit Windows sizes");

typedef union { LONGLONG QuadPart; } LARGE_INTEGER;
typedef struct { USHORT Length, MaximumLength; CHAR *Buffer; } ANSI_STRING;
typedef struct { USHORT Length, MaximumLength; WCHAR *Buffer; } UNICODE_STRING;
typedef struct { ULONG Data1; USHORT Data2, Data3; UCHAR Data4[8]; } GUID;
typedef struct { union { NTSTATUS Status; PVOID Pointer; }; ULONG_PTR Information; }
    IO_STATUS_BLOCK;
typedef struct {
    ULONG Length;
    HANDLE RootDirectory;
    UNICODE_STRING *ObjectName;
    ULONG Attributes;
    PVOID SecurityDescriptor, SecurityQualityOfService;
} OBJECT_ATTRIBUTES;
_Static_assert(sizeof(OBJECT_ATTRIBUTES) == 0x30, "OBJECT_ATTRIBUTES");
typedef struct { UCHAR Type; UCHAR Flags[3]; LONG SignalState; PVOID Links[2]; } KEVENT;
_Static_assert(sizeof(KEVENT) == 0x18, "KEVENT");
typedef struct { KEVENT Header; PVOID MutantList[2]; PVOID Owner; UCHAR Rest[8]; } KMUTEX;
typedef struct { KEVENT Header; LONG Limit; } KSEMAPHORE;
_Static_assert(sizeof(KMUTEX) == 0x38 && sizeof(KSEMAPHORE) == 0x20, "dispatcher objects");
typedef struct { PVOID Next, Lock; KIRQL OldIrql; } KLOCK_QUEUE_HANDLE;
typedef struct { ULONG_PTR Value; } EX_RUNDOWN_REF, EX_PUSH_LOCK;
typedef ULONG_PTR KSPIN_LOCK;
typedef struct { PVOID DataSectionObject, SharedCacheMap, ImageSectionObject; }
    SECTION_OBJECT_POINTERS;

typedef struct {
    USHORT Type, Size;
    PVOID DeviceObject, Vpb, FsContext, FsContext2;
    SECTION_OBJECT_POINTERS *SectionObjectPointer;
    PVOID PrivateCacheMap;
    NTSTATUS FinalStatus;
    PVOID RelatedFileObject;
    BOOLEAN LockOperation, DeletePending, ReadAccess, WriteAccess, DeleteAccess;
    BOOLEAN SharedRead, SharedWrite, SharedDelete;
    ULONG Flags;
    UNICODE_STRING FileName;
    LARGE_INTEGER CurrentByteOffset;
    UCHAR Rest[0x60];
    PVOID FileObjectExtension;
} FILE_OBJECT;
_Static_assert(__builtin_offsetof(FILE_OBJECT, FileName) == 0x58, "FILE_OBJECT");
_Static_assert(sizeof(FILE_OBJECT) == 0xd8, "FILE_OBJECT");

typedef struct _DRIVER_OBJECT DRIVER_OBJECT;
typedef struct { ULONG Size, Major, Minor, Build, Platform; WCHAR ServicePack[128]; }
    RTL_OSVERSIONINFOW;
_Static_assert(sizeof(RTL_OSVERSIONINFOW) == 0x114, "RTL_OSVERSIONINFOW");
typedef struct { ULONG TitleIndex, Type, DataLength; UCHAR Data[1]; }
    KEY_VALUE_PARTIAL_INFORMATION;
typedef struct { USHORT Id; UCHAR Version, Channel, Level, Opcode; USHORT Task; ULONGLONG Keyword; }
    EVENT_DESCRIPTOR;
typedef struct { ULONGLONG Ptr; ULONG Size, Reserved; } EVENT_DATA_DESCRIPTOR;
typedef struct { ULONG Length, Flags; PVOID SiloContext; } IO_FOEXT_SILO_PARAMETERS;
typedef struct { PVOID Address; } MM_COPY_ADDRESS;

#define STATUS_SUCCESS ((NTSTATUS)0)
#define STATUS_USER_APC ((NTSTATUS)0xC0)
#define STATUS_ALERTED ((NTSTATUS)0x101)
#define STATUS_TIMEOUT ((NTSTATUS)0x102)
#define STATUS_BUFFER_OVERFLOW ((NTSTATUS)0x80000005)
#define STATUS_UNSUCCESSFUL ((NTSTATUS)0xC0000001)
#define STATUS_INVALID_INFO_CLASS ((NTSTATUS)0xC0000003)
#define STATUS_INFO_LENGTH_MISMATCH ((NTSTATUS)0xC0000004)
#define STATUS_INVALID_HANDLE ((NTSTATUS)0xC0000008)
#define STATUS_INVALID_PARAMETER ((NTSTATUS)0xC000000D)
#define STATUS_INVALID_DEVICE_REQUEST ((NTSTATUS)0xC0000010)
#define STATUS_END_OF_FILE ((NTSTATUS)0xC0000011)
#define STATUS_NO_MEMORY ((NTSTATUS)0xC0000017)
#define STATUS_INVALID_FILE_FOR_SECTION ((NTSTATUS)0xC0000020)
#define STATUS_ACCESS_DENIED ((NTSTATUS)0xC0000022)
#define STATUS_BUFFER_TOO_SMALL ((NTSTATUS)0xC0000023)
#define STATUS_OBJECT_TYPE_MISMATCH ((NTSTATUS)0xC0000024)
#define STATUS_OBJECT_NAME_INVALID ((NTSTATUS)0xC0000033)
#define STATUS_OBJECT_NAME_NOT_FOUND ((NTSTATUS)0xC0000034)
#define STATUS_OBJECT_NAME_COLLISION ((NTSTATUS)0xC0000035)
#define STATUS_PORT_DISCONNECTED ((NTSTATUS)0xC0000037)
#define STATUS_OBJECT_PATH_SYNTAX_BAD ((NTSTATUS)0xC000003B)
#define STATUS_QUOTA_EXCEEDED ((NTSTATUS)0xC0000044)
#define STATUS_THREAD_IS_TERMINATING ((NTSTATUS)0xC000004B)
#define STATUS_FILE_LOCK_CONFLICT ((NTSTATUS)0xC0000054)
#define STATUS_PRIVILEGE_NOT_HELD ((NTSTATUS)0xC0000061)
#define STATUS_INSUFFICIENT_RESOURCES ((NTSTATUS)0xC000009A)
#define STATUS_FILE_IS_A_DIRECTORY ((NTSTATUS)0xC00000BA)
#define STATUS_NOT_SUPPORTED ((NTSTATUS)0xC00000BB)
#define STATUS_NOT_SAME_DEVICE ((NTSTATUS)0xC00000D4)
#define STATUS_INVALID_PARAMETER_2 ((NTSTATUS)0xC00000F0)
#define STATUS_INVALID_PARAMETER_3 ((NTSTATUS)0xC00000F1)
#define STATUS_INVALID_PARAMETER_4 ((NTSTATUS)0xC00000F2)
#define STATUS_INVALID_PARAMETER_8 ((NTSTATUS)0xC00000F6)
#define STATUS_INVALID_PARAMETER_9 ((NTSTATUS)0xC00000F7)
#define STATUS_INVALID_CID ((NTSTATUS)0xC000000B)
#define STATUS_RETRY ((NTSTATUS)0xC000022D)
#define STATUS_NAME_TOO_LONG ((NTSTATUS)0xC0000106)
#define STATUS_CANCELLED ((NTSTATUS)0xC0000120)
#define STATUS_INVALID_BUFFER_SIZE ((NTSTATUS)0xC0000206)
#define STATUS_NOT_FOUND ((NTSTATUS)0xC0000225)
#define STATUS_HANDLE_NOT_CLOSABLE ((NTSTATUS)0xC0000235)
#define STATUS_VOLUME_DISMOUNTED ((NTSTATUS)0xC000026E)
#define STATUS_MOUNT_POINT_NOT_RESOLVED ((NTSTATUS)0xC0000368)
#define STATUS_FLT_CONTEXT_ALREADY_DEFINED ((NTSTATUS)0xC01C0002)
#define STATUS_FLT_INVALID_NAME_REQUEST ((NTSTATUS)0xC01C0005)
#define STATUS_FLT_NOT_SAFE_TO_POST_OPERATION ((NTSTATUS)0xC01C0006)
#define STATUS_FLT_DELETING_OBJECT ((NTSTATUS)0xC01C000B)
#define STATUS_FLT_DO_NOT_ATTACH ((NTSTATUS)0xC01C000F)
#define STATUS_NO_MORE_ENTRIES ((NTSTATUS)0x8000001A)
#define STATUS_MEDIA_WRITE_PROTECTED ((NTSTATUS)0xC00000A2)
#define STATUS_FLT_FILTER_NOT_READY ((NTSTATUS)0xC01C0008)
#define STATUS_FLT_INSTANCE_ALTITUDE_COLLISION ((NTSTATUS)0xC01C0011)
#define STATUS_FLT_INSTANCE_NAME_COLLISION ((NTSTATUS)0xC01C0012)
#define STATUS_FLT_INSTANCE_NOT_FOUND ((NTSTATUS)0xC01C0015)
#define STATUS_FLT_FILTER_NOT_FOUND ((NTSTATUS)0xC01C0013)
#define STATUS_FLT_VOLUME_NOT_FOUND ((NTSTATUS)0xC01C0014)
#define STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND ((NTSTATUS)0xC01C0016)
#define STATUS_FLT_NAME_CACHE_MISS ((NTSTATUS)0xC01C0018)
#define STATUS_FLT_NO_DEVICE_OBJECT ((NTSTATUS)0xC01C0019)
#define STATUS_FLT_ALREADY_ENLISTED ((NTSTATUS)0xC01C001B)
#define STATUS_FLT_CONTEXT_ALREADY_LINKED ((NTSTATUS)0xC01C001C)

#define PagedPool 1
#define NonPagedPoolNx 0x200
#define POOL_FLAG_NON_PAGED 0x40ULL
#define POOL_FLAG_PAGED 0x100ULL
#define OBJ_CASE_INSENSITIVE 0x40
#define OBJ_PROTECT_CLOSE 1
#define OBJ_KERNEL_HANDLE 0x200
#define SYNCHRONIZE 0x100000
#define OBJ_VALID_KERNEL_ATTRIBUTES 0x13FF2
#define GENERIC_READ 0x80000000u
#define SECTION_QUERY 1
#define SECTION_MAP_READ 4
#define SECTION_MAP_WRITE 2
#define PAGE_READONLY 2
#define PAGE_READWRITE 4
#define SEC_COMMIT 0x8000000
#define KEY_READ 0x20019
#define EVENT_ALL_ACCESS 0x1F0003
#define EVENT_QUERY_STATE 1
#define EVENT_MODIFY_STATE 2
#define DUPLICATE_CLOSE_SOURCE 1
#define DUPLICATE_SAME_ACCESS 2
#define PASSIVE_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#define REG_SZ 1
#define REG_DWORD 4
#define REG_MULTI_SZ 7
#define KeyValuePartialInformation 2
#define MM_COPY_MEMORY_PHYSICAL 1
#define MM_COPY_MEMORY_VIRTUAL 2

// Pool, version and routine look-up.
IMPORT PVOID ExAllocatePoolWithTag(POOL_TYPE, SIZE_T, ULONG);
IMPORT PVOID ExAllocatePool2(ULONGLONG, SIZE_T, ULONG);
IMPORT void ExFreePoolWithTag(PVOID, ULONG);
IMPORT PVOID MmGetSystemRoutineAddress(UNICODE_STRING *);
IMPORT NTSTATUS RtlGetVersion(RTL_OSVERSIONINFOW *);
IMPORT NTSTATUS RtlGUIDFromString(const UNICODE_STRING *, GUID *);
IMPORT NTSTATUS MmCopyMemory(PVOID, MM_COPY_ADDRESS, SIZE_T, ULONG, SIZE_T *);

// Events, waits, locks, rundown.
enum { NotificationEvent, SynchronizationEvent };
IMPORT void KeInitializeEvent(KEVENT *, int, BOOLEAN);
IMPORT LONG KeSetEvent(KEVENT *, LONG, BOOLEAN);
IMPORT void KeClearEvent(KEVENT *);
IMPORT LONG KeResetEvent(KEVENT *);
IMPORT NTSTATUS KeWaitForSingleObject(PVOID, int, KPROCESSOR_MODE, BOOLEAN, LARGE_INTEGER *);
IMPORT NTSTATUS KeWaitForMultipleObjects(ULONG, PVOID[], int, int, KPROCESSOR_MODE, BOOLEAN,
    LARGE_INTEGER *, PVOID);
IMPORT NTSTATUS KeDelayExecutionThread(KPROCESSOR_MODE, BOOLEAN, LARGE_INTEGER *);
IMPORT KIRQL KeAcquireSpinLockRaiseToDpc(KSPIN_LOCK *);
IMPORT void KeReleaseSpinLock(KSPIN_LOCK *, KIRQL);
IMPORT KIRQL KeGetCurrentIrql(void);
IMPORT BOOLEAN KeAreAllApcsDisabled(void);
IMPORT void KeEnterGuardedRegion(void);
IMPORT void KeLeaveGuardedRegion(void);
typedef struct { ULONGLONG Opaque[13]; } ERESOURCE;
_Static_assert(sizeof(ERESOURCE) == 0x68, "ERESOURCE");
IMPORT NTSTATUS ExInitializeResourceLite(ERESOURCE *);
IMPORT NTSTATUS ExDeleteResourceLite(ERESOURCE *);
IMPORT BOOLEAN ExAcquireResourceExclusiveLite(ERESOURCE *, BOOLEAN);
IMPORT BOOLEAN ExAcquireResourceSharedLite(ERESOURCE *, BOOLEAN);
IMPORT void ExReleaseResourceLite(ERESOURCE *);
typedef struct _MDL {
    struct _MDL *Next;
    short Size, MdlFlags;
    PVOID Process, MappedSystemVa, StartVa;
    ULONG ByteCount, ByteOffset;
} MDL;
_Static_assert(sizeof(MDL) == 0x30, "MDL");
IMPORT PVOID MmMapLockedPagesSpecifyCache(MDL *, KPROCESSOR_MODE, int, PVOID, ULONG, ULONG);
IMPORT void KeEnterCriticalRegion(void);
IMPORT void KeLeaveCriticalRegion(void);
IMPORT ULONGLONG KeQueryUnbiasedInterruptTime(void);
IMPORT void ExInitializeRundownProtection(EX_RUNDOWN_REF *);
IMPORT void ExWaitForRundownProtectionRelease(EX_RUNDOWN_REF *);
IMPORT BOOLEAN ExAcquireRundownProtection(EX_RUNDOWN_REF *);
IMPORT void ExReleaseRundownProtection(EX_RUNDOWN_REF *);

// Processes, threads, objects, handles.
typedef void THREAD_START(PVOID);
IMPORT NTSTATUS PsCreateSystemThread(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, HANDLE, PVOID,
    THREAD_START *, PVOID);
IMPORT NTSTATUS PsTerminateSystemThread(NTSTATUS);
IMPORT PVOID IoGetCurrentProcess(void);
IMPORT PVOID IoGetAttachedDeviceReference(PVOID);
IMPORT PVOID IoBuildDeviceIoControlRequest(ULONG, PVOID, PVOID, ULONG, PVOID, ULONG, BOOLEAN,
    KEVENT *, IO_STATUS_BLOCK *);
IMPORT NTSTATUS IofCallDriver(PVOID, PVOID);
IMPORT PVOID IoThreadToProcess(PVOID);
IMPORT PVOID PsGetCurrentThread(void);
IMPORT HANDLE PsGetCurrentProcessId(void);
IMPORT HANDLE PsGetCurrentThreadId(void);
IMPORT HANDLE PsGetProcessId(PVOID);
IMPORT LONGLONG PsGetProcessCreateTimeQuadPart(PVOID);
// With dllimport the name is the exported variable itself.
IMPORT PVOID PsProcessType, PsThreadType, ExEventObjectType;
IMPORT LONG_PTR ObfReferenceObject(PVOID);
IMPORT LONG_PTR ObfDereferenceObject(PVOID);
IMPORT NTSTATUS ObReferenceObjectByHandle(HANDLE, ACCESS_MASK, PVOID, KPROCESSOR_MODE, PVOID *,
    PVOID);
IMPORT NTSTATUS ObOpenObjectByPointer(PVOID, ULONG, PVOID, ACCESS_MASK, PVOID, KPROCESSOR_MODE,
    HANDLE *);
IMPORT NTSTATUS ZwDuplicateObject(HANDLE, HANDLE, HANDLE, HANDLE *, ACCESS_MASK, ULONG, ULONG);
IMPORT NTSTATUS ZwClose(HANDLE);
IMPORT NTSTATUS ZwCreateEvent(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, int, BOOLEAN);
IMPORT NTSTATUS ZwSetEvent(HANDLE, LONG *);
IMPORT NTSTATUS NtClose(HANDLE);
IMPORT NTSTATUS ZwWaitForSingleObject(HANDLE, BOOLEAN, LARGE_INTEGER *);
IMPORT NTSTATUS ObReferenceObjectByPointer(PVOID, ACCESS_MASK, PVOID, KPROCESSOR_MODE);
IMPORT void ObDereferenceObjectDeferDelete(PVOID);
IMPORT PVOID KeGetCurrentThread(void);
IMPORT LONG KeQueryPriorityThread(PVOID);
IMPORT LONG KeSetPriorityThread(PVOID, LONG);
IMPORT HANDLE PsGetThreadId(PVOID);
IMPORT BOOLEAN PsIsSystemThread(PVOID);
IMPORT BOOLEAN PsIsThreadTerminating(PVOID);
IMPORT NTSTATUS PsLookupProcessByProcessId(HANDLE, PVOID *);
IMPORT BOOLEAN MmIsAddressValid(PVOID);
IMPORT NTSTATUS ExUuidCreate(GUID *);
IMPORT ULONG RtlRandomEx(ULONG *);
IMPORT NTSTATUS ZwCreateKey(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *, ULONG, UNICODE_STRING *,
    ULONG, ULONG *);
IMPORT NTSTATUS ZwSetValueKey(HANDLE, UNICODE_STRING *, ULONG, ULONG, PVOID, ULONG);
IMPORT BOOLEAN EtwProviderEnabled(REGHANDLE, UCHAR, ULONGLONG);

// Registry, tracing, silos, stack and files.
IMPORT NTSTATUS ZwOpenKey(HANDLE *, ACCESS_MASK, OBJECT_ATTRIBUTES *);
IMPORT NTSTATUS ZwQueryValueKey(HANDLE, UNICODE_STRING *, int, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS IoOpenDriverRegistryKey(DRIVER_OBJECT *, int, ACCESS_MASK, ULONG, HANDLE *);
IMPORT NTSTATUS EtwRegister(const GUID *, PVOID, PVOID, REGHANDLE *);
IMPORT NTSTATUS EtwUnregister(REGHANDLE);
IMPORT BOOLEAN EtwEventEnabled(REGHANDLE, const EVENT_DESCRIPTOR *);
IMPORT NTSTATUS EtwWrite(REGHANDLE, const EVENT_DESCRIPTOR *, const GUID *, ULONG,
    EVENT_DATA_DESCRIPTOR *);
IMPORT IO_FOEXT_SILO_PARAMETERS *IoGetSiloParameters(const FILE_OBJECT *);
IMPORT GUID *PsGetSiloContainerId(PVOID);
IMPORT PVOID PsGetEffectiveServerSilo(PVOID);
IMPORT PVOID PsGetCurrentServerSilo(void);
IMPORT BOOLEAN PsIsHostSilo(PVOID);
IMPORT PVOID IoGetTopLevelIrp(void);
IMPORT void IoSetTopLevelIrp(PVOID);
IMPORT void IoGetStackLimits(ULONG_PTR *, ULONG_PTR *);
IMPORT ULONG FsRtlIsPagingFile(FILE_OBJECT *);
IMPORT BOOLEAN FsRtlIsDaxVolume(FILE_OBJECT *);
IMPORT ULONG MmDoesFileHaveUserWritableReferences(SECTION_OBJECT_POINTERS *);
IMPORT NTSTATUS FsRtlCreateSectionForDataScan(HANDLE *, PVOID *, LARGE_INTEGER *, FILE_OBJECT *,
    ACCESS_MASK, OBJECT_ATTRIBUTES *, LARGE_INTEGER *, ULONG, ULONG, ULONG);

// Mutexes, semaphores, levels, and further locks.
IMPORT void KeInitializeMutex(KMUTEX *, ULONG);
IMPORT LONG KeReleaseMutex(KMUTEX *, BOOLEAN);
IMPORT LONG KeReadStateMutex(KMUTEX *);
IMPORT void KeInitializeSemaphore(KSEMAPHORE *, LONG, LONG);
IMPORT LONG KeReleaseSemaphore(KSEMAPHORE *, LONG, LONG, BOOLEAN);
IMPORT LONG KeReadStateSemaphore(KSEMAPHORE *);
IMPORT LONG KeReadStateEvent(KEVENT *);
IMPORT BOOLEAN KeAreApcsDisabled(void);
typedef struct {
    SIZE_T Size;
    union { ULONG Flags; struct { ULONG FileOpenNameAvailable : 1, Reserved : 31; }; };
    HANDLE ParentProcessId;
    struct { HANDLE UniqueProcess, UniqueThread; } CreatingThreadId;
    FILE_OBJECT *FileObject;
    const UNICODE_STRING *ImageFileName, *CommandLine;
    NTSTATUS CreationStatus;
} PS_CREATE_NOTIFY_INFO;
_Static_assert(sizeof(PS_CREATE_NOTIFY_INFO) == 0x48, "PS_CREATE_NOTIFY_INFO");
IMPORT NTSTATUS PsSetCreateProcessNotifyRoutineEx(
    void (*)(PVOID, HANDLE, PS_CREATE_NOTIFY_INFO *), BOOLEAN);
IMPORT KIRQL KfRaiseIrql(KIRQL);
IMPORT void KeLowerIrql(KIRQL);
IMPORT KIRQL KeRaiseIrqlToDpcLevel(void);
IMPORT void KeInitializeSpinLock(KSPIN_LOCK *);
IMPORT void KeAcquireSpinLockAtDpcLevel(KSPIN_LOCK *);
IMPORT void KeReleaseSpinLockFromDpcLevel(KSPIN_LOCK *);
IMPORT BOOLEAN KeTestSpinLock(KSPIN_LOCK *);
IMPORT BOOLEAN KeTryToAcquireSpinLockAtDpcLevel(KSPIN_LOCK *);
IMPORT void KeAcquireInStackQueuedSpinLock(KSPIN_LOCK *, KLOCK_QUEUE_HANDLE *);
IMPORT void KeReleaseInStackQueuedSpinLock(KLOCK_QUEUE_HANDLE *);
IMPORT BOOLEAN ExAcquireRundownProtectionEx(EX_RUNDOWN_REF *, ULONG);
IMPORT void ExReleaseRundownProtectionEx(EX_RUNDOWN_REF *, ULONG);
IMPORT void ExRundownCompleted(EX_RUNDOWN_REF *);
IMPORT void ExReInitializeRundownProtection(EX_RUNDOWN_REF *);

// Strings, debug output, time, modes, and further pool calls.
IMPORT void RtlInitUnicodeString(UNICODE_STRING *, const WCHAR *);
IMPORT NTSTATUS RtlInitUnicodeStringEx(UNICODE_STRING *, const WCHAR *);
IMPORT void RtlInitAnsiString(ANSI_STRING *, const CHAR *);
IMPORT NTSTATUS RtlAnsiStringToUnicodeString(UNICODE_STRING *, ANSI_STRING *, BOOLEAN);
IMPORT void RtlFreeUnicodeString(UNICODE_STRING *);
IMPORT NTSTATUS RtlAppendUnicodeStringToString(UNICODE_STRING *, const UNICODE_STRING *);
IMPORT NTSTATUS RtlAppendUnicodeToString(UNICODE_STRING *, const WCHAR *);
IMPORT void RtlCopyUnicodeString(UNICODE_STRING *, const UNICODE_STRING *);
IMPORT NTSTATUS RtlDuplicateUnicodeString(ULONG, const UNICODE_STRING *, UNICODE_STRING *);
IMPORT LONG RtlCompareUnicodeString(const UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN);
IMPORT BOOLEAN RtlEqualUnicodeString(const UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN);
IMPORT BOOLEAN RtlPrefixUnicodeString(const UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN);
IMPORT WCHAR RtlUpcaseUnicodeChar(WCHAR);
IMPORT WCHAR RtlDowncaseUnicodeChar(WCHAR);
IMPORT NTSTATUS RtlUpcaseUnicodeString(UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN);
IMPORT NTSTATUS RtlStringFromGUID(const GUID *, UNICODE_STRING *);
IMPORT SIZE_T RtlCompareMemory(const void *, const void *, SIZE_T);
IMPORT ULONG DbgPrint(const CHAR *, ...);
IMPORT ULONG DbgPrintEx(ULONG, ULONG, const CHAR *, ...);
IMPORT void DbgBreakPoint(void);
IMPORT void KeBugCheck(ULONG);
IMPORT void KeBugCheckEx(ULONG, ULONG_PTR, ULONG_PTR, ULONG_PTR, ULONG_PTR);
IMPORT void RtlAssert(const void *, const void *, ULONG, const CHAR *);
IMPORT ULONGLONG KeQueryInterruptTimePrecise(ULONGLONG *);
IMPORT LARGE_INTEGER KeQueryPerformanceCounter(LARGE_INTEGER *);
IMPORT void KeQuerySystemTimePrecise(LARGE_INTEGER *);
IMPORT ULONG KeQueryTimeIncrement(void);
IMPORT void ExSystemTimeToLocalTime(LARGE_INTEGER *, LARGE_INTEGER *);
IMPORT KPROCESSOR_MODE ExGetPreviousMode(void);
IMPORT PVOID ExAllocatePool(POOL_TYPE, SIZE_T);
IMPORT PVOID ExAllocatePoolWithQuotaTag(POOL_TYPE, SIZE_T, ULONG);
IMPORT void ExFreePool(PVOID);
IMPORT void ExFreePool2(PVOID, ULONG, PVOID, ULONG);
