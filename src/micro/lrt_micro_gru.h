/* Steps of a GRU whose weights are floats. */
#ifndef LRT_MICRO_GRU_H
#define LRT_MICRO_GRU_H

#include "kernels/lrt_cells_impl.h"

/* As micro_lstm; the products over the inputs and over h stay apart. */
typedef struct {
    uint32_t inputs, hidden;
    const float *w, *bias;     /* three gates over the inputs */
    const float *u, *bias_hh;  /* ... over h; where the reset gate comes before the product, two gates of it, */
    const float *u_n, *bias_n; /* and the third, in strips */
    lrt_act act[2];
    float clip;
    int usual;
} micro_gru;

static LRT_INLINE void micro_gru_args(const micro_gru *g, lrt_step_args *a, float *pre, float *h, float *out)
{
    a->m.units = g->hidden;
    a->pre = pre;
    a->pre_row = 0;
    a->h_prev = h;
    a->h_prev_row = 0;
    a->h_next = out;
    a->h_next_row = 0;
    a->h_old = h;
    a->h_old_row = 0;
    a->out = NULL;
    a->clip = g->clip;
    a->act[0] = g->act[0];
    a->act[1] = g->act[1];
}

/* The gates of one panel, of sums over the inputs and over h. */
static LRT_INLINE void micro_gru_gates(const micro_gru *g, const lrt_step_args *a, uint32_t unit, const float *z)
{
    for (uint32_t u = 0; u < LRT_LANES; u += VL) {
        const gate_at at = {0, unit + u, VL, LRT_LANES, z + u, u};
        gru_gates(a, &at, 1, g->usual, 0);
    }
}

/* Reset after the product. h becomes the next, and is in `out` too; both have room for whole panels. */
static LRT_INLINE void micro_gru_step(const micro_gru *g, const float *x, float *h, float *out)
{
    float pre[3 * LRT_LANES], z[3 * LRT_LANES];
    lrt_step_args a;
    micro_gru_args(g, &a, pre, h, out);
    for (uint32_t unit = 0; unit < g->hidden; unit += LRT_LANES) {
        strip_of(3, pre, g->bias + 3 * unit, g->w + 3 * unit * g->inputs, x, g->inputs);
        strip_of(3, z, g->bias_hh + 3 * unit, g->u + 3 * unit * g->hidden, h, g->hidden);
        micro_gru_gates(g, &a, unit, z);
    }
    micro_copy_quads(h, out, g->hidden);
}

/* Reset before the product, first half: r and z of one panel, and r h. */
static LRT_INLINE void micro_gru_reset_gates(const lrt_step_args *a, uint32_t unit, const float *z)
{
    for (uint32_t u = 0; u < LRT_LANES; u += VL) {
        const gate_at at = {0, unit + u, VL, LRT_LANES, z + u, 3 * unit + u};
        gru_reset_gates(a, &at, 1, 0);
    }
}

/* ... and second half: of the product over r h. */
static LRT_INLINE void micro_gru_candidate_gates(const lrt_step_args *a, uint32_t unit, const float *z)
{
    for (uint32_t u = 0; u < LRT_LANES; u += VL) {
        const gate_at at = {0, unit + u, VL, LRT_LANES, z + u, 3 * unit + u};
        gru_candidate_gates(a, &at, 1, 0);
    }
}

/* Reset before the product. pre: three numbers for each unit; rh: as h. */
static LRT_INLINE void micro_gru_reset_step(const micro_gru *g, const float *x, float *h, float *out, float *pre, float *rh)
{
    float z[2 * LRT_LANES];
    lrt_step_args a;
    micro_gru_args(g, &a, pre, h, rh);
    for (uint32_t unit = 0; unit < g->hidden; unit += LRT_LANES) {
        strip_of(3, pre + 3 * unit, g->bias + 3 * unit, g->w + 3 * unit * g->inputs, x, g->inputs);
        strip_of(2, z, g->bias_hh + 2 * unit, g->u + 2 * unit * g->hidden, h, g->hidden);
        micro_gru_reset_gates(&a, unit, z);
    }
    a.h_next = out;
    for (uint32_t unit = 0; unit < g->hidden; unit += LRT_LANES) {
        strip_of(1, z, g->bias_n + unit, g->u_n + unit * g->hidden, rh, g->hidden);
        micro_gru_candidate_gates(&a, unit, z);
    }
    micro_copy_quads(h, out, g->hidden);
}

#endif
