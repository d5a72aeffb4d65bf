/* Cells of which some weights are integers: their sums, which go through the same gates. */
#ifndef LRT_MICRO_MIXED_H
#define LRT_MICRO_MIXED_H

#include "micro/lrt_micro_ints.h"

/* A matrix in panels of four units: of floats, or, where w is NULL, of integers. */
typedef struct {
    const float *w;
    micro_ints q;
} micro_matrix;

/* What a matrix is multiplied with in this step: a row, packed where it has to be. */
typedef struct {
    const micro_matrix *m;
    const float *x;
    const uint32_t *packed;
    float scale;
} micro_row;

static LRT_INLINE micro_row micro_row_of(const micro_matrix *m, const float *x, uint32_t *packed)
{
    const micro_row r = {m, x, packed, m->w ? 0.0f : micro_pack(&m->q, x, packed)};
    return r;
}

/* z = init + the sums of one panel. */
static LRT_INLINE void micro_panel(const micro_row *r, const uint32_t gates, uint32_t unit, const float *init, float *z)
{
    const uint32_t k = r->m->q.inputs;
    if (!r->m->w)
        micro_ints_rows(&r->m->q, gates * unit, gates * LRT_LANES, r->packed, r->scale, init, z);
    else
        strip_of(gates, z, init, r->m->w + gates * unit * k, r->x, k);
}

#ifdef LRT_MICRO_LSTM_H
/* As micro_lstm_cell and, where there is no projection, micro_lstm_step; of l the weights play no part. */
static LRT_INLINE void micro_lstm_mixed(const micro_lstm *l, const micro_matrix *w, const micro_matrix *u, const float *x,
                                        const float *h, float *c, float *m, uint32_t *packed_x, uint32_t *packed_h)
{
    const micro_row of_x = micro_row_of(w, x, packed_x), of_h = micro_row_of(u, h, packed_h);
    lrt_step_args a;
    micro_lstm_args(l, &a, c, m);
    for (uint32_t unit = 0; unit < l->hidden; unit += LRT_LANES) {
        float z[4 * LRT_LANES];
        micro_panel(&of_x, 4, unit, l->bias + 4 * unit, z);
        micro_panel(&of_h, 4, unit, z, z);
        micro_lstm_gates(l, &a, unit, z);
    }
}
#endif

#ifdef LRT_MICRO_GRU_H
static LRT_INLINE void micro_gru_mixed(const micro_gru *g, const micro_matrix *w, const micro_matrix *u, const float *x, float *h,
                                       float *out, uint32_t *packed_x, uint32_t *packed_h)
{
    const micro_row of_x = micro_row_of(w, x, packed_x), of_h = micro_row_of(u, h, packed_h);
    float pre[3 * LRT_LANES], z[3 * LRT_LANES];
    lrt_step_args a;
    micro_gru_args(g, &a, pre, h, out);
    for (uint32_t unit = 0; unit < g->hidden; unit += LRT_LANES) {
        micro_panel(&of_x, 3, unit, g->bias + 3 * unit, pre);
        micro_panel(&of_h, 3, unit, g->bias_hh + 3 * unit, z);
        micro_gru_gates(g, &a, unit, z);
    }
    micro_copy_quads(h, out, g->hidden);
}

static LRT_INLINE void micro_gru_reset_mixed(const micro_gru *g, const micro_matrix *w, const micro_matrix *u,
                                             const micro_matrix *u_n, const float *x, float *h, float *out, float *pre, float *rh,
                                             uint32_t *packed_x, uint32_t *packed_h)
{
    const micro_row of_x = micro_row_of(w, x, packed_x), of_h = micro_row_of(u, h, packed_h);
    micro_row of_rh;
    float z[2 * LRT_LANES];
    lrt_step_args a;
    micro_gru_args(g, &a, pre, h, rh);
    for (uint32_t unit = 0; unit < g->hidden; unit += LRT_LANES) {
        micro_panel(&of_x, 3, unit, g->bias + 3 * unit, pre + 3 * unit);
        micro_panel(&of_h, 2, unit, g->bias_hh + 2 * unit, z);
        micro_gru_reset_gates(&a, unit, z);
    }
    of_rh = micro_row_of(u_n, rh, packed_h);
    a.h_next = out;
    for (uint32_t unit = 0; unit < g->hidden; unit += LRT_LANES) {
        micro_panel(&of_rh, 1, unit, g->bias_n + unit, z);
        micro_gru_candidate_gates(&a, unit, z);
    }
    micro_copy_quads(h, out, g->hidden);
}
#endif

#endif
