/* The vector vocabulary for AVX-512F and BW: 16 elements, fused multiply-add, masked tails. With LRT_VNNI integers are
 * multiplied by its dot products.
 * Contracts of every operation: lrt_vec_portable.h. */
#ifndef LRT_VEC_AVX512_H
#define LRT_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define VL 16
#define LRT_ROW_V 8   /* accumulators of one row: two panels of four gates in flight */
#define LRT_BLOCK_V 4 /* accumulators per row in a block of rows */
#define LRT_BLOCK_R 6 /* 24 accumulators + 4 weights + 1 input of 32 registers */
#define LRT_SIDE 2 /* vectors of gates that go side by side in one row */
#define LRT_SIDE_ROWS 2 /* ... and in a block of rows */
#define LRT_INT_ROW_V 8
#define LRT_INT_ROW_V8 8
#define LRT_INT_BLOCK_V 4
#define LRT_INT_BLOCK_R 6
#ifdef LRT_VNNI
#define LRT_DOT8 1
#define LRT_BYTE_EXTRA 128u
#define LRT_INT_BLOCK_R8 3 /* 24 accumulators, of low bytes and of high ones, + 4 weights + 2 inputs */
#else
#define LRT_DOT8 0
#define LRT_INT_BLOCK_R8 3
#endif

typedef __m512 vf;
typedef __mmask16 vm;

static inline vf v_set1(float a) { return _mm512_set1_ps(a); }
static inline vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline vf v_load_high(const uint16_t *p)
{
    const __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
static inline void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vm v_first_n(unsigned n) { return (vm)((1u << n) - 1u); }
/* Where n is 4 or 8 (narrow panels) these are plain narrower moves: a load can then be
 * forwarded from an earlier store, which masked ones cannot. */
static inline __attribute__((always_inline)) vf v_load_n(const float *p, unsigned n)
{
    if (n == 8)
        return _mm512_zextps256_ps512(_mm256_loadu_ps(p));
    if (n == 4)
        return _mm512_zextps128_ps512(_mm_loadu_ps(p));
    return _mm512_maskz_loadu_ps(v_first_n(n), p);
}
static inline __attribute__((always_inline)) void v_store_n(float *p, vf a, unsigned n)
{
    if (n == 8)
        _mm256_storeu_ps(p, _mm512_castps512_ps256(a));
    else if (n == 4)
        _mm_storeu_ps(p, _mm512_castps512_ps128(a));
    else
        _mm512_mask_storeu_ps(p, v_first_n(n), a);
}
static inline vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
static inline vf v_max(vf lo, vf a) { return _mm512_max_ps(lo, a); }
static inline vf v_min(vf hi, vf a) { return _mm512_min_ps(hi, a); }
static inline vf v_abs(vf a) { return _mm512_abs_ps(a); }
static inline vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vf v_select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
static inline vf v_pow2(vf magic)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(magic), 23));
}
static inline vf v_exponent(vf a)
{
    __m512i e = _mm512_srli_epi32(_mm512_castps_si512(a), 23);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(e, _mm512_set1_epi32(127)));
}
static inline vf v_mantissa(vf a)
{
    __m512i m = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x007fffff));
    return _mm512_castsi512_ps(_mm512_or_si512(m, _mm512_set1_epi32(0x3f800000)));
}


typedef __m512i vi;
typedef __m512i va;

static inline vi v_iset1(uint32_t a) { return _mm512_set1_epi32((int)a); }
static inline vi v_iload(const uint32_t *p) { return _mm512_loadu_si512(p); }
static inline vi v_iadd(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vi v_isub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
static inline vi v_imax(vi a, vi b) { return _mm512_max_epi32(a, b); }
static inline vf v_ifloat(vi a) { return _mm512_cvtepi32_ps(a); }
static inline vi v_round(vf a) { return _mm512_cvtps_epi32(a); }
static inline vi v_magnitude(vf a) { return _mm512_castps_si512(v_abs(a)); }
/* Not by _mm512_reduce_add_epi32, whose last sum is one of signed numbers in C. */
static inline uint32_t v_isum(vi a)
{
    const __m256i h = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
static inline uint32_t v_imost(vi a) { return (uint32_t)_mm512_reduce_max_epi32(a); }
static inline va v_azero(void) { return _mm512_setzero_si512(); }
static inline vi v_total(va a) { return a; }
static inline void v_store_pairs(uint32_t *p, vi a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(a));
}
#ifdef LRT_VNNI
/* Written out: of the intrinsics GCC 12 makes copies of every sum. */
static inline va v_dot16(va s, vi w, vi x)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(s) : "v"(w), "v"(x));
    return s;
}
static inline va v_dot8(va s, vi w, vi x)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(w), "v"(x));
    return s;
}
static inline vi v_bytes(vi a) { return a; }
static inline vi v_total8(va a) { return a; }
static inline vi v_ishl8(vi a) { return _mm512_slli_epi32(a, 8); }
static inline void v_store_bytes(uint32_t *low, uint32_t *high, vi a)
{
    const __m512i above = _mm512_srai_epi32(_mm512_add_epi32(a, _mm512_set1_epi32(128)), 8);
    _mm_storeu_si128((__m128i *)(void *)low, _mm512_cvtepi32_epi8(a));
    _mm_storeu_si128((__m128i *)(void *)high, _mm512_cvtepi32_epi8(above));
}
#else
static inline va v_dot16(va s, vi w, vi x) { return _mm512_add_epi32(s, _mm512_madd_epi16(w, x)); }
static inline vi v_even8(vi a) { return _mm512_and_si512(a, _mm512_set1_epi32(0xff00ff)); }
static inline vi v_odd8(vi a) { return _mm512_srli_epi16(a, 8); }
static inline void v_store_quads(uint32_t *p, vi a)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3, 6,
                                           7, 8, 9, 12, 13, 10, 11, 14, 15);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_shuffle_epi8(_mm512_cvtepi32_epi16(a), order));
}
#endif

#endif
