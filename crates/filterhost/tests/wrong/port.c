#include "wrong.h"

static PFLT_PORT Server, Client;
static BOOLEAN Keeps, Touches, Boasts;

static NTSTATUS on_connect(PFLT_PORT client, PVOID cookie, PVOID context, ULONG size,
    PVOID *connection)
{
    Client = client;
    *connection = &Client;
    return STATUS_SUCCESS;
}
static void on_disconnect(PVOID connection)
{
    if (!Keeps) FltCloseClientPort(TheFilter, (PFLT_PORT *)connection);
}
static NTSTATUS on_message(PVOID connection, PVOID input, ULONG size, PVOID output, ULONG room,
    ULONG *returned)
{
    UCHAR copy[8];
    SIZE_T copied;
    MM_COPY_ADDRESS from = { input };
    if (Touches) copy[0] = *(volatile UCHAR *)input;
    else MmCopyMemory(copy, from, 8, MM_COPY_MEMORY_VIRTUAL, &copied);
    *returned = Boasts ? room + 1 : room;
    return copy[0] == 'q' ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
static NTSTATUS open_port(INPUT *in)
{
    UNICODE_STRING name = text(L"\\ConformPort");
    OBJECT_ATTRIBUTES how = attributes(&name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    NTSTATUS status = FltBuildDefaultSecurityDescriptor(&how.SecurityDescriptor,
        FLT_PORT_ALL_ACCESS);
    if (status < 0) return status;
    status = FltCreateCommunicationPort(in->Filter, &Server, &how, NULL, on_connect, on_disconnect,
        on_message, 1);
    FltFreeSecurityDescriptor(how.SecurityDescriptor);
    return status;
}
CASE(setup, FltSendMessage, OPEN)
{
    EXPECT(open_port(in), STATUS_SUCCESS);
    return 0;
}
CASE(setup, FltSendMessage, CLOSE)
{
    FltCloseCommunicationPort(Server);
    return 0;
}

WRONG(passive, port_pointer)
{
    FltCloseCommunicationPort(NOWHERE);
    return 0;
}
WRONG(passive, client_port_pointer)
{
    PFLT_PORT stray = NOWHERE;
    FltCloseClientPort(in->Filter, &stray);
    return 0;
}
WRONG(silent_passive, port_closed_twice)
{
    PFLT_PORT copy = Client;
    FltCloseClientPort(in->Filter, &Client);
    FltCloseClientPort(in->Filter, &copy);
    return 0;
}
WRONG(passive, port_not_closed)
{
    EXPECT(open_port(in), STATUS_SUCCESS);
    return 0;
}
WRONG(silent_passive, client_port_not_closed)
{
    Keeps = TRUE;
    return 0;
}
WRONG(silent_passive, message_empty)
{
    LARGE_INTEGER soon = { MILLISECONDS(5) };
    FltSendMessage(in->Filter, &Client, NULL, 4, NULL, NULL, &soon);
    return 0;
}
WRONG(sending_passive, message_output_length)
{
    Boasts = TRUE;
    return 0;
}
WRONG(sending_passive, user_address)
{
    Touches = TRUE;
    return 0;
}
