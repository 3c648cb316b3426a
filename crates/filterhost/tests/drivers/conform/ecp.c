// Extra create parameters: lists, members, acknowledgement, and the list of a create.
// The pages are fltkernel's nf-fltkernel-flt*extracreateparameter*, nf-fltkernel-flt*ecp* and
// nf-fltkernel-flt{get,set}ecplist{from,into}callbackdata.
#include "harness.h"

static const GUID First = { 0x11111111, 0x2222, 0x3333, { 1, 2, 3, 4, 5, 6, 7, 8 } };
static const GUID Second = { 0x99999999, 0x8888, 0x7777, { 8, 7, 6, 5, 4, 3, 2, 1 } };
// What the test program attaches to a user's open in the situation `userecp_pre_create`.
static const GUID FromUser = { 0x55555555, 0x6666, 0x7777, { 9, 9, 9, 9, 9, 9, 9, 9 } };

static ULONG CleanedUp;
static void count_cleanup(PVOID context, const GUID *type)
{
    UNUSED(context);
    if (same(type, &First, sizeof(First))) CleanedUp++;
}

static NTSTATUS make(INPUT *in, const GUID *type, PVOID *out)
{
    CleanedUp = 0;
    return FltAllocateExtraCreateParameter(in->Filter, type, 0x20, 0, count_cleanup, TAG, out);
}
static NTSTATUS make_list(INPUT *in, PECP_LIST *out)
{
    return FltAllocateExtraCreateParameterList(in->Filter, 0, out);
}

CASE(passive, FltAllocateExtraCreateParameterList, STATUS_SUCCESS)
{
    PECP_LIST list = NULL;
    GUID type;
    PVOID next;
    ULONG size;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    CHECK(list != NULL);
    // Initialised means empty.
    EXPECT(FltGetNextExtraCreateParameter(in->Filter, list, NULL, &type, &next, &size),
        STATUS_NOT_FOUND);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(fault_passive, FltAllocateExtraCreateParameterList, STATUS_INSUFFICIENT_RESOURCES)
{
    PECP_LIST list = (PVOID)1;
    EXPECT(make_list(in, &list), STATUS_INSUFFICIENT_RESOURCES);
    CHECK(list == NULL);
    return 0;
}
CASE(passive, FltAllocateExtraCreateParameter, STATUS_SUCCESS)
{
    UCHAR *made = NULL;
    EXPECT(make(in, &First, (PVOID *)&made), STATUS_SUCCESS);
    CHECK(made != NULL);
    for (ULONG at = 0; at < 0x20; at++) made[at] = 0x5A;
    FltFreeExtraCreateParameter(in->Filter, made);
    return 0;
}
CASE(fault_passive, FltAllocateExtraCreateParameter, STATUS_INSUFFICIENT_RESOURCES)
{
    PVOID made = (PVOID)1;
    EXPECT(make(in, &First, &made), STATUS_INSUFFICIENT_RESOURCES);
    CHECK(made == NULL);
    return 0;
}
CASE(passive, FltInsertExtraCreateParameter, STATUS_SUCCESS)
{
    PECP_LIST list;
    PVOID one, other, found = NULL;
    ULONG size = 0;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(make(in, &Second, &other), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, other), STATUS_SUCCESS);
    EXPECT(FltFindExtraCreateParameter(in->Filter, list, &Second, &found, &size), STATUS_SUCCESS);
    CHECK(found == other && size == 0x20);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(passive, FltInsertExtraCreateParameter, STATUS_INVALID_PARAMETER)
{
    PECP_LIST list;
    PVOID one, twin;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(make(in, &First, &twin), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, twin), STATUS_INVALID_PARAMETER);
    // The twin is in no list, so it is ours to free.
    FltFreeExtraCreateParameter(in->Filter, twin);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(passive, FltFindExtraCreateParameter, STATUS_SUCCESS)
{
    PECP_LIST list;
    PVOID one, found = NULL;
    ULONG size = 0;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    EXPECT(FltFindExtraCreateParameter(in->Filter, list, &First, &found, &size), STATUS_SUCCESS);
    CHECK(found == one && size == 0x20);
    // Both outputs are optional.
    EXPECT(FltFindExtraCreateParameter(in->Filter, list, &First, NULL, NULL), STATUS_SUCCESS);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(passive, FltFindExtraCreateParameter, STATUS_NOT_FOUND)
{
    PECP_LIST list;
    PVOID one, found = (PVOID)1;
    ULONG size = 1;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    EXPECT(FltFindExtraCreateParameter(in->Filter, list, &Second, &found, &size),
        STATUS_NOT_FOUND);
    CHECK(found == NULL && size == 0);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(passive, FltGetNextExtraCreateParameter, STATUS_SUCCESS)
{
    PECP_LIST list;
    PVOID one, other, at = NULL;
    GUID type;
    ULONG size = 0, firsts = 0, seconds = 0;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(make(in, &Second, &other), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, other), STATUS_SUCCESS);
    for (ULONG round = 0; round < 2; round++) {
        EXPECT(FltGetNextExtraCreateParameter(in->Filter, list, at, &type, &at, &size),
            STATUS_SUCCESS);
        CHECK(size == 0x20);
        if (at == one && same(&type, &First, sizeof(type))) firsts++;
        if (at == other && same(&type, &Second, sizeof(type))) seconds++;
    }
    CHECK(firsts == 1 && seconds == 1);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(passive, FltGetNextExtraCreateParameter, STATUS_NOT_FOUND)
{
    PECP_LIST list;
    PVOID one, next = (PVOID)1;
    GUID type;
    ULONG size = 1;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(FltGetNextExtraCreateParameter(in->Filter, list, NULL, &type, &next, &size),
        STATUS_NOT_FOUND);
    CHECK(next == NULL && size == 0);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    next = (PVOID)1, size = 1;
    EXPECT(FltGetNextExtraCreateParameter(in->Filter, list, one, &type, &next, &size),
        STATUS_NOT_FOUND);
    CHECK(next == NULL && size == 0);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(passive, FltGetNextExtraCreateParameter, STATUS_INVALID_PARAMETER)
{
    PVOID next = NULL;
    GUID type;
    ULONG size = 0;
    EXPECT(FltGetNextExtraCreateParameter(in->Filter, NULL, NULL, &type, &next, &size),
        STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(passive, FltRemoveExtraCreateParameter, STATUS_SUCCESS)
{
    PECP_LIST list;
    PVOID one, removed = NULL;
    ULONG size = 0;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    EXPECT(FltRemoveExtraCreateParameter(in->Filter, list, &First, &removed, &size),
        STATUS_SUCCESS);
    CHECK(removed == one && size == 0x20);
    EXPECT(FltFindExtraCreateParameter(in->Filter, list, &First, NULL, NULL), STATUS_NOT_FOUND);
    // Detached, not freed.
    CHECK(CleanedUp == 0);
    FltFreeExtraCreateParameter(in->Filter, removed);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(passive, FltRemoveExtraCreateParameter, STATUS_NOT_FOUND)
{
    PECP_LIST list;
    PVOID removed = (PVOID)1;
    ULONG size = 1;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(FltRemoveExtraCreateParameter(in->Filter, list, &First, &removed, &size),
        STATUS_NOT_FOUND);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(passive, FltFreeExtraCreateParameter, VOID)
{
    PVOID one;
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    FltFreeExtraCreateParameter(in->Filter, one);
    // The page of the cleanup callback: it runs when the parameter is deleted.
    CHECK(CleanedUp == 1);
    return 0;
}
CASE(passive, FltFreeExtraCreateParameterList, VOID)
{
    PECP_LIST list;
    PVOID one;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    CHECK(CleanedUp == 0);
    FltFreeExtraCreateParameterList(in->Filter, list);
    CHECK(CleanedUp == 1);
    return 0;
}
CASE(passive, FltIsEcpAcknowledged, FALSE)
{
    PVOID one;
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    CHECK(FltIsEcpAcknowledged(in->Filter, one) == FALSE);
    FltFreeExtraCreateParameter(in->Filter, one);
    return 0;
}
CASE(passive, FltIsEcpAcknowledged, TRUE)
{
    PVOID one;
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    FltAcknowledgeEcp(in->Filter, one);
    CHECK(FltIsEcpAcknowledged(in->Filter, one) == TRUE);
    FltFreeExtraCreateParameter(in->Filter, one);
    return 0;
}
CASE(passive, FltAcknowledgeEcp, VOID)
{
    PVOID one, other;
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(make(in, &Second, &other), STATUS_SUCCESS);
    FltAcknowledgeEcp(in->Filter, one);
    CHECK(FltIsEcpAcknowledged(in->Filter, one) == TRUE);
    CHECK(FltIsEcpAcknowledged(in->Filter, other) == FALSE);
    FltFreeExtraCreateParameter(in->Filter, one);
    FltFreeExtraCreateParameter(in->Filter, other);
    return 0;
}
CASE(passive, FltPrepareToReuseEcp, VOID)
{
    PVOID one;
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    FltAcknowledgeEcp(in->Filter, one);
    FltPrepareToReuseEcp(in->Filter, one);
    CHECK(FltIsEcpAcknowledged(in->Filter, one) == FALSE);
    FltFreeExtraCreateParameter(in->Filter, one);
    return 0;
}
CASE(passive, FltIsEcpFromUserMode, FALSE)
{
    PVOID one;
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    CHECK(FltIsEcpFromUserMode(in->Filter, one) == FALSE);
    FltFreeExtraCreateParameter(in->Filter, one);
    return 0;
}
CASE(userecp_pre_create, FltIsEcpFromUserMode, TRUE)
{
    PECP_LIST list = NULL;
    PVOID found = NULL;
    ULONG size = 0;
    EXPECT(FltGetEcpListFromCallbackData(in->Filter, in->Data, &list), STATUS_SUCCESS);
    CHECK(list != NULL);
    EXPECT(FltFindExtraCreateParameter(in->Filter, list, &FromUser, &found, &size),
        STATUS_SUCCESS);
    CHECK(FltIsEcpFromUserMode(in->Filter, found) == TRUE);
    return 0;
}

static __declspec(align(16)) UCHAR Lookaside[256];
static NTSTATUS take(INPUT *in, PVOID *out)
{
    return FltAllocateExtraCreateParameterFromLookasideList(in->Filter, &First, 0x20, 0, NULL,
        Lookaside, out);
}
CASE(passive, FltInitExtraCreateParameterLookasideList, VOID)
{
    PVOID one, other;
    FltInitExtraCreateParameterLookasideList(in->Filter, Lookaside, 0, 0x20, TAG);
    EXPECT(take(in, &one), STATUS_SUCCESS);
    EXPECT(take(in, &other), STATUS_SUCCESS);
    CHECK(one != other);
    FltFreeExtraCreateParameter(in->Filter, one);
    FltFreeExtraCreateParameter(in->Filter, other);
    FltDeleteExtraCreateParameterLookasideList(in->Filter, Lookaside, 0);
    return 0;
}
CASE(passive, FltDeleteExtraCreateParameterLookasideList, VOID)
{
    // Deleted, it can be made anew in the same place.
    for (ULONG i = 0; i < 2; i++) {
        FltInitExtraCreateParameterLookasideList(in->Filter, Lookaside, 0, 0x20, TAG);
        FltDeleteExtraCreateParameterLookasideList(in->Filter, Lookaside, 0);
    }
    return 0;
}
CASE(passive, FltAllocateExtraCreateParameterFromLookasideList, STATUS_SUCCESS)
{
    PECP_LIST list;
    PVOID made = NULL;
    FltInitExtraCreateParameterLookasideList(in->Filter, Lookaside, 0, 0x20, TAG);
    EXPECT(take(in, &made), STATUS_SUCCESS);
    for (ULONG at = 0; at < 0x20; at++) ((UCHAR *)made)[at] = 0x77;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, made), STATUS_SUCCESS);
    FltFreeExtraCreateParameterList(in->Filter, list);
    FltDeleteExtraCreateParameterLookasideList(in->Filter, Lookaside, 0);
    return 0;
}
CASE(fault_passive, FltAllocateExtraCreateParameterFromLookasideList, STATUS_INSUFFICIENT_RESOURCES)
{
    PVOID made = (PVOID)1;
    FltInitExtraCreateParameterLookasideList(in->Filter, Lookaside, 0, 0x20, TAG);
    NTSTATUS got = take(in, &made);
    FltDeleteExtraCreateParameterLookasideList(in->Filter, Lookaside, 0);
    EXPECT(got, STATUS_INSUFFICIENT_RESOURCES);
    CHECK(made == NULL);
    return 0;
}

CASE(pre_create, FltGetEcpListFromCallbackData, STATUS_SUCCESS)
{
    PECP_LIST made, seen = (PVOID)1;
    EXPECT(FltGetEcpListFromCallbackData(in->Filter, in->Data, &seen), STATUS_SUCCESS);
    CHECK(seen == NULL);
    EXPECT(make_list(in, &made), STATUS_SUCCESS);
    EXPECT(FltSetEcpListIntoCallbackData(in->Filter, in->Data, made), STATUS_SUCCESS);
    EXPECT(FltGetEcpListFromCallbackData(in->Filter, in->Data, &seen), STATUS_SUCCESS);
    CHECK(seen == made);
    return 0;
}
CASE(pre_cleanup, FltGetEcpListFromCallbackData, STATUS_INVALID_PARAMETER)
{
    PECP_LIST seen = NULL;
    EXPECT(FltGetEcpListFromCallbackData(in->Filter, in->Data, &seen), STATUS_INVALID_PARAMETER);
    return 0;
}
CASE(pre_create, FltSetEcpListIntoCallbackData, STATUS_SUCCESS)
{
    PECP_LIST list;
    PVOID one;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make(in, &First, &one), STATUS_SUCCESS);
    EXPECT(FltInsertExtraCreateParameter(in->Filter, list, one), STATUS_SUCCESS);
    EXPECT(FltSetEcpListIntoCallbackData(in->Filter, in->Data, list), STATUS_SUCCESS);
    // The list now belongs to the create; unload finds a leak if nobody frees it.
    return 0;
}
CASE(pre_cleanup, FltSetEcpListIntoCallbackData, STATUS_INVALID_PARAMETER_2)
{
    PECP_LIST list;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(FltSetEcpListIntoCallbackData(in->Filter, in->Data, list), STATUS_INVALID_PARAMETER_2);
    FltFreeExtraCreateParameterList(in->Filter, list);
    return 0;
}
CASE(pre_create, FltSetEcpListIntoCallbackData, STATUS_INVALID_PARAMETER_3)
{
    PECP_LIST list, other;
    EXPECT(make_list(in, &list), STATUS_SUCCESS);
    EXPECT(make_list(in, &other), STATUS_SUCCESS);
    EXPECT(FltSetEcpListIntoCallbackData(in->Filter, in->Data, list), STATUS_SUCCESS);
    EXPECT(FltSetEcpListIntoCallbackData(in->Filter, in->Data, other),
        STATUS_INVALID_PARAMETER_3);
    FltFreeExtraCreateParameterList(in->Filter, other);
    return 0;
}
