/* Gates of one unit at a time: the vocabulary of the cells in plain C. */
#ifndef LRT_FIXED_VEC_ONE_H
#define LRT_FIXED_VEC_ONE_H

#define FIXED_LANES 1
typedef int32_t fixed_v;

static LRT_FIXED_INLINE fixed_v fv_load(const int32_t *p) { return *p; }
static LRT_FIXED_INLINE void fv_store(int32_t *p, fixed_v v) { *p = v; }
static LRT_FIXED_INLINE void fv_store16(int16_t *p, fixed_v v) { *p = (int16_t)v; }
static LRT_FIXED_INLINE fixed_v fv_add(fixed_v a, fixed_v b) { return a + b; }
static LRT_FIXED_INLINE fixed_v fv_plus(fixed_v a, int32_t b) { return a + b; }
static LRT_FIXED_INLINE fixed_v fv_sub(fixed_v a, fixed_v b) { return a - b; }
static LRT_FIXED_INLINE fixed_v fv_high(fixed_v a, fixed_v b) { return fixed_high(a, b); }
static LRT_FIXED_INLINE fixed_v fv_left(fixed_v a, int by) { return a * (int32_t)(UINT32_C(1) << by); }
static LRT_FIXED_INLINE fixed_v fv_right(fixed_v a, int by) { return a >> by; }
static LRT_FIXED_INLINE fixed_v fv_times(fixed_v a, int32_t b) { return a * b; }
#define FV_RIGHT(a, by) ((a) >> (by))
#define FV_ROUNDED(a, by) (((a) + (INT32_C(1) << ((by)-1))) >> (by)) /* nothing overflows */
static LRT_FIXED_INLINE fixed_v fv_min(fixed_v a, int32_t b) { return a < b ? a : b; }
static LRT_FIXED_INLINE fixed_v fv_max(fixed_v a, int32_t b) { return a > b ? a : b; }
static LRT_FIXED_INLINE fixed_v fv_limited(fixed_v a) { return fixed_limited(a); }
static LRT_FIXED_INLINE fixed_v fv_limited30(fixed_v a) { return fixed_limited30(a); }
static LRT_FIXED_INLINE fixed_v fv_int16(fixed_v a) { return fixed_int16(a); }
static LRT_FIXED_INLINE fixed_v fv_smooth(fixed_v z) { return fixed_smooth(z); }

static LRT_FIXED_INLINE void fv_load_pairs(const int32_t *p, fixed_v *a, fixed_v *b)
{
    *a = p[0];
    *b = p[1];
}

/* The four rows of each of the next units. */
static LRT_FIXED_INLINE const int32_t *fv_fours(const int32_t *w, const int16_t *v, uint32_t k, uint32_t n, int32_t *s,
                                                fixed_v z[4])
{
    (void)n, (void)s;
#ifdef LRT_FIXED_DSP
    return fixed_quad_of(w, v, k, z, 1);
#else
    return fixed_quad(w, v, k, z);
#endif
}

#endif
