// Another vendor's filter, for tests/beside_images.rs: it asks by the redirection ECP whether a
// container's open is served from a layer, as the article on antivirus optimization for Windows
// containers has it. CASE says what it does wrong, or what it is instead of an antivirus.
// https://learn.microsoft.com/windows-hardware/drivers/ifs/anti-virus-optimization-for-windows-containers
#include "../../crates/filterhost/tests/drivers/conform/flt.h"

#ifndef CASE
#define CASE 0
#endif
// The test file uses the same numbers.
enum {
    PLAIN = 0,          // attaches or shares, reads the answer
    FREES_ITS_OWN = 1,  // and takes its own out and frees it, once it has read it
    FREES_ANY = 2,      // takes out and frees whatever is there, its own or not
    LEAVES_BITS = 3,    // attaches with every bit set, which nobody has acknowledged
    LIES = 4,           // the same, and acknowledges it itself
    TOO_SMALL = 5,      // attaches one that ends after the flags
    PROJECTS = 6,       // serves every file from user mode, as a projection does, and says so
    REUSES = 7,         // zeroes what it finds, its own or not, before each pass
};

#define TAG 0x724f7641
#define STATUS_REPARSE ((NTSTATUS)0x104)
#define SERVICED_FROM_USER_MODE 0x10
#define ALL_BITS 0x7f
#define WITH_CALLBACK 0
#define NO_CALLBACK 1

typedef struct {
    USHORT Size, Flags;
    UCHAR FileId[16];
    GUID VolumeGuid;
} REDIRECTION;
_Static_assert(sizeof(REDIRECTION) == 0x24, "CREATE_REDIRECTION_ECP_CONTEXT");


static PFLT_FILTER Filter;
static const GUID Redirection = {
    0x188d6bd6, 0xa126, 0x4fa8, { 0xbd, 0xf2, 0x1c, 0xcd, 0xf8, 0x96, 0xf3, 0xe0 }
};

void *memset(void *to, int value, SIZE_T count);
void *memset(void *to, int value, SIZE_T count)
{
    volatile UCHAR *at = to;
    while (count--) *at++ = (UCHAR)value;
    return to;
}

static REDIRECTION *find(FLT_CALLBACK_DATA *data, PECP_LIST *list, ULONG *size)
{
    PVOID context = NULL;
    *list = NULL;
    if (FltGetEcpListFromCallbackData(Filter, data, list) < 0 || *list == NULL) return NULL;
    if (FltFindExtraCreateParameter(Filter, *list, &Redirection, &context, size) < 0) return NULL;
    return context;
}

static NTSTATUS attach(FLT_CALLBACK_DATA *data, PECP_LIST list)
{
    ULONG size = CASE == TOO_SMALL ? 4 : sizeof(REDIRECTION);
    PVOID context = NULL;
    NTSTATUS status = FltAllocateExtraCreateParameter(Filter, &Redirection, size, 0, NULL, TAG,
        &context);
    if (status < 0) return status;
    memset(context, 0, size);
    REDIRECTION *asked = context;
    asked->Size = (USHORT)size;
    if (CASE == LEAVES_BITS || CASE == LIES) {
        asked->Flags = ALL_BITS;
        memset(asked->FileId, 0x5a, sizeof asked->FileId);
        memset(&asked->VolumeGuid, 0xa5, sizeof asked->VolumeGuid);
    }
    if (list == NULL) {
        status = FltAllocateExtraCreateParameterList(Filter, 0, &list);
        if (status < 0) {
            FltFreeExtraCreateParameter(Filter, context);
            return status;
        }
        FltInsertExtraCreateParameter(Filter, list, context);
        status = FltSetEcpListIntoCallbackData(Filter, data, list);
        if (status < 0) {
            // The list takes the parameter along.
            FltFreeExtraCreateParameterList(Filter, list);
            return status;
        }
    } else {
        status = FltInsertExtraCreateParameter(Filter, list, context);
        if (status < 0) {
            FltFreeExtraCreateParameter(Filter, context);
            return status;
        }
    }
    if (CASE == LIES) FltAcknowledgeEcp(Filter, context);
    return STATUS_SUCCESS;
}

static int pre_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    PECP_LIST list;
    ULONG size = 0;
    *context = NULL;
    if (CASE == PROJECTS) return WITH_CALLBACK;
    if (IoGetSiloParameters(objects->FileObject) == NULL) return NO_CALLBACK;
    REDIRECTION *there = find(data, &list, &size);
    if (there != NULL) {
        if (CASE == REUSES) {
            memset(there, 0, size);
            if (size >= sizeof *there) there->Size = sizeof *there;
            FltPrepareToReuseEcp(Filter, there);
        }
        return WITH_CALLBACK;
    }
    if (attach(data, list) < 0) return NO_CALLBACK;
    // What is in the completion context says that it is its own.
    *context = data;
    return WITH_CALLBACK;
}

static void take_out(PECP_LIST list)
{
    PVOID context = NULL;
    ULONG size = 0;
    if (FltRemoveExtraCreateParameter(Filter, list, &Redirection, &context, &size) >= 0) {
        FltFreeExtraCreateParameter(Filter, context);
    }
}

static int post_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID own,
    ULONG flags)
{
    PECP_LIST list;
    ULONG size = 0;
    (void)objects;
    if (flags & 1) return 0; // Draining: nothing of the create may be touched.
    REDIRECTION *there = find(data, &list, &size);
    if (there == NULL || size < sizeof *there) return 0;
    if (CASE == PROJECTS) {
        there->Flags |= SERVICED_FROM_USER_MODE;
        FltAcknowledgeEcp(Filter, there);
        return 0;
    }
    if (data->IoStatus.Status >= 0 && data->IoStatus.Status != STATUS_REPARSE) {
        DbgPrint("answer %u flags %x\n", (ULONG)FltIsEcpAcknowledged(Filter, there),
            (ULONG)there->Flags);
    }
    if ((CASE == FREES_ITS_OWN && own != NULL) || CASE == FREES_ANY) take_out(list);
    return 0;
}

static NTSTATUS unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { 0, 0, pre_create, post_create, NULL },
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
