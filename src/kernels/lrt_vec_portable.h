/* The vector vocabulary in plain C99, and the contract of every operation.
 *
 * A vector is VL floats. All arithmetic is IEEE-754 binary32, round to nearest even, element
 * by element; nothing is reordered or contracted, so every ISA gives the same bits.
 *
 *   v_set1(a)            a in all elements
 *   v_load, v_store      VL floats, any alignment
 *   v_load_n, v_store_n  the first n elements, 0 <= n < VL + 1; other memory is not touched, other elements load 0
 *   v_load_high(p)       VL floats of which p has the upper halves; the lower are 0
 *   v_fma(a,b,c)         a*b + c, rounded once;   v_fnma(a,b,c)  c - a*b, rounded once
 *   v_max(lo,a)          lo where a < lo, else a; so a NaN in a stays.  v_min(hi,a) likewise
 *   v_lt, v_select       v_select(m,a,b): a where m, else b
 *   v_pow2(m)            2^n where m = 0x1.8p23 + 127 + n, -126 <= n <= 127
 *   v_exponent(a)        floor(log2(a)) and v_mantissa(a) = a / 2^v_exponent(a), for normal a > 0
 *
 * Integer weights (lrt_integers.h) go through vectors of VL 32-bit integers that wrap around, and sums of these:
 *
 *   v_iset1, v_iload, v_iadd, v_isub, v_imax (as signed numbers), v_isum and v_imost (of all elements)
 *   v_ifloat(a)          to float, rounded once;   v_round(a)  of floats below 2^21, to the nearest even integer
 *   v_magnitude(a)       the bits of |a|
 *   v_dot16(s,w,x)       s + the products of the pairs of signed 16-bit numbers in w and x;   v_total(s)  the sum
 *   v_store_pairs(p,a)   VL numbers of 16 bits, in order
 * where LRT_DOT8 is 1:
 *   v_bytes(w)           a word of weights as it is multiplied: LRT_BYTE_EXTRA is what its bytes are too large by
 *   v_dot8(s,w,x)        s + the products of the four bytes of w and the four signed ones of x; those of w are signed
 *                        where LRT_BYTE_EXTRA is 0, else not.  v_total8(s)  the sum
 *   v_ishl8(a)           256 a;   v_store_bytes(l,h,a)  VL signed bytes each, such that a = 256 h + l
 * and else:
 *   v_even8, v_odd8      bytes 0 and 2 of each element, and 1 and 3, as pairs of 16 bits
 *   v_store_quads(p,a)   as v_store_pairs, but of each four numbers in the order 0 2 1 3
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
#define LRT_DOT8 0
#define LRT_INT_ROW_V 4   /* of integers: sums of one row, sums per row in a block of rows, and rows of such a block */
#define LRT_INT_BLOCK_V 4
#define LRT_INT_BLOCK_R 1
#define LRT_INT_BLOCK_R8 1 /* ... where bytes are multiplied with 16 bits: with LRT_DOT8 half of that with bytes */
#define LRT_INT_ROW_V8 4   /* sums of one row of bytes with 16 bits: with LRT_DOT8 of low bytes, and as many of high ones */

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
static inline vf v_load_high(const uint16_t *p)
{
    vf r;
    EACH_ELEMENT r.f[e] = s_float((uint32_t)p[e] << 16);
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
ELEMENTWISE_1(v_pow2, s_float(s_bits(a.f[e]) << 23))
ELEMENTWISE_1(v_exponent, (float)((int)(s_bits(a.f[e]) >> 23) - 127))
ELEMENTWISE_1(v_mantissa, s_float((s_bits(a.f[e]) & 0x007fffffu) | 0x3f800000u))

typedef struct {
    uint32_t i[VL];
} vi;
typedef vi va;

#define ELEMENTWISE_I(name, expr)       \
    static inline vi name(vi a, vi b)   \
    {                                   \
        vi r;                           \
        EACH_ELEMENT r.i[e] = (expr);   \
        return r;                       \
    }
ELEMENTWISE_I(v_iadd, a.i[e] + b.i[e])
ELEMENTWISE_I(v_isub, a.i[e] - b.i[e])
ELEMENTWISE_I(v_imax, (int32_t)a.i[e] < (int32_t)b.i[e] ? b.i[e] : a.i[e])
static inline vi v_iset1(uint32_t a)
{
    vi r;
    EACH_ELEMENT r.i[e] = a;
    return r;
}
static inline vi v_iload(const uint32_t *p)
{
    vi r;
    EACH_ELEMENT r.i[e] = p[e];
    return r;
}
static inline vf v_ifloat(vi a)
{
    vf r;
    EACH_ELEMENT r.f[e] = (float)(int32_t)a.i[e];
    return r;
}
static inline vi v_magnitude(vf a)
{
    vi r;
    EACH_ELEMENT r.i[e] = s_bits(a.f[e]) & 0x7fffffffu;
    return r;
}
static inline vi v_round(vf a)
{
    vi r;
    EACH_ELEMENT r.i[e] = s_bits(a.f[e] + 0x1.8p23f) - 0x4b400000u;
    return r;
}
static inline uint32_t v_isum(vi a)
{
    uint32_t sum = 0;
    EACH_ELEMENT sum += a.i[e];
    return sum;
}
static inline uint32_t v_imost(vi a)
{
    uint32_t most = a.i[0];
    EACH_ELEMENT most = (int32_t)most < (int32_t)a.i[e] ? a.i[e] : most;
    return most;
}
static inline int32_t s_low16(uint32_t a) { return (int32_t)((a & 0xffffu) ^ 0x8000u) - 0x8000; }
static inline va v_azero(void) { return v_iset1(0); }
static inline vi v_total(va a) { return a; }
static inline va v_dot16(va s, vi w, vi x)
{
    EACH_ELEMENT s.i[e] += (uint32_t)(s_low16(w.i[e]) * s_low16(x.i[e])) +
                           (uint32_t)(s_low16(w.i[e] >> 16) * s_low16(x.i[e] >> 16));
    return s;
}
static inline vi v_even8(vi a)
{
    EACH_ELEMENT a.i[e] &= 0x00ff00ffu;
    return a;
}
static inline vi v_odd8(vi a)
{
    EACH_ELEMENT a.i[e] = a.i[e] >> 8 & 0x00ff00ffu;
    return a;
}
static inline uint32_t s_pair(uint32_t a, uint32_t b) { return (a & 0xffffu) | b << 16; }
static inline void v_store_pairs(uint32_t *p, vi a)
{
    p[0] = s_pair(a.i[0], a.i[1]);
    p[1] = s_pair(a.i[2], a.i[3]);
}
static inline void v_store_quads(uint32_t *p, vi a)
{
    p[0] = s_pair(a.i[0], a.i[2]);
    p[1] = s_pair(a.i[1], a.i[3]);
}

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
