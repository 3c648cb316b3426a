// The Filter Manager's types and functions that the conformance minifilter uses.
// Written from the documentation pages named in statuses.toml.
#pragma once
#include "nt.h"

typedef struct _FLT_FILTER *PFLT_FILTER;
typedef struct _FLT_VOLUME *PFLT_VOLUME;
typedef struct _FLT_INSTANCE *PFLT_INSTANCE;
typedef struct _FLT_PORT *PFLT_PORT;
typedef struct _ECP_LIST *PECP_LIST;
typedef PVOID PFLT_CONTEXT;
typedef PVOID PFLT_WORKITEM;

typedef union {
    struct {
        PVOID SecurityContext;
        ULONG Options;
        USHORT __declspec(align(8)) FileAttributes;
        USHORT ShareAccess;
        ULONG __declspec(align(8)) EaLength;
        PVOID EaBuffer;
        LARGE_INTEGER AllocationSize;
    } Create;
    struct {
        ULONG Length;
        ULONG __declspec(align(8)) Key;
        LARGE_INTEGER ByteOffset;
        PVOID Buffer, MdlAddress;
    } Write, Read;
    struct {
        ULONG Length;
        int __declspec(align(8)) FileInformationClass;
        FILE_OBJECT *ParentOfTarget;
        union { struct { BOOLEAN ReplaceIfExists, AdvanceOnly; }; HANDLE DeleteHandle; };
        PVOID InfoBuffer;
    } SetFileInformation;
    struct {
        ULONG OutputBufferLength;
        ULONG __declspec(align(8)) InputBufferLength;
        ULONG __declspec(align(8)) FsControlCode;
        PVOID InputBuffer, OutputBuffer, OutputMdlAddress;
    } FileSystemControl;
    ULONGLONG Words[6];
} FLT_PARAMETERS;
_Static_assert(sizeof(FLT_PARAMETERS) == 0x30, "FLT_PARAMETERS");
_Static_assert(__builtin_offsetof(FLT_PARAMETERS, Create.EaLength) == 0x18, "Create");
_Static_assert(__builtin_offsetof(FLT_PARAMETERS, FileSystemControl.FsControlCode) == 0x10,
    "FileSystemControl");

typedef struct {
    ULONG IrpFlags;
    UCHAR MajorFunction, MinorFunction, OperationFlags, Reserved;
    FILE_OBJECT *TargetFileObject;
    PFLT_INSTANCE TargetInstance;
    FLT_PARAMETERS Parameters;
} FLT_IO_PARAMETER_BLOCK;
typedef struct {
    ULONG Flags;
    PVOID Thread;
    FLT_IO_PARAMETER_BLOCK *Iopb;
    IO_STATUS_BLOCK IoStatus;
    PVOID TagData, QueueLinks[2], QueueContext[2];
    KPROCESSOR_MODE RequestorMode;
} FLT_CALLBACK_DATA;
_Static_assert(sizeof(FLT_IO_PARAMETER_BLOCK) == 0x48, "FLT_IO_PARAMETER_BLOCK");
_Static_assert(sizeof(FLT_CALLBACK_DATA) == 0x58, "FLT_CALLBACK_DATA");
typedef struct {
    USHORT Size, TransactionContext;
    PFLT_FILTER Filter;
    PFLT_VOLUME Volume;
    PFLT_INSTANCE Instance;
    FILE_OBJECT *FileObject;
    PVOID Transaction;
} FLT_RELATED_OBJECTS;

typedef int FLT_PRE(FLT_CALLBACK_DATA *, const FLT_RELATED_OBJECTS *, PVOID *);
typedef int FLT_POST(FLT_CALLBACK_DATA *, const FLT_RELATED_OBJECTS *, PVOID, ULONG);
typedef struct { UCHAR Major; ULONG Flags; FLT_PRE *Pre; FLT_POST *Post; PVOID Reserved; }
    FLT_OPERATION_REGISTRATION;
typedef struct {
    USHORT ContextType, Flags;
    void (*Cleanup)(PFLT_CONTEXT, USHORT);
    SIZE_T Size;
    ULONG PoolTag;
    PVOID Allocate, Free, Reserved;
} FLT_CONTEXT_REGISTRATION;
typedef struct {
    USHORT Size, Version;
    ULONG Flags;
    const FLT_CONTEXT_REGISTRATION *Contexts;
    const FLT_OPERATION_REGISTRATION *Operations;
    NTSTATUS (*Unload)(ULONG);
    NTSTATUS (*Setup)(const FLT_RELATED_OBJECTS *, ULONG, ULONG, int);
    NTSTATUS (*QueryTeardown)(const FLT_RELATED_OBJECTS *, ULONG);
    void (*TeardownStart)(const FLT_RELATED_OBJECTS *, ULONG);
    void (*TeardownComplete)(const FLT_RELATED_OBJECTS *, ULONG);
    PVOID GenerateName, NormalizeName, NormalizeCleanup;
    NTSTATUS (*Transaction)(const FLT_RELATED_OBJECTS *, PFLT_CONTEXT, ULONG);
    PVOID NormalizeNameEx;
    NTSTATUS (*SectionConflict)(PFLT_INSTANCE, PFLT_CONTEXT, FLT_CALLBACK_DATA *);
} FLT_REGISTRATION;
_Static_assert(sizeof(FLT_REGISTRATION) == 0x70, "FLT_REGISTRATION");
typedef struct {
    USHORT Size, NamesParsed;
    ULONG Format;
    UNICODE_STRING Name, Volume, Share, Extension, Stream, FinalComponent, ParentDir;
} FLT_FILE_NAME_INFORMATION;
_Static_assert(sizeof(FLT_FILE_NAME_INFORMATION) == 0x78, "FLT_FILE_NAME_INFORMATION");
typedef struct {
    ULONG DeviceType, DeviceCharacteristics, DeviceObjectFlags, AlignmentRequirement;
    USHORT SectorSize, Flags;
    UNICODE_STRING FileSystemDriverName, FileSystemDeviceName, RealDeviceName;
} FLT_VOLUME_PROPERTIES;
_Static_assert(sizeof(FLT_VOLUME_PROPERTIES) == 0x48, "FLT_VOLUME_PROPERTIES");

#define FLT_VOLUME_CONTEXT 1
#define FLT_INSTANCE_CONTEXT 2
#define FLT_FILE_CONTEXT 4
#define FLT_STREAM_CONTEXT 8
#define FLT_STREAMHANDLE_CONTEXT 0x10
#define FLT_TRANSACTION_CONTEXT 0x20
#define FLT_SECTION_CONTEXT 0x40
#define FLT_CONTEXT_END 0xFFFF
#define FLT_SET_CONTEXT_REPLACE_IF_EXISTS 0
#define FLT_SET_CONTEXT_KEEP_IF_EXISTS 1
#define FLT_FILE_NAME_NORMALIZED 1
#define FLT_FILE_NAME_OPENED 2
#define FLT_FILE_NAME_SHORT 3
#define FLT_FILE_NAME_QUERY_DEFAULT 0x100
#define FLT_FILE_NAME_QUERY_CACHE_ONLY 0x200
#define FLT_PORT_ALL_ACCESS 0x1F0001
#define IRP_MJ_OPERATION_END 0x80

IMPORT NTSTATUS FltRegisterFilter(DRIVER_OBJECT *, const FLT_REGISTRATION *, PFLT_FILTER *);
IMPORT NTSTATUS FltStartFiltering(PFLT_FILTER);
IMPORT void FltUnregisterFilter(PFLT_FILTER);
IMPORT NTSTATUS FltObjectReference(PVOID);
IMPORT void FltObjectDereference(PVOID);
IMPORT NTSTATUS FltGetFilterFromName(const UNICODE_STRING *, PFLT_FILTER *);
IMPORT PVOID FltGetRoutineAddress(const CHAR *);

IMPORT void FltSetCallbackDataDirty(FLT_CALLBACK_DATA *);
IMPORT void FltClearCallbackDataDirty(FLT_CALLBACK_DATA *);
IMPORT BOOLEAN FltIsCallbackDataDirty(FLT_CALLBACK_DATA *);
IMPORT HANDLE FltGetRequestorProcessIdEx(FLT_CALLBACK_DATA *);
IMPORT void FltCompletePendedPreOperation(FLT_CALLBACK_DATA *, int, PVOID);
IMPORT void FltCompletePendedPostOperation(FLT_CALLBACK_DATA *);
IMPORT PVOID FltGetRequestorProcess(FLT_CALLBACK_DATA *);
IMPORT ULONG FltGetRequestorProcessId(FLT_CALLBACK_DATA *);
IMPORT BOOLEAN FltIsOperationSynchronous(FLT_CALLBACK_DATA *);
IMPORT BOOLEAN FltDoCompletionProcessingWhenSafe(FLT_CALLBACK_DATA *, const FLT_RELATED_OBJECTS *,
    PVOID, ULONG, FLT_POST *, int *);
IMPORT void FltCancelFileOpen(PFLT_INSTANCE, FILE_OBJECT *);

typedef struct { short Size; PECP_LIST ExtraCreateParameter; PVOID DeviceObjectHint, TxnParameters; }
    IO_DRIVER_CREATE_CONTEXT;
_Static_assert(sizeof(IO_DRIVER_CREATE_CONTEXT) == 0x20, "IO_DRIVER_CREATE_CONTEXT");
IMPORT NTSTATUS FltCreateFileEx2(PFLT_FILTER, PFLT_INSTANCE, HANDLE *, FILE_OBJECT **, ACCESS_MASK,
    OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *, LARGE_INTEGER *, ULONG, ULONG, ULONG, ULONG, PVOID, ULONG,
    ULONG, IO_DRIVER_CREATE_CONTEXT *);
IMPORT NTSTATUS FltClose(HANDLE);
IMPORT NTSTATUS IoReplaceFileObjectName(FILE_OBJECT *, const WCHAR *, USHORT);

IMPORT NTSTATUS FltGetEcpListFromCallbackData(PFLT_FILTER, FLT_CALLBACK_DATA *, PECP_LIST *);
IMPORT NTSTATUS FltSetEcpListIntoCallbackData(PFLT_FILTER, FLT_CALLBACK_DATA *, PECP_LIST);
IMPORT NTSTATUS FltAllocateExtraCreateParameterList(PFLT_FILTER, ULONG, PECP_LIST *);
IMPORT NTSTATUS FltAllocateExtraCreateParameter(PFLT_FILTER, const GUID *, ULONG, ULONG,
    void (*)(PVOID, const GUID *), ULONG, PVOID *);
IMPORT NTSTATUS FltInsertExtraCreateParameter(PFLT_FILTER, PECP_LIST, PVOID);
IMPORT NTSTATUS FltFindExtraCreateParameter(PFLT_FILTER, PECP_LIST, const GUID *, PVOID *, ULONG *);
IMPORT NTSTATUS FltGetNextExtraCreateParameter(PFLT_FILTER, PECP_LIST, PVOID, GUID *, PVOID *,
    ULONG *);
IMPORT NTSTATUS FltRemoveExtraCreateParameter(PFLT_FILTER, PECP_LIST, const GUID *, PVOID *,
    ULONG *);
IMPORT void FltInitExtraCreateParameterLookasideList(PFLT_FILTER, PVOID, ULONG, SIZE_T, ULONG);
IMPORT void FltDeleteExtraCreateParameterLookasideList(PFLT_FILTER, PVOID, ULONG);
IMPORT NTSTATUS FltAllocateExtraCreateParameterFromLookasideList(PFLT_FILTER, const GUID *, ULONG,
    ULONG, void (*)(PVOID, const GUID *), PVOID, PVOID *);
IMPORT void FltFreeExtraCreateParameter(PFLT_FILTER, PVOID);
IMPORT void FltFreeExtraCreateParameterList(PFLT_FILTER, PECP_LIST);
IMPORT BOOLEAN FltIsEcpAcknowledged(PFLT_FILTER, PVOID);
IMPORT BOOLEAN FltIsEcpFromUserMode(PFLT_FILTER, PVOID);
IMPORT void FltPrepareToReuseEcp(PFLT_FILTER, PVOID);
IMPORT void FltAcknowledgeEcp(PFLT_FILTER, PVOID);

IMPORT NTSTATUS FltAllocateContext(PFLT_FILTER, USHORT, SIZE_T, POOL_TYPE, PFLT_CONTEXT *);
IMPORT void FltReferenceContext(PFLT_CONTEXT);
IMPORT void FltReleaseContext(PFLT_CONTEXT);
IMPORT void FltDeleteContext(PFLT_CONTEXT);
IMPORT NTSTATUS FltSetStreamContext(PFLT_INSTANCE, FILE_OBJECT *, int, PFLT_CONTEXT,
    PFLT_CONTEXT *);
IMPORT NTSTATUS FltGetStreamContext(PFLT_INSTANCE, FILE_OBJECT *, PFLT_CONTEXT *);
IMPORT NTSTATUS FltDeleteStreamContext(PFLT_INSTANCE, FILE_OBJECT *, PFLT_CONTEXT *);
IMPORT NTSTATUS FltSetStreamHandleContext(PFLT_INSTANCE, FILE_OBJECT *, int, PFLT_CONTEXT,
    PFLT_CONTEXT *);
IMPORT NTSTATUS FltGetStreamHandleContext(PFLT_INSTANCE, FILE_OBJECT *, PFLT_CONTEXT *);
IMPORT NTSTATUS FltDeleteStreamHandleContext(PFLT_INSTANCE, FILE_OBJECT *, PFLT_CONTEXT *);
IMPORT NTSTATUS FltSetFileContext(PFLT_INSTANCE, FILE_OBJECT *, int, PFLT_CONTEXT, PFLT_CONTEXT *);
IMPORT NTSTATUS FltGetFileContext(PFLT_INSTANCE, FILE_OBJECT *, PFLT_CONTEXT *);
IMPORT NTSTATUS FltDeleteFileContext(PFLT_INSTANCE, FILE_OBJECT *, PFLT_CONTEXT *);
IMPORT void FltGetContexts(const FLT_RELATED_OBJECTS *, USHORT, PVOID);
IMPORT void FltReleaseContexts(PVOID);
IMPORT BOOLEAN FltSupportsFileContexts(FILE_OBJECT *);
IMPORT NTSTATUS FltSetInstanceContext(PFLT_INSTANCE, int, PFLT_CONTEXT, PFLT_CONTEXT *);
IMPORT NTSTATUS FltGetInstanceContext(PFLT_INSTANCE, PFLT_CONTEXT *);
IMPORT NTSTATUS FltDeleteInstanceContext(PFLT_INSTANCE, PFLT_CONTEXT *);
IMPORT NTSTATUS FltSetVolumeContext(PFLT_VOLUME, int, PFLT_CONTEXT, PFLT_CONTEXT *);
IMPORT NTSTATUS FltGetVolumeContext(PFLT_FILTER, PFLT_VOLUME, PFLT_CONTEXT *);
IMPORT NTSTATUS FltDeleteVolumeContext(PFLT_FILTER, PFLT_VOLUME, PFLT_CONTEXT *);
IMPORT NTSTATUS FltSetTransactionContext(PFLT_INSTANCE, PVOID, int, PFLT_CONTEXT, PFLT_CONTEXT *);
IMPORT NTSTATUS FltGetTransactionContext(PFLT_INSTANCE, PVOID, PFLT_CONTEXT *);
IMPORT NTSTATUS FltEnlistInTransaction(PFLT_INSTANCE, PVOID, PFLT_CONTEXT, ULONG);
IMPORT NTSTATUS FltDeleteTransactionContext(PFLT_INSTANCE, PVOID, PFLT_CONTEXT *);
IMPORT NTSTATUS FltCommitComplete(PFLT_INSTANCE, PVOID, PFLT_CONTEXT);
IMPORT NTSTATUS FltRollbackComplete(PFLT_INSTANCE, PVOID, PFLT_CONTEXT);
IMPORT BOOLEAN FltSupportsStreamContexts(FILE_OBJECT *);
IMPORT BOOLEAN FltSupportsStreamHandleContexts(FILE_OBJECT *);

IMPORT NTSTATUS FltGetFileNameInformation(FLT_CALLBACK_DATA *, ULONG,
    FLT_FILE_NAME_INFORMATION **);
IMPORT NTSTATUS FltGetFileNameInformationUnsafe(FILE_OBJECT *, PFLT_INSTANCE, ULONG,
    FLT_FILE_NAME_INFORMATION **);
IMPORT NTSTATUS FltParseFileNameInformation(FLT_FILE_NAME_INFORMATION *);
IMPORT void FltReferenceFileNameInformation(FLT_FILE_NAME_INFORMATION *);
IMPORT void FltReleaseFileNameInformation(FLT_FILE_NAME_INFORMATION *);
IMPORT NTSTATUS FltGetDestinationFileNameInformation(PFLT_INSTANCE, FILE_OBJECT *, HANDLE, WCHAR *,
    ULONG, ULONG, FLT_FILE_NAME_INFORMATION **);
IMPORT NTSTATUS FltGetTunneledName(FLT_CALLBACK_DATA *, FLT_FILE_NAME_INFORMATION *,
    FLT_FILE_NAME_INFORMATION **);
IMPORT NTSTATUS FltQueryInformationFile(PFLT_INSTANCE, FILE_OBJECT *, PVOID, ULONG, int, ULONG *);
IMPORT NTSTATUS FltIsDirectory(FILE_OBJECT *, PFLT_INSTANCE, BOOLEAN *);
IMPORT NTSTATUS FltReadFile(PFLT_INSTANCE, FILE_OBJECT *, LARGE_INTEGER *, ULONG, PVOID, ULONG,
    ULONG *, PVOID, PVOID);
IMPORT NTSTATUS FltWriteFile(PFLT_INSTANCE, FILE_OBJECT *, LARGE_INTEGER *, ULONG, PVOID, ULONG,
    ULONG *, PVOID, PVOID);
IMPORT NTSTATUS FltSetInformationFile(PFLT_INSTANCE, FILE_OBJECT *, PVOID, ULONG, int);
IMPORT NTSTATUS FltFlushBuffers(PFLT_INSTANCE, FILE_OBJECT *);
IMPORT NTSTATUS FltFsControlFile(PFLT_INSTANCE, FILE_OBJECT *, ULONG, PVOID, ULONG, PVOID, ULONG,
    ULONG *);
IMPORT NTSTATUS FltGetVolumeGuidName(PFLT_VOLUME, UNICODE_STRING *, ULONG *);
IMPORT NTSTATUS FltGetVolumeProperties(PFLT_VOLUME, FLT_VOLUME_PROPERTIES *, ULONG, ULONG *);
IMPORT NTSTATUS FltGetFileSystemType(PVOID, int *);
IMPORT NTSTATUS FltQueryVolumeInformation(PFLT_INSTANCE, IO_STATUS_BLOCK *, PVOID, ULONG, int);
IMPORT NTSTATUS FltIsVolumeWritable(PVOID, BOOLEAN *);
IMPORT NTSTATUS FltIsVolumeSnapshot(PVOID, BOOLEAN *);
IMPORT NTSTATUS FltGetVolumeFromInstance(PFLT_INSTANCE, PFLT_VOLUME *);
IMPORT NTSTATUS FltGetVolumeFromFileObject(PFLT_FILTER, FILE_OBJECT *, PFLT_VOLUME *);
IMPORT NTSTATUS FltEnumerateInstances(PFLT_VOLUME, PFLT_FILTER, PFLT_INSTANCE *, ULONG, ULONG *);

IMPORT NTSTATUS FltAttachVolume(PFLT_FILTER, PFLT_VOLUME, const UNICODE_STRING *, PFLT_INSTANCE *);
IMPORT NTSTATUS FltAttachVolumeAtAltitude(PFLT_FILTER, PFLT_VOLUME, const UNICODE_STRING *,
    const UNICODE_STRING *, PFLT_INSTANCE *);
IMPORT NTSTATUS FltDetachVolume(PFLT_FILTER, PFLT_VOLUME, const UNICODE_STRING *);
IMPORT NTSTATUS FltGetFilterFromInstance(PFLT_INSTANCE, PFLT_FILTER *);
IMPORT NTSTATUS FltGetVolumeInstanceFromName(PFLT_FILTER, PFLT_VOLUME, const UNICODE_STRING *,
    PFLT_INSTANCE *);
IMPORT NTSTATUS FltGetUpperInstance(PFLT_INSTANCE, PFLT_INSTANCE *);
IMPORT NTSTATUS FltGetLowerInstance(PFLT_INSTANCE, PFLT_INSTANCE *);
IMPORT NTSTATUS FltGetTopInstance(PFLT_VOLUME, PFLT_INSTANCE *);
IMPORT NTSTATUS FltGetBottomInstance(PFLT_VOLUME, PFLT_INSTANCE *);
IMPORT LONG FltCompareInstanceAltitudes(PFLT_INSTANCE, PFLT_INSTANCE);
IMPORT NTSTATUS FltEnumerateVolumes(PFLT_FILTER, PFLT_VOLUME *, ULONG, ULONG *);
IMPORT NTSTATUS FltGetVolumeName(PFLT_VOLUME, UNICODE_STRING *, ULONG *);
IMPORT NTSTATUS FltGetVolumeFromName(PFLT_FILTER, const UNICODE_STRING *, PFLT_VOLUME *);
IMPORT NTSTATUS FltGetDeviceObject(PFLT_VOLUME, PVOID *);
IMPORT NTSTATUS FltGetDiskDeviceObject(PFLT_VOLUME, PVOID *);
IMPORT NTSTATUS FltGetVolumeFromDeviceObject(PFLT_FILTER, PVOID, PFLT_VOLUME *);

IMPORT NTSTATUS FltBuildDefaultSecurityDescriptor(PVOID *, ACCESS_MASK);
IMPORT void FltFreeSecurityDescriptor(PVOID);
IMPORT NTSTATUS FltCreateCommunicationPort(PFLT_FILTER, PFLT_PORT *, OBJECT_ATTRIBUTES *, PVOID,
    NTSTATUS (*)(PFLT_PORT, PVOID, PVOID, ULONG, PVOID *), void (*)(PVOID),
    NTSTATUS (*)(PVOID, PVOID, ULONG, PVOID, ULONG, ULONG *), LONG);
IMPORT void FltCloseCommunicationPort(PFLT_PORT);
IMPORT void FltCloseClientPort(PFLT_FILTER, PFLT_PORT *);
IMPORT NTSTATUS FltSendMessage(PFLT_FILTER, PFLT_PORT *, PVOID, ULONG, PVOID, ULONG *,
    LARGE_INTEGER *);

IMPORT NTSTATUS FltRegisterForDataScan(PFLT_INSTANCE);
IMPORT NTSTATUS FltCreateSectionForDataScan(PFLT_INSTANCE, FILE_OBJECT *, PFLT_CONTEXT, ACCESS_MASK,
    OBJECT_ATTRIBUTES *, LARGE_INTEGER *, ULONG, ULONG, ULONG, HANDLE *, PVOID *, LARGE_INTEGER *);
IMPORT NTSTATUS FltCloseSectionForDataScan(PFLT_CONTEXT);
IMPORT NTSTATUS FltGetSectionContext(PFLT_INSTANCE, FILE_OBJECT *, PFLT_CONTEXT *);

IMPORT NTSTATUS FltCancellableWaitForSingleObject(PVOID, LARGE_INTEGER *, FLT_CALLBACK_DATA *);
IMPORT void FltInitializePushLock(EX_PUSH_LOCK *);
IMPORT void FltDeletePushLock(EX_PUSH_LOCK *);
IMPORT void FltAcquirePushLockExclusive(EX_PUSH_LOCK *);
IMPORT void FltAcquirePushLockShared(EX_PUSH_LOCK *);
IMPORT void FltReleasePushLock(EX_PUSH_LOCK *);
IMPORT PFLT_WORKITEM FltAllocateGenericWorkItem(void);
IMPORT void FltFreeGenericWorkItem(PFLT_WORKITEM);
IMPORT NTSTATUS FltQueueGenericWorkItem(PFLT_WORKITEM, PVOID, void (*)(PFLT_WORKITEM, PVOID, PVOID),
    int, PVOID);
IMPORT PFLT_WORKITEM FltAllocateDeferredIoWorkItem(void);
IMPORT void FltFreeDeferredIoWorkItem(PFLT_WORKITEM);
IMPORT NTSTATUS FltQueueDeferredIoWorkItem(PFLT_WORKITEM, FLT_CALLBACK_DATA *,
    void (*)(PFLT_WORKITEM, FLT_CALLBACK_DATA *, PVOID), int, PVOID);
IMPORT NTSTATUS FltVetoBypassIo(FLT_CALLBACK_DATA *, const FLT_RELATED_OBJECTS *, NTSTATUS,
    const UNICODE_STRING *);
IMPORT NTSTATUS FltRequestFileInfoOnCreateCompletion(PFLT_FILTER, FLT_CALLBACK_DATA *, ULONG);
IMPORT NTSTATUS FltRetrieveFileInfoOnCreateCompletionEx(PFLT_FILTER, FLT_CALLBACK_DATA *, ULONG,
    ULONG *, PVOID *);
IMPORT void FltAcquireResourceExclusive(ERESOURCE *);
IMPORT void FltAcquireResourceShared(ERESOURCE *);
IMPORT void FltReleaseResource(ERESOURCE *);
IMPORT PVOID FltAllocatePoolAlignedWithTag(PFLT_INSTANCE, POOL_TYPE, SIZE_T, ULONG);
IMPORT void FltFreePoolAlignedWithTag(PFLT_INSTANCE, PVOID, ULONG);
IMPORT const CHAR *FltGetIrpName(UCHAR);
IMPORT NTSTATUS FltRequestOperationStatusCallback(FLT_CALLBACK_DATA *,
    void (*)(const FLT_RELATED_OBJECTS *, FLT_IO_PARAMETER_BLOCK *, NTSTATUS, PVOID), PVOID);
