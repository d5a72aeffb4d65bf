/* The vector vocabulary in plain C99, and the contract of every operation.
 *
 * A vector is VL floats. All arithmetic is IEEE-754 binary32, round to nearest even, element
 * by element; nothing is reordered or contracted, so every ISA gives the same bits.
 *
 *   v_set1(a)            a in all elements
 *   v_load, v_store      VL floats, any alignment
 *   v_load_n, v_store_n  the first n elements, 0 <= n < VL + 1; other memory is not touched, other elements load 0
 *   v_fma(a,b,c)         a*b + c, rounded once;   v_fnma(a,b,c)  c - a*b, rounded once
 *   v_max(lo,a)          lo where a < lo, else a; so a NaN in a stays.  v_min(hi,a) likewise
 *   v_lt, v_select       v_select(m,a,b): a where m, else b
 *   v_pow2(m)            2^n where m = 0x1.8p23 + n, -126 <= n <= 127
 *   v_exponent(a)        floor(log2(a)) and v_mantissa(a) = a / 2^v_exponent(a), for normal a > 0
 *
 * With LRT_NO_FMA the fused operations round twice: for CPUs on which fmaf() is a slow library
 * routine. Results then differ in the last bits (docs/numerics.md). */
#ifndef LRT_VEC_PORTABLE_H
#define LRT_VEC_PORTABLE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VL 4
#define LRT_ROW_V 4
#define LRT_BLOCK_V 4
#define LRT_BLOCK_R 3
#define LRT_SIDE 1 /* vectors of gates that go side by side in one row */
#define LRT_SIDE_ROWS 1 /* ... and in a block of rows */

typedef struct {
    float f[VL];
} vf;
typedef struct {
    int m[VL];
} vm;

#ifdef LRT_NO_FMA
static inline float s_fma(float a, float b, float c) { return a * b + c; }
#else
static inline float s_fma(float a, float b, float c) { return fmaf(a, b, c); }
#endif
static inline uint32_t s_bits(float a)
{
    uint32_t u;
    memcpy(&u, &a, sizeof u);
    return u;
}
static inline float s_float(uint32_t u)
{
    float a;
    memcpy(&a, &u, sizeof a);
    return a;
}

#define EACH_ELEMENT for (unsigned e = 0; e < VL; e++)

static inline vf v_set1(float a)
{
    vf r;
    EACH_ELEMENT r.f[e] = a;
    return r;
}
static inline vf v_load_n(const float *p, unsigned n)
{
    vf r = {{0}};
    for (unsigned e = 0; e < n; e++)
        r.f[e] = p[e];
    return r;
}
static inline vf v_load(const float *p)
{
    vf r;
    EACH_ELEMENT r.f[e] = p[e];
    return r;
}
static inline void v_store_n(float *p, vf a, unsigned n)
{
    for (unsigned e = 0; e < n; e++)
        p[e] = a.f[e];
}
static inline void v_store(float *p, vf a) { EACH_ELEMENT p[e] = a.f[e]; }

#define ELEMENTWISE_1(name, expr)        \
    static inline vf name(vf a)       \
    {                                 \
        vf r;                         \
        EACH_ELEMENT r.f[e] = (expr);    \
        return r;                     \
    }
#define ELEMENTWISE_2(name, a, b, expr)  \
    static inline vf name(vf a, vf b) \
    {                                 \
        vf r;                         \
        EACH_ELEMENT r.f[e] = (expr);    \
        return r;                     \
    }
#define ELEMENTWISE_3(name, expr)              \
    static inline vf name(vf a, vf b, vf c) \
    {                                       \
        vf r;                               \
        EACH_ELEMENT r.f[e] = (expr);          \
        return r;                           \
    }
ELEMENTWISE_2(v_add, a, b, a.f[e] + b.f[e])
ELEMENTWISE_2(v_sub, a, b, a.f[e] - b.f[e])
ELEMENTWISE_2(v_mul, a, b, a.f[e] * b.f[e])
ELEMENTWISE_2(v_div, a, b, a.f[e] / b.f[e])
ELEMENTWISE_2(v_max, lo, a, a.f[e] < lo.f[e] ? lo.f[e] : a.f[e])
ELEMENTWISE_2(v_min, hi, a, hi.f[e] < a.f[e] ? hi.f[e] : a.f[e])
ELEMENTWISE_3(v_fma, s_fma(a.f[e], b.f[e], c.f[e]))
ELEMENTWISE_3(v_fnma, s_fma(-a.f[e], b.f[e], c.f[e]))
ELEMENTWISE_1(v_sqrt, sqrtf(a.f[e]))
ELEMENTWISE_1(v_abs, fabsf(a.f[e]))
ELEMENTWISE_1(v_pow2, s_float((s_bits(a.f[e]) + 127u) << 23))
ELEMENTWISE_1(v_exponent, (float)((int)(s_bits(a.f[e]) >> 23) - 127))
ELEMENTWISE_1(v_mantissa, s_float((s_bits(a.f[e]) & 0x007fffffu) | 0x3f800000u))

static inline vm v_lt(vf a, vf b)
{
    vm r;
    EACH_ELEMENT r.m[e] = a.f[e] < b.f[e];
    return r;
}
static inline vf v_select(vm m, vf a, vf b)
{
    vf r;
    EACH_ELEMENT r.f[e] = m.m[e] ? a.f[e] : b.f[e];
    return r;
}

#endif
