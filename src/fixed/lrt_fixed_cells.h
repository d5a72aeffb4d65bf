/* A step of the recurrent cells. docs/fixed.md has the equations. */
#ifndef LRT_FIXED_CELLS_H
#define LRT_FIXED_CELLS_H

/* Constants of the model. v is x with x_by more bits of fraction, then h with h_by more. */
typedef struct {
    const int32_t *w; /* lstm: of each unit i f g o. gru: r z */
    uint32_t inputs, hidden, k; /* k: of v */
    int x_by, h_by, shift;
    int hard[3]; /* which of its curves are straight lines */
    int c_bits;  /* lstm: of fraction, of c */
    int within;  /* lstm: sums never reach the ends of the curves */
} fixed_cell;

/* gru: the candidate's rows over x and h apart, or with h reset before the product over both (h_w is NULL). */
typedef struct {
    const int32_t *x_w, *h_w;
    uint32_t x_k, h_k, h_first; /* h_first: chunks of v before those of h_w */
    int x_shift, h_shift;
    int reset_by; /* bits of fraction that the fine h has more than the reset one */
} fixed_candidate;

/* Of sums with a shift, which few matrices have. */
static LRT_FIXED_INLINE fixed_v fv_shifted(fixed_v z, int by)
{
    if (!by)
        return z;
    return fv_left(fv_min(fv_max(z, -(INT32_C(1) << (29 - by))), (INT32_C(1) << (29 - by)) - 1), by);
}

static LRT_FIXED_INLINE fixed_v fv_curve_within(fixed_v z, int hard)
{
    if (!hard)
        return fv_smooth(z);
    z = fv_left(z, 10);
    return fv_sub(z, FV_RIGHT(z, 14));
}

static LRT_FIXED_INLINE fixed_v fv_curve(fixed_v z, int hard)
{
    return fv_curve_within(fv_limited(z), hard);
}

/* Of the sum of a gate. */
static LRT_FIXED_INLINE fixed_v fixed_gate(const fixed_cell *l, fixed_v z, int curve)
{
    z = fv_shifted(z, l->shift);
    return l->within ? fv_curve_within(z, l->hard[curve]) : fv_curve(z, l->hard[curve]);
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

/* What c is as the argument of its curve, limited: 3 c of a smooth one, with 17 bits of fraction; c of a hard one with 21. */
static LRT_FIXED_INLINE fixed_v fixed_of_c(fixed_v c, int bits, int hard)
{
    const int by = (hard ? 21 : 17) - bits;
#ifdef LRT_FIXED_MVE
    if (!hard)
        return fv_thrice(c, by);
#endif
    c = by > 0 ? fv_limited(c) : fv_limited30(c);
    return fv_limited(by > 0 ? fv_times(c, (hard ? 1 : 3) << by) : fv_right(fv_times(c, hard ? 1 : 3), -by));
}

static LRT_FIXED_INLINE void fixed_lstm_gates(const fixed_cell *l, const fixed_v z[4], int32_t *c, int16_t *h)
{
    const fixed_v i = fixed_gate(l, z[0], 0);
    const fixed_v f = fixed_gate(l, z[1], 0);
    const fixed_v g = fixed_gate(l, z[2], 1);
    const fixed_v o = fixed_gate(l, z[3], 0);
    const fixed_v added = fv_right(fv_plus(fv_times_half(g, i), INT32_C(5) << (29 - l->c_bits)), 31 - l->c_bits);
    const fixed_v cell = fv_add(fv_times_half(fv_load(c), f), added);
    fv_store(c, cell);
    fv_store16(h, FV_ROUNDED(fv_times_half(fv_curve_within(fixed_of_c(cell, l->c_bits, l->hard[2]), l->hard[2]), o), 16));
}

/* h and c become the next; they have room for a multiple of four units, v for all chunks and 32 words behind these. */
static void fixed_lstm_step(const fixed_cell *l, const int16_t *x, int16_t *h, int32_t *c, int16_t *v)
{
    const int32_t *w = l->w;
    int32_t *const sums = (int32_t *)(void *)(v + 8 * FIXED_CHUNKS(l->k));
    fixed_joint(l, v, x, h);
    for (uint32_t unit = 0; unit < l->hidden; unit += FIXED_LANES) {
        fixed_v z[4];
        w = fv_fours(w, v, l->k, l->hidden % 4 ? l->hidden - unit : 4, sums, z);
        fixed_lstm_gates(l, z, c + unit, h + unit);
    }
}

/* The next of the fine h, which has 29 bits of fraction; h is it with 15. */
static LRT_FIXED_INLINE void fixed_gru_h(const fixed_cell *l, fixed_v u, fixed_v sum, int32_t *fine, int16_t *h)
{
    const fixed_v old = fv_load(fine), n = FV_RIGHT(fv_curve(sum, l->hard[1]), 2);
    const fixed_v next = fv_add(FV_RIGHT(fv_add(old, n), 1), fv_high(fv_sub(old, n), u));
    fv_store(fine, next);
    fv_store16(h, FV_ROUNDED(next, 14));
}

/* Reset after the product: h and fine become the next. */
static void fixed_gru_step(const fixed_cell *l, const fixed_candidate *k, const int16_t *x, int16_t *h, int32_t *fine, int16_t *v)
{
    const int32_t *w = l->w, *x_w = k->x_w, *h_w = k->h_w;
    fixed_joint(l, v, x, h);
    for (uint32_t unit = 0; unit < l->hidden; unit += 4) {
        int32_t z[8], on_x[4], on_h[4];
        w = fixed_rows(w, v, l->k, 2, z);
        x_w = fixed_rows(x_w, v, k->x_k, 1, on_x);
        h_w = fixed_rows(h_w, v + 8 * k->h_first, k->h_k, 1, on_h);
        for (uint32_t i = 0; i < 4; i += FIXED_LANES) {
            fixed_v r, u;
            fv_load_pairs(z + 2 * i, &r, &u);
            r = fv_curve(fv_shifted(r, l->shift), l->hard[0]);
            u = fv_curve(fv_shifted(u, l->shift), l->hard[0]);
            const fixed_v from_h = fv_times_half(fv_shifted(fv_load(on_h + i), k->h_shift), r);
            const fixed_v sum = fv_add(fv_shifted(fv_load(on_x + i), k->x_shift), from_h);
            fixed_gru_h(l, u, sum, fine + unit + i, h + unit + i);
        }
    }
}

/* Reset before it. on_reset: a v of its own; u: a word for each unit. */
static void fixed_gru_before_step(const fixed_cell *l, const fixed_candidate *k, const int16_t *x, int16_t *h, int32_t *fine,
                                  int16_t *v, int16_t *on_reset, int32_t *u)
{
    const int32_t *w = l->w, *x_w = k->x_w;
    fixed_joint(l, v, x, h);
    fixed_copy(on_reset, x, l->inputs, l->x_by);
    for (uint32_t unit = 0; unit < l->hidden; unit += 4) {
        int32_t z[8];
        w = fixed_rows(w, v, l->k, 2, z);
        for (uint32_t i = 0; i < 4; i += FIXED_LANES) {
            fixed_v r, z_u;
            fv_load_pairs(z + 2 * i, &r, &z_u);
            fv_store(u + unit + i, fv_curve(fv_shifted(z_u, l->shift), l->hard[0]));
            r = fv_times_half(fv_load(fine + unit + i), fv_curve(fv_shifted(r, l->shift), l->hard[0]));
            r = fv_right(fv_plus(r, INT32_C(1) << (k->reset_by - 1)), k->reset_by);
            fv_store16(on_reset + l->inputs + unit + i, r);
        }
    }
    for (uint32_t unit = 0; unit < l->hidden; unit += 4) {
        int32_t z[4];
        x_w = fixed_rows(x_w, on_reset, l->k, 1, z);
        for (uint32_t i = 0; i < 4; i += FIXED_LANES) {
            const fixed_v sum = fv_shifted(fv_load(z + i), k->x_shift);
            fixed_gru_h(l, fv_load(u + unit + i), sum, fine + unit + i, h + unit + i);
        }
    }
}

#endif
