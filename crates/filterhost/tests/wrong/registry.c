// A driver that writes its own service key, wrongly, and registers.
#include "wrong.h"

#define KEY_ALL 0x2001F

static HANDLE key(HANDLE root, UNICODE_STRING *name)
{
    OBJECT_ATTRIBUTES how = attributes(name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    HANDLE made = NULL;
    how.RootDirectory = root;
    ZwCreateKey(&made, KEY_ALL, &how, 0, NULL, 0, NULL);
    return made;
}
static HANDLE below(HANDLE root, const WCHAR *characters)
{
    UNICODE_STRING name = text(characters);
    return key(root, &name);
}
static void number(HANDLE at, const WCHAR *characters, ULONG value)
{
    UNICODE_STRING name = text(characters);
    ZwSetValueKey(at, &name, 0, REG_DWORD, &value, sizeof(value));
}
static void string(HANDLE at, const WCHAR *characters, const WCHAR *value)
{
    UNICODE_STRING name = text(characters), own = text(value);
    ZwSetValueKey(at, &name, 0, REG_SZ, own.Buffer, own.MaximumLength);
}
// The service's value.
static void property(const WCHAR *name, const WCHAR *value)
{
    HANDLE service = key(NULL, TheRegistryPath);
    string(service, name, value);
    ZwClose(service);
}
// An instance, open: with flags, and with an altitude where one is given.
static HANDLE instance(const WCHAR *name, const WCHAR *altitude)
{
    HANDLE service = key(NULL, TheRegistryPath), all = below(service, L"Instances");
    HANDLE own = below(all, name);
    string(all, L"DefaultInstance", L"First");
    number(own, L"Flags", 0);
    if (altitude) string(own, L"Altitude", altitude);
    ZwClose(all);
    ZwClose(service);
    return own;
}
static NTSTATUS registered(void)
{
    PFLT_FILTER filter;
    NTSTATUS status = FltRegisterFilter(TheDriver, &TheRegistration, &filter);
    if (status >= 0) FltUnregisterFilter(filter);
    return status;
}

WRONG(unlisted_entry, registry_instances)
{
    EXPECT(registered(), STATUS_OBJECT_NAME_NOT_FOUND);
    return 0;
}
WRONG(unlisted_entry, registry_altitude)
{
    ZwClose(instance(L"First", L"320500"));
    HANDLE second = instance(L"Second", NULL);
    number(second, L"Altitude", 320501);
    ZwClose(second);
    EXPECT(registered(), STATUS_SUCCESS);
    return 0;
}
WRONG(unlisted_entry, registry_flags)
{
    HANDLE first = instance(L"First", L"320500");
    number(first, L"Flags", 4);
    ZwClose(first);
    EXPECT(registered(), STATUS_SUCCESS);
    return 0;
}
WRONG(unlisted_entry, registry_default)
{
    ZwClose(instance(L"Second", L"320500"));
    EXPECT(registered(), STATUS_SUCCESS);
    return 0;
}
WRONG(unlisted_entry, altitude_taken)
{
    ZwClose(instance(L"First", L"320500"));
    ZwClose(instance(L"Second", L"320500.0"));
    EXPECT(registered(), STATUS_SUCCESS);
    return 0;
}
WRONG(unlisted_entry, load_order_group)
{
    ZwClose(instance(L"First", L"320500"));
    property(L"Group", L"FSFilter Antivirus");
    EXPECT(registered(), STATUS_SUCCESS);
    return 0;
}
WRONG(unlisted_entry, altitude_range)
{
    ZwClose(instance(L"First", L"330000"));
    property(L"Group", L"FSFilter Anti-Virus");
    EXPECT(registered(), STATUS_SUCCESS);
    return 0;
}
WRONG(unlisted_entry, service_type)
{
    HANDLE service = key(NULL, TheRegistryPath);
    number(service, L"Type", 1); // SERVICE_KERNEL_DRIVER
    ZwClose(service);
    ZwClose(instance(L"First", L"320500"));
    EXPECT(registered(), STATUS_SUCCESS);
    return 0;
}
WRONG(unlisted_entry, service_dependency)
{
    static WCHAR other[] = L"RpcSs\0";
    UNICODE_STRING name = text(L"DependOnService");
    HANDLE service = key(NULL, TheRegistryPath);
    ZwSetValueKey(service, &name, 0, REG_MULTI_SZ, other, sizeof(other));
    ZwClose(service);
    ZwClose(instance(L"First", L"320500"));
    EXPECT(registered(), STATUS_SUCCESS);
    return 0;
}
