/* Asks cpuid and xgetbv; nothing else. */
#include "kernels/lrt_cpu.h"

int lrt_cpu_any(void) { return 1; }

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

#define XCR0_AVX 0x06u    /* the OS saves XMM and YMM */
#define XCR0_AVX512 0xe6u /* ... and ZMM and mask registers */

static int os_saves(unsigned mask)
{
    unsigned eax, ebx, ecx, edx, lo, hi;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
        return 0;
    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & mask) == mask;
}

int lrt_cpu_has_avx2(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!os_saves(XCR0_AVX) || !__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_FMA))
        return 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_AVX2);
}

int lrt_cpu_has_avx512(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!lrt_cpu_has_avx2() || !os_saves(XCR0_AVX512))
        return 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_AVX512F) && (ebx & bit_AVX512BW);
}

int lrt_cpu_has_avx512vnni(void)
{
    unsigned eax, ebx, ecx, edx;
    return lrt_cpu_has_avx512() && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx & bit_AVX512VNNI);
}
#else
int lrt_cpu_has_avx2(void) { return 0; }
int lrt_cpu_has_avx512(void) { return 0; }
int lrt_cpu_has_avx512vnni(void) { return 0; }
#endif
