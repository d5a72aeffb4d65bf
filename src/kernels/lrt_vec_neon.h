/* The vector vocabulary for Advanced SIMD: 4 elements; of AArch64 with 32 registers, of 32-bit ARM with 16, where it always
 * flushes denormals and rounds to nearest. With LRT_DOTPROD bytes are multiplied by its dot products; with LRT_NO_FMA, on
 * 32-bit ARM, products and sums round apart.
 * Contracts of every operation: lrt_vec_portable.h. */
#ifndef LRT_VEC_NEON_H
#define LRT_VEC_NEON_H

#include <arm_neon.h>
#include <math.h>
#include <stdint.h>

#define VL 4
#ifdef __aarch64__
#define LRT_ROW_V 16  /* accumulators of one row: one panel of four gates */
#define LRT_BLOCK_V 4 /* accumulators per row in a block of rows */
#define LRT_BLOCK_R 6 /* 24 accumulators + 4 weights + 1 input of 32 registers */
#define LRT_SIDE 2 /* vectors of gates that go side by side in one row */
#define LRT_SIDE_ROWS 2 /* ... and in a block of rows */
#define LRT_INT_ROW_V 8 /* sums of pairs take two registers */
#define LRT_INT_ROW_V8 8
#ifdef LRT_DOTPROD
#define LRT_INT_BLOCK_V 2 /* of 6 rows: 12 accumulators + 6 inputs, of 4 words each, + 2 weights */
#else
#define LRT_INT_BLOCK_V 4
#endif
#else
#define LRT_ROW_V 8   /* half a panel of four gates */
#define LRT_BLOCK_V 2
#define LRT_BLOCK_R 6 /* 12 accumulators + 2 weights + 1 input of 16 registers */
#define LRT_SIDE 1
#define LRT_SIDE_ROWS 1
#define LRT_INT_ROW_V 4
#define LRT_INT_ROW_V8 4
#define LRT_INT_BLOCK_V 2
#endif
#define LRT_INT_BLOCK_R 2
#ifdef LRT_DOTPROD
#define LRT_DOT8 1
#define LRT_BYTE_EXTRA 0u
#define LRT_INT_BLOCK_R8 3 /* as many of low bytes and of high ones */
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
#ifdef __aarch64__
static inline vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf v_sqrt(vf a) { return vsqrtq_f32(a); }
#else /* one by one: its vectors have estimates alone */
#define V_EACH_LANE(expr0, expr1, expr2, expr3) \
    vsetq_lane_f32(expr3, vsetq_lane_f32(expr2, vsetq_lane_f32(expr1, vdupq_n_f32(expr0), 1), 2), 3)
static inline vf v_div(vf a, vf b)
{
    return V_EACH_LANE(vgetq_lane_f32(a, 0) / vgetq_lane_f32(b, 0), vgetq_lane_f32(a, 1) / vgetq_lane_f32(b, 1),
                       vgetq_lane_f32(a, 2) / vgetq_lane_f32(b, 2), vgetq_lane_f32(a, 3) / vgetq_lane_f32(b, 3));
}
static inline vf v_sqrt(vf a)
{
    return V_EACH_LANE(sqrtf(vgetq_lane_f32(a, 0)), sqrtf(vgetq_lane_f32(a, 1)), sqrtf(vgetq_lane_f32(a, 2)),
                       sqrtf(vgetq_lane_f32(a, 3)));
}
#endif
#ifdef LRT_NO_FMA
static inline vf v_fma(vf a, vf b, vf c) { return vaddq_f32(vmulq_f32(a, b), c); }
static inline vf v_fnma(vf a, vf b, vf c) { return vsubq_f32(c, vmulq_f32(a, b)); }
#else
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
#endif
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
#ifdef __aarch64__
typedef int32x4x2_t va; /* of the pairs' first and second halves; of bytes the first alone is used */
#else
typedef struct {
    int32x4_t val[2];
} va; /* likewise: GCC moves the other kind through memory */
#endif

static inline vi v_iset1(uint32_t a) { return vdupq_n_u32(a); }
static inline vi v_iload(const uint32_t *p) { return vld1q_u32(p); }
static inline vi v_iadd(vi a, vi b) { return vaddq_u32(a, b); }
static inline vi v_isub(vi a, vi b) { return vsubq_u32(a, b); }
static inline vi v_imax(vi a, vi b)
{
    return vreinterpretq_u32_s32(vmaxq_s32(vreinterpretq_s32_u32(a), vreinterpretq_s32_u32(b)));
}
static inline vf v_ifloat(vi a) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a)); }
static inline vi v_magnitude(vf a) { return vreinterpretq_u32_f32(vabsq_f32(a)); }
static inline va v_azero(void)
{
    const va a = {{vdupq_n_s32(0), vdupq_n_s32(0)}};
    return a;
}
#ifdef __aarch64__
static inline vi v_round(vf a) { return vreinterpretq_u32_s32(vcvtnq_s32_f32(a)); }
static inline uint32_t v_isum(vi a) { return vaddvq_u32(a); }
static inline uint32_t v_imost(vi a) { return (uint32_t)vmaxvq_s32(vreinterpretq_s32_u32(a)); }
static inline vi v_total(va a) { return vreinterpretq_u32_s32(vpaddq_s32(a.val[0], a.val[1])); }
static inline int32x4_t v_add_high(int32x4_t s, int16x8_t a, int16x8_t b) { return vmlal_high_s16(s, a, b); }
#else
static inline vi v_round(vf a)
{
    return vsubq_u32(vreinterpretq_u32_f32(vaddq_f32(a, vdupq_n_f32(0x1.8p23f))), vdupq_n_u32(0x4b400000u));
}
static inline uint32_t v_isum(vi a)
{
    const uint32x2_t s = vadd_u32(vget_low_u32(a), vget_high_u32(a));
    return vget_lane_u32(vpadd_u32(s, s), 0);
}
static inline uint32_t v_imost(vi a)
{
    const int32x4_t n = vreinterpretq_s32_u32(a);
    const int32x2_t s = vmax_s32(vget_low_s32(n), vget_high_s32(n));
    return (uint32_t)vget_lane_s32(vpmax_s32(s, s), 0);
}
static inline int32x2_t v_total_half(int32x4_t a) { return vpadd_s32(vget_low_s32(a), vget_high_s32(a)); }
static inline vi v_total(va a)
{
    return vreinterpretq_u32_s32(vcombine_s32(v_total_half(a.val[0]), v_total_half(a.val[1])));
}
static inline int32x4_t v_add_high(int32x4_t s, int16x8_t a, int16x8_t b)
{
    return vmlal_s16(s, vget_high_s16(a), vget_high_s16(b));
}
#endif
static inline va v_dot16(va s, vi w, vi x)
{
    const int16x8_t a = vreinterpretq_s16_u32(w), b = vreinterpretq_s16_u32(x);
    s.val[0] = vmlal_s16(s.val[0], vget_low_s16(a), vget_low_s16(b));
    s.val[1] = v_add_high(s.val[1], a, b);
    return s;
}
#ifdef LRT_DOTPROD
#ifdef __aarch64__
#define V_DOT8_LANE(s, a, b, lane) vdotq_laneq_s32(s, a, b, lane)
#else
#define V_DOT8_LANE(s, a, b, lane) vdotq_lane_s32(s, a, (lane) < 2 ? vget_low_s8(b) : vget_high_s8(b), (lane) % 2)
#endif
/* Both kinds of bytes have to be signed. */
static inline vi v_bytes(vi a) { return veorq_u32(a, vdupq_n_u32(0x80808080u)); }
static inline va v_dot8(va s, vi w, vi x)
{
    s.val[0] = vdotq_s32(s.val[0], vreinterpretq_s8_u32(w), vreinterpretq_s8_u32(x));
    return s;
}
#define LRT_DOT8_WORDS 4
static inline va v_dot8_word(va s, vi w, vi x, unsigned word)
{
    const int8x16_t a = vreinterpretq_s8_u32(w), b = vreinterpretq_s8_u32(x);
    switch (word) {
    case 0: s.val[0] = V_DOT8_LANE(s.val[0], a, b, 0); break;
    case 1: s.val[0] = V_DOT8_LANE(s.val[0], a, b, 1); break;
    case 2: s.val[0] = V_DOT8_LANE(s.val[0], a, b, 2); break;
    default: s.val[0] = V_DOT8_LANE(s.val[0], a, b, 3);
    }
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
static inline void v_store_quads(uint32_t *p, vi a) /* 0 2 1 3 */
{
    const uint32x2x2_t turned = vtrn_u32(vget_low_u32(a), vget_high_u32(a));
    v_store_pairs(p, vcombine_u32(turned.val[0], turned.val[1]));
}

#endif
