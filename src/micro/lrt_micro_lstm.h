/* A step of an LSTM whose weights are floats. */
#ifndef LRT_MICRO_LSTM_H
#define LRT_MICRO_LSTM_H

#include "kernels/lrt_cells_impl.h"

/* Sizes and weights of one direction: constants of the model, which a compiler knows where it inlines. Panels are of
 * four units, [panel][input][gate][unit], over the inputs and then h; biases likewise. */
typedef struct {
    uint32_t inputs, hidden, recurrent; /* recurrent: the size of h */
    const float *w, *bias, *peephole;
    lrt_act act[3];
    float clip;
    int usual; /* sigmoid and tanh, no clip, no peepholes */
} micro_lstm;

static LRT_INLINE void micro_lstm_args(const micro_lstm *l, lrt_step_args *a, float *c, float *m)
{
    a->m.units = l->hidden;
    a->c = c;
    a->c_row = 0;
    a->h_next = m;
    a->h_next_row = 0;
    a->out = NULL;
    a->peephole = l->peephole;
    a->clip = l->clip;
    a->act[0] = l->act[0];
    a->act[1] = l->act[1];
    a->act[2] = l->act[2];
}

/* The gates of one panel. */
static LRT_INLINE void micro_lstm_gates(const micro_lstm *l, const lrt_step_args *a, uint32_t unit, const float *z)
{
    for (uint32_t u = 0; u < LRT_LANES; u += VL) {
        const gate_at at = {0, unit + u, VL, LRT_LANES, z + u, 0};
        lstm_gates(a, &at, 1, l->usual);
    }
}

/* xh: the inputs, then h. m: o t(c), of which h is made; it and c have room for whole panels. */
static LRT_INLINE void micro_lstm_cell(const micro_lstm *l, const float *xh, float *c, float *m)
{
    const uint32_t k = l->inputs + l->recurrent;
    lrt_step_args a;
    uint32_t unit = 0;
    micro_lstm_args(l, &a, c, m);
#if VL >= 8 /* two panels side by side: a sum waits for the one before it */
    for (; unit + LRT_LANES < l->hidden; unit += 2 * LRT_LANES) {
        LRT_ALIGNED float z[2 * 4 * LRT_LANES];
        gate_at at[2 * LRT_LANES / VL];
        strips_in_c(2, 4 * LRT_LANES, z, l->bias + 4 * unit, l->w + 4 * unit * k, xh, k);
        LRT_UNROLL for (uint32_t u = 0; u < 2 * LRT_LANES; u += VL) {
            const gate_at one = {0, unit + u, VL, LRT_LANES, z + u / LRT_LANES * 4 * LRT_LANES + u % LRT_LANES, 0};
            at[u / VL] = one;
        }
        LRT_UNROLL for (uint32_t i = 0; i < 2 * LRT_LANES / VL; i += 2)
            lstm_gates(&a, at + i, 2, l->usual);
    }
#endif
    for (; unit < l->hidden; unit += LRT_LANES) {
        float z[4 * LRT_LANES];
        strip_of(4, z, l->bias + 4 * unit, l->w + 4 * unit * k, xh, k);
        micro_lstm_gates(l, &a, unit, z);
    }
}

/* A step: h within xh becomes the next, and is in `out` too. */
static LRT_INLINE void micro_lstm_step(const micro_lstm *l, float *xh, const float *x, float *c, float *out)
{
    micro_copy(xh, x, l->inputs);
    micro_lstm_cell(l, xh, c, out);
    micro_copy_quads(xh + l->inputs, out, l->hidden);
}

#endif
