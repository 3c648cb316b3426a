// Counted strings, plain memory, debug output, time, and what ends the system.
// The pages are wdm's, ntddk's and ntifs', one for each function named in the cases.
#include "harness.h"

static BOOLEAN is(const UNICODE_STRING *string, const WCHAR *wanted)
{
    UNICODE_STRING other = text(wanted);
    return string->Length == other.Length && same(string->Buffer, other.Buffer, other.Length);
}
static WCHAR Room[16];
static UNICODE_STRING room(USHORT bytes)
{
    UNICODE_STRING made = { 0, bytes, Room };
    return made;
}
CASE(passive, RtlInitUnicodeString, VOID)
{
    UNICODE_STRING made;
    WCHAR *source = L"four";
    RtlInitUnicodeString(&made, source);
    CHECK(made.Length == 8 && made.MaximumLength == 10 && made.Buffer == source);
    RtlInitUnicodeString(&made, NULL);
    CHECK(made.Length == 0 && made.MaximumLength == 0 && made.Buffer == NULL);
    return 0;
}
CASE(passive, RtlInitUnicodeStringEx, STATUS_SUCCESS)
{
    UNICODE_STRING made;
    WCHAR *source = L"four";
    EXPECT(RtlInitUnicodeStringEx(&made, source), STATUS_SUCCESS);
    CHECK(made.Length == 8 && made.MaximumLength == 10 && made.Buffer == source);
    return 0;
}
CASE(passive, RtlInitUnicodeStringEx, STATUS_NAME_TOO_LONG)
{
    static WCHAR source[40000];
    UNICODE_STRING made;
    for (ULONG i = 0; i < 39999; i++) source[i] = L'a';
    EXPECT(RtlInitUnicodeStringEx(&made, source), STATUS_NAME_TOO_LONG);
    return 0;
}
CASE(passive, RtlInitAnsiString, VOID)
{
    ANSI_STRING made;
    CHAR *source = "four";
    RtlInitAnsiString(&made, source);
    CHECK(made.Length == 4 && made.MaximumLength == 5 && made.Buffer == source);
    return 0;
}
CASE(passive, RtlAnsiStringToUnicodeString, STATUS_SUCCESS)
{
    ANSI_STRING from;
    UNICODE_STRING made = room(sizeof(Room));
    RtlInitAnsiString(&from, "four");
    EXPECT(RtlAnsiStringToUnicodeString(&made, &from, FALSE), STATUS_SUCCESS);
    CHECK(is(&made, L"four") && made.Buffer == Room);
    EXPECT(RtlAnsiStringToUnicodeString(&made, &from, TRUE), STATUS_SUCCESS);
    BOOLEAN right = is(&made, L"four") && made.Buffer != Room;
    RtlFreeUnicodeString(&made);
    CHECK(right);
    return 0;
}
CASE(passive, RtlAnsiStringToUnicodeString, ERROR)
{
    ANSI_STRING from;
    UNICODE_STRING made = room(4);
    RtlInitAnsiString(&from, "four");
    CHECK(RtlAnsiStringToUnicodeString(&made, &from, FALSE) < 0);
    return 0;
}
CASE(passive, RtlFreeUnicodeString, VOID)
{
    // What is not freed is a leak that unload reports.
    ANSI_STRING from;
    UNICODE_STRING made;
    RtlInitAnsiString(&from, "four");
    EXPECT(RtlAnsiStringToUnicodeString(&made, &from, TRUE), STATUS_SUCCESS);
    RtlFreeUnicodeString(&made);
    return 0;
}
CASE(passive, RtlAppendUnicodeStringToString, STATUS_SUCCESS)
{
    UNICODE_STRING made = room(sizeof(Room)), part = text(L"ab");
    EXPECT(RtlAppendUnicodeStringToString(&made, &part), STATUS_SUCCESS);
    EXPECT(RtlAppendUnicodeStringToString(&made, &part), STATUS_SUCCESS);
    CHECK(is(&made, L"abab"));
    return 0;
}
CASE(passive, RtlAppendUnicodeStringToString, STATUS_BUFFER_TOO_SMALL)
{
    UNICODE_STRING made = room(6), part = text(L"ab");
    EXPECT(RtlAppendUnicodeStringToString(&made, &part), STATUS_SUCCESS);
    EXPECT(RtlAppendUnicodeStringToString(&made, &part), STATUS_BUFFER_TOO_SMALL);
    CHECK(is(&made, L"ab"));
    return 0;
}
CASE(passive, RtlAppendUnicodeToString, STATUS_SUCCESS)
{
    UNICODE_STRING made = room(sizeof(Room));
    EXPECT(RtlAppendUnicodeToString(&made, L"ab"), STATUS_SUCCESS);
    EXPECT(RtlAppendUnicodeToString(&made, L"cd"), STATUS_SUCCESS);
    CHECK(is(&made, L"abcd"));
    return 0;
}
CASE(passive, RtlAppendUnicodeToString, STATUS_BUFFER_TOO_SMALL)
{
    UNICODE_STRING made = room(6);
    EXPECT(RtlAppendUnicodeToString(&made, L"ab"), STATUS_SUCCESS);
    EXPECT(RtlAppendUnicodeToString(&made, L"cd"), STATUS_BUFFER_TOO_SMALL);
    CHECK(is(&made, L"ab"));
    return 0;
}
CASE(passive, RtlCopyUnicodeString, VOID)
{
    UNICODE_STRING made = room(6), from = text(L"abcdef");
    RtlCopyUnicodeString(&made, &from);
    // As much as fits.
    CHECK(is(&made, L"abc"));
    RtlCopyUnicodeString(&made, NULL);
    CHECK(made.Length == 0);
    return 0;
}
CASE(passive, RtlDuplicateUnicodeString, STATUS_SUCCESS)
{
    UNICODE_STRING made, from = text(L"abc");
    EXPECT(RtlDuplicateUnicodeString(1, &from, &made), STATUS_SUCCESS);
    BOOLEAN right = is(&made, L"abc") && made.Buffer != from.Buffer
        && made.Buffer[made.Length / 2] == 0;
    RtlFreeUnicodeString(&made);
    CHECK(right);
    return 0;
}
CASE(passive, RtlCompareUnicodeString, ZERO)
{
    UNICODE_STRING one = text(L"aBc"), other = text(L"AbC");
    CHECK(RtlCompareUnicodeString(&one, &one, FALSE) == 0);
    CHECK(RtlCompareUnicodeString(&one, &other, TRUE) == 0);
    return 0;
}
CASE(passive, RtlCompareUnicodeString, NEGATIVE)
{
    UNICODE_STRING one = text(L"abc"), other = text(L"abd"), shorter = text(L"ab");
    CHECK(RtlCompareUnicodeString(&one, &other, FALSE) < 0);
    CHECK(RtlCompareUnicodeString(&shorter, &one, FALSE) < 0);
    return 0;
}
CASE(passive, RtlCompareUnicodeString, POSITIVE)
{
    UNICODE_STRING one = text(L"abc"), other = text(L"abd");
    CHECK(RtlCompareUnicodeString(&other, &one, FALSE) > 0);
    return 0;
}
CASE(passive, RtlEqualUnicodeString, TRUE)
{
    UNICODE_STRING one = text(L"aBc"), other = text(L"AbC");
    CHECK(RtlEqualUnicodeString(&one, &other, TRUE) == TRUE);
    return 0;
}
CASE(passive, RtlEqualUnicodeString, FALSE)
{
    UNICODE_STRING one = text(L"aBc"), other = text(L"AbC");
    CHECK(RtlEqualUnicodeString(&one, &other, FALSE) == FALSE);
    return 0;
}
CASE(passive, RtlPrefixUnicodeString, TRUE)
{
    UNICODE_STRING head = text(L"AB"), whole = text(L"abc");
    CHECK(RtlPrefixUnicodeString(&head, &whole, TRUE) == TRUE);
    return 0;
}
CASE(passive, RtlPrefixUnicodeString, FALSE)
{
    UNICODE_STRING head = text(L"AB"), whole = text(L"abc");
    CHECK(RtlPrefixUnicodeString(&head, &whole, FALSE) == FALSE);
    CHECK(RtlPrefixUnicodeString(&whole, &head, TRUE) == FALSE);
    return 0;
}
CASE(passive, RtlUpcaseUnicodeChar, CHARACTER)
{
    CHECK(RtlUpcaseUnicodeChar(L'a') == L'A' && RtlUpcaseUnicodeChar(0xE4) == 0xC4);
    CHECK(RtlUpcaseUnicodeChar(L'1') == L'1');
    return 0;
}
CASE(passive, RtlDowncaseUnicodeChar, CHARACTER)
{
    CHECK(RtlDowncaseUnicodeChar(L'A') == L'a' && RtlDowncaseUnicodeChar(0xC4) == 0xE4);
    return 0;
}
CASE(passive, RtlUpcaseUnicodeString, STATUS_SUCCESS)
{
    UNICODE_STRING made, from = text(L"aBc");
    EXPECT(RtlUpcaseUnicodeString(&made, &from, TRUE), STATUS_SUCCESS);
    BOOLEAN right = is(&made, L"ABC");
    RtlFreeUnicodeString(&made);
    CHECK(right);
    return 0;
}
CASE(passive, RtlUpcaseUnicodeString, ERROR)
{
    UNICODE_STRING made = room(2), from = text(L"aBc");
    CHECK(RtlUpcaseUnicodeString(&made, &from, FALSE) < 0);
    return 0;
}
CASE(passive, RtlStringFromGUID, STATUS_SUCCESS)
{
    static const GUID guid = { 0x188d6bd6, 0xa126, 0x4fa8,
        { 0xbd, 0xf2, 0x1c, 0xcd, 0xf8, 0x96, 0xf3, 0xe0 } };
    UNICODE_STRING made, wanted = text(L"{188D6BD6-A126-4FA8-BDF2-1CCDF896F3E0}");
    EXPECT(RtlStringFromGUID(&guid, &made), STATUS_SUCCESS);
    BOOLEAN right = RtlEqualUnicodeString(&made, &wanted, TRUE);
    RtlFreeUnicodeString(&made);
    CHECK(right);
    return 0;
}
CASE(fault_passive, RtlStringFromGUID, ERROR)
{
    static const GUID guid = { 1, 2, 3, { 4 } };
    UNICODE_STRING made;
    CHECK(RtlStringFromGUID(&guid, &made) < 0);
    return 0;
}
CASE(passive, RtlCompareMemory, NUMBER)
{
    CHECK(RtlCompareMemory("abcdef", "abcxef", 6) == 3 && RtlCompareMemory("abc", "abc", 3) == 3);
    return 0;
}
CASE(passive, DbgPrint, STATUS_SUCCESS)
{
    EXPECT((NTSTATUS)DbgPrint("conform: %d %s %wZ\n", 5, "text", TheRegistryPath),
        STATUS_SUCCESS);
    return 0;
}
CASE(passive, DbgPrintEx, STATUS_SUCCESS)
{
    EXPECT((NTSTATUS)DbgPrintEx(77, 0, "conform: %x\n", 0x1234), STATUS_SUCCESS);
    return 0;
}
// In `stops`, the run must end with a report.
CASE(stops_passive, DbgBreakPoint, NO_RETURN)
{
    DbgBreakPoint();
    return 0;
}
CASE(stops_passive, KeBugCheck, NO_RETURN)
{
    KeBugCheck(0xE2);
    return 0;
}
CASE(stops_passive, KeBugCheckEx, NO_RETURN)
{
    KeBugCheckEx(0xE2, 1, 2, 3, 4);
    return 0;
}
CASE(stops_passive, RtlAssert, NO_RETURN)
{
    RtlAssert("1 == 2", "strings.c", 5, NULL);
    return 0;
}
CASE(passive, KeQueryInterruptTimePrecise, NUMBER)
{
    ULONGLONG counter = ~0ULL, one = KeQueryInterruptTimePrecise(&counter);
    ULONGLONG other = KeQueryInterruptTimePrecise(&counter);
    CHECK(other >= one && counter != ~0ULL);
    return 0;
}
CASE(passive, KeQueryPerformanceCounter, NUMBER)
{
    LARGE_INTEGER frequency = { 0 };
    LARGE_INTEGER one = KeQueryPerformanceCounter(&frequency);
    LARGE_INTEGER other = KeQueryPerformanceCounter(NULL);
    CHECK(frequency.QuadPart > 0 && other.QuadPart >= one.QuadPart);
    return 0;
}
CASE(passive, KeQuerySystemTimePrecise, VOID)
{
    LARGE_INTEGER now = { 0 };
    KeQuerySystemTimePrecise(&now);
    // After 2020-01-01, counted from 1601.
    CHECK(now.QuadPart > 132223104000000000);
    return 0;
}
CASE(passive, KeQueryTimeIncrement, NUMBER)
{
    ULONG increment = KeQueryTimeIncrement();
    CHECK(increment > 0 && increment <= 156250);
    return 0;
}
CASE(passive, ExSystemTimeToLocalTime, VOID)
{
    LARGE_INTEGER system = { 132223104000000000 }, local = { 0 };
    ExSystemTimeToLocalTime(&system, &local);
    LONGLONG difference = local.QuadPart - system.QuadPart;
    // At most 14 hours either way, in quarter hours.
    CHECK(difference <= 504000000000 && difference >= -504000000000);
    CHECK(difference % 9000000000 == 0);
    return 0;
}
CASE(passive, ExGetPreviousMode, KernelMode)
{
    CHECK(ExGetPreviousMode() == KernelMode);
    return 0;
}
CASE(pre_create, ExGetPreviousMode, UserMode)
{
    CHECK(ExGetPreviousMode() == UserMode);
    return 0;
}
CASE(passive, ExAllocatePool, POINTER)
{
    PVOID made = ExAllocatePool(NonPagedPoolNx, 64);
    CHECK(made != NULL);
    ExFreePool(made);
    return 0;
}
CASE(starved_passive, ExAllocatePool, NULL)
{
    CHECK(ExAllocatePool(NonPagedPoolNx, 64) == NULL);
    return 0;
}
CASE(passive, ExAllocatePoolWithQuotaTag, POINTER)
{
    PVOID made = ExAllocatePoolWithQuotaTag(NonPagedPoolNx, 64, TAG);
    CHECK(made != NULL);
    ExFreePoolWithTag(made, TAG);
    return 0;
}
CASE(starved_passive, ExAllocatePoolWithQuotaTag, NULL_INSTEAD_OF_RAISE)
{
    CHECK(ExAllocatePoolWithQuotaTag(NonPagedPoolNx | 8, 64, TAG) == NULL);
    return 0;
}
CASE(stops_starved_passive, ExAllocatePoolWithQuotaTag, RAISE)
{
    ExAllocatePoolWithQuotaTag(NonPagedPoolNx, 64, TAG);
    return 0;
}
CASE(passive, ExFreePool, VOID)
{
    PVOID made = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
    CHECK(made != NULL);
    ExFreePool(made);
    return 0;
}
CASE(passive, ExFreePool2, VOID)
{
    PVOID made = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, TAG);
    CHECK(made != NULL);
    ExFreePool2(made, TAG, NULL, 0);
    return 0;
}
