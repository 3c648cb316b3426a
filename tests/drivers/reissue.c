// A filter that reissues creates, for tests/beside_images.rs: it replaces the name and answers
// STATUS_REPARSE, or opens the file itself before it lets somebody else open it.
// https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-ioreplacefileobjectname
// https://learn.microsoft.com/windows-hardware/drivers/ddi/fltkernel/nf-fltkernel-fltcreatefileex2
#include "../../crates/filterhost/tests/drivers/conform/flt.h"

#ifndef CASE
#define CASE 0
#endif
// The test file uses the same numbers.
enum {
    REPLACES = 0,           // sends each create of a container round once, under its own name
    RENAMES = 1,            // the same, and \app\alias.* becomes \app\other.dll
    OPENS = 2,              // opens the file below itself first, with the create's own parameters
    OPENS_AND_REPLACES = 3, // the same with parameters of its own, and then sends the create round
};

#define TAG 0x7369654e
#define STATUS_REPARSE ((NTSTATUS)0x104)
#define FILE_READ_DATA 1
#define SHARE_ALL 7
#define DISPOSITION_OPEN 1
#define SYNCHRONOUS_IO_NONALERT 0x20
#define OPTION_DIRECTORY 1
#define OPTION_BY_ID 0x2000
#define SL_OPEN_TARGET_DIRECTORY 4
#define NO_CALLBACK 1
#define COMPLETE 4
#define NAME_CHARACTERS 200

static PFLT_FILTER Filter;
// On a create that was looked at already.
static const GUID Mark = {
    0x5c3d60f1, 0x7e52, 0x4b0a, { 0x9d, 0x11, 0x3f, 0x60, 0x2a, 0x8e, 0x44, 0x07 }
};

void *memcpy(void *to, const void *from, SIZE_T count);
void *memcpy(void *to, const void *from, SIZE_T count)
{
    volatile UCHAR *at = to;
    const UCHAR *source = from;
    while (count--) *at++ = *source++;
    return to;
}

static NTSTATUS marked_list(PECP_LIST *list)
{
    PVOID mark;
    NTSTATUS status = FltAllocateExtraCreateParameterList(Filter, 0, list);
    if (status < 0) return status;
    status = FltAllocateExtraCreateParameter(Filter, &Mark, 8, 0, NULL, TAG, &mark);
    if (status < 0) {
        FltFreeExtraCreateParameterList(Filter, *list);
        return status;
    }
    return FltInsertExtraCreateParameter(Filter, *list, mark);
}

// Marks the create. False where it is marked, or cannot be.
static BOOLEAN mark(FLT_CALLBACK_DATA *data)
{
    PECP_LIST list = NULL;
    PVOID there;
    ULONG size;
    if (FltGetEcpListFromCallbackData(Filter, data, &list) < 0) return FALSE;
    if (list == NULL) {
        return marked_list(&list) >= 0 && FltSetEcpListIntoCallbackData(Filter, data, list) >= 0;
    }
    if (FltFindExtraCreateParameter(Filter, list, &Mark, &there, &size) >= 0) return FALSE;
    if (FltAllocateExtraCreateParameter(Filter, &Mark, 8, 0, NULL, TAG, &there) < 0) return FALSE;
    return FltInsertExtraCreateParameter(Filter, list, there) >= 0;
}

// Opens the file below this instance and closes it again.
static NTSTATUS look(FLT_CALLBACK_DATA *data, PFLT_INSTANCE instance, UNICODE_STRING *name)
{
    IO_DRIVER_CREATE_CONTEXT context = { sizeof context, NULL, NULL, NULL };
    OBJECT_ATTRIBUTES how = { sizeof how, NULL, name, OBJ_KERNEL_HANDLE, NULL, NULL };
    IO_STATUS_BLOCK io;
    HANDLE handle;
    FILE_OBJECT *file;
    PECP_LIST own = NULL;
    NTSTATUS status = STATUS_SUCCESS;
    if (CASE == OPENS) {
        status = FltGetEcpListFromCallbackData(Filter, data, &context.ExtraCreateParameter);
    } else {
        status = marked_list(&own);
        context.ExtraCreateParameter = own;
    }
    if (status < 0) return status;
    status = FltCreateFileEx2(Filter, instance, &handle, &file, FILE_READ_DATA | SYNCHRONIZE, &how,
        &io, NULL, 0, SHARE_ALL, DISPOSITION_OPEN, SYNCHRONOUS_IO_NONALERT, NULL, 0, 0, &context);
    if (own != NULL) FltFreeExtraCreateParameterList(Filter, own);
    if (status < 0) return status;
    ObfDereferenceObject(file);
    return FltClose(handle);
}

// The name that the create goes to: its own, or another one.
static NTSTATUS replace(FILE_OBJECT *file, const UNICODE_STRING *name)
{
    static const WCHAR alias[] = L"\\app\\alias", other[] = L"\\app\\other.dll";
    static const ULONG alias_length = sizeof alias / 2 - 1;
    WCHAR text[NAME_CHARACTERS];
    ULONG length = name->Length / 2;
    if (length + sizeof other / 2 > NAME_CHARACTERS) return STATUS_INVALID_PARAMETER;
    memcpy(text, name->Buffer, length * 2);
    for (ULONG at = 0; CASE == RENAMES && at + alias_length <= length; at++) {
        ULONG same = 0;
        while (same < alias_length && text[at + same] == alias[same]) same++;
        if (same == alias_length) {
            memcpy(text + at, other, sizeof other);
            length = at + sizeof other / 2 - 1;
        }
    }
    return IoReplaceFileObjectName(file, text, (USHORT)(length * 2));
}

static int pre_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    const FLT_IO_PARAMETER_BLOCK *block = data->Iopb;
    FLT_FILE_NAME_INFORMATION *name;
    int result = NO_CALLBACK;
    *context = NULL;
    if (IoGetSiloParameters(objects->FileObject) == NULL) return NO_CALLBACK;
    if (block->Parameters.Create.Options & (OPTION_DIRECTORY | OPTION_BY_ID)) return NO_CALLBACK;
    if (block->OperationFlags & SL_OPEN_TARGET_DIRECTORY) return NO_CALLBACK;
    if (objects->FileObject->FileName.Length < 4) return NO_CALLBACK;
    if (CASE != OPENS && !mark(data)) return NO_CALLBACK;
    if (FltGetFileNameInformation(data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT,
        &name) < 0) return NO_CALLBACK;
    NTSTATUS status = STATUS_SUCCESS;
    if (CASE >= OPENS) {
        status = look(data, objects->Instance, &name->Name);
        DbgPrint("own open %x\n", (ULONG)status);
    }
    if (CASE != OPENS) {
        status = replace(objects->FileObject, &name->Name);
        data->IoStatus.Status = status < 0 ? status : STATUS_REPARSE;
        data->IoStatus.Information = 0;
        result = COMPLETE;
    }
    FltReleaseFileNameInformation(name);
    return result;
}

static NTSTATUS unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { 0, 0, pre_create, NULL, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path);
NTSTATUS DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path)
{
    static FLT_REGISTRATION registration;
    (void)path;
    registration.Size = sizeof registration;
    registration.Version = 0x203;
    registration.Operations = Operations;
    registration.Unload = unload;
    NTSTATUS status = FltRegisterFilter(driver, &registration, &Filter);
    return status < 0 ? status : FltStartFiltering(Filter);
}
