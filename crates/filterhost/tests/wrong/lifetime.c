#include "wrong.h"

static const GUID Type = { 0x11111111, 0x2222, 0x3333, { 1, 2, 3, 4, 5, 6, 7, 8 } };

static void notice(PVOID process, HANDLE id, PS_CREATE_NOTIFY_INFO *info) {}
static void meddler(PVOID process, HANDLE id, PS_CREATE_NOTIFY_INFO *info)
{
    if (info != NULL) PsSetCreateProcessNotifyRoutineEx(notice, FALSE);
}
static volatile ULONG Cleanups;
static void cleanup(PVOID context, const GUID *type) { Cleanups++; }

WRONG(teardown, unregister_twice)
{
    FltUnregisterFilter(in->Filter);
    return 0;
}
WRONG(passive, unload_refused_late)
{
    NextUnloadStatus = STATUS_UNSUCCESSFUL;
    return 0;
}
WRONG(passive, unload_still_registered)
{
    NextUnloadStatus = STAY_REGISTERED;
    return 0;
}
// The parameter belongs to the create, which outlives the driver.
WRONG(draining_pre_create, unloaded_code)
{
    PECP_LIST list;
    PVOID made;
    EXPECT(FltAllocateExtraCreateParameterList(in->Filter, 0, &list), STATUS_SUCCESS);
    EXPECT(FltAllocateExtraCreateParameter(in->Filter, &Type, 8, 0, cleanup, TAG, &made),
        STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, made), STATUS_SUCCESS);
    EXPECT(FltSetEcpListIntoCallbackData(in->Filter, in->Data, list), STATUS_SUCCESS);
    return 0;
}
WRONG(passive, process_notify_left)
{
    EXPECT(PsSetCreateProcessNotifyRoutineEx(notice, FALSE), STATUS_SUCCESS);
    return 0;
}
WRONG(program_passive, process_notify_inside)
{
    EXPECT(PsSetCreateProcessNotifyRoutineEx(meddler, FALSE), STATUS_SUCCESS);
    return 0;
}
CASE(check, wrong, process_notify_inside)
{
    PsSetCreateProcessNotifyRoutineEx(meddler, TRUE);
    PsSetCreateProcessNotifyRoutineEx(notice, TRUE);
    return 0;
}
WRONG(passive, etw_left)
{
    REGHANDLE handle;
    EXPECT(EtwRegister(&Type, NULL, NULL, &handle), STATUS_SUCCESS);
    return 0;
}
WRONG(passive, string_length)
{
    static WCHAR long_text[0x8001];
    UNICODE_STRING string = { 0 };
    for (int i = 0; i < 0x8000; i++) long_text[i] = 'a';
    RtlInitUnicodeString(&string, long_text);
    return 0;
}
