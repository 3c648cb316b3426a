/* Structures as Microsoft's documentation pages print them, retyped: the second source of their
 * layout beside Wine's and mingw's headers, and for some the only one (docs/layouts.md). Every
 * page is under https://learn.microsoft.com/en-us/windows-hardware/drivers/; where a page and the
 * known header differ, a comment tells. */
#pragma once
#include <stddef.h>

typedef void *P;
typedef unsigned char UCHAR, BOOLEAN;
typedef char KPROCESSOR_MODE;
typedef unsigned short USHORT;
typedef short SHORT;
typedef unsigned int ULONG;
typedef int LONG;
typedef unsigned long long ULONGLONG, SIZE_T, ULONG_PTR;
typedef long long LARGE_INTEGER;
typedef USHORT WCHAR;
typedef struct { ULONG Data1; USHORT Data2, Data3; UCHAR Data4[8]; } GUID;
typedef struct { UCHAR Identifier[16]; } FILE_ID_128;
typedef struct { USHORT Length, MaximumLength; P Buffer; } UNICODE_STRING;
typedef struct { P Flink, Blink; } LIST_ENTRY;
/* wdm.h: on 64-bit systems the word before a pointer is aligned like one. */
#define POINTER_ALIGNMENT __declspec(align(8))

/* ddi/wdm/ns-wdm-_io_status_block */
typedef struct { union { LONG Status; P Pointer; }; ULONG_PTR Information; } IO_STATUS_BLOCK;

/* ddi/wdm/ns-wdm-_io_security_context */
typedef struct { P SecurityQos, AccessState; ULONG DesiredAccess, FullCreateOptions; }
IO_SECURITY_CONTEXT;

/* ddi/fltkernel/ns-fltkernel-_flt_registration */
typedef struct {
    USHORT Size, Version;
    ULONG Flags;
    P ContextRegistration, OperationRegistration;
    P FilterUnloadCallback, InstanceSetupCallback, InstanceQueryTeardownCallback;
    P InstanceTeardownStartCallback, InstanceTeardownCompleteCallback;
    P GenerateFileNameCallback, NormalizeNameComponentCallback, NormalizeContextCleanupCallback;
    P TransactionNotificationCallback, NormalizeNameComponentExCallback;
    P SectionNotificationCallback;
} FLT_REGISTRATION;

/* ddi/fltkernel/ns-fltkernel-_flt_operation_registration */
typedef struct {
    UCHAR MajorFunction;
    ULONG Flags;
    P PreOperation, PostOperation, Reserved1;
} FLT_OPERATION_REGISTRATION;

/* ddi/fltkernel/ns-fltkernel-_flt_context_registration */
typedef struct {
    USHORT ContextType;
    USHORT Flags;
    P ContextCleanupCallback;
    SIZE_T Size;
    ULONG PoolTag;
    P ContextAllocateCallback, ContextFreeCallback, Reserved1;
} FLT_CONTEXT_REGISTRATION;

/* ddi/fltkernel/ns-fltkernel-_flt_related_objects */
typedef struct {
    USHORT Size, TransactionContext;
    P Filter, Volume, Instance, FileObject, Transaction;
} FLT_RELATED_OBJECTS;

/* ifs/flt-parameters-for-irp-mj-create and the pages beside it, one for each operation */
typedef union {
    struct {
        P SecurityContext;
        ULONG Options;
        POINTER_ALIGNMENT USHORT FileAttributes;
        USHORT ShareAccess;
        /* The page prints USHORT, the header ULONG. */
        POINTER_ALIGNMENT ULONG EaLength;
        P EaBuffer;
        LARGE_INTEGER AllocationSize;
    } Create;
    struct {
        ULONG Length;
        POINTER_ALIGNMENT ULONG Key;
        LARGE_INTEGER ByteOffset;
        P ReadBuffer, MdlAddress;
    } Read;
    struct {
        ULONG Length;
        POINTER_ALIGNMENT ULONG Key;
        LARGE_INTEGER ByteOffset;
        P WriteBuffer, MdlAddress;
    } Write;
    struct {
        ULONG Length;
        POINTER_ALIGNMENT int FileInformationClass;
        P InfoBuffer;
    } QueryFileInformation;
    struct {
        ULONG Length;
        POINTER_ALIGNMENT int FileInformationClass;
        P ParentOfTarget;
        union {
            struct { BOOLEAN ReplaceIfExists, AdvanceOnly; };
            ULONG ClusterCount;
            P DeleteHandle;
        };
        P InfoBuffer;
    } SetFileInformation;
    struct {
        struct {
            ULONG Length;
            P FileName;
            int FileInformationClass;
            POINTER_ALIGNMENT ULONG FileIndex;
            P DirectoryBuffer, MdlAddress;
        } QueryDirectory;
    } DirectoryControl;
    struct {
        struct {
            ULONG OutputBufferLength;
            POINTER_ALIGNMENT ULONG InputBufferLength;
            POINTER_ALIGNMENT ULONG FsControlCode;
            P InputBuffer, OutputBuffer, OutputMdlAddress;
        } Neither;
    } FileSystemControl;
    struct {
        P Length;
        POINTER_ALIGNMENT ULONG Key;
        LARGE_INTEGER ByteOffset;
        P ProcessId;
        BOOLEAN FailImmediately, ExclusiveLock;
    } LockControl;
    struct {
        /* The page prints POINTER_ALIGNMENT on PageProtection, the header does not. */
        int SyncType;
        ULONG PageProtection;
        P OutputInformation;
    } AcquireForSectionSynchronization;
    struct {
        LARGE_INTEGER FileOffset;
        POINTER_ALIGNMENT ULONG Length;
        POINTER_ALIGNMENT ULONG Key;
        P MdlChain;
    } MdlRead;
    struct {
        ULONG SecurityInformation;
        POINTER_ALIGNMENT ULONG Length;
        P SecurityBuffer, MdlAddress;
    } QuerySecurity;
    struct { P Argument1, Argument2, Argument3, Argument4, Argument5; LARGE_INTEGER Argument6; }
        Others;
} FLT_PARAMETERS;

/* ddi/fltkernel/ns-fltkernel-_flt_io_parameter_block */
typedef struct {
    ULONG IrpFlags;
    UCHAR MajorFunction, MinorFunction, OperationFlags, Reserved;
    P TargetFileObject, TargetInstance;
    FLT_PARAMETERS Parameters;
} FLT_IO_PARAMETER_BLOCK;

/* ddi/fltkernel/ns-fltkernel-_flt_callback_data */
typedef struct {
    ULONG Flags;
    P Thread, Iopb;
    IO_STATUS_BLOCK IoStatus;
    P TagData;
    union {
        struct { LIST_ENTRY QueueLinks; P QueueContext[2]; };
        P FilterContext[4];
    };
    KPROCESSOR_MODE RequestorMode;
} FLT_CALLBACK_DATA;

/* ddi/fltkernel/ns-fltkernel-_flt_tag_data_buffer: the fixed part and the first bytes */
typedef struct {
    ULONG FileTag;
    USHORT TagDataLength, UnparsedNameLength;
    UCHAR Data[8];
} FLT_TAG_DATA_BUFFER;

/* ddi/fltkernel/ns-fltkernel-_flt_file_name_information */
typedef struct {
    USHORT Size, NamesParsed;
    ULONG Format;
    UNICODE_STRING Name, Volume, Share, Extension, Stream, FinalComponent, ParentDir;
} FLT_FILE_NAME_INFORMATION;

/* ddi/fltkernel/ns-fltkernel-_flt_volume_properties */
typedef struct {
    ULONG DeviceType, DeviceCharacteristics, DeviceObjectFlags, AlignmentRequirement;
    USHORT SectorSize, Reserved0;
    UNICODE_STRING FileSystemDriverName, FileSystemDeviceName, RealDeviceName;
} FLT_VOLUME_PROPERTIES;

/* ddi/ntifs/ns-ntifs-create_redirection_ecp_context */
typedef struct {
    USHORT Size, Flags;
    FILE_ID_128 FileId;
    GUID VolumeGuid;
} CREATE_REDIRECTION_ECP_CONTEXT;

/* ddi/ntddk/ns-ntddk-_io_foext_silo_parameters */
typedef struct {
    ULONG Length;
    union { struct { ULONG HasHardReference : 1, SpareFlags : 31; }; ULONG Flags; };
    P SiloContext;
} IO_FOEXT_SILO_PARAMETERS;

/* ddi/ntifs/ns-ntifs-_file_id_information */
typedef struct { ULONGLONG VolumeSerialNumber; FILE_ID_128 FileId; } FILE_ID_INFORMATION;

/* ddi/ntifs/ns-ntifs-_file_fs_attribute_information */
typedef struct {
    ULONG FileSystemAttributes;
    LONG MaximumComponentNameLength;
    ULONG FileSystemNameLength;
    WCHAR FileSystemName[1];
} FILE_FS_ATTRIBUTE_INFORMATION;

/* ddi/wdm/ns-wdm-_key_value_partial_information */
typedef struct { ULONG TitleIndex, Type, DataLength; UCHAR Data[1]; }
KEY_VALUE_PARTIAL_INFORMATION;

/* windows/win32/api/evntprov/ns-evntprov-event_descriptor and …-event_data_descriptor */
typedef struct {
    USHORT Id;
    UCHAR Version, Channel, Level, Opcode;
    USHORT Task;
    ULONGLONG Keyword;
} EVENT_DESCRIPTOR;
typedef struct { ULONGLONG Ptr; ULONG Size, Reserved; } EVENT_DATA_DESCRIPTOR;

/* ddi/wdm/ns-wdm-_osversioninfow */
typedef struct {
    ULONG dwOSVersionInfoSize, dwMajorVersion, dwMinorVersion, dwBuildNumber, dwPlatformId;
    WCHAR szCSDVersion[128];
} OSVERSIONINFOW;

/* ddi/wdm/ns-wdm-_file_object; KEVENT and the spin lock are as wide as their pages say */
typedef struct { UCHAR Header[8]; LIST_ENTRY WaitListHead; } KEVENT;
typedef struct {
    SHORT Type, Size;
    P DeviceObject, Vpb, FsContext, FsContext2, SectionObjectPointer, PrivateCacheMap;
    LONG FinalStatus;
    P RelatedFileObject;
    BOOLEAN LockOperation, DeletePending, ReadAccess, WriteAccess, DeleteAccess;
    BOOLEAN SharedRead, SharedWrite, SharedDelete;
    ULONG Flags;
    UNICODE_STRING FileName;
    LARGE_INTEGER CurrentByteOffset;
    ULONG Waiters, Busy;
    P LastLock;
    KEVENT Lock, Event;
    P CompletionContext;
    ULONG_PTR IrpListLock;
    LIST_ENTRY IrpList;
    P FileObjectExtension;
} FILE_OBJECT;

/* ddi/ntddk/ns-ntddk-_file_fs_device_information (wdm) and, in ntifs,
 * ns-ntifs-_file_fs_volume_information, …_size_information, …_full_size_information */
typedef struct { ULONG DeviceType, Characteristics; } FILE_FS_DEVICE_INFORMATION;
typedef struct {
    LARGE_INTEGER VolumeCreationTime;
    ULONG VolumeSerialNumber, VolumeLabelLength;
    BOOLEAN SupportsObjects;
    WCHAR VolumeLabel[1];
} FILE_FS_VOLUME_INFORMATION;
typedef struct {
    LARGE_INTEGER TotalAllocationUnits, AvailableAllocationUnits;
    ULONG SectorsPerAllocationUnit, BytesPerSector;
} FILE_FS_SIZE_INFORMATION;
typedef struct {
    LARGE_INTEGER TotalAllocationUnits, CallerAvailableAllocationUnits;
    LARGE_INTEGER ActualAvailableAllocationUnits;
    ULONG SectorsPerAllocationUnit, BytesPerSector;
} FILE_FS_FULL_SIZE_INFORMATION;

/* ddi/ntddk/ns-ntddk-_ps_create_notify_info */
typedef struct {
    ULONG_PTR Size;
    union { ULONG Flags; struct { ULONG FileOpenNameAvailable : 1, Reserved : 31; }; };
    P ParentProcessId;
    struct { P UniqueProcess, UniqueThread; } CreatingThreadId;
    FILE_OBJECT *FileObject;
    const UNICODE_STRING *ImageFileName, *CommandLine;
    LONG CreationStatus;
} PS_CREATE_NOTIFY_INFO;

/* kernel/ "Eresource, push locks, run-down protection": opaque, one pointer wide */
typedef struct { ULONG_PTR Count; } EX_RUNDOWN_REF;
typedef ULONG_PTR EX_PUSH_LOCK;
