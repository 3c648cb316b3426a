// Attaching by hand, and walking over filters, instances and volumes.
// The pages are fltkernel's, one for each function named in the cases.
#include "harness.h"

static NTSTATUS attach_at(INPUT *in, const WCHAR *altitude, const WCHAR *name, PFLT_INSTANCE *out)
{
    UNICODE_STRING where = text(altitude), own = text(name);
    return FltAttachVolumeAtAltitude(in->Filter, in->Volume, &where, &own, out);
}
static NTSTATUS detach(INPUT *in, const WCHAR *name)
{
    UNICODE_STRING own = text(name);
    return FltDetachVolume(in->Filter, in->Volume, &own);
}
// The test program's service key names one instance, Conform Instance at 370123.
CASE(passive, FltAttachVolume, STATUS_SUCCESS)
{
    UNICODE_STRING name = text(L"Conform Instance");
    PFLT_INSTANCE made = NULL;
    EXPECT(FltDetachVolume(in->Filter, in->Volume, NULL), STATUS_SUCCESS);
    EXPECT(FltAttachVolume(in->Filter, in->Volume, &name, &made), STATUS_SUCCESS);
    CHECK(made != NULL);
    FltObjectDereference(made);
    return 0;
}
CASE(passive, FltAttachVolume, STATUS_FLT_INSTANCE_NAME_COLLISION)
{
    UNICODE_STRING name = text(L"Conform Instance");
    PFLT_INSTANCE made = NULL;
    EXPECT(FltAttachVolume(in->Filter, in->Volume, &name, &made),
        STATUS_FLT_INSTANCE_NAME_COLLISION);
    return 0;
}
CASE(passive, FltAttachVolume, STATUS_OBJECT_NAME_COLLISION)
{
    // Another instance takes the altitude that the service key gives.
    UNICODE_STRING name = text(L"Conform Instance");
    PFLT_INSTANCE made = NULL;
    EXPECT(FltDetachVolume(in->Filter, in->Volume, NULL), STATUS_SUCCESS);
    EXPECT(attach_at(in, L"370123", L"squatter", &made), STATUS_SUCCESS);
    FltObjectDereference(made);
    EXPECT(FltAttachVolume(in->Filter, in->Volume, &name, &made), STATUS_OBJECT_NAME_COLLISION);
    return 0;
}
CASE(teardown, FltAttachVolume, STATUS_FLT_DELETING_OBJECT)
{
    UNICODE_STRING name = text(L"Conform Instance");
    PFLT_INSTANCE made = NULL;
    EXPECT(FltAttachVolume(in->Filter, in->Volume, &name, &made), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(fault_passive, FltAttachVolume, STATUS_INSUFFICIENT_RESOURCES)
{
    UNICODE_STRING name = text(L"Conform Instance");
    PFLT_INSTANCE made = NULL;
    EXPECT(FltAttachVolume(in->Filter, in->Volume, &name, &made), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
CASE(passive, FltAttachVolumeAtAltitude, STATUS_SUCCESS)
{
    PFLT_INSTANCE made = NULL;
    EXPECT(attach_at(in, L"370124.5", L"second", &made), STATUS_SUCCESS);
    CHECK(made != NULL && made != in->Instance);
    FltObjectDereference(made);
    EXPECT(detach(in, L"second"), STATUS_SUCCESS);
    return 0;
}
CASE(passive, FltAttachVolumeAtAltitude, STATUS_FLT_INSTANCE_ALTITUDE_COLLISION)
{
    PFLT_INSTANCE made = NULL;
    EXPECT(attach_at(in, L"370123", L"second", &made), STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    return 0;
}
CASE(passive, FltAttachVolumeAtAltitude, STATUS_FLT_INSTANCE_NAME_COLLISION)
{
    PFLT_INSTANCE made = NULL;
    EXPECT(attach_at(in, L"370124", L"Conform Instance", &made),
        STATUS_FLT_INSTANCE_NAME_COLLISION);
    return 0;
}
CASE(passive, FltAttachVolumeAtAltitude, STATUS_INVALID_PARAMETER)
{
    PFLT_INSTANCE made = NULL;
    EXPECT(attach_at(in, L"high up", L"second", &made), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(teardown, FltAttachVolumeAtAltitude, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_INSTANCE made = NULL;
    EXPECT(attach_at(in, L"370124", L"second", &made), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(fault_passive, FltAttachVolumeAtAltitude, STATUS_INSUFFICIENT_RESOURCES)
{
    PFLT_INSTANCE made = NULL;
    EXPECT(attach_at(in, L"370124", L"second", &made), STATUS_INSUFFICIENT_RESOURCES);
    return 0;
}
// A filter that is registered and has not started: its volume is one that it enumerates.
static NTSTATUS unstarted(PFLT_FILTER *filter, PFLT_VOLUME *volume)
{
    ULONG count = 0;
    NTSTATUS status = FltRegisterFilter(TheDriver, &TheRegistration, filter);
    if (status < 0) return status;
    return FltEnumerateVolumes(*filter, volume, 1, &count);
}
CASE(mounted_entry, FltAttachVolume, STATUS_FLT_FILTER_NOT_READY)
{
    PFLT_FILTER filter = NULL;
    PFLT_VOLUME volume = NULL;
    UNICODE_STRING name = text(L"Conform Instance");
    EXPECT(unstarted(&filter, &volume), STATUS_SUCCESS);
    EXPECT(FltAttachVolume(filter, volume, &name, NULL), STATUS_FLT_FILTER_NOT_READY);
    FltObjectDereference(volume);
    FltUnregisterFilter(filter);
    return 0;
}
CASE(mounted_entry, FltAttachVolumeAtAltitude, STATUS_FLT_FILTER_NOT_READY)
{
    PFLT_FILTER filter = NULL;
    PFLT_VOLUME volume = NULL;
    UNICODE_STRING name = text(L"early"), altitude = text(L"370124");
    EXPECT(unstarted(&filter, &volume), STATUS_SUCCESS);
    EXPECT(FltAttachVolumeAtAltitude(filter, volume, &altitude, &name, NULL),
        STATUS_FLT_FILTER_NOT_READY);
    FltObjectDereference(volume);
    FltUnregisterFilter(filter);
    return 0;
}

CASE(passive, FltDetachVolume, STATUS_SUCCESS)
{
    ULONG before = TornDown;
    EXPECT(FltDetachVolume(in->Filter, in->Volume, NULL), STATUS_SUCCESS);
    CHECK(TornDown == before + 1);
    return 0;
}
CASE(passive, FltDetachVolume, STATUS_FLT_INSTANCE_NOT_FOUND)
{
    EXPECT(detach(in, L"no such instance"), STATUS_FLT_INSTANCE_NOT_FOUND);
    return 0;
}
CASE(teardown, FltDetachVolume, STATUS_FLT_DELETING_OBJECT)
{
    EXPECT(detach(in, L"Conform Instance"), STATUS_FLT_DELETING_OBJECT);
    return 0;
}

CASE(passive, FltGetFilterFromInstance, STATUS_SUCCESS)
{
    PFLT_FILTER filter = NULL;
    EXPECT(FltGetFilterFromInstance(in->Instance, &filter), STATUS_SUCCESS);
    CHECK(filter == in->Filter);
    FltObjectDereference(filter);
    return 0;
}
CASE(teardown, FltGetFilterFromInstance, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_FILTER filter = NULL;
    EXPECT(FltGetFilterFromInstance(in->Instance, &filter), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(passive, FltGetVolumeInstanceFromName, STATUS_SUCCESS)
{
    UNICODE_STRING name = text(L"Conform Instance");
    PFLT_INSTANCE found = NULL;
    EXPECT(FltGetVolumeInstanceFromName(in->Filter, in->Volume, &name, &found), STATUS_SUCCESS);
    CHECK(found == in->Instance);
    FltObjectDereference(found);
    return 0;
}
CASE(passive, FltGetVolumeInstanceFromName, STATUS_FLT_INSTANCE_NOT_FOUND)
{
    UNICODE_STRING name = text(L"no such instance");
    PFLT_INSTANCE found = NULL;
    EXPECT(FltGetVolumeInstanceFromName(in->Filter, in->Volume, &name, &found),
        STATUS_FLT_INSTANCE_NOT_FOUND);
    return 0;
}
CASE(teardown, FltGetVolumeInstanceFromName, STATUS_FLT_DELETING_OBJECT)
{
    UNICODE_STRING name = text(L"Conform Instance");
    PFLT_INSTANCE found = NULL;
    EXPECT(FltGetVolumeInstanceFromName(in->Filter, in->Volume, &name, &found),
        STATUS_FLT_DELETING_OBJECT);
    return 0;
}

// Two instances: the harness's own, and one above it.
static NTSTATUS above(INPUT *in, PFLT_INSTANCE *out)
{
    return attach_at(in, L"380000", L"above", out);
}
CASE(passive, FltGetUpperInstance, STATUS_SUCCESS)
{
    PFLT_INSTANCE upper, found = NULL;
    EXPECT(above(in, &upper), STATUS_SUCCESS);
    EXPECT(FltGetUpperInstance(in->Instance, &found), STATUS_SUCCESS);
    CHECK(found == upper);
    FltObjectDereference(found);
    FltObjectDereference(upper);
    return 0;
}
CASE(passive, FltGetUpperInstance, STATUS_NO_MORE_ENTRIES)
{
    PFLT_INSTANCE found = NULL;
    EXPECT(FltGetUpperInstance(in->Instance, &found), STATUS_NO_MORE_ENTRIES);
    return 0;
}
CASE(passive, FltGetLowerInstance, STATUS_SUCCESS)
{
    PFLT_INSTANCE upper, found = NULL;
    EXPECT(above(in, &upper), STATUS_SUCCESS);
    EXPECT(FltGetLowerInstance(upper, &found), STATUS_SUCCESS);
    CHECK(found == in->Instance);
    FltObjectDereference(found);
    FltObjectDereference(upper);
    return 0;
}
CASE(passive, FltGetLowerInstance, STATUS_NO_MORE_ENTRIES)
{
    PFLT_INSTANCE found = NULL;
    EXPECT(FltGetLowerInstance(in->Instance, &found), STATUS_NO_MORE_ENTRIES);
    return 0;
}
CASE(passive, FltGetTopInstance, STATUS_SUCCESS)
{
    PFLT_INSTANCE upper, found = NULL;
    EXPECT(above(in, &upper), STATUS_SUCCESS);
    EXPECT(FltGetTopInstance(in->Volume, &found), STATUS_SUCCESS);
    CHECK(found == upper);
    FltObjectDereference(found);
    FltObjectDereference(upper);
    return 0;
}
CASE(passive, FltGetTopInstance, STATUS_NO_MORE_ENTRIES)
{
    PFLT_INSTANCE found = NULL;
    EXPECT(FltDetachVolume(in->Filter, in->Volume, NULL), STATUS_SUCCESS);
    EXPECT(FltGetTopInstance(in->Volume, &found), STATUS_NO_MORE_ENTRIES);
    return 0;
}
CASE(passive, FltGetBottomInstance, STATUS_SUCCESS)
{
    PFLT_INSTANCE upper, found = NULL;
    EXPECT(above(in, &upper), STATUS_SUCCESS);
    EXPECT(FltGetBottomInstance(in->Volume, &found), STATUS_SUCCESS);
    CHECK(found == in->Instance);
    FltObjectDereference(found);
    FltObjectDereference(upper);
    return 0;
}
CASE(passive, FltGetBottomInstance, STATUS_NO_MORE_ENTRIES)
{
    PFLT_INSTANCE found = NULL;
    EXPECT(FltDetachVolume(in->Filter, in->Volume, NULL), STATUS_SUCCESS);
    EXPECT(FltGetBottomInstance(in->Volume, &found), STATUS_NO_MORE_ENTRIES);
    return 0;
}
CASE(passive, FltCompareInstanceAltitudes, NEGATIVE)
{
    PFLT_INSTANCE upper;
    EXPECT(above(in, &upper), STATUS_SUCCESS);
    LONG order = FltCompareInstanceAltitudes(in->Instance, upper);
    FltObjectDereference(upper);
    CHECK(order < 0);
    return 0;
}
CASE(passive, FltCompareInstanceAltitudes, POSITIVE)
{
    PFLT_INSTANCE upper;
    EXPECT(above(in, &upper), STATUS_SUCCESS);
    LONG order = FltCompareInstanceAltitudes(upper, in->Instance);
    FltObjectDereference(upper);
    CHECK(order > 0);
    return 0;
}
CASE(passive, FltCompareInstanceAltitudes, ZERO)
{
    CHECK(FltCompareInstanceAltitudes(in->Instance, in->Instance) == 0);
    return 0;
}

CASE(passive, FltEnumerateVolumes, STATUS_SUCCESS)
{
    PFLT_VOLUME list[4] = { NULL };
    ULONG count = 0, own = 0;
    EXPECT(FltEnumerateVolumes(in->Filter, list, 4, &count), STATUS_SUCCESS);
    CHECK(count >= 1 && count <= 4);
    for (ULONG i = 0; i < count; i++) {
        if (list[i] == in->Volume) own++;
        FltObjectDereference(list[i]);
    }
    CHECK(own == 1);
    return 0;
}
CASE(passive, FltEnumerateVolumes, STATUS_BUFFER_TOO_SMALL)
{
    ULONG count = 0;
    EXPECT(FltEnumerateVolumes(in->Filter, NULL, 0, &count), STATUS_BUFFER_TOO_SMALL);
    CHECK(count >= 1);
    return 0;
}
CASE(passive, FltGetVolumeName, STATUS_SUCCESS)
{
    WCHAR characters[64];
    UNICODE_STRING name = { 0, sizeof(characters), characters };
    UNICODE_STRING head = text(L"\\Device\\");
    EXPECT(FltGetVolumeName(in->Volume, &name, NULL), STATUS_SUCCESS);
    CHECK(name.Length > head.Length && same(characters, head.Buffer, head.Length));
    return 0;
}
CASE(passive, FltGetVolumeName, STATUS_BUFFER_TOO_SMALL)
{
    WCHAR characters[2];
    UNICODE_STRING name = { 0, sizeof(characters), characters };
    ULONG needed = 0;
    EXPECT(FltGetVolumeName(in->Volume, &name, &needed), STATUS_BUFFER_TOO_SMALL);
    CHECK(needed > sizeof(characters));
    return 0;
}
CASE(passive, FltGetVolumeName, STATUS_INVALID_PARAMETER)
{
    EXPECT(FltGetVolumeName(in->Volume, NULL, NULL), STATUS_INVALID_PARAMETER);
    return 0;
}
static WCHAR Characters[64];
static NTSTATUS own_name(INPUT *in, UNICODE_STRING *out)
{
    UNICODE_STRING name = { 0, sizeof(Characters), Characters };
    NTSTATUS status = FltGetVolumeName(in->Volume, &name, NULL);
    *out = name;
    return status;
}
CASE(passive, FltGetVolumeFromName, STATUS_SUCCESS)
{
    UNICODE_STRING name;
    PFLT_VOLUME found = NULL;
    EXPECT(own_name(in, &name), STATUS_SUCCESS);
    EXPECT(FltGetVolumeFromName(in->Filter, &name, &found), STATUS_SUCCESS);
    CHECK(found == in->Volume);
    FltObjectDereference(found);
    return 0;
}
CASE(passive, FltGetVolumeFromName, STATUS_INVALID_PARAMETER)
{
    UNICODE_STRING none = { 0, 0, NULL };
    PFLT_VOLUME found = NULL;
    EXPECT(FltGetVolumeFromName(in->Filter, &none, &found), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(passive, FltGetVolumeFromName, STATUS_FLT_VOLUME_NOT_FOUND)
{
    UNICODE_STRING name = text(L"\\Device\\HarddiskVolume4711");
    PFLT_VOLUME found = NULL;
    EXPECT(FltGetVolumeFromName(in->Filter, &name, &found), STATUS_FLT_VOLUME_NOT_FOUND);
    return 0;
}
CASE(dismount, FltGetVolumeFromName, STATUS_FLT_DELETING_OBJECT)
{
    UNICODE_STRING name;
    PFLT_VOLUME found = NULL;
    EXPECT(own_name(in, &name), STATUS_SUCCESS);
    EXPECT(FltGetVolumeFromName(in->Filter, &name, &found), STATUS_FLT_DELETING_OBJECT);
    return 0;
}
CASE(passive, FltGetDeviceObject, STATUS_SUCCESS)
{
    PVOID device = NULL;
    EXPECT(FltGetDeviceObject(in->Volume, &device), STATUS_SUCCESS);
    CHECK(device != NULL);
    ObfDereferenceObject(device);
    return 0;
}
CASE(passive, FltGetVolumeFromDeviceObject, STATUS_SUCCESS)
{
    PVOID device = NULL;
    PFLT_VOLUME found = NULL;
    EXPECT(FltGetDeviceObject(in->Volume, &device), STATUS_SUCCESS);
    EXPECT(FltGetVolumeFromDeviceObject(in->Filter, device, &found), STATUS_SUCCESS);
    ObfDereferenceObject(device);
    CHECK(found == in->Volume);
    FltObjectDereference(found);
    return 0;
}
CASE(passive, FltGetVolumeFromDeviceObject, STATUS_INVALID_PARAMETER)
{
    // A driver object is a kernel object and no device.
    PFLT_VOLUME found = NULL;
    EXPECT(FltGetVolumeFromDeviceObject(in->Filter, TheDriver, &found), STATUS_INVALID_PARAMETER);
    return 0;
}
static PVOID Device;
CASE(prepare, FltGetVolumeFromDeviceObject, STATUS_FLT_DELETING_OBJECT)
{
    EXPECT(FltGetDeviceObject(in->Volume, &Device), STATUS_SUCCESS);
    return 0;
}
CASE(dismount, FltGetVolumeFromDeviceObject, STATUS_FLT_DELETING_OBJECT)
{
    PFLT_VOLUME found = NULL;
    NTSTATUS got = FltGetVolumeFromDeviceObject(in->Filter, Device, &found);
    ObfDereferenceObject(Device);
    EXPECT(got, STATUS_FLT_DELETING_OBJECT);
    return 0;
}
