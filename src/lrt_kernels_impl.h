/* THE matrix products, activations and gate equations, written once over the vector vocabulary.
 * Each lrt_kernels_<isa>.c includes one lrt_vec_<isa>.h and then this file.
 *
 * What must not change without a new format of results: the order of the sums (over k, from the
 * initial value up) and, for reductions over features, the sixteen partial sums of reduce16(). */
#ifndef LRT_KERNELS_IMPL_H
#define LRT_KERNELS_IMPL_H

#include "lrt_kernels.h"

#if defined(__GNUC__)
#define LRT_INLINE inline __attribute__((always_inline))
#define LRT_ALIGNED __attribute__((aligned(64))) /* vectors that cross a cache line do not forward */
#else
#define LRT_INLINE inline
#define LRT_ALIGNED
#endif
#if VL <= 4 || defined(LRT_NO_UNROLL) /* narrow vectors: only larger code; sanitizers: minutes of compiling */
#define LRT_UNROLL_K
#elif defined(__clang__)
#define LRT_UNROLL_K _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define LRT_UNROLL_K _Pragma("GCC unroll 4")
#else
#define LRT_UNROLL_K
#endif
#if defined(LRT_NO_UNROLL)
#define LRT_UNROLL
#elif defined(__clang__)
#define LRT_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define LRT_UNROLL _Pragma("GCC unroll 16")
#else
#define LRT_UNROLL
#endif

/* ---- activations --------------------------------------------------------------------------- */

#define EXP_LIMIT 87.0f     /* |y| up to here keeps 2^n normal */
#define SIGMOID_LIMIT 40.0f /* from here on sigmoid is 1, and products of two such terms stay finite */
#define TANH_LIMIT 10.0f    /* from here on tanh is 1 */

static LRT_INLINE vf clamp(vf a, float lo, float hi) { return v_min(v_set1(hi), v_max(v_set1(lo), a)); }

/* Chains of dependent operations overlap only as far as the CPU looks ahead, so vectors go through
 * them side by side: n of them, n and everything about them but the numbers being constants. */
#define EACH(j) LRT_UNROLL for (unsigned j = 0; j < n; j++)
#define MAX_SIDE 12

/* exp(x) = s * (1 + p) with s = 2^m and p = expm1(x - m ln 2), for |x| <= EXP_LIMIT: the first `single`
 * of n vectors so, the others exp(2 x). Adding 0x1.8p23 rounds to an integer in the low bits. The
 * polynomial is a minimax fit on [-0.347, 0.347] (relative error 1.4e-8), evaluated in Estrin's order
 * for its short chain. One float for ln 2 is enough: it is 1.9e-9 off, so the result is at most
 * m * 1.9e-9 off. */
static LRT_INLINE void exp_parts(const unsigned n, const unsigned single, const vf *x, vf *s, vf *p)
{
    const vf magic = v_set1(0x1.8p23f);
    vf r[MAX_SIDE], r2[MAX_SIDE], lo[MAX_SIDE], hi[MAX_SIDE];
    EACH(j) s[j] = v_fma(x[j], v_set1(j < single ? 0x1.715476p0f : 0x1.715476p1f), magic);
    EACH(j) r[j] = v_sub(s[j], magic);
    EACH(j) r[j] = v_fnma(r[j], v_set1(0x1.62e43p-1f), j < single ? x[j] : v_add(x[j], x[j]));
    EACH(j) s[j] = v_pow2(s[j]);
    EACH(j) r2[j] = v_mul(r[j], r[j]);
    EACH(j) hi[j] = v_fma(v_set1(0.008366596f), r[j], v_set1(0.0416672f));
    EACH(j) lo[j] = v_fma(v_set1(0.16666543f), r[j], v_set1(0.49999997f));
    EACH(j) hi[j] = v_fma(v_set1(0.0013882507f), r2[j], hi[j]);
    EACH(j) hi[j] = v_fma(hi[j], r2[j], lo[j]);
    EACH(j) p[j] = v_fma(hi[j], r2[j], r[j]);
}

static LRT_INLINE vf exp_between(vf y, float lo, float hi)
{
    vf s, p;
    y = clamp(y, lo, hi);
    exp_parts(1, 1, &y, &s, &p);
    return v_fma(s, p, s);
}

/* exp(y) for y <= 0, exactly 0 below -EXP_LIMIT. */
static LRT_INLINE vf exp_nonpositive(vf y)
{
    return v_select(v_lt(y, v_set1(-EXP_LIMIT)), v_set1(0.0f), exp_between(y, -EXP_LIMIT, 0.0f));
}

static LRT_INLINE vf expm1_nonpositive(vf y)
{
    vf s, p;
    y = clamp(y, -EXP_LIMIT, 0.0f);
    exp_parts(1, 1, &y, &s, &p);
    return v_fma(s, p, v_sub(s, v_set1(1.0f)));
}

/* sigmoid(x) = e / (e + 1) with e = exp(x), of the first `sigmoids` of n vectors; of the others
 * tanh(x) = e / (e + 2) with e = expm1(2x), which does not cancel near 0. Numerator and denominator
 * apart, so that a product needs one division. The one is made from the other: their errors cancel. */
static LRT_INLINE void squash_parts(const unsigned n, const unsigned sigmoids, const vf *x, vf *num, vf *den)
{
    const vf one = v_set1(1.0f);
    vf y[MAX_SIDE], s[MAX_SIDE], p[MAX_SIDE];
    EACH(j) y[j] = v_max(v_set1(j < sigmoids ? -EXP_LIMIT : -TANH_LIMIT), x[j]);
    EACH(j) y[j] = v_min(v_set1(j < sigmoids ? SIGMOID_LIMIT : TANH_LIMIT), y[j]);
    exp_parts(n, sigmoids, y, s, p);
    EACH(j) num[j] = v_fma(s[j], p[j], j < sigmoids ? s[j] : v_sub(s[j], one));
    EACH(j) den[j] = v_add(num[j], j < sigmoids ? one : v_set1(2.0f));
}

static LRT_INLINE vf act_sigmoid(vf x)
{
    vf num, den;
    squash_parts(1, 1, &x, &num, &den);
    return v_div(num, den);
}

static LRT_INLINE vf act_tanh(vf x)
{
    vf num, den;
    squash_parts(1, 0, &x, &num, &den);
    return v_div(num, den);
}

/* log(a) for normal a > 0: a = 2^e m with m in [sqrt(1/2), sqrt(2)), minimax fit in m - 1.
 * NaN for what is not finite. */
static LRT_INLINE vf log_positive(vf a)
{
    vf e = v_exponent(a), m = v_mantissa(a);
    vm high = v_lt(v_set1(0x1.6a09e6p0f), m);
    e = v_select(high, v_add(e, v_set1(1.0f)), e);
    m = v_select(high, v_mul(m, v_set1(0.5f)), m);
    vf t = v_sub(m, v_set1(1.0f)), t2 = v_mul(t, t);
    vf q = v_fma(v_set1(0.0674459f), t, v_set1(-0.1167482f));
    q = v_fma(q, t, v_set1(0.11888588f));
    q = v_fma(q, t, v_set1(-0.12405753f));
    q = v_fma(q, t, v_set1(0.14219521f));
    q = v_fma(q, t, v_set1(-0.16667986f));
    q = v_fma(q, t, v_set1(0.20002119f));
    q = v_fma(q, t, v_set1(-0.2500001f));
    q = v_fma(q, t, v_set1(0.33333313f));
    vf tail = v_fma(v_mul(t2, t), q, v_mul(e, v_set1(0x1.7f7d1cp-20f)));
    tail = v_fma(v_set1(-0.5f), t2, tail);
    return v_add(v_fma(e, v_set1(0x1.62e4p-1f), v_add(t, tail)), v_sub(a, a));
}

/* log(1 + exp(x)) = max(x, 0) + log1p(u) with u = exp(-|x|); the quotient restores what 1 + u lost. */
static LRT_INLINE vf act_softplus(vf x)
{
    vf one = v_set1(1.0f);
    vf u = exp_nonpositive(v_sub(v_set1(0.0f), v_abs(x)));
    vf w = v_add(one, u);
    vf lost = v_div(v_sub(u, v_sub(w, one)), w);
    return v_add(v_max(v_set1(0.0f), x), v_add(log_positive(w), lost));
}

/* erf: odd minimax polynomial on [0, 1]; above, 1 - exp(P(|x|)) with P fitted to log(erfc). */
static LRT_INLINE vf erf_vec(vf x)
{
    vf a = v_min(v_set1(4.0f), v_abs(x));
    vf z = v_mul(x, x);
    vf lo = v_fma(v_set1(7.8538615e-05f), z, v_set1(-0.00080101937f));
    lo = v_fma(lo, z, v_set1(0.0051883277f));
    lo = v_fma(lo, z, v_set1(-0.026853813f));
    lo = v_fma(lo, z, v_set1(0.112835854f));
    lo = v_fma(lo, z, v_set1(-0.37612626f));
    lo = v_fma(lo, z, v_set1(1.1283791f));
    lo = v_mul(lo, x);
    vf hi = v_fma(v_set1(0.00018557401f), a, v_set1(-0.0029396072f));
    hi = v_fma(hi, a, v_set1(0.021805318f));
    hi = v_fma(hi, a, v_set1(-0.10303737f));
    hi = v_fma(hi, a, v_set1(-0.6382257f));
    hi = v_fma(hi, a, v_set1(-1.12704f));
    hi = v_fma(hi, a, v_set1(-0.00035371952f));
    hi = v_sub(v_set1(0.0f), expm1_nonpositive(hi));
    hi = v_select(v_lt(x, v_set1(0.0f)), v_sub(v_set1(0.0f), hi), hi);
    return v_select(v_lt(v_set1(1.0f), a), hi, lo);
}

static LRT_INLINE vf act_gelu(vf x)
{
    vf half = v_mul(v_set1(0.5f), x);
    return v_fma(half, erf_vec(v_mul(x, v_set1(0x1.6a09e6p-1f))), half);
}

static LRT_INLINE vf act_gelu_tanh(vf x)
{
    vf half = v_mul(v_set1(0.5f), x);
    vf inner = v_mul(v_set1(0.7978845608f), v_fma(v_mul(v_mul(x, x), x), v_set1(0.044715f), x));
    return v_fma(half, act_tanh(inner), half);
}

#define SELU_ALPHA 1.6732632423543772f
#define SELU_SCALE 1.0507009873554805f

static LRT_INLINE vf where_negative(vf x, vf negative, vf positive)
{
    return v_select(v_lt(x, v_set1(0.0f)), negative, positive);
}

/* Any elementwise activation. */
static vf activation(const lrt_act *act, vf x)
{
    switch (act->kind) {
    case LRT_ACT_SIGMOID: return act_sigmoid(x);
    case LRT_ACT_TANH: return act_tanh(x);
    case LRT_ACT_RELU: return v_max(v_set1(0.0f), x);
    case LRT_ACT_HARD_SIGMOID: return clamp(v_fma(x, v_set1(act->alpha), v_set1(act->beta)), 0.0f, 1.0f);
    case LRT_ACT_LEAKY_RELU: return where_negative(x, v_mul(x, v_set1(act->alpha)), x);
    case LRT_ACT_ELU: return where_negative(x, v_mul(v_set1(act->alpha), expm1_nonpositive(x)), x);
    case LRT_ACT_SELU:
        return v_mul(v_set1(SELU_SCALE), where_negative(x, v_mul(v_set1(SELU_ALPHA), expm1_nonpositive(x)), x));
    case LRT_ACT_SOFTPLUS: return act_softplus(x);
    case LRT_ACT_SOFTSIGN: return v_div(x, v_add(v_set1(1.0f), v_abs(x)));
    case LRT_ACT_SWISH: /* sigmoid never reaches 0, which large negative x would show */
        return v_select(v_lt(x, v_set1(-EXP_LIMIT)), v_set1(0.0f), v_mul(x, act_sigmoid(x)));
    case LRT_ACT_GELU: return act_gelu(x);
    case LRT_ACT_GELU_TANH: return act_gelu_tanh(x);
    default: return x;
    }
}

/* Inside gates: the first `firsts` of n vectors go through act s, the others through t, as quotients.
 * plain: these are sigmoid and tanh. */
static LRT_INLINE void gate_parts(const int plain, const unsigned n, const unsigned firsts, const lrt_act *s,
                                  const lrt_act *t, const vf *x, vf *num, vf *den)
{
    if (plain) {
        squash_parts(n, firsts, x, num, den);
        return;
    }
    EACH(j) num[j] = activation(j < firsts ? s : t, x[j]);
    EACH(j) den[j] = v_set1(1.0f);
}

/* ---- matrix products ------------------------------------------------------------------------ */

#define TILE_ROW 256 /* floats of a row of results that a tile may fill, spilled lanes included */

/* Vectors of one k of a panel: its last may reach into the next k, those lanes are dropped. */
#define VECTORS(gates, width) (((gates) * (width) + VL - 1) / VL)

/* Where no bias is given, sums start here. */
static const LRT_ALIGNED float zeros[TILE_ROW];

static void copy_floats(float *to, const float *from, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(to + i, v_load(from + i));
    for (; i < n; i++) /* single floats, unlike masked vectors, can be forwarded from the stores before */
        to[i] = from[i];
}

/* -- one row: as many panels side by side as there are accumulators for ------------------------- */

/* Full panels in flight, and whether the narrow panels of 8 and 4 units after them come along. */
typedef struct {
    uint32_t unit, panels, has8, has4;
} row_group;

/* y = init + x * w for one row, and the same with a second x and w on top, for the panels of one group,
 * all in the flat panel order. */
typedef struct {
    const float *init;
    unsigned n; /* of the products: 1 or 2 */
    struct {
        const float *x, *w;
        size_t k;
    } of[2];
} row_args;

static void add_product(row_args *a, const lrt_matrix *m, uint32_t unit, const float *x)
{
    a->of[a->n].x = x;
    a->of[a->n].w = m->w + (size_t)unit * m->gates * m->k;
    a->of[a->n].k = m->k;
    a->n++;
}

static LRT_INLINE void row_tile(const row_args *a, float *y, const unsigned gates, const unsigned np,
                                const unsigned has8, const unsigned has4)
{
    const unsigned full = VECTORS(gates, LRT_PANEL), n8 = has8 ? VECTORS(gates, 8) : 0;
    const unsigned n4 = has4 ? VECTORS(gates, 4) : 0;
    const size_t row = gates * LRT_PANEL;
    const float *init8 = a->init + np * row, *init4 = init8 + has8 * 8 * gates;
    float *y8 = y + np * row, *y4 = y8 + has8 * 8 * gates;
    vf acc[LRT_ROW_V > VECTORS(4, LRT_PANEL) ? LRT_ROW_V : VECTORS(4, LRT_PANEL)];
    vf acc8[VECTORS(4, 8)], acc4[VECTORS(4, 4)];

    LRT_UNROLL for (unsigned v = 0; v < np * full; v++)
        acc[v] = v_load(a->init + v * VL);
    LRT_UNROLL for (unsigned v = 0; v < n8; v++)
        acc8[v] = v_load(init8 + v * VL);
    LRT_UNROLL for (unsigned v = 0; v < n4; v++)
        acc4[v] = v_load(init4 + v * VL);
    for (unsigned product = 0; product < a->n; product++) {
        const size_t k = a->of[product].k;
        const float *x = a->of[product].x, *w = a->of[product].w;
        const float *w8 = w + np * row * k, *w4 = w8 + has8 * 8 * gates * k;
        LRT_UNROLL_K for (size_t i = 0; i < k; i++) {
            vf xv = v_set1(x[i]);
            LRT_UNROLL for (unsigned p = 0; p < np; p++)
                LRT_UNROLL for (unsigned v = 0; v < full; v++)
                    acc[p * full + v] = v_fma(xv, v_load(w + p * row * k + v * VL), acc[p * full + v]);
            LRT_UNROLL for (unsigned v = 0; v < n8; v++)
                acc8[v] = v_fma(xv, v_load(w8 + v * VL), acc8[v]);
            LRT_UNROLL for (unsigned v = 0; v < n4; v++)
                acc4[v] = v_fma(xv, v_load(w4 + v * VL), acc4[v]);
            w += row;
            w8 += 8 * gates;
            w4 += 4 * gates;
        }
    }
    /* In this order: lanes that spill over the end of a panel are overwritten by the next. */
    LRT_UNROLL for (unsigned v = 0; v < np * full; v++)
        v_store(y + v * VL, acc[v]);
    LRT_UNROLL for (unsigned v = 0; v < n8; v++)
        v_store(y8 + v * VL, acc8[v]);
    LRT_UNROLL for (unsigned v = 0; v < n4; v++)
        v_store(y4 + v * VL, acc4[v]);
}

/* Most full panels of one row in flight: a power of two. */
#define ROW_PANELS(gates) \
    (VECTORS(gates, LRT_PANEL) * 8 <= LRT_ROW_V   ? 8u \
     : VECTORS(gates, LRT_PANEL) * 4 <= LRT_ROW_V ? 4u \
     : VECTORS(gates, LRT_PANEL) * 2 <= LRT_ROW_V ? 2u \
                                                  : 1u)

/* Cases beyond ROW_PANELS are never reached; the constant condition drops their code. */
#define ROW_TAILS(gates, np)                                                               \
    case (np) * 4 + 0: if ((np) <= ROW_PANELS(gates)) row_tile(a, y, gates, np, 0, 0); break; \
    case (np) * 4 + 1: if ((np) <= ROW_PANELS(gates)) row_tile(a, y, gates, np, 0, 1); break; \
    case (np) * 4 + 2: if ((np) <= ROW_PANELS(gates)) row_tile(a, y, gates, np, 1, 0); break; \
    case (np) * 4 + 3: if ((np) <= ROW_PANELS(gates)) row_tile(a, y, gates, np, 1, 1); break;

#define ROW_PRODUCT(gates)                                                        \
    static void row_product_##gates(const row_args *a, const row_group *g, float *y)        \
    {                                                                             \
        switch (g->panels * 4 + g->has8 * 2 + g->has4) {                          \
        ROW_TAILS(gates, 0)                                                       \
        ROW_TAILS(gates, 1)                                                       \
        ROW_TAILS(gates, 2)                                                       \
        ROW_TAILS(gates, 4)                                                       \
        ROW_TAILS(gates, 8)                                                       \
        default: break;                                                           \
        }                                                                         \
    }
ROW_PRODUCT(1)
ROW_PRODUCT(2)
ROW_PRODUCT(3)
ROW_PRODUCT(4)

static unsigned row_panels(uint32_t gates)
{
    switch (gates) {
    case 1: return ROW_PANELS(1);
    case 2: return ROW_PANELS(2);
    case 3: return ROW_PANELS(3);
    default: return ROW_PANELS(4);
    }
}

static void row_product(uint32_t gates, const row_group *g, const row_args *a, float *y)
{
    switch (gates) {
    case 1: row_product_1(a, g, y); break;
    case 2: row_product_2(a, g, y); break;
    case 3: row_product_3(a, g, y); break;
    default: row_product_4(a, g, y); break;
    }
}

/* The groups of panels p0 to p1, in order: full panels in powers of two, the narrow ones with the last. */
static uint32_t next_row_group(const lrt_matrix *m, uint32_t p, uint32_t p1, row_group *g)
{
    uint32_t all = lrt_full_panels(m->units), full = (p1 < all ? p1 : all), tail = lrt_tail_units(m->units);
    g->unit = lrt_panel_start(m->units, p);
    g->panels = 0;
    g->has8 = g->has4 = 0;
    if (p < full) {
        g->panels = row_panels(m->gates);
        while (g->panels > full - p)
            g->panels /= 2;
        p += g->panels;
    }
    if (p >= full && p >= all) {
        if (tail > 4 && p == all && p < p1) {
            g->has8 = 1;
            p++;
        }
        if (p < p1) {
            g->has4 = 1;
            p++;
        }
    }
    return p;
}

/* -- blocks of rows ------------------------------------------------------------------------------ */

/* One register tile: y = init + x * w for some rows, np panels, nv vectors of each panel's row. */
typedef struct {
    const float *init[LRT_BLOCK_R];
    ptrdiff_t init_panel;
    const float *w;
    ptrdiff_t w_panel;
    size_t w_k; /* floats per k */
    const float *x[LRT_BLOCK_R];
    size_t k;
    float *y[LRT_BLOCK_R];
    ptrdiff_t y_panel;
    uintptr_t ahead; /* address from which to fetch a cache line per k meanwhile; need not be valid */
} tile_args;

#define LINE 16 /* floats of a cache line */
#if defined(__GNUC__)
#define LRT_PREFETCH(address) __builtin_prefetch((const void *)(address), 0, 2) /* to the second-level cache */
#else
#define LRT_PREFETCH(address) ((void)(address))
#endif

static LRT_INLINE void tile(const tile_args *t, const unsigned nr, const unsigned np, const unsigned nv)
{
    vf acc[LRT_BLOCK_R][LRT_BLOCK_V];
    const float *w = t->w, *x[LRT_BLOCK_R];
    uintptr_t ahead = t->ahead;
    const ptrdiff_t w_panel = t->w_panel;
    const size_t w_k = t->w_k, k = t->k;

    LRT_UNROLL for (unsigned r = 0; r < nr; r++) {
        x[r] = t->x[r];
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++)
                acc[r][p * nv + v] = v_load(t->init[r] + (ptrdiff_t)p * t->init_panel + v * VL);
    }
    LRT_UNROLL_K for (size_t i = 0; i < k; i++) {
        vf wv[LRT_BLOCK_V];
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++)
                wv[p * nv + v] = v_load(w + (ptrdiff_t)p * w_panel + v * VL);
        LRT_UNROLL for (unsigned r = 0; r < nr; r++) {
            vf xv = v_set1(x[r][i]);
            LRT_UNROLL for (unsigned v = 0; v < np * nv; v++)
                acc[r][v] = v_fma(xv, wv[v], acc[r][v]);
        }
        LRT_PREFETCH(ahead);
        w += w_k;
        ahead += LINE * sizeof(float);
    }
    LRT_UNROLL for (unsigned r = 0; r < nr; r++)
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++)
                v_store(t->y[r] + (ptrdiff_t)p * t->y_panel + v * VL, acc[r][p * nv + v]);
}

#define TILE(nr, np, nv) \
    case (np) * 8 + (nv): tile(t, (nr), (np), (nv)); break;
#if LRT_BLOCK_V >= 4
#define TILE_BLOCKS(nr) \
    TILE(nr, 1, 1) TILE(nr, 1, 2) TILE(nr, 2, 1) TILE(nr, 1, 3) TILE(nr, 1, 4) TILE(nr, 2, 2) TILE(nr, 4, 1)
#else
#define TILE_BLOCKS(nr) TILE(nr, 1, 1) TILE(nr, 1, 2) TILE(nr, 2, 1)
#endif
#define TILE_ROWS(nr)                                                              \
    static void tile_rows_##nr(const tile_args *t, unsigned np, unsigned nv)       \
    {                                                                              \
        switch (np * 8 + nv) {                                                     \
        TILE_BLOCKS(nr)                                                            \
        default: break;                                                            \
        }                                                                          \
    }
TILE_ROWS(2)
TILE_ROWS(3)
#if LRT_BLOCK_R >= 6
TILE_ROWS(4)
TILE_ROWS(5)
TILE_ROWS(6)
#endif

/* Rows of the next block of so many: blocks of even size, so that none is small. */
static unsigned block_rows(uint32_t rows)
{
    uint32_t blocks = (rows + LRT_BLOCK_R - 1) / LRT_BLOCK_R;
    return (rows + blocks - 1) / blocks;
}

static LRT_INLINE void tile_block(const tile_args *t, unsigned nr, unsigned np, unsigned nv)
{
    switch (nr) {
    case 2: tile_rows_2(t, np, nv); break;
    case 3: tile_rows_3(t, np, nv); break;
#if LRT_BLOCK_R >= 6
    case 4: tile_rows_4(t, np, nv); break;
    case 5: tile_rows_5(t, np, nv); break;
    case 6: tile_rows_6(t, np, nv); break;
#endif
    default: break;
    }
}

/* Panels of equal width that one register tile (or several, side by side) covers. */
typedef struct {
    uint32_t unit, width, panels;
    unsigned vectors;  /* per panel row */
    unsigned at_once;  /* vectors per tile and panel */
    size_t row_floats; /* gates * width */
    const float *w;
} panel_group;

static panel_group next_group(const lrt_matrix *m, uint32_t p, uint32_t p1)
{
    panel_group g;
    g.unit = lrt_panel_start(m->units, p);
    g.width = lrt_panel_width(m->units, p);
    g.row_floats = (size_t)m->gates * g.width;
    g.vectors = VECTORS(m->gates, g.width);
    g.at_once = g.vectors < LRT_BLOCK_V ? g.vectors : LRT_BLOCK_V;
    g.w = m->w + (size_t)g.unit * m->gates * m->k;
    g.panels = 1;
    if (g.width == LRT_PANEL) {
        uint32_t full = lrt_full_panels(m->units);
        uint32_t left = (p1 < full ? p1 : full) - p;
        while (g.panels * 2 <= left && g.panels * 2 * g.vectors <= LRT_BLOCK_V)
            g.panels *= 2;
    }
    return g;
}

/* y = init + x * W for nr rows, whose first is number `row` of all, and the panels of g; t has the
 * pointers to the rows. y rows hold whole vectors of each panel row. */
static LRT_INLINE void group_product(const lrt_matrix *m, const panel_group *g, uint32_t row, unsigned nr,
                                     tile_args *t)
{
    t->init_panel = (ptrdiff_t)g->row_floats;
    t->w_panel = (ptrdiff_t)(g->row_floats * m->k);
    t->w_k = g->row_floats;
    t->k = m->k;
    /* The first blocks of rows fetch the panels after these: the weights of large layers come from far. */
    t->ahead = (uintptr_t)g->w;
    if (row < LRT_BLOCK_R * g->panels * g->row_floats / LINE)
        t->ahead += m->k * (g->panels * g->row_floats + row / LRT_BLOCK_R * LINE) * sizeof(float);
    for (unsigned v = 0; v < g->vectors; v += g->at_once) {
        unsigned nv = g->vectors - v < g->at_once ? g->vectors - v : g->at_once;
        t->w = g->w + v * VL;
        tile_block(t, nr, g->panels, nv);
        for (unsigned r = 0; r < nr; r++) {
            t->init[r] += nv * VL;
            t->y[r] += nv * VL;
        }
    }
}

/* -- y = bias + x W ------------------------------------------------------------------------------- */

/* Floats of y that a group starting at `unit` fills: all its lanes, or only units that exist. */
static size_t wanted_floats(const lrt_linear_args *a, uint32_t unit, size_t per_row)
{
    size_t exist = a->m.units - unit;
    return a->padded || exist > per_row ? per_row : exist;
}

static void linear_row(const lrt_linear_args *a)
{
    LRT_ALIGNED float buf[TILE_ROW];
    const lrt_matrix *m = &a->m;
    float *y = a->y_at ? a->y_at[0] : a->y;
    row_args product;
    row_group g;
    for (uint32_t p = a->p0; p < a->p1;) {
        p = next_row_group(m, p, a->p1, &g);
        size_t first = (size_t)g.unit * m->gates;
        size_t per_row = (size_t)m->gates * (g.panels * LRT_PANEL + g.has8 * 8 + g.has4 * 4);
        product.init = a->bias ? a->bias + first : zeros;
        product.n = 0;
        add_product(&product, m, g.unit, a->x_at ? a->x_at[0] : a->x);
        row_product(m->gates, &g, &product, buf);
        copy_floats(y + first, buf, wanted_floats(a, g.unit, per_row));
    }
}

/* One group of panels of the rows, those of an outer round where they are not listed. */
static void linear_group(const lrt_linear_args *a, const panel_group *g, ptrdiff_t outer)
{
    LRT_ALIGNED float buf[LRT_BLOCK_R * TILE_ROW];
    const lrt_matrix *m = &a->m;
    const size_t first = (size_t)g->unit * m->gates, per_row = g->panels * g->row_floats;
    const size_t wanted = wanted_floats(a, g->unit, per_row);
    const float *bias = a->bias ? a->bias + first : zeros;
    /* Straight into y where the tile's vectors fill it exactly, else through a buffer. */
    const int direct = g->row_floats % VL == 0 && wanted == per_row;
    tile_args t;

    t.y_panel = (ptrdiff_t)g->row_floats;
    for (uint32_t r = 0; r < a->rows;) {
        unsigned nr = block_rows(a->rows - r);
        float *to[LRT_BLOCK_R];
        for (unsigned i = 0; i < nr; i++) {
            t.x[i] = a->x_at ? a->x_at[r + i] : a->x + outer * a->x_outer + (ptrdiff_t)(r + i) * a->x_row;
            to[i] = (a->y_at ? a->y_at[r + i] : a->y + outer * a->y_outer + (ptrdiff_t)(r + i) * a->y_row) + first;
            t.y[i] = direct ? to[i] : buf + i * TILE_ROW;
            t.init[i] = bias;
        }
        group_product(m, g, r, nr, &t);
        for (unsigned i = 0; i < nr && !direct; i++)
            copy_floats(to[i], buf + i * TILE_ROW, wanted);
        r += nr;
    }
}

static void linear(const lrt_linear_args *a)
{
    panel_group g;
    if (a->rows == 1 && a->outer == 0) {
        linear_row(a);
        return;
    }
    for (uint32_t p = a->p0; p < a->p1; p += g.panels) {
        g = next_group(&a->m, p, a->p1);
        for (ptrdiff_t o = 0; o <= (ptrdiff_t)a->outer; o++)
            linear_group(a, &g, o);
    }
}

/* ---- cells ---------------------------------------------------------------------------------- */

/* Where one vector of units of one row stands. */
typedef struct {
    uint32_t row, unit; /* unit: index of the first lane's unit in the layer */
    unsigned lanes;     /* units of this vector that exist in the panel */
    uint32_t width;     /* of the panel: distance of the gates in `z` */
    const float *z;     /* product, first gate */
    size_t pre;         /* offset of the first gate in pre-activations and biases */
} gate_at;

/* The gates of n vectors, n being a constant. */
typedef void gate_fn(const lrt_step_args *a, const gate_at *at, const unsigned n);

/* State rows and panel rows have room for every lane of a panel; lanes beyond are not touched,
 * and load as 0 so that stray bits never cost a denormal. */
static LRT_INLINE vf load_units(const float *p, const gate_at *at)
{
    return at->lanes == VL ? v_load(p) : v_load_n(p, at->lanes);
}

static LRT_INLINE void store_units(float *p, vf a, const gate_at *at)
{
    if (at->lanes == VL)
        v_store(p, a);
    else
        v_store_n(p, a, at->lanes);
}

/* Gate number `gate` of the product, of the pre-activations. */
static LRT_INLINE vf load_z(const gate_at *at, const unsigned gate)
{
    return load_units(at->z + gate * at->width, at);
}
static LRT_INLINE float *pre_at(const lrt_step_args *a, const gate_at *at, const unsigned gate)
{
    return a->pre + (ptrdiff_t)at->row * a->pre_row + at->pre + gate * at->width;
}
static LRT_INLINE vf load_pre(const lrt_step_args *a, const gate_at *at, const unsigned gate)
{
    return load_units(pre_at(a, at, gate), at);
}

static LRT_INLINE void store_h(const lrt_step_args *a, const gate_at *at, vf h)
{
    float *out = a->out ? a->out[at->row] + a->out_at : NULL;
    store_units(a->h_next + (ptrdiff_t)at->row * a->h_next_row + at->unit, h, at);
    if (out) {
        uint32_t exist = a->m.units - at->unit; /* out has no padding */
        if (exist >= VL && at->lanes == VL)
            v_store(out + at->unit, h);
        else
            v_store_n(out + at->unit, h, exist < at->lanes ? exist : at->lanes);
    }
}

static LRT_INLINE vf clip(const lrt_step_args *a, vf x)
{
    return a->clip > 0.0f ? clamp(x, -a->clip, a->clip) : x;
}

/* LSTM (Hochreiter & Schmidhuber 1997; forget gate Gers et al. 2000; peepholes Gers & Schmidhuber 2000):
 *   i = s(z_i + p_i c)  f = s(z_f + p_f c)  g = t(z_g)  c' = f c + i g  o = s(z_o + p_o c')  h = o t'(c')
 * plain: sigmoid and tanh, no clip, no peepholes. */
static LRT_INLINE void lstm_gates(const lrt_step_args *a, const gate_at *at, const unsigned n, const int plain)
{
    const uint32_t padded = lrt_padded_units(a->m.units);
    vf z[MAX_SIDE], num[MAX_SIDE], den[MAX_SIDE], c[MAX_SIDE]; /* i, f and g of n vectors, then o and c' */
    float *c_at[MAX_SIDE];

    EACH(j) c_at[j] = a->c + (ptrdiff_t)at[j].row * a->c_row + at[j].unit;
    EACH(j) c[j] = load_units(c_at[j], &at[j]);
    EACH(j) z[j] = load_z(&at[j], 0);
    EACH(j) z[n + j] = load_z(&at[j], 1);
    EACH(j) z[2 * n + j] = load_z(&at[j], 2);
    if (!plain) {
        EACH(j) if (a->peephole) {
            const float *peep = a->peephole + at[j].unit;
            z[j] = v_fma(load_units(peep, &at[j]), c[j], z[j]);
            z[n + j] = v_fma(load_units(peep + padded, &at[j]), c[j], z[n + j]);
        }
        LRT_UNROLL for (unsigned j = 0; j < 3 * n; j++)
            z[j] = clip(a, z[j]);
    }
    gate_parts(plain, 3 * n, 2 * n, &a->act[0], &a->act[1], z, num, den);
    EACH(j) {
        vf ig = v_div(v_mul(num[j], num[2 * n + j]), v_mul(den[j], den[2 * n + j]));
        z[n + j] = c[j] = v_fma(v_div(num[n + j], den[n + j]), c[j], ig);
    }
    EACH(j) store_units(c_at[j], c[j], &at[j]);
    EACH(j) z[j] = load_z(&at[j], 3);
    if (!plain) {
        EACH(j) if (a->peephole)
            z[j] = v_fma(load_units(a->peephole + 2 * padded + at[j].unit, &at[j]), c[j], z[j]);
        EACH(j) z[j] = clip(a, z[j]);
    }
    gate_parts(plain, 2 * n, n, &a->act[0], &a->act[2], z, num, den);
    EACH(j) store_h(a, &at[j], v_div(v_mul(num[j], num[n + j]), v_mul(den[j], den[n + j])));
}

static LRT_INLINE void lstm_plain(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    lstm_gates(a, at, n, 1);
}
static LRT_INLINE void lstm_any(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    lstm_gates(a, at, n, 0);
}

/* The blend that ends both forms of the GRU: h' = (1 - z) n + z h = n + z (h - n). */
static LRT_INLINE void gru_blend(const lrt_step_args *a, const gate_at *at, vf z, vf n, vf h)
{
    store_h(a, at, v_fma(z, v_sub(h, n), n));
}

/* GRU, reset after the product (cuDNN, PyTorch, Keras reset_after):
 *   r = s(x_r + h_r)  z = s(x_z + h_z)  n = t(x_n + r h_n)
 * x: pre, h: the recurrent product with its own bias. */
static LRT_INLINE void gru_gates(const lrt_step_args *a, const gate_at *at, const unsigned n, const int plain)
{
    vf z[MAX_SIDE], num[MAX_SIDE], den[MAX_SIDE], update[MAX_SIDE]; /* r and z of n vectors, then n */

    EACH(j) z[j] = v_add(load_pre(a, &at[j], 0), load_z(&at[j], 0));
    EACH(j) z[n + j] = v_add(load_pre(a, &at[j], 1), load_z(&at[j], 1));
    LRT_UNROLL for (unsigned j = 0; j < 2 * n; j++)
        z[j] = plain ? z[j] : clip(a, z[j]);
    gate_parts(plain, 2 * n, 2 * n, &a->act[0], NULL, z, num, den);
    EACH(j) z[j] = v_fma(v_div(num[j], den[j]), load_z(&at[j], 2), load_pre(a, &at[j], 2));
    EACH(j) update[j] = v_div(num[n + j], den[n + j]);
    EACH(j) z[j] = plain ? z[j] : clip(a, z[j]);
    gate_parts(plain, n, 0, NULL, &a->act[1], z, num, den);
    EACH(j) {
        const float *h = a->h_prev + (ptrdiff_t)at[j].row * a->h_prev_row + at[j].unit;
        gru_blend(a, &at[j], update[j], v_div(num[j], den[j]), load_units(h, &at[j]));
    }
}

static LRT_INLINE void gru_plain(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    gru_gates(a, at, n, 1);
}
static LRT_INLINE void gru_any(const lrt_step_args *a, const gate_at *at, const unsigned n) { gru_gates(a, at, n, 0); }

/* GRU, reset before the product (Cho et al. 2014), first half: r and z from the product over h;
 * h_next = r * h feeds the second half, z waits in the place of its pre-activation. */
static LRT_INLINE void gru_reset_gates(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    EACH(j) {
        vf r = activation(&a->act[0], clip(a, v_add(load_pre(a, &at[j], 0), load_z(&at[j], 0))));
        vf z = activation(&a->act[0], clip(a, v_add(load_pre(a, &at[j], 1), load_z(&at[j], 1))));
        vf h = load_units(a->h_prev + (ptrdiff_t)at[j].row * a->h_prev_row + at[j].unit, &at[j]);
        store_units(pre_at(a, &at[j], 1), z, &at[j]);
        store_h(a, &at[j], v_mul(r, h));
    }
}

/* Second half: n = t(x_n + U (r h)). */
static LRT_INLINE void gru_candidate_gates(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    EACH(j) {
        vf z = load_pre(a, &at[j], 1);
        vf new = activation(&a->act[1], clip(a, v_add(load_pre(a, &at[j], 2), load_z(&at[j], 0))));
        const float *h = a->h_old + (ptrdiff_t)at[j].row * a->h_old_row + at[j].unit;
        gru_blend(a, &at[j], z, new, load_units(h, &at[j]));
    }
}

/* Simple RNN (Elman 1990): h' = t(x + U h). */
static LRT_INLINE void rnn_gates(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    EACH(j) store_h(a, &at[j], activation(&a->act[0], clip(a, load_z(&at[j], 0))));
}

/* -- one step ------------------------------------------------------------------------------------- */

/* Vector v of one panel of one row. */
static LRT_INLINE gate_at vector_at(uint32_t row, uint32_t unit, uint32_t width, unsigned v, const float *z,
                                    const uint32_t pre_gates)
{
    gate_at at;
    at.row = row;
    at.unit = unit + v * VL;
    at.lanes = VL <= 4 || width >= VL ? VL : width;
    at.width = width;
    at.z = z + v * VL;
    at.pre = (size_t)unit * pre_gates + v * VL;
    return at;
}

/* The gates of `all` vectors, as many side by side as there are registers for. */
static LRT_INLINE void gates_side_by_side(const lrt_step_args *a, const gate_at *at, const unsigned all,
                                          const unsigned side, gate_fn *gates)
{
    LRT_UNROLL for (unsigned j = 0; j < all; j += side)
        gates(a, at + j, all - j < side ? all - j : side);
}

/* One panel of nr rows whose products are z_row floats apart: a vector at a time, or vectors of several
 * rows side by side. */
static LRT_INLINE void rows_of_width(const lrt_step_args *a, const uint32_t *row, unsigned nr, uint32_t unit,
                                     const uint32_t width, const float *z, size_t z_row, const uint32_t pre_gates,
                                     gate_fn *gates, const unsigned side)
{
    const unsigned vectors = (width + VL - 1) / VL, together = side > vectors ? side / vectors : 1;
    gate_at at[MAX_SIDE];
    unsigned r = 0;
    if (side == 1) {
        for (; r < nr; r++)
            for (unsigned v = 0; v < vectors; v++) {
                at[0] = vector_at(row[r], unit, width, v, z + r * z_row, pre_gates);
                gates(a, at, 1);
            }
        return;
    }
    for (; r + together <= nr; r += together) {
        LRT_UNROLL for (unsigned i = 0; i < together * vectors; i++)
            at[i] = vector_at(row[r + i / vectors], unit, width, i % vectors, z + (r + i / vectors) * z_row, pre_gates);
        gates_side_by_side(a, at, together * vectors, side, gates);
    }
    for (; together > 1 && r < nr; r++) {
        LRT_UNROLL for (unsigned v = 0; v < vectors; v++)
            at[v] = vector_at(row[r], unit, width, v, z + r * z_row, pre_gates);
        gates_side_by_side(a, at, vectors, side, gates);
    }
}

/* Panels have three widths, at least 4: with wider vectors than that, constants make each case free of
 * branches. */
static LRT_INLINE void panel_gates(const lrt_step_args *a, const uint32_t *row, unsigned nr, uint32_t unit,
                                   uint32_t width, const float *z, size_t z_row, const uint32_t pre_gates,
                                   gate_fn *gates, const unsigned side)
{
    if (side == 1 && VL <= 4)
        rows_of_width(a, row, nr, unit, width, z, z_row, pre_gates, gates, 1);
    else if (width == LRT_PANEL)
        rows_of_width(a, row, nr, unit, LRT_PANEL, z, z_row, pre_gates, gates, side);
    else if (width == 8)
        rows_of_width(a, row, nr, unit, 8, z, z_row, pre_gates, gates, side);
    else
        rows_of_width(a, row, nr, unit, 4, z, z_row, pre_gates, gates, side);
}

/* Product and gates of one row of a group: where vectors fill panels, sums stay in registers on the way. */
static LRT_INLINE void fused_group(const lrt_step_args *a, const row_group *g, const row_args *product,
                                   const unsigned n_gates, gate_fn *gates, const unsigned np, const unsigned has8,
                                   const unsigned has4)
{
    LRT_ALIGNED float z[TILE_ROW];
    const unsigned width[] = {LRT_PANEL, LRT_PANEL, 8, 4};
    const unsigned panels[] = {np > 0, np > 1, has8, has4};
    gate_at at[MAX_SIDE];
    unsigned n = 0, unit = 0;
    row_tile(product, z, n_gates, np, has8, has4);
    LRT_UNROLL for (unsigned i = 0; i < 4; i++) {
        if (!panels[i])
            continue;
        LRT_UNROLL for (unsigned v = 0; v < (width[i] + VL - 1) / VL; v++)
            at[n++] = vector_at(a->row[0], g->unit + unit, width[i], v, z + unit * n_gates, n_gates);
        unit += width[i];
    }
    gates_side_by_side(a, at, n, LRT_SIDE, gates);
}

/* A cell whose steps of one row are worth much code: a case for each group of panels. */
#define FUSED_TAILS(gates, n, np)                                                            \
    case (np) * 4 + 0: if ((np) <= ROW_PANELS(n)) fused_group(a, g, p, n, gates, np, 0, 0); break; \
    case (np) * 4 + 1: if ((np) <= ROW_PANELS(n)) fused_group(a, g, p, n, gates, np, 0, 1); break; \
    case (np) * 4 + 2: if ((np) <= ROW_PANELS(n)) fused_group(a, g, p, n, gates, np, 1, 0); break; \
    case (np) * 4 + 3: if ((np) <= ROW_PANELS(n)) fused_group(a, g, p, n, gates, np, 1, 1); break;

#define FUSED_CELL(name, n)                                                                  \
    static void name##_group(const lrt_step_args *a, const row_group *g, const row_args *p)  \
    {                                                                                        \
        switch (g->panels * 4 + g->has8 * 2 + g->has4) {                                     \
        FUSED_TAILS(name, n, 0)                                                              \
        FUSED_TAILS(name, n, 1)                                                              \
        FUSED_TAILS(name, n, 2)                                                              \
        default: break;                                                                      \
        }                                                                                    \
    }
typedef char all_groups_are_cases[(ROW_PANELS(3) <= 2 && ROW_PANELS(4) <= 2) || LRT_SIDE == 1 ? 1 : -1];
FUSED_CELL(lstm_plain, 4)
FUSED_CELL(gru_plain, 3)

typedef void group_fn(const lrt_step_args *a, const row_group *g, const row_args *product);

/* Gates of one row of a group, panel by panel. */
static LRT_INLINE void narrow_group(const lrt_step_args *a, const row_group *g, const row_args *product,
                                    const uint32_t pre_gates, gate_fn *gates)
{
    LRT_ALIGNED float z[TILE_ROW];
    const uint32_t unit8 = g->unit + g->panels * LRT_PANEL, unit4 = unit8 + g->has8 * 8, end = unit4 + g->has4 * 4;
    row_product(a->m.gates, g, product, z);
    for (uint32_t unit = g->unit; unit < end;) {
        uint32_t width = unit < unit8 ? LRT_PANEL : unit < unit4 ? 8 : 4;
        panel_gates(a, a->row, 1, unit, width, z + (size_t)(unit - g->unit) * a->m.gates, 0, pre_gates, gates, 1);
        unit += width;
    }
}

/* Where the sums of a step start: at the pre-activations, or (gru) at the recurrent bias. */
static LRT_INLINE const float *init_of(const lrt_step_args *a, const int from_pre, uint32_t row)
{
    return from_pre ? a->pre + (ptrdiff_t)row * a->pre_row : a->bias_hh;
}

/* From one of several steps to the next. */
static LRT_INLINE void next_step(lrt_step_args *a)
{
    float *h_prev = a->h_prev;
    a->h_prev = a->h_next;
    a->h_next = h_prev;
    a->x = a->x ? a->x + a->x_step : NULL;
    a->pre += a->pre_step;
    a->out_at += a->out_step;
    a->backward = !a->backward;
}

static LRT_INLINE void run_group(const lrt_step_args *a, const row_group *g, const int from_pre,
                                 const uint32_t pre_gates, gate_fn *gates, group_fn *fused)
{
    const size_t first = (size_t)g->unit * a->m.gates;
    row_args product;
    product.n = 0;
    if (from_pre && a->x) {
        product.init = a->bias_in ? a->bias_in + first : zeros;
        add_product(&product, &a->w_in, g->unit, a->x);
    } else {
        product.init = init_of(a, from_pre, a->row[0]) + first;
    }
    add_product(&product, &a->m, g->unit, a->h_prev + (ptrdiff_t)a->row[0] * a->h_prev_row);
    if (fused)
        fused(a, g, &product);
    else
        narrow_group(a, g, &product, pre_gates, gates);
}

#define MAX_GROUPS 64u /* of one row that are walked forth and back; weights beyond exceed any cache */

/* One row. Walked backwards every other step, weights that just exceed a cache are read first where
 * they were read last, and are still there. */
static LRT_INLINE void run_row(lrt_step_args *a, const int from_pre, const uint32_t pre_gates, gate_fn *gates,
                               group_fn *fused)
{
    row_group groups[MAX_GROUPS];
    uint32_t n = 0, first = a->p0;
    while (n < MAX_GROUPS && first < a->p1)
        first = next_row_group(&a->m, first, a->p1, &groups[n++]);
    for (uint32_t s = a->steps; s > 0; s--) {
        for (uint32_t i = 0; i < n; i++)
            run_group(a, &groups[a->backward ? n - 1 - i : i], from_pre, pre_gates, gates, fused);
        for (uint32_t p = first; p < a->p1;) {
            row_group g;
            p = next_row_group(&a->m, p, a->p1, &g);
            run_group(a, &g, from_pre, pre_gates, gates, fused);
        }
        next_step(a);
    }
}

/* A block of rows of a group of panels. */
static LRT_INLINE void run_block(const lrt_step_args *a, const panel_group *g, uint32_t r, unsigned nr,
                                 const int from_pre, const uint32_t pre_gates, gate_fn *gates, const unsigned side)
{
    LRT_ALIGNED float buf[LRT_BLOCK_R * TILE_ROW];
    const uint32_t *row = a->row + r;
    tile_args t;
    for (unsigned i = 0; i < nr; i++) {
        t.init[i] = init_of(a, from_pre, row[i]) + (size_t)g->unit * a->m.gates;
        t.x[i] = a->h_prev + (ptrdiff_t)row[i] * a->h_prev_row;
        t.y[i] = buf + i * TILE_ROW;
    }
    t.y_panel = (ptrdiff_t)g->vectors * VL;
    group_product(&a->m, g, r, nr, &t);
    for (unsigned q = 0; q < g->panels; q++)
        panel_gates(a, row, nr, g->unit + q * LRT_PANEL, g->width, buf + (size_t)(q * g->vectors * VL), TILE_ROW,
                    pre_gates, gates, side);
}

static LRT_INLINE void run_rows(lrt_step_args *a, const int from_pre, const uint32_t pre_gates, gate_fn *gates,
                                const unsigned side)
{
    for (uint32_t s = a->steps; s > 0; s--) {
        panel_group g;
        for (uint32_t p = a->p0; p < a->p1; p += g.panels) {
            g = next_group(&a->m, p, a->p1);
            for (uint32_t r = 0; r < a->rows;) {
                unsigned nr = block_rows(a->rows - r);
                run_block(a, &g, r, nr, from_pre, pre_gates, gates, side);
                r += nr;
            }
        }
        next_step(a);
    }
}

/* Product and gates of every step, row and panel; pre-activations have pre_gates gates per unit. fused:
 * one row of a whole group at once, or NULL to go panel by panel. */
static LRT_INLINE void run_steps(const lrt_step_args *args, const int from_pre, const uint32_t pre_gates,
                                 gate_fn *gates, group_fn *fused)
{
    lrt_step_args a = *args;
    if (a.rows == 1)
        run_row(&a, from_pre, pre_gates, gates, fused);
    else
        run_rows(&a, from_pre, pre_gates, gates, fused ? LRT_SIDE_ROWS : 1u);
}

static int is_plain(const lrt_step_args *a)
{
    return a->act[0].kind == LRT_ACT_SIGMOID && a->act[1].kind == LRT_ACT_TANH && !(a->clip > 0.0f);
}

static void lstm_step(const lrt_step_args *a)
{
    if (is_plain(a) && a->act[2].kind == LRT_ACT_TANH && !a->peephole)
        run_steps(a, 1, 4, lstm_plain, LRT_SIDE > 1 ? lstm_plain_group : NULL);
    else
        run_steps(a, 1, 4, lstm_any, NULL);
}

static void gru_step(const lrt_step_args *a)
{
    if (is_plain(a))
        run_steps(a, 0, 3, gru_plain, LRT_SIDE > 1 ? gru_plain_group : NULL);
    else
        run_steps(a, 0, 3, gru_any, NULL);
}

static void gru_reset_step(const lrt_step_args *a)
{
    run_steps(a, 0, 3, gru_reset_gates, NULL);
}

static void gru_candidate_step(const lrt_step_args *a)
{
    run_steps(a, 0, 3, gru_candidate_gates, NULL);
}

static void rnn_step(const lrt_step_args *a)
{
    run_steps(a, 1, 1, rnn_gates, NULL);
}


/* ---- rows of features ------------------------------------------------------------------------ */

static LRT_INLINE unsigned lanes_at(size_t n, size_t j) { return n - j < VL ? (unsigned)(n - j) : VL; }

#define FOR_VECTORS(n) for (size_t j = 0; j < (n); j += VL)
#define LOAD(p) (n - j < VL ? v_load_n((p) + j, lanes_at(n, j)) : v_load((p) + j))
#define STORE(p, value)                                 \
    do {                                                \
        vf stored_ = (value);                           \
        if (n - j < VL)                                 \
            v_store_n((p) + j, stored_, lanes_at(n, j)); \
        else                                            \
            v_store((p) + j, stored_);                  \
    } while (0)

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

/* Lanes past n must not count: they are set to 0. */
static LRT_INLINE void sum16_add(sum16 *s, size_t j, size_t n, vf a)
{
    float t[VL];
    if (n - j < VL) {
        v_store(t, a);
        a = v_load_n(t, lanes_at(n, j));
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
    FOR_VECTORS(n) {
        vf e = exp_nonpositive(v_sub(LOAD(x), top));
        sum16_add(&s, j, n, e);
        STORE(y, e);
    }
    vf total = v_set1(reduce16(&s));
    FOR_VECTORS(n) STORE(y, v_div(LOAD(y), total));
}

static void log_softmax(const float *x, float *y, size_t n)
{
    float top = row_max(x, n), log_total[VL];
    sum16 s = sum16_zero();
    FOR_VECTORS(n) sum16_add(&s, j, n, exp_nonpositive(v_sub(LOAD(x), v_set1(top))));
    v_store(log_total, log_positive(v_set1(reduce16(&s))));
    FOR_VECTORS(n) STORE(y, v_sub(v_sub(LOAD(x), v_set1(top)), v_set1(log_total[0])));
}

static void activate(const lrt_act *act, const float *x, float *y, size_t n)
{
    if (act->kind == LRT_ACT_SOFTMAX)
        softmax(x, y, n);
    else if (act->kind == LRT_ACT_LOG_SOFTMAX)
        log_softmax(x, y, n);
    else
        FOR_VECTORS(n) STORE(y, activation(act, LOAD(x)));
}

static void binary(enum lrt_binary op, const float *a, const float *b, float *y, size_t n)
{
    FOR_VECTORS(n) {
        vf r = op == LRT_MUL ? v_mul(LOAD(a), LOAD(b)) : v_add(LOAD(a), LOAD(b));
        STORE(y, op == LRT_AVERAGE ? v_mul(r, v_set1(0.5f)) : r);
    }
}

/* gamma, beta: n floats each, or NULL for 1 and 0. */
static void layernorm(const float *x, const float *gamma, const float *beta, float eps, float *y, size_t n)
{
    sum16 s = sum16_zero(), s2 = sum16_zero();
    float inv = 1.0f / (float)n, t[VL];
    FOR_VECTORS(n) sum16_add(&s, j, n, LOAD(x));
    vf mean = v_set1(reduce16(&s) * inv);
    FOR_VECTORS(n) {
        vf d = v_sub(LOAD(x), mean);
        sum16_add(&s2, j, n, v_mul(d, d));
    }
    v_store(t, v_sqrt(v_set1(reduce16(&s2) * inv + eps)));
    vf scale = v_set1(1.0f / t[0]);
    FOR_VECTORS(n) {
        vf v = v_mul(v_sub(LOAD(x), mean), scale);
        v = gamma ? v_mul(v, LOAD(gamma)) : v;
        STORE(y, beta ? v_add(v, LOAD(beta)) : v);
    }
}

static void batchnorm(const float *x, const float *mean, const float *scale, const float *beta, float *y, size_t n)
{
    FOR_VECTORS(n) STORE(y, v_fma(v_sub(LOAD(x), LOAD(mean)), LOAD(scale), LOAD(beta)));
}

#define LRT_KERNEL_TABLE(symbol, isa_name, is_fused, usable_fn)                                              \
    const lrt_kernels symbol = {isa_name, VL, is_fused, usable_fn, linear, lstm_step, gru_step, gru_reset_step, \
                                gru_candidate_step, rnn_step, activate, binary, layernorm, batchnorm}

#endif
