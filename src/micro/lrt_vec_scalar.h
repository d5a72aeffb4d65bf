/* The vector vocabulary of one element, for CPUs without vectors. Contracts of every operation: lrt_vec_portable.h.
 *
 * Without an instruction that multiplies and adds, v_fma rounds twice (docs/numerics.md). */
#ifndef LRT_VEC_SCALAR_H
#define LRT_VEC_SCALAR_H

#include <math.h>

#include "micro/lrt_one.h"

#define VL 1

typedef float vf;
typedef int vm;

#if defined(__GNUC__)
#define s_likely(condition) (__builtin_expect(condition, 1) != 0)
#else
#define s_likely(condition) (condition)
#endif

SCALAR vf v_set1(float a) { return a; }
SCALAR vf v_load(const float *p) { return *p; }
SCALAR vf v_load_n(const float *p, unsigned n) { return n ? *p : 0.0f; }
SCALAR void v_store(float *p, vf a) { *p = a; }
SCALAR void v_store_n(float *p, vf a, unsigned n)
{
    if (n)
        *p = a;
}
SCALAR vf v_add(vf a, vf b) { return a + b; }
SCALAR vf v_sub(vf a, vf b) { return a - b; }
SCALAR vf v_mul(vf a, vf b) { return a * b; }
SCALAR vf v_div(vf a, vf b) { return a / b; }
SCALAR vf v_fma(vf a, vf b, vf c) { return s_fma(a, b, c); }
SCALAR vf v_fnma(vf a, vf b, vf c) { return s_fma(-a, b, c); }
SCALAR vf v_max(vf lo, vf a) { return a < lo ? lo : a; }
SCALAR vf v_min(vf hi, vf a) { return hi < a ? hi : a; }
SCALAR vf v_sqrt(vf a) { return s_sqrt(a); }
SCALAR vf v_abs(vf a) { return s_float(s_bits(a) & 0x7fffffffu); }
SCALAR vf v_pow2(vf a) { return s_float(s_bits(a) << 23); }
SCALAR vf v_exponent(vf a) { return (float)((int)(s_bits(a) >> 23) - 127); }
SCALAR vf v_mantissa(vf a) { return s_float((s_bits(a) & 0x007fffffu) | 0x3f800000u); }
SCALAR vm v_lt(vf a, vf b) { return a < b; }
SCALAR vf v_select(vm m, vf a, vf b) { return m ? a : b; }

/* Are all of n numbers at most this in size, and none NaN? May say no where they are nearly. */
SCALAR int s_all_within(unsigned n, const float *x, float limit)
{
#ifdef LRT_MICRO_SOFT
    for (unsigned j = 0; j < n; j++)
        if (s_bits(x[j]) << 1 > s_bits(limit) << 1)
            return 0;
    return 1;
#else
    float squares = x[0] * x[0];
    for (unsigned j = 1; j < n; j++)
        squares = s_fma(x[j], x[j], squares);
    return s_likely(squares <= limit * limit);
#endif
}
#define v_all_within s_all_within

#ifdef LRT_MICRO_VFP
/* a, in a register only where it is needed: not ahead of the loop around. */
SCALAR float s_fresh(float a)
{
    uint32_t bits = s_bits(a);
    __asm__ volatile("" : "+r"(bits));
    return s_float(bits);
}
#endif

/* ... where they are not: rare, so it is to be small. */
SCALAR void v_clamp_all(unsigned n, unsigned firsts, float *y, float lo, float hi, float others)
{
#ifdef LRT_MICRO_VFP
    _Pragma("GCC unroll 3") for (unsigned j = 0; j < n; j++)
        __asm__("vcmp.f32 %0, %1\n\tvmrs APSR_nzcv, fpscr\n\tit mi\n\tvmovmi.f32 %0, %1\n\t"
                "vcmp.f32 %0, %2\n\tvmrs APSR_nzcv, fpscr\n\tit gt\n\tvmovgt.f32 %0, %2"
                : "+t"(y[j])
                : "t"(s_fresh(j < firsts ? lo : -others)), "t"(s_fresh(j < firsts ? hi : others))
                : "cc");
#else
    for (unsigned j = 0; j < n; j++)
        y[j] = v_min(j < firsts ? hi : others, v_max(j < firsts ? lo : -others, y[j]));
#endif
}

#ifdef LRT_MICRO_VFP
/* What is added to a product is overwritten by the sum, so it has to be there once for each: one instruction loads all. */
#define S_SUMS(which, r0, r1, r2)                                                                        \
    SCALAR void s_affine_##which(unsigned n, unsigned negative, const float *b, const float *a, const float *x, float *y) \
    {                                                                                                      \
        register float t0 __asm__(r0), t1 __asm__(r1), t2 __asm__(r2);                                     \
        if (n == 3) {                                                                                      \
            __asm__ volatile("vldmia %3, {" r0 "-" r2 "}" : "=t"(t0), "=t"(t1), "=t"(t2) : "r"(b));         \
            y[0] = s_fma(0 < negative ? -x[0] : x[0], a[0], t0);                                                                  \
            y[1] = s_fma(1 < negative ? -x[1] : x[1], a[1], t1);                                                                  \
            y[2] = s_fma(2 < negative ? -x[2] : x[2], a[2], t2);                                                                  \
        } else {                                                                                           \
            __asm__ volatile("vldmia %2, {" r0 "-" r1 "}" : "=t"(t0), "=t"(t1) : "r"(b));                   \
            y[0] = s_fma(0 < negative ? -x[0] : x[0], a[0], t0);                                                                  \
            y[1] = s_fma(1 < negative ? -x[1] : x[1], a[1], t1);                                                                  \
        }                                                                                                  \
    }
S_SUMS(0, "s16", "s17", "s18")
S_SUMS(1, "s20", "s21", "s22")
S_SUMS(2, "s24", "s25", "s26")
#define S_FACTOR(j, negative, f, a) ((j) < (negative) ? (a) : (f) * (a))
#define v_affine(which, n, negative, f, a, x, b, y)                                                        \
    do {                                                                                                   \
        static const float added[3] = {b, b, b};                                                           \
        const float factors[3] = {S_FACTOR(0u, negative, f, a), S_FACTOR(1u, negative, f, a),              \
                                  S_FACTOR(2u, negative, f, a)};                                           \
        if ((n) == 2 || (n) == 3)                                                                          \
            s_affine_##which(n, negative, added, factors, x, y);                                           \
        else                                                                                               \
            for (unsigned j = 0; j < (n); j++)                                                             \
                (y)[j] = s_fma(j < (negative) ? -(x)[j] : (x)[j], S_FACTOR(j, negative, f, a), b);         \
    } while (0)
#endif

/* 1, of which the compiler does not know it. */
SCALAR float s_one(void)
{
    uint32_t bits = 0x3f800000u;
#if defined(__GNUC__)
    __asm__("" : "+r"(bits));
#endif
    return s_float(bits);
}
#define ONE_UNKNOWN s_one()

#endif
