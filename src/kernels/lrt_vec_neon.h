/* The vector vocabulary for AArch64 Advanced SIMD: 4 elements, 32 registers. With LRT_DOTPROD bytes are multiplied by its
 * dot products.
 * Contracts of every operation: lrt_vec_portable.h. */
#ifndef LRT_VEC_NEON_H
#define LRT_VEC_NEON_H

#include <arm_neon.h>

#define VL 4
#define LRT_ROW_V 16  /* accumulators of one row: one panel of four gates */
#define LRT_BLOCK_V 4 /* accumulators per row in a block of rows */
#define LRT_BLOCK_R 6 /* 24 accumulators + 4 weights + 1 input of 32 registers */
#define LRT_SIDE 2 /* vectors of gates that go side by side in one row */
#define LRT_SIDE_ROWS 2 /* ... and in a block of rows */
#define LRT_INT_ROW_V 8 /* sums of pairs take two registers */
#define LRT_INT_ROW_V8 8
#define LRT_INT_BLOCK_V 4
#define LRT_INT_BLOCK_R 2
#ifdef LRT_DOTPROD
#define LRT_DOT8 1
#define LRT_BYTE_EXTRA 0u
#define LRT_INT_BLOCK_R8 3 /* 24 accumulators, of low bytes and of high ones, + 4 weights + 2 inputs */
#else
#define LRT_DOT8 0
#define LRT_INT_BLOCK_R8 2
#endif

typedef float32x4_t vf;
typedef uint32x4_t vm;

static inline vf v_set1(float a) { return vdupq_n_f32(a); }
static inline vf v_load(const float *p) { return vld1q_f32(p); }
static inline vf v_load_high(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
static inline void v_store(float *p, vf a) { vst1q_f32(p, a); }
static inline vf v_load_n(const float *p, unsigned n)
{
    float t[VL] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (unsigned i = 0; i < n; i++)
        t[i] = p[i];
    return vld1q_f32(t);
}
static inline void v_store_n(float *p, vf a, unsigned n)
{
    float t[VL];
    vst1q_f32(t, a);
    for (unsigned i = 0; i < n; i++)
        p[i] = t[i];
}
static inline vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf v_sqrt(vf a) { return vsqrtq_f32(a); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
static inline vf v_max(vf lo, vf a) { return vbslq_f32(vcltq_f32(a, lo), lo, a); }
static inline vf v_min(vf hi, vf a) { return vbslq_f32(vcltq_f32(hi, a), hi, a); }
static inline vf v_abs(vf a) { return vabsq_f32(a); }
static inline vm v_lt(vf a, vf b) { return vcltq_f32(a, b); }
static inline vf v_select(vm m, vf a, vf b) { return vbslq_f32(m, a, b); }
static inline vf v_pow2(vf magic)
{
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(magic), 23));
}
static inline vf v_exponent(vf a)
{
    uint32x4_t e = vshrq_n_u32(vreinterpretq_u32_f32(a), 23);
    return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(e), vdupq_n_s32(127)));
}
static inline vf v_mantissa(vf a)
{
    uint32x4_t m = vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(0x007fffffu));
    return vreinterpretq_f32_u32(vorrq_u32(m, vdupq_n_u32(0x3f800000u)));
}


typedef uint32x4_t vi;
typedef int32x4x2_t va; /* of the pairs' first and second halves; of bytes the first alone is used */

static inline vi v_iset1(uint32_t a) { return vdupq_n_u32(a); }
static inline vi v_iload(const uint32_t *p) { return vld1q_u32(p); }
static inline vi v_iadd(vi a, vi b) { return vaddq_u32(a, b); }
static inline vi v_isub(vi a, vi b) { return vsubq_u32(a, b); }
static inline vi v_imax(vi a, vi b)
{
    return vreinterpretq_u32_s32(vmaxq_s32(vreinterpretq_s32_u32(a), vreinterpretq_s32_u32(b)));
}
static inline vf v_ifloat(vi a) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a)); }
static inline vi v_round(vf a) { return vreinterpretq_u32_s32(vcvtnq_s32_f32(a)); }
static inline vi v_magnitude(vf a) { return vreinterpretq_u32_f32(vabsq_f32(a)); }
static inline uint32_t v_isum(vi a) { return vaddvq_u32(a); }
static inline uint32_t v_imost(vi a) { return (uint32_t)vmaxvq_s32(vreinterpretq_s32_u32(a)); }
static inline va v_azero(void)
{
    const va a = {{vdupq_n_s32(0), vdupq_n_s32(0)}};
    return a;
}
static inline vi v_total(va a) { return vreinterpretq_u32_s32(vpaddq_s32(a.val[0], a.val[1])); }
static inline va v_dot16(va s, vi w, vi x)
{
    const int16x8_t a = vreinterpretq_s16_u32(w), b = vreinterpretq_s16_u32(x);
    s.val[0] = vmlal_s16(s.val[0], vget_low_s16(a), vget_low_s16(b));
    s.val[1] = vmlal_high_s16(s.val[1], a, b);
    return s;
}
#ifdef LRT_DOTPROD
/* Both kinds of bytes have to be signed. */
static inline vi v_bytes(vi a) { return veorq_u32(a, vdupq_n_u32(0x80808080u)); }
static inline va v_dot8(va s, vi w, vi x)
{
    s.val[0] = vdotq_s32(s.val[0], vreinterpretq_s8_u32(w), vreinterpretq_s8_u32(x));
    return s;
}
static inline vi v_total8(va a) { return vreinterpretq_u32_s32(a.val[0]); }
static inline vi v_ishl8(vi a) { return vshlq_n_u32(a, 8); }
static inline void v_store_bytes(uint32_t *low, uint32_t *high, vi a)
{
    const uint16x4_t more = vmovn_u32(vaddq_u32(a, vdupq_n_u32(128)));
    const uint16x8_t both = vcombine_u16(vmovn_u32(a), vshr_n_u16(more, 8));
    const uint32x2_t planes = vreinterpret_u32_u8(vmovn_u16(both));
    vst1_lane_u32(low, planes, 0);
    vst1_lane_u32(high, planes, 1);
}
#endif
static inline vi v_even8(vi a) { return vandq_u32(a, vdupq_n_u32(0x00ff00ffu)); }
static inline vi v_odd8(vi a) { return vreinterpretq_u32_u16(vshrq_n_u16(vreinterpretq_u16_u32(a), 8)); }
static inline uint16x4_t v_words(vi a) { return vmovn_u32(a); }
static inline void v_store_pairs(uint32_t *p, vi a) { vst1_u32(p, vreinterpret_u32_u16(v_words(a))); }
static inline void v_store_quads(uint32_t *p, vi a)
{
    const uint32x4_t turned = vcombine_u32(vget_low_u32(vtrn1q_u32(a, vextq_u32(a, a, 2))), vget_low_u32(vtrn2q_u32(a, vextq_u32(a, a, 2))));
    v_store_pairs(p, turned);
}

#endif
