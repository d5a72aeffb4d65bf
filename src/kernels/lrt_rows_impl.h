/* Rows of features: activations, normalisations, ops on two, and rows to a number.
 *
 * What must not change without a new format of results: the sixteen partial sums of reduce16(). */
#ifndef LRT_ROWS_IMPL_H
#define LRT_ROWS_IMPL_H

#include <stddef.h>

#include "kernels/lrt_math_impl.h"
#include "kernels/lrt_row_ops.h"

/* ---- rows of features ------------------------------------------------------------------------ */

static LRT_INLINE unsigned left_at(size_t n, size_t j) { return n - j < VL ? (unsigned)(n - j) : VL; }

#define FOR_VECTORS(j, n) for (size_t j = 0; j < (n); j += VL)

/* Features j to j + VL of n, or as many as there are. */
static LRT_INLINE vf load_at(const float *p, size_t j, size_t n)
{
    return n - j < VL ? v_load_n(p + j, left_at(n, j)) : v_load(p + j);
}
static LRT_INLINE void store_at(float *p, size_t j, size_t n, vf a)
{
    if (n - j < VL)
        v_store_n(p + j, a, left_at(n, j));
    else
        v_store(p + j, a);
}

/* Sums over features run in sixteen partial sums (feature j goes to j % 16), joined as a tree. */
#define PARTIAL (16 / VL)
typedef struct {
    vf part[PARTIAL];
} sum16;

static LRT_INLINE sum16 sum16_zero(void)
{
    sum16 s;
    for (unsigned i = 0; i < PARTIAL; i++)
        s.part[i] = v_set1(0.0f);
    return s;
}

static LRT_INLINE float reduce16(const sum16 *s)
{
    float t[16];
    for (unsigned i = 0; i < PARTIAL; i++)
        v_store(t + i * VL, s->part[i]);
    for (unsigned half = 8; half > 0; half /= 2)
        for (unsigned i = 0; i < half; i++)
            t[i] += t[i + half];
    return t[0];
}

/* Elements past n must not count: they are set to 0. */
static LRT_INLINE void sum16_add(sum16 *s, size_t j, size_t n, vf a)
{
    float t[VL];
    if (n - j < VL) {
        v_store(t, a);
        a = v_load_n(t, left_at(n, j));
    }
    s->part[j / VL % PARTIAL] = v_add(s->part[j / VL % PARTIAL], a);
}

static float row_max(const float *x, size_t n)
{
    float best = x[0];
    for (size_t j = 1; j < n; j++)
        best = x[j] > best || x[j] != x[j] ? x[j] : best; /* a NaN stays */
    return best;
}

static void softmax(const float *x, float *y, size_t n)
{
    vf top = v_set1(row_max(x, n));
    sum16 s = sum16_zero();
    FOR_VECTORS(j, n) {
        vf e = exp_nonpositive(v_sub(load_at(x, j, n), top));
        sum16_add(&s, j, n, e);
        store_at(y, j, n, e);
    }
    vf total = v_set1(reduce16(&s));
    FOR_VECTORS(j, n) store_at(y, j, n, v_div(load_at(y, j, n), total));
}

static void log_softmax(const float *x, float *y, size_t n)
{
    float top = row_max(x, n), log_total[VL];
    sum16 s = sum16_zero();
    FOR_VECTORS(j, n) sum16_add(&s, j, n, exp_nonpositive(v_sub(load_at(x, j, n), v_set1(top))));
    v_store(log_total, log_positive(v_set1(reduce16(&s))));
    FOR_VECTORS(j, n) store_at(y, j, n, v_sub(v_sub(load_at(x, j, n), v_set1(top)), v_set1(log_total[0])));
}

static void activate(const lrt_act *act, const float *x, float *y, size_t n)
{
    if (act->kind == LRT_ACT_SOFTMAX)
        softmax(x, y, n);
    else if (act->kind == LRT_ACT_LOG_SOFTMAX)
        log_softmax(x, y, n);
    else
        FOR_VECTORS(j, n) store_at(y, j, n, settled(activation(act, load_at(x, j, n))));
}

static LRT_INLINE vf of_two(enum lrt_binary op, vf a, vf b)
{
    switch (op) {
    case LRT_SUB: return v_sub(a, b);
    case LRT_MUL: return v_mul(a, b);
    case LRT_DIV: return v_div(a, b);
    case LRT_MAXIMUM: return settled(unless_nan(b, v_max(b, a)));
    case LRT_MINIMUM: return settled(unless_nan(b, v_min(b, a)));
    case LRT_POW: return v_power(a, b);
    case LRT_AVERAGE: return v_mul(v_add(a, b), v_set1(0.5f));
    default: return v_add(a, b);
    }
}

static void binary(const lrt_two *two, float *y, size_t n)
{
    const vf a = v_set1(two->a[0]), b = v_set1(two->b[0]);
    FOR_VECTORS(j, n)
        store_at(y, j, n, of_two(two->op, two->one_a ? a : load_at(two->a, j, n), two->one_b ? b : load_at(two->b, j, n)));
}

static void prelu(const float *x, const float *alpha, float *y, size_t n)
{
    FOR_VECTORS(j, n) {
        vf v = load_at(x, j, n);
        store_at(y, j, n, where_negative(v, v_mul(load_at(alpha, j, n), v), v));
    }
}

/* The root of the sum of squares. */
static float length_of(const float *x, size_t n)
{
    sum16 s = sum16_zero();
    float t[VL];
    FOR_VECTORS(j, n) {
        vf v = load_at(x, j, n);
        sum16_add(&s, j, n, v_mul(v, v));
    }
    v_store(t, v_sqrt(v_set1(reduce16(&s))));
    return t[0];
}

static void l2norm(const float *x, float eps, float *y, size_t n)
{
    const vf length = v_max(v_set1(eps), v_set1(length_of(x, n)));
    FOR_VECTORS(j, n) store_at(y, j, n, v_div(load_at(x, j, n), length));
}

static float reduce(enum lrt_reduction kind, const float *x, size_t n)
{
    sum16 s = sum16_zero();
    float p = x[0];
    if (kind == LRT_REDUCE_MAX)
        return row_max(x, n) * ONE_UNKNOWN;
    if (kind == LRT_REDUCE_L2)
        return length_of(x, n);
    for (size_t j = 1; j < n && kind == LRT_REDUCE_MIN; j++)
        p = x[j] < p || x[j] != x[j] ? x[j] : p;
    for (size_t j = 1; j < n && kind == LRT_REDUCE_PROD; j++)
        p *= x[j];
    if (kind == LRT_REDUCE_MIN || kind == LRT_REDUCE_PROD)
        return p * ONE_UNKNOWN;
    FOR_VECTORS(j, n) sum16_add(&s, j, n, load_at(x, j, n));
    return kind == LRT_REDUCE_MEAN ? reduce16(&s) / (float)n : reduce16(&s);
}

/* gamma, beta: n floats each, or NULL for 1 and 0. */
static void layernorm(const float *x, const float *gamma, const float *beta, float eps, float *y, size_t n)
{
    sum16 s = sum16_zero(), s2 = sum16_zero();
    float inv = 1.0f / (float)n, t[VL];
    FOR_VECTORS(j, n) sum16_add(&s, j, n, load_at(x, j, n));
    vf mean = v_set1(reduce16(&s) * inv);
    FOR_VECTORS(j, n) {
        vf d = v_sub(load_at(x, j, n), mean);
        sum16_add(&s2, j, n, v_mul(d, d));
    }
    v_store(t, v_sqrt(v_set1(reduce16(&s2) * inv + eps)));
    vf scale = v_set1(1.0f / t[0]);
    FOR_VECTORS(j, n) {
        vf v = v_mul(v_sub(load_at(x, j, n), mean), scale);
        v = gamma ? v_mul(v, load_at(gamma, j, n)) : v;
        store_at(y, j, n, beta ? v_add(v, load_at(beta, j, n)) : v);
    }
}

static void batchnorm(const float *x, const float *mean, const float *scale, const float *beta, float *y, size_t n)
{
    FOR_VECTORS(j, n) store_at(y, j, n, v_fma(v_sub(load_at(x, j, n), load_at(mean, j, n)), load_at(scale, j, n), load_at(beta, j, n)));
}

/* ---- places of windows ---------------------------------------------------------------------------- */

static void by_channel(const float *const *x, const float *w, const float *init, float *y, size_t k, size_t n)
{
    FOR_VECTORS(j, n) {
        vf sum = load_at(init, j, n);
        for (size_t i = 0; i < k; i++)
            sum = v_fma(load_at(x[i], j, n), load_at(w + i * n, j, n), sum);
        store_at(y, j, n, sum);
    }
}

/* The larger; NaN where one of them is: v_max keeps one of b, and adding to 0 changes nothing but brings back one of a. */
static LRT_INLINE vf larger(vf a, vf b)
{
    const vf r = v_max(a, b), zero = v_set1(0.0f);
    return v_select(v_lt(a, zero), r, v_select(v_lt(zero, a), r, v_add(a, r)));
}

static void fold(int largest, const float *const *x, const float *init, float *y, size_t k, size_t n)
{
    FOR_VECTORS(j, n) {
        vf r = load_at(init ? init : x[0], j, n);
        for (size_t i = init ? 0 : 1; i < k; i++)
            r = largest ? larger(r, load_at(x[i], j, n)) : v_add(r, load_at(x[i], j, n));
        store_at(y, j, n, settled(r));
    }
}

static void divide(float *y, float by, size_t n)
{
    FOR_VECTORS(j, n) store_at(y, j, n, v_div(load_at(y, j, n), v_set1(by)));
}

/* ---- F(2 x 2, 3 x 3), Lavin and Gray 2015 -------------------------------------------------------------- */

/* Four places of a line, or four lines of places, into the four that are multiplied. */
static LRT_INLINE void before_products(const vf *x, const unsigned apart, vf *y)
{
    y[0] = v_sub(x[0], x[2 * apart]);
    y[1] = v_add(x[apart], x[2 * apart]);
    y[2] = v_sub(x[2 * apart], x[apart]);
    y[3] = v_sub(x[apart], x[3 * apart]);
}

/* Four products into the two windows. */
static LRT_INLINE void after_products(const vf *m, vf *y)
{
    y[0] = v_add(v_add(m[0], m[1]), m[2]);
    y[1] = v_sub(v_sub(m[1], m[2]), m[3]);
}

static void winograd_in(const float *const *x, float *v, size_t apart, size_t n)
{
    FOR_VECTORS(j, n) {
        vf in[4], lines[16], out[4];
        LRT_UNROLL for (unsigned a = 0; a < 4; a++) {
            LRT_UNROLL for (unsigned b = 0; b < 4; b++)
                in[b] = load_at(x[4 * a + b], j, n);
            before_products(in, 1, lines + 4 * a);
        }
        LRT_UNROLL for (unsigned b = 0; b < 4; b++) {
            before_products(lines + b, 4, out);
            LRT_UNROLL for (unsigned a = 0; a < 4; a++)
                store_at(v + (4 * a + b) * apart, j, n, out[a]);
        }
    }
}

static void winograd_out(const float *m, size_t apart, const float *bias, float *const *y, size_t n)
{
    FOR_VECTORS(j, n) {
        const vf start = load_at(bias, j, n);
        vf in[4], lines[8], out[2];
        LRT_UNROLL for (unsigned b = 0; b < 4; b++) {
            LRT_UNROLL for (unsigned a = 0; a < 4; a++)
                in[a] = load_at(m + (4 * a + b) * apart, j, n);
            after_products(in, out);
            lines[b] = out[0];
            lines[4 + b] = out[1];
        }
        LRT_UNROLL for (unsigned a = 0; a < 2; a++) {
            after_products(lines + 4 * a, out);
            LRT_UNROLL for (unsigned b = 0; b < 2; b++)
                if (y[2 * a + b])
                    store_at(y[2 * a + b], j, n, v_add(start, out[b]));
        }
    }
}

#endif
