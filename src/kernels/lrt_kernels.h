/* What one instruction set provides: a table of functions over float32 rows.
 *
 * Every output is one sum that starts at the bias (or at a given value) and adds its products in
 * the order of k with fused multiply-adds, whatever the ISA, block of rows or range of panels:
 * that is what makes results bit-identical. */
#ifndef LRT_KERNELS_H
#define LRT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/lrt_acts.h"
#include "kernels/lrt_panels.h"
#include "kernels/lrt_row_ops.h"
#include "kernels/lrt_step_args.h"
#include "lstm_rt.h"

/* y[r] = init[r] + x[r] * W for some rows and panels p0 <= p < p1 of a matrix that is not plain. init and y are where panel
 * p0 begins; init is NULL for zeros. Of a row of y no more than `floats` are written. */
typedef struct {
    const lrt_matrix *m;
    const float *const *x;  /* of a matrix of floats; of one of integers */
    const uint32_t *packed; /* the rows as these were packed, one after the other (lrt_integers.h) */
    const float *const *init;
    float *const *y;
    uint32_t rows, p0, p1;
    size_t floats;
} lrt_product_args;

/* y[r] = bias + x[r] * W for rows r and panels p0 <= p < p1, and the same for `outer` more groups of
 * rows (0 for none; rows is then at least 2), each x_outer and y_outer after the one before: so that weights
 * are read once for all steps of all rows of a batch. With padded, y rows are in panel order, padding included; else,
 * gates being 1, only the units that exist are written. With x_at and y_at the rows are wherever these
 * say, and x, y, their strides and outer play no part. */
typedef struct {
    lrt_matrix m;
    const float *bias; /* in panel order, padded */
    const float *x;
    ptrdiff_t x_row;
    float *y;
    ptrdiff_t y_row;
    const float *const *x_at;
    float *const *y_at;
    uint32_t rows, p0, p1;
    uint32_t outer;
    ptrdiff_t x_outer, y_outer;
    int padded;
    uint32_t *packed; /* room for rows of an integer matrix, which lrt_linear multiplies with */
} lrt_linear_args;

/* How a step of a sequence is joined to those before it. */
enum lrt_join { LRT_JOIN_ADD, LRT_JOIN_ADD_SQUARE, LRT_JOIN_MAX, LRT_JOIN_MIN, LRT_JOIN_MUL };

/* Steps of n features, x_step apart, joined one after the other; of those that count. Sums keep what rounding has
 * taken from them and give it to the next step, so that they are as good after many steps as after few. */
typedef struct {
    enum lrt_join op;
    const float *x;
    ptrdiff_t x_step;
    const unsigned char *counts; /* of each step: 0 if it does not; NULL: all do */
    uint32_t steps;
    int begun;           /* has a step counted before? If not, the first is the total of all but sums */
    float *total, *lost; /* n each, in and out; lost: of sums */
    float *y;            /* if not NULL: where the total goes after each step, y_step apart */
    ptrdiff_t y_step;
    size_t n;
} lrt_join_args;

/* Softmax of each of n features over the steps that count; 0 at the others. */
typedef struct {
    const float *x;
    ptrdiff_t x_step;
    const unsigned char *counts; /* as above */
    uint32_t steps;
    float *y;
    ptrdiff_t y_step;
    size_t n;
} lrt_softmax_args;

/* How well each of the listed steps of k fits q: y[i] = scale * sum(q * k[step[i]]), or with `additive`
 * scale * sum(weight * tanh(q + k[step[i]])). */
typedef struct {
    int additive;
    const float *q, *k, *weight; /* weight: NULL for ones */
    ptrdiff_t k_step;
    const uint32_t *step;
    uint32_t steps;
    float scale;
    float *y;
    size_t n;
} lrt_fits_args;

/* y = the sum of w[i] * v[step[i]]: rows of n features, v_step apart. */
typedef struct {
    const float *w, *v;
    ptrdiff_t v_step;
    const uint32_t *step;
    uint32_t steps;
    float *y;
    size_t n;
} lrt_weigh_args;

struct lrt_kernels {
    const char *name;
    unsigned width;    /* floats per vector */
    int fused;         /* multiply-adds round once: bit-identical to every other such table */
    int (*usable)(void); /* does this CPU run it? */

    const lrt_integers *integers; /* products with integer weights: lrt_linear and the steps call them */

    void (*linear)(const lrt_linear_args *a); /* of float32 weights that are all there, */
    void (*blocks)(const lrt_product_args *a); /* ... and of blocks of them */
    void (*lstm_step)(const lrt_step_args *a);
    void (*gru_step)(const lrt_step_args *a);      /* reset after the product */
    void (*gru_reset_step)(const lrt_step_args *a); /* reset before: r and z; h_next = r * h */
    void (*gru_candidate_step)(const lrt_step_args *a); /* ... then n and the new h */
    void (*rnn_step)(const lrt_step_args *a);

    /* Rows of n features; y may be x. */
    void (*activate)(const lrt_act *act, const float *x, float *y, size_t n);
    void (*binary)(const lrt_two *two, float *y, size_t n);
    void (*prelu)(const float *x, const float *alpha, float *y, size_t n);
    void (*l2norm)(const float *x, float eps, float *y, size_t n);
    float (*reduce)(enum lrt_reduction kind, const float *x, size_t n);
    void (*layernorm)(const float *x, const float *gamma, const float *beta, float eps, float *y, size_t n);
    void (*batchnorm)(const float *x, const float *mean, const float *scale, const float *beta, float *y, size_t n);

    /* Along time. */
    void (*join)(const lrt_join_args *a);
    void (*softmax_steps)(const lrt_softmax_args *a);
    void (*fits)(const lrt_fits_args *a);
    void (*weigh)(const lrt_weigh_args *a);

    /* Rows of n features at k places. y = init + the sum of x[i] * w[i], in the order of i; y may be init. */
    void (*by_channel)(const float *const *x, const float *w, const float *init, float *y, size_t k, size_t n);
    /* The largest of init and all x[i], a NaN staying; or their sum, in order. Without init it begins with x[0]; k >= 1. */
    void (*fold)(int largest, const float *const *x, const float *init, float *y, size_t k, size_t n);
    void (*divide)(float *y, float by, size_t n);
    /* Before and after the products of F(2 x 2, 3 x 3): n channels at 4 x 4 places into 16 rows of v, and n units of 16
     * rows of m, both `apart` floats from each other, into 2 x 2 windows; y[i] is NULL where there is none. */
    void (*winograd_in)(const float *const *x, float *v, size_t apart, size_t n);
    void (*winograd_out)(const float *m, size_t apart, const float *bias, float *const *y, size_t n);
};

#endif
