// Contexts: allocation, reference counts, and set, get and delete for every kind of object.
// The pages are fltkernel's nf-fltkernel-flt{allocate,reference,release,delete}context and
// nf-fltkernel-flt{set,get,delete}{stream,streamhandle,instance,volume}context.
#include "harness.h"

typedef struct {
    USHORT Type;
    NTSTATUS (*Set)(INPUT *, int, PFLT_CONTEXT, PFLT_CONTEXT *);
    NTSTATUS (*Get)(INPUT *, PFLT_CONTEXT *);
    NTSTATUS (*Delete)(INPUT *, PFLT_CONTEXT *);
} KIND;

static NTSTATUS stream_set(INPUT *in, int how, PFLT_CONTEXT new, PFLT_CONTEXT *old)
{
    return FltSetStreamContext(in->Instance, in->File, how, new, old);
}
static NTSTATUS stream_get(INPUT *in, PFLT_CONTEXT *out)
{
    return FltGetStreamContext(in->Instance, in->File, out);
}
static NTSTATUS stream_delete(INPUT *in, PFLT_CONTEXT *old)
{
    return FltDeleteStreamContext(in->Instance, in->File, old);
}
static NTSTATUS handle_set(INPUT *in, int how, PFLT_CONTEXT new, PFLT_CONTEXT *old)
{
    return FltSetStreamHandleContext(in->Instance, in->File, how, new, old);
}
static NTSTATUS handle_get(INPUT *in, PFLT_CONTEXT *out)
{
    return FltGetStreamHandleContext(in->Instance, in->File, out);
}
static NTSTATUS handle_delete(INPUT *in, PFLT_CONTEXT *old)
{
    return FltDeleteStreamHandleContext(in->Instance, in->File, old);
}
static NTSTATUS instance_set(INPUT *in, int how, PFLT_CONTEXT new, PFLT_CONTEXT *old)
{
    return FltSetInstanceContext(in->Instance, how, new, old);
}
static NTSTATUS instance_get(INPUT *in, PFLT_CONTEXT *out)
{
    return FltGetInstanceContext(in->Instance, out);
}
static NTSTATUS instance_delete(INPUT *in, PFLT_CONTEXT *old)
{
    return FltDeleteInstanceContext(in->Instance, old);
}
static NTSTATUS volume_set(INPUT *in, int how, PFLT_CONTEXT new, PFLT_CONTEXT *old)
{
    return FltSetVolumeContext(in->Volume, how, new, old);
}
static NTSTATUS volume_get(INPUT *in, PFLT_CONTEXT *out)
{
    return FltGetVolumeContext(in->Filter, in->Volume, out);
}
static NTSTATUS volume_delete(INPUT *in, PFLT_CONTEXT *old)
{
    return FltDeleteVolumeContext(in->Filter, in->Volume, old);
}
static NTSTATUS file_set(INPUT *in, int how, PFLT_CONTEXT new, PFLT_CONTEXT *old)
{
    return FltSetFileContext(in->Instance, in->File, how, new, old);
}
static NTSTATUS file_get(INPUT *in, PFLT_CONTEXT *out)
{
    return FltGetFileContext(in->Instance, in->File, out);
}
static NTSTATUS file_delete(INPUT *in, PFLT_CONTEXT *old)
{
    return FltDeleteFileContext(in->Instance, in->File, old);
}
static const KIND File = { FLT_FILE_CONTEXT, file_set, file_get, file_delete };
static const KIND Stream = { FLT_STREAM_CONTEXT, stream_set, stream_get, stream_delete };
static const KIND Handle = { FLT_STREAMHANDLE_CONTEXT, handle_set, handle_get, handle_delete };
static const KIND Instance = { FLT_INSTANCE_CONTEXT, instance_set, instance_get, instance_delete };
static const KIND Volume = { FLT_VOLUME_CONTEXT, volume_set, volume_get, volume_delete };

static NTSTATUS make(INPUT *in, USHORT type, PFLT_CONTEXT *out)
{
    return FltAllocateContext(in->Filter, type, SIZE_SMALL, NonPagedPoolNx, out);
}

// A set keeps a reference of its own; replacing gives the old context back, referenced.
static ULONG set_success(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT first, second, seen = (PVOID)1, old = (PVOID)1;
    EXPECT(make(in, kind->Type, &first), STATUS_SUCCESS);
    EXPECT(make(in, kind->Type, &second), STATUS_SUCCESS);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, first, &old), STATUS_SUCCESS);
    CHECK(old == NULL);
    EXPECT(kind->Get(in, &seen), STATUS_SUCCESS);
    CHECK(seen == first);
    FltReleaseContext(seen);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, second, &old), STATUS_SUCCESS);
    CHECK(old == first);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(old);
    FltReleaseContext(first);
    CHECK(Armed.Cleanups == 1);
    EXPECT(kind->Get(in, &seen), STATUS_SUCCESS);
    CHECK(seen == second);
    FltReleaseContext(seen);
    FltReleaseContext(second);
    CHECK(Armed.Cleanups == 1);
    EXPECT(kind->Delete(in, NULL), STATUS_SUCCESS);
    CHECK(Armed.Cleanups == 2);
    return 0;
}

static ULONG set_already_defined(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT first, second, old = NULL;
    EXPECT(make(in, kind->Type, &first), STATUS_SUCCESS);
    EXPECT(make(in, kind->Type, &second), STATUS_SUCCESS);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, first, NULL), STATUS_SUCCESS);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, second, &old),
        STATUS_FLT_CONTEXT_ALREADY_DEFINED);
    CHECK(old == first);
    FltReleaseContext(old);
    // The failed set took no reference: this one release frees the second context.
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(second);
    CHECK(Armed.Cleanups == 1);
    FltReleaseContext(first);
    EXPECT(kind->Delete(in, NULL), STATUS_SUCCESS);
    return 0;
}

static ULONG set_already_linked(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT made, old = NULL;
    EXPECT(make(in, kind->Type, &made), STATUS_SUCCESS);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL), STATUS_SUCCESS);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, made, &old),
        STATUS_FLT_CONTEXT_ALREADY_LINKED);
    if (old) FltReleaseContext(old);
    EXPECT(kind->Delete(in, NULL), STATUS_SUCCESS);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 1);
    return 0;
}

static ULONG set_invalid(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT other, right;
    USHORT wrong = kind->Type == FLT_STREAM_CONTEXT ? FLT_INSTANCE_CONTEXT : FLT_STREAM_CONTEXT;
    EXPECT(make(in, wrong, &other), STATUS_SUCCESS);
    EXPECT(make(in, kind->Type, &right), STATUS_SUCCESS);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, other, NULL), STATUS_INVALID_PARAMETER);
    EXPECT(kind->Set(in, 7, right, NULL), STATUS_INVALID_PARAMETER);
    FltReleaseContext(other);
    FltReleaseContext(right);
    CHECK(Armed.Cleanups == 2);
    return 0;
}

static ULONG set_deleting(INPUT *in, const KIND *kind, PFLT_CONTEXT made)
{
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL), STATUS_FLT_DELETING_OBJECT);
    return 0;
}

static ULONG set_unsupported(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT made;
    EXPECT(make(in, kind->Type, &made), STATUS_SUCCESS);
    NTSTATUS got = kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL);
    FltReleaseContext(made);
    EXPECT(got, STATUS_NOT_SUPPORTED);
    return 0;
}

static ULONG get_success(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT made, seen = NULL;
    EXPECT(make(in, kind->Type, &made), STATUS_SUCCESS);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL), STATUS_SUCCESS);
    EXPECT(kind->Get(in, &seen), STATUS_SUCCESS);
    CHECK(seen == made);
    EXPECT(kind->Delete(in, NULL), STATUS_SUCCESS);
    // The get's reference outlives the delete and our own.
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(seen);
    CHECK(Armed.Cleanups == 1);
    return 0;
}

static ULONG get_not_found(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT seen = (PVOID)1;
    EXPECT(kind->Get(in, &seen), STATUS_NOT_FOUND);
    CHECK(seen == NULL);
    return 0;
}

static ULONG get_unsupported(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT seen = (PVOID)1;
    EXPECT(kind->Get(in, &seen), STATUS_NOT_SUPPORTED);
    return 0;
}

static ULONG delete_success(INPUT *in, const KIND *kind)
{
    PFLT_CONTEXT made, old = NULL, seen;
    EXPECT(make(in, kind->Type, &made), STATUS_SUCCESS);
    EXPECT(kind->Set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL), STATUS_SUCCESS);
    EXPECT(kind->Delete(in, &old), STATUS_SUCCESS);
    CHECK(old == made);
    EXPECT(kind->Get(in, &seen), STATUS_NOT_FOUND);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(old);
    CHECK(Armed.Cleanups == 1);
    return 0;
}

static ULONG delete_not_found(INPUT *in, const KIND *kind)
{
    EXPECT(kind->Delete(in, NULL), STATUS_NOT_FOUND);
    return 0;
}

static ULONG delete_deleting(INPUT *in, const KIND *kind)
{
    EXPECT(kind->Delete(in, NULL), STATUS_FLT_DELETING_OBJECT);
    return 0;
}

static ULONG delete_unsupported(INPUT *in, const KIND *kind)
{
    EXPECT(kind->Delete(in, NULL), STATUS_NOT_SUPPORTED);
    return 0;
}

// A filter that is unloading can allocate no context, so the contexts that the torn-down cases
// set are made before, by `before_teardown`, and released by the case.
static PFLT_CONTEXT Prepared;
static ULONG prepared_set(INPUT *in, const KIND *kind)
{
    CHECK(Prepared != NULL);
    ULONG line = set_deleting(in, kind, Prepared);
    FltReleaseContext(Prepared);
    Prepared = NULL;
    return line;
}
#define PREPARE(function, kind) \
    CASE(prepare, function, STATUS_FLT_DELETING_OBJECT) \
    { \
        EXPECT(make(in, kind.Type, &Prepared), STATUS_SUCCESS); \
        return 0; \
    }

#define COMMON(where, gone, name, kind) \
    CASE(where, FltSet##name##Context, STATUS_SUCCESS) { return set_success(in, &kind); } \
    CASE(where, FltSet##name##Context, STATUS_FLT_CONTEXT_ALREADY_DEFINED) \
    { return set_already_defined(in, &kind); } \
    CASE(where, FltSet##name##Context, STATUS_FLT_CONTEXT_ALREADY_LINKED) \
    { return set_already_linked(in, &kind); } \
    CASE(where, FltSet##name##Context, STATUS_INVALID_PARAMETER) \
    { return set_invalid(in, &kind); } \
    PREPARE(FltSet##name##Context, kind) \
    CASE(gone, FltSet##name##Context, STATUS_FLT_DELETING_OBJECT) \
    { return prepared_set(in, &kind); } \
    CASE(where, FltGet##name##Context, STATUS_SUCCESS) { return get_success(in, &kind); } \
    CASE(where, FltGet##name##Context, STATUS_NOT_FOUND) { return get_not_found(in, &kind); } \
    CASE(where, FltDelete##name##Context, STATUS_SUCCESS) { return delete_success(in, &kind); } \
    CASE(where, FltDelete##name##Context, STATUS_NOT_FOUND) \
    { return delete_not_found(in, &kind); }
#define DELETING(gone, name, kind) \
    CASE(gone, FltDelete##name##Context, STATUS_FLT_DELETING_OBJECT) \
    { return delete_deleting(in, &kind); }

#define UNSUPPORTED(where, name, kind) \
    CASE(where, FltSet##name##Context, STATUS_NOT_SUPPORTED) \
    { return set_unsupported(in, &kind); } \
    CASE(where, FltGet##name##Context, STATUS_NOT_SUPPORTED) \
    { return get_unsupported(in, &kind); } \
    CASE(where, FltDelete##name##Context, STATUS_NOT_SUPPORTED) \
    { return delete_unsupported(in, &kind); }

COMMON(post_create, teardown, Stream, Stream)
COMMON(post_create, teardown, StreamHandle, Handle)
COMMON(passive, teardown, Instance, Instance)
COMMON(passive, dismount, Volume, Volume)
COMMON(post_create, teardown, File, File)
DELETING(teardown, Stream, Stream)
DELETING(teardown, StreamHandle, Handle)
DELETING(teardown, Instance, Instance)
DELETING(dismount, Volume, Volume)
UNSUPPORTED(pagefile_post_create, File, File)
UNSUPPORTED(pagefile_post_create, Stream, Stream)
UNSUPPORTED(pagefile_post_create, StreamHandle, Handle)

CASE(post_create, FltSupportsStreamContexts, TRUE)
{
    CHECK(FltSupportsStreamContexts(in->File) == TRUE);
    return 0;
}
CASE(pre_create, FltSupportsStreamContexts, FALSE)
{
    CHECK(FltSupportsStreamContexts(in->File) == FALSE);
    return 0;
}
CASE(post_create, FltSupportsFileContexts, TRUE)
{
    CHECK(FltSupportsFileContexts(in->File) == TRUE);
    return 0;
}
CASE(pagefile_post_create, FltSupportsFileContexts, FALSE)
{
    CHECK(FltSupportsFileContexts(in->File) == FALSE);
    return 0;
}
CASE(post_create, FltSupportsStreamHandleContexts, TRUE)
{
    CHECK(FltSupportsStreamHandleContexts(in->File) == TRUE);
    return 0;
}
CASE(pre_create, FltSupportsStreamHandleContexts, FALSE)
{
    CHECK(FltSupportsStreamHandleContexts(in->File) == FALSE);
    return 0;
}

CASE(passive, FltAllocateContext, STATUS_SUCCESS)
{
    static const USHORT types[] = { FLT_VOLUME_CONTEXT, FLT_INSTANCE_CONTEXT, FLT_FILE_CONTEXT,
        FLT_STREAM_CONTEXT, FLT_STREAMHANDLE_CONTEXT, FLT_SECTION_CONTEXT };
    for (ULONG i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        UCHAR *made = NULL;
        EXPECT(make(in, types[i], (PFLT_CONTEXT *)&made), STATUS_SUCCESS);
        CHECK(made != NULL);
        for (ULONG at = 0; at < SIZE_SMALL; at++) made[at] = 0xA5;
        FltReleaseContext(made);
        CHECK(Armed.Cleanups == i + 1);
    }
    return 0;
}
CASE(passive, FltAllocateContext, STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND)
{
    PFLT_CONTEXT made = NULL;
    EXPECT(FltAllocateContext(in->Filter, FLT_STREAM_CONTEXT, SIZE_SMALL + 1, NonPagedPoolNx,
        &made), STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND);
    return 0;
}
// A filter that registers no contexts at all.
CASE(entry, FltAllocateContext, UNREGISTERED_ALLOCATION_NOT_FOUND)
{
    FLT_REGISTRATION changed = TheRegistration;
    PFLT_FILTER filter = NULL;
    PFLT_CONTEXT made = NULL;
    changed.Contexts = NULL;
    EXPECT(FltRegisterFilter(TheDriver, &changed, &filter), STATUS_SUCCESS);
    NTSTATUS got = FltAllocateContext(filter, FLT_STREAM_CONTEXT, 8, NonPagedPoolNx, &made);
    FltUnregisterFilter(filter);
    EXPECT(got, STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND);
    return 0;
}
CASE(teardown, FltAllocateContext, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_CONTEXT made = NULL;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &made), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(fault_passive, FltAllocateContext, STATUS_INSUFFICIENT_RESOURCES)
{
    PFLT_CONTEXT made = NULL;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &made), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(passive, FltAllocateContext, STATUS_INVALID_BUFFER_SIZE)
{
    PFLT_CONTEXT made = NULL;
    EXPECT(FltAllocateContext(in->Filter, FLT_STREAMHANDLE_CONTEXT, 0x10000, NonPagedPoolNx,
        &made), STATUS_INVALID_BUFFER_SIZE);
    return 0;
}
CASE(passive, FltAllocateContext, STATUS_INVALID_PARAMETER)
{
    PFLT_CONTEXT made = NULL;
    EXPECT(FltAllocateContext(in->Filter, 3, SIZE_SMALL, NonPagedPoolNx, &made),
        STATUS_INVALID_PARAMETER);
    EXPECT(FltAllocateContext(in->Filter, 0, SIZE_SMALL, NonPagedPoolNx, &made),
        STATUS_INVALID_PARAMETER);
    return 0;
}

CASE(passive, FltReferenceContext, VOID)
{
    PFLT_CONTEXT made;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &made), STATUS_SUCCESS);
    FltReferenceContext(made);
    FltReferenceContext(made);
    FltReleaseContext(made);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 1);
    return 0;
}
CASE(passive, FltReleaseContext, VOID)
{
    PFLT_CONTEXT made;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &made), STATUS_SUCCESS);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 1);
    return 0;
}
CASE(post_create, FltDeleteContext, VOID)
{
    PFLT_CONTEXT made, seen;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &made), STATUS_SUCCESS);
    EXPECT(stream_set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, made, NULL), STATUS_SUCCESS);
    FltDeleteContext(made);
    EXPECT(stream_get(in, &seen), STATUS_NOT_FOUND);
    // Our own reference is still there.
    CHECK(Armed.Cleanups == 0);
    FltReleaseContext(made);
    CHECK(Armed.Cleanups == 1);
    return 0;
}

typedef struct { PFLT_CONTEXT Volume, Instance, File, Stream, Handle, Transaction; } RELATED;
CASE(post_create, FltGetContexts, VOID)
{
    RELATED found;
    PFLT_CONTEXT stream, instance;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &stream), STATUS_SUCCESS);
    EXPECT(make(in, FLT_INSTANCE_CONTEXT, &instance), STATUS_SUCCESS);
    EXPECT(stream_set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, stream, NULL), STATUS_SUCCESS);
    EXPECT(instance_set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, instance, NULL), STATUS_SUCCESS);
    for (ULONG i = 0; i < sizeof(found); i++) ((UCHAR *)&found)[i] = 0xEE;
    // The handle context is asked for and not there; the instance context is not asked for.
    FltGetContexts(in->Objects, FLT_STREAM_CONTEXT | FLT_STREAMHANDLE_CONTEXT, &found);
    CHECK(found.Stream == stream && found.Handle == NULL && found.Instance == NULL);
    CHECK(found.Volume == NULL && found.File == NULL && found.Transaction == NULL);
    EXPECT(stream_delete(in, NULL), STATUS_SUCCESS);
    EXPECT(instance_delete(in, NULL), STATUS_SUCCESS);
    FltReleaseContext(stream);
    FltReleaseContext(instance);
    // The stream's context lives on by the reference in `found`.
    CHECK(Armed.Cleanups == 1);
    FltReleaseContext(found.Stream);
    CHECK(Armed.Cleanups == 2);
    return 0;
}
CASE(post_create, FltReleaseContexts, VOID)
{
    RELATED found;
    PFLT_CONTEXT stream, instance;
    EXPECT(make(in, FLT_STREAM_CONTEXT, &stream), STATUS_SUCCESS);
    EXPECT(make(in, FLT_INSTANCE_CONTEXT, &instance), STATUS_SUCCESS);
    EXPECT(stream_set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, stream, NULL), STATUS_SUCCESS);
    EXPECT(instance_set(in, FLT_SET_CONTEXT_KEEP_IF_EXISTS, instance, NULL), STATUS_SUCCESS);
    FltGetContexts(in->Objects, FLT_STREAM_CONTEXT | FLT_INSTANCE_CONTEXT, &found);
    CHECK(found.Stream == stream && found.Instance == instance);
    EXPECT(stream_delete(in, NULL), STATUS_SUCCESS);
    EXPECT(instance_delete(in, NULL), STATUS_SUCCESS);
    FltReleaseContext(stream);
    FltReleaseContext(instance);
    CHECK(Armed.Cleanups == 0);
    FltReleaseContexts(&found);
    CHECK(Armed.Cleanups == 2);
    return 0;
}
