/* Asks cpuid and xgetbv, and where there are tiles the kernel; on ARM what the kernel has told. Nothing else. */
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

int lrt_cpu_has_avxvnni(void)
{
    const unsigned avxvnni = 1u << 4;
    unsigned eax, ebx, ecx, edx;
    return lrt_cpu_has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & avxvnni);
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

#if defined(__linux__) && defined(__x86_64__)
#define XCR0_TILES 0x60000u
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_TILEDATA 18

/* Asks the kernel for room for tiles in this process, which it gives for good; asking again is no harm. */
static int tiles_permitted(void)
{
    long result = 158; /* arch_prctl */
    __asm__ volatile("syscall" : "+a"(result) : "D"(ARCH_REQ_XCOMP_PERM), "S"(XFEATURE_TILEDATA) : "rcx", "r11", "memory");
    return result == 0;
}

int lrt_cpu_has_amx(void)
{
    const unsigned tile = 1u << 24, bytes = 1u << 25;
    unsigned eax, ebx, ecx, edx;
    return lrt_cpu_has_avx512vnni() && os_saves(XCR0_TILES) && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) &&
           (edx & tile) && (edx & bytes) && tiles_permitted();
}
#else
int lrt_cpu_has_amx(void) { return 0; }
#endif
#else
int lrt_cpu_has_amx(void) { return 0; }
int lrt_cpu_has_avx2(void) { return 0; }
int lrt_cpu_has_avxvnni(void) { return 0; }
int lrt_cpu_has_avx512(void) { return 0; }
int lrt_cpu_has_avx512vnni(void) { return 0; }
#endif

#if defined(__aarch64__) || defined(__arm__)
#ifdef __aarch64__
#define HWCAP_OF_DOTPROD (1ul << 20)
#else
#define HWCAP_OF_NEON (1ul << 12)
#define HWCAP_OF_VFPV4 (1ul << 16)
#define HWCAP_OF_DOTPROD (1ul << 24)
#endif

#ifdef __linux__
#include <sys/auxv.h>

static int hwcaps(unsigned long all) { return (getauxval(AT_HWCAP) & all) == all; }
#else
static int hwcaps(unsigned long all) { return all == 0; }
#endif

/* What all code here is for need not be asked. */
#ifdef __ARM_FEATURE_DOTPROD
int lrt_cpu_has_dotprod(void) { return 1; }
#else
int lrt_cpu_has_dotprod(void) { return hwcaps(HWCAP_OF_DOTPROD); }
#endif
#ifdef __aarch64__
int lrt_cpu_has_neon(void) { return 1; }
int lrt_cpu_has_neon_nofma(void) { return 0; }
#else
int lrt_cpu_has_neon(void) { return hwcaps(HWCAP_OF_NEON | HWCAP_OF_VFPV4); }
int lrt_cpu_has_neon_nofma(void) { return hwcaps(HWCAP_OF_NEON); }
#endif
#else
int lrt_cpu_has_dotprod(void) { return 0; }
int lrt_cpu_has_neon(void) { return 0; }
int lrt_cpu_has_neon_nofma(void) { return 0; }
#endif
