// Threads, objects, handles, and who is running.
// The pages are wdm's and ntifs', one for each function named in the cases.
#include "harness.h"

static KEVENT Started;
static PVOID SeenContext;
static void note(PVOID context)
{
    SeenContext = context;
    KeSetEvent(&Started, 0, FALSE);
}
static void note_and_end(PVOID context)
{
    SeenContext = context;
    PsTerminateSystemThread(STATUS_SUCCESS);
    // Never reached: the call above does not return in a system thread.
    SeenContext = NULL;
}
static NTSTATUS start(THREAD_START *routine, HANDLE *out)
{
    KeInitializeEvent(&Started, NotificationEvent, FALSE);
    return start_thread(routine, &Started, out);
}
static NTSTATUS make_event(HANDLE *out)
{
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    return ZwCreateEvent(out, EVENT_ALL_ACCESS, &how, NotificationEvent, FALSE);
}
static const HANDLE NoSuchHandle = (HANDLE)0x7FFF0000;

CASE(passive, PsCreateSystemThread, STATUS_SUCCESS)
{
    HANDLE thread = NULL;
    SeenContext = NULL;
    EXPECT(start(note, &thread), STATUS_SUCCESS);
    EXPECT(KeWaitForSingleObject(&Started, 0, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    CHECK(SeenContext == &Started);
    return finish_thread(thread);
}
CASE(passive, PsTerminateSystemThread, NO_RETURN)
{
    HANDLE thread = NULL;
    SeenContext = NULL;
    EXPECT(start(note_and_end, &thread), STATUS_SUCCESS);
    ULONG line = finish_thread(thread);
    CHECK(line == 0 && SeenContext == &Started);
    return 0;
}
CASE(pre_create, PsTerminateSystemThread, ERROR)
{
    // The thread is the user's who opens the file.
    CHECK(PsTerminateSystemThread(STATUS_SUCCESS) < 0);
    return 0;
}
CASE(passive, ObReferenceObjectByHandle, STATUS_SUCCESS)
{
    HANDLE event;
    PVOID object = NULL;
    LARGE_INTEGER now = { 0 };
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(event, EVENT_ALL_ACCESS, ExEventObjectType, KernelMode,
        &object, NULL), STATUS_SUCCESS);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    // The reference keeps the object alive without its handle.
    EXPECT(KeWaitForSingleObject(object, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    KeSetEvent(object, 0, FALSE);
    EXPECT(KeWaitForSingleObject(object, 0, KernelMode, FALSE, &now), STATUS_SUCCESS);
    ObfDereferenceObject(object);
    return 0;
}
CASE(passive, ObReferenceObjectByHandle, STATUS_OBJECT_TYPE_MISMATCH)
{
    HANDLE event;
    PVOID object = NULL;
    EXPECT(make_event(&event), STATUS_SUCCESS);
    NTSTATUS got = ObReferenceObjectByHandle(event, 0, PsThreadType, KernelMode, &object, NULL);
    ZwClose(event);
    EXPECT(got, STATUS_OBJECT_TYPE_MISMATCH);
    return 0;
}
CASE(passive, ObReferenceObjectByHandle, STATUS_ACCESS_DENIED)
{
    // Access is checked for the user's mode, against what the handle was given.
    OBJECT_ATTRIBUTES how = attributes(NULL, 0);
    HANDLE event;
    PVOID object = NULL;
    EXPECT(ZwCreateEvent(&event, EVENT_QUERY_STATE, &how, NotificationEvent, FALSE),
        STATUS_SUCCESS);
    NTSTATUS got = ObReferenceObjectByHandle(event, EVENT_MODIFY_STATE, ExEventObjectType,
        UserMode, &object, NULL);
    ZwClose(event);
    EXPECT(got, STATUS_ACCESS_DENIED);
    return 0;
}
CASE(passive, ObReferenceObjectByHandle, STATUS_INVALID_HANDLE)
{
    PVOID object = NULL;
    EXPECT(ObReferenceObjectByHandle(NoSuchHandle, 0, NULL, KernelMode, &object, NULL),
        STATUS_INVALID_HANDLE);
    return 0;
}
CASE(passive, ObfReferenceObject, RESERVED)
{
    HANDLE event;
    PVOID object = NULL;
    LARGE_INTEGER now = { 0 };
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(event, EVENT_ALL_ACCESS, ExEventObjectType, KernelMode,
        &object, NULL), STATUS_SUCCESS);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    ObfReferenceObject(object);
    ObfDereferenceObject(object);
    EXPECT(KeWaitForSingleObject(object, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    ObfDereferenceObject(object);
    return 0;
}
CASE(passive, ObfDereferenceObject, RESERVED)
{
    PVOID object = IoGetCurrentProcess();
    ObfReferenceObject(object);
    ObfDereferenceObject(object);
    CHECK(object == IoGetCurrentProcess());
    return 0;
}

static NTSTATUS open_pointer(PVOID object, ULONG flags, PVOID type, HANDLE *out)
{
    return ObOpenObjectByPointer(object, flags, NULL, 0x1FFFFF, type, KernelMode, out);
}
CASE(passive, ObOpenObjectByPointer, STATUS_SUCCESS)
{
    HANDLE handle = NULL;
    PVOID object = NULL, process = IoGetCurrentProcess();
    EXPECT(open_pointer(process, OBJ_KERNEL_HANDLE, PsProcessType, &handle), STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(handle, 0, PsProcessType, KernelMode, &object, NULL),
        STATUS_SUCCESS);
    CHECK(object == process);
    ObfDereferenceObject(object);
    EXPECT(ZwClose(handle), STATUS_SUCCESS);
    return 0;
}
CASE(passive, ObOpenObjectByPointer, STATUS_OBJECT_TYPE_MISMATCH)
{
    HANDLE handle = NULL;
    EXPECT(open_pointer(IoGetCurrentProcess(), OBJ_KERNEL_HANDLE, PsThreadType, &handle),
        STATUS_OBJECT_TYPE_MISMATCH);
    return 0;
}
CASE(passive, ObOpenObjectByPointer, STATUS_INVALID_PARAMETER)
{
    HANDLE handle = NULL;
    EXPECT(open_pointer(IoGetCurrentProcess(), ~(ULONG)OBJ_VALID_KERNEL_ATTRIBUTES,
        PsProcessType, &handle), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(fault_passive, ObOpenObjectByPointer, STATUS_INSUFFICIENT_RESOURCES)
{
    HANDLE handle = NULL;
    EXPECT(open_pointer(IoGetCurrentProcess(), OBJ_KERNEL_HANDLE, PsProcessType, &handle),
        STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}

static NTSTATUS duplicate(HANDLE source, HANDLE *out, ULONG options)
{
    HANDLE me = (HANDLE)(LONG_PTR)-1;
    return ZwDuplicateObject(me, source, me, out, 0, OBJ_KERNEL_HANDLE, options);
}
CASE(passive, ZwDuplicateObject, STATUS_SUCCESS)
{
    HANDLE event, twin = NULL;
    PVOID one = NULL, other = NULL;
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(duplicate(event, &twin, DUPLICATE_SAME_ACCESS), STATUS_SUCCESS);
    CHECK(twin != NULL && twin != event);
    EXPECT(ObReferenceObjectByHandle(event, 0, NULL, KernelMode, &one, NULL), STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(twin, 0, NULL, KernelMode, &other, NULL), STATUS_SUCCESS);
    CHECK(one == other);
    ObfDereferenceObject(one);
    ObfDereferenceObject(other);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    // The copy stays when the source is closed.
    EXPECT(ZwSetEvent(twin, NULL), STATUS_SUCCESS);
    EXPECT(duplicate(twin, &event, DUPLICATE_SAME_ACCESS | DUPLICATE_CLOSE_SOURCE),
        STATUS_SUCCESS);
    EXPECT(ZwSetEvent(event, NULL), STATUS_SUCCESS);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    return 0;
}
CASE(passive, ZwDuplicateObject, ERROR)
{
    HANDLE twin = NULL;
    EXPECT(duplicate(NoSuchHandle, &twin, DUPLICATE_SAME_ACCESS), STATUS_INVALID_HANDLE);
    return 0;
}
CASE(passive, ZwClose, STATUS_SUCCESS)
{
    HANDLE event;
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    return 0;
}
CASE(passive, ZwClose, STATUS_INVALID_HANDLE)
{
    EXPECT(ZwClose(NoSuchHandle), STATUS_INVALID_HANDLE);
    return 0;
}

CASE(passive, NtClose, STATUS_SUCCESS)
{
    HANDLE event;
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(NtClose(event), STATUS_SUCCESS);
    EXPECT(ZwSetEvent(event, NULL), STATUS_INVALID_HANDLE);
    return 0;
}
CASE(passive, NtClose, STATUS_INVALID_HANDLE)
{
    EXPECT(NtClose(NoSuchHandle), STATUS_INVALID_HANDLE);
    return 0;
}
// A copy that is protected from being closed.
static NTSTATUS protected_event(HANDLE *out)
{
    HANDLE event, me = (HANDLE)(LONG_PTR)-1;
    NTSTATUS status = make_event(&event);
    if (status < 0) return status;
    status = ZwDuplicateObject(me, event, me, out, 0, OBJ_KERNEL_HANDLE | OBJ_PROTECT_CLOSE,
        DUPLICATE_SAME_ACCESS);
    ZwClose(event);
    return status;
}
CASE(passive, ZwClose, STATUS_HANDLE_NOT_CLOSABLE)
{
    HANDLE event;
    EXPECT(protected_event(&event), STATUS_SUCCESS);
    EXPECT(ZwClose(event), STATUS_HANDLE_NOT_CLOSABLE);
    EXPECT(ZwSetEvent(event, NULL), STATUS_SUCCESS);
    return 0;
}
CASE(passive, NtClose, STATUS_HANDLE_NOT_CLOSABLE)
{
    HANDLE event;
    EXPECT(protected_event(&event), STATUS_SUCCESS);
    EXPECT(NtClose(event), STATUS_HANDLE_NOT_CLOSABLE);
    return 0;
}
CASE(passive, ZwWaitForSingleObject, STATUS_SUCCESS)
{
    HANDLE event;
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(ZwSetEvent(event, NULL), STATUS_SUCCESS);
    EXPECT(ZwWaitForSingleObject(event, FALSE, NULL), STATUS_SUCCESS);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    return 0;
}
CASE(passive, ZwWaitForSingleObject, STATUS_TIMEOUT)
{
    HANDLE event;
    LARGE_INTEGER now = { 0 }, limit = { MILLISECONDS(5) };
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(ZwWaitForSingleObject(event, FALSE, &now), STATUS_TIMEOUT);
    EXPECT(ZwWaitForSingleObject(event, FALSE, &limit), STATUS_TIMEOUT);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    return 0;
}
CASE(passive, ZwWaitForSingleObject, STATUS_INVALID_HANDLE)
{
    EXPECT(ZwWaitForSingleObject(NoSuchHandle, FALSE, NULL), STATUS_INVALID_HANDLE);
    return 0;
}
CASE(passive, ObReferenceObjectByPointer, STATUS_SUCCESS)
{
    HANDLE event;
    PVOID object = NULL;
    LARGE_INTEGER now = { 0 };
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(event, 0, ExEventObjectType, KernelMode, &object, NULL),
        STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByPointer(object, 0, ExEventObjectType, KernelMode), STATUS_SUCCESS);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    ObfDereferenceObject(object);
    // The second reference keeps it.
    EXPECT(KeWaitForSingleObject(object, 0, KernelMode, FALSE, &now), STATUS_TIMEOUT);
    ObfDereferenceObject(object);
    return 0;
}
CASE(passive, ObReferenceObjectByPointer, STATUS_OBJECT_TYPE_MISMATCH)
{
    // The type is checked for the user's mode.
    EXPECT(ObReferenceObjectByPointer(IoGetCurrentProcess(), 0, PsThreadType, UserMode),
        STATUS_OBJECT_TYPE_MISMATCH);
    return 0;
}
CASE(passive, ObDereferenceObjectDeferDelete, VOID)
{
    HANDLE event;
    PVOID object = NULL;
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(ObReferenceObjectByHandle(event, 0, ExEventObjectType, KernelMode, &object, NULL),
        STATUS_SUCCESS);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    ObDereferenceObjectDeferDelete(object);
    return 0;
}
CASE(passive, PsGetCurrentThread, POINTER)
{
    PVOID thread = PsGetCurrentThread();
    CHECK(thread != NULL && thread == PsGetCurrentThread());
    CHECK(IoThreadToProcess(thread) == IoGetCurrentProcess());
    return 0;
}
CASE(passive, KeGetCurrentThread, POINTER)
{
    CHECK(KeGetCurrentThread() == PsGetCurrentThread());
    return 0;
}
CASE(passive, PsGetThreadId, HANDLE)
{
    CHECK(PsGetThreadId(PsGetCurrentThread()) == PsGetCurrentThreadId());
    return 0;
}
CASE(passive, PsIsSystemThread, TRUE)
{
    CHECK(PsIsSystemThread(PsGetCurrentThread()) == TRUE);
    return 0;
}
CASE(pre_create, PsIsSystemThread, FALSE)
{
    CHECK(PsIsSystemThread(in->Data->Thread) == FALSE);
    return 0;
}
CASE(pre_create, PsIsThreadTerminating, FALSE)
{
    CHECK(PsIsThreadTerminating(in->Data->Thread) == FALSE);
    return 0;
}
// In `dying`, the user's thread is ended while the case waits.
CASE(dying_post_create, PsIsThreadTerminating, TRUE)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    EXPECT(KeWaitForSingleObject(&event, 0, UserMode, FALSE, NULL), STATUS_USER_APC);
    CHECK(PsIsThreadTerminating(in->Data->Thread) == TRUE);
    return 0;
}
CASE(passive, KeSetPriorityThread, NUMBER)
{
    PVOID thread = KeGetCurrentThread();
    LONG before = KeSetPriorityThread(thread, 12);
    LONG during = KeSetPriorityThread(thread, before);
    CHECK(during == 12 && KeQueryPriorityThread(thread) == before);
    return 0;
}
CASE(passive, KeQueryPriorityThread, NUMBER)
{
    LONG priority = KeQueryPriorityThread(KeGetCurrentThread());
    CHECK(priority > 0 && priority < 32);
    return 0;
}
CASE(passive, PsLookupProcessByProcessId, STATUS_SUCCESS)
{
    PVOID process = NULL;
    EXPECT(PsLookupProcessByProcessId(PsGetCurrentProcessId(), &process), STATUS_SUCCESS);
    CHECK(process == IoGetCurrentProcess());
    ObfDereferenceObject(process);
    return 0;
}
CASE(passive, PsLookupProcessByProcessId, STATUS_INVALID_CID)
{
    PVOID process = NULL;
    EXPECT(PsLookupProcessByProcessId((HANDLE)0x7FFFFFF0, &process), STATUS_INVALID_CID);
    return 0;
}

CASE(passive, ZwCreateEvent, STATUS_SUCCESS)
{
    HANDLE event = NULL;
    EXPECT(make_event(&event), STATUS_SUCCESS);
    CHECK(event != NULL);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    return 0;
}
CASE(fault_passive, ZwCreateEvent, STATUS_INSUFFICIENT_RESOURCES)
{
    HANDLE event = NULL;
    EXPECT(make_event(&event), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(passive, ZwCreateEvent, STATUS_INVALID_PARAMETER_4)
{
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    HANDLE event = NULL;
    EXPECT(ZwCreateEvent(&event, EVENT_ALL_ACCESS, &how, 9, FALSE), STATUS_INVALID_PARAMETER_4);
    return 0;
}
CASE(passive, ZwCreateEvent, STATUS_INVALID_PARAMETER)
{
    OBJECT_ATTRIBUTES how = attributes(NULL, OBJ_KERNEL_HANDLE);
    HANDLE event = NULL;
    how.Length = 7;
    EXPECT(ZwCreateEvent(&event, EVENT_ALL_ACCESS, &how, NotificationEvent, FALSE),
        STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(passive, ZwCreateEvent, STATUS_OBJECT_NAME_INVALID)
{
    // Half a character.
    UNICODE_STRING name = text(L"\\ConformEvent");
    OBJECT_ATTRIBUTES how = attributes(&name, OBJ_KERNEL_HANDLE);
    HANDLE event = NULL;
    name.Length--;
    EXPECT(ZwCreateEvent(&event, EVENT_ALL_ACCESS, &how, NotificationEvent, FALSE),
        STATUS_OBJECT_NAME_INVALID);
    return 0;
}
CASE(passive, ZwCreateEvent, STATUS_OBJECT_PATH_SYNTAX_BAD)
{
    UNICODE_STRING name = text(L"ConformEvent");
    OBJECT_ATTRIBUTES how = attributes(&name, OBJ_KERNEL_HANDLE);
    HANDLE event = NULL;
    EXPECT(ZwCreateEvent(&event, EVENT_ALL_ACCESS, &how, NotificationEvent, FALSE),
        STATUS_OBJECT_PATH_SYNTAX_BAD);
    return 0;
}
CASE(passive, ZwSetEvent, STATUS_SUCCESS)
{
    HANDLE event;
    LONG before = 7;
    EXPECT(make_event(&event), STATUS_SUCCESS);
    EXPECT(ZwSetEvent(event, &before), STATUS_SUCCESS);
    CHECK(before == 0);
    EXPECT(ZwSetEvent(event, &before), STATUS_SUCCESS);
    CHECK(before != 0);
    EXPECT(ZwClose(event), STATUS_SUCCESS);
    return 0;
}
CASE(passive, ZwSetEvent, STATUS_INVALID_HANDLE)
{
    EXPECT(ZwSetEvent(NoSuchHandle, NULL), STATUS_INVALID_HANDLE);
    return 0;
}

CASE(pre_create, IoThreadToProcess, POINTER)
{
    CHECK(IoThreadToProcess(in->Data->Thread) == IoGetCurrentProcess());
    return 0;
}
CASE(passive, IoGetCurrentProcess, POINTER)
{
    PVOID process = IoGetCurrentProcess();
    CHECK(process != NULL && process == IoGetCurrentProcess());
    return 0;
}
CASE(passive, PsGetProcessId, NUMBER)
{
    CHECK(PsGetProcessId(IoGetCurrentProcess()) == PsGetCurrentProcessId());
    return 0;
}
CASE(passive, PsGetCurrentProcessId, NUMBER)
{
    // The system process.
    CHECK((ULONG_PTR)PsGetCurrentProcessId() == 4);
    return 0;
}
static HANDLE OtherThread;
static void note_id(PVOID context)
{
    OtherThread = PsGetCurrentThreadId();
    SeenContext = context;
}
CASE(passive, PsGetCurrentThreadId, NUMBER)
{
    HANDLE thread = NULL;
    EXPECT(start(note_id, &thread), STATUS_SUCCESS);
    ULONG line = finish_thread(thread);
    CHECK(line == 0 && PsGetCurrentThreadId() != NULL && OtherThread != PsGetCurrentThreadId());
    return 0;
}
CASE(pre_create, PsGetProcessCreateTimeQuadPart, NUMBER)
{
    LONGLONG time = PsGetProcessCreateTimeQuadPart(IoGetCurrentProcess());
    CHECK(time > 0 && time == PsGetProcessCreateTimeQuadPart(IoGetCurrentProcess()));
    return 0;
}
