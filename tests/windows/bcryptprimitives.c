/* Debian 12's Wine has no bcryptprimitives.dll, from which Rust's library takes its random numbers.
   This one, in the tests' own Wine only, has the one function that is asked for:
   https://learn.microsoft.com/en-us/windows/win32/seccng/processprng */
#include <windows.h>

/* RtlGenRandom, by the name under which advapi32 exports it. */
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T bytes)
{
    return SystemFunction036(data, (ULONG)bytes) != 0;
}
