// Transactions: contexts, enlistment, and the end of a notification.
// The pages are fltkernel's, one for each function named in the cases.
#include "harness.h"

#define TRANSACTION_NOTIFY_COMMIT 4
#define TRANSACTION_NOTIFY_ROLLBACK 8

static NTSTATUS make(INPUT *in, USHORT type, PFLT_CONTEXT *out)
{
    return FltAllocateContext(in->Filter, type, SIZE_SMALL, NonPagedPoolNx, out);
}
static NTSTATUS set(INPUT *in, int how, PFLT_CONTEXT new, PFLT_CONTEXT *old)
{
    return FltSetTransactionContext(in->Instance, TheTransaction, how, new, old);
}
static NTSTATUS get(INPUT *in, PFLT_CONTEXT *out)
{
    return FltGetTransactionContext(in->Instance, TheTransaction, out);
}
static NTSTATUS delete(INPUT *in, PFLT_CONTEXT *old)
{
    return FltDeleteTransactionContext(in->Instance, TheTransaction, old);
}

CASE(transaction_passive, FltSetTransactionContext, STATUS_SUCCESS)
{
    PFLT_CONTEXT first, second, old = (PVOID)1;
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &first), STATUS_SUCCESS);
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &second), STATUS_SUCCESS);
    EXPECT(set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, first, &old), STATUS_SUCCESS);
    CHECK(old == NULL);
    EXPECT(set(in, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, second, &old), STATUS_SUCCESS);
    CHECK(old == first);
    FltReleaseContext(old);
    FltReleaseContext(first);
    CHECK(Armed.Cleanups == 1);
    FltReleaseContext(second);
    CHECK(Armed.Cleanups == 1);
    EXPECT(delete(in, NULL), STATUS_SUCCESS);
    CHECK(Armed.Cleanups == 2);
    return 0;
}
CASE(transaction_passive, FltSetTransactionContext, STATUS_FLT_CONTEXT_ALREADY_DEFINED)
{
    PFLT_CONTEXT first, second, old = NULL;
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &first), STATUS_SUCCESS);
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &second), STATUS_SUCCESS);
    EXPECT(set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, first, NULL), STATUS_SUCCESS);
    EXPECT(set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, second, &old),
        STATUS_FLT_CONTEXT_ALREADY_DEFINED);
    CHECK(old == first);
    FltReleaseContext(old);
    FltReleaseContext(second);
    FltReleaseContext(first);
    CHECK(Armed.Cleanups == 1);
    EXPECT(delete(in, NULL), STATUS_SUCCESS);
    return 0;
}
CASE(transaction_passive, FltSetTransactionContext, STATUS_FLT_CONTEXT_ALREADY_LINKED)
{
    PFLT_CONTEXT made, old = NULL;
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &made), STATUS_SUCCESS);
    EXPECT(set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL), STATUS_SUCCESS);
    EXPECT(set(in, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, made, &old),
        STATUS_FLT_CONTEXT_ALREADY_LINKED);
    if (old) FltReleaseContext(old);
    EXPECT(delete(in, NULL), STATUS_SUCCESS);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 1);
    return 0;
}
CASE(transaction_passive, FltSetTransactionContext, STATUS_INVALID_PARAMETER)
{
    PFLT_CONTEXT wrong, right;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &wrong), STATUS_SUCCESS);
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &right), STATUS_SUCCESS);
    EXPECT(set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, wrong, NULL), STATUS_INVALID_PARAMETER);
    EXPECT(set(in, 7, right, NULL), STATUS_INVALID_PARAMETER);
    FltReleaseContext(wrong);
    FltReleaseContext(right);
    return 0;
}
static PFLT_CONTEXT Prepared;
CASE(prepare, FltSetTransactionContext, STATUS_FLT_DELETING_OBJECT)
{
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &Prepared), STATUS_SUCCESS);
    return 0;
}
CASE(transaction_teardown, FltSetTransactionContext, STATUS_FLT_DELETING_OBJECT)
{
    NTSTATUS got = set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, Prepared, NULL);
    FltReleaseContext(Prepared);
    EXPECT(got, STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(transaction_passive, FltGetTransactionContext, STATUS_SUCCESS)
{
    PFLT_CONTEXT made, seen = NULL;
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &made), STATUS_SUCCESS);
    EXPECT(set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL), STATUS_SUCCESS);
    EXPECT(get(in, &seen), STATUS_SUCCESS);
    CHECK(seen == made);
    EXPECT(delete(in, NULL), STATUS_SUCCESS);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(seen);
    CHECK(Armed.Cleanups == 1);
    return 0;
}
CASE(transaction_passive, FltGetTransactionContext, STATUS_NOT_FOUND)
{
    PFLT_CONTEXT seen = (PVOID)1;
    EXPECT(get(in, &seen), STATUS_NOT_FOUND);
    return 0;
}
CASE(transaction_passive, FltDeleteTransactionContext, STATUS_SUCCESS)
{
    PFLT_CONTEXT made, old = NULL;
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &made), STATUS_SUCCESS);
    EXPECT(set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL), STATUS_SUCCESS);
    EXPECT(delete(in, &old), STATUS_SUCCESS);
    CHECK(old == made);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(old);
    CHECK(Armed.Cleanups == 1);
    return 0;
}
CASE(transaction_passive, FltDeleteTransactionContext, STATUS_NOT_FOUND)
{
    EXPECT(delete(in, NULL), STATUS_NOT_FOUND);
    return 0;
}
CASE(transaction_teardown, FltDeleteTransactionContext, STATUS_FLT_DELETING_OBJECT)
{
    EXPECT(delete(in, NULL), STATUS_FLT_DELETING_OBJECT);
    return 0;
}

static NTSTATUS enlist(INPUT *in, ULONG mask)
{
    PFLT_CONTEXT made;
    NTSTATUS status = make(in, FLT_TRANSACTION_CONTEXT, &made);
    if (status < 0) return status;
    status = set(in, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, made, NULL);
    if (status >= 0) status = FltEnlistInTransaction(in->Instance, TheTransaction, made, mask);
    FltReleaseContext(made);
    return status;
}
static ULONG Notified;
static NTSTATUS note(const FLT_RELATED_OBJECTS *objects, PFLT_CONTEXT context, ULONG mask)
{
    UNUSED(objects), UNUSED(context);
    Notified |= mask;
    return STATUS_SUCCESS;
}
// The test program commits the transaction after the case.
CASE(transaction_passive, FltEnlistInTransaction, STATUS_SUCCESS)
{
    OnTransaction = note;
    EXPECT(enlist(in, TRANSACTION_NOTIFY_COMMIT), STATUS_SUCCESS);
    return 0;
}
CASE(check, FltEnlistInTransaction, STATUS_SUCCESS)
{
    CHECK(Notified == TRANSACTION_NOTIFY_COMMIT);
    return 0;
}
CASE(transaction_passive, FltEnlistInTransaction, STATUS_FLT_ALREADY_ENLISTED)
{
    OnTransaction = note;
    EXPECT(enlist(in, TRANSACTION_NOTIFY_COMMIT), STATUS_SUCCESS);
    EXPECT(enlist(in, TRANSACTION_NOTIFY_COMMIT), STATUS_FLT_ALREADY_ENLISTED);
    return 0;
}
CASE(transaction_teardown, FltEnlistInTransaction, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_CONTEXT context = Prepared;
    NTSTATUS got = FltEnlistInTransaction(in->Instance, TheTransaction, context,
        TRANSACTION_NOTIFY_COMMIT);
    FltReleaseContext(context);
    EXPECT(got, STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(prepare, FltEnlistInTransaction, STATUS_FLT_DELETING_OBJECT)
{
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &Prepared), STATUS_SUCCESS);
    return 0;
}
CASE(fault_transaction_passive, FltEnlistInTransaction, STATUS_INSUFFICIENT_RESOURCES)
{
    EXPECT(enlist(in, TRANSACTION_NOTIFY_COMMIT), STATUS_INSUFFICIENT_RESOURCES);
    EXPECT(delete(in, NULL), STATUS_SUCCESS);
    return 0;
}
CASE(transaction_passive, FltEnlistInTransaction, STATUS_INVALID_PARAMETER_4)
{
    EXPECT(enlist(in, 0x00800000), STATUS_INVALID_PARAMETER_4);
    EXPECT(delete(in, NULL), STATUS_SUCCESS);
    return 0;
}

// A notification that is pended ends when a work item of the filter says so.
static struct { PFLT_INSTANCE Instance; PFLT_CONTEXT Context; NTSTATUS Got; KEVENT Done; } Held;
static void complete_commit(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    UNUSED(object), UNUSED(context);
    FltFreeGenericWorkItem(item);
    Held.Got = FltCommitComplete(Held.Instance, TheTransaction, Held.Context);
    KeSetEvent(&Held.Done, 0, FALSE);
}
static void complete_rollback(PFLT_WORKITEM item, PVOID object, PVOID context)
{
    UNUSED(object), UNUSED(context);
    FltFreeGenericWorkItem(item);
    Held.Got = FltRollbackComplete(Held.Instance, TheTransaction, Held.Context);
    KeSetEvent(&Held.Done, 0, FALSE);
}
static NTSTATUS pend(const FLT_RELATED_OBJECTS *objects, PFLT_CONTEXT context, ULONG mask)
{
    PFLT_WORKITEM item = FltAllocateGenericWorkItem();
    if (item == NULL) return STATUS_SUCCESS;
    Held.Instance = objects->Instance;
    Held.Context = context;
    if (FltQueueGenericWorkItem(item, TheFilter,
        mask == TRANSACTION_NOTIFY_COMMIT ? complete_commit : complete_rollback, 1, NULL) < 0) {
        FltFreeGenericWorkItem(item);
        return STATUS_SUCCESS;
    }
    return 0x103; // STATUS_PENDING
}
CASE(transaction_passive, FltCommitComplete, STATUS_SUCCESS)
{
    Held.Got = -1;
    KeInitializeEvent(&Held.Done, NotificationEvent, FALSE);
    OnTransaction = pend;
    EXPECT(enlist(in, TRANSACTION_NOTIFY_COMMIT), STATUS_SUCCESS);
    return 0;
}
CASE(check, FltCommitComplete, STATUS_SUCCESS)
{
    EXPECT(KeWaitForSingleObject(&Held.Done, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    EXPECT(Held.Got, STATUS_SUCCESS);
    return 0;
}
CASE(transaction_passive, FltCommitComplete, STATUS_NOT_FOUND)
{
    PFLT_CONTEXT made;
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &made), STATUS_SUCCESS);
    NTSTATUS got = FltCommitComplete(in->Instance, TheTransaction, made);
    FltReleaseContext(made);
    EXPECT(got, STATUS_NOT_FOUND);
    return 0;
}
// In `rolled`, the test program rolls the transaction back instead.
CASE(rolled_transaction_passive, FltRollbackComplete, STATUS_SUCCESS)
{
    Held.Got = -1;
    KeInitializeEvent(&Held.Done, NotificationEvent, FALSE);
    OnTransaction = pend;
    EXPECT(enlist(in, TRANSACTION_NOTIFY_ROLLBACK), STATUS_SUCCESS);
    return 0;
}
CASE(check, FltRollbackComplete, STATUS_SUCCESS)
{
    EXPECT(KeWaitForSingleObject(&Held.Done, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    EXPECT(Held.Got, STATUS_SUCCESS);
    return 0;
}
CASE(transaction_passive, FltRollbackComplete, STATUS_NOT_FOUND)
{
    PFLT_CONTEXT made;
    EXPECT(make(in, FLT_TRANSACTION_CONTEXT, &made), STATUS_SUCCESS);
    NTSTATUS got = FltRollbackComplete(in->Instance, TheTransaction, made);
    FltReleaseContext(made);
    EXPECT(got, STATUS_NOT_FOUND);
    return 0;
}
// A filter without a notification callback has nothing to be told with.
CASE(mounted_entry, FltEnlistInTransaction, STATUS_INVALID_PARAMETER)
{
    FLT_REGISTRATION changed = TheRegistration;
    PFLT_FILTER filter;
    PFLT_VOLUME volume;
    PFLT_INSTANCE instance;
    PFLT_CONTEXT made;
    ULONG count;
    changed.Transaction = NULL;
    EXPECT(FltRegisterFilter(TheDriver, &changed, &filter), STATUS_SUCCESS);
    EXPECT(FltStartFiltering(filter), STATUS_SUCCESS);
    EXPECT(FltEnumerateVolumes(filter, &volume, 1, &count), STATUS_SUCCESS);
    EXPECT(FltEnumerateInstances(volume, filter, &instance, 1, &count), STATUS_SUCCESS);
    EXPECT(FltAllocateContext(filter, FLT_TRANSACTION_CONTEXT, SIZE_SMALL, NonPagedPoolNx, &made),
        STATUS_SUCCESS);
    NTSTATUS got = FltEnlistInTransaction(instance, TheTransaction, made,
        TRANSACTION_NOTIFY_COMMIT);
    FltReleaseContext(made);
    FltObjectDereference(instance);
    FltObjectDereference(volume);
    FltUnregisterFilter(filter);
    EXPECT(got, STATUS_INVALID_PARAMETER);
    return 0;
}
