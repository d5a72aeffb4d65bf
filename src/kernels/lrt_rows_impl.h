/* Rows of features: activations, normalisations, sums and products of two.
 *
 * What must not change without a new format of results: the sixteen partial sums of reduce16(). */
#ifndef LRT_ROWS_IMPL_H
#define LRT_ROWS_IMPL_H

#include "kernels/lrt_math_impl.h"

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
        FOR_VECTORS(j, n) store_at(y, j, n, activation(act, load_at(x, j, n)));
}

static void binary(enum lrt_binary op, const float *a, const float *b, float *y, size_t n)
{
    FOR_VECTORS(j, n) {
        vf r = op == LRT_MUL ? v_mul(load_at(a, j, n), load_at(b, j, n)) : v_add(load_at(a, j, n), load_at(b, j, n));
        store_at(y, j, n, op == LRT_AVERAGE ? v_mul(r, v_set1(0.5f)) : r);
    }
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
        store_at(y, j, n, r);
    }
}

static void divide(float *y, float by, size_t n)
{
    FOR_VECTORS(j, n) store_at(y, j, n, v_div(load_at(y, j, n), v_set1(by)));
}

#endif
