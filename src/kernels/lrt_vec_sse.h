/* The vector vocabulary for SSE2, which every x86-64 CPU has: 4 elements, 16 registers, no fused multiply-add, so products
 * and sums round apart (docs/numerics.md).
 * Contracts of every operation: lrt_vec_portable.h, with LRT_NO_FMA. */
#ifndef LRT_VEC_SSE_H
#define LRT_VEC_SSE_H

#include <emmintrin.h>
#include <stdint.h>

#define VL 4
#define LRT_ROW_V 8   /* accumulators of one row: half a panel of four gates */
#define LRT_BLOCK_V 2 /* accumulators per row in a block of rows */
#define LRT_BLOCK_R 6 /* 12 accumulators + 2 weights + 1 input + 1 product of 16 registers */
#define LRT_SIDE 1 /* vectors of gates that go side by side in one row */
#define LRT_SIDE_ROWS 1 /* ... and in a block of rows */
#define LRT_DOT8 0
#define LRT_INT_ROW_V 8
#define LRT_INT_ROW_V8 8
#define LRT_INT_BLOCK_V 2
#define LRT_INT_BLOCK_R 6
#define LRT_INT_BLOCK_R8 3

typedef __m128 vf;
typedef __m128 vm;

static inline vf v_set1(float a) { return _mm_set1_ps(a); }
static inline vf v_load(const float *p) { return _mm_loadu_ps(p); }
static inline vf v_load_high(const uint16_t *p)
{
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64((const __m128i *)(const void *)p)));
}
static inline void v_store(float *p, vf a) { _mm_storeu_ps(p, a); }
static inline __attribute__((always_inline)) vf v_load_n(const float *p, unsigned n)
{
    float t[VL] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (n == 4)
        return v_load(p);
    for (unsigned i = 0; i < n; i++)
        t[i] = p[i];
    return v_load(t);
}
static inline __attribute__((always_inline)) void v_store_n(float *p, vf a, unsigned n)
{
    float t[VL];
    if (n == 4) {
        v_store(p, a);
        return;
    }
    v_store(t, a);
    for (unsigned i = 0; i < n; i++)
        p[i] = t[i];
}
static inline vf v_add(vf a, vf b) { return _mm_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm_div_ps(a, b); }
static inline vf v_sqrt(vf a) { return _mm_sqrt_ps(a); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
/* The product of -a: in modes that round up or down it is not the same to subtract that of a. */
static inline vf v_fnma(vf a, vf b, vf c) { return v_fma(_mm_xor_ps(a, _mm_set1_ps(-0.0f)), b, c); }
static inline vf v_max(vf lo, vf a) { return _mm_max_ps(lo, a); }
static inline vf v_min(vf hi, vf a) { return _mm_min_ps(hi, a); }
static inline vf v_abs(vf a) { return _mm_andnot_ps(_mm_set1_ps(-0.0f), a); }
static inline vm v_lt(vf a, vf b) { return _mm_cmplt_ps(a, b); }
static inline vf v_select(vm m, vf a, vf b) { return _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b)); }
static inline vf v_pow2(vf magic)
{
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(magic), 23));
}
static inline vf v_exponent(vf a)
{
    __m128i e = _mm_srli_epi32(_mm_castps_si128(a), 23);
    return _mm_cvtepi32_ps(_mm_sub_epi32(e, _mm_set1_epi32(127)));
}
static inline vf v_mantissa(vf a)
{
    __m128i m = _mm_and_si128(_mm_castps_si128(a), _mm_set1_epi32(0x007fffff));
    return _mm_castsi128_ps(_mm_or_si128(m, _mm_set1_epi32(0x3f800000)));
}

typedef __m128i vi;
typedef __m128i va;

static inline vi v_iset1(uint32_t a) { return _mm_set1_epi32((int)a); }
static inline vi v_iload(const uint32_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
static inline vi v_iadd(vi a, vi b) { return _mm_add_epi32(a, b); }
static inline vi v_isub(vi a, vi b) { return _mm_sub_epi32(a, b); }
static inline vi v_imax(vi a, vi b)
{
    const __m128i less = _mm_cmplt_epi32(a, b);
    return _mm_or_si128(_mm_and_si128(less, b), _mm_andnot_si128(less, a));
}
static inline vf v_ifloat(vi a) { return _mm_cvtepi32_ps(a); }
static inline vi v_round(vf a) { return _mm_cvtps_epi32(a); }
static inline vi v_magnitude(vf a) { return _mm_castps_si128(v_abs(a)); }
static inline uint32_t v_isum(vi a)
{
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}
static inline uint32_t v_imost(vi a)
{
    a = v_imax(a, _mm_shuffle_epi32(a, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(v_imax(a, _mm_shuffle_epi32(a, 0xb1)));
}
static inline va v_azero(void) { return _mm_setzero_si128(); }
static inline vi v_total(va a) { return a; }
static inline va v_dot16(va s, vi w, vi x) { return _mm_add_epi32(s, _mm_madd_epi16(w, x)); }
static inline vi v_even8(vi a) { return _mm_and_si128(a, _mm_set1_epi16(0xff)); }
static inline vi v_odd8(vi a) { return _mm_srli_epi16(a, 8); }
static inline __m128i v_words(vi a) { return _mm_packs_epi32(a, a); }
static inline void v_store_pairs(uint32_t *p, vi a) { _mm_storel_epi64((__m128i *)(void *)p, v_words(a)); }
static inline void v_store_quads(uint32_t *p, vi a)
{
    _mm_storel_epi64((__m128i *)(void *)p, _mm_shufflelo_epi16(v_words(a), 0xd8));
}

#endif
