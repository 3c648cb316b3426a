#include "wrong.h"

static NTSTATUS start(THREAD_START *routine, HANDLE *handle)
{
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    return PsCreateSystemThread(handle, 0, &how, NULL, NULL, routine, NULL);
}
static void in_region(PVOID context)
{
    KeEnterCriticalRegion();
    PsTerminateSystemThread(STATUS_SUCCESS);
}
static void sleeper(PVOID context)
{
    LARGE_INTEGER hour = { MILLISECONDS(3600000) };
    KeDelayExecutionThread(KernelMode, FALSE, &hour);
    PsTerminateSystemThread(STATUS_SUCCESS);
}
WRONG(passive, thread_exit)
{
    HANDLE handle;
    EXPECT(start(in_region, &handle), STATUS_SUCCESS);
    ZwWaitForSingleObject(handle, FALSE, NULL);
    ZwClose(handle);
    return 0;
}
WRONG(passive, thread_priority)
{
    KeSetPriorityThread(KeGetCurrentThread(), 99);
    return 0;
}
WRONG(passive, thread_left)
{
    HANDLE handle;
    EXPECT(start(sleeper, &handle), STATUS_SUCCESS);
    ZwClose(handle);
    return 0;
}
