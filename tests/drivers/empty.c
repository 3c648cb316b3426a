// The least that a minifilter can do with an open, for `cargo xtask bench open`: it asks for the
// post-operation callback and returns. What siloscan adds to an open is told against this.
#include "../../crates/filterhost/tests/drivers/conform/flt.h"

static PFLT_FILTER Filter;

static int pre_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)data;
    (void)objects;
    (void)context;
    return 0; // FLT_PREOP_SUCCESS_WITH_CALLBACK
}

static int post_create(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context,
    ULONG flags)
{
    (void)data;
    (void)objects;
    (void)context;
    (void)flags;
    return 0; // FLT_POSTOP_FINISHED_PROCESSING
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
