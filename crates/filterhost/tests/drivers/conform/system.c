// Memory, versions, look-up of routines, registry, tracing, silos and the stack.
// The pages are wdm's, ntddk's and ntifs', one for each function named in the cases.
#include "harness.h"

CASE(passive, ExAllocatePoolWithTag, POINTER)
{
    UCHAR *nonpaged = ExAllocatePoolWithTag(NonPagedPoolNx, 100, TAG);
    UCHAR *paged = ExAllocatePoolWithTag(PagedPool, 5000, TAG);
    CHECK(nonpaged != NULL && paged != NULL && nonpaged != paged);
    // 16-byte aligned below a page, page-aligned from a page up.
    CHECK(((ULONG_PTR)nonpaged & 15) == 0 && ((ULONG_PTR)paged & 4095) == 0);
    for (ULONG i = 0; i < 100; i++) nonpaged[i] = 1;
    for (ULONG i = 0; i < 5000; i++) paged[i] = 2;
    ExFreePoolWithTag(nonpaged, TAG);
    ExFreePoolWithTag(paged, TAG);
    return 0;
}
CASE(starved_passive, ExAllocatePoolWithTag, NULL)
{
    CHECK(ExAllocatePoolWithTag(NonPagedPoolNx, 100, TAG) == NULL);
    return 0;
}
CASE(passive, ExAllocatePool2, POINTER)
{
    UCHAR *made = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    CHECK(made != NULL);
    for (ULONG i = 0; i < 100; i++) CHECK(made[i] == 0);
    ExFreePoolWithTag(made, TAG);
    return 0;
}
CASE(starved_passive, ExAllocatePool2, NULL)
{
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG) == NULL);
    return 0;
}
CASE(passive, ExAllocatePool2, NULL_FOR_TAG_0)
{
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, 0) == NULL);
    return 0;
}
CASE(passive, ExFreePoolWithTag, VOID)
{
    for (ULONG i = 0; i < 8; i++) {
        PVOID made = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
        CHECK(made != NULL);
        ExFreePoolWithTag(made, TAG);
    }
    return 0;
}
CASE(passive, MmCopyMemory, STATUS_SUCCESS)
{
    static UCHAR from[16] = "fifteen letters";
    UCHAR *to = ExAllocatePoolWithTag(NonPagedPoolNx, 16, TAG);
    MM_COPY_ADDRESS source = { from };
    SIZE_T count = 0;
    CHECK(to != NULL);
    NTSTATUS got = MmCopyMemory(to, source, 16, MM_COPY_MEMORY_VIRTUAL, &count);
    BOOLEAN right = count == 16 && same(to, from, 16);
    ExFreePoolWithTag(to, TAG);
    EXPECT(got, STATUS_SUCCESS);
    CHECK(right);
    return 0;
}
CASE(passive, MmCopyMemory, ERROR)
{
    // Nothing is mapped at the first page, so no byte is copied.
    UCHAR *to = ExAllocatePoolWithTag(NonPagedPoolNx, 16, TAG);
    MM_COPY_ADDRESS source = { (PVOID)0x10 };
    SIZE_T count = 99;
    CHECK(to != NULL);
    NTSTATUS got = MmCopyMemory(to, source, 16, MM_COPY_MEMORY_VIRTUAL, &count);
    ExFreePoolWithTag(to, TAG);
    CHECK(got < 0 && count == 0);
    return 0;
}
CASE(passive, RtlGetVersion, STATUS_SUCCESS)
{
    RTL_OSVERSIONINFOW version = { .Size = sizeof(version) };
    EXPECT(RtlGetVersion(&version), STATUS_SUCCESS);
    CHECK(version.Major == 10 && version.Build >= 14393 && version.Platform == 2);
    return 0;
}
CASE(passive, RtlGUIDFromString, STATUS_SUCCESS)
{
    UNICODE_STRING name = text(L"{188d6bd6-a126-4fa8-bdf2-1ccdf896f3e0}");
    static const GUID wanted = { 0x188d6bd6, 0xa126, 0x4fa8,
        { 0xbd, 0xf2, 0x1c, 0xcd, 0xf8, 0x96, 0xf3, 0xe0 } };
    GUID made = { 0 };
    EXPECT(RtlGUIDFromString(&name, &made), STATUS_SUCCESS);
    CHECK(same(&made, &wanted, sizeof(made)));
    return 0;
}
CASE(passive, RtlGUIDFromString, ERROR)
{
    UNICODE_STRING name = text(L"188d6bd6-a126-4fa8-bdf2-1ccdf896f3e0");
    UNICODE_STRING wrong = text(L"{188d6bd6-a126-4fa8-bdf2-1ccdf896f3eX}");
    GUID made = { 0 };
    CHECK(RtlGUIDFromString(&name, &made) < 0);
    CHECK(RtlGUIDFromString(&wrong, &made) < 0);
    return 0;
}
CASE(passive, MmGetSystemRoutineAddress, POINTER)
{
    UNICODE_STRING name = text(L"KeSetEvent");
    LONG (*set)(KEVENT *, LONG, BOOLEAN) = MmGetSystemRoutineAddress(&name);
    KEVENT event;
    CHECK(set != NULL);
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    CHECK(set(&event, 0, FALSE) == 0 && KeResetEvent(&event) != 0);
    return 0;
}
CASE(passive, MmGetSystemRoutineAddress, NULL)
{
    UNICODE_STRING name = text(L"NoSuchRoutineAnywhere");
    CHECK(MmGetSystemRoutineAddress(&name) == NULL);
    return 0;
}
CASE(passive, FltGetRoutineAddress, POINTER)
{
    NTSTATUS (*reference)(PVOID) = FltGetRoutineAddress("FltObjectReference");
    CHECK(reference != NULL);
    EXPECT(reference(in->Filter), STATUS_SUCCESS);
    FltObjectDereference(in->Filter);
    return 0;
}
CASE(passive, FltGetRoutineAddress, NULL)
{
    CHECK(FltGetRoutineAddress("FltNoSuchRoutine") == NULL);
    return 0;
}

// The test program puts Parameters\Number = 7 (REG_DWORD) below the service key.
static NTSTATUS open_key(const WCHAR *below, HANDLE *out)
{
    OBJECT_ATTRIBUTES how = attributes(TheRegistryPath, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    NTSTATUS status = ZwOpenKey(out, KEY_READ, &how);
    if (status < 0 || below == NULL) return status;
    UNICODE_STRING name = text(below);
    HANDLE root = *out;
    how.RootDirectory = root;
    how.ObjectName = &name;
    status = ZwOpenKey(out, KEY_READ, &how);
    ZwClose(root);
    return status;
}
CASE(passive, ZwOpenKey, STATUS_SUCCESS)
{
    HANDLE key = NULL;
    EXPECT(open_key(L"Parameters", &key), STATUS_SUCCESS);
    CHECK(key != NULL);
    EXPECT(ZwClose(key), STATUS_SUCCESS);
    return 0;
}
CASE(passive, ZwOpenKey, STATUS_INVALID_HANDLE)
{
    UNICODE_STRING name = text(L"Parameters");
    OBJECT_ATTRIBUTES how = attributes(&name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    HANDLE key = NULL;
    how.RootDirectory = (HANDLE)0x7FFF0000;
    EXPECT(ZwOpenKey(&key, KEY_READ, &how), STATUS_INVALID_HANDLE);
    return 0;
}
CASE(passive, ZwOpenKey, STATUS_OBJECT_NAME_NOT_FOUND)
{
    HANDLE key = NULL;
    EXPECT(open_key(L"NoSuchKey", &key), STATUS_OBJECT_NAME_NOT_FOUND);
    return 0;
}
static NTSTATUS query(const WCHAR *value, int class, PVOID out, ULONG size, ULONG *needed)
{
    HANDLE key;
    UNICODE_STRING name = text(value);
    NTSTATUS status = open_key(L"Parameters", &key);
    if (status < 0) return status;
    status = ZwQueryValueKey(key, &name, class, out, size, needed);
    ZwClose(key);
    return status;
}
CASE(passive, ZwQueryValueKey, STATUS_SUCCESS)
{
    union { KEY_VALUE_PARTIAL_INFORMATION Info; UCHAR Bytes[32]; } all = { 0 };
    ULONG needed = 0;
    EXPECT(query(L"Number", KeyValuePartialInformation, &all, sizeof(all), &needed),
        STATUS_SUCCESS);
    CHECK(all.Info.Type == REG_DWORD && all.Info.DataLength == 4 && needed >= 16);
    CHECK(all.Info.Data[0] == 7 && all.Info.Data[1] == 0);
    return 0;
}
CASE(passive, ZwQueryValueKey, STATUS_OBJECT_NAME_NOT_FOUND)
{
    UCHAR bytes[32];
    ULONG needed = 0;
    EXPECT(query(L"NoSuchValue", KeyValuePartialInformation, bytes, sizeof(bytes), &needed),
        STATUS_OBJECT_NAME_NOT_FOUND);
    return 0;
}
CASE(passive, ZwQueryValueKey, STATUS_BUFFER_OVERFLOW)
{
    UCHAR bytes[32];
    ULONG needed = 0;
    // The fixed part fits, the data does not.
    EXPECT(query(L"Number", KeyValuePartialInformation, bytes, 12, &needed),
        STATUS_BUFFER_OVERFLOW);
    CHECK(needed == 16);
    return 0;
}
CASE(passive, ZwQueryValueKey, STATUS_BUFFER_TOO_SMALL)
{
    UCHAR bytes[32];
    ULONG needed = 0;
    EXPECT(query(L"Number", KeyValuePartialInformation, bytes, 4, &needed),
        STATUS_BUFFER_TOO_SMALL);
    CHECK(needed == 16);
    return 0;
}
CASE(passive, ZwQueryValueKey, STATUS_INVALID_PARAMETER)
{
    UCHAR bytes[32];
    ULONG needed = 0;
    EXPECT(query(L"Number", 99, bytes, sizeof(bytes), &needed), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(passive, IoOpenDriverRegistryKey, STATUS_SUCCESS)
{
    HANDLE key = NULL;
    EXPECT(IoOpenDriverRegistryKey(TheDriver, 0, KEY_READ, 0, &key), STATUS_SUCCESS);
    CHECK(key != NULL);
    EXPECT(ZwClose(key), STATUS_SUCCESS);
    return 0;
}

static NTSTATUS create_key(const WCHAR *name, HANDLE *out, ULONG *disposition)
{
    OBJECT_ATTRIBUTES how = attributes(TheRegistryPath, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    UNICODE_STRING own = text(name);
    HANDLE root;
    NTSTATUS status = ZwOpenKey(&root, 0x2001F, &how);
    if (status < 0) return status;
    how.RootDirectory = root;
    how.ObjectName = &own;
    status = ZwCreateKey(out, 0x2001F, &how, 0, NULL, 0, disposition);
    ZwClose(root);
    return status;
}
CASE(passive, ZwCreateKey, STATUS_SUCCESS)
{
    HANDLE key;
    ULONG disposition = 0;
    EXPECT(create_key(L"Made", &key, &disposition), STATUS_SUCCESS);
    CHECK(disposition == 1); // REG_CREATED_NEW_KEY
    EXPECT(ZwClose(key), STATUS_SUCCESS);
    EXPECT(create_key(L"Made", &key, &disposition), STATUS_SUCCESS);
    CHECK(disposition == 2); // REG_OPENED_EXISTING_KEY
    EXPECT(ZwClose(key), STATUS_SUCCESS);
    return 0;
}
CASE(passive, ZwCreateKey, ERROR)
{
    UNICODE_STRING name = text(L"Made");
    OBJECT_ATTRIBUTES how = attributes(&name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    HANDLE key;
    how.RootDirectory = (HANDLE)0x7FFF0000;
    CHECK(ZwCreateKey(&key, 0x2001F, &how, 0, NULL, 0, NULL) < 0);
    return 0;
}
CASE(passive, ZwSetValueKey, STATUS_SUCCESS)
{
    union { KEY_VALUE_PARTIAL_INFORMATION Info; UCHAR Bytes[32]; } all = { 0 };
    UNICODE_STRING name = text(L"Set");
    ULONG value = 0x1234, needed = 0;
    HANDLE key;
    EXPECT(create_key(L"Made", &key, NULL), STATUS_SUCCESS);
    EXPECT(ZwSetValueKey(key, &name, 0, REG_DWORD, &value, sizeof(value)), STATUS_SUCCESS);
    NTSTATUS got = ZwQueryValueKey(key, &name, KeyValuePartialInformation, &all, sizeof(all),
        &needed);
    EXPECT(ZwClose(key), STATUS_SUCCESS);
    EXPECT(got, STATUS_SUCCESS);
    CHECK(all.Info.Type == REG_DWORD && same(all.Info.Data, &value, 4));
    return 0;
}
CASE(passive, ZwSetValueKey, STATUS_INVALID_HANDLE)
{
    UNICODE_STRING name = text(L"Set");
    ULONG value = 1;
    EXPECT(ZwSetValueKey((HANDLE)0x7FFF0000, &name, 0, REG_DWORD, &value, sizeof(value)),
        STATUS_INVALID_HANDLE);
    return 0;
}
CASE(passive, ZwSetValueKey, STATUS_ACCESS_DENIED)
{
    UNICODE_STRING name = text(L"Set");
    ULONG value = 1;
    HANDLE key;
    EXPECT(open_key(L"Parameters", &key), STATUS_SUCCESS);
    // Opened for reading only.
    NTSTATUS got = ZwSetValueKey(key, &name, 0, REG_DWORD, &value, sizeof(value));
    ZwClose(key);
    EXPECT(got, STATUS_ACCESS_DENIED);
    return 0;
}
CASE(passive, MmIsAddressValid, TRUE)
{
    ULONG here = 0;
    CHECK(MmIsAddressValid(&here) == TRUE);
    return 0;
}
CASE(passive, MmIsAddressValid, FALSE)
{
    CHECK(MmIsAddressValid((PVOID)0x10) == FALSE);
    return 0;
}
CASE(passive, ExUuidCreate, STATUS_SUCCESS)
{
    GUID one = { 0 }, other = { 0 };
    EXPECT(ExUuidCreate(&one), STATUS_SUCCESS);
    EXPECT(ExUuidCreate(&other), STATUS_SUCCESS);
    CHECK(!same(&one, &other, sizeof(one)));
    return 0;
}
CASE(fault_passive, ExUuidCreate, STATUS_RETRY)
{
    GUID one;
    EXPECT(ExUuidCreate(&one), STATUS_RETRY);
    return 0;
}
CASE(passive, RtlRandomEx, NUMBER)
{
    ULONG seed = 7, different = 0;
    for (ULONG i = 0; i < 8; i++) {
        ULONG before = seed, number = RtlRandomEx(&seed);
        CHECK(number < 0x7FFFFFFF);
        if (seed != before) different++;
    }
    CHECK(different > 0);
    return 0;
}
static const GUID Provider = { 0x0e5a1b2c, 0x1111, 0x4222, { 1, 2, 3, 4, 5, 6, 7, 8 } };
static const EVENT_DESCRIPTOR Event = { 1, 0, 0, 4, 0, 0, 0 };
CASE(passive, EtwRegister, STATUS_SUCCESS)
{
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    CHECK(provider != 0);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    return 0;
}
static ULONG EtwCode;
static UCHAR EtwLevel;
static PVOID EtwContext;
static void EtwEnabled(const GUID *session, ULONG code, UCHAR level, ULONGLONG any, ULONGLONG all,
    PVOID filter, PVOID context)
{
    (void)session; (void)any; (void)all; (void)filter;
    EtwCode = code;
    EtwLevel = level;
    EtwContext = context;
}
CASE(passive, EtwRegister, CALLBACK)
{
    // A session listens already: the provider is told that it is enabled, at which level.
    REGHANDLE provider = 0;
    EtwCode = 7;
    EXPECT(EtwRegister(&Provider, (PVOID)EtwEnabled, &EtwCode, &provider), STATUS_SUCCESS);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    CHECK(EtwCode == 1 && EtwLevel != 0 && EtwContext == &EtwCode);
    return 0;
}
CASE(untraced_passive, EtwRegister, CALLBACK_NOT_YET)
{
    // Nobody listens: nothing is told.
    REGHANDLE provider = 0;
    EtwCode = 7;
    EXPECT(EtwRegister(&Provider, (PVOID)EtwEnabled, &EtwCode, &provider), STATUS_SUCCESS);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    CHECK(EtwCode == 7);
    return 0;
}
CASE(passive, EtwEventEnabled, VERBOSE)
{
    // The session listens, but not to this level.
    static const EVENT_DESCRIPTOR verbose = { 1, 0, 0, 5, 0, 0, 0 };
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    BOOLEAN heard = EtwEventEnabled(provider, &verbose);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    CHECK(!heard);
    return 0;
}
CASE(passive, EtwRegister, STATUS_INVALID_PARAMETER)
{
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(NULL, NULL, NULL, &provider), STATUS_INVALID_PARAMETER);
    EXPECT(EtwRegister(&Provider, NULL, NULL, NULL), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(passive, EtwUnregister, STATUS_SUCCESS)
{
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    EXPECT(EtwWrite(provider, &Event, NULL, 0, NULL), STATUS_INVALID_HANDLE);
    return 0;
}
CASE(passive, EtwWrite, STATUS_SUCCESS)
{
    REGHANDLE provider = 0;
    ULONG number = 5;
    EVENT_DATA_DESCRIPTOR data = { (ULONGLONG)&number, sizeof(number), 0 };
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    NTSTATUS got = EtwWrite(provider, &Event, NULL, 1, &data);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    EXPECT(got, STATUS_SUCCESS);
    return 0;
}
CASE(passive, EtwWrite, STATUS_INVALID_HANDLE)
{
    EXPECT(EtwWrite(0, &Event, NULL, 0, NULL), STATUS_INVALID_HANDLE);
    return 0;
}
CASE(passive, EtwWrite, STATUS_INVALID_PARAMETER)
{
    static EVENT_DATA_DESCRIPTOR many[129];
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    NTSTATUS got = EtwWrite(provider, &Event, NULL, 129, many);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    EXPECT(got, STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(fault_passive, EtwWrite, STATUS_NO_MEMORY)
{
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    NTSTATUS got = EtwWrite(provider, &Event, &Provider, 0, NULL);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    EXPECT(got, STATUS_NO_MEMORY);
    return 0;
}
CASE(untraced_passive, EtwEventEnabled, FALSE)
{
    // In `untraced`, no session listens.
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    BOOLEAN answer = EtwEventEnabled(provider, &Event);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    CHECK(answer == FALSE);
    return 0;
}
CASE(untraced_passive, EtwProviderEnabled, FALSE)
{
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    BOOLEAN answer = EtwProviderEnabled(provider, 4, 0);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    CHECK(answer == FALSE);
    return 0;
}
CASE(passive, EtwProviderEnabled, TRUE)
{
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    BOOLEAN answer = EtwProviderEnabled(provider, 4, 0);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    CHECK(answer == TRUE);
    return 0;
}
CASE(passive, EtwEventEnabled, TRUE)
{
    REGHANDLE provider = 0;
    EXPECT(EtwRegister(&Provider, NULL, NULL, &provider), STATUS_SUCCESS);
    BOOLEAN answer = EtwEventEnabled(provider, &Event);
    EXPECT(EtwUnregister(provider), STATUS_SUCCESS);
    CHECK(answer == TRUE);
    return 0;
}

static void unsigned_notice(PVOID process, HANDLE id, PS_CREATE_NOTIFY_INFO *info)
{
    UNUSED(process); UNUSED(id); UNUSED(info);
}
CASE(passive, PsSetCreateProcessNotifyRoutineEx, STATUS_ACCESS_DENIED)
{
    // This image lacks IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY.
    EXPECT(PsSetCreateProcessNotifyRoutineEx(unsigned_notice, FALSE), STATUS_ACCESS_DENIED);
    return 0;
}

CASE(pre_create, IoGetSiloParameters, NULL)
{
    CHECK(IoGetSiloParameters(in->File) == NULL);
    return 0;
}
CASE(silo_pre_create, IoGetSiloParameters, POINTER)
{
    IO_FOEXT_SILO_PARAMETERS *found = IoGetSiloParameters(in->File);
    CHECK(found != NULL && found->Length == sizeof(*found) && found->SiloContext != NULL);
    CHECK(PsIsHostSilo(found->SiloContext) == FALSE);
    return 0;
}
CASE(silo_pre_create, PsGetSiloContainerId, POINTER)
{
    // The test program's container id.
    static const GUID wanted = { 0xC0FFEE00, 0x1234, 0x5678, { 1, 2, 3, 4, 5, 6, 7, 8 } };
    GUID *found = PsGetSiloContainerId(IoGetSiloParameters(in->File)->SiloContext);
    CHECK(found != NULL && same(found, &wanted, sizeof(wanted)));
    return 0;
}
CASE(appsilo_pre_create, PsGetSiloContainerId, NULL)
{
    // The page tells of no result without an id; a silo that nobody gave one to has none.
    CHECK(PsGetSiloContainerId(IoGetSiloParameters(in->File)->SiloContext) == NULL);
    return 0;
}
CASE(appsilo_pre_create, PsGetEffectiveServerSilo, HOST_OF_SILO)
{
    PVOID silo = IoGetSiloParameters(in->File)->SiloContext;
    CHECK(PsIsHostSilo(silo) == FALSE);
    CHECK(PsIsHostSilo(PsGetEffectiveServerSilo(silo)) == TRUE);
    CHECK(PsGetCurrentServerSilo() == PsGetEffectiveServerSilo(silo));
    return 0;
}
CASE(nested_pre_create, PsGetEffectiveServerSilo, PARENT)
{
    PVOID silo = IoGetSiloParameters(in->File)->SiloContext;
    PVOID server = PsGetEffectiveServerSilo(silo);
    CHECK(server != silo && PsIsHostSilo(server) == FALSE);
    CHECK(PsGetEffectiveServerSilo(server) == server && PsGetCurrentServerSilo() == server);
    CHECK(PsGetSiloContainerId(server) != NULL);
    return 0;
}
CASE(silo_pre_create, PsGetEffectiveServerSilo, SERVER)
{
    PVOID silo = IoGetSiloParameters(in->File)->SiloContext;
    CHECK(PsGetEffectiveServerSilo(silo) == silo);
    return 0;
}
CASE(passive, PsGetEffectiveServerSilo, HOST)
{
    CHECK(PsIsHostSilo(PsGetEffectiveServerSilo(PsGetCurrentServerSilo())) == TRUE);
    return 0;
}
CASE(passive, PsIsHostSilo, TRUE)
{
    CHECK(PsIsHostSilo(PsGetCurrentServerSilo()) == TRUE);
    return 0;
}
CASE(silo_pre_create, PsIsHostSilo, FALSE)
{
    CHECK(PsIsHostSilo(PsGetCurrentServerSilo()) == FALSE);
    return 0;
}
CASE(silo_pre_create, PsGetCurrentServerSilo, POINTER)
{
    CHECK(PsGetCurrentServerSilo() == IoGetSiloParameters(in->File)->SiloContext);
    return 0;
}
CASE(passive, IoGetTopLevelIrp, VALUE)
{
    CHECK(IoGetTopLevelIrp() == NULL);
    IoSetTopLevelIrp((PVOID)1);
    PVOID seen = IoGetTopLevelIrp();
    IoSetTopLevelIrp(NULL);
    CHECK(seen == (PVOID)1);
    return 0;
}
CASE(passive, IoSetTopLevelIrp, VOID)
{
    IoSetTopLevelIrp((PVOID)2);
    PVOID seen = IoGetTopLevelIrp();
    IoSetTopLevelIrp(NULL);
    CHECK(seen == (PVOID)2 && IoGetTopLevelIrp() == NULL);
    return 0;
}
CASE(passive, IoGetStackLimits, VOID)
{
    ULONG_PTR low = 0, high = 0, here = (ULONG_PTR)&low;
    IoGetStackLimits(&low, &high);
    CHECK(low < here && here < high);
    return 0;
}
CASE(post_create, FsRtlIsPagingFile, FALSE)
{
    CHECK(FsRtlIsPagingFile(in->File) == FALSE);
    return 0;
}
CASE(pagefile_post_create, FsRtlIsPagingFile, TRUE)
{
    CHECK(FsRtlIsPagingFile(in->File) == TRUE);
    return 0;
}
