// The file system runtime's sections for scanners, which know no instance and no conflicts.
// Page: ntifs' nf-ntifs-fsrtlcreatesectionfordatascan.
#include "harness.h"

static NTSTATUS make(INPUT *in, ULONG protection, ULONG kind, HANDLE *handle, PVOID *object,
    LARGE_INTEGER *size)
{
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    return FsRtlCreateSectionForDataScan(handle, object, size, in->File,
        SECTION_MAP_READ | SECTION_QUERY, &how, NULL, protection, kind, 0);
}
static ULONG refused(INPUT *in, ULONG protection, ULONG kind, NTSTATUS wanted)
{
    HANDLE handle = NULL;
    PVOID object = NULL;
    LARGE_INTEGER size;
    EXPECT(make(in, protection, kind, &handle, &object, &size), wanted);
    return 0;
}
CASE(post_create, FsRtlCreateSectionForDataScan, STATUS_SUCCESS)
{
    HANDLE handle = NULL;
    PVOID object = NULL;
    LARGE_INTEGER size = { 0 };
    EXPECT(make(in, PAGE_READONLY, SEC_COMMIT, &handle, &object, &size), STATUS_SUCCESS);
    CHECK(handle != NULL && object != NULL && size.QuadPart == 11);
    EXPECT(ZwClose(handle), STATUS_SUCCESS);
    ObfDereferenceObject(object);
    return 0;
}
CASE(empty_post_create, FsRtlCreateSectionForDataScan, STATUS_END_OF_FILE)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_END_OF_FILE);
}
CASE(locked_post_create, FsRtlCreateSectionForDataScan, STATUS_FILE_LOCK_CONFLICT)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_FILE_LOCK_CONFLICT);
}
CASE(fault_post_create, FsRtlCreateSectionForDataScan, STATUS_INSUFFICIENT_RESOURCES)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_INSUFFICIENT_RESOURCES);
}
CASE(volume_post_create, FsRtlCreateSectionForDataScan, STATUS_INVALID_FILE_FOR_SECTION)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_INVALID_FILE_FOR_SECTION);
}
CASE(post_create, FsRtlCreateSectionForDataScan, STATUS_INVALID_PARAMETER_8)
{
    return refused(in, 0x12345, SEC_COMMIT, STATUS_INVALID_PARAMETER_8);
}
CASE(post_create, FsRtlCreateSectionForDataScan, STATUS_INVALID_PARAMETER_9)
{
    return refused(in, PAGE_READONLY, 0x12345, STATUS_INVALID_PARAMETER_9);
}
CASE(post_create, MmDoesFileHaveUserWritableReferences, ZERO)
{
    CHECK(MmDoesFileHaveUserWritableReferences(in->File->SectionObjectPointer) == 0);
    return 0;
}
CASE(writable_post_create, MmDoesFileHaveUserWritableReferences, NONZERO)
{
    // A user has the file mapped writable.
    CHECK(MmDoesFileHaveUserWritableReferences(in->File->SectionObjectPointer) != 0);
    return 0;
}
