// Process notifications. The image of this topic is linked with the integrity flag; that of
// system.c is not. Situations with a program start one after the case, and end it.
// https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex
// https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_ps_create_notify_info
#include "harness.h"

static ULONG Starts, Ends, Wrong;
static PS_CREATE_NOTIFY_INFO Seen;
static PVOID SeenProcess;
static HANDLE SeenId;
static NTSTATUS Answer;

static void look(PVOID process, HANDLE id, PS_CREATE_NOTIFY_INFO *info)
{
    if (KeGetCurrentIrql() != 0 || !KeAreApcsDisabled() || KeAreAllApcsDisabled()) Wrong = __LINE__;
    if (PsGetProcessId(process) != id) Wrong = __LINE__;
    if (info == NULL) {
        if (process != SeenProcess || id != SeenId) Wrong = __LINE__;
        Ends++;
        return;
    }
    Starts++;
    Seen = *info;
    SeenProcess = process;
    SeenId = id;
    if (info->CreatingThreadId.UniqueProcess != PsGetCurrentProcessId()) Wrong = __LINE__;
    if (info->CreatingThreadId.UniqueThread != PsGetCurrentThreadId()) Wrong = __LINE__;
    if (info->Size != sizeof(*info) || info->FileObject == NULL) Wrong = __LINE__;
    if (info->FileOpenNameAvailable) {
        const UNICODE_STRING *name = info->ImageFileName;
        static const WCHAR end[] = L"\\file.txt";
        if (name == NULL || name->Length < sizeof(end)) Wrong = __LINE__;
        else if (!same((UCHAR *)name->Buffer + name->Length - (sizeof(end) - 2), end,
            sizeof(end) - 2)) Wrong = __LINE__;
    }
    if (Answer != 0) info->CreationStatus = Answer;
}
static void look_too(PVOID process, HANDLE id, PS_CREATE_NOTIFY_INFO *info)
{
    UNUSED(process); UNUSED(id);
    // The routines run in the order of their registration.
    if (info != NULL && Starts != 1) Wrong = __LINE__;
}
static NTSTATUS add(void) { return PsSetCreateProcessNotifyRoutineEx(look, FALSE); }
static NTSTATUS take(void) { return PsSetCreateProcessNotifyRoutineEx(look, TRUE); }

CASE(program_passive, PsSetCreateProcessNotifyRoutineEx, STATUS_SUCCESS)
{
    Starts = Ends = Wrong = 0;
    Answer = 0;
    EXPECT(add(), STATUS_SUCCESS);
    EXPECT(PsSetCreateProcessNotifyRoutineEx(look_too, FALSE), STATUS_SUCCESS);
    return 0;
}
CASE(check, PsSetCreateProcessNotifyRoutineEx, STATUS_SUCCESS)
{
    EXPECT(take(), STATUS_SUCCESS);
    EXPECT(PsSetCreateProcessNotifyRoutineEx(look_too, TRUE), STATUS_SUCCESS);
    if (Wrong) return Wrong;
    CHECK(Starts == 1 && Ends == 1);
    CHECK(Seen.CreationStatus == STATUS_SUCCESS && Seen.ParentProcessId != SeenId);
    return 0;
}
CASE(refused_passive, PsSetCreateProcessNotifyRoutineEx, REFUSED)
{
    // The test program expects that the process cannot be made.
    Starts = Ends = Wrong = 0;
    Answer = STATUS_ACCESS_DENIED;
    EXPECT(add(), STATUS_SUCCESS);
    return 0;
}
CASE(check, PsSetCreateProcessNotifyRoutineEx, REFUSED)
{
    EXPECT(take(), STATUS_SUCCESS);
    if (Wrong) return Wrong;
    CHECK(Starts == 1 && Ends == 0);
    return 0;
}
CASE(program_passive, PsSetCreateProcessNotifyRoutineEx, REMOVED)
{
    Starts = Ends = 0;
    EXPECT(add(), STATUS_SUCCESS);
    EXPECT(take(), STATUS_SUCCESS);
    return 0;
}
CASE(check, PsSetCreateProcessNotifyRoutineEx, REMOVED)
{
    CHECK(Starts == 0 && Ends == 0);
    return 0;
}
CASE(passive, PsSetCreateProcessNotifyRoutineEx, STATUS_INVALID_PARAMETER)
{
    EXPECT(take(), STATUS_INVALID_PARAMETER);
    EXPECT(add(), STATUS_SUCCESS);
    EXPECT(add(), STATUS_INVALID_PARAMETER);
    EXPECT(take(), STATUS_SUCCESS);
    EXPECT(take(), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(fault_passive, PsSetCreateProcessNotifyRoutineEx, STATUS_INVALID_PARAMETER_FULL)
{
    // The system has reached its limit.
    EXPECT(add(), STATUS_INVALID_PARAMETER);
    EXPECT(add(), STATUS_SUCCESS);
    EXPECT(take(), STATUS_SUCCESS);
    return 0;
}
