/* A step of the recurrent cells. docs/fixed.md has the equations. */
#ifndef LRT_FIXED_CELLS_H
#define LRT_FIXED_CELLS_H

/* Constants of the model. v is x with x_by more bits of fraction, then h with h_by more. */
typedef struct {
    const int32_t *w, *w_x, *w_h; /* gru: of gates, of the candidate over x, and over h; else w alone */
    uint32_t inputs, hidden;
    uint32_t chunks, first_h; /* gru: the chunk in which h begins, for w_h */
    uint32_t x_chunks, h_chunks;
    int x_by, h_by;
    int shift, x_shift, h_shift; /* of sums: w, w_x, w_h */
    int hard[3];                 /* is each of its curves a straight line? */
    int c_bits;                  /* lstm: of fraction, of c; gru: of the reset h */
} fixed_cell;

static LRT_FIXED_INLINE fixed_v fv_curve(fixed_v z, int hard)
{
    z = fv_limited(z);
    if (!hard)
        return fv_smooth(z);
    z = fv_left(z, 10);
    return fv_sub(z, FV_RIGHT(z, 14));
}

/* a (1 + t) / 2. */
static LRT_FIXED_INLINE fixed_v fv_times_half(fixed_v a, fixed_v t)
{
    return fv_add(fv_high(a, t), FV_RIGHT(a, 1));
}

static LRT_FIXED_INLINE void fixed_joint(const fixed_cell *l, int16_t *v, const int16_t *x, const int16_t *h)
{
    fixed_copy(v, x, l->inputs, l->x_by);
    fixed_copy(v + l->inputs, h, l->hidden, l->h_by);
}

/* What c is as the argument of its curve: 3 c of a smooth one, with 17 bits of fraction; c of a hard one with 21. */
static LRT_FIXED_INLINE fixed_v fixed_of_c(fixed_v c, int bits, int hard)
{
    const int by = (hard ? 21 : 17) - bits;
    c = by > 0 ? fv_limited(c) : fv_limited30(c);
    return by > 0 ? fv_times(c, (hard ? 1 : 3) << by) : fv_right(fv_times(c, hard ? 1 : 3), -by);
}

static LRT_FIXED_INLINE void fixed_lstm_gates(const fixed_cell *l, const fixed_v z[4], int32_t *c, int16_t *h)
{
    const fixed_v i = fv_curve(fv_left(z[0], l->shift), l->hard[0]);
    const fixed_v f = fv_curve(fv_left(z[1], l->shift), l->hard[0]);
    const fixed_v g = fv_curve(fv_left(z[2], l->shift), l->hard[1]);
    const fixed_v o = fv_curve(fv_left(z[3], l->shift), l->hard[0]);
    const fixed_v added = fv_right(fv_plus(fv_times_half(g, i), INT32_C(5) << (29 - l->c_bits)), 31 - l->c_bits);
    const fixed_v cell = fv_add(fv_times_half(fv_load(c), f), added);
    fv_store(c, cell);
    fv_store16(h, FV_ROUNDED(fv_times_half(fv_curve(fixed_of_c(cell, l->c_bits, l->hard[2]), l->hard[2]), o), 16));
}

/* h and c become the next; they have room for a multiple of four units, v for all chunks. */
static void fixed_lstm_step(const fixed_cell *l, const int16_t *x, int16_t *h, int32_t *c, int16_t *v)
{
    const int32_t *w = l->w;
    fixed_joint(l, v, x, h);
    for (uint32_t unit = 0; unit < l->hidden; unit += FIXED_LANES) {
        fixed_v z[4];
        w = fv_fours(w, v, l->chunks, l->hidden - unit, z);
        fixed_lstm_gates(l, z, c + unit, h + unit);
    }
}

#endif
