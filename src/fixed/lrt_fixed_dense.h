/* Rows with an activation whose results are int16: dense layers, convolutions, simple recurrent layers. */
#ifndef LRT_FIXED_DENSE_H
#define LRT_FIXED_DENSE_H

enum { FIXED_LINE, FIXED_CURVE, FIXED_HALF }; /* the sum between limits; a curve; (1 + t) / 2 of one */

typedef struct {
    int kind, hard;
    int32_t least, most; /* of a line */
} fixed_act;

/* Constants of the model. */
typedef struct {
    const int32_t *w;
    uint32_t inputs, outputs, k; /* k: of v */
    int by, shift; /* what is multiplied has so many more bits of fraction than what is given */
    fixed_act act;
} fixed_dense;

static LRT_FIXED_INLINE fixed_v fixed_bounded(const fixed_act *a, fixed_v z)
{
    if (a->kind == FIXED_LINE && a->least == INT16_MIN && a->most == INT16_MAX)
        return fv_int16(z);
    if (a->kind == FIXED_LINE)
        return fv_min(fv_max(z, a->least), a->most);
    z = fv_curve(z, a->hard);
    if (a->kind == FIXED_HALF)
        z = fv_plus(FV_RIGHT(z, 1), INT32_C(1) << 30);
    return FV_ROUNDED(z, 16);
}

/* y has room for a multiple of four outputs. It may be what v was made of, but not v. */
static void fixed_dense_rows(const fixed_dense *l, const int16_t *v, int16_t *y)
{
    const int32_t *w = l->w;
    for (uint32_t row = 0; row < l->outputs; row += 4) {
        int32_t z[4];
        w = fixed_rows(w, v, l->k, 1, z);
        for (uint32_t i = 0; i < 4 && row + i < l->outputs; i += FIXED_LANES)
            fv_store16(y + row + i, fixed_bounded(&l->act, fv_shifted(fv_load(z + i), l->shift)));
    }
}

static LRT_FIXED_INLINE void fixed_dense_step(const fixed_dense *l, const int16_t *x, int16_t *y, int16_t *v)
{
    fixed_copy(v, x, l->inputs, l->by);
    fixed_dense_rows(l, v, y);
}

/* A simple recurrent layer: h becomes the next. */
static LRT_FIXED_INLINE void fixed_rnn_step(const fixed_dense *l, int h_by, const int16_t *x, int16_t *h, int16_t *v)
{
    fixed_copy(v, x, l->inputs, l->by);
    fixed_copy(v + l->inputs, h, l->outputs, h_by);
    fixed_dense_rows(l, v, h);
}

/* Steps of x so far, the oldest first, n numbers: x, m numbers, comes in at the end. */
static LRT_FIXED_INLINE void fixed_window(int16_t *window, uint32_t n, const int16_t *x, uint32_t m)
{
    for (uint32_t i = 0; i < n - m; i++)
        window[i] = window[i + m];
    for (uint32_t i = 0; i < m; i++)
        window[n - m + i] = x[i];
}

/* What a window of so many steps of x, dilation apart, sees from step first on; zeros where there is none. */
static void fixed_taps(int16_t *v, const int16_t *x, uint32_t steps, uint32_t stride, int32_t first, uint32_t taps,
                       uint32_t dilation, uint32_t n, int by)
{
    for (uint32_t i = 0; i < taps; i++, v += n) {
        const int32_t at = first + (int32_t)(i * dilation);
        if (at >= 0 && (uint32_t)at < steps)
            fixed_copy(v, x + (uint32_t)at * stride, n, by);
        else
            fixed_zero(v, n);
    }
}

static void fixed_row8(int16_t *y, const int8_t *row, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] = row[i];
}

static void fixed_row16(int16_t *y, const int16_t *row, uint32_t n)
{
    fixed_copy(y, row, n, 0);
}

/* Of an activation alone: y = act((x mult >> 17) 2^shift + offset). x and y have room for fours, and may be one. */
typedef struct {
    int32_t mult, offset;
    int shift;
    fixed_act act;
} fixed_scaled;

static void fixed_activate(const fixed_scaled *s, const int16_t *x, int16_t *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 4) {
        int32_t z[4];
        for (uint32_t k = 0; k < 4; k++)
            z[k] = fixed_high(x[i + k] * 32768, s->mult);
        for (uint32_t k = 0; k < 4; k += FIXED_LANES)
            fv_store16(y + i + k, fixed_bounded(&s->act, fv_plus(fv_left(fv_load(z + k), s->shift), s->offset)));
    }
}

/* y = a + b, with so many more bits of fraction each, limited. y may be one of them. */
static void fixed_sum(const int16_t *a, int a_by, const int16_t *b, int b_by, int16_t *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] = fixed_int16(fixed_shifted(a[i], a_by) + fixed_shifted(b[i], b_by));
}

#endif
