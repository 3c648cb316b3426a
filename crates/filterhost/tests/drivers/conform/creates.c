// Files that a filter opens itself, and the name of one that somebody else opens.
// The pages are nf-fltkernel-fltcreatefileex2, nf-fltkernel-fltclose and
// nf-ntifs-ioreplacefileobjectname.
#include "harness.h"

#define FILE_READ_DATA 1
#define SHARE_ALL 7
#define DISPOSITION_OPEN 1
#define DISPOSITION_CREATE 2
#define SYNCHRONOUS_IO_NONALERT 0x20
#define INFORMATION_OPENED 1

static const GUID Mine = { 0x31313131, 0x4242, 0x5353, { 6, 6, 6, 6, 6, 6, 6, 6 } };

typedef struct {
    HANDLE Handle;
    FILE_OBJECT *File;
    IO_STATUS_BLOCK Io;
} OPENED;

// The file that the test program is about to open, below this filter, with these parameters.
static NTSTATUS open_it(INPUT *in, ULONG disposition, PECP_LIST list, OPENED *out)
{
    FLT_FILE_NAME_INFORMATION *name;
    IO_DRIVER_CREATE_CONTEXT context = { sizeof context, list, NULL, NULL };
    NTSTATUS status = FltGetFileNameInformation(in->Data,
        FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT, &name);
    if (status < 0) return status;
    OBJECT_ATTRIBUTES how = attributes(&name->Name, OBJ_KERNEL_HANDLE);
    status = FltCreateFileEx2(in->Filter, in->Instance, &out->Handle, &out->File,
        FILE_READ_DATA | SYNCHRONIZE, &how, &out->Io, NULL, 0, SHARE_ALL, disposition,
        SYNCHRONOUS_IO_NONALERT, NULL, 0, 0, &context);
    FltReleaseFileNameInformation(name);
    return status;
}
static void close_it(OPENED *it)
{
    ObfDereferenceObject(it->File);
    FltClose(it->Handle);
}

CASE(pre_create, FltCreateFileEx2, STATUS_SUCCESS)
{
    OPENED it;
    EXPECT(open_it(in, DISPOSITION_OPEN, NULL, &it), STATUS_SUCCESS);
    CHECK(it.Handle != NULL && it.File != NULL && it.File != in->File);
    CHECK(it.Io.Status == STATUS_SUCCESS && it.Io.Information == INFORMATION_OPENED);
    close_it(&it);
    return 0;
}
CASE(pre_create, FltCreateFileEx2, ECP_LIST_KEPT)
{
    // Used for two creates, the list and what is in it stay the caller's.
    PECP_LIST list;
    PVOID own, found = NULL;
    ULONG size = 0;
    OPENED it;
    EXPECT(FltAllocateExtraCreateParameterList(in->Filter, 0, &list), STATUS_SUCCESS);
    EXPECT(FltAllocateExtraCreateParameter(in->Filter, &Mine, 0x20, 0, NULL, TAG, &own),
        STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, own), STATUS_SUCCESS);
    for (int round = 0; round < 2; round++) {
        EXPECT(open_it(in, DISPOSITION_OPEN, list, &it), STATUS_SUCCESS);
        close_it(&it);
        EXPECT(FltFindExtraCreateParameter(in->Filter, list, &Mine, &found, &size),
            STATUS_SUCCESS);
        CHECK(found == own && size == 0x20);
    }
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(pre_create, FltCreateFileEx2, STATUS_OBJECT_NAME_COLLISION)
{
    OPENED it = { NULL, NULL, { 0 } };
    EXPECT(open_it(in, DISPOSITION_CREATE, NULL, &it), STATUS_OBJECT_NAME_COLLISION);
    CHECK(it.Handle == NULL && it.File == NULL);
    return 0;
}
CASE(fault_pre_create, FltCreateFileEx2, STATUS_INSUFFICIENT_RESOURCES)
{
    OPENED it;
    EXPECT(open_it(in, DISPOSITION_OPEN, NULL, &it), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(pre_create, FltClose, STATUS_SUCCESS)
{
    OPENED it;
    EXPECT(open_it(in, DISPOSITION_OPEN, NULL, &it), STATUS_SUCCESS);
    ObfDereferenceObject(it.File);
    EXPECT(FltClose(it.Handle), STATUS_SUCCESS);
    return 0;
}
CASE(passive, FltClose, STATUS_INVALID_HANDLE)
{
    UNUSED(in);
    EXPECT(FltClose((HANDLE)0x7ffc), STATUS_INVALID_HANDLE);
    return 0;
}
CASE(pre_create, IoReplaceFileObjectName, STATUS_SUCCESS)
{
    // The buffer is the I/O manager's, and what it held before may be gone.
    static const WCHAR name[] = L"\\conform\\file.txt";
    const WCHAR *before = in->File->FileName.Buffer;
    EXPECT(IoReplaceFileObjectName(in->File, name, sizeof name - 2), STATUS_SUCCESS);
    CHECK(in->File->FileName.Buffer != name && in->File->FileName.Buffer != before);
    CHECK(in->File->FileName.Length == sizeof name - 2);
    CHECK(same(in->File->FileName.Buffer, name, sizeof name - 2));
    return 0;
}
CASE(volume_pre_create, IoReplaceFileObjectName, STATUS_INVALID_PARAMETER)
{
    EXPECT(IoReplaceFileObjectName(in->File, L"\\other", 12), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(fault_pre_create, IoReplaceFileObjectName, STATUS_INSUFFICIENT_RESOURCES)
{
    EXPECT(IoReplaceFileObjectName(in->File, L"\\other", 12), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
