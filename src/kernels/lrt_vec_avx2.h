/* The vector vocabulary for AVX2 with FMA3: 8 elements.
 * Contracts of every operation: lrt_vec_portable.h. */
#ifndef LRT_VEC_AVX2_H
#define LRT_VEC_AVX2_H

#include <immintrin.h>

#define VL 8
#define LRT_ROW_V 8   /* accumulators of one row: one panel of four gates */
#define LRT_BLOCK_V 2 /* accumulators per row in a block of rows */
#define LRT_BLOCK_R 6 /* 12 accumulators + 2 weights + 1 input of 16 registers */
#define LRT_SIDE 2 /* vectors of gates that go side by side in one row */
#define LRT_SIDE_ROWS 2 /* ... and in a block of rows */

typedef __m256 vf;
typedef __m256 vm;

static inline vf v_set1(float a) { return _mm256_set1_ps(a); }
static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
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
    __m256i n = _mm256_add_epi32(_mm256_castps_si256(magic), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
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

#endif
