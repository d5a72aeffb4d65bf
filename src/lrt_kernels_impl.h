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
#if defined(__clang__)
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

/* exp(f x) = s * (1 + p) with s = 2^n and p = expm1(f x - n ln 2), for |f x| <= EXP_LIMIT and f a
 * power of two. Adding 0x1.8p23 rounds to an integer in the low bits. The polynomial is a minimax
 * fit on [-0.347, 0.347] (relative error 1.4e-8), evaluated in Estrin's order for its short chain.
 * One float for ln 2 is enough: it is 1.9e-9 off, so the result is at most n * 1.9e-9 off. */
static LRT_INLINE vf exp_parts(const float f, vf x, vf *s)
{
    const vf magic = v_set1(0x1.8p23f);
    vf m = v_fma(x, v_set1(f * 0x1.715476p0f), magic);
    vf n = v_sub(m, magic);
    vf y = f == 1.0f ? x : v_mul(x, v_set1(f));
    vf r = v_fnma(n, v_set1(0x1.62e43p-1f), y);
    vf r2 = v_mul(r, r);
    vf lo = v_fma(v_set1(0.16666543f), r, v_set1(0.49999997f));
    vf hi = v_fma(v_set1(0.008366596f), r, v_set1(0.0416672f));
    hi = v_fma(v_set1(0.0013882507f), r2, hi);
    *s = v_pow2(m);
    return v_fma(v_fma(hi, r2, lo), r2, r);
}

static LRT_INLINE vf exp_between(vf y, float lo, float hi)
{
    vf s, p = exp_parts(1.0f, clamp(y, lo, hi), &s);
    return v_fma(s, p, s);
}

/* exp(y) for y <= 0, exactly 0 below -EXP_LIMIT. */
static LRT_INLINE vf exp_nonpositive(vf y)
{
    return v_select(v_lt(y, v_set1(-EXP_LIMIT)), v_set1(0.0f), exp_between(y, -EXP_LIMIT, 0.0f));
}

static LRT_INLINE vf expm1_nonpositive(vf y)
{
    vf s, p = exp_parts(1.0f, clamp(y, -EXP_LIMIT, 0.0f), &s);
    return v_fma(s, p, v_sub(s, v_set1(1.0f)));
}

/* sigmoid(x) = e / (e + 1) with e = exp(x); tanh(x) = e / (e + 2) with e = expm1(2x), which does
 * not cancel near 0. Numerator and denominator apart, so that a product needs one division. */
static LRT_INLINE vf sigmoid_parts(vf x, vf *den)
{
    vf e = exp_between(x, -EXP_LIMIT, SIGMOID_LIMIT);
    *den = v_add(e, v_set1(1.0f));
    return e;
}
static LRT_INLINE vf tanh_parts(vf x, vf *den)
{
    vf s, p = exp_parts(2.0f, clamp(x, -TANH_LIMIT, TANH_LIMIT), &s);
    vf e = v_fma(s, p, v_sub(s, v_set1(1.0f)));
    *den = v_add(e, v_set1(2.0f));
    return e;
}

static LRT_INLINE vf act_sigmoid(vf x)
{
    vf den, num = sigmoid_parts(x, &den);
    return v_div(num, den);
}

static LRT_INLINE vf act_tanh(vf x)
{
    vf den, num = tanh_parts(x, &den);
    return v_div(num, den);
}

static LRT_INLINE vf sigmoid_times_tanh(vf a, vf b)
{
    vf den_a, den_b, num_a = sigmoid_parts(a, &den_a), num_b = tanh_parts(b, &den_b);
    return v_div(v_mul(num_a, num_b), v_mul(den_a, den_b));
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

/* Inside a gate: with plain the usual sigmoid or tanh, inlined, else whatever the model says. */
static LRT_INLINE vf gate_sigmoid(const int plain, const lrt_act *act, vf x)
{
    return plain ? act_sigmoid(x) : activation(act, x);
}
static LRT_INLINE vf gate_tanh(const int plain, const lrt_act *act, vf x)
{
    return plain ? act_tanh(x) : activation(act, x);
}
static LRT_INLINE vf gate_product(const int plain, const lrt_act *s, vf a, const lrt_act *t, vf b)
{
    return plain ? sigmoid_times_tanh(a, b) : v_mul(activation(s, a), activation(t, b));
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
    if (i < n)
        v_store_n(to + i, v_load_n(from + i, (unsigned)(n - i)), (unsigned)(n - i));
}

/* -- one row: as many panels side by side as there are accumulators for ------------------------- */

/* Full panels in flight, and whether the narrow panels of 8 and 4 units after them come along. */
typedef struct {
    uint32_t unit, panels, has8, has4;
} row_group;

/* y = init + x * w for one row of x and the panels of one group, all in the flat panel order. */
typedef struct {
    const float *init, *w, *x;
    size_t k;
    float *y;
} row_args;

static LRT_INLINE void row_tile(const row_args *a, const unsigned gates, const unsigned np, const unsigned has8,
                                const unsigned has4)
{
    const unsigned full = VECTORS(gates, LRT_PANEL), n8 = has8 ? VECTORS(gates, 8) : 0;
    const unsigned n4 = has4 ? VECTORS(gates, 4) : 0;
    const size_t k = a->k, row = gates * LRT_PANEL;
    const float *x = a->x, *w = a->w, *w8 = w + np * row * k, *w4 = w8 + has8 * 8 * gates * k;
    const float *init8 = a->init + np * row, *init4 = init8 + has8 * 8 * gates;
    float *y8 = a->y + np * row, *y4 = y8 + has8 * 8 * gates;
    vf acc[LRT_ROW_V > VECTORS(4, LRT_PANEL) ? LRT_ROW_V : VECTORS(4, LRT_PANEL)];
    vf acc8[VECTORS(4, 8)], acc4[VECTORS(4, 4)];

    LRT_UNROLL for (unsigned v = 0; v < np * full; v++)
        acc[v] = v_load(a->init + v * VL);
    LRT_UNROLL for (unsigned v = 0; v < n8; v++)
        acc8[v] = v_load(init8 + v * VL);
    LRT_UNROLL for (unsigned v = 0; v < n4; v++)
        acc4[v] = v_load(init4 + v * VL);
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
    /* In this order: lanes that spill over the end of a panel are overwritten by the next. */
    LRT_UNROLL for (unsigned v = 0; v < np * full; v++)
        v_store(a->y + v * VL, acc[v]);
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
    case (np) * 4 + 0: if ((np) <= ROW_PANELS(gates)) row_tile(a, gates, np, 0, 0); break; \
    case (np) * 4 + 1: if ((np) <= ROW_PANELS(gates)) row_tile(a, gates, np, 0, 1); break; \
    case (np) * 4 + 2: if ((np) <= ROW_PANELS(gates)) row_tile(a, gates, np, 1, 0); break; \
    case (np) * 4 + 3: if ((np) <= ROW_PANELS(gates)) row_tile(a, gates, np, 1, 1); break;

#define ROW_PRODUCT(gates)                                                        \
    static void row_product_##gates(const row_args *a, const row_group *g)        \
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

static void row_product(const lrt_matrix *m, const row_group *g, const float *init, const float *x, float *y)
{
    row_args a;
    a.init = init;
    a.w = m->w + (size_t)g->unit * m->gates * m->k;
    a.x = x;
    a.k = m->k;
    a.y = y;
    switch (m->gates) {
    case 1: row_product_1(&a, g); break;
    case 2: row_product_2(&a, g); break;
    case 3: row_product_3(&a, g); break;
    default: row_product_4(&a, g); break;
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

/* One register tile: y = init + x * w for nr rows, np panels, nv vectors of each panel's row. */
typedef struct {
    const float *init;
    ptrdiff_t init_row, init_panel;
    const float *w;
    ptrdiff_t w_panel;
    size_t w_k; /* floats per k */
    const float *x;
    ptrdiff_t x_row;
    size_t k;
    float *y;
    ptrdiff_t y_row, y_panel;
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
    const float *w = t->w, *x = t->x;
    uintptr_t ahead = t->ahead;
    const ptrdiff_t w_panel = t->w_panel, x_row = t->x_row;
    const size_t w_k = t->w_k;

    LRT_UNROLL for (unsigned r = 0; r < nr; r++)
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++)
                acc[r][p * nv + v] =
                    v_load(t->init + (ptrdiff_t)r * t->init_row + (ptrdiff_t)p * t->init_panel + v * VL);
    LRT_UNROLL_K for (size_t k = t->k; k > 0; k--) {
        vf wv[LRT_BLOCK_V];
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++)
                wv[p * nv + v] = v_load(w + (ptrdiff_t)p * w_panel + v * VL);
        LRT_UNROLL for (unsigned r = 0; r < nr; r++) {
            vf xv = v_set1(x[(ptrdiff_t)r * x_row]);
            LRT_UNROLL for (unsigned v = 0; v < np * nv; v++)
                acc[r][v] = v_fma(xv, wv[v], acc[r][v]);
        }
        LRT_PREFETCH(ahead);
        w += w_k;
        x++;
        ahead += LINE * sizeof(float);
    }
    LRT_UNROLL for (unsigned r = 0; r < nr; r++)
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++)
                v_store(t->y + (ptrdiff_t)r * t->y_row + (ptrdiff_t)p * t->y_panel + v * VL, acc[r][p * nv + v]);
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

/* Rows of the next block: never leaves a single row behind. */
static unsigned block_rows(uint32_t rows)
{
#if LRT_BLOCK_R >= 6
    if (rows <= 6)
        return rows;
    return rows == 7 ? 4 : 6;
#else
    return rows <= 3 ? rows : 2;
#endif
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

/* y = init + x * W for nr rows (from `row` on) and the panels of g; y rows hold whole vectors of each
 * panel row. */
static LRT_INLINE void group_product(const lrt_matrix *m, const panel_group *g, uint32_t row, unsigned nr,
                                     const float *init, ptrdiff_t init_row, const float *x, ptrdiff_t x_row,
                                     float *y, ptrdiff_t y_row, ptrdiff_t y_panel)
{
    tile_args t;
    t.init_row = init_row;
    t.init_panel = (ptrdiff_t)g->row_floats;
    t.w_panel = (ptrdiff_t)(g->row_floats * m->k);
    t.w_k = g->row_floats;
    t.x = x;
    t.x_row = x_row;
    t.k = m->k;
    t.y_row = y_row;
    t.y_panel = y_panel;
    /* The first blocks of rows fetch the panels after these: the weights of large layers come from far. */
    t.ahead = (uintptr_t)g->w;
    if (row < LRT_BLOCK_R * g->panels * g->row_floats / LINE)
        t.ahead += m->k * (g->panels * g->row_floats + row / LRT_BLOCK_R * LINE) * sizeof(float);
    for (unsigned v = 0; v < g->vectors; v += g->at_once) {
        unsigned nv = g->vectors - v < g->at_once ? g->vectors - v : g->at_once;
        t.init = init + v * VL;
        t.w = g->w + v * VL;
        t.y = y + v * VL;
        tile_block(&t, nr, g->panels, nv);
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
    row_group g;
    for (uint32_t p = a->p0; p < a->p1;) {
        p = next_row_group(m, p, a->p1, &g);
        size_t first = (size_t)g.unit * m->gates;
        size_t per_row = (size_t)m->gates * (g.panels * LRT_PANEL + g.has8 * 8 + g.has4 * 4);
        row_product(m, &g, a->bias ? a->bias + first : zeros, a->x, buf);
        copy_floats(a->y + first, buf, wanted_floats(a, g.unit, per_row));
    }
}

/* Rows x, y of one group of panels. */
static void linear_group(const lrt_linear_args *a, const panel_group *g, const float *x, float *y)
{
    LRT_ALIGNED float buf[LRT_BLOCK_R * TILE_ROW];
    const lrt_matrix *m = &a->m;
    const size_t first = (size_t)g->unit * m->gates, per_row = g->panels * g->row_floats;
    const size_t wanted = wanted_floats(a, g->unit, per_row);
    const float *bias = a->bias ? a->bias + first : zeros;
    /* Straight into y where the tile's vectors fill it exactly, else through a buffer. */
    const int direct = g->row_floats % VL == 0 && wanted == per_row;

    y += first;
    for (uint32_t r = 0; r < a->rows;) {
        unsigned nr = block_rows(a->rows - r);
        const float *xr = x + (ptrdiff_t)r * a->x_row;
        float *yr = y + (ptrdiff_t)r * a->y_row;
        if (direct) {
            group_product(m, g, r, nr, bias, 0, xr, a->x_row, yr, a->y_row, (ptrdiff_t)g->row_floats);
        } else {
            group_product(m, g, r, nr, bias, 0, xr, a->x_row, buf, TILE_ROW, (ptrdiff_t)g->row_floats);
            for (unsigned i = 0; i < nr; i++)
                copy_floats(yr + (ptrdiff_t)i * a->y_row, buf + i * TILE_ROW, wanted);
        }
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
            linear_group(a, &g, a->x + o * a->x_outer, a->y + o * a->y_outer);
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

typedef void gate_fn(const lrt_step_args *a, const gate_at *at);

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

static LRT_INLINE void store_h(const lrt_step_args *a, const gate_at *at, vf h)
{
    float *out = a->out ? a->out[at->row] : NULL;
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
static LRT_INLINE void lstm_gates(const lrt_step_args *a, const gate_at *at, const int plain)
{
    const lrt_act *s = &a->act[0], *t = &a->act[1], *t2 = &a->act[2];
    float *c_at = a->c + (ptrdiff_t)at->row * a->c_row + at->unit;
    vf c = load_units(c_at, at);
    vf i = load_units(at->z, at), f = load_units(at->z + at->width, at);
    vf g = load_units(at->z + 2 * at->width, at), o = load_units(at->z + 3 * at->width, at);
    const float *peep = NULL;

    if (!plain) {
        if (a->peephole) {
            uint32_t padded = lrt_padded_units(a->m.units);
            peep = a->peephole + at->unit;
            i = v_fma(load_units(peep, at), c, i);
            f = v_fma(load_units(peep + padded, at), c, f);
            peep += 2 * padded;
        }
        i = clip(a, i);
        f = clip(a, f);
        g = clip(a, g);
    }
    c = v_fma(gate_sigmoid(plain, s, f), c, gate_product(plain, s, i, t, g));
    if (!plain) {
        if (peep)
            o = v_fma(load_units(peep, at), c, o);
        o = clip(a, o);
    }
    store_units(c_at, c, at);
    store_h(a, at, gate_product(plain, s, o, t2, c));
}

static LRT_INLINE void lstm_plain(const lrt_step_args *a, const gate_at *at) { lstm_gates(a, at, 1); }
static LRT_INLINE void lstm_any(const lrt_step_args *a, const gate_at *at) { lstm_gates(a, at, 0); }

/* The blend that ends both forms of the GRU: h' = (1 - z) n + z h = n + z (h - n). */
static LRT_INLINE void gru_blend(const lrt_step_args *a, const gate_at *at, vf z, vf n, const float *h)
{
    vf old = load_units(h + at->unit, at);
    store_h(a, at, v_fma(z, v_sub(old, n), n));
}

/* GRU, reset after the product (cuDNN, PyTorch, Keras reset_after):
 *   r = s(x_r + h_r)  z = s(x_z + h_z)  n = t(x_n + r h_n)
 * x: pre, h: the recurrent product with its own bias. */
static LRT_INLINE void gru_gates(const lrt_step_args *a, const gate_at *at, const int plain)
{
    const float *x = a->pre + (ptrdiff_t)at->row * a->pre_row + at->pre;
    vf zr = v_add(load_units(x, at), load_units(at->z, at));
    vf zz = v_add(load_units(x + at->width, at), load_units(at->z + at->width, at));
    vf xn = load_units(x + 2 * at->width, at), hn = load_units(at->z + 2 * at->width, at);
    vf r = gate_sigmoid(plain, &a->act[0], plain ? zr : clip(a, zr));
    vf z = gate_sigmoid(plain, &a->act[0], plain ? zz : clip(a, zz));
    vf zn = v_fma(r, hn, xn);
    vf n = gate_tanh(plain, &a->act[1], plain ? zn : clip(a, zn));
    gru_blend(a, at, z, n, a->h_prev + (ptrdiff_t)at->row * a->h_prev_row);
}

static LRT_INLINE void gru_plain(const lrt_step_args *a, const gate_at *at) { gru_gates(a, at, 1); }
static LRT_INLINE void gru_any(const lrt_step_args *a, const gate_at *at) { gru_gates(a, at, 0); }

/* GRU, reset before the product (Cho et al. 2014), first half: r and z from the product over h;
 * h_next = r * h feeds the second half, z waits in the place of its pre-activation. */
static LRT_INLINE void gru_reset_gates(const lrt_step_args *a, const gate_at *at)
{
    float *x = a->pre + (ptrdiff_t)at->row * a->pre_row + at->pre;
    vf r = activation(&a->act[0], clip(a, v_add(load_units(x, at), load_units(at->z, at))));
    vf z = activation(&a->act[0],
                      clip(a, v_add(load_units(x + at->width, at), load_units(at->z + at->width, at))));
    vf h = load_units(a->h_prev + (ptrdiff_t)at->row * a->h_prev_row + at->unit, at);
    store_units(x + at->width, z, at);
    store_h(a, at, v_mul(r, h));
}

/* Second half: n = t(x_n + U (r h)). */
static LRT_INLINE void gru_candidate_gates(const lrt_step_args *a, const gate_at *at)
{
    const float *x = a->pre + (ptrdiff_t)at->row * a->pre_row + at->pre;
    vf z = load_units(x + at->width, at);
    vf n = activation(&a->act[1], clip(a, v_add(load_units(x + 2 * at->width, at), load_units(at->z, at))));
    gru_blend(a, at, z, n, a->h_old + (ptrdiff_t)at->row * a->h_old_row);
}

/* Simple RNN (Elman 1990): h' = t(x + U h). */
static LRT_INLINE void rnn_gates(const lrt_step_args *a, const gate_at *at)
{
    store_h(a, at, activation(&a->act[0], clip(a, load_units(at->z, at))));
}

static LRT_INLINE void width_gates(const lrt_step_args *a, uint32_t row, uint32_t unit, const uint32_t width,
                                   const float *z, uint32_t pre_gates, gate_fn *gates)
{
    gate_at at;
    at.row = row;
    at.width = width;
    at.lanes = VL <= 4 || width >= VL ? VL : width;
    for (uint32_t u = 0; u < width; u += VL) {
        at.unit = unit + u;
        at.z = z + u;
        at.pre = (size_t)unit * pre_gates + u;
        gates(a, &at);
    }
}

/* Gates of one row of one panel. Panels are at least 4 wide: only with wider vectors does it help to
 * make the widths constants, and so each case free of branches. */
static LRT_INLINE void panel_gates(const lrt_step_args *a, uint32_t row, uint32_t unit, uint32_t width,
                                   const float *z, uint32_t pre_gates, gate_fn *gates)
{
    if (VL <= 4)
        width_gates(a, row, unit, width, z, pre_gates, gates);
    else if (width == LRT_PANEL)
        width_gates(a, row, unit, LRT_PANEL, z, pre_gates, gates);
    else if (width == 8)
        width_gates(a, row, unit, 8, z, pre_gates, gates);
    else
        width_gates(a, row, unit, 4, z, pre_gates, gates);
}

#define MAX_GROUPS 64u /* of one row that may be walked backwards; weights beyond exceed any cache */

static LRT_INLINE void run_group(const lrt_step_args *a, const row_group *g, const float *init, uint32_t pre_gates,
                                 gate_fn *gates)
{
    LRT_ALIGNED float buf[TILE_ROW];
    const uint32_t n = a->m.gates, unit8 = g->unit + g->panels * LRT_PANEL, unit4 = unit8 + g->has8 * 8;
    const uint32_t end = unit4 + g->has4 * 4;
    row_product(&a->m, g, init + (size_t)g->unit * n, a->h_prev, buf);
    for (uint32_t unit = g->unit; unit < end;) {
        uint32_t width = unit < unit8 ? LRT_PANEL : unit < unit4 ? 8 : 4;
        panel_gates(a, 0, unit, width, buf + (size_t)(unit - g->unit) * n, pre_gates, gates);
        unit += width;
    }
}

/* One row. Walked backwards every other step, weights that just exceed a cache are read first where
 * they were read last, and are still there. */
static LRT_INLINE void run_step_row(const lrt_step_args *a, const float *init, uint32_t pre_gates, gate_fn *gates)
{
    row_group groups[MAX_GROUPS];
    uint32_t n, p = a->p0;
    do {
        for (n = 0; n < MAX_GROUPS && p < a->p1; n++)
            p = next_row_group(&a->m, p, a->p1, &groups[n]);
        for (uint32_t i = 0; i < n; i++)
            run_group(a, &groups[a->backward ? n - 1 - i : i], init, pre_gates, gates);
    } while (p < a->p1);
}

/* Product and gates of every row and panel of one step. The product of row r starts at
 * init + r * init_row; pre-activations have pre_gates gates per unit. */
static LRT_INLINE void run_step(const lrt_step_args *a, const float *init, ptrdiff_t init_row, uint32_t pre_gates,
                                gate_fn *gates)
{
    LRT_ALIGNED float buf[LRT_BLOCK_R * TILE_ROW];
    const lrt_matrix *m = &a->m;
    panel_group g;

    if (a->rows == 1) {
        run_step_row(a, init, pre_gates, gates);
        return;
    }
    for (uint32_t p = a->p0; p < a->p1; p += g.panels) {
        g = next_group(m, p, a->p1);
        size_t tile_panel = (size_t)g.vectors * VL;
        const float *start = init + (size_t)g.unit * m->gates;
        for (uint32_t r = 0; r < a->rows;) {
            unsigned nr = block_rows(a->rows - r);
            group_product(m, &g, r, nr, start + (ptrdiff_t)r * init_row, init_row,
                          a->h_prev + (ptrdiff_t)r * a->h_prev_row, a->h_prev_row, buf, TILE_ROW,
                          (ptrdiff_t)tile_panel);
            for (unsigned i = 0; i < nr; i++)
                for (unsigned q = 0; q < g.panels; q++)
                    panel_gates(a, r + i, g.unit + q * LRT_PANEL, g.width, buf + i * TILE_ROW + q * tile_panel,
                                pre_gates, gates);
            r += nr;
        }
    }
}

static int is_plain(const lrt_step_args *a)
{
    return a->act[0].kind == LRT_ACT_SIGMOID && a->act[1].kind == LRT_ACT_TANH && !(a->clip > 0.0f);
}

static void lstm_step(const lrt_step_args *a)
{
    if (is_plain(a) && a->act[2].kind == LRT_ACT_TANH && !a->peephole)
        run_step(a, a->pre, a->pre_row, 4, lstm_plain);
    else
        run_step(a, a->pre, a->pre_row, 4, lstm_any);
}

static void gru_step(const lrt_step_args *a)
{
    run_step(a, a->bias_hh, 0, 3, is_plain(a) ? gru_plain : gru_any);
}

static void gru_reset_step(const lrt_step_args *a)
{
    run_step(a, a->bias_hh, 0, 3, gru_reset_gates);
}

static void gru_candidate_step(const lrt_step_args *a)
{
    run_step(a, a->bias_hh, 0, 3, gru_candidate_gates);
}

static void rnn_step(const lrt_step_args *a)
{
    run_step(a, a->pre, a->pre_row, 1, rnn_gates);
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
