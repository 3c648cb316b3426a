#include "wrong.h"

static const GUID Type = { 0x11111111, 0x2222, 0x3333, { 1, 2, 3, 4, 5, 6, 7, 8 } };
static ULONGLONG Lookaside[0x40];

static NTSTATUS make(INPUT *in, PVOID *out)
{
    return FltAllocateExtraCreateParameter(in->Filter, &Type, 0x20, 0, NULL, TAG, out);
}
static NTSTATUS make_list(INPUT *in, ULONG flags, PECP_LIST *out)
{
    return FltAllocateExtraCreateParameterList(in->Filter, flags, out);
}

WRONG(passive, ecp_flags)
{
    PECP_LIST list;
    EXPECT(make_list(in, 0x80, &list), STATUS_SUCCESS);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
WRONG(passive, ecp_type)
{
    PVOID made;
    FltAllocateExtraCreateParameter(in->Filter, NULL, 0x20, 0, NULL, TAG, &made);
    return 0;
}
WRONG(passive, ecp_pointer)
{
    FltFreeExtraCreateParameter(in->Filter, Stray);
    return 0;
}
WRONG(passive, ecp_list_pointer)
{
    FltFreeExtraCreateParameterList(in->Filter, (PVOID)Stray);
    return 0;
}
WRONG(passive, ecp_free_attached)
{
    PECP_LIST list;
    PVOID made;
    EXPECT(make_list(in, 0, &list), STATUS_SUCCESS);
    EXPECT(make(in, &made), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, made), STATUS_SUCCESS);
    FltFreeExtraCreateParameter(in->Filter, made);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
WRONG(pre_create, ecp_list_free_attached)
{
    PECP_LIST list;
    EXPECT(make_list(in, 0, &list), STATUS_SUCCESS);
    EXPECT(FltSetEcpListIntoCallbackData(in->Filter, in->Data, list), STATUS_SUCCESS);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
WRONG(passive, ecp_inserted_twice)
{
    PECP_LIST list, other;
    PVOID made;
    EXPECT(make_list(in, 0, &list), STATUS_SUCCESS);
    EXPECT(make_list(in, 0, &other), STATUS_SUCCESS);
    EXPECT(make(in, &made), STATUS_SUCCESS);
    FltInsertExtraCreateParameter(in->Filter, list, made);
    FltInsertExtraCreateParameter(in->Filter, other, made);
    FltFreeExtraCreateParameterList(in->Filter, list);
    FltFreeExtraCreateParameterList(in->Filter, other);
    return 0;
}
WRONG(passive, ecp_leak)
{
    PVOID lost;
    EXPECT(make(in, &lost), STATUS_SUCCESS);
    return 0;
}
WRONG(passive, ecp_lookaside)
{
    FltDeleteExtraCreateParameterLookasideList(in->Filter, Lookaside, 0);
    return 0;
}
WRONG(passive, ecp_lookaside_in_use)
{
    PVOID made;
    FltInitExtraCreateParameterLookasideList(in->Filter, Lookaside, 0, 0x20, TAG);
    EXPECT(FltAllocateExtraCreateParameterFromLookasideList(in->Filter, &Type, 0x20, 0, NULL,
        Lookaside, &made), STATUS_SUCCESS);
    FltDeleteExtraCreateParameterLookasideList(in->Filter, Lookaside, 0);
    FltFreeExtraCreateParameter(in->Filter, made);
    return 0;
}
