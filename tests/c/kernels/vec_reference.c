/* The contract of lrt_vec_portable.h, written again in scalar C. */
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "helpers/check.h"
#include "kernels/vec_test.h"

unsigned long check_count, check_failures;
const char *check_context;

uint32_t vec_bits(float a)
{
    uint32_t u;
    memcpy(&u, &a, sizeof u);
    return u;
}

static float from_bits(uint32_t u)
{
    float a;
    memcpy(&a, &u, sizeof a);
    return a;
}

int vec_same(float got, float want) { return vec_bits(got) == vec_bits(want) || (got != got && want != want); }

int vec_equal(float got, float want)
{
    return vec_bits(got) == vec_bits(want) || (got == want && (vec_bits(got) ^ vec_bits(want)) >> 31 == 0);
}

vec_expected vec_reference(float a, float b, float c)
{
    vec_expected e;
    volatile float product = a * b; /* rounded here, whatever the compiler would like to fuse */
    e.add = a + b;
    e.sub = a - b;
    e.mul = product;
    e.div = a / b;
    e.max = b < a ? a : b; /* v_max(lo = a, b) */
    e.min = a < b ? a : b; /* v_min(hi = a, b) */
    e.fma = fmaf(a, b, c);
    e.fnma = fmaf(-a, b, c);
    e.fma_twice = product + c;
    e.fnma_twice = c - product;
    e.sqrt = sqrtf(a);
    e.abs = from_bits(vec_bits(a) & 0x7fffffffu);
    e.select = a < b ? c : a; /* v_select(v_lt(a, b), c, a) */
    return e;
}

float vec_pow2(int n) { return ldexpf(1.0f, n); }
int vec_floor_log2(float a)
{
    int e;
    frexpf(a, &e);
    return e - 1;
}

const float *vec_numbers(void)
{
    static const uint32_t special[] = {
        0x00000000u, 0x80000000u, 0x3f800000u, 0xbf800000u, /* 0, -0, 1, -1 */
        0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc12345u, /* inf, -inf, NaN, another NaN */
        0x00000001u, 0x80000001u, 0x007fffffu, 0x807fffffu, /* denormals */
        0x00800000u, 0x80800000u, 0x7f7fffffu, 0xff7fffffu, /* least and greatest normals */
        0x3f800001u, 0x3f7fffffu, 0x4b000000u, 0x4b800001u, 0x34000000u, 0x33800001u, 0x5f000000u, 0xdf000001u,
    };
    static float numbers[VEC_NUMBERS];
    const size_t n = sizeof special / sizeof *special;
    uint32_t seed = 2463534242u;
    for (size_t i = 0; i < VEC_NUMBERS; i++) { /* all pairs of specials come up in the loops of the suite */
        uint32_t r = next_random(&seed);
        numbers[i] = i < n || r % 4 == 0 ? from_bits(special[i < n ? i : r / 4 % n])
                     : r % 4 == 1        ? from_bits(next_random(&seed))
                                         : next_float(&seed) * 8.0f;
        if ((vec_bits(numbers[i]) & 0x7fc00000u) == 0x7f800000u && numbers[i] != numbers[i])
            numbers[i] = 2.5f; /* no signalling NaNs */
    }
    return numbers;
}

/* Two pages that cannot be touched around one that can. */
static unsigned char *page(void)
{
    static unsigned char *pages;
    const size_t size = 65536; /* a multiple of every page size in use */
    if (!pages) {
        pages = (unsigned char *)mmap(NULL, 3 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED || mprotect(pages + size, size, PROT_READ | PROT_WRITE) != 0)
            abort();
    }
    return pages + size;
}

float *vec_before_wall(unsigned n) { return (float *)(void *)(page() + 65536 - n * sizeof(float)); }
float *vec_after_wall(void) { return (float *)(void *)page(); }
