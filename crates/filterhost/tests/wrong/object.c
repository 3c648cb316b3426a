#include "wrong.h"

// An event object: a handle to it and, where it is asked for, a reference.
static NTSTATUS make(HANDLE *handle, PVOID *event)
{
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    NTSTATUS status = ZwCreateEvent(handle, EVENT_ALL_ACCESS, &how, 0, FALSE);
    if (status < 0) return status;
    return ObReferenceObjectByHandle(*handle, 0, NULL, KernelMode, event, NULL);
}
WRONG(passive, object_use_after_free)
{
    HANDLE handle;
    PVOID event;
    EXPECT(make(&handle, &event), STATUS_SUCCESS);
    ZwClose(handle);
    ObfDereferenceObject(event);
    ObfReferenceObject(event);
    return 0;
}
WRONG(passive, object_pointer)
{
    ObfReferenceObject(Stray);
    return 0;
}
WRONG(passive, object_type)
{
    return PsGetProcessId(PsGetCurrentThread()) == NULL;
}
WRONG(passive, object_over_dereference)
{
    HANDLE handle;
    PVOID event;
    EXPECT(make(&handle, &event), STATUS_SUCCESS);
    ObfDereferenceObject(event);
    ObfDereferenceObject(event);
    ZwClose(handle);
    return 0;
}
WRONG(post_create, object_reference_leak)
{
    ObfReferenceObject(in->File);
    return 0;
}
WRONG(passive, handle_leak)
{
    HANDLE handle;
    OBJECT_ATTRIBUTES how = attributes(TheRegistryPath, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    EXPECT(ZwOpenKey(&handle, KEY_READ, &how), STATUS_SUCCESS);
    return 0;
}
