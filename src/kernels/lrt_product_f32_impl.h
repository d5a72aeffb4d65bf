/* THE matrix products of float32, written once over the vector vocabulary.
 *
 * What must not change without a new format of results: the order of the sums, over k from the initial value up. */
#ifndef LRT_PRODUCT_F32_IMPL_H
#define LRT_PRODUCT_F32_IMPL_H

#include "kernels/lrt_kernels.h"
#include "kernels/lrt_math_impl.h"
#include "kernels/lrt_panels.h"

/* ---- matrix products ------------------------------------------------------------------------ */

#define TILE_FLOATS (VL == 1 ? 128u : 256u) /* of one row of results that a tile may fill, what spills over a panel's end included */

/* Vectors of one k of a panel: its last may reach into the next k, those elements are dropped. */
#define VECTORS(gates, width) (((gates) * (width) + VL - 1) / VL)

/* Where no bias is given, sums start here. */
static const LRT_ALIGNED float zeros[TILE_FLOATS];

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
    a->of[a->n].w = (const float *)m->w + (size_t)unit * m->gates * m->k;
    a->of[a->n].k = m->k;
    a->n++;
}

/* The sums of a group of panels of one row: of `full` vectors from number `first` of each of np full ones and, where the
 * layer has them, of the narrow two. All counts are constants where this is inlined, so that the sums stay in registers
 * from the first input to the last. */
static LRT_INLINE void row_sums(const row_args *a, float *y, const unsigned gates, const unsigned np, const unsigned first,
                                const unsigned full, const unsigned has8, const unsigned has4)
{
    const unsigned n8 = has8 ? VECTORS(gates, 8) : 0, n4 = has4 ? VECTORS(gates, 4) : 0;
    const size_t row = gates * LRT_PANEL;
    const float *init = a->init + first * VL, *init8 = a->init + np * row, *init4 = init8 + has8 * 8 * gates;
    float *y8 = y + np * row, *y4 = y8 + has8 * 8 * gates;
    vf acc[LRT_ROW_V] LRT_SET, acc8[VECTORS(4, 8)], acc4[VECTORS(4, 4)];

    LRT_UNROLL for (unsigned v = 0; v < np * full; v++)
        acc[v] = v_load(init + v * VL);
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
                    acc[p * full + v] = v_fma(xv, v_load(w + p * row * k + (first + v) * VL), acc[p * full + v]);
            LRT_UNROLL for (unsigned v = 0; v < n8; v++)
                acc8[v] = v_fma(xv, v_load(w8 + v * VL), acc8[v]);
            LRT_UNROLL for (unsigned v = 0; v < n4; v++)
                acc4[v] = v_fma(xv, v_load(w4 + v * VL), acc4[v]);
            w += row;
            w8 += 8 * gates;
            w4 += 4 * gates;
        }
    }
    /* In this order: elements that spill over the end of a panel are overwritten by the next. */
    LRT_UNROLL for (unsigned v = 0; v < np * full; v++)
        v_store(y + (first + v) * VL, acc[v]);
    LRT_UNROLL for (unsigned v = 0; v < n8; v++)
        v_store(y8 + v * VL, acc8[v]);
    LRT_UNROLL for (unsigned v = 0; v < n4; v++)
        v_store(y4 + v * VL, acc4[v]);
}

/* The same of whole panels, in pieces of these where there are too few registers for one. */
static LRT_INLINE void row_tile(const row_args *a, float *y, const unsigned gates, const unsigned np, const unsigned has8,
                                const unsigned has4)
{
    const unsigned full = VECTORS(gates, LRT_PANEL), pieces = (full + LRT_ROW_V - 1) / LRT_ROW_V;
    if (pieces == 1) {
        row_sums(a, y, gates, np, 0, full, has8, has4);
        return;
    }
    LRT_UNROLL for (unsigned i = 0; i < np * pieces; i++) /* np is 1 or 0 */
        row_sums(a, y, gates, 1, i * full / pieces, (i + 1) * full / pieces - i * full / pieces, 0, 0);
    if (has8 || has4)
        row_sums(a, y, gates, np, 0, 0, has8, has4);
}

/* Most full panels of one row in flight: a power of two. */
#define ROW_PANELS(gates) \
    (VECTORS(gates, LRT_PANEL) * 8 <= LRT_ROW_V   ? 8u \
     : VECTORS(gates, LRT_PANEL) * 4 <= LRT_ROW_V ? 4u \
     : VECTORS(gates, LRT_PANEL) * 2 <= LRT_ROW_V ? 2u \
                                                  : 1u)

/* Cases beyond ROW_PANELS are never reached; the constant condition drops their code. */
#define ROW_TAILS(a, y, gates, np)                                                            \
    case (np) * 4 + 0: if ((np) <= ROW_PANELS(gates)) row_tile(a, y, gates, np, 0, 0); break; \
    case (np) * 4 + 1: if ((np) <= ROW_PANELS(gates)) row_tile(a, y, gates, np, 0, 1); break; \
    case (np) * 4 + 2: if ((np) <= ROW_PANELS(gates)) row_tile(a, y, gates, np, 1, 0); break; \
    case (np) * 4 + 3: if ((np) <= ROW_PANELS(gates)) row_tile(a, y, gates, np, 1, 1); break;

#define ROW_PRODUCT(gates)                                                           \
    static void row_product_##gates(const row_args *a, const row_group *g, float *y) \
    {                                                                                \
        switch (g->panels * 4 + g->has8 * 2 + g->has4) {                             \
        ROW_TAILS(a, y, gates, 0)                                                    \
        ROW_TAILS(a, y, gates, 1)                                                    \
        ROW_TAILS(a, y, gates, 2)                                                    \
        ROW_TAILS(a, y, gates, 4)                                                    \
        ROW_TAILS(a, y, gates, 8)                                                    \
        default: break;                                                              \
        }                                                                            \
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

/* The group of panels that begins at panel p, of those up to p1; returns where the next one begins. Full panels go
 * in powers of two, as many as there are registers for, because each number of them is a case of its own; the narrow
 * panels, of which a layer has at most two, at its end, come along with the last of these. */
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

/* One register tile: y = init + x * w for some rows, np panels, nv vectors of each panel's line. */
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

#define CACHE_LINE 16 /* floats */
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
        ahead += CACHE_LINE * sizeof(float);
    }
    LRT_UNROLL for (unsigned r = 0; r < nr; r++)
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++)
                v_store(t->y[r] + (ptrdiff_t)p * t->y_panel + v * VL, acc[r][p * nv + v]);
}

#define TILE(t, nr, np, nv) \
    case (np) * 8 + (nv): tile(t, (nr), (np), (nv)); break;
#if LRT_BLOCK_V >= 4
#define TILE_BLOCKS(t, nr) \
    TILE(t, nr, 1, 1) TILE(t, nr, 1, 2) TILE(t, nr, 2, 1) TILE(t, nr, 1, 3) TILE(t, nr, 1, 4) TILE(t, nr, 2, 2) TILE(t, nr, 4, 1)
#elif LRT_BLOCK_V == 2
#define TILE_BLOCKS(t, nr) TILE(t, nr, 1, 1) TILE(t, nr, 1, 2) TILE(t, nr, 2, 1)
#else
#define TILE_BLOCKS(t, nr) TILE(t, nr, 1, 1)
#endif
#define TILE_ROWS(nr)                                                              \
    static void tile_rows_##nr(const tile_args *t, unsigned np, unsigned nv)       \
    {                                                                              \
        switch (np * 8 + nv) {                                                     \
        TILE_BLOCKS(t, nr)                                                         \
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

/* No other shapes are cases above, and a row's sums fit into a tile with what spills over. */
typedef char all_blocks_are_cases[(LRT_BLOCK_V == 1 || LRT_BLOCK_V == 2 || LRT_BLOCK_V == 4) &&
                                          (LRT_BLOCK_R == 2 || LRT_BLOCK_R == 3 || LRT_BLOCK_R == 6) &&
                                          LRT_ROW_V * VL < TILE_FLOATS
                                      ? 1
                                      : -1];

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
    unsigned vectors;  /* per line */
    unsigned at_once;  /* vectors per tile and panel */
    size_t line_floats; /* gates * width */
    const float *w;
} panel_group;

static panel_group next_group(const lrt_matrix *m, uint32_t p, uint32_t p1)
{
    panel_group g;
    g.unit = lrt_panel_start(m->units, p);
    g.width = lrt_panel_width(m->units, p);
    g.line_floats = (size_t)m->gates * g.width;
    g.vectors = VECTORS(m->gates, g.width);
    g.at_once = g.vectors < LRT_BLOCK_V ? g.vectors : LRT_BLOCK_V;
    g.w = (const float *)m->w + (size_t)g.unit * m->gates * m->k;
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
 * pointers to the rows. y rows hold whole vectors of each line. */
static LRT_INLINE void group_product(const lrt_matrix *m, const panel_group *g, uint32_t row, unsigned nr,
                                     tile_args *t)
{
    t->init_panel = (ptrdiff_t)g->line_floats;
    t->w_panel = (ptrdiff_t)(g->line_floats * m->k);
    t->w_k = g->line_floats;
    t->k = m->k;
    /* The first blocks of rows fetch the panels after these: the weights of large layers come from far. */
    t->ahead = (uintptr_t)g->w;
    if (row < LRT_BLOCK_R * g->panels * g->line_floats / CACHE_LINE)
        t->ahead += m->k * (g->panels * g->line_floats + row / LRT_BLOCK_R * CACHE_LINE) * sizeof(float);
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

/* Floats of y that a group starting at `unit` fills: all, padding included, or only units that exist. */
static size_t wanted_floats(const lrt_linear_args *a, uint32_t unit, size_t per_row)
{
    size_t exist = a->m.units - unit;
    return a->padded || exist > per_row ? per_row : exist;
}

static void linear_row(const lrt_linear_args *a)
{
    LRT_ALIGNED float buf[TILE_FLOATS];
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
    LRT_ALIGNED float buf[LRT_BLOCK_R * TILE_FLOATS];
    const lrt_matrix *m = &a->m;
    const size_t first = (size_t)g->unit * m->gates, per_row = g->panels * g->line_floats;
    const size_t wanted = wanted_floats(a, g->unit, per_row);
    const float *bias = a->bias ? a->bias + first : zeros;
    /* Straight into y where the tile's vectors fill it exactly, else through a buffer. */
    const int direct = g->line_floats % VL == 0 && wanted == per_row;
    tile_args t;

    t.y_panel = (ptrdiff_t)g->line_floats;
    for (uint32_t r = 0; r < a->rows;) {
        unsigned nr = block_rows(a->rows - r);
        float *to[LRT_BLOCK_R];
        for (unsigned i = 0; i < nr; i++) {
            t.x[i] = a->x_at ? a->x_at[r + i] : a->x + outer * a->x_outer + (ptrdiff_t)(r + i) * a->x_row;
            to[i] = (a->y_at ? a->y_at[r + i] : a->y + outer * a->y_outer + (ptrdiff_t)(r + i) * a->y_row) + first;
            t.y[i] = direct ? to[i] : buf + i * TILE_FLOATS;
            t.init[i] = bias;
        }
        group_product(m, g, r, nr, &t);
        for (unsigned i = 0; i < nr && !direct; i++)
            copy_floats(to[i], buf + i * TILE_FLOATS, wanted);
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

#endif
