/* Operations on one float, without a library. */
#ifndef LRT_ONE_H
#define LRT_ONE_H

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define SCALAR static inline __attribute__((always_inline))
#else
#define SCALAR static inline
#endif

SCALAR uint32_t s_bits(float a)
{
    uint32_t u;
    memcpy(&u, &a, sizeof u);
    return u;
}
SCALAR float s_float(uint32_t u)
{
    float a;
    memcpy(&a, &u, sizeof a);
    return a;
}
SCALAR float s_fma(float a, float b, float c)
{
#ifdef LRT_MICRO_FUSED
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* The square root, correctly rounded. */
static inline float s_sqrt(float a)
{
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__SSE__))
    __asm__("sqrtss %0, %0" : "+x"(a));
    return a;
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__("fsqrt %s0, %s0" : "+w"(a));
    return a;
#elif defined(__GNUC__) && defined(__arm__) && defined(__ARM_FP)
    __asm__("vsqrt.f32 %0, %0" : "+t"(a));
    return a;
#elif defined(__GNUC__) && defined(__riscv_flen)
    __asm__("fsqrt.s %0, %0" : "+f"(a));
    return a;
#else
    /* a = m 2^e with e even: the root is that of m, by one bit after the other, times 2^(e / 2). One bit more than a float
     * has says how it is rounded; half-way between two floats it never is. */
    uint32_t bits, root = 0;
    uint64_t m, rest = 0;
    int32_t e;
    memcpy(&bits, &a, sizeof bits);
    if (bits << 1 == 0 || bits == 0x7f800000u)
        return a;
    if (bits >= 0x7f800000u)
        return (a - a) / (a - a);
    e = (int32_t)(bits >> 23);
    m = bits & 0x007fffffu;
    if (e == 0)
        for (e = 1; m < 0x00800000u; e--)
            m <<= 1;
    else
        m |= 0x00800000u;
    e -= 127;
    m <<= e & 1 ? 26 : 25;
    e = (e - (e & 1)) / 2;
    for (int32_t bit = 48; bit >= 0; bit -= 2) {
        uint64_t trial;
        rest = rest << 2 | (m >> bit & 3u);
        trial = (uint64_t)root << 2 | 1u;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root |= 1u;
        }
    }
    bits = ((root + 1u) >> 1) + (uint32_t)(e + 126) * 0x00800000u;
    memcpy(&a, &bits, sizeof a);
    return a;
#endif
}

#endif
