/* The vector vocabulary for AVX2 with FMA3: 8 elements. With LRT_VNNI integers are multiplied by AVX-VNNI's dot products.
 * Contracts of every operation: lrt_vec_portable.h. */
#ifndef LRT_VEC_AVX2_H
#define LRT_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define VL 8
#define LRT_ROW_V 8   /* accumulators of one row: one panel of four gates */
#define LRT_BLOCK_V 2 /* accumulators per row in a block of rows */
#define LRT_BLOCK_R 6 /* 12 accumulators + 2 weights + 1 input of 16 registers */
#define LRT_SIDE 2 /* vectors of gates that go side by side in one row */
#define LRT_SIDE_ROWS 2 /* ... and in a block of rows */
#define LRT_INT_ROW_V 8
#define LRT_INT_BLOCK_V 2
#define LRT_INT_BLOCK_R 6
#define LRT_INT_BLOCK_R8 3
#ifdef LRT_VNNI
#define LRT_DOT8 1
#define LRT_BYTE_EXTRA 128u
#define LRT_INT_ROW_V8 4 /* 8 accumulators, of low bytes and of high ones, + 4 weights + 2 inputs of 16 registers */
#else
#define LRT_DOT8 0
#define LRT_INT_ROW_V8 8
#endif

typedef __m256 vf;
typedef __m256 vm;

static inline vf v_set1(float a) { return _mm256_set1_ps(a); }
static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline vf v_load_high(const uint16_t *p)
{
    const __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
static inline void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline __m256i v_first_n(unsigned n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/* n of 4 (narrow panels) is a plain move: loads can be forwarded from earlier stores. */
static inline __attribute__((always_inline)) vf v_load_n(const float *p, unsigned n)
{
    if (n == 4)
        return _mm256_zextps128_ps256(_mm_loadu_ps(p));
    return _mm256_maskload_ps(p, v_first_n(n));
}
static inline __attribute__((always_inline)) void v_store_n(float *p, vf a, unsigned n)
{
    if (n == 4)
        _mm_storeu_ps(p, _mm256_castps256_ps128(a));
    else
        _mm256_maskstore_ps(p, v_first_n(n), a);
}
static inline vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
static inline vf v_max(vf lo, vf a) { return _mm256_max_ps(lo, a); }
static inline vf v_min(vf hi, vf a) { return _mm256_min_ps(hi, a); }
static inline vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vm v_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vf v_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
static inline vf v_pow2(vf magic)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(magic), 23));
}
static inline vf v_exponent(vf a)
{
    __m256i e = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(127)));
}
static inline vf v_mantissa(vf a)
{
    __m256i m = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x007fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(m, _mm256_set1_epi32(0x3f800000)));
}


typedef __m256i vi;
typedef __m256i va;

static inline vi v_iset1(uint32_t a) { return _mm256_set1_epi32((int)a); }
static inline vi v_iload(const uint32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline vi v_iadd(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi v_isub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
static inline vi v_imax(vi a, vi b) { return _mm256_max_epi32(a, b); }
static inline vf v_ifloat(vi a) { return _mm256_cvtepi32_ps(a); }
static inline vi v_round(vf a) { return _mm256_cvtps_epi32(a); }
static inline vi v_magnitude(vf a) { return _mm256_castps_si256(v_abs(a)); }
static inline uint32_t v_isum(vi a)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
static inline uint32_t v_imost(vi a)
{
    __m128i s = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
static inline va v_azero(void) { return _mm256_setzero_si256(); }
static inline vi v_total(va a) { return a; }
static inline __m128i v_words(vi a)
{
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packs_epi32(a, a), 0xd8));
}
static inline void v_store_pairs(uint32_t *p, vi a) { _mm_storeu_si128((__m128i *)(void *)p, v_words(a)); }
#ifdef LRT_VNNI
/* Written out: of the intrinsics GCC 12 makes copies of every sum. */
static inline va v_dot16(va s, vi w, vi x)
{
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(s) : "x"(w), "x"(x));
    return s;
}
static inline va v_dot8(va s, vi w, vi x)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s) : "x"(w), "x"(x));
    return s;
}
static inline vi v_bytes(vi a) { return a; }
static inline vi v_total8(va a) { return a; }
static inline vi v_ishl8(vi a) { return _mm256_slli_epi32(a, 8); }
/* With 128 added, byte 1 is the high one, and byte 0 the low one but for its sign. */
static inline void v_store_bytes(uint32_t *low, uint32_t *high, vi a)
{
    const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13, 0, 4,
                                           8, 12, 1, 5, 9, 13);
    const __m256i more = _mm256_add_epi32(a, _mm256_set1_epi32(128));
    const __m256i quads = _mm256_shuffle_epi8(_mm256_xor_si256(more, _mm256_set1_epi32(128)), order);
    const __m256i planes = _mm256_permutevar8x32_epi32(quads, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
    _mm_storel_epi64((__m128i *)(void *)low, _mm256_castsi256_si128(planes));
    _mm_storel_epi64((__m128i *)(void *)high, _mm_unpackhi_epi64(_mm256_castsi256_si128(planes), _mm256_castsi256_si128(planes)));
}
#else
static inline va v_dot16(va s, vi w, vi x) { return _mm256_add_epi32(s, _mm256_madd_epi16(w, x)); }
static inline vi v_even8(vi a) { return _mm256_and_si256(a, _mm256_set1_epi16(0xff)); }
static inline vi v_odd8(vi a) { return _mm256_srli_epi16(a, 8); }
static inline void v_store_quads(uint32_t *p, vi a)
{
    const __m128i q = _mm_shufflehi_epi16(_mm_shufflelo_epi16(v_words(a), 0xd8), 0xd8);
    _mm_storeu_si128((__m128i *)(void *)p, q);
}
#endif

#endif
