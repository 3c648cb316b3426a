#include "wrong.h"

static NTSTATUS refuse(const FLT_RELATED_OBJECTS *objects, PFLT_CONTEXT context, ULONG mask)
{
    return STATUS_UNSUCCESSFUL;
}
WRONG(transaction_passive, transaction_status)
{
    PFLT_CONTEXT made;
    EXPECT(FltAllocateContext(in->Filter, FLT_TRANSACTION_CONTEXT, SIZE_SMALL, NonPagedPoolNx,
        &made), STATUS_SUCCESS);
    OnTransaction = refuse;
    EXPECT(FltEnlistInTransaction(in->Instance, TheTransaction, made, 4), STATUS_SUCCESS);
    FltReleaseContext(made);
    return 0;
}
