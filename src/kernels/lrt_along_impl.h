/* Along time: steps joined one after the other, softmax over steps, and what attention is made of. Vectors run across
 * features, and sums over steps take them in their order; sums over features are those of lrt_rows_impl.h. */
#ifndef LRT_ALONG_IMPL_H
#define LRT_ALONG_IMPL_H

#include <math.h>

#include "kernels/lrt_rows_impl.h"

/* ---- steps joined --------------------------------------------------------------------------------- */

/* total + x, where `lost` is what earlier sums have lost (Kahan 1965). Once something is infinite, nothing is lost. */
static LRT_INLINE vf add_exactly(vf total, vf x, vf *lost)
{
    const vf more = v_add(x, *lost), sum = v_add(total, more), rest = v_sub(more, v_sub(sum, total));
    *lost = v_select(v_lt(v_abs(rest), v_set1(INFINITY)), rest, v_set1(0.0f));
    return sum;
}

/* a if it is NaN, else b. */
static LRT_INLINE vf nan_or(vf a, vf b)
{
    return v_select(v_lt(a, v_set1(INFINITY)), b, v_select(v_lt(v_set1(-INFINITY), a), b, a));
}

static LRT_INLINE vf joined(const enum lrt_join op, vf total, vf x, vf *lost)
{
    switch (op) {
    case LRT_JOIN_ADD: return add_exactly(total, x, lost);
    case LRT_JOIN_ADD_SQUARE: return add_exactly(total, v_mul(x, x), lost);
    case LRT_JOIN_MAX: return nan_or(total, v_max(total, x)); /* a NaN in x stays by itself */
    case LRT_JOIN_MIN: return nan_or(total, v_min(total, x));
    default: return v_mul(total, x);
    }
}

static LRT_INLINE void join_by(const lrt_join_args *a, const enum lrt_join op)
{
    const int is_sum = op == LRT_JOIN_ADD || op == LRT_JOIN_ADD_SQUARE;
    FOR_VECTORS(j, a->n) {
        vf total = load_at(a->total + j, 0, a->n - j), lost = v_set1(0.0f);
        int begun = is_sum || a->begun;
        if (is_sum)
            lost = load_at(a->lost + j, 0, a->n - j);
        for (uint32_t t = 0; t < a->steps; t++) {
            if (!a->counts || a->counts[t]) {
                const vf x = load_at(a->x + (ptrdiff_t)t * a->x_step + j, 0, a->n - j);
                total = begun ? joined(op, total, x, &lost) : x;
                begun = 1;
            }
            if (a->y)
                store_at(a->y + (ptrdiff_t)t * a->y_step + j, 0, a->n - j, total);
        }
        store_at(a->total + j, 0, a->n - j, settled(total));
        if (is_sum)
            store_at(a->lost + j, 0, a->n - j, lost);
    }
}

static void join(const lrt_join_args *a)
{
    switch (a->op) {
    case LRT_JOIN_ADD: join_by(a, LRT_JOIN_ADD); break;
    case LRT_JOIN_ADD_SQUARE: join_by(a, LRT_JOIN_ADD_SQUARE); break;
    case LRT_JOIN_MAX: join_by(a, LRT_JOIN_MAX); break;
    case LRT_JOIN_MIN: join_by(a, LRT_JOIN_MIN); break;
    default: join_by(a, LRT_JOIN_MUL);
    }
}

/* ---- softmax over steps ---------------------------------------------------------------------------- */

static void softmax_steps(const lrt_softmax_args *a)
{
    FOR_VECTORS(j, a->n) {
        const size_t left = a->n - j;
        vf top = v_set1(-INFINITY), total = v_set1(0.0f), lost = v_set1(0.0f);
        for (uint32_t t = 0; t < a->steps; t++)
            if (!a->counts || a->counts[t])
                top = joined(LRT_JOIN_MAX, top, load_at(a->x + (ptrdiff_t)t * a->x_step + j, 0, left), NULL);
        for (uint32_t t = 0; t < a->steps; t++) {
            vf e = v_set1(0.0f);
            if (!a->counts || a->counts[t]) {
                e = exp_nonpositive(v_sub(load_at(a->x + (ptrdiff_t)t * a->x_step + j, 0, left), top));
                total = add_exactly(total, e, &lost);
            }
            store_at(a->y + (ptrdiff_t)t * a->y_step + j, 0, left, e);
        }
        for (uint32_t t = 0; t < a->steps; t++) {
            float *y = a->y + (ptrdiff_t)t * a->y_step + j;
            if (!a->counts || a->counts[t])
                store_at(y, 0, left, v_div(load_at(y, 0, left), total));
        }
    }
}

/* ---- attention -------------------------------------------------------------------------------------- */

static LRT_INLINE float fit_of(const lrt_fits_args *a, const float *k, const int additive)
{
    sum16 s = sum16_zero();
    FOR_VECTORS(j, a->n) {
        const vf q = load_at(a->q, j, a->n), key = load_at(k, j, a->n);
        vf *part = &s.part[j / VL % PARTIAL]; /* elements past n are 0 in both, and so is tanh of 0 */
        if (!additive)
            *part = v_fma(q, key, *part);
        else if (a->weight)
            *part = v_fma(load_at(a->weight, j, a->n), act_tanh(v_add(q, key)), *part);
        else
            *part = v_add(act_tanh(v_add(q, key)), *part);
    }
    return reduce16(&s) * a->scale;
}

static void fits(const lrt_fits_args *a)
{
    for (uint32_t i = 0; i < a->steps; i++) {
        const float *k = a->k + (ptrdiff_t)a->step[i] * a->k_step;
        a->y[i] = a->additive ? fit_of(a, k, 1) : fit_of(a, k, 0);
    }
}

#define WEIGHED 4 /* vectors side by side */

static LRT_INLINE void weigh_vectors(const lrt_weigh_args *a, size_t j, const unsigned vectors, const int whole)
{
    vf total[WEIGHED];
    EACH(c, vectors) total[c] = v_set1(0.0f);
    for (uint32_t i = 0; i < a->steps; i++) {
        const float *v = a->v + (ptrdiff_t)a->step[i] * a->v_step + j;
        const vf w = v_set1(a->w[i]);
        EACH(c, vectors) total[c] = v_fma(w, whole ? v_load(v + c * VL) : load_at(v, 0, a->n - j), total[c]);
    }
    EACH(c, vectors) {
        if (whole)
            v_store(a->y + j + c * VL, total[c]);
        else
            store_at(a->y + j, 0, a->n - j, total[c]);
    }
}

static void weigh(const lrt_weigh_args *a)
{
    size_t j = 0;
    for (; a->n - j >= WEIGHED * VL; j += WEIGHED * VL)
        weigh_vectors(a, j, WEIGHED, 1);
    for (; j < a->n; j += VL)
        weigh_vectors(a, j, 1, 0);
}

#endif
