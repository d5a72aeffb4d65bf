/* y = bias + x W where W is not plain: some rows at a time, packed where W is one of integers, for the instruction set to
 * multiply. */
#include "integers/lrt_integers.h"

/* Row number i of all. */
static const float *x_of(const lrt_linear_args *a, uint64_t i)
{
    if (a->x_at)
        return a->x_at[i];
    return a->x + (ptrdiff_t)(i / a->rows) * a->x_outer + (ptrdiff_t)(i % a->rows) * a->x_row;
}
static float *y_of(const lrt_linear_args *a, uint64_t i)
{
    if (a->y_at)
        return a->y_at[i];
    return a->y + (ptrdiff_t)(i / a->rows) * a->y_outer + (ptrdiff_t)(i % a->rows) * a->y_row;
}

static void multiply(const lrt_kernels *kernels, const lrt_linear_args *a)
{
    const int integer = lrt_is_integer(&a->m);
    const uint64_t rows = (uint64_t)a->rows * (1 + (uint64_t)a->outer);
    const uint32_t at_once = lrt_packed_rows(a->m.k), words = lrt_packed_words(a->m.k);
    const size_t first = (size_t)lrt_panel_start(a->m.units, a->p0) * a->m.gates;
    const uint32_t end = lrt_panel_start(a->m.units, a->p1);
    const size_t all = (size_t)(a->padded || end < a->m.units ? end : a->m.units) * a->m.gates;
    const float *bias[LRT_MOST_PACKED], *x[LRT_MOST_PACKED];
    float *y[LRT_MOST_PACKED];
    lrt_product_args p;
    p.m = &a->m;
    p.x = x;
    p.packed = a->packed;
    p.init = a->bias ? bias : NULL;
    p.y = y;
    p.p0 = a->p0;
    p.p1 = a->p1;
    p.floats = all - first;
    for (uint64_t from = 0; from < rows; from += p.rows) {
        p.rows = rows - from < at_once ? (uint32_t)(rows - from) : at_once;
        for (uint32_t i = 0; i < p.rows; i++) {
            x[i] = x_of(a, from + i);
            if (integer)
                kernels->integers->pack(&a->m, x[i], a->packed + (size_t)i * words, p.rows);
            y[i] = y_of(a, from + i) + first;
            bias[i] = a->bias ? a->bias + first : NULL;
        }
        if (integer)
            kernels->integers->product(&p);
        else
            kernels->blocks(&p);
    }
}

void lrt_linear(const lrt_kernels *kernels, const lrt_linear_args *a)
{
    if (lrt_is_plain(&a->m))
        kernels->linear(a);
    else if (a->p0 < a->p1)
        multiply(kernels, a);
}
