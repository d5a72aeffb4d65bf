/* The vector vocabulary for Helium, the vectors of Cortex-M55 and M85: 4 elements, 8 registers. Contracts of every
 * operation: lrt_vec_portable.h. There is no division of vectors; their elements are registers of the FPU. */
#ifndef LRT_VEC_MVE_H
#define LRT_VEC_MVE_H

#include <arm_mve.h>
#include <math.h>

#include "micro/lrt_one.h"

#define VL 4

typedef float32x4_t vf;
typedef mve_pred16_t vm;

#define MVE static inline __attribute__((always_inline))

MVE vf v_set1(float a) { return vdupq_n_f32(a); }
MVE vf v_load(const float *p) { return vldrwq_f32(p); }
MVE vf v_load_n(const float *p, unsigned n) { return vldrwq_z_f32(p, vctp32q(n)); }
MVE void v_store(float *p, vf a) { vstrwq_f32(p, a); }
MVE void v_store_n(float *p, vf a, unsigned n) { vstrwq_p_f32(p, a, vctp32q(n)); }
MVE vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
MVE vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
MVE vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
MVE vf v_div(vf a, vf b)
{
    register vf n __asm__("q0") = a, d __asm__("q1") = b;
    __asm__("vdiv.f32 s0, s0, s4\n\tvdiv.f32 s1, s1, s5\n\tvdiv.f32 s2, s2, s6\n\tvdiv.f32 s3, s3, s7" : "+w"(n) : "w"(d));
    return n;
}
MVE vf v_sqrt(vf a)
{
    register vf x __asm__("q0") = a;
    __asm__("vsqrt.f32 s0, s0\n\tvsqrt.f32 s1, s1\n\tvsqrt.f32 s2, s2\n\tvsqrt.f32 s3, s3" : "+w"(x));
    return x;
}
MVE vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
MVE vf v_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
MVE vf v_max(vf lo, vf a) { return vpselq_f32(lo, a, vcmpltq_f32(a, lo)); }
MVE vf v_min(vf hi, vf a) { return vpselq_f32(hi, a, vcmpgtq_f32(a, hi)); }
MVE vf v_abs(vf a) { return vabsq_f32(a); }
MVE vm v_lt(vf a, vf b) { return vcmpltq_f32(a, b); }
MVE vf v_select(vm m, vf a, vf b) { return vpselq_f32(a, b, m); }
MVE vf v_pow2(vf a) { return vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(a), 23)); }
MVE vf v_exponent(vf a) { return vcvtq_f32_s32(vsubq_n_s32(vshrq_n_s32(vreinterpretq_s32_f32(a), 23), 127)); }
MVE vf v_mantissa(vf a)
{
    const int32x4_t bits = vandq_s32(vreinterpretq_s32_f32(a), vdupq_n_s32(0x007fffff));
    return vreinterpretq_f32_s32(vorrq_s32(bits, vdupq_n_s32(0x3f800000)));
}

#define LRT_FEW_VECTORS
#define v_add_1(a, b) vaddq_n_f32(a, b)
#define v_sub_1(a, b) vsubq_n_f32(a, b)
#define v_fma_1(a, b, c) vfmaq_n_f32(c, b, a)
#define v_fma_1_signed(negative, a, b, c) vfmaq_n_f32(c, a, (negative) ? -(b) : (b))

/* As in lrt_vec_scalar.h. */
MVE int v_all_within(unsigned n, const vf *x, float limit)
{
    vf squares = vmulq_f32(x[0], x[0]);
    for (unsigned j = 1; j < n; j++)
        squares = vfmaq_f32(squares, x[j], x[j]);
    return __builtin_expect(vcmpleq_n_f32(squares, limit * limit) == 0xffff, 1) != 0;
}
#define v_all_within v_all_within
MVE void v_clamp_all(unsigned n, unsigned firsts, vf *y, float lo, float hi, float others)
{
    _Pragma("GCC unroll 3") for (unsigned j = 0; j < n; j++)
        __asm__("vpt.f32 lt, %q0, %1\n\tvdupt.32 %q0, %1\n\tvpt.f32 gt, %q0, %2\n\tvdupt.32 %q0, %2"
                : "+w"(y[j])
                : "r"(j < firsts ? lo : -others), "r"(j < firsts ? hi : others)
                : "cc", "p0");
}

/* What is added to a product is overwritten by the sum. A compiler that knew what this is would keep it in memory. */
MVE vf v_fresh(float a)
{
    vf r;
    __asm__ volatile("vdup.32 %q0, %1" : "=w"(r) : "r"(a));
    return r;
}
#define v_affine(which, n, negative, f, a, x, b, y)                                                        \
    EACH(affine, n) (y)[affine] = vfmaq_n_f32(v_fresh(b), (x)[affine], affine < (negative) ? -(a) : (f) * (a))

MVE float s_one(void)
{
    float one = 1.0f;
    __asm__("" : "+t"(one));
    return one;
}
#define ONE_UNKNOWN s_one()

#endif
