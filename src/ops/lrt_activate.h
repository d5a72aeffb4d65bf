/* Activations of rows, as several families of ops use them. */
#ifndef LRT_ACTIVATE_H
#define LRT_ACTIVATE_H

#include "kernels/lrt_kernels.h"

static inline void lrt_activate_rows(const lrt_kernels *k, const lrt_act *act, const float *x, float *y, uint32_t rows,
                                     uint32_t size)
{
    if (lrt_is_elementwise(act->kind)) { /* elementwise: one long row */
        k->activate(act, x, y, (size_t)rows * size);
        return;
    }
    for (uint32_t i = 0; i < rows; i++, x += size, y += size)
        k->activate(act, x, y, size);
}

#endif
