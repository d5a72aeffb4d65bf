/* The steps of the cells, written once over the vector vocabulary: they bring sums to the gate equations, in registers or
 * through memory. */
#ifndef LRT_STEPS_IMPL_H
#define LRT_STEPS_IMPL_H

#include "integers/lrt_integers.h"
#include "kernels/lrt_cells_impl.h"
#include "kernels/lrt_product_blocks_impl.h"

/* -- one step ------------------------------------------------------------------------------------- */

/* Vector v of one panel of one row. */
static LRT_INLINE gate_at vector_at(uint32_t row, uint32_t unit, uint32_t width, unsigned v, const float *z,
                                    const uint32_t pre_gates)
{
    gate_at at;
    at.row = row;
    at.unit = unit + v * VL;
    at.units = VL <= 4 || width >= VL ? VL : width;
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
static LRT_INLINE void group_in_registers(const lrt_step_args *a, const row_group *g, const row_args *product,
                                   const unsigned n_gates, gate_fn *gates, const unsigned np, const unsigned has8,
                                   const unsigned has4)
{
    LRT_ALIGNED float z[TILE_FLOATS];
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
#define REGISTER_TAILS(a, g, p, gates, n, np)                                                             \
    case (np) * 4 + 0: if ((np) <= ROW_PANELS(n)) group_in_registers(a, g, p, n, gates, np, 0, 0); break; \
    case (np) * 4 + 1: if ((np) <= ROW_PANELS(n)) group_in_registers(a, g, p, n, gates, np, 0, 1); break; \
    case (np) * 4 + 2: if ((np) <= ROW_PANELS(n)) group_in_registers(a, g, p, n, gates, np, 1, 0); break; \
    case (np) * 4 + 3: if ((np) <= ROW_PANELS(n)) group_in_registers(a, g, p, n, gates, np, 1, 1); break;

#define REGISTER_CELL(name, n)                                                              \
    static void name##_group(const lrt_step_args *a, const row_group *g, const row_args *p) \
    {                                                                                       \
        switch (g->panels * 4 + g->has8 * 2 + g->has4) {                                    \
        REGISTER_TAILS(a, g, p, name, n, 0)                                                 \
        REGISTER_TAILS(a, g, p, name, n, 1)                                                 \
        REGISTER_TAILS(a, g, p, name, n, 2)                                                 \
        default: break;                                                                     \
        }                                                                                   \
    }
typedef char all_groups_are_cases[(ROW_PANELS(3) <= 2 && ROW_PANELS(4) <= 2) || LRT_SIDE == 1 ? 1 : -1];
REGISTER_CELL(lstm_usual, 4)
REGISTER_CELL(gru_usual, 3)

typedef void group_fn(const lrt_step_args *a, const row_group *g, const row_args *product);

/* The gates of one panel of some rows, and of two full panels of one row, where each is one vector; sums are z_row apart. */
typedef void panel_fn(const lrt_step_args *a, const uint32_t *row, unsigned nr, uint32_t unit, uint32_t width, const float *z,
                      size_t z_row);
typedef void pair_fn(const lrt_step_args *a, uint32_t row, uint32_t unit, const float *z);

#define PANEL_CELL(name, pre_gates, side)                                                                               \
    static void name##_panel(const lrt_step_args *a, const uint32_t *row, unsigned nr, uint32_t unit, uint32_t width,  \
                             const float *z, size_t z_row)                                                             \
    {                                                                                                                  \
        panel_gates(a, row, nr, unit, width, z, z_row, pre_gates, name, side);                                         \
    }
#define PAIR_CELL(name, pre_gates)                                                                 \
    static void name##_pair(const lrt_step_args *a, uint32_t row, uint32_t unit, const float *z)   \
    {                                                                                              \
        gate_at at[MAX_SIDE];                                                                      \
        at[0] = vector_at(row, unit, LRT_PANEL, 0, z, pre_gates);                                  \
        at[1] = vector_at(row, unit + LRT_PANEL, LRT_PANEL, 0, z + LRT_PANEL * a->m.gates, pre_gates); \
        name(a, at, VL == LRT_PANEL ? 2 : 1);                                                      \
    }
PANEL_CELL(lstm_usual, 4, LRT_SIDE_ROWS)
PANEL_CELL(lstm_any, 4, 1)
PANEL_CELL(gru_usual, 3, LRT_SIDE_ROWS)
PANEL_CELL(gru_any, 3, 1)
PANEL_CELL(gru_reset, 3, 1)
PANEL_CELL(gru_candidate, 3, 1)
PANEL_CELL(rnn_gates, 1, 1)
PAIR_CELL(lstm_usual, 4)
PAIR_CELL(gru_usual, 3)

/* What a cell makes of sums that are in memory. */
typedef struct {
    int from_pre; /* do sums start at the pre-activations? */
    panel_fn *panel;
    pair_fn *pair; /* NULL: panel by panel */
} cell_fns;

/* Gates of one row of a group, panel by panel. */
static LRT_INLINE void narrow_group(const lrt_step_args *a, const row_group *g, const row_args *product,
                                    const uint32_t pre_gates, gate_fn *gates)
{
    LRT_ALIGNED float z[TILE_FLOATS];
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

/* What a row is multiplied with. */
static LRT_INLINE const float *h_of(const lrt_step_args *a, uint32_t row)
{
    return a->h_prev + (ptrdiff_t)row * a->h_prev_row;
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

/* What the sums of one row of a group are made of. */
static LRT_INLINE void take_product(const lrt_step_args *a, const row_group *g, const int from_pre, row_args *product)
{
    const size_t first = (size_t)g->unit * a->m.gates;
    product->n = 0;
    if (from_pre && a->x) {
        product->init = a->bias_in ? a->bias_in + first : zeros;
        add_product(product, &a->w_in, g->unit, a->x);
    } else {
        product->init = init_of(a, from_pre, a->row[0]) + first;
    }
    add_product(product, &a->m, g->unit, h_of(a, a->row[0]));
}

static LRT_INLINE void run_group(const lrt_step_args *a, const row_group *g, const int from_pre,
                                 const uint32_t pre_gates, gate_fn *gates, group_fn *in_registers)
{
    row_args product;
    take_product(a, g, from_pre, &product);
    if (in_registers)
        in_registers(a, g, &product);
    else
        narrow_group(a, g, &product, pre_gates, gates);
}

#define MAX_GROUPS 64u /* of one row that are walked forth and back; weights beyond exceed any cache */

/* One row. Walked backwards every other step, weights that just exceed a cache are read first where
 * they were read last, and are still there. */
static LRT_INLINE void run_row(lrt_step_args *a, const int from_pre, const uint32_t pre_gates, gate_fn *gates,
                               group_fn *in_registers)
{
    row_group groups[MAX_GROUPS];
    uint32_t n = 0, first = a->p0;
    while (n < MAX_GROUPS && first < a->p1)
        first = next_row_group(&a->m, first, a->p1, &groups[n++]);
    for (uint32_t s = a->steps; s > 0; s--) {
        for (uint32_t i = 0; i < n; i++)
            run_group(a, &groups[a->backward ? n - 1 - i : i], from_pre, pre_gates, gates, in_registers);
        for (uint32_t p = first; p < a->p1;) {
            row_group g;
            p = next_row_group(&a->m, p, a->p1, &g);
            run_group(a, &g, from_pre, pre_gates, gates, in_registers);
        }
        next_step(a);
    }
}

/* A block of rows of a group of panels. */
static void run_block(const lrt_step_args *a, const panel_group *g, uint32_t r, unsigned nr, const int from_pre,
                      panel_fn *panel)
{
    LRT_ALIGNED float buf[LRT_BLOCK_R * TILE_FLOATS];
    const uint32_t *row = a->row + r;
    tile_args t;
    for (unsigned i = 0; i < nr; i++) {
        t.init[i] = init_of(a, from_pre, row[i]) + (size_t)g->unit * a->m.gates;
        t.x[i] = h_of(a, row[i]);
        t.y[i] = buf + i * TILE_FLOATS;
    }
    t.y_panel = (ptrdiff_t)g->vectors * VL;
    group_product(&a->m, g, r, nr, &t);
    for (unsigned q = 0; q < g->panels; q++)
        panel(a, row, nr, g->unit + q * LRT_PANEL, g->width, buf + (size_t)(q * g->vectors * VL), TILE_FLOATS);
}

static void run_rows(lrt_step_args *a, const int from_pre, panel_fn *panel)
{
    for (uint32_t s = a->steps; s > 0; s--) {
        panel_group g;
        for (uint32_t p = a->p0; p < a->p1; p += g.panels) {
            g = next_group(&a->m, p, a->p1);
            for (uint32_t r = 0; r < a->rows;) {
                unsigned nr = block_rows(a->rows - r);
                run_block(a, &g, r, nr, from_pre, panel);
                r += nr;
            }
        }
        next_step(a);
    }
}

/* -- other weights than plain ones: sums of some panels go through memory to the same gates -------- */

#define MEMORY_SUMS (VL == 1 ? 256u : VL <= 4 ? 1024u : 4096u) /* floats: some panels of all rows; small CPUs have small stacks */
#define MEMORY_PANELS 8u  /* of one row at most: so that reading the weights and the gates overlap */

/* Panels [p, end) of rows that have been packed, where they have to be. */
static void panels_by_memory(const lrt_step_args *a, const uint32_t *row, uint32_t rows, uint32_t p, uint32_t end,
                             const cell_fns *cell)
{
    LRT_ALIGNED float z[MEMORY_SUMS + LRT_OVERREAD];
    const size_t first = (size_t)lrt_panel_start(a->m.units, p) * a->m.gates, z_row = MEMORY_SUMS / rows / VL * VL;
    const uint32_t full = lrt_full_panels(a->m.units);
    const float *init[LRT_MOST_PACKED], *x[LRT_MOST_PACKED];
    float *y[LRT_MOST_PACKED];
    lrt_product_args product;
    for (uint32_t i = 0; i < rows; i++) {
        init[i] = init_of(a, cell->from_pre, row[i]) + first;
        x[i] = h_of(a, row[i]);
        y[i] = z + i * z_row;
    }
    product.m = &a->m;
    product.x = x;
    product.packed = a->packed;
    product.init = init;
    product.y = y;
    product.rows = rows;
    product.p0 = p;
    product.p1 = end;
    product.floats = (size_t)lrt_panel_start(a->m.units, end) * a->m.gates - first;
    if (lrt_is_integer(&a->m))
        a->integers->product(&product);
    else
        blocks(&product);
    for (uint32_t panels; p < end; p += panels) {
        const uint32_t unit = lrt_panel_start(a->m.units, p);
        const float *sums = z + ((size_t)unit * a->m.gates - first);
        panels = rows == 1 && cell->pair && p + 1 < end && p + 1 < full ? 2 : 1;
        if (panels == 2)
            cell->pair(a, *row, unit, sums);
        else
            cell->panel(a, row, rows, unit, lrt_panel_width(a->m.units, p), sums, z_row);
    }
}

static void run_by_memory(lrt_step_args *a, const cell_fns *cell)
{
    const uint32_t room = MEMORY_SUMS / (LRT_PANEL * a->m.gates), packed = lrt_packed_rows(a->m.k);
    const uint32_t at_once = room < packed ? room : packed, words = lrt_packed_words(a->m.k);
    for (uint32_t s = a->steps; s > 0; s--) {
        for (uint32_t r = 0, rows; r < a->rows; r += rows) {
            uint32_t panels, pieces;
            rows = a->rows - r < at_once ? a->rows - r : at_once;
            panels = MEMORY_SUMS / rows / (LRT_PANEL * a->m.gates);
            panels = panels > MEMORY_PANELS ? MEMORY_PANELS : panels;
            pieces = (a->p1 - a->p0 + panels - 1) / panels;
            for (uint32_t i = 0; i < rows && lrt_is_integer(&a->m); i++)
                a->integers->pack(&a->m, h_of(a, a->row[r + i]), a->packed + (size_t)i * words, rows);
            for (uint32_t i = 0; i < pieces; i++) {
                const uint32_t p = a->p0 + (a->backward ? pieces - 1 - i : i) * panels;
                panels_by_memory(a, a->row + r, rows, p, a->p1 - p < panels ? a->p1 : p + panels, cell);
            }
        }
        next_step(a);
    }
}

/* Product and gates of every step, row and panel; pre-activations have pre_gates gates per unit. in_registers:
 * one row of a whole group at once, or NULL to go panel by panel. */
static LRT_INLINE void run_steps(const lrt_step_args *args, const int from_pre, const uint32_t pre_gates, gate_fn *gates,
                                 group_fn *in_registers, panel_fn *panel, pair_fn *pair)
{
    lrt_step_args a = *args;
    if (!lrt_is_plain(&a.m)) {
        const cell_fns cell = {from_pre, panel, pair};
        run_by_memory(&a, &cell);
    } else if (a.rows == 1) {
        run_row(&a, from_pre, pre_gates, gates, in_registers);
    } else {
        run_rows(&a, from_pre, panel);
    }
}

/* -- traced steps: by panels, whatever the weights and rows; results are the same ---------------------- */

#if LRT_WITH_TRACE
PANEL_CELL(lstm_usual_traced, 4, 1)
PANEL_CELL(lstm_any_traced, 4, 1)
PANEL_CELL(gru_usual_traced, 3, 1)
PANEL_CELL(gru_any_traced, 3, 1)
PANEL_CELL(gru_reset_traced, 3, 1)
PANEL_CELL(gru_candidate_traced, 3, 1)

static void trace_group(const lrt_step_args *a, const row_group *g, const int from_pre, panel_fn *panel)
{
    LRT_ALIGNED float z[TILE_FLOATS];
    const uint32_t widths[] = {LRT_PANEL, 8, 4}, panels[] = {g->panels, g->has8, g->has4};
    uint32_t unit = 0;
    row_args product;
    take_product(a, g, from_pre, &product);
    row_product(a->m.gates, g, &product, z);
    for (unsigned i = 0; i < 3; i++)
        for (uint32_t n = panels[i]; n > 0; n--, unit += widths[i])
            panel(a, a->row, 1, g->unit + unit, widths[i], z + (size_t)unit * a->m.gates, 0);
}

static void run_traced(const lrt_step_args *args, const int from_pre, panel_fn *panel)
{
    const cell_fns cell = {from_pre, panel, NULL};
    lrt_step_args a = *args;
    if (!lrt_is_plain(&a.m)) {
        run_by_memory(&a, &cell);
    } else if (a.rows > 1) {
        run_rows(&a, from_pre, panel);
    } else {
        row_group g;
        for (uint32_t p = a.p0; p < a.p1;) {
            p = next_row_group(&a.m, p, a.p1, &g);
            trace_group(&a, &g, from_pre, panel);
        }
    }
}
#define RUN_TRACED(a, from_pre, name)                \
    do {                                             \
        if ((a)->traced) {                           \
            run_traced(a, from_pre, name##_traced_panel); \
            return;                                  \
        }                                            \
    } while (0)
#else
#define RUN_TRACED(a, from_pre, name) (void)0
#endif

#define PAIR(name) (LRT_SIDE > 1 && VL == LRT_PANEL ? name##_pair : NULL)
#define IN_REGISTERS(name) (LRT_SIDE > 1 ? name##_group : NULL)

static int is_usual(const lrt_step_args *a)
{
    return a->act[0].kind == LRT_ACT_SIGMOID && a->act[1].kind == LRT_ACT_TANH && !(a->clip > 0.0f);
}

static void lstm_step(const lrt_step_args *a)
{
    if (is_usual(a) && a->act[2].kind == LRT_ACT_TANH && !a->peephole) {
        RUN_TRACED(a, 1, lstm_usual);
        run_steps(a, 1, 4, lstm_usual, IN_REGISTERS(lstm_usual), lstm_usual_panel, PAIR(lstm_usual));
    } else {
        RUN_TRACED(a, 1, lstm_any);
        run_steps(a, 1, 4, lstm_any, NULL, lstm_any_panel, NULL);
    }
}

static void gru_step(const lrt_step_args *a)
{
    if (is_usual(a)) {
        RUN_TRACED(a, 0, gru_usual);
        run_steps(a, 0, 3, gru_usual, IN_REGISTERS(gru_usual), gru_usual_panel, PAIR(gru_usual));
    } else {
        RUN_TRACED(a, 0, gru_any);
        run_steps(a, 0, 3, gru_any, NULL, gru_any_panel, NULL);
    }
}

static void gru_reset_step(const lrt_step_args *a)
{
    RUN_TRACED(a, 0, gru_reset);
    run_steps(a, 0, 3, gru_reset, NULL, gru_reset_panel, NULL);
}

static void gru_candidate_step(const lrt_step_args *a)
{
    RUN_TRACED(a, 0, gru_candidate);
    run_steps(a, 0, 3, gru_candidate, NULL, gru_candidate_panel, NULL);
}

static void rnn_step(const lrt_step_args *a)
{
    run_steps(a, 1, 1, rnn_gates, NULL, rnn_gates_panel, NULL);
}

#endif
