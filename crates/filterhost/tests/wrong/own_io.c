#include "wrong.h"

static NTSTATUS read(INPUT *in, FILE_OBJECT *file, LONGLONG from, ULONG flags)
{
    UCHAR bytes[4];
    LARGE_INTEGER offset = { from };
    ULONG count;
    return FltReadFile(in->Instance, file, &offset, 4, bytes, flags, &count, NULL, NULL);
}
WRONG(passive, io_file)
{
    read(in, NULL, 0, 0);
    return 0;
}
WRONG(cancelled_post_create, io_cancelled_file)
{
    FltCancelFileOpen(in->Instance, in->File);
    in->Data->IoStatus.Status = STATUS_ACCESS_DENIED;
    read(in, in->File, 0, 0);
    return 0;
}
WRONG(post_create, io_apcs_disabled)
{
    KeEnterGuardedRegion();
    read(in, in->File, 0, 0);
    KeLeaveGuardedRegion();
    return 0;
}
WRONG(post_create, io_push_lock)
{
    static EX_PUSH_LOCK lock;
    FltInitializePushLock(&lock);
    FltAcquirePushLockShared(&lock);
    read(in, in->File, 0, 0);
    FltReleasePushLock(&lock);
    FltDeletePushLock(&lock);
    return 0;
}
WRONG(post_create, unaligned_io)
{
    read(in, in->File, 1, 1);
    return 0;
}
