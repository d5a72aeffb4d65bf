/* Gates of four units at a time: the vocabulary of the cells in Helium. States have room for whole groups. */
#ifndef LRT_FIXED_VEC_MVE_H
#define LRT_FIXED_VEC_MVE_H

#pragma GCC optimize("no-schedule-insns") /* it would need more vectors than there are */

#define FIXED_LANES 4
typedef int32x4_t fixed_v;

static LRT_FIXED_INLINE fixed_v fv_load(const int32_t *p) { return vldrwq_s32(p); }
static LRT_FIXED_INLINE void fv_store(int32_t *p, fixed_v v) { vstrwq_s32(p, v); }
static LRT_FIXED_INLINE void fv_store16(int16_t *p, fixed_v v) { vstrhq_s32(p, v); }
static LRT_FIXED_INLINE fixed_v fv_add(fixed_v a, fixed_v b) { return vaddq_s32(a, b); }
static LRT_FIXED_INLINE fixed_v fv_plus(fixed_v a, int32_t b) { return vaddq_n_s32(a, b); }
static LRT_FIXED_INLINE fixed_v fv_sub(fixed_v a, fixed_v b) { return vsubq_s32(a, b); }
static LRT_FIXED_INLINE fixed_v fv_high(fixed_v a, fixed_v b) { return vmulhq_s32(a, b); }
static LRT_FIXED_INLINE fixed_v fv_left(fixed_v a, int by) { return by ? vshlq_r_s32(a, by) : a; }
static LRT_FIXED_INLINE fixed_v fv_times(fixed_v a, int32_t b) { return vmulq_n_s32(a, b); }
#define FV_RIGHT(a, by) vshrq_n_s32(a, by)    /* by a literal */
#define FV_ROUNDED(a, by) vrshrq_n_s32(a, by) /* halves up; nothing overflows */
static LRT_FIXED_INLINE fixed_v fv_min(fixed_v a, int32_t b) { return vminq_s32(a, vdupq_n_s32(b)); }
static LRT_FIXED_INLINE fixed_v fv_max(fixed_v a, int32_t b) { return vmaxq_s32(a, vdupq_n_s32(b)); }

/* by is a constant of the model: one instruction. */
static LRT_FIXED_INLINE fixed_v fv_right(fixed_v a, int by)
{
    switch (by) {
    case 0: return a;
    case 1: return vshrq_n_s32(a, 1);
    case 2: return vshrq_n_s32(a, 2);
    case 3: return vshrq_n_s32(a, 3);
    case 4: return vshrq_n_s32(a, 4);
    case 5: return vshrq_n_s32(a, 5);
    case 6: return vshrq_n_s32(a, 6);
    case 7: return vshrq_n_s32(a, 7);
    case 15: return vshrq_n_s32(a, 15);
    default: return vshlq_r_s32(a, -by);
    }
}

static LRT_FIXED_INLINE fixed_v fv_limited(fixed_v a)
{
    return vshrq_n_s32(vqshlq_n_s32(a, 10), 10);
}

/* 3 c 2^by, limited as z: by is 17 less the bits of c. */
static LRT_FIXED_INLINE fixed_v fv_thrice(fixed_v c, int by)
{
    int32x4_t t;
    switch (by) { /* a constant of the model: one instruction */
    case 1: t = vqshlq_n_s32(c, 11); break;
    case 0: t = vqshlq_n_s32(c, 10); break;
    case -1: t = vqshlq_n_s32(c, 9); break;
    case -2: t = vqshlq_n_s32(c, 8); break;
    case -3: t = vqshlq_n_s32(c, 7); break;
    case -4: t = vqshlq_n_s32(c, 6); break;
    case -5: t = vqshlq_n_s32(c, 5); break;
    case -6: t = vqshlq_n_s32(c, 4); break;
    case -7: t = vqshlq_n_s32(c, 3); break;
    default: t = vqshlq_r_s32(c, 10 + by);
    }
    return vshrq_n_s32(vqaddq_s32(t, vqaddq_s32(t, t)), 10);
}

/* Within 2^29: three times it is an int32. */
static LRT_FIXED_INLINE fixed_v fv_limited30(fixed_v a)
{
    return vshrq_n_s32(vqshlq_n_s32(a, 2), 2);
}

static LRT_FIXED_INLINE fixed_v fv_int16(fixed_v a) { return fv_min(fv_max(a, INT16_MIN), INT16_MAX); }

static LRT_FIXED_INLINE fixed_v fv_smooth(fixed_v z)
{
    const uint32x4_t at = vreinterpretq_u32_s32(vrshrq_n_s32(z, 16));
    const int32x4_t value = vldrwq_gather_shifted_offset_s32(fixed_values + 32, at);
    const int32x4_t bend = vldrwq_gather_shifted_offset_s32(fixed_bends + 32, at);
    const int16x8_t f = vreinterpretq_s16_s32(z); /* products of the lower halves */
    const int32x4_t slope = vaddq_s32(bend, vmullbq_int_s16(vreinterpretq_s16_s32(bend), f));
    return vaddq_s32(value, vmulhq_s32(slope, vshlq_n_s32(z, 16)));
}

static LRT_FIXED_INLINE void fv_load_pairs(const int32_t *p, fixed_v *a, fixed_v *b)
{
    const int32x4x2_t t = vld2q_s32(p);
    *a = t.val[0];
    *b = t.val[1];
}

/* The four rows of each of the next units, of which n are there; z is by row. s: room for 32 words. */
static LRT_FIXED_INLINE const int32_t *fv_fours(const int32_t *w, const int16_t *v, uint32_t k, uint32_t n, int32_t *s,
                                                fixed_v z[4])
{
    w = fixed_raw(w, v, k, n < 4 ? n : 4, s, 1);
    const int32x4x4_t sums = vld4q_s32(s);
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
    const int32x4x4_t mult = vld4q_s32(s + 16);
    z[0] = vmulhq_s32(z[0], mult.val[0]);
    z[1] = vmulhq_s32(z[1], mult.val[1]);
    z[2] = vmulhq_s32(z[2], mult.val[2]);
    z[3] = vmulhq_s32(z[3], mult.val[3]);
    return w;
}

#endif
