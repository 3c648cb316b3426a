// Communication ports: the server port, its descriptor, connections and messages.
// The pages are fltkernel's nf-fltkernel-fltcreatecommunicationport, -fltclosecommunicationport,
// -fltcloseclientport, -fltsendmessage, -fltbuilddefaultsecuritydescriptor and
// -fltfreesecuritydescriptor.
#include "harness.h"

static PFLT_PORT Server, Client;
static PVOID SeenCookie;
static ULONG Connects, Disconnects;
static UCHAR SeenContext[8];
static ULONG SeenContextSize;

static NTSTATUS on_connect(PFLT_PORT client, PVOID cookie, PVOID context, ULONG size,
    PVOID *connection)
{
    Client = client;
    SeenCookie = cookie;
    SeenContextSize = size;
    for (ULONG i = 0; i < size && i < 8; i++) SeenContext[i] = ((UCHAR *)context)[i];
    *connection = &Client;
    Connects++;
    return STATUS_SUCCESS;
}
static void on_disconnect(PVOID connection)
{
    Disconnects++;
    FltCloseClientPort(TheFilter, (PFLT_PORT *)connection);
}

static NTSTATUS open_port(INPUT *in, ULONG flags, PFLT_PORT *out)
{
    UNICODE_STRING name = text(L"\\ConformPort");
    OBJECT_ATTRIBUTES how = attributes(&name, flags);
    NTSTATUS status = FltBuildDefaultSecurityDescriptor(&how.SecurityDescriptor,
        FLT_PORT_ALL_ACCESS);
    if (status < 0) return status;
    status = FltCreateCommunicationPort(in->Filter, out, &how, &Server, on_connect, on_disconnect,
        NULL, 1);
    FltFreeSecurityDescriptor(how.SecurityDescriptor);
    return status;
}
static const ULONG Right = OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE;

// The situations with a client run these two around the case itself, the first before the
// client connects, the last after the case.
CASE(setup, FltSendMessage, OPEN)
{
    EXPECT(open_port(in, Right, &Server), STATUS_SUCCESS);
    return 0;
}
CASE(setup, FltSendMessage, CLOSE)
{
    FltCloseCommunicationPort(Server);
    return 0;
}

CASE(passive, FltBuildDefaultSecurityDescriptor, STATUS_SUCCESS)
{
    UCHAR *made = NULL;
    EXPECT(FltBuildDefaultSecurityDescriptor((PVOID *)&made, FLT_PORT_ALL_ACCESS), STATUS_SUCCESS);
    // SECURITY_DESCRIPTOR: revision 1, and a discretionary list is present (control bit 4).
    CHECK(made != NULL && made[0] == 1 && (made[2] & 4) != 0);
    FltFreeSecurityDescriptor(made);
    return 0;
}
CASE(fault_passive, FltBuildDefaultSecurityDescriptor, STATUS_INSUFFICIENT_RESOURCES)
{
    PVOID made = NULL;
    EXPECT(FltBuildDefaultSecurityDescriptor(&made, FLT_PORT_ALL_ACCESS),
        STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(passive, FltFreeSecurityDescriptor, VOID)
{
    // Freed memory comes back: what is not freed is a leak that unload reports.
    for (ULONG i = 0; i < 4; i++) {
        PVOID made = NULL;
        EXPECT(FltBuildDefaultSecurityDescriptor(&made, FLT_PORT_ALL_ACCESS), STATUS_SUCCESS);
        FltFreeSecurityDescriptor(made);
    }
    return 0;
}
CASE(passive, FltCreateCommunicationPort, STATUS_SUCCESS)
{
    PFLT_PORT port = NULL;
    EXPECT(open_port(in, Right, &port), STATUS_SUCCESS);
    CHECK(port != NULL);
    FltCloseCommunicationPort(port);
    return 0;
}
CASE(passive, FltCreateCommunicationPort, STATUS_INVALID_PARAMETER)
{
    // The page of ObjectAttributes' parameter asks for OBJ_KERNEL_HANDLE.
    PFLT_PORT port = NULL;
    EXPECT(open_port(in, OBJ_CASE_INSENSITIVE, &port), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(passive, FltCreateCommunicationPort, STATUS_OBJECT_NAME_COLLISION)
{
    PFLT_PORT port = NULL, twin = NULL;
    EXPECT(open_port(in, Right, &port), STATUS_SUCCESS);
    EXPECT(open_port(in, Right, &twin), STATUS_OBJECT_NAME_COLLISION);
    FltCloseCommunicationPort(port);
    return 0;
}
CASE(teardown, FltCreateCommunicationPort, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_PORT port = NULL;
    EXPECT(open_port(in, Right, &port), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(fault_passive, FltCreateCommunicationPort, STATUS_INSUFFICIENT_RESOURCES)
{
    PFLT_PORT port = NULL;
    EXPECT(open_port(in, Right, &port), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(passive, FltCloseCommunicationPort, VOID)
{
    PFLT_PORT port = NULL;
    EXPECT(open_port(in, Right, &port), STATUS_SUCCESS);
    FltCloseCommunicationPort(port);
    // The name is free again.
    EXPECT(open_port(in, Right, &port), STATUS_SUCCESS);
    FltCloseCommunicationPort(port);
    return 0;
}

// In `answered`, the test program's client replies to the message 01 02 03 04 with 0A 0B.
CASE(answered_passive, FltSendMessage, STATUS_SUCCESS)
{
    UCHAR message[4] = { 1, 2, 3, 4 }, reply[8] = { 0 };
    ULONG size = sizeof(reply);
    CHECK(Connects == 1 && SeenCookie == &Server);
    EXPECT(FltSendMessage(in->Filter, &Client, message, 4, reply, &size, NULL), STATUS_SUCCESS);
    CHECK(size == 2 && reply[0] == 0x0A && reply[1] == 0x0B);
    return 0;
}
// In `silent`, a client is connected and never asks for a message.
CASE(silent_passive, FltSendMessage, STATUS_TIMEOUT)
{
    UCHAR message[4] = { 1, 2, 3, 4 }, reply[8];
    ULONG size = sizeof(reply);
    LARGE_INTEGER limit = { MILLISECONDS(20) };
    CHECK(Connects == 1);
    EXPECT(FltSendMessage(in->Filter, &Client, message, 4, reply, &size, &limit), STATUS_TIMEOUT);
    return 0;
}
// In `deaf`, the client has taken the message and never replies.
CASE(deaf_passive, FltSendMessage, REPLY_TIMEOUT)
{
    UCHAR message[4] = { 1, 2, 3, 4 }, reply[8];
    ULONG size = sizeof(reply);
    LARGE_INTEGER limit = { MILLISECONDS(20) };
    EXPECT(FltSendMessage(in->Filter, &Client, message, 4, reply, &size, &limit), STATUS_TIMEOUT);
    return 0;
}
// In `gone`, the client was connected and has closed its handle.
CASE(gone_passive, FltSendMessage, STATUS_PORT_DISCONNECTED)
{
    UCHAR message[4] = { 1, 2, 3, 4 }, reply[8];
    ULONG size = sizeof(reply);
    CHECK(Connects == 1 && Disconnects == 1);
    EXPECT(FltSendMessage(in->Filter, &Client, message, 4, reply, &size, NULL),
        STATUS_PORT_DISCONNECTED);
    return 0;
}
// In `leaving`, the client takes the message and closes its handle instead of replying.
CASE(leaving_passive, FltSendMessage, LEAVING_PORT_DISCONNECTED)
{
    UCHAR message[4] = { 1, 2, 3, 4 }, reply[8];
    ULONG size = sizeof(reply);
    EXPECT(FltSendMessage(in->Filter, &Client, message, 4, reply, &size, NULL),
        STATUS_PORT_DISCONNECTED);
    return 0;
}
CASE(fault_silent_passive, FltSendMessage, STATUS_INSUFFICIENT_RESOURCES)
{
    UCHAR message[4] = { 1, 2, 3, 4 }, reply[8];
    ULONG size = sizeof(reply);
    EXPECT(FltSendMessage(in->Filter, &Client, message, 4, reply, &size, NULL),
        STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
// In `dying`, the calling thread is a user's, and another one ends it during the wait.
CASE(dying_pre_create, FltSendMessage, STATUS_THREAD_IS_TERMINATING)
{
    UCHAR message[4] = { 1, 2, 3, 4 }, reply[8];
    ULONG size = sizeof(reply);
    EXPECT(FltSendMessage(in->Filter, &Client, message, 4, reply, &size, NULL),
        STATUS_THREAD_IS_TERMINATING);
    return 0;
}
CASE(silent_passive, FltCloseClientPort, VOID)
{
    UCHAR message[4] = { 1, 2, 3, 4 }, reply[8];
    ULONG size = sizeof(reply);
    CHECK(Client != NULL);
    FltCloseClientPort(in->Filter, &Client);
    CHECK(Client == NULL);
    EXPECT(FltSendMessage(in->Filter, &Client, message, 4, reply, &size, NULL),
        STATUS_PORT_DISCONNECTED);
    return 0;
}
