// How a driver that breaks one rule is written: as a conformance case, named by its rule.
#pragma once
#include "../drivers/conform/harness.h"

#define WRONG(where, rule) CASE(where, wrong, rule)
#define STATUS_PENDING ((NTSTATUS)0x103)
#define NOWHERE ((PVOID)0x10)

// A pool block, and memory that is none of anybody's objects.
static inline PVOID block(SIZE_T size) { return ExAllocatePoolWithTag(NonPagedPoolNx, size, TAG); }
static ULONGLONG Stray[0x40] __attribute__((unused));
