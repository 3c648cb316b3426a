// What a minifilter asks about files: names, information, bytes, requestor, dirty data.
// The pages are fltkernel's, one for each function named in the cases.
#include "harness.h"

typedef struct { LARGE_INTEGER Allocation, End; ULONG Links; BOOLEAN Pending, Directory; } STANDARD;
typedef struct { ULONGLONG Serial; UCHAR Id[16]; } ID;
#define FileStandardInformation 5
#define FileIdInformation 0x3b
#define QUERY_FILESYSTEM_ONLY 0x300

static BOOLEAN ends_with(const UNICODE_STRING *whole, const WCHAR *tail)
{
    UNICODE_STRING end = text(tail);
    if (whole->Length < end.Length) return FALSE;
    return same((UCHAR *)whole->Buffer + whole->Length - end.Length, end.Buffer, end.Length);
}
static BOOLEAN equals(const UNICODE_STRING *whole, const WCHAR *other)
{
    return whole->Length == text(other).Length && ends_with(whole, other);
}

// The test program opens \conform\file.txt unless the situation says otherwise.
static ULONG name_of(INPUT *in, ULONG options)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(FltGetFileNameInformation(in->Data, options, &name), STATUS_SUCCESS);
    CHECK(name != NULL && ends_with(&name->Name, L"\\conform\\file.txt"));
    CHECK(name->Volume.Length > 0 && name->Volume.Length < name->Name.Length);
    FltReleaseFileNameInformation(name);
    return 0;
}
CASE(post_create, FltGetFileNameInformation, STATUS_SUCCESS)
{
    ULONG line = name_of(in, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT);
    return line ? line : name_of(in, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT);
}
CASE(pre_create, FltGetFileNameInformation, PRE_CREATE_SUCCESS)
{
    return name_of(in, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT);
}
static ULONG no_name(INPUT *in, ULONG options, NTSTATUS wanted)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(FltGetFileNameInformation(in->Data, options, &name), wanted);
    return 0;
}
CASE(pre_create, FltGetFileNameInformation, STATUS_FLT_INVALID_NAME_REQUEST)
{
    // The short name cannot be had before the create.
    return no_name(in, FLT_FILE_NAME_SHORT | FLT_FILE_NAME_QUERY_DEFAULT,
        STATUS_FLT_INVALID_NAME_REQUEST);
}
CASE(post_create, FltGetFileNameInformation, TOP_LEVEL_INVALID_NAME_REQUEST)
{
    IoSetTopLevelIrp((PVOID)1);
    ULONG line = no_name(in, FLT_FILE_NAME_NORMALIZED | QUERY_FILESYSTEM_ONLY,
        STATUS_FLT_INVALID_NAME_REQUEST);
    IoSetTopLevelIrp(NULL);
    return line;
}
CASE(post_create, FltGetFileNameInformation, APCS_OFF_INVALID_NAME_REQUEST)
{
    KeEnterGuardedRegion();
    ULONG line = no_name(in, FLT_FILE_NAME_NORMALIZED | QUERY_FILESYSTEM_ONLY,
        STATUS_FLT_INVALID_NAME_REQUEST);
    KeLeaveGuardedRegion();
    return line;
}
CASE(pre_close, FltGetFileNameInformation, CLOSING_INVALID_NAME_REQUEST)
{
    return no_name(in, FLT_FILE_NAME_NORMALIZED | QUERY_FILESYSTEM_ONLY,
        STATUS_FLT_INVALID_NAME_REQUEST);
}
CASE(fault_post_create, FltGetFileNameInformation, STATUS_INSUFFICIENT_RESOURCES)
{
    return no_name(in, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT,
        STATUS_INSUFFICIENT_RESOURCES);
}
CASE(post_create, FltGetFileNameInformation, STATUS_INVALID_PARAMETER)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(FltGetFileNameInformation(NULL, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT,
        &name), STATUS_INVALID_PARAMETER);
    EXPECT(FltGetFileNameInformation(in->Data,
        FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, NULL), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(pre_create, FltGetFileNameInformation, STATUS_FLT_NAME_CACHE_MISS)
{
    return no_name(in, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_CACHE_ONLY,
        STATUS_FLT_NAME_CACHE_MISS);
}
CASE(post_create, FltGetFileNameInformationUnsafe, STATUS_SUCCESS)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(FltGetFileNameInformationUnsafe(in->File, in->Instance,
        FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name), STATUS_SUCCESS);
    CHECK(ends_with(&name->Name, L"\\conform\\file.txt"));
    FltReleaseFileNameInformation(name);
    return 0;
}
CASE(pre_create, FltGetFileNameInformationUnsafe, STATUS_FLT_INVALID_NAME_REQUEST)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(FltGetFileNameInformationUnsafe(in->File, in->Instance,
        FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name),
        STATUS_FLT_INVALID_NAME_REQUEST);
    return 0;
}
CASE(post_create, FltGetFileNameInformationUnsafe, STATUS_INVALID_PARAMETER)
{
    EXPECT(FltGetFileNameInformationUnsafe(in->File, in->Instance,
        FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, NULL), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(stream_post_create, FltParseFileNameInformation, STATUS_SUCCESS)
{
    // The situation opens \conform\file.txt:more.
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(FltGetFileNameInformation(in->Data,
        FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name), STATUS_SUCCESS);
    EXPECT(FltParseFileNameInformation(name), STATUS_SUCCESS);
    CHECK(equals(&name->FinalComponent, L"file.txt:more")
        || equals(&name->FinalComponent, L"file.txt"));
    CHECK(equals(&name->Extension, L"txt"));
    CHECK(equals(&name->Stream, L":more"));
    CHECK(equals(&name->ParentDir, L"\\conform\\"));
    CHECK(name->NamesParsed != 0);
    FltReleaseFileNameInformation(name);
    return 0;
}
CASE(post_create, FltReferenceFileNameInformation, VOID)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(FltGetFileNameInformation(in->Data,
        FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name), STATUS_SUCCESS);
    FltReferenceFileNameInformation(name);
    FltReleaseFileNameInformation(name);
    // One reference is left, so the name can still be read.
    BOOLEAN right = ends_with(&name->Name, L"\\conform\\file.txt");
    FltReleaseFileNameInformation(name);
    CHECK(right);
    return 0;
}
CASE(post_create, FltReleaseFileNameInformation, VOID)
{
    // What is not released is a leak that unload reports.
    return name_of(in, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT);
}

static NTSTATUS destination(INPUT *in, ULONG options, FLT_FILE_NAME_INFORMATION **out)
{
    static WCHAR to[] = L"other.txt";
    UNICODE_STRING name = text(to);
    return FltGetDestinationFileNameInformation(in->Instance, in->File, NULL, name.Buffer,
        name.Length, options, out);
}
CASE(post_create, FltGetDestinationFileNameInformation, STATUS_SUCCESS)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(destination(in, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name),
        STATUS_SUCCESS);
    CHECK(ends_with(&name->Name, L"\\conform\\other.txt"));
    FltReleaseFileNameInformation(name);
    return 0;
}
CASE(post_create, FltGetDestinationFileNameInformation, STATUS_FLT_INVALID_NAME_REQUEST)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(destination(in, FLT_FILE_NAME_SHORT | FLT_FILE_NAME_QUERY_DEFAULT, &name),
        STATUS_FLT_INVALID_NAME_REQUEST);
    IoSetTopLevelIrp((PVOID)1);
    NTSTATUS got = destination(in, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name);
    IoSetTopLevelIrp(NULL);
    EXPECT(got, STATUS_FLT_INVALID_NAME_REQUEST);
    return 0;
}
CASE(fault_post_create, FltGetDestinationFileNameInformation, STATUS_INSUFFICIENT_RESOURCES)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(destination(in, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name),
        STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(post_create, FltGetDestinationFileNameInformation, STATUS_INVALID_PARAMETER)
{
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(destination(in, 0x7F7F, &name), STATUS_INVALID_PARAMETER);
    return 0;
}

CASE(post_create, FltGetDestinationFileNameInformation, STATUS_MOUNT_POINT_NOT_RESOLVED)
{
    static WCHAR to[] = L"\\Device\\HarddiskVolume4711\\conform\\other.txt";
    UNICODE_STRING full = text(to);
    FLT_FILE_NAME_INFORMATION *name = NULL;
    EXPECT(FltGetDestinationFileNameInformation(in->Instance, in->File, NULL, full.Buffer,
        full.Length, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name),
        STATUS_MOUNT_POINT_NOT_RESOLVED);
    return 0;
}

CASE(post_create, FltQueryInformationFile, STATUS_SUCCESS)
{
    STANDARD standard = { 0 };
    ULONG size = 0;
    EXPECT(FltQueryInformationFile(in->Instance, in->File, &standard, sizeof(standard),
        FileStandardInformation, &size), STATUS_SUCCESS);
    CHECK(size == sizeof(standard) && standard.End.QuadPart == 11);
    CHECK(standard.Directory == FALSE && standard.Links == 1 && standard.Pending == FALSE);
    ID id = { 0 };
    static const UCHAR zero[16];
    EXPECT(FltQueryInformationFile(in->Instance, in->File, &id, sizeof(id), FileIdInformation,
        NULL), STATUS_SUCCESS);
    CHECK(!same(id.Id, zero, 16));
    return 0;
}
CASE(dismount, FltQueryInformationFile, STATUS_VOLUME_DISMOUNTED)
{
    STANDARD standard;
    EXPECT(FltQueryInformationFile(in->Instance, TheFile, &standard, sizeof(standard),
        FileStandardInformation, NULL), STATUS_VOLUME_DISMOUNTED);
    return 0;
}
CASE(post_create, FltIsDirectory, STATUS_SUCCESS)
{
    BOOLEAN answer = 7;
    EXPECT(FltIsDirectory(in->File, in->Instance, &answer), STATUS_SUCCESS);
    CHECK(answer == FALSE);
    return 0;
}
CASE(directory_post_create, FltIsDirectory, DIRECTORY_SUCCESS)
{
    BOOLEAN answer = 7;
    EXPECT(FltIsDirectory(in->File, in->Instance, &answer), STATUS_SUCCESS);
    CHECK(answer == TRUE);
    return 0;
}
CASE(post_create, FltReadFile, STATUS_SUCCESS)
{
    UCHAR *bytes = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
    LARGE_INTEGER offset = { 0 };
    ULONG count = 0;
    CHECK(bytes != NULL);
    NTSTATUS got = FltReadFile(in->Instance, in->File, &offset, 64, bytes, 0, &count, NULL, NULL);
    BOOLEAN right = count == 11 && same(bytes, "hello world", 11);
    ExFreePoolWithTag(bytes, TAG);
    EXPECT(got, STATUS_SUCCESS);
    CHECK(right);
    return 0;
}
CASE(post_create, FltReadFile, STATUS_END_OF_FILE)
{
    // The file system's own status comes back.
    UCHAR *bytes = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
    LARGE_INTEGER offset = { 4096 };
    ULONG count = 0;
    CHECK(bytes != NULL);
    NTSTATUS got = FltReadFile(in->Instance, in->File, &offset, 64, bytes, 0, &count, NULL, NULL);
    ExFreePoolWithTag(bytes, TAG);
    EXPECT(got, STATUS_END_OF_FILE);
    CHECK(count == 0);
    return 0;
}
CASE(post_create, FltReadFile, NONCACHED)
{
    // Whole sectors; fewer bytes come where the file ends. The byte offset stays as it was.
    UCHAR *bytes = ExAllocatePoolWithTag(NonPagedPoolNx, 4096, TAG);
    LARGE_INTEGER offset = { 0 };
    ULONG count = 0;
    CHECK(bytes != NULL);
    NTSTATUS got = FltReadFile(in->Instance, in->File, &offset, 4096, bytes, 1 | 4, &count, NULL,
        NULL);
    BOOLEAN right = count == 11 && same(bytes, "hello world", 11);
    ExFreePoolWithTag(bytes, TAG);
    EXPECT(got, STATUS_SUCCESS);
    CHECK(right);
    return 0;
}
CASE(locked_post_create, FltReadFile, STATUS_FILE_LOCK_CONFLICT)
{
    // Somebody else has locked the first four bytes.
    UCHAR *bytes = ExAllocatePoolWithTag(NonPagedPoolNx, 4096, TAG);
    LARGE_INTEGER offset = { 0 };
    ULONG count = 7;
    CHECK(bytes != NULL);
    NTSTATUS got = FltReadFile(in->Instance, in->File, &offset, 4096, bytes, 1 | 4, &count, NULL,
        NULL);
    ExFreePoolWithTag(bytes, TAG);
    EXPECT(got, STATUS_FILE_LOCK_CONFLICT);
    CHECK(count == 0);
    return 0;
}
CASE(post_create, FltFsControlFile, STATUS_INVALID_DEVICE_REQUEST)
{
    // The file system's own status for a code that it does not know.
    EXPECT(FltFsControlFile(in->Instance, in->File, 0x9FFFC, NULL, 0, NULL, 0, NULL),
        STATUS_INVALID_DEVICE_REQUEST);
    return 0;
}

CASE(pre_create, FltSetCallbackDataDirty, VOID)
{
    CHECK((in->Data->Flags & 0x80000000u) == 0);
    FltSetCallbackDataDirty(in->Data);
    CHECK((in->Data->Flags & 0x80000000u) != 0);
    return 0;
}
CASE(pre_create, FltGetRequestorProcess, POINTER)
{
    PVOID process = FltGetRequestorProcess(in->Data);
    CHECK(process != NULL && process == IoThreadToProcess(in->Data->Thread));
    return 0;
}
CASE(pre_create, FltGetRequestorProcess, NULL)
{
    PVOID thread = in->Data->Thread;
    in->Data->Thread = NULL;
    PVOID process = FltGetRequestorProcess(in->Data);
    in->Data->Thread = thread;
    CHECK(process == NULL);
    return 0;
}
CASE(pre_create, FltGetRequestorProcessId, NUMBER)
{
    ULONG id = FltGetRequestorProcessId(in->Data);
    CHECK(id != 0 && id == (ULONG)(ULONG_PTR)PsGetProcessId(IoThreadToProcess(in->Data->Thread)));
    return 0;
}
CASE(pre_create, FltGetRequestorProcessId, ZERO)
{
    PVOID thread = in->Data->Thread;
    in->Data->Thread = NULL;
    ULONG id = FltGetRequestorProcessId(in->Data);
    in->Data->Thread = thread;
    CHECK(id == 0);
    return 0;
}
CASE(pre_create, FltIsOperationSynchronous, TRUE)
{
    CHECK(FltIsOperationSynchronous(in->Data) == TRUE);
    return 0;
}
CASE(async_pre_read, FltIsOperationSynchronous, FALSE)
{
    CHECK(FltIsOperationSynchronous(in->Data) == FALSE);
    return 0;
}
CASE(cancelled_post_create, FltCancelFileOpen, VOID)
{
    // The test program sees its open fail with this status.
    CHECK((in->File->Flags & 0x200000) == 0);
    FltCancelFileOpen(in->Instance, in->File);
    CHECK((in->File->Flags & 0x200000) != 0);
    in->Data->IoStatus.Status = STATUS_ACCESS_DENIED;
    in->Data->IoStatus.Information = 0;
    return 0;
}
CASE(post_create, FltGetTunneledName, STATUS_SUCCESS)
{
    FLT_FILE_NAME_INFORMATION *name = NULL, *tunneled = (PVOID)1;
    EXPECT(FltGetFileNameInformation(in->Data,
        FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name), STATUS_SUCCESS);
    NTSTATUS got = FltGetTunneledName(in->Data, name, &tunneled);
    FltReleaseFileNameInformation(name);
    EXPECT(got, STATUS_SUCCESS);
    CHECK(tunneled == NULL);
    return 0;
}
CASE(fault_post_create, FltGetTunneledName, STATUS_INSUFFICIENT_RESOURCES)
{
    FLT_FILE_NAME_INFORMATION *name = NULL, *tunneled = NULL;
    EXPECT(FltGetFileNameInformation(in->Data,
        FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name), STATUS_SUCCESS);
    NTSTATUS got = FltGetTunneledName(in->Data, name, &tunneled);
    FltReleaseFileNameInformation(name);
    EXPECT(got, STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(writing_post_create, FltWriteFile, STATUS_SUCCESS)
{
    UCHAR *bytes = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
    LARGE_INTEGER offset = { 6 };
    ULONG count = 0;
    CHECK(bytes != NULL);
    for (ULONG i = 0; i < 5; i++) bytes[i] = 'A';
    NTSTATUS got = FltWriteFile(in->Instance, in->File, &offset, 5, bytes, 0, &count, NULL, NULL);
    offset.QuadPart = 0;
    NTSTATUS back = FltReadFile(in->Instance, in->File, &offset, 64, bytes, 0, NULL, NULL, NULL);
    BOOLEAN right = count == 5 && same(bytes, "hello AAAAA", 11);
    ExFreePoolWithTag(bytes, TAG);
    EXPECT(got, STATUS_SUCCESS);
    EXPECT(back, STATUS_SUCCESS);
    CHECK(right);
    return 0;
}
CASE(writing_post_create, FltSetInformationFile, STATUS_SUCCESS)
{
    // FileEndOfFileInformation
    LARGE_INTEGER end = { 5 };
    STANDARD standard = { 0 };
    EXPECT(FltSetInformationFile(in->Instance, in->File, &end, sizeof(end), 20), STATUS_SUCCESS);
    EXPECT(FltQueryInformationFile(in->Instance, in->File, &standard, sizeof(standard),
        FileStandardInformation, NULL), STATUS_SUCCESS);
    CHECK(standard.End.QuadPart == 5);
    return 0;
}
CASE(writing_post_create, FltSetInformationFile, ERROR)
{
    UCHAR nothing[8] = { 0 };
    NTSTATUS got = FltSetInformationFile(in->Instance, in->File, nothing, sizeof(nothing), 9999);
    CHECK(got < 0);
    return 0;
}
CASE(writing_post_create, FltFlushBuffers, STATUS_SUCCESS)
{
    EXPECT(FltFlushBuffers(in->Instance, in->File), STATUS_SUCCESS);
    return 0;
}
CASE(dismount, FltFlushBuffers, STATUS_VOLUME_DISMOUNTED)
{
    EXPECT(FltFlushBuffers(in->Instance, TheFile), STATUS_VOLUME_DISMOUNTED);
    return 0;
}
CASE(readonly_post_create, FltFlushBuffers, STATUS_MEDIA_WRITE_PROTECTED)
{
    EXPECT(FltFlushBuffers(in->Instance, in->File), STATUS_MEDIA_WRITE_PROTECTED);
    return 0;
}
CASE(writing_post_create, FltFsControlFile, STATUS_SUCCESS)
{
    // FSCTL_SET_SPARSE
    EXPECT(FltFsControlFile(in->Instance, in->File, 0x900C4, NULL, 0, NULL, 0, NULL),
        STATUS_SUCCESS);
    return 0;
}
