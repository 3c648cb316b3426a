#include "wrong.h"

WRONG(passive, filter_pointer)
{
    FltStartFiltering(NOWHERE);
    return 0;
}
WRONG(passive, instance_pointer)
{
    PFLT_VOLUME volume;
    FltGetVolumeFromInstance(NOWHERE, &volume);
    return 0;
}
WRONG(passive, volume_pointer)
{
    ULONG size;
    FltGetVolumeName(NOWHERE, NULL, &size);
    return 0;
}
WRONG(passive, driver_pointer)
{
    PFLT_FILTER filter;
    FltRegisterFilter((PVOID)Stray, &TheRegistration, &filter);
    return 0;
}
WRONG(passive, flt_object_pointer)
{
    FltObjectReference(NOWHERE);
    return 0;
}
WRONG(passive, reference_underflow)
{
    FltObjectDereference(in->Filter);
    return 0;
}
WRONG(passive, filter_reference_leak)
{
    EXPECT(FltObjectReference(in->Filter), STATUS_SUCCESS);
    return 0;
}
WRONG(passive, reference_leak)
{
    EXPECT(FltObjectReference(in->Instance), STATUS_SUCCESS);
    return 0;
}
WRONG(passive, volume_reference_leak)
{
    EXPECT(FltObjectReference(in->Volume), STATUS_SUCCESS);
    return 0;
}
