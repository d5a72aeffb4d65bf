/* THE gate equations, written once over the vector vocabulary. The steps that bring sums to them: lrt_steps_impl.h. */
#ifndef LRT_CELLS_IMPL_H
#define LRT_CELLS_IMPL_H

#include "kernels/lrt_math_impl.h"
#include "kernels/lrt_panels.h"
#include "kernels/lrt_step_args.h"

/* Where one vector of units of one row stands. */
typedef struct {
    uint32_t row, unit; /* unit: of the first element, in the layer */
    unsigned units;     /* those of this vector that exist in the panel */
    uint32_t width;     /* of the panel: distance of the gates in `z` */
    const float *z;     /* product, first gate */
    size_t pre;         /* offset of the first gate in pre-activations and biases */
} gate_at;

/* The gates of n vectors, n being a constant. */
typedef void gate_fn(const lrt_step_args *a, const gate_at *at, const unsigned n);

/* State rows and panel lines have room for every element of a panel; what is beyond is not touched,
 * and load as 0 so that stray bits never cost a denormal. */
static LRT_INLINE vf load_units(const float *p, const gate_at *at)
{
    return at->units == VL ? v_load(p) : v_load_n(p, at->units);
}

static LRT_INLINE void store_units(float *p, vf a, const gate_at *at)
{
    if (at->units == VL)
        v_store(p, a);
    else
        v_store_n(p, a, at->units);
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
        if (exist >= VL && at->units == VL)
            v_store(out + at->unit, h);
        else
            v_store_n(out + at->unit, h, exist < at->units ? exist : at->units);
    }
}

static LRT_INLINE vf clip(const lrt_step_args *a, vf x)
{
    return a->clip > 0.0f ? clamp(x, -a->clip, a->clip) : x;
}

/* LSTM (Hochreiter & Schmidhuber 1997; forget gate Gers et al. 2000; peepholes Gers & Schmidhuber 2000):
 *   i = s(z_i + p_i c)  f = s(z_f + p_f c)  g = t(z_g)  c' = f c + i g  o = s(z_o + p_o c')  h = o t'(c')
 * usual: sigmoid and tanh, no clip, no peepholes; their divisions are shared. Of n vectors at once, wherever they stand, and
 * every operation for all of them before the next: chains that depend on nothing of each other keep the CPU busy. */
static LRT_INLINE void lstm_gates(const lrt_step_args *a, const gate_at *at, const unsigned n, const int usual)
{
    const uint32_t padded = lrt_padded_units(a->m.units);
    vf z[MAX_SIDE], num[MAX_SIDE], den[MAX_SIDE], c[MAX_SIDE]; /* i, f and g of n vectors, then o and c' */
    float *c_at[MAX_SIDE];

    EACH(j, n) c_at[j] = a->c + (ptrdiff_t)at[j].row * a->c_row + at[j].unit;
    EACH(j, n) c[j] = load_units(c_at[j], &at[j]);
    EACH(j, n) z[j] = load_z(&at[j], 0);
    EACH(j, n) z[n + j] = load_z(&at[j], 1);
    EACH(j, n) z[2 * n + j] = load_z(&at[j], 2);
    if (!usual) {
        EACH(j, n) if (a->peephole) {
            const float *peep = a->peephole + at[j].unit;
            z[j] = v_fma(load_units(peep, &at[j]), c[j], z[j]);
            z[n + j] = v_fma(load_units(peep + padded, &at[j]), c[j], z[n + j]);
        }
        EACH(j, n) {
            const vf i = activation(&a->act[0], clip(a, z[j])), g = activation(&a->act[1], clip(a, z[2 * n + j]));
            c[j] = v_fma(activation(&a->act[0], clip(a, z[n + j])), c[j], v_mul(i, g));
        }
    } else {
        squash_parts(3 * n, 2 * n, z, num, den);
        EACH(j, n) {
            const vf kept = v_div(c[j], den[n + j]);
            c[j] = v_add(kept, v_div(num[2 * n + j], v_mul(den[j], den[2 * n + j])));
        }
    }
    EACH(j, n) store_units(c_at[j], c[j], &at[j]);
    EACH(j, n) z[j] = load_z(&at[j], 3);
    if (!usual) {
        EACH(j, n) {
            if (a->peephole)
                z[j] = v_fma(load_units(a->peephole + 2 * padded + at[j].unit, &at[j]), c[j], z[j]);
            store_h(a, &at[j], v_mul(activation(&a->act[0], clip(a, z[j])), activation(&a->act[2], c[j])));
        }
    } else {
        EACH(j, n) z[n + j] = c[j];
        squash_parts(2 * n, n, z, num, den);
        EACH(j, n) store_h(a, &at[j], v_div(num[n + j], v_fma(den[j], num[n + j], v_add(den[j], den[j]))));
    }
}

static LRT_INLINE void lstm_usual(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    lstm_gates(a, at, n, 1);
}
static LRT_INLINE void lstm_any(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    lstm_gates(a, at, n, 0);
}

/* The blend that ends both forms of the GRU: h' = (1 - z) n + z h. */
static LRT_INLINE void gru_blend(const lrt_step_args *a, const gate_at *at, vf z, vf n, vf h)
{
    store_h(a, at, v_fma(v_sub(v_set1(1.0f), z), n, v_mul(z, h)));
}

/* GRU, reset after the product (cuDNN, PyTorch, Keras reset_after):
 *   r = s(x_r + h_r)  z = s(x_z + h_z)  n = t(x_n + r h_n)
 * x: pre, h: the recurrent product with its own bias. */
static LRT_INLINE void gru_gates(const lrt_step_args *a, const gate_at *at, const unsigned n, const int usual)
{
    vf z[MAX_SIDE], num[MAX_SIDE], den[MAX_SIDE], update[MAX_SIDE]; /* r and z of n vectors, then n */

    EACH(j, n) z[j] = v_add(load_pre(a, &at[j], 0), load_z(&at[j], 0));
    EACH(j, n) z[n + j] = v_add(load_pre(a, &at[j], 1), load_z(&at[j], 1));
    if (usual) {
        squash_parts(2 * n, 2 * n, z, NULL, den);
        EACH(j, n) z[j] = v_add(v_div(load_z(&at[j], 2), den[j]), load_pre(a, &at[j], 2));
        EACH(j, n) update[j] = v_div(v_set1(1.0f), den[n + j]);
        squash_parts(n, 0, z, num, den);
        EACH(j, n) z[j] = v_div(num[j], den[j]);
    } else {
        LRT_UNROLL for (unsigned j = 0; j < 2 * n; j++)
            z[j] = activation(&a->act[0], clip(a, z[j]));
        EACH(j, n) update[j] = z[n + j];
        EACH(j, n) z[j] = activation(&a->act[1], clip(a, v_fma(z[j], load_z(&at[j], 2), load_pre(a, &at[j], 2))));
    }
    EACH(j, n) {
        const float *h = a->h_prev + (ptrdiff_t)at[j].row * a->h_prev_row + at[j].unit;
        gru_blend(a, &at[j], update[j], z[j], load_units(h, &at[j]));
    }
}

static LRT_INLINE void gru_usual(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    gru_gates(a, at, n, 1);
}
static LRT_INLINE void gru_any(const lrt_step_args *a, const gate_at *at, const unsigned n) { gru_gates(a, at, n, 0); }

/* GRU, reset before the product (Cho et al. 2014), first half: r and z from the product over h;
 * h_next = r * h feeds the second half, z waits in the place of its pre-activation. */
static LRT_INLINE void gru_reset_gates(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    EACH(j, n) {
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
    EACH(j, n) {
        vf z = load_pre(a, &at[j], 1);
        vf new = activation(&a->act[1], clip(a, v_add(load_pre(a, &at[j], 2), load_z(&at[j], 0))));
        const float *h = a->h_old + (ptrdiff_t)at[j].row * a->h_old_row + at[j].unit;
        gru_blend(a, &at[j], z, new, load_units(h, &at[j]));
    }
}

/* Simple RNN (Elman 1990): h' = t(x + U h). */
static LRT_INLINE void rnn_gates(const lrt_step_args *a, const gate_at *at, const unsigned n)
{
    EACH(j, n) store_h(a, &at[j], activation(&a->act[0], clip(a, load_z(&at[j], 0))));
}

#endif
