/* Activations of rows: which one is a constant of the model, so only that becomes code. */
#ifndef LRT_MICRO_ACT_H
#define LRT_MICRO_ACT_H

#include "kernels/lrt_rows_impl.h"

static LRT_INLINE void micro_activate(uint32_t kind, float alpha, float beta, const float *x, float *y, uint32_t n)
{
    const lrt_act act = {kind, alpha, beta};
    if (kind == LRT_ACT_SOFTMAX)
        softmax(x, y, n);
    else if (kind == LRT_ACT_LOG_SOFTMAX)
        log_softmax(x, y, n);
    else
        FOR_VECTORS(j, n) store_at(y, j, n, settled(activation(&act, load_at(x, j, n))));
}

/* a and b, of which one may be a single number for all. */
static LRT_INLINE void micro_binary(enum lrt_binary op, const float *a, int one_a, const float *b, int one_b, float *y, uint32_t n)
{
    FOR_VECTORS(j, n)
        store_at(y, j, n, of_two(op, one_a ? v_set1(*a) : load_at(a, j, n), one_b ? v_set1(*b) : load_at(b, j, n)));
}

#endif
