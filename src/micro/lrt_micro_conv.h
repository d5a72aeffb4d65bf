/* Convolutions over time: windows of steps, in one piece. */
#ifndef LRT_MICRO_CONV_H
#define LRT_MICRO_CONV_H

#include "kernels/lrt_rows_impl.h"

/* Of a stream: the last `depth` steps of n features, and then x. The oldest goes. */
static LRT_INLINE void micro_remember(float *kept, const float *x, uint32_t depth, uint32_t n)
{
    for (uint32_t i = 0; i < depth * n; i++)
        kept[i] = kept[i + n];
    micro_copy(kept + depth * n, x, n);
}

/* The k steps of a window, `apart` from each other. */
static LRT_INLINE void micro_pick(float *window, const float *kept, uint32_t k, uint32_t apart, uint32_t n)
{
    for (uint32_t i = 0; i < k; i++)
        micro_copy(window + i * n, kept + i * apart * n, n);
}

/* Of a run: the window that begins `before` steps before step t of x; zeros where there is no step. */
static LRT_INLINE void micro_window(float *window, const float *x, uint32_t steps, uint32_t t, uint32_t before, uint32_t k,
                                    uint32_t apart, uint32_t n)
{
    for (uint32_t i = 0; i < k; i++) {
        const uint32_t at = t + i * apart;
        if (at >= before && at - before < steps)
            micro_copy(window + i * n, x + (at - before) * n, n);
        else
            micro_zero(window + i * n, n);
    }
}

/* Each of n channels by itself: y = bias + the sum of its k places times their weights, [place][channel]. */
static LRT_INLINE void micro_by_channel(const float *window, const float *w, const float *bias, float *y, uint32_t k, uint32_t n)
{
    for (uint32_t c = 0; c < n; c++) {
        float sum = bias[c];
        for (uint32_t i = 0; i < k; i++)
            sum = s_fma(window[i * n + c], w[i * n + c], sum);
        y[c] = sum;
    }
}

#endif
