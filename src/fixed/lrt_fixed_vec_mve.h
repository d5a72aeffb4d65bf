/* Gates of four units at a time: the vocabulary of the cells in Helium. Of a last group only n lanes count. */
#ifndef LRT_FIXED_VEC_MVE_H
#define LRT_FIXED_VEC_MVE_H

#define FIXED_LANES 4
typedef int32x4_t fixed_v;

static LRT_FIXED_INLINE fixed_v fv_load(const int32_t *p) { return vldrwq_s32(p); }
static LRT_FIXED_INLINE void fv_store(int32_t *p, fixed_v v, uint32_t n) { vstrwq_p_s32(p, v, vctp32q(n)); }
static LRT_FIXED_INLINE fixed_v fv_load16(const int16_t *p, uint32_t n) { return vldrhq_z_s32(p, vctp32q(n)); }
static LRT_FIXED_INLINE void fv_store16(int16_t *p, fixed_v v, uint32_t n) { vstrhq_p_s32(p, v, vctp32q(n)); }
static LRT_FIXED_INLINE fixed_v fv_load_some(const int32_t *p, uint32_t n) { return vldrwq_z_s32(p, vctp32q(n)); }
static LRT_FIXED_INLINE fixed_v fv_add(fixed_v a, fixed_v b) { return vaddq_s32(a, b); }
static LRT_FIXED_INLINE fixed_v fv_plus(fixed_v a, int32_t b) { return vaddq_n_s32(a, b); }
static LRT_FIXED_INLINE fixed_v fv_sub(fixed_v a, fixed_v b) { return vsubq_s32(a, b); }
static LRT_FIXED_INLINE fixed_v fv_high(fixed_v a, fixed_v b) { return vmulhq_s32(a, b); }
static LRT_FIXED_INLINE fixed_v fv_left(fixed_v a, int by) { return vshlq_r_s32(a, by); }
static LRT_FIXED_INLINE fixed_v fv_right(fixed_v a, int by) { return vshlq_r_s32(a, -by); }
static LRT_FIXED_INLINE fixed_v fv_min(fixed_v a, int32_t b) { return vminq_s32(a, vdupq_n_s32(b)); }
static LRT_FIXED_INLINE fixed_v fv_max(fixed_v a, int32_t b) { return vmaxq_s32(a, vdupq_n_s32(b)); }

static LRT_FIXED_INLINE fixed_v fv_limited(fixed_v a)
{
    return vshrq_n_s32(vqshlq_n_s32(a, 10), 10);
}

/* Within 2^29: three times it is an int32. */
static LRT_FIXED_INLINE fixed_v fv_limited30(fixed_v a)
{
    return vshrq_n_s32(vqshlq_n_s32(a, 2), 2);
}

static LRT_FIXED_INLINE fixed_v fv_smooth(fixed_v z)
{
    const uint32x4_t at = vreinterpretq_u32_s32(vrshrq_n_s32(z, 16));
    const int32x4_t value = vldrwq_gather_shifted_offset_s32(fixed_values + 32, at);
    const int32x4_t bend = vldrwq_gather_shifted_offset_s32(fixed_bends + 32, at);
    const int16x8_t f = vreinterpretq_s16_s32(z); /* products of the lower halves */
    const int32x4_t slope = vaddq_s32(bend, vmullbq_int_s16(vreinterpretq_s16_s32(bend), f));
    return vaddq_s32(value, vmullbq_int_s16(vreinterpretq_s16_s32(vshrq_n_s32(slope, 16)), f));
}

static LRT_FIXED_INLINE void fv_load_pairs(const int32_t *p, fixed_v *a, fixed_v *b)
{
    const int32x4x2_t t = vld2q_s32(p);
    *a = t.val[0];
    *b = t.val[1];
}

/* The four rows of each of the next units, of which n are there; z is by row. */
static LRT_FIXED_INLINE const int32_t *fv_fours(const int32_t *w, const int16_t *v, uint32_t chunks, uint32_t n, fixed_v z[4])
{
    fixed_sums s[4];
    const int32_t *first = NULL;
    const uint32_t units = n < 4 ? n : 4, stride = (8u + (LRT_FIXED_BITS == 8 ? 8u : 16u) * chunks) * 4u;
    uint32_t i = 0;
    do {
        w = fixed_quad_sums(w, v, chunks, s + i) + 4;
        first = i ? first : w - 4;
    } while (++i < units);
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), stride);
    const mve_pred16_t there = vctp32q(n);
    const int32x4x4_t sums = vld4q_s32(&s[0].a);
#if LRT_FIXED_BITS == 8
    z[0] = vshlq_n_s32(sums.val[1], 8);
    z[1] = vsubq_s32(sums.val[0], sums.val[1]);
    z[2] = vshlq_n_s32(sums.val[3], 8);
    z[3] = vsubq_s32(sums.val[2], sums.val[3]);
#else
    z[0] = sums.val[0];
    z[1] = sums.val[1];
    z[2] = sums.val[2];
    z[3] = sums.val[3];
#endif
    for (int row = 0; row < 4; row++)
        z[row] = vmulhq_s32(z[row], vldrwq_gather_offset_z_s32(first + row, at, there));
    return w;
}

#endif
