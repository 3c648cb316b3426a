// Work items, and the life of a filter from registration to unload.
// The pages are fltkernel's, one for each function named in the cases.
#include "harness.h"

static KEVENT Done;
static PVOID SeenObject, SeenContext;
static PFLT_WORKITEM SeenItem;
static void routine(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    SeenItem = item, SeenObject = object, SeenContext = context;
    FltFreeGenericWorkItem(item);
    KeSetEvent(&Done, 0, FALSE);
}
CASE(passive, FltAllocateGenericWorkItem, POINTER)
{
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    CHECK(item != NULL);
    FltFreeGenericWorkItem(item);
    return 0;
}
CASE(fault_passive, FltAllocateGenericWorkItem, NULL)
{
    CHECK(FltAllocateGenericWorkItem() == NULL);
    return 0;
}
CASE(passive, FltFreeGenericWorkItem, VOID)
{
    // A work item that nobody frees is a leak that unload reports.
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    CHECK(item != NULL);
    FltFreeGenericWorkItem(item);
    return 0;
}
CASE(passive, FltQueueGenericWorkItem, STATUS_SUCCESS)
{
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    CHECK(item != NULL);
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    EXPECT(FltQueueGenericWorkItem(item, in->Filter, routine, 1, &Done), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&Done, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    CHECK(SeenItem == item && SeenObject == in->Filter && SeenContext == &Done);
    return 0;
}
CASE(teardown, FltQueueGenericWorkItem, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    CHECK(item != NULL);
    NTSTATUS got = FltQueueGenericWorkItem(item, in->Filter, routine, 1, NULL);
    FltFreeGenericWorkItem(item);
    EXPECT(got, STATUS_FLT_DELETING_OBJECT);
    return 0;
}

// The test program calls the service `conform`.
CASE(passive, FltGetFilterFromName, STATUS_SUCCESS)
{
    UNICODE_STRING name = text(L"conform");
    PFLT_FILTER found = NULL;
    EXPECT(FltGetFilterFromName(&name, &found), STATUS_SUCCESS);
    CHECK(found == in->Filter);
    FltObjectDereference(found);
    return 0;
}
CASE(passive, FltGetFilterFromName, STATUS_FLT_FILTER_NOT_FOUND)
{
    UNICODE_STRING name = text(L"nosuchfilter");
    PFLT_FILTER found = NULL;
    EXPECT(FltGetFilterFromName(&name, &found), STATUS_FLT_FILTER_NOT_FOUND);
    return 0;
}
CASE(teardown, FltGetFilterFromName, STATUS_FLT_DELETING_OBJECT)
{
    UNICODE_STRING name = text(L"conform");
    PFLT_FILTER found = NULL;
    EXPECT(FltGetFilterFromName(&name, &found), STATUS_FLT_DELETING_OBJECT);
    return 0;
}

// The `entry` cases run in DriverEntry, before the harness registers the filter itself.
static NTSTATUS register_with(USHORT version, PFLT_FILTER *out)
{
    FLT_REGISTRATION changed = TheRegistration;
    changed.Version = version;
    return FltRegisterFilter(TheDriver, &changed, out);
}
CASE(entry, FltRegisterFilter, STATUS_SUCCESS)
{
    PFLT_FILTER filter = NULL;
    EXPECT(register_with(0x0203, &filter), STATUS_SUCCESS);
    CHECK(filter != NULL);
    FltUnregisterFilter(filter);
    return 0;
}
CASE(entry, FltRegisterFilter, STATUS_INVALID_PARAMETER)
{
    PFLT_FILTER filter = NULL;
    EXPECT(register_with(0x0101, &filter), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(fault_entry, FltRegisterFilter, STATUS_INSUFFICIENT_RESOURCES)
{
    PFLT_FILTER filter = NULL;
    EXPECT(register_with(0x0203, &filter), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
// In `unlisted`, the service key has no Instances key.
CASE(unlisted_entry, FltRegisterFilter, STATUS_OBJECT_NAME_NOT_FOUND)
{
    PFLT_FILTER filter = NULL;
    EXPECT(register_with(0x0203, &filter), STATUS_OBJECT_NAME_NOT_FOUND);
    return 0;
}
CASE(entry, FltStartFiltering, STATUS_SUCCESS)
{
    PFLT_FILTER filter = NULL;
    EXPECT(register_with(0x0203, &filter), STATUS_SUCCESS);
    EXPECT(FltStartFiltering(filter), STATUS_SUCCESS);
    FltUnregisterFilter(filter);
    return 0;
}
CASE(passive, FltStartFiltering, STATUS_INVALID_PARAMETER)
{
    // DriverEntry has started it already.
    EXPECT(FltStartFiltering(in->Filter), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(unloaded, FltUnregisterFilter, VOID)
{
    // The unload routine has just unregistered, so the instance was torn down before.
    CHECK(TheFilter != NULL && TornDown == 1);
    return 0;
}
