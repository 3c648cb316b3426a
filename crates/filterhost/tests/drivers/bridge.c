// A small minifilter with a port, for the tests of the bridge. What a process sends is passed on
// to the process itself as a message, and its reply is the answer: two threads of the process
// are needed, as with any real service.
#include "conform/flt.h"

static PFLT_FILTER Filter;
static PFLT_PORT Server, Client;

static NTSTATUS connect(PFLT_PORT client, PVOID cookie, PVOID context, ULONG size, PVOID *own)
{
    LARGE_INTEGER pause = { .QuadPart = -1000000 };
    (void)cookie;
    if (size >= 1 && ((UCHAR *)context)[0] == 's') {
        KeDelayExecutionThread(KernelMode, FALSE, &pause);
        return STATUS_INVALID_PARAMETER;
    }
    if (size < 5 || ((UCHAR *)context)[0] != 'h') return STATUS_INVALID_PARAMETER;
    Client = client;
    *own = NULL;
    DbgPrint("connect %x\n", size);
    return STATUS_SUCCESS;
}

static void disconnect(PVOID own)
{
    (void)own;
    DbgPrint("disconnect\n");
    FltCloseClientPort(Filter, &Client);
}

static NTSTATUS message(PVOID own, PVOID in, ULONG in_size, PVOID out, ULONG out_size, ULONG *used)
{
    LARGE_INTEGER timeout = { .QuadPart = -100000000 };
    ULONG room = out_size;
    (void)own;
    NTSTATUS status = FltSendMessage(Filter, &Client, in, in_size, out, &room, &timeout);
    if (status == STATUS_SUCCESS) *used = room;
    return status;
}

static NTSTATUS unload(ULONG flags)
{
    (void)flags;
    FltCloseCommunicationPort(Server);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path);
NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path)
{
    static FLT_REGISTRATION registration;
    static WCHAR text[] = L"\\BridgePort";
    UNICODE_STRING name = { sizeof text - 2, sizeof text - 2, text };
    OBJECT_ATTRIBUTES how = { sizeof how, NULL, &name, OBJ_KERNEL_HANDLE, NULL, NULL };
    (void)path;
    registration.Size = sizeof registration;
    registration.Version = 0x203;
    registration.Operations = Operations;
    registration.Unload = unload;
    NTSTATUS status = FltRegisterFilter(driver, &registration, &Filter);
    if (status < 0) return status;
    status = FltCreateCommunicationPort(Filter, &Server, &how, NULL, connect, disconnect, message, 1);
    if (status >= 0) status = FltStartFiltering(Filter);
    if (status < 0) FltUnregisterFilter(Filter);
    return status;
}
