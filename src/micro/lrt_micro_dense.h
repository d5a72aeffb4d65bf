/* Products of whole rows. */
#ifndef LRT_MICRO_DENSE_H
#define LRT_MICRO_DENSE_H

/* One output. */
static LRT_INLINE float strip_1(float sum, const float *w, const float *x, uint32_t k)
{
    uint32_t i = 0;
#ifdef LRT_MICRO_VFP
    for (; i + 4 <= k; i += 4)
        __asm__("vldmia %1!, {s0-s3}\n\tvldmia %2!, {s4-s7}\n\tvfma.f32 %0, s0, s4\n\tvfma.f32 %0, s1, s5\n\t"
                "vfma.f32 %0, s2, s6\n\tvfma.f32 %0, s3, s7"
                : "+t"(sum), "+r"(w), "+r"(x)
                : "m"(*(const float(*)[4])w), "m"(*(const float(*)[4])x)
                : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7");
    w -= i;
    x -= i;
#endif
    for (; i < k; i++)
        sum = s_fma(x[i], w[i], sum);
    return sum;
}

/* y = bias + x W in strips of 16 outputs, then of 4, then single ones. */
static LRT_INLINE void micro_product(uint32_t k, uint32_t outputs, const float *w, const float *bias, const float *x, float *y)
{
    uint32_t o = 0;
    for (; o + 16 <= outputs; o += 16)
        strip_16(y + o, bias + o, w + o * k, x, k);
    for (; o + 4 <= outputs; o += 4)
        strip_in_c(4, y + o, bias + o, w + o * k, x, k);
    for (; o < outputs; o++)
        y[o] = strip_1(bias[o], w + o * k, x, k);
}

#endif
