#include "wrong.h"

static PFLT_CONTEXT Context;
static HANDLE Handle;
static PVOID Object;

static NTSTATUS make(INPUT *in)
{
    LARGE_INTEGER size;
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    NTSTATUS status = FltAllocateContext(in->Filter, FLT_SECTION_CONTEXT, SIZE_SMALL,
        NonPagedPoolNx, &Context);
    if (status < 0) return status;
    return FltCreateSectionForDataScan(in->Instance, in->File, Context,
        SECTION_MAP_READ | SECTION_QUERY, &how, NULL, PAGE_READONLY, SEC_COMMIT, 0, &Handle,
        &Object, &size);
}
static void let_go(void)
{
    ZwClose(Handle);
    ObfDereferenceObject(Object);
    FltReleaseContext(Context);
}
WRONG(scan_post_create, section_leak)
{
    EXPECT(make(in), STATUS_SUCCESS);
    let_go();
    return 0;
}
WRONG(scan_writing_post_create, section_conflict_status)
{
    LARGE_INTEGER end = { 4 };
    EXPECT(make(in), STATUS_SUCCESS);
    NextConflictStatus = STATUS_UNSUCCESSFUL;
    // FileEndOfFileInformation: cutting the file conflicts with the section.
    FltSetInformationFile(in->Instance, in->File, &end, sizeof(end), 20);
    FltCloseSectionForDataScan(Context);
    let_go();
    return 0;
}
