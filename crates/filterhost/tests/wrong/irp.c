#include "wrong.h"

#define IOCTL_DISK_GET_DRIVE_GEOMETRY 0x70000
static KEVENT Done;
static IO_STATUS_BLOCK Block;
static UCHAR Answer[32];

static PVOID build(PVOID device, ULONG input, IO_STATUS_BLOCK *status)
{
    KeInitializeEvent(&Done, SynchronizationEvent, FALSE);
    return IoBuildDeviceIoControlRequest(IOCTL_DISK_GET_DRIVE_GEOMETRY, device, NULL, input,
        Answer, sizeof(Answer), FALSE, &Done, status);
}
static void send(PVOID device, PVOID irp)
{
    if (IofCallDriver(device, irp) == STATUS_PENDING)
        KeWaitForSingleObject(&Done, 0, KernelMode, FALSE, NULL);
}

WRONG(passive, device_pointer)
{
    IoGetAttachedDeviceReference(Stray);
    return 0;
}
WRONG(passive, irp_buffer)
{
    PVOID disk;
    EXPECT(FltGetDiskDeviceObject(in->Volume, &disk), STATUS_SUCCESS);
    send(disk, build(disk, 5, &Block));
    ObfDereferenceObject(disk);
    return 0;
}
WRONG(passive, irp_status_block)
{
    PVOID disk;
    EXPECT(FltGetDiskDeviceObject(in->Volume, &disk), STATUS_SUCCESS);
    send(disk, build(disk, 0, NULL));
    ObfDereferenceObject(disk);
    return 0;
}
WRONG(passive, irp_pointer)
{
    PVOID disk;
    EXPECT(FltGetDiskDeviceObject(in->Volume, &disk), STATUS_SUCCESS);
    IofCallDriver(disk, Stray);
    return 0;
}
WRONG(passive, irp_other_device)
{
    PVOID disk, volume;
    EXPECT(FltGetDiskDeviceObject(in->Volume, &disk), STATUS_SUCCESS);
    EXPECT(FltGetDeviceObject(in->Volume, &volume), STATUS_SUCCESS);
    send(volume, build(disk, 0, &Block));
    ObfDereferenceObject(volume);
    ObfDereferenceObject(disk);
    return 0;
}
WRONG(passive, irp_leak)
{
    PVOID disk;
    EXPECT(FltGetDiskDeviceObject(in->Volume, &disk), STATUS_SUCCESS);
    build(disk, 0, &Block);
    ObfDereferenceObject(disk);
    return 0;
}
