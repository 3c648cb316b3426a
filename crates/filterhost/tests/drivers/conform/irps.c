// What a minifilter asks the disk below a volume, by a device control request of its own.
// The pages are wdm's (and fltkernel's for the disk), one for each function named in the cases.
#include "harness.h"

#define STATUS_PENDING 0x103
#define IOCTL_DISK_GET_DRIVE_GEOMETRY 0x70000
#define IOCTL_DISK_GET_CLUSTER_INFO 0x70214

typedef struct { PVOID Disk; KEVENT Done; IO_STATUS_BLOCK Block; UCHAR Answer[32]; } ASKED;

static PVOID build(ASKED *asked, ULONG code)
{
    asked->Block.Status = 0x11223344;
    KeInitializeEvent(&asked->Done, 1, FALSE);
    return IoBuildDeviceIoControlRequest(code, asked->Disk, NULL, 0, asked->Answer,
        sizeof(asked->Answer), FALSE, &asked->Done, &asked->Block);
}
// Sends a request and waits for its end; gives what the send itself returned.
static NTSTATUS ask(ASKED *asked, ULONG code)
{
    PVOID irp = build(asked, code);
    if (!irp) return STATUS_INSUFFICIENT_RESOURCES;
    NTSTATUS sent = IofCallDriver(asked->Disk, irp);
    if (sent == STATUS_PENDING) KeWaitForSingleObject(&asked->Done, 0, 0, FALSE, NULL);
    return sent;
}

CASE(passive, FltGetDiskDeviceObject, STATUS_SUCCESS)
{
    PVOID disk = NULL, again = NULL, volume = NULL;
    EXPECT(FltGetDiskDeviceObject(in->Volume, &disk), STATUS_SUCCESS);
    EXPECT(FltGetDiskDeviceObject(in->Volume, &again), STATUS_SUCCESS);
    EXPECT(FltGetDeviceObject(in->Volume, &volume), STATUS_SUCCESS);
    CHECK(disk != NULL && disk == again && disk != volume);
    ObfDereferenceObject(volume);
    ObfDereferenceObject(again);
    ObfDereferenceObject(disk);
    return 0;
}
CASE(network_passive, FltGetDiskDeviceObject, STATUS_FLT_NO_DEVICE_OBJECT)
{
    // On any error the output is not modified.
    PVOID disk = &disk;
    EXPECT(FltGetDiskDeviceObject(in->Volume, &disk), STATUS_FLT_NO_DEVICE_OBJECT);
    CHECK(disk == &disk);
    return 0;
}
CASE(passive, IoGetAttachedDeviceReference, POINTER)
{
    PVOID disk = NULL;
    EXPECT(FltGetDiskDeviceObject(in->Volume, &disk), STATUS_SUCCESS);
    // The topmost device answers for the whole stack.
    ASKED asked = { .Disk = IoGetAttachedDeviceReference(disk) };
    CHECK(asked.Disk != NULL);
    NTSTATUS sent = ask(&asked, IOCTL_DISK_GET_DRIVE_GEOMETRY);
    CHECK(sent == STATUS_PENDING || sent == asked.Block.Status);
    ObfDereferenceObject(asked.Disk);
    ObfDereferenceObject(disk);
    return 0;
}
CASE(passive, IoBuildDeviceIoControlRequest, POINTER)
{
    ASKED asked = { 0 };
    EXPECT(FltGetDiskDeviceObject(in->Volume, &asked.Disk), STATUS_SUCCESS);
    PVOID one = build(&asked, IOCTL_DISK_GET_CLUSTER_INFO);
    CHECK(one != NULL);
    // Nothing happens before it is sent.
    CHECK(asked.Block.Status == 0x11223344);
    if (IofCallDriver(asked.Disk, one) == STATUS_PENDING)
        KeWaitForSingleObject(&asked.Done, 0, 0, FALSE, NULL);
    // A disk of no cluster says so in one of two ways.
    if (asked.Block.Status == STATUS_SUCCESS)
        CHECK(asked.Block.Information == 32 && asked.Answer[0] == 32 && asked.Answer[8] == 0);
    else
        CHECK(asked.Block.Status == STATUS_INVALID_DEVICE_REQUEST);
    ObfDereferenceObject(asked.Disk);
    return 0;
}
CASE(fault_passive, IoBuildDeviceIoControlRequest, NULL)
{
    ASKED asked = { 0 };
    EXPECT(FltGetDiskDeviceObject(in->Volume, &asked.Disk), STATUS_SUCCESS);
    CHECK(build(&asked, IOCTL_DISK_GET_CLUSTER_INFO) == NULL);
    ObfDereferenceObject(asked.Disk);
    return 0;
}
// The device may answer at once or later: of many requests some go each way.
static ULONG until_sent(PFLT_VOLUME volume, NTSTATUS wanted)
{
    ASKED asked = { 0 };
    NTSTATUS sent = wanted + 1;
    EXPECT(FltGetDiskDeviceObject(volume, &asked.Disk), STATUS_SUCCESS);
    for (int tries = 0; tries < 64 && sent != wanted; tries++) {
        sent = ask(&asked, IOCTL_DISK_GET_DRIVE_GEOMETRY);
        CHECK(asked.Block.Status == STATUS_INVALID_DEVICE_REQUEST && !asked.Block.Information);
    }
    ObfDereferenceObject(asked.Disk);
    EXPECT(sent, wanted);
    return 0;
}
CASE(passive, IofCallDriver, STATUS_PENDING)
{
    return until_sent(in->Volume, STATUS_PENDING);
}
CASE(passive, IofCallDriver, STATUS_INVALID_DEVICE_REQUEST)
{
    return until_sent(in->Volume, STATUS_INVALID_DEVICE_REQUEST);
}
