// Data-scan sections, the Filter Manager's and the file system runtime's.
// The pages are fltkernel's nf-fltkernel-flt{register,createsection,closesection}fordatascan,
// nf-fltkernel-fltgetsectioncontext and ntifs' nf-ntifs-fsrtlcreatesectionfordatascan.
#include "harness.h"

typedef struct {
    PFLT_CONTEXT Context;
    HANDLE Handle;
    PVOID Object;
    LARGE_INTEGER Size;
} MADE;

static NTSTATUS make_context(INPUT *in, PFLT_CONTEXT *out)
{
    return FltAllocateContext(in->Filter, FLT_SECTION_CONTEXT, SIZE_SMALL, NonPagedPoolNx, out);
}
static NTSTATUS make(INPUT *in, MADE *out, ULONG protection, ULONG attributes_)
{
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    return FltCreateSectionForDataScan(in->Instance, in->File, out->Context,
        SECTION_MAP_READ | SECTION_QUERY, &how, NULL, protection, attributes_, 0, &out->Handle,
        &out->Object, &out->Size);
}
static ULONG close_made(MADE *made)
{
    EXPECT(FltCloseSectionForDataScan(made->Context), STATUS_SUCCESS);
    EXPECT(ZwClose(made->Handle), STATUS_SUCCESS);
    ObfDereferenceObject(made->Object);
    FltReleaseContext(made->Context);
    return 0;
}
// One failing create with everything else right.
static ULONG refused(INPUT *in, ULONG protection, ULONG attributes_, NTSTATUS wanted)
{
    MADE made = { 0 };
    EXPECT(make_context(in, &made.Context), STATUS_SUCCESS);
    NTSTATUS got = make(in, &made, protection, attributes_);
    FltReleaseContext(made.Context);
    EXPECT(got, wanted);
    return 0;
}

CASE(mounting, FltRegisterForDataScan, STATUS_SUCCESS)
{
    EXPECT(FltRegisterForDataScan(in->Instance), STATUS_SUCCESS);
    return 0;
}
CASE(network_mounting, FltRegisterForDataScan, STATUS_NOT_SUPPORTED)
{
    EXPECT(FltRegisterForDataScan(in->Instance), STATUS_NOT_SUPPORTED);
    return 0;
}

// In the situations that begin with `scan_`, the instance has been registered for data scans.
CASE(scan_post_create, FltCreateSectionForDataScan, STATUS_SUCCESS)
{
    MADE made = { 0 };
    EXPECT(make_context(in, &made.Context), STATUS_SUCCESS);
    EXPECT(make(in, &made, PAGE_READONLY, SEC_COMMIT), STATUS_SUCCESS);
    CHECK(made.Handle != NULL && made.Object != NULL);
    // The file that the test program opens holds 11 bytes.
    CHECK(made.Size.QuadPart == 11);
    return close_made(&made);
}
CASE(scan_empty_post_create, FltCreateSectionForDataScan, STATUS_END_OF_FILE)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_END_OF_FILE);
}
CASE(scan_locked_post_create, FltCreateSectionForDataScan, STATUS_FILE_LOCK_CONFLICT)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_FILE_LOCK_CONFLICT);
}
CASE(fault_scan_post_create, FltCreateSectionForDataScan, STATUS_INSUFFICIENT_RESOURCES)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_INSUFFICIENT_RESOURCES);
}
CASE(scan_volume_post_create, FltCreateSectionForDataScan, STATUS_INVALID_FILE_FOR_SECTION)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_INVALID_FILE_FOR_SECTION);
}
CASE(post_create, FltCreateSectionForDataScan, STATUS_INVALID_PARAMETER)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_INVALID_PARAMETER);
}
CASE(scan_post_create, FltCreateSectionForDataScan, STATUS_INVALID_PARAMETER_8)
{
    return refused(in, 0x12345, SEC_COMMIT, STATUS_INVALID_PARAMETER_8);
}
CASE(scan_post_create, FltCreateSectionForDataScan, STATUS_INVALID_PARAMETER_9)
{
    return refused(in, PAGE_READONLY, 0x12345, STATUS_INVALID_PARAMETER_9);
}
CASE(network_post_create, FltCreateSectionForDataScan, STATUS_NOT_SUPPORTED)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_NOT_SUPPORTED);
}
CASE(scan_directory_post_create, FltCreateSectionForDataScan, STATUS_FILE_IS_A_DIRECTORY)
{
    return refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_FILE_IS_A_DIRECTORY);
}
CASE(scan_post_create, FltCreateSectionForDataScan, STATUS_FLT_CONTEXT_ALREADY_DEFINED)
{
    MADE first = { 0 };
    EXPECT(make_context(in, &first.Context), STATUS_SUCCESS);
    EXPECT(make(in, &first, PAGE_READONLY, SEC_COMMIT), STATUS_SUCCESS);
    ULONG line = refused(in, PAGE_READONLY, SEC_COMMIT, STATUS_FLT_CONTEXT_ALREADY_DEFINED);
    ULONG closing = close_made(&first);
    return line ? line : closing;
}

CASE(scan_post_create, FltCloseSectionForDataScan, STATUS_SUCCESS)
{
    MADE made = { 0 };
    PFLT_CONTEXT seen;
    EXPECT(make_context(in, &made.Context), STATUS_SUCCESS);
    EXPECT(make(in, &made, PAGE_READONLY, SEC_COMMIT), STATUS_SUCCESS);
    ULONG line = close_made(&made);
    if (line) return line;
    EXPECT(FltGetSectionContext(in->Instance, in->File, &seen), STATUS_NOT_FOUND);
    // Closed, so the stream can be scanned again.
    EXPECT(make_context(in, &made.Context), STATUS_SUCCESS);
    EXPECT(make(in, &made, PAGE_READONLY, SEC_COMMIT), STATUS_SUCCESS);
    return close_made(&made);
}
CASE(passive, FltCloseSectionForDataScan, STATUS_INVALID_PARAMETER)
{
    PFLT_CONTEXT made;
    EXPECT(make_context(in, &made), STATUS_SUCCESS);
    NTSTATUS got = FltCloseSectionForDataScan(made);
    FltReleaseContext(made);
    EXPECT(got, STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(scan_post_create, FltCloseSectionForDataScan, STATUS_NOT_FOUND)
{
    MADE made = { 0 };
    EXPECT(make_context(in, &made.Context), STATUS_SUCCESS);
    EXPECT(make(in, &made, PAGE_READONLY, SEC_COMMIT), STATUS_SUCCESS);
    EXPECT(FltCloseSectionForDataScan(made.Context), STATUS_SUCCESS);
    NTSTATUS got = FltCloseSectionForDataScan(made.Context);
    ZwClose(made.Handle);
    ObfDereferenceObject(made.Object);
    FltReleaseContext(made.Context);
    EXPECT(got, STATUS_NOT_FOUND);
    return 0;
}
CASE(scan_post_create, FltGetSectionContext, STATUS_SUCCESS)
{
    MADE made = { 0 };
    PFLT_CONTEXT seen = NULL;
    EXPECT(make_context(in, &made.Context), STATUS_SUCCESS);
    EXPECT(make(in, &made, PAGE_READONLY, SEC_COMMIT), STATUS_SUCCESS);
    EXPECT(FltGetSectionContext(in->Instance, in->File, &seen), STATUS_SUCCESS);
    CHECK(seen == made.Context);
    ULONG line = close_made(&made);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(seen);
    CHECK(Armed.Cleanups == 1);
    return line;
}
CASE(scan_post_create, FltGetSectionContext, STATUS_NOT_FOUND)
{
    PFLT_CONTEXT seen = (PVOID)1;
    EXPECT(FltGetSectionContext(in->Instance, in->File, &seen), STATUS_NOT_FOUND);
    CHECK(seen == NULL);
    return 0;
}
CASE(network_post_create, FltGetSectionContext, STATUS_NOT_SUPPORTED)
{
    PFLT_CONTEXT seen = NULL;
    EXPECT(FltGetSectionContext(in->Instance, in->File, &seen), STATUS_NOT_SUPPORTED);
    return 0;
}
