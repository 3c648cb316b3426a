// How a conformance case is written and run.
//
// A case is an exported function named WHERE__Function__STATUS. The test program finds it by
// that name, brings about the situation WHERE, and the case runs there. It returns 0, or the
// line of the check that failed.
#pragma once
#include "flt.h"

typedef struct {
    PFLT_FILTER Filter;
    PFLT_INSTANCE Instance;
    PFLT_VOLUME Volume;
    FILE_OBJECT *File;
    FLT_CALLBACK_DATA *Data;
    const FLT_RELATED_OBJECTS *Objects;
    PVOID *CompletionContext;
} INPUT;
typedef ULONG CASE_FN(INPUT *);

// What the test program wants to run next, and what came of it.
typedef struct {
    CASE_FN *Case;
    ULONG Major, Moment;
    ULONG Ran, Line;
    NTSTATUS Got;
    ULONG Cleanups;
} ARMED;
// The test program keeps the record in its own memory, to read it when the image is gone.
extern __declspec(dllexport) ARMED *ArmedAt;
#define Armed (*ArmedAt)
enum { MOMENT_NONE, MOMENT_PRE, MOMENT_POST, MOMENT_SETUP, MOMENT_TEARDOWN, MOMENT_GONE,
    MOMENT_UNLOADED };

extern DRIVER_OBJECT *TheDriver;
extern UNICODE_STRING *TheRegistryPath;
extern PFLT_FILTER TheFilter;
extern PFLT_INSTANCE TheInstance;
extern PFLT_VOLUME TheVolume;
// The file that the last successful create opened, until its close.
extern FILE_OBJECT *TheFile;
// What the callback that runs a case returns to the Filter Manager; 0 unless the case sets it.
extern int NextPreStatus, NextPostStatus;
// The same for its unload callback, where it is not 0, which then does not unregister; and for
// its section notification callback.
extern int NextUnloadStatus, NextConflictStatus;
#define STAY_REGISTERED 1
// What asks for a post-operation callback where none is registered.
#define FLT_PREOP_SUCCESS_WITH_CALLBACK_WANTED 0x100
// Section conflicts seen, and instances whose teardown is complete.
extern ULONG SectionConflicts;
extern ULONG TornDown;
// Set when the first instance begins to be torn down.
extern KEVENT TeardownBegun;
// The transaction of the situations with one, and what answers its notifications.
extern __declspec(dllexport) PVOID TheTransaction;
extern NTSTATUS (*OnTransaction)(const FLT_RELATED_OBJECTS *, PFLT_CONTEXT, ULONG);
// Not 0 when instances are to be registered for data scans as they are set up.
extern __declspec(dllexport) ULONG ScanInstances;
extern const FLT_REGISTRATION TheRegistration;

#define CASE(where, function, status) \
    __declspec(dllexport) ULONG where##__##function##__##status(INPUT *in); \
    __declspec(dllexport) ULONG where##__##function##__##status(INPUT *in)
#define CHECK(condition) do { if (!(condition)) return __LINE__; } while (0)
#define EXPECT(call, wanted) \
    do { \
        NTSTATUS got_ = (call); \
        if (got_ != (wanted)) { Armed.Got = got_; return __LINE__; } \
    } while (0)
#define UNUSED(name) (void)(name)
#define TAG 0x43666E43u
#define SIZE_SMALL 0x20

// The number of 100 ns units, negative because a wait's time is relative when negative.
#define MILLISECONDS(n) (-(LONGLONG)(n) * 10000)

static inline UNICODE_STRING text(const WCHAR *characters)
{
    UNICODE_STRING made = { 0, 0, (WCHAR *)characters };
    while (characters[made.Length / 2]) made.Length += 2;
    made.MaximumLength = made.Length + 2;
    return made;
}
static inline BOOLEAN same(const void *one, const void *other, SIZE_T count)
{
    const UCHAR *a = one, *b = other;
    while (count--) if (*a++ != *b++) return FALSE;
    return TRUE;
}
static inline OBJECT_ATTRIBUTES attributes(UNICODE_STRING *name, ULONG flags)
{
    OBJECT_ATTRIBUTES made = { sizeof(made), NULL, name, flags, NULL, NULL };
    return made;
}
// Starts a thread.
static inline NTSTATUS start_thread(THREAD_START *routine, PVOID context, HANDLE *out)
{
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    return PsCreateSystemThread(out, 0x1FFFFF, &how, NULL, NULL, routine, context);
}
// Waits for its end: the host must not keep a thread of ours running when the case returns. 0, or
// the line of the check that failed.
static inline ULONG finish_thread(HANDLE thread)
{
    PVOID object = NULL;
    EXPECT(ObReferenceObjectByHandle(thread, 0x100000, PsThreadType, KernelMode, &object, NULL),
        STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(object, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    ObfDereferenceObject(object);
    EXPECT(ZwClose(thread), STATUS_SUCCESS);
    return 0;
}
