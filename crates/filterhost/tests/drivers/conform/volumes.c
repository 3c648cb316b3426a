// What a minifilter asks about volumes and instances.
// The pages are fltkernel's, one for each function named in the cases.
#include "harness.h"

#define FileFsAttributeInformation 5
#define FSTYPE_NTFS 2
#define FSTYPE_LANMAN 6
typedef struct { ULONG Attributes; LONG MaximumName; ULONG NameLength; WCHAR Name[8]; }
    FS_ATTRIBUTES;

static BOOLEAN has_guid_shape(const UNICODE_STRING *name)
{
    UNICODE_STRING prefix = text(L"\\??\\Volume{");
    return name->Length >= 48 * 2 && same(name->Buffer, prefix.Buffer, prefix.Length)
        && name->Buffer[47] == L'}';
}
CASE(passive, FltGetVolumeGuidName, STATUS_SUCCESS)
{
    WCHAR characters[64];
    UNICODE_STRING name = { 0, sizeof(characters), characters };
    ULONG needed = 0;
    EXPECT(FltGetVolumeGuidName(in->Volume, &name, &needed), STATUS_SUCCESS);
    CHECK(has_guid_shape(&name));
    // The same volume always has the same name.
    WCHAR again[64];
    UNICODE_STRING twin = { 0, sizeof(again), again };
    EXPECT(FltGetVolumeGuidName(in->Volume, &twin, NULL), STATUS_SUCCESS);
    CHECK(twin.Length == name.Length && same(again, characters, name.Length));
    return 0;
}
CASE(passive, FltGetVolumeGuidName, STATUS_BUFFER_TOO_SMALL)
{
    WCHAR characters[64];
    UNICODE_STRING name = { 0, 8, characters };
    ULONG needed = 0;
    EXPECT(FltGetVolumeGuidName(in->Volume, &name, &needed), STATUS_BUFFER_TOO_SMALL);
    CHECK(needed >= 48 * 2 && needed <= sizeof(characters));
    ULONG again = 0;
    EXPECT(FltGetVolumeGuidName(in->Volume, NULL, &again), STATUS_BUFFER_TOO_SMALL);
    CHECK(again == needed);
    name.MaximumLength = (USHORT)needed;
    EXPECT(FltGetVolumeGuidName(in->Volume, &name, NULL), STATUS_SUCCESS);
    return 0;
}
CASE(fault_passive, FltGetVolumeGuidName, STATUS_INSUFFICIENT_RESOURCES)
{
    WCHAR characters[64];
    UNICODE_STRING name = { 0, sizeof(characters), characters };
    EXPECT(FltGetVolumeGuidName(in->Volume, &name, NULL), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(network_passive, FltGetVolumeGuidName, STATUS_INVALID_DEVICE_REQUEST)
{
    WCHAR characters[64];
    UNICODE_STRING name = { 0, sizeof(characters), characters };
    EXPECT(FltGetVolumeGuidName(in->Volume, &name, NULL), STATUS_INVALID_DEVICE_REQUEST);
    return 0;
}

// In `nameless`, the mount manager does not know the volume.
CASE(nameless_passive, FltGetVolumeGuidName, STATUS_FLT_VOLUME_NOT_FOUND)
{
    WCHAR characters[64];
    UNICODE_STRING name = { 0, sizeof(characters), characters };
    EXPECT(FltGetVolumeGuidName(in->Volume, &name, NULL), STATUS_FLT_VOLUME_NOT_FOUND);
    return 0;
}

CASE(passive, FltGetVolumeProperties, STATUS_SUCCESS)
{
    union { FLT_VOLUME_PROPERTIES Fixed; UCHAR Bytes[512]; } all = { 0 };
    ULONG size = 0;
    EXPECT(FltGetVolumeProperties(in->Volume, &all.Fixed, sizeof(all), &size), STATUS_SUCCESS);
    CHECK(size >= sizeof(FLT_VOLUME_PROPERTIES) && size <= sizeof(all));
    CHECK(all.Fixed.SectorSize >= 512 && (all.Fixed.SectorSize & (all.Fixed.SectorSize - 1)) == 0);
    CHECK(all.Fixed.FileSystemDriverName.Length > 0 && all.Fixed.RealDeviceName.Length > 0);
    // The names lie behind the fixed part, in the caller's own buffer.
    CHECK((UCHAR *)all.Fixed.RealDeviceName.Buffer >= all.Bytes + sizeof(FLT_VOLUME_PROPERTIES));
    CHECK((UCHAR *)all.Fixed.RealDeviceName.Buffer < all.Bytes + size);
    return 0;
}
CASE(passive, FltGetVolumeProperties, STATUS_BUFFER_OVERFLOW)
{
    FLT_VOLUME_PROPERTIES fixed = { 0 };
    ULONG size = 0;
    EXPECT(FltGetVolumeProperties(in->Volume, &fixed, sizeof(fixed), &size),
        STATUS_BUFFER_OVERFLOW);
    CHECK(fixed.SectorSize >= 512);
    return 0;
}
CASE(passive, FltGetVolumeProperties, STATUS_BUFFER_TOO_SMALL)
{
    FLT_VOLUME_PROPERTIES fixed = { 0 };
    ULONG size = 0;
    EXPECT(FltGetVolumeProperties(in->Volume, &fixed, 8, &size), STATUS_BUFFER_TOO_SMALL);
    CHECK(size >= sizeof(fixed));
    EXPECT(FltGetVolumeProperties(in->Volume, NULL, 0, &size), STATUS_BUFFER_TOO_SMALL);
    return 0;
}
CASE(passive, FltGetFileSystemType, STATUS_SUCCESS)
{
    int of_volume = -1, of_instance = -1;
    EXPECT(FltGetFileSystemType(in->Volume, &of_volume), STATUS_SUCCESS);
    EXPECT(FltGetFileSystemType(in->Instance, &of_instance), STATUS_SUCCESS);
    CHECK(of_volume == FSTYPE_NTFS && of_instance == FSTYPE_NTFS);
    return 0;
}
CASE(network_passive, FltGetFileSystemType, NETWORK_SUCCESS)
{
    int kind = -1;
    EXPECT(FltGetFileSystemType(in->Volume, &kind), STATUS_SUCCESS);
    CHECK(kind == FSTYPE_LANMAN);
    return 0;
}
CASE(passive, FltGetFileSystemType, STATUS_INVALID_PARAMETER)
{
    int kind = -1;
    EXPECT(FltGetFileSystemType(in->Filter, &kind), STATUS_INVALID_PARAMETER);
    return 0;
}

static NTSTATUS volume_attributes(INPUT *in, int class, FS_ATTRIBUTES *out)
{
    IO_STATUS_BLOCK status = { 0 };
    return FltQueryVolumeInformation(in->Instance, &status, out, sizeof(*out), class);
}
CASE(passive, FltQueryVolumeInformation, STATUS_SUCCESS)
{
    IO_STATUS_BLOCK status = { 0 };
    FS_ATTRIBUTES all = { 0 };
    EXPECT(FltQueryVolumeInformation(in->Instance, &status, &all, sizeof(all),
        FileFsAttributeInformation), STATUS_SUCCESS);
    CHECK(status.Status == STATUS_SUCCESS && status.Information > 0);
    CHECK(all.MaximumName == 255 && all.NameLength == 8 && same(all.Name, L"NTFS", 8));
    return 0;
}
CASE(fault_passive, FltQueryVolumeInformation, STATUS_INSUFFICIENT_RESOURCES)
{
    FS_ATTRIBUTES all;
    EXPECT(volume_attributes(in, FileFsAttributeInformation, &all), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(passive, FltQueryVolumeInformation, STATUS_INVALID_INFO_CLASS)
{
    FS_ATTRIBUTES all;
    EXPECT(volume_attributes(in, 999, &all), STATUS_INVALID_INFO_CLASS);
    return 0;
}
CASE(network_passive, FltQueryVolumeInformation, STATUS_INVALID_PARAMETER)
{
    FS_ATTRIBUTES all;
    EXPECT(volume_attributes(in, FileFsAttributeInformation, &all), STATUS_INVALID_PARAMETER);
    return 0;
}

CASE(passive, FltIsVolumeWritable, STATUS_SUCCESS)
{
    BOOLEAN answer = 7;
    EXPECT(FltIsVolumeWritable(in->Volume, &answer), STATUS_SUCCESS);
    CHECK(answer == TRUE);
    answer = 7;
    EXPECT(FltIsVolumeWritable(in->Instance, &answer), STATUS_SUCCESS);
    CHECK(answer == TRUE);
    return 0;
}
CASE(readonly_passive, FltIsVolumeWritable, READ_ONLY_SUCCESS)
{
    BOOLEAN answer = 7;
    EXPECT(FltIsVolumeWritable(in->Volume, &answer), STATUS_SUCCESS);
    CHECK(answer == FALSE);
    return 0;
}
CASE(fault_passive, FltIsVolumeWritable, STATUS_INSUFFICIENT_RESOURCES)
{
    BOOLEAN answer;
    EXPECT(FltIsVolumeWritable(in->Volume, &answer), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(network_passive, FltIsVolumeWritable, STATUS_INVALID_DEVICE_REQUEST)
{
    BOOLEAN answer;
    EXPECT(FltIsVolumeWritable(in->Volume, &answer), STATUS_INVALID_DEVICE_REQUEST);
    return 0;
}
CASE(passive, FltIsVolumeSnapshot, STATUS_SUCCESS)
{
    BOOLEAN answer = 7;
    EXPECT(FltIsVolumeSnapshot(in->Volume, &answer), STATUS_SUCCESS);
    CHECK(answer == FALSE);
    answer = 7;
    EXPECT(FltIsVolumeSnapshot(in->Instance, &answer), STATUS_SUCCESS);
    CHECK(answer == FALSE);
    return 0;
}
CASE(passive, FltIsVolumeSnapshot, STATUS_INVALID_PARAMETER)
{
    BOOLEAN answer;
    EXPECT(FltIsVolumeSnapshot(in->Filter, &answer), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(network_passive, FltIsVolumeSnapshot, STATUS_FLT_NO_DEVICE_OBJECT)
{
    BOOLEAN answer;
    EXPECT(FltIsVolumeSnapshot(in->Volume, &answer), STATUS_FLT_NO_DEVICE_OBJECT);
    return 0;
}
CASE(fault_passive, FltIsVolumeSnapshot, STATUS_INSUFFICIENT_RESOURCES)
{
    BOOLEAN answer;
    EXPECT(FltIsVolumeSnapshot(in->Volume, &answer), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}

CASE(passive, FltGetVolumeFromInstance, STATUS_SUCCESS)
{
    PFLT_VOLUME volume = NULL;
    EXPECT(FltGetVolumeFromInstance(in->Instance, &volume), STATUS_SUCCESS);
    CHECK(volume == in->Volume);
    FltObjectDereference(volume);
    return 0;
}
CASE(dismount, FltGetVolumeFromInstance, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_VOLUME volume = NULL;
    EXPECT(FltGetVolumeFromInstance(in->Instance, &volume), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(post_create, FltGetVolumeFromFileObject, STATUS_SUCCESS)
{
    PFLT_VOLUME volume = NULL;
    EXPECT(FltGetVolumeFromFileObject(in->Filter, in->File, &volume), STATUS_SUCCESS);
    CHECK(volume == in->Volume);
    FltObjectDereference(volume);
    return 0;
}
CASE(dismount, FltGetVolumeFromFileObject, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_VOLUME volume = NULL;
    EXPECT(FltGetVolumeFromFileObject(in->Filter, TheFile, &volume), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(passive, FltGetVolumeFromFileObject, STATUS_INVALID_PARAMETER)
{
    // A file object of no device at all.
    FILE_OBJECT none = { .Type = 5, .Size = sizeof(none) };
    PFLT_VOLUME volume = NULL;
    EXPECT(FltGetVolumeFromFileObject(in->Filter, &none, &volume), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(passive, FltEnumerateInstances, STATUS_SUCCESS)
{
    PFLT_INSTANCE list[4] = { NULL };
    ULONG count = 0;
    EXPECT(FltEnumerateInstances(in->Volume, in->Filter, list, 4, &count), STATUS_SUCCESS);
    CHECK(count == 1 && list[0] == in->Instance);
    FltObjectDereference(list[0]);
    return 0;
}
CASE(passive, FltEnumerateInstances, STATUS_BUFFER_TOO_SMALL)
{
    ULONG count = 0;
    EXPECT(FltEnumerateInstances(in->Volume, in->Filter, NULL, 0, &count),
        STATUS_BUFFER_TOO_SMALL);
    CHECK(count == 1);
    return 0;
}
CASE(passive, FltEnumerateInstances, STATUS_INVALID_PARAMETER)
{
    PFLT_INSTANCE list[4];
    ULONG count = 0;
    EXPECT(FltEnumerateInstances(NULL, NULL, list, 4, &count), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(dax_post_create, FsRtlIsDaxVolume, TRUE)
{
    CHECK(FsRtlIsDaxVolume(in->File) == TRUE);
    return 0;
}
CASE(post_create, FsRtlIsDaxVolume, FALSE)
{
    CHECK(FsRtlIsDaxVolume(in->File) == FALSE);
    return 0;
}
CASE(passive, FltObjectReference, STATUS_SUCCESS)
{
    EXPECT(FltObjectReference(in->Filter), STATUS_SUCCESS);
    EXPECT(FltObjectReference(in->Instance), STATUS_SUCCESS);
    EXPECT(FltObjectReference(in->Volume), STATUS_SUCCESS);
    FltObjectDereference(in->Volume);
    FltObjectDereference(in->Instance);
    FltObjectDereference(in->Filter);
    return 0;
}
CASE(teardown, FltObjectReference, STATUS_FLT_DELETING_OBJECT)
{
    EXPECT(FltObjectReference(in->Instance), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(passive, FltObjectDereference, VOID)
{
    // Unload waits for every reference, so one that stays would hang the test.
    EXPECT(FltObjectReference(in->Instance), STATUS_SUCCESS);
    FltObjectDereference(in->Instance);
    return 0;
}
