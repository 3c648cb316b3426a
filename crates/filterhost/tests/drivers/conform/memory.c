// Plain memory routines that the kernel exports under names of the C library or its own.
// The pages are wdm's and the C runtime reference's, one for each function named in the cases.
#include "harness.h"

static UCHAR Bytes[16];
static void fill(void)
{
    for (UCHAR i = 0; i < sizeof(Bytes); i++) Bytes[i] = i;
}
// The compiler may not know what these calls do.
typedef PVOID MOVE(PVOID, const void *, SIZE_T);
typedef PVOID FILL(PVOID, int, SIZE_T);
static PVOID find(const WCHAR *name)
{
    UNICODE_STRING wanted = text(name);
    return MmGetSystemRoutineAddress(&wanted);
}
CASE(passive, memcpy, POINTER)
{
    MOVE *volatile copy = find(L"memcpy");
    fill();
    CHECK(copy != NULL && copy(Bytes, Bytes + 8, 8) == Bytes && Bytes[0] == 8 && Bytes[7] == 15);
    return 0;
}
CASE(passive, memmove, POINTER)
{
    MOVE *volatile move = find(L"memmove");
    fill();
    CHECK(move != NULL && move(Bytes + 1, Bytes, 8) == Bytes + 1);
    CHECK(Bytes[0] == 0 && Bytes[1] == 0 && Bytes[8] == 7 && Bytes[9] == 9);
    return 0;
}
CASE(passive, memset, POINTER)
{
    FILL *volatile set = find(L"memset");
    fill();
    CHECK(set != NULL && set(Bytes, 0x55, 4) == Bytes && Bytes[3] == 0x55 && Bytes[4] == 4);
    return 0;
}
CASE(passive, memcmp, NUMBER)
{
    int (*volatile compare)(const void *, const void *, SIZE_T) = find(L"memcmp");
    CHECK(compare != NULL && compare("abc", "abc", 3) == 0);
    CHECK(compare("abc", "abd", 3) < 0 && compare("abd", "abc", 3) > 0);
    return 0;
}
CASE(passive, RtlCopyMemory, VOID)
{
    void (*volatile copy)(PVOID, const void *, SIZE_T) = find(L"RtlCopyMemory");
    fill();
    CHECK(copy != NULL);
    copy(Bytes, Bytes + 8, 8);
    CHECK(Bytes[0] == 8 && Bytes[7] == 15);
    return 0;
}
CASE(passive, RtlMoveMemory, VOID)
{
    void (*volatile move)(PVOID, const void *, SIZE_T) = find(L"RtlMoveMemory");
    fill();
    CHECK(move != NULL);
    move(Bytes, Bytes + 1, 8);
    CHECK(Bytes[0] == 1 && Bytes[7] == 8 && Bytes[8] == 8);
    return 0;
}
CASE(passive, RtlFillMemory, VOID)
{
    void (*volatile set)(PVOID, SIZE_T, int) = find(L"RtlFillMemory");
    fill();
    CHECK(set != NULL);
    set(Bytes, 4, 0x55);
    CHECK(Bytes[0] == 0x55 && Bytes[3] == 0x55 && Bytes[4] == 4);
    return 0;
}
CASE(passive, RtlZeroMemory, VOID)
{
    void (*volatile clear)(PVOID, SIZE_T) = find(L"RtlZeroMemory");
    fill();
    CHECK(clear != NULL);
    clear(Bytes + 1, 4);
    CHECK(Bytes[1] == 0 && Bytes[4] == 0 && Bytes[5] == 5);
    return 0;
}
CASE(passive, wcslen, NUMBER)
{
    UNUSED(in);
    typedef SIZE_T COUNT(const WCHAR *);
    COUNT *volatile count = find(L"wcslen");
    CHECK(count != NULL && count(L"") == 0 && count(L"four") == 4);
    return 0;
}
CASE(passive, MmMapLockedPagesSpecifyCache, POINTER)
{
    UNUSED(in);
    fill();
    MDL list = { NULL, sizeof(MDL), 4, NULL, NULL, NULL, 8, 0 };
    list.StartVa = (PVOID)((ULONG_PTR)Bytes & ~0xFFFull);
    list.ByteOffset = (ULONG)((ULONG_PTR)Bytes & 0xFFF);
    UCHAR *view = MmMapLockedPagesSpecifyCache(&list, KernelMode, 1, NULL, 0, 0x40000010);
    CHECK(view != NULL && view[7] == 7 && list.MappedSystemVa == view && (list.MdlFlags & 1));
    return 0;
}
CASE(fault_passive, MmMapLockedPagesSpecifyCache, NULL_POINTER)
{
    UNUSED(in);
    MDL list = { NULL, sizeof(MDL), 4, NULL, NULL, Bytes, 8, 0 };
    CHECK(MmMapLockedPagesSpecifyCache(&list, KernelMode, 1, NULL, 0, 16) == NULL);
    CHECK(list.MappedSystemVa == NULL);
    return 0;
}
CASE(pre_read, FltAllocatePoolAlignedWithTag, POINTER)
{
    UCHAR *block = FltAllocatePoolAlignedWithTag(in->Instance, NonPagedPoolNx, 24, TAG);
    CHECK(block != NULL && ((ULONG_PTR)block & 511) == 0);
    block[23] = 1;
    FltFreePoolAlignedWithTag(in->Instance, block, TAG);
    return 0;
}
CASE(starved_passive, FltAllocatePoolAlignedWithTag, NULL_POINTER)
{
    UNUSED(in);
    CHECK(FltAllocatePoolAlignedWithTag(TheInstance, NonPagedPoolNx, 24, TAG) == NULL);
    return 0;
}
CASE(pre_read, FltFreePoolAlignedWithTag, VOID)
{
    PVOID block = FltAllocatePoolAlignedWithTag(in->Instance, NonPagedPoolNx, 0, TAG);
    CHECK(block != NULL);
    FltFreePoolAlignedWithTag(in->Instance, block, TAG);
    return 0;
}
